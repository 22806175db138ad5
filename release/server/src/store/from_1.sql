-- From layout 1: what had begun counts as told.
ALTER TABLE rollouts ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
UPDATE rollouts SET told = 1 WHERE step > 0;
CREATE TABLE clock (one INTEGER PRIMARY KEY CHECK (one = 1), seen_s INTEGER NOT NULL);

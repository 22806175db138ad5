-- Reports, added up. What is about one group and one metric is a row of `sums`; counters that nobody tests are columns.
CREATE TABLE groups (
    id INTEGER PRIMARY KEY,
    day INTEGER NOT NULL,
    rollout TEXT NOT NULL,
    step INTEGER NOT NULL,
    arm INTEGER NOT NULL,
    hardware TEXT NOT NULL,
    devices INTEGER NOT NULL,
    on_candidate INTEGER NOT NULL,
    counters BLOB NOT NULL,
    latency BLOB NOT NULL,
    golden BLOB NOT NULL,
    UNIQUE (day, rollout, step, arm, hardware)
);
CREATE TABLE sums (
    grp INTEGER NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    metric INTEGER NOT NULL,
    n INTEGER NOT NULL,
    sum REAL NOT NULL,
    sumsq REAL NOT NULL,
    PRIMARY KEY (grp, metric)
) WITHOUT ROWID;
-- One row for a device and a day in a group. A nonce is new every day, so nothing here follows a device.
CREATE TABLE devices (
    day INTEGER NOT NULL,
    nonce BLOB NOT NULL,
    grp INTEGER NOT NULL,
    parts INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    means BLOB NOT NULL,
    PRIMARY KEY (day, nonce, grp)
) WITHOUT ROWID;

CREATE TABLE rollouts (
    id TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    policy TEXT NOT NULL,
    digest TEXT NOT NULL,
    devices INTEGER NOT NULL,
    needs INTEGER NOT NULL,
    state TEXT NOT NULL,
    stage INTEGER NOT NULL,
    step INTEGER NOT NULL,
    begun_s INTEGER NOT NULL,
    reason TEXT NOT NULL,
    applied_by TEXT NOT NULL,
    applied_s INTEGER NOT NULL,
    changed_s INTEGER NOT NULL,
    candidate TEXT NOT NULL,
    signed INTEGER NOT NULL,
    told INTEGER NOT NULL DEFAULT 0
);
-- When the gates last looked at the clock.
CREATE TABLE clock (one INTEGER PRIMARY KEY CHECK (one = 1), seen_s INTEGER NOT NULL);
CREATE TABLE approvals (
    rollout TEXT NOT NULL REFERENCES rollouts (id),
    name TEXT NOT NULL,
    at_s INTEGER NOT NULL,
    PRIMARY KEY (rollout, name)
) WITHOUT ROWID;
CREATE TABLE steps (
    rollout TEXT NOT NULL REFERENCES rollouts (id),
    step INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    begun_s INTEGER NOT NULL,
    ended_s INTEGER,
    ended_by TEXT,
    PRIMARY KEY (rollout, step)
) WITHOUT ROWID;
CREATE TABLE looks (
    rollout TEXT NOT NULL REFERENCES rollouts (id),
    step INTEGER NOT NULL,
    n INTEGER NOT NULL,
    at_s INTEGER NOT NULL,
    look TEXT NOT NULL,
    decision TEXT NOT NULL,
    PRIMARY KEY (rollout, step, n)
) WITHOUT ROWID;

CREATE TABLE audit (
    row INTEGER PRIMARY KEY,
    at_s INTEGER NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    before BLOB NOT NULL,
    hash BLOB NOT NULL
);
-- Against slips; the chain of hashes is against the rest.
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'a row of the audit log never changes'); END;
CREATE TRIGGER audit_remains BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'a row of the audit log is never removed'); END;
-- The newest row, so that one that was cut off at the end is missed.
CREATE TABLE audit_head (one INTEGER PRIMARY KEY CHECK (one = 1), row INTEGER NOT NULL, hash BLOB NOT NULL);

CREATE TABLE tokens (
    hash BLOB PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    made_s INTEGER NOT NULL,
    revoked_s INTEGER
) WITHOUT ROWID;
CREATE TABLE alive (n INTEGER NOT NULL);
INSERT INTO alive VALUES (0);

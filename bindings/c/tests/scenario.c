/* Plays tests/scenario.txt. Usage: scenario SCENARIO WORLD SCRATCH */
#define _POSIX_C_SOURCE 200809L

#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>

enum { MAX_WORDS = 24 };

static const char *world;
static const char *scratch;
static char store[64] = "store";
static uint32_t min_inferences = 10;
static ff_runtime *runtime;
static ff_event_queue *queue;
static int line_number;

#define AT_LINE(condition)                                                                      \
    do {                                                                                        \
        if (!(condition)) {                                                                     \
            fprintf(stderr, "line %d of the scenario: not so: %s\n", line_number, #condition); \
            exit(1);                                                                            \
        }                                                                                       \
    } while (0)

static ff_status open_runtime(const char *repository) {
    char store_dir[1024], path[1024];
    size_t len;
    ff_status status;
    unsigned char *root = contents(world, "root.json", &len);
    ff_model_options model;
    ff_runtime_options options;
    ff_error error;
    FF_INIT(&model);
    FF_INIT(&options);
    FF_INIT(&error);
    snprintf(store_dir, sizeof store_dir, "%s/%s", scratch, store);
    snprintf(path, sizeof path, "%s/%s", world, repository);
    model.name = "digits";
    model.repository = path;
    model.root_json = root;
    model.root_json_len = len;
    model.min_inferences = min_inferences;
    model.health_window_s = FF_NONE;
    options.store_dir = store_dir;
    options.models = &model;
    options.n_models = 1;
    status = ff_runtime_open(&options, &runtime, &error);
    free(root);
    if (status == FF_OK) {
        RETURNS(FF_OK, ff_events_subscribe(runtime, 0, &queue, NULL));
    } else {
        fprintf(stderr, "%s\n", error.message);
    }
    return status;
}

static ff_status active(const char *version) {
    ff_model *model;
    ff_model_info info;
    ff_status status = ff_model_active(runtime, "digits", &model, NULL);
    FF_INIT(&info);
    if (strcmp(version, "-") == 0) {
        AT_LINE(status == FF_ERR_NOT_INSTALLED);
        return FF_OK;
    }
    if (status != FF_OK) {
        return status;
    }
    RETURNS(FF_OK, ff_model_get_info(model, &info, NULL));
    AT_LINE(strcmp(info.version, version) == 0);
    ff_model_release(model);
    return FF_OK;
}

static ff_model *serving(void) {
    ff_model *model;
    AT_LINE(ff_model_active(runtime, "digits", &model, NULL) == FF_OK);
    return model;
}

static ff_status run(const char *number) {
    char name[32];
    size_t n_in, n_out, len;
    void *in;
    const void *out;
    ff_model *model = serving();
    ff_session *session;
    unsigned char *input = contents(world, "input.bin", &n_in), *expected;
    snprintf(name, sizeof name, "output-%s.bin", number);
    expected = contents(world, name, &n_out);
    RETURNS(FF_OK, ff_session_create(model, NULL, &session, NULL));
    ff_model_release(model);
    RETURNS(FF_OK, ff_session_input(session, 0, &in, &len, NULL));
    AT_LINE(len == n_in);
    memcpy(in, input, len);
    RETURNS(FF_OK, ff_session_run(session, NULL, NULL));
    RETURNS(FF_OK, ff_session_output(session, 0, &out, &len, NULL));
    AT_LINE(len == n_out && memcmp(out, expected, len) == 0);
    ff_session_release(session);
    free(input);
    free(expected);
    return FF_OK;
}

static ff_status bad_input(void) {
    ff_model *model = serving();
    ff_session *session;
    ff_error error;
    size_t len;
    unsigned char *input = contents(world, "input.bin", &len);
    FF_INIT(&error);
    RETURNS(FF_OK, ff_session_create(model, NULL, &session, NULL));
    RETURNS(FF_ERR_LENGTH, ff_session_bind_input(session, 0, input, len - 1, &error));
    AT_LINE(error.status == FF_ERR_LENGTH && error.tensor_index == 0 && error.message[0] != 0);
    RETURNS(FF_ERR_NO_SUCH_TENSOR, ff_session_bind_input(session, 1, input, len, &error));
    AT_LINE(error.status == FF_ERR_NO_SUCH_TENSOR && error.tensor_index == 1);
    ff_session_release(session);
    ff_model_release(model);
    free(input);
    return FF_OK;
}

static ff_status cancel(void) {
    ff_model *model = serving();
    ff_session *session;
    ff_cancel *flag;
    size_t n_in, n_out;
    unsigned char *input = contents(world, "input.bin", &n_in), *expected = contents(world, "output-1.bin", &n_out);
    unsigned char out[1024];
    AT_LINE(n_out <= sizeof out);
    RETURNS(FF_OK, ff_session_create(model, NULL, &session, NULL));
    RETURNS(FF_OK, ff_cancel_create(&flag));
    RETURNS(FF_OK, ff_session_bind_input(session, 0, input, n_in, NULL));
    RETURNS(FF_OK, ff_session_bind_output(session, 0, out, n_out, NULL));
    RETURNS(FF_OK, ff_cancel_set(flag, 1));
    RETURNS(FF_ERR_CANCELLED, ff_session_run(session, flag, NULL));
    RETURNS(FF_OK, ff_cancel_set(flag, 0));
    RETURNS(FF_OK, ff_session_run(session, flag, NULL));
    AT_LINE(memcmp(out, expected, n_out) == 0);
    ff_cancel_release(flag);
    ff_session_release(session);
    ff_model_release(model);
    free(input);
    free(expected);
    return FF_OK;
}

/* What the threads of close-while-running share. */
static ff_session *shared_session;
static pthread_barrier_t start, end;
static int n_rounds;
static long right, busy, closed;
static pthread_mutex_t counts = PTHREAD_MUTEX_INITIALIZER;

/* One of the threads: each round has its own session, which all run until one of them has closed it. */
static void *runs(void *closes) {
    long mine[3] = {0, 0, 0};
    int round, i;
    for (round = 0; round < n_rounds; round++) {
        pthread_barrier_wait(&start);
        for (i = 0;; i++) {
            ff_status status = ff_session_run(shared_session, NULL, NULL);
            CHECK(status == FF_OK || status == FF_ERR_BUSY || status == FF_ERR_CLOSED);
            mine[status == FF_OK ? 0 : status == FF_ERR_BUSY ? 1 : 2]++;
            if (status == FF_ERR_CLOSED) {
                break;
            }
            if (closes != NULL && i == round % 4) {
                ff_session_release(shared_session);
                CHECK(ff_session_run(shared_session, NULL, NULL) == FF_ERR_CLOSED);
            }
            if (status == FF_ERR_BUSY) {
                sched_yield();
            }
        }
        pthread_barrier_wait(&end);
    }
    pthread_mutex_lock(&counts);
    right += mine[0];
    busy += mine[1];
    closed += mine[2];
    pthread_mutex_unlock(&counts);
    return NULL;
}

static ff_status close_while_running(int n_threads, int n_handles) {
    ff_model *model = serving();
    size_t n_in, n_out;
    unsigned char *input = contents(world, "input.bin", &n_in), *expected = contents(world, "output-1.bin", &n_out);
    unsigned char out[1024];
    int round, i, answered = 0;
    pthread_t threads[64];
    AT_LINE(n_threads <= 64 && n_out <= sizeof out);
    /* Some tools make everything much slower. */
    n_rounds = getenv("FLEETFOOT_FEW") != NULL ? atoi(getenv("FLEETFOOT_FEW")) : n_handles;
    AT_LINE(pthread_barrier_init(&start, NULL, (unsigned)n_threads + 1) == 0);
    AT_LINE(pthread_barrier_init(&end, NULL, (unsigned)n_threads + 1) == 0);
    for (i = 0; i < n_threads; i++) {
        AT_LINE(pthread_create(&threads[i], NULL, runs, i == 0 ? &threads[0] : NULL) == 0);
    }
    for (round = 0; round < n_rounds; round++) {
        RETURNS(FF_OK, ff_session_create(model, NULL, &shared_session, NULL));
        RETURNS(FF_OK, ff_session_bind_input(shared_session, 0, input, n_in, NULL));
        RETURNS(FF_OK, ff_session_bind_output(shared_session, 0, out, n_out, NULL));
        memset(out, 0x33, sizeof out);
        pthread_barrier_wait(&start);
        pthread_barrier_wait(&end);
        /* The last run that was let in came to its end before the session was closed: all of its output is there, or none. */
        answered += memcmp(out, expected, n_out) == 0;
        for (i = 0; memcmp(out, expected, n_out) != 0 && (size_t)i < n_out; i++) {
            AT_LINE(out[i] == 0x33);
        }
    }
    for (i = 0; i < n_threads; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("%d handles, each closed by one of %d threads: %d were run, %ld runs, %ld busy\n", n_rounds, n_threads, answered, right, busy);
    AT_LINE(answered > 0 && closed == (long)n_threads * n_rounds);
    pthread_barrier_destroy(&start);
    pthread_barrier_destroy(&end);
    ff_model_release(model);
    free(input);
    free(expected);
    return FF_OK;
}

typedef ff_status (*poll_fn)(ff_runtime *, const char *, int64_t, ff_update_result *, ff_error *);

static ff_status activate(ff_runtime *of, const char *name, int64_t now_s, ff_update_result *result, ff_error *error) {
    (void)now_s;
    return ff_update_activate(of, name, result, error);
}

static ff_status polls(poll_fn poll, char **words) {
    static const char *const kinds[] = {"up-to-date", "staged", "trial", "active", "rejected", "deferred"};
    ff_update_result result;
    ff_error error;
    ff_status status;
    FF_INIT(&result);
    FF_INIT(&error);
    status = poll(runtime, "digits", 0, &result, &error);
    if (status != FF_OK) {
        fprintf(stderr, "%s\n", error.message);
        return status;
    }
    AT_LINE(result.kind >= 0 && result.kind < 6 && strcmp(kinds[result.kind], words[1]) == 0);
    AT_LINE(strcmp(words[2], "-") == 0 || strcmp(result.version, words[2]) == 0);
    AT_LINE(result.code == atoi(words[3]));
    return FF_OK;
}

static ff_status outcomes(int n, int good) {
    ff_model *model = serving();
    ff_status status = FF_OK;
    while (status == FF_OK && n-- > 0) {
        status = ff_outcome(runtime, model, good, NULL);
    }
    ff_model_release(model);
    return status;
}

static ff_status events(int n, char **kinds) {
    static const char *const names[] = {"other", "refreshed", "offered", "fetching", "fetched", "validated", "staged", "trial", "active",
                                        "rejected", "deferred", "withdrawn", "rolled_back", "fell_back", "skipped", "state_lost", "failed"};
    static uint64_t seq;
    ff_event event;
    int i;
    FF_INIT(&event);
    for (i = 0; i < n; i++) {
        AT_LINE(ff_events_next(queue, &event, 0) == FF_OK);
        AT_LINE(event.kind >= 0 && event.kind < 17);
        if (strcmp(names[event.kind], kinds[i]) != 0) {
            fprintf(stderr, "line %d: %s (%s), not %s\n", line_number, names[event.kind], event.text, kinds[i]);
            exit(1);
        }
        AT_LINE(event.seq == 1 || event.seq == seq + 1);
        seq = event.seq;
    }
    AT_LINE(ff_events_next(queue, &event, 0) == FF_ERR_TIMEOUT);
    return FF_OK;
}

static ff_status step(int n, char **words) {
    const char *what = words[0];
    if (strcmp(what, "limits") == 0) {
        min_inferences = (uint32_t)atoi(words[1]);
    } else if (strcmp(what, "store") == 0) {
        snprintf(store, sizeof store, "%s", words[1]);
    } else if (strcmp(what, "open") == 0) {
        return open_runtime(words[1]);
    } else if (strcmp(what, "close") == 0) {
        ff_runtime_release(runtime);
        ff_events_release(queue);
    } else if (strcmp(what, "active") == 0) {
        return active(words[1]);
    } else if (strcmp(what, "run") == 0) {
        return run(words[1]);
    } else if (strcmp(what, "bad-input") == 0) {
        return bad_input();
    } else if (strcmp(what, "cancel") == 0) {
        return cancel();
    } else if (strcmp(what, "close-while-running") == 0) {
        return close_while_running(atoi(words[1]), atoi(words[2]));
    } else if (strcmp(what, "poll-other") == 0) {
        ff_update_result result;
        FF_INIT(&result);
        return ff_update_poll(runtime, "other", 0, &result, NULL);
    } else if (strcmp(what, "poll") == 0) {
        return polls(ff_update_poll, words);
    } else if (strcmp(what, "stage") == 0) {
        return polls(ff_update_stage, words);
    } else if (strcmp(what, "activate") == 0) {
        return polls(activate, words);
    } else if (strcmp(what, "outcomes") == 0) {
        return outcomes(atoi(words[1]), 1);
    } else if (strcmp(what, "outcome-bad") == 0) {
        return outcomes(1, 0);
    } else if (strcmp(what, "confirm") == 0) {
        return ff_confirm_healthy(runtime, "digits", NULL);
    } else if (strcmp(what, "rollback") == 0) {
        return ff_rollback(runtime, "digits", words[1], NULL);
    } else if (strcmp(what, "events") == 0) {
        return events(n - 1, words + 1);
    } else {
        fprintf(stderr, "line %d: no step %s\n", line_number, what);
        exit(1);
    }
    return FF_OK;
}

int main(int argc, char **argv) {
    char line[512];
    int played = 0;
    FILE *file;
    CHECK(argc == 4);
    world = argv[2];
    scratch = argv[3];
    mkdir(scratch, 0755);
    file = fopen(argv[1], "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        char *words[MAX_WORDS];
        char *rest = line;
        int n = 0, at = 0;
        ff_status expected = FF_OK, found;
        line_number++;
        while (n < MAX_WORDS && (words[n] = strtok_r(rest, " \n", &rest)) != NULL) {
            n++;
        }
        if (n == 0 || words[0][0] == '#') {
            continue;
        }
        if (strcmp(words[at], "handles") == 0) {
            at++;
        }
        if (strcmp(words[at], "fails") == 0) {
            expected = atoi(words[at + 1]);
            at += 2;
        }
        found = step(n - at, words + at);
        if (found != expected) {
            fprintf(stderr, "line %d: %d %s, not %d\n", line_number, (int)found, ff_status_name(found), (int)expected);
            exit(1);
        }
        played++;
    }
    fclose(file);
    CHECK(played > 60);
    printf("scenario: %d steps ok\n", played);
    return 0;
}

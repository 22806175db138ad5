/* Every entry point with NULL, with a handle that is closed, with a struct of a wrong size; then models from a file, a part of a file and memory, what is
 * bound, batches, images, threads, arenas of the caller, metrics, and a poll that is fed. Usage: api WORLD SCRATCH */
#define _POSIX_C_SOURCE 200809L

#include "check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *world;
static const char *scratch;
static unsigned char *key;
static unsigned char *input;
static unsigned char *expected; /* what release 1 answers */
static size_t input_len, expected_len;

static ff_runtime *open_runtime(const char *store, const char *repository) {
    static char store_dir[1024], path[1024];
    size_t len;
    unsigned char *root = contents(world, "root.json", &len);
    ff_model_options model;
    ff_runtime_options options;
    ff_runtime *runtime;
    FF_INIT(&model);
    FF_INIT(&options);
    snprintf(store_dir, sizeof store_dir, "%s/%s", scratch, store);
    snprintf(path, sizeof path, "%s/%s", world, repository ? repository : "");
    model.name = "digits";
    model.repository = repository ? path : NULL;
    model.root_json = root;
    model.root_json_len = len;
    model.min_inferences = 2;
    model.health_window_s = FF_NONE;
    options.store_dir = store_dir;
    options.models = &model;
    options.n_models = 1;
    RETURNS(FF_OK, ff_runtime_open(&options, &runtime, NULL));
    free(root);
    return runtime;
}

/* Calls everything that takes a handle with these handles, all of which must be refused with `status`. */
static void refused(ff_status status, ff_model *model, ff_session *session, ff_cancel *cancel, ff_runtime *runtime, ff_update *update, ff_event_queue *queue) {
    ff_model_info model_info;
    ff_tensor_info info;
    ff_run_metrics metrics;
    ff_update_result result;
    ff_request request;
    ff_event event;
    ff_image image;
    ff_error error;
    ff_session *made = NULL;
    ff_model *active = NULL;
    ff_update *begun = NULL;
    ff_event_queue *subscribed = NULL;
    void *data = NULL;
    const void *output = NULL;
    size_t len = 0;
    const void *inputs[1];
    void *outputs[1];
    unsigned char byte = 0;
    inputs[0] = &byte;
    outputs[0] = &byte;
    FF_INIT(&model_info);
    FF_INIT(&info);
    FF_INIT(&metrics);
    FF_INIT(&result);
    FF_INIT(&request);
    FF_INIT(&event);
    FF_INIT(&image);
    FF_INIT(&error);
    RETURNS(status, ff_model_get_info(model, &model_info, &error));
    CHECK(error.status == status && error.message[0] != 0 && error.tensor_index == FF_NO_TENSOR);
    RETURNS(status, ff_model_input(model, 0, &info, &error));
    RETURNS(status, ff_model_output(model, 0, &info, &error));
    RETURNS(status, ff_session_create(model, NULL, &made, &error));
    CHECK(made == NULL);
    RETURNS(status, ff_session_input(session, 0, &data, &len, &error));
    RETURNS(status, ff_session_output(session, 0, &output, &len, &error));
    RETURNS(status, ff_session_bind_input(session, 0, &byte, 1, &error));
    RETURNS(status, ff_session_bind_output(session, 0, &byte, 1, &error));
    RETURNS(status, ff_session_run(session, NULL, &error));
    RETURNS(status, ff_session_run_batch(session, 1, inputs, outputs, &error));
    RETURNS(status, ff_session_metrics(session, &metrics, &error));
    RETURNS(status, ff_session_set_image(session, 0, &image, &error));
    RETURNS(status, ff_cancel_set(cancel, 1));
    RETURNS(status, ff_model_active(runtime, "digits", &active, &error));
    CHECK(active == NULL);
    RETURNS(status, ff_confirm_healthy(runtime, "digits", &error));
    RETURNS(status, ff_rollback(runtime, "digits", "1.0.0", &error));
    RETURNS(status, ff_status_json(runtime, NULL, 0, &len, &error));
    RETURNS(status, ff_outcome(runtime, model, 1, &error));
    RETURNS(status, ff_update_poll(runtime, "digits", 0, &result, &error));
    RETURNS(status, ff_update_stage(runtime, "digits", 0, &result, &error));
    RETURNS(status, ff_update_activate(runtime, "digits", &result, &error));
    RETURNS(status, ff_update_begin(runtime, "digits", 0, 0, &begun, &error));
    CHECK(begun == NULL);
    RETURNS(status, ff_update_next(update, &request, &result, &error));
    RETURNS(status, ff_update_feed(update, &byte, 1, &error));
    RETURNS(status, ff_update_answer(update, FF_ANSWER_WHOLE, 0, NULL, &error));
    RETURNS(status, ff_events_subscribe(runtime, 0, &subscribed, &error));
    CHECK(subscribed == NULL);
    RETURNS(status, ff_events_next(queue, &event, 0));
    ff_model_release(model);
    ff_session_release(session);
    ff_cancel_release(cancel);
    ff_runtime_release(runtime);
    ff_update_release(update);
    ff_events_release(queue);
}

static void handles(void) {
    ff_model *model = release(world, 1);
    ff_session *session;
    ff_cancel *cancel;
    ff_runtime *runtime = open_runtime("handles", "1");
    ff_update *update;
    ff_event_queue *queue;
    RETURNS(FF_OK, ff_session_create(model, NULL, &session, NULL));
    RETURNS(FF_OK, ff_cancel_create(&cancel));
    RETURNS(FF_OK, ff_events_subscribe(runtime, 0, &queue, NULL));
    RETURNS(FF_OK, ff_update_begin(runtime, "digits", 0, 0, &update, NULL));

    refused(FF_ERR_NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    /* Each in the place of another kind. */
    refused(FF_ERR_CLOSED, (ff_model *)session, (ff_session *)model, (ff_cancel *)model, (ff_runtime *)queue, (ff_update *)runtime, (ff_event_queue *)update);
    /* None of them came to harm. */
    RETURNS(FF_OK, ff_session_run(session, cancel, NULL));

    ff_model_release(model);
    ff_session_release(session);
    ff_cancel_release(cancel);
    ff_update_release(update);
    ff_events_release(queue);
    ff_runtime_release(runtime);
    refused(FF_ERR_CLOSED, model, session, cancel, runtime, update, queue);
    refused(FF_ERR_CLOSED, model, session, cancel, runtime, update, queue);
}

/* Every pointer that is needed, NULL. */
static void nulls(void) {
    ff_model *model = release(world, 1), *out = NULL;
    ff_runtime *runtime = open_runtime("nulls", "1"), *held;
    ff_session *session;
    ff_update_result result;
    ff_update *update;
    ff_request request;
    ff_event_queue *queue;
    ff_model_options model_options;
    ff_runtime_options options;
    void *data;
    const void *output;
    const void *inputs[1];
    void *outputs[1];
    size_t len;
    inputs[0] = NULL;
    outputs[0] = NULL;
    FF_INIT(&result);
    FF_INIT(&request);
    FF_INIT(&options);
    FF_INIT(&model_options);
    RETURNS(FF_ERR_NULL, ff_model_from_file(NULL, key, 1, 1, &out, NULL));
    RETURNS(FF_ERR_NULL, ff_model_from_file("x", NULL, 1, 1, &out, NULL));
    RETURNS(FF_ERR_NULL, ff_model_from_file("x", key, 1, 1, NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_model_from_fd(0, 0, 1, NULL, 1, 1, &out, NULL));
    RETURNS(FF_ERR_NULL, ff_model_from_fd(0, 0, 1, key, 1, 1, NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_model_from_memory(NULL, 0, key, 1, 1, &out, NULL));
    RETURNS(FF_ERR_NULL, ff_model_from_memory("", 1, NULL, 1, 1, &out, NULL));
    RETURNS(FF_ERR_NULL, ff_model_from_memory("", 1, key, 1, 1, NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_model_get_info(model, NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_model_input(model, 0, NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_model_output(model, 0, NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_session_create(model, NULL, NULL, NULL));
    RETURNS(FF_OK, ff_session_create(model, NULL, &session, NULL));
    RETURNS(FF_ERR_NULL, ff_session_input(session, 0, NULL, &len, NULL));
    RETURNS(FF_ERR_NULL, ff_session_input(session, 0, &data, NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_session_output(session, 0, NULL, &len, NULL));
    RETURNS(FF_ERR_NULL, ff_session_output(session, 0, &output, NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_session_run_batch(session, 1, NULL, outputs, NULL));
    RETURNS(FF_ERR_NULL, ff_session_run_batch(session, 1, inputs, NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_session_run_batch(session, 1, inputs, outputs, NULL));
    inputs[0] = input;
    RETURNS(FF_ERR_NULL, ff_session_run_batch(session, 1, inputs, outputs, NULL));
    RETURNS(FF_ERR_NULL, ff_session_metrics(session, NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_session_set_image(session, 0, NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_cancel_create(NULL));
    RETURNS(FF_ERR_NULL, ff_runtime_open(NULL, NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_runtime_open(&options, NULL, NULL));
    held = runtime;
    RETURNS(FF_ERR_NULL, ff_runtime_open(NULL, &runtime, NULL));
    CHECK(runtime == NULL);
    runtime = held;
    {
        ff_runtime *made = NULL;
        RETURNS(FF_ERR_NULL, ff_runtime_open(&options, &made, NULL));
        options.store_dir = scratch;
        RETURNS(FF_ERR_ARGUMENT, ff_runtime_open(&options, &made, NULL));
        options.n_models = 1;
        RETURNS(FF_ERR_NULL, ff_runtime_open(&options, &made, NULL));
        options.models = &model_options;
        RETURNS(FF_ERR_NULL, ff_runtime_open(&options, &made, NULL));
        model_options.name = "digits";
        model_options.root_json_len = 1;
        RETURNS(FF_ERR_NULL, ff_runtime_open(&options, &made, NULL));
        CHECK(made == NULL);
    }
    RETURNS(FF_ERR_NULL, ff_model_active(runtime, NULL, &out, NULL));
    RETURNS(FF_ERR_NULL, ff_model_active(runtime, "digits", NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_outcome(runtime, NULL, 1, NULL));
    RETURNS(FF_ERR_NULL, ff_confirm_healthy(runtime, NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_rollback(runtime, NULL, "1", NULL));
    RETURNS(FF_ERR_NULL, ff_rollback(runtime, "digits", NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_status_json(runtime, NULL, 0, NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_status_json(runtime, NULL, 7, &len, NULL));
    RETURNS(FF_ERR_NULL, ff_update_poll(runtime, NULL, 0, &result, NULL));
    RETURNS(FF_ERR_NULL, ff_update_poll(runtime, "digits", 0, NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_update_stage(runtime, NULL, 0, &result, NULL));
    RETURNS(FF_ERR_NULL, ff_update_stage(runtime, "digits", 0, NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_update_activate(runtime, NULL, &result, NULL));
    RETURNS(FF_ERR_NULL, ff_update_activate(runtime, "digits", NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_update_begin(runtime, NULL, 0, 0, &update, NULL));
    RETURNS(FF_ERR_NULL, ff_update_begin(runtime, "digits", 0, 0, NULL, NULL));
    RETURNS(FF_OK, ff_update_begin(runtime, "digits", 0, 0, &update, NULL));
    RETURNS(FF_ERR_NULL, ff_update_next(update, NULL, &result, NULL));
    RETURNS(FF_ERR_NULL, ff_update_next(update, &request, NULL, NULL));
    RETURNS(FF_ERR_NULL, ff_update_feed(update, NULL, 1, NULL));
    RETURNS(FF_ERR_NULL, ff_events_subscribe(runtime, 0, NULL, NULL));
    RETURNS(FF_OK, ff_events_subscribe(runtime, 0, &queue, NULL));
    RETURNS(FF_ERR_NULL, ff_events_next(queue, NULL, 0));
    ff_events_release(queue);
    ff_update_release(update);
    ff_session_release(session);
    ff_model_release(model);
    ff_runtime_release(runtime);
}

/* A struct_size that no version has is refused, one byte more than is known is not, and nothing beyond a struct is written. */
#define SIZES(type, call)                                           \
    do {                                                            \
        struct {                                                    \
            type s;                                                 \
            unsigned char behind[64];                               \
        } room;                                                     \
        unsigned i;                                                 \
        memset(&room, 0x5A, sizeof room);                           \
        FF_INIT(&room.s);                                           \
        room.s.struct_size = 0;                                     \
        RETURNS(FF_ERR_STRUCT_SIZE, call(&room.s));                 \
        room.s.struct_size = (uint32_t)sizeof(type) - 1;            \
        RETURNS(FF_ERR_STRUCT_SIZE, call(&room.s));                 \
        room.s.struct_size = 0xffffffffu;                           \
        RETURNS(FF_ERR_STRUCT_SIZE, call(&room.s));                 \
        room.s.struct_size = (uint32_t)sizeof(type) + 8;            \
        CHECK(call(&room.s) != FF_ERR_STRUCT_SIZE);                 \
        CHECK(room.s.struct_size == (uint32_t)sizeof(type) + 8);    \
        for (i = 0; i < sizeof room.behind; i++) {                  \
            CHECK(room.behind[i] == 0x5A);                          \
        }                                                           \
    } while (0)

static ff_model *sized_model;
static ff_session *sized_session;
static ff_runtime *sized_runtime;
static ff_update *sized_update;
static ff_event_queue *sized_queue;

static ff_status size_error(ff_error *e) { return ff_session_run(NULL, NULL, e); }
static ff_status size_model_info(ff_model_info *s) { return ff_model_get_info(sized_model, s, NULL); }
static ff_status size_input(ff_tensor_info *s) { return ff_model_input(sized_model, 0, s, NULL); }
static ff_status size_output(ff_tensor_info *s) { return ff_model_output(sized_model, 0, s, NULL); }
static ff_status size_metrics(ff_run_metrics *s) { return ff_session_metrics(sized_session, s, NULL); }
static ff_status size_image(ff_image *s) { return ff_session_set_image(sized_session, 0, s, NULL); }
static ff_status size_poll(ff_update_result *s) { return ff_update_poll(sized_runtime, "digits", 0, s, NULL); }
static ff_status size_stage(ff_update_result *s) { return ff_update_stage(sized_runtime, "digits", 0, s, NULL); }
static ff_status size_activate(ff_update_result *s) { return ff_update_activate(sized_runtime, "digits", s, NULL); }
static ff_status size_event(ff_event *s) { return ff_events_next(sized_queue, s, 0); }
static ff_status size_request(ff_request *s) {
    ff_update_result result;
    FF_INIT(&result);
    return ff_update_next(sized_update, s, &result, NULL);
}
static ff_status size_next_result(ff_update_result *s) {
    ff_request request;
    FF_INIT(&request);
    return ff_update_next(sized_update, &request, s, NULL);
}
static ff_status size_session_options(ff_session_options *s) {
    ff_session *made;
    ff_status status = ff_session_create(sized_model, s, &made, NULL);
    ff_session_release(made);
    return status;
}
static ff_status size_runtime_options(ff_runtime_options *s) {
    ff_runtime *made;
    return ff_runtime_open(s, &made, NULL);
}
static ff_status size_model_options(ff_model_options *s) {
    ff_runtime *made;
    ff_runtime_options options;
    FF_INIT(&options);
    options.store_dir = scratch;
    options.models = s;
    options.n_models = 1;
    return ff_runtime_open(&options, &made, NULL);
}

static void sizes(void) {
    CHECK(sizeof(ff_error) == 256);
    sized_model = release(world, 1);
    sized_runtime = open_runtime("sizes", NULL);
    RETURNS(FF_OK, ff_session_create(sized_model, NULL, &sized_session, NULL));
    RETURNS(FF_OK, ff_update_begin(sized_runtime, "digits", 0, 0, &sized_update, NULL));
    RETURNS(FF_OK, ff_events_subscribe(sized_runtime, 0, &sized_queue, NULL));
    SIZES(ff_error, size_error);
    SIZES(ff_model_info, size_model_info);
    SIZES(ff_tensor_info, size_input);
    SIZES(ff_tensor_info, size_output);
    SIZES(ff_run_metrics, size_metrics);
    SIZES(ff_image, size_image);
    SIZES(ff_request, size_request);
    SIZES(ff_update_result, size_next_result);
    SIZES(ff_update_result, size_poll);
    SIZES(ff_update_result, size_stage);
    SIZES(ff_update_result, size_activate);
    SIZES(ff_event, size_event);
    SIZES(ff_session_options, size_session_options);
    SIZES(ff_runtime_options, size_runtime_options);
    SIZES(ff_model_options, size_model_options);
    ff_events_release(sized_queue);
    ff_update_release(sized_update);
    ff_session_release(sized_session);
    ff_model_release(sized_model);
    ff_runtime_release(sized_runtime);
}

/* An ff_error whose size no version has: every function says so, does nothing else, and leaves it alone. */
static void wrong_errors(void) {
    ff_model *model = release(world, 1), *made_model = NULL;
    ff_runtime *runtime = open_runtime("errors", NULL), *made_runtime = NULL;
    ff_session *session, *made_session = NULL;
    ff_update *update, *made_update = NULL;
    ff_event_queue *made_queue = NULL;
    ff_model_info model_info;
    ff_tensor_info info;
    ff_run_metrics metrics;
    ff_update_result result;
    ff_request request;
    ff_image image;
    ff_runtime_options options;
    ff_error error, before;
    void *data = NULL;
    const void *output = NULL;
    const void *inputs[1];
    void *outputs[1];
    unsigned char byte = 0;
    size_t len = 0;
    int i;
    static const uint32_t wrong[] = {0, 4, sizeof error - 1, 4097, 0xffffffffu};
    inputs[0] = &byte;
    outputs[0] = &byte;
    FF_INIT(&model_info);
    FF_INIT(&info);
    FF_INIT(&metrics);
    FF_INIT(&result);
    FF_INIT(&request);
    FF_INIT(&image);
    FF_INIT(&options);
    RETURNS(FF_OK, ff_session_create(model, NULL, &session, NULL));
    RETURNS(FF_OK, ff_update_begin(runtime, "digits", 0, 0, &update, NULL));
    for (i = 0; i < 5; i++) {
        memset(&error, 0x5A, sizeof error);
        error.struct_size = wrong[i];
        before = error;
        RETURNS(FF_ERR_STRUCT_SIZE, ff_model_from_file("x", key, 1, 1, &made_model, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_model_from_fd(0, 0, 1, key, 1, 1, &made_model, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_model_from_memory("", 1, key, 1, 1, &made_model, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_model_get_info(model, &model_info, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_model_input(model, 0, &info, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_model_output(model, 0, &info, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_session_create(model, NULL, &made_session, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_session_input(session, 0, &data, &len, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_session_output(session, 0, &output, &len, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_session_bind_input(session, 0, input, input_len, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_session_bind_output(session, 0, expected, expected_len, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_session_run(session, NULL, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_session_run_batch(session, 0, inputs, outputs, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_session_metrics(session, &metrics, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_session_set_image(session, 0, &image, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_runtime_open(&options, &made_runtime, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_model_active(runtime, "digits", &made_model, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_outcome(runtime, model, 1, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_confirm_healthy(runtime, "digits", &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_rollback(runtime, "digits", "1.0.0", &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_status_json(runtime, NULL, 0, &len, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_update_poll(runtime, "digits", 0, &result, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_update_stage(runtime, "digits", 0, &result, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_update_activate(runtime, "digits", &result, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_update_begin(runtime, "digits", 0, 0, &made_update, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_update_next(update, &request, &result, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_update_feed(update, &byte, 1, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_update_answer(update, FF_ANSWER_WHOLE, 0, NULL, &error));
        RETURNS(FF_ERR_STRUCT_SIZE, ff_events_subscribe(runtime, 0, &made_queue, &error));
        CHECK(memcmp(&error, &before, sizeof error) == 0);
    }
    CHECK(made_model == NULL && made_session == NULL && made_runtime == NULL && made_update == NULL && made_queue == NULL && data == NULL);
    RETURNS(FF_OK, ff_session_metrics(session, &metrics, NULL));
    CHECK(metrics.runs == 0);
    ff_update_release(update);
    ff_session_release(session);
    ff_runtime_release(runtime);
    ff_model_release(model);
}

/* Runs `model` on the input and compares with what release 1 answers. */
static void answers(const ff_model *model, const ff_session_options *options) {
    ff_session *session;
    void *in;
    const void *out;
    size_t n_in, n_out;
    int i;
    RETURNS(FF_OK, ff_session_create(model, options, &session, NULL));
    RETURNS(FF_OK, ff_session_input(session, 0, &in, &n_in, NULL));
    RETURNS(FF_OK, ff_session_output(session, 0, &out, &n_out, NULL));
    CHECK(n_in == input_len && n_out == expected_len && (size_t)in % 16 == 0);
    for (i = 0; i < 3; i++) {
        memcpy(in, input, n_in);
        RETURNS(FF_OK, ff_session_run(session, NULL, NULL));
        CHECK(memcmp(out, expected, n_out) == 0);
    }
    ff_session_release(session);
}

static void models(void) {
    size_t len, i, other = 0;
    unsigned char *bundle = contents(world, "1.ff", &len);
    unsigned char *apk;
    char path[1024];
    FILE *file;
    int fd;
    ff_model *model = release(world, 1), *more = NULL;
    ff_model_info info;
    ff_tensor_info tensor;
    ff_error error;
    unsigned char wrong[64];
    FF_INIT(&error);
    FF_INIT(&info);
    FF_INIT(&tensor);
    answers(model, NULL);
    RETURNS(FF_OK, ff_model_get_info(model, &info, &error));
    CHECK(info.n_inputs == 1 && info.n_outputs == 1 && info.number == 1 && info.arena_len > 0);
    CHECK(strcmp(info.name, "digits") == 0 && strcmp(info.version, "1.0.0") == 0);
    for (i = 0; i < 32; i++) {
        other |= info.sha256[i];
    }
    CHECK(other != 0);
    RETURNS(FF_OK, ff_model_input(model, 0, &tensor, &error));
    CHECK(tensor.dtype == FF_INT8 && tensor.rank >= 2 && tensor.byte_len == input_len && tensor.scale > 0 && tensor.name[0] != 0);
    for (i = 0, other = 1; i < tensor.rank; i++) {
        other *= tensor.dims[i];
    }
    CHECK(other == tensor.byte_len && tensor.dims[5] == 0);
    RETURNS(FF_OK, ff_model_output(model, 0, &tensor, &error));
    CHECK(tensor.byte_len == expected_len);
    RETURNS(FF_ERR_NO_SUCH_TENSOR, ff_model_input(model, 1, &tensor, &error));
    CHECK(error.tensor_index == 1 && strstr(error.message, "input") != NULL);
    RETURNS(FF_ERR_NO_SUCH_TENSOR, ff_model_output(model, 0xffffffffu, &tensor, &error));
    ff_model_release(model);

    RETURNS(FF_OK, ff_model_from_memory(bundle, len, key, 1, 1, &model, &error));
    answers(model, NULL);
    ff_model_release(model);

    /* In a larger file, where it can be mapped and where it has to be copied. */
    snprintf(path, sizeof path, "%s/app.apk", scratch);
    apk = (unsigned char *)calloc(1, len + 4096 + 5);
    CHECK(apk != NULL);
    for (i = 0; i < 3; i++) {
        size_t at = i == 0 ? 0 : i == 1 ? 64 : 4096 + 5;
        memset(apk, 0xEE, len + 4096 + 5);
        memcpy(apk + at, bundle, len);
        file = fopen(path, "wb");
        CHECK(file != NULL && fwrite(apk, 1, len + 4096 + 5, file) == len + 4096 + 5);
        fclose(file);
        fd = open(path, O_RDONLY);
        CHECK(fd >= 0);
        RETURNS(FF_OK, ff_model_from_fd(fd, at, len, key, 1, 1, &model, &error));
        CHECK(close(fd) == 0);
        answers(model, NULL);
        ff_model_release(model);
        remove(path);
    }
    fd = open(world, O_RDONLY);
    RETURNS(FF_ERR_FILE, ff_model_from_fd(fd, 0, len, key, 1, 1, &model, &error));
    close(fd);
    RETURNS(FF_ERR_FILE, ff_model_from_fd(fd, 0, len, key, 1, 1, &model, &error));
    CHECK(error.os_errno != 0);
    RETURNS(FF_ERR_ARGUMENT, ff_model_from_fd(-1, 0, len, key, 1, 1, &model, &error));
    snprintf(path, sizeof path, "%s/1.ff", world);
    fd = open(path, O_RDONLY);
    RETURNS(FF_ERR_FILE, ff_model_from_fd(fd, 0, len + 1, key, 1, 1, &model, &error));
    RETURNS(FF_ERR_FILE, ff_model_from_fd(fd, 0, 0, key, 1, 1, &model, &error));
    RETURNS(FF_ERR_FILE, ff_model_from_fd(fd, ~(uint64_t)0, ~(uint64_t)0, key, 1, 1, &model, &error));
    close(fd);

    /* Who signed, and what. */
    memset(wrong, 7, sizeof wrong);
    memcpy(wrong + 32, key, 32);
    RETURNS(FF_ERR_TOO_FEW_SIGNATURES, ff_model_from_memory(bundle, len, wrong, 1, 1, &more, &error));
    CHECK(more == NULL && error.status == FF_ERR_TOO_FEW_SIGNATURES);
    RETURNS(FF_ERR_TOO_FEW_SIGNATURES, ff_model_from_memory(bundle, len, wrong, 2, 2, &more, &error));
    RETURNS(FF_OK, ff_model_from_memory(bundle, len, wrong, 2, 1, &more, &error));
    ff_model_release(more);
    RETURNS(FF_ERR_NUMBER_OF_KEYS, ff_model_from_memory(bundle, len, key, 0, 0, &more, &error));
    CHECK(ff_model_from_memory(bundle, len, key, 1, 0, &more, &error) != FF_OK);
    CHECK(ff_model_from_memory(bundle, len, key, 0xffffffffu, 1, &more, &error) != FF_OK);
    bundle[len - 100] ^= 1;
    RETURNS(FF_ERR_SECTION_HASH, ff_model_from_memory(bundle, len, key, 1, 1, &more, &error));
    bundle[20] ^= 1;
    CHECK(ff_model_from_memory(bundle, len, key, 1, 1, &more, &error) != FF_OK);
    for (i = 0; i < 200; i++) {
        CHECK(ff_model_from_memory(bundle, i, key, 1, 1, &more, &error) != FF_OK);
    }
    RETURNS(FF_ERR_FILE, ff_model_from_file("/there/is/no/such/file", key, 1, 1, &more, &error));
    CHECK(error.os_errno == 2 && strstr(error.message, "/there/is/no/such/file") != NULL);
    RETURNS(FF_ERR_TEXT, ff_model_from_file("\xff\xfe", key, 1, 1, &more, &error));
    free(apk);
    free(bundle);
}

static void bound(void) {
    ff_model *model = release(world, 1);
    ff_session *session;
    ff_error error;
    ff_run_metrics metrics;
    ff_session_options options;
    void *in;
    const void *out;
    size_t n;
    int i;
    /* At odd addresses. */
    unsigned char *from = (unsigned char *)malloc(input_len + 1), *to = (unsigned char *)malloc(expected_len + 1);
    CHECK(from != NULL && to != NULL);
    FF_INIT(&error);
    FF_INIT(&metrics);
    FF_INIT(&options);
    options.flags = FF_SESSION_TIMED;
    memcpy(from + 1, input, input_len);
    RETURNS(FF_OK, ff_session_create(model, &options, &session, NULL));
    RETURNS(FF_ERR_LENGTH, ff_session_bind_input(session, 0, from, input_len + 1, &error));
    CHECK(error.tensor_index == 0);
    RETURNS(FF_ERR_LENGTH, ff_session_bind_output(session, 0, to, 0, &error));
    RETURNS(FF_ERR_NO_SUCH_TENSOR, ff_session_bind_input(session, 1, from, input_len, &error));
    CHECK(error.tensor_index == 1);
    RETURNS(FF_ERR_NO_SUCH_TENSOR, ff_session_bind_output(session, 9, to, expected_len, &error));
    RETURNS(FF_OK, ff_session_bind_input(session, 0, from + 1, input_len, &error));
    RETURNS(FF_OK, ff_session_bind_output(session, 0, to + 1, expected_len, &error));
    /* Bound once, run often: the input stays what it is. */
    for (i = 0; i < 600; i++) {
        memset(to, 0, expected_len + 1);
        RETURNS(FF_OK, ff_session_run(session, NULL, &error));
        CHECK(memcmp(to + 1, expected, expected_len) == 0 && to[0] == 0);
    }
    CHECK(memcmp(from + 1, input, input_len) == 0);
    RETURNS(FF_OK, ff_session_metrics(session, &metrics, &error));
    CHECK(metrics.runs == 600 && metrics.timed_runs == 512 && metrics.arena_len > 0);
    CHECK(0 < metrics.min_ns && metrics.min_ns <= metrics.p50_ns && metrics.p50_ns <= metrics.p99_ns && metrics.p99_ns <= metrics.max_ns);
    /* Unbound, it is the arena again. */
    RETURNS(FF_OK, ff_session_bind_input(session, 0, NULL, 0, &error));
    RETURNS(FF_OK, ff_session_bind_output(session, 0, NULL, 0, &error));
    free(from);
    free(to);
    RETURNS(FF_OK, ff_session_input(session, 0, &in, &n, &error));
    memcpy(in, input, n);
    RETURNS(FF_OK, ff_session_run(session, NULL, &error));
    RETURNS(FF_OK, ff_session_output(session, 0, &out, &n, &error));
    CHECK(memcmp(out, expected, n) == 0);
    ff_session_release(session);
    options.flags = 2;
    RETURNS(FF_ERR_ARGUMENT, ff_session_create(model, &options, &session, &error));
    CHECK(session == NULL);
    ff_model_release(model);
}

static void batches(void) {
    enum { ITEMS = 7 };
    ff_model *model = release(world, 1);
    uint32_t threads;
    for (threads = 1; threads <= 3; threads++) {
        ff_session *session;
        ff_session_options options;
        ff_run_metrics metrics;
        const void *inputs[1];
        void *outputs[1];
        unsigned char *in = (unsigned char *)malloc(ITEMS * input_len), *out = (unsigned char *)malloc(ITEMS * expected_len);
        int i;
        CHECK(in != NULL && out != NULL);
        for (i = 0; i < ITEMS; i++) {
            memcpy(in + (size_t)i * input_len, input, input_len);
        }
        inputs[0] = in;
        outputs[0] = out;
        FF_INIT(&options);
        FF_INIT(&metrics);
        options.threads = threads;
        RETURNS(FF_OK, ff_session_create(model, &options, &session, NULL));
        memset(out, 0, ITEMS * expected_len);
        RETURNS(FF_OK, ff_session_run_batch(session, ITEMS, inputs, outputs, NULL));
        for (i = 0; i < ITEMS; i++) {
            CHECK(memcmp(out + (size_t)i * expected_len, expected, expected_len) == 0);
        }
        RETURNS(FF_OK, ff_session_run_batch(session, 0, inputs, outputs, NULL));
        RETURNS(FF_ERR_ARGUMENT, ff_session_run_batch(session, ~(size_t)0, inputs, outputs, NULL));
        RETURNS(FF_OK, ff_session_metrics(session, &metrics, NULL));
        CHECK(metrics.runs == ITEMS && metrics.timed_runs == 0 && metrics.p50_ns == 0);
        ff_session_release(session);
        answers(model, &options);
        free(in);
        free(out);
    }
    {
        ff_session *session;
        ff_session_options options;
        FF_INIT(&options);
        options.threads = 65;
        RETURNS(FF_ERR_THREAD_COUNT, ff_session_create(model, &options, &session, NULL));
    }
    ff_model_release(model);
}

static void arenas(void) {
    ff_model *model = release(world, 1);
    ff_model_info info;
    ff_session_options options;
    ff_session *session;
    ff_error error;
    void *in;
    const void *out;
    size_t n_in, n_out;
    unsigned char *room, *arena;
    FF_INIT(&info);
    FF_INIT(&options);
    FF_INIT(&error);
    RETURNS(FF_OK, ff_model_get_info(model, &info, NULL));
    room = (unsigned char *)malloc((size_t)info.arena_len + 128);
    CHECK(room != NULL);
    memset(room, 0xAB, (size_t)info.arena_len + 128);
    arena = room + (64 - (size_t)room % 64);
    options.arena = arena + 1;
    options.arena_len = (size_t)info.arena_len;
    RETURNS(FF_ERR_UNALIGNED, ff_session_create(model, &options, &session, &error));
    options.arena = arena;
    options.arena_len--;
    RETURNS(FF_ERR_ARENA_TOO_SMALL, ff_session_create(model, &options, &session, &error));
    options.arena_len++;
    answers(model, &options);
    RETURNS(FF_OK, ff_session_create(model, &options, &session, &error));
    RETURNS(FF_OK, ff_session_input(session, 0, &in, &n_in, NULL));
    RETURNS(FF_OK, ff_session_output(session, 0, &out, &n_out, NULL));
    CHECK((unsigned char *)in >= arena && (unsigned char *)in + n_in <= arena + info.arena_len);
    memcpy(in, input, n_in);
    RETURNS(FF_OK, ff_session_run(session, NULL, NULL));
    ff_session_release(session);
    CHECK(memcmp(out, expected, n_out) == 0);
    CHECK(arena[info.arena_len] == 0xAB && arena[-1] == 0xAB);
    free(room);
    ff_model_release(model);
}

/* The digits are images of one channel, so grey pixels are their input as it is. */
static void images(void) {
    ff_model *model = release(world, 1);
    ff_session *session;
    ff_tensor_info tensor;
    ff_image image;
    ff_error error;
    const void *out;
    void *in;
    size_t n, i;
    unsigned char *pixels = (unsigned char *)malloc(4 * input_len);
    CHECK(pixels != NULL);
    FF_INIT(&tensor);
    FF_INIT(&image);
    FF_INIT(&error);
    RETURNS(FF_OK, ff_model_input(model, 0, &tensor, NULL));
    CHECK(tensor.rank == 4 && tensor.dims[3] == 1);
    for (i = 0; i < input_len; i++) {
        memset(pixels + 4 * i, input[i] ^ 0x80, 3);
        pixels[4 * i + 3] = 255;
    }
    image.format = FF_BGRA8888;
    image.width = tensor.dims[2];
    image.height = tensor.dims[1];
    image.stride[0] = 4 * image.width;
    image.plane[0] = pixels;
    RETURNS(FF_OK, ff_session_create(model, NULL, &session, NULL));
    RETURNS(FF_OK, ff_session_bind_input(session, 0, pixels, input_len, NULL));
    RETURNS(FF_OK, ff_session_set_image(session, 0, &image, &error));
    RETURNS(FF_OK, ff_session_input(session, 0, &in, &n, NULL));
    CHECK(memcmp(in, input, n) == 0);
    RETURNS(FF_OK, ff_session_run(session, NULL, NULL));
    RETURNS(FF_OK, ff_session_output(session, 0, &out, &n, NULL));
    CHECK(memcmp(out, expected, n) == 0);
    RETURNS(FF_ERR_NO_SUCH_TENSOR, ff_session_set_image(session, 1, &image, &error));
    CHECK(error.tensor_index == 1);
    image.plane[0] = NULL;
    RETURNS(FF_ERR_NULL, ff_session_set_image(session, 0, &image, &error));
    image.format = 77;
    RETURNS(FF_ERR_IMAGE, ff_session_set_image(session, 0, &image, &error));
    ff_session_release(session);
    ff_model_release(model);
    free(pixels);
}

/* Serves the files of a folder to a poll; `broken` of them fail in the middle. Returns what next returned in the end. */
static ff_status fed(ff_update *update, const char *repository, int broken, ff_update_result *result, ff_error *error) {
    ff_request request;
    ff_status status;
    FF_INIT(&request);
    while ((status = ff_update_next(update, &request, result, error)) == FF_OK && request.path != NULL) {
        char path[2048];
        unsigned char piece[1000];
        size_t n;
        FILE *file;
        snprintf(path, sizeof path, "%s/%s/%s", world, repository, request.path);
        file = fopen(path, "rb");
        if (file == NULL) {
            RETURNS(FF_OK, ff_update_answer(update, FF_ANSWER_MISSING, 0, NULL, NULL));
            continue;
        }
        CHECK(fseek(file, (long)request.offset, SEEK_SET) == 0);
        while ((n = fread(piece, 1, sizeof piece, file)) > 0) {
            RETURNS(FF_OK, ff_update_feed(update, piece, n, NULL));
            if (broken > 0 && strstr(request.path, ".ff") != NULL && --broken == 0) {
                RETURNS(FF_OK, ff_update_answer(update, FF_ANSWER_FAILED, 503, NULL, NULL));
                broken = -1;
                break;
            }
        }
        fclose(file);
        if (broken >= 0) {
            RETURNS(FF_OK, ff_update_answer(update, FF_ANSWER_WHOLE, 0, "\"tag\"", NULL));
        }
    }
    return status;
}

static void feeds(void) {
    ff_runtime *runtime = open_runtime("feeds", NULL);
    ff_update *update, *second;
    ff_update_result result;
    ff_request request;
    ff_model *model;
    ff_error error;
    ff_event_queue *queue;
    ff_event event;
    char json[2048];
    size_t need, i;
    unsigned char zeros[64] = {0};
    uint64_t going_on = 0;
    FF_INIT(&result);
    FF_INIT(&request);
    FF_INIT(&error);
    FF_INIT(&event);
    RETURNS(FF_OK, ff_events_subscribe(runtime, 4, &queue, NULL));
    RETURNS(FF_ERR_NO_REPOSITORY, ff_update_poll(runtime, "digits", 0, &result, &error));
    RETURNS(FF_OK, ff_update_begin(runtime, "digits", 0, 0, &update, &error));
    RETURNS(FF_ERR_BUSY, ff_update_begin(runtime, "digits", 0, 0, &second, &error));
    /* Metadata that is none, and one byte too much. */
    RETURNS(FF_OK, ff_update_next(update, &request, &result, &error));
    CHECK(request.offset == 0 && request.max_len > 1000 && request.etag == NULL);
    RETURNS(FF_ERR_BUSY, ff_rollback(runtime, "digits", "1.0.0", &error));
    RETURNS(FF_ERR_ARGUMENT, ff_update_answer(update, 4, 0, NULL, &error));
    RETURNS(FF_OK, ff_update_feed(update, zeros, 0, &error));
    RETURNS(FF_OK, ff_update_feed(update, zeros, sizeof zeros, &error));
    for (i = sizeof zeros; i + sizeof zeros <= request.max_len && i < 1 << 16; i += sizeof zeros) {
        RETURNS(FF_OK, ff_update_feed(update, zeros, sizeof zeros, &error));
    }
    RETURNS(FF_ERR_LENGTH, ff_update_feed(update, zeros, (size_t)request.max_len, &error));
    /* That was the answer. */
    RETURNS(FF_ERR_ARGUMENT, ff_update_answer(update, FF_ANSWER_WHOLE, 0, NULL, &error));
    CHECK(ff_update_next(update, &request, &result, &error) != FF_OK);
    CHECK(ff_update_next(update, &request, &result, &error) != FF_OK);
    RETURNS(FF_ERR_ARGUMENT, ff_update_feed(update, zeros, 1, &error));
    RETURNS(FF_ERR_ARGUMENT, ff_update_answer(update, FF_ANSWER_WHOLE, 0, NULL, &error));
    ff_update_release(update);

    /* The bundle breaks off, and the next poll goes on with it. */
    RETURNS(FF_OK, ff_update_begin(runtime, "digits", 0, 0, &update, &error));
    RETURNS(FF_ERR_TRANSPORT, fed(update, "1", 3, &result, &error));
    CHECK(strstr(error.message, "503") != NULL);
    ff_update_release(update);
    RETURNS(FF_ERR_NOT_INSTALLED, ff_model_active(runtime, "digits", &model, &error));
    RETURNS(FF_OK, ff_update_begin(runtime, "digits", 0, 0, &update, &error));
    RETURNS(FF_OK, fed(update, "1", 0, &result, &error));
    CHECK(result.kind == FF_UPDATE_TRIAL && result.number == 1 && strcmp(result.version, "1.0.0") == 0);
    ff_update_release(update);
    RETURNS(FF_OK, ff_model_active(runtime, "digits", &model, &error));
    answers(model, NULL);
    /* Outcomes during a poll are told behind it. */
    RETURNS(FF_OK, ff_update_begin(runtime, "digits", 0, 0, &update, &error));
    RETURNS(FF_OK, ff_update_next(update, &request, &result, &error));
    RETURNS(FF_OK, ff_outcome(runtime, model, 1, &error));
    RETURNS(FF_OK, ff_outcome(runtime, model, 1, &error));
    RETURNS(FF_OK, fed(update, "1", 0, &result, &error));
    ff_update_release(update);
    RETURNS(FF_OK, ff_status_json(runtime, NULL, 0, &need, &error));
    CHECK(need > 50 && need < sizeof json);
    RETURNS(FF_ERR_TOO_SMALL, ff_status_json(runtime, json, need - 1, &need, &error));
    RETURNS(FF_OK, ff_status_json(runtime, json, sizeof json, &need, &error));
    CHECK(strlen(json) + 1 == need && strstr(json, "\"trial\":false") != NULL && strstr(json, "\"version\":\"1.0.0\"") != NULL);

    /* The queue has room for four events: the others are counted. */
    RETURNS(FF_OK, ff_events_next(queue, &event, 0));
    CHECK(event.kind == FF_EVENT_DROPPED && event.a > 4 && event.seq == 0);
    for (i = 0; i < 4; i++) {
        RETURNS(FF_OK, ff_events_next(queue, &event, 1000));
        CHECK(going_on == 0 || event.seq == going_on + 1);
        going_on = event.seq;
        CHECK(strcmp(event.model, "digits") == 0 && event.text[0] != 0);
    }
    CHECK(event.kind == FF_EVENT_ACTIVE && event.number == 1 && strcmp(event.version, "1.0.0") == 0);
    RETURNS(FF_ERR_TIMEOUT, ff_events_next(queue, &event, 0));
    RETURNS(FF_ERR_TIMEOUT, ff_events_next(queue, &event, 20));

    /* A runtime that is closed takes its polls and queues with it; the model lives on. */
    RETURNS(FF_OK, ff_update_begin(runtime, "digits", 1, 0, &update, &error));
    RETURNS(FF_OK, ff_update_next(update, &request, &result, &error));
    ff_runtime_release(runtime);
    RETURNS(FF_ERR_STOPPED, ff_update_next(update, &request, &result, &error));
    while (ff_events_next(queue, &event, -1) == FF_OK) {
    }
    RETURNS(FF_ERR_CLOSED, ff_events_next(queue, &event, -1));
    ff_update_release(update);
    ff_events_release(queue);
    answers(model, NULL);
    ff_model_release(model);

    /* The store is free again, and one runtime has it at a time. */
    runtime = open_runtime("feeds", "1");
    {
        ff_model_options options;
        ff_runtime_options of;
        ff_runtime *other;
        char store[1024];
        FF_INIT(&options);
        FF_INIT(&of);
        snprintf(store, sizeof store, "%s/feeds", scratch);
        options.name = "digits";
        of.store_dir = store;
        of.models = &options;
        of.n_models = 1;
        RETURNS(FF_ERR_STORE_BUSY, ff_runtime_open(&of, &other, &error));
        options.name = "../digits";
        CHECK(ff_runtime_open(&of, &other, &error) != FF_OK);
        options.name = "other";
        options.attempts = 256;
        RETURNS(FF_ERR_ARGUMENT, ff_runtime_open(&of, &other, &error));
        options.attempts = 0;
        options.repository = "gopher://example.org";
        RETURNS(FF_ERR_TRANSPORT, ff_runtime_open(&of, &other, &error));
        CHECK(other == NULL);
    }
    ff_runtime_release(runtime);
}

/* A bad inference during a poll is not made good by those around it: the version on trial is out. */
static void bad_among_good(void) {
    ff_runtime *runtime = open_runtime("bad-among-good", NULL);
    ff_update *update;
    ff_update_result result;
    ff_request request;
    ff_model *model;
    ff_model_info info;
    char number[2] = "1";
    FF_INIT(&result);
    FF_INIT(&request);
    FF_INIT(&info);
    for (; number[0] <= '2'; number[0]++) {
        RETURNS(FF_OK, ff_update_begin(runtime, "digits", 0, 0, &update, NULL));
        RETURNS(FF_OK, fed(update, number, 0, &result, NULL));
        CHECK(result.kind == FF_UPDATE_TRIAL);
        ff_update_release(update);
        if (number[0] == '1') {
            RETURNS(FF_OK, ff_confirm_healthy(runtime, "digits", NULL));
        }
    }
    RETURNS(FF_OK, ff_model_active(runtime, "digits", &model, NULL));
    RETURNS(FF_OK, ff_update_begin(runtime, "digits", 0, 0, &update, NULL));
    RETURNS(FF_OK, ff_update_next(update, &request, &result, NULL));
    RETURNS(FF_OK, ff_outcome(runtime, model, 1, NULL));
    RETURNS(FF_OK, ff_outcome(runtime, model, 0, NULL));
    RETURNS(FF_OK, ff_outcome(runtime, model, 1, NULL));
    RETURNS(FF_OK, fed(update, "2", 0, &result, NULL));
    ff_update_release(update);
    ff_model_release(model);
    RETURNS(FF_OK, ff_model_active(runtime, "digits", &model, NULL));
    RETURNS(FF_OK, ff_model_get_info(model, &info, NULL));
    CHECK(strcmp(info.version, "1.0.0") == 0);
    ff_model_release(model);
    ff_runtime_release(runtime);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    world = argv[1];
    scratch = argv[2];
    mkdir(scratch, 0755);
    CHECK(ff_abi_version() >> 16 == FF_ABI_MAJOR);
    {
        size_t len;
        key = contents(world, "key.bin", &len);
        CHECK(len == 32);
    }
    input = contents(world, "input.bin", &input_len);
    expected = contents(world, "output-1.bin", &expected_len);
    handles();
    nulls();
    sizes();
    wrong_errors();
    models();
    bound();
    batches();
    arenas();
    images();
    feeds();
    bad_among_good();
    free(key);
    free(input);
    free(expected);
    puts("api: ok");
    return 0;
}

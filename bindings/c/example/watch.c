/* Keeps a model up to date from a repository, runs it, and says what happens: watch STORE REPOSITORY ROOT.json MODEL INPUT
 *
 * REPOSITORY is a folder or http://...; ROOT.json is the first root metadata; INPUT is a file with the bytes of input 0.
 */
#include <fleetfoot.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned char *read_file(const char *path, size_t *len) {
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = NULL;
    long end;
    if (file == NULL) return NULL;
    if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0) {
        bytes = (unsigned char *)malloc((size_t)end + 1);
        if (bytes != NULL) *len = fread(bytes, 1, (size_t)end, file);
    }
    fclose(file);
    return bytes;
}

static int failed(const char *what, ff_status status, const ff_error *error) {
    fprintf(stderr, "%s: %s: %s\n", what, ff_status_name(status), error->message);
    return 1;
}

int main(int argc, char **argv) {
    ff_error error;
    ff_model_options watched;
    ff_runtime_options options;
    ff_update_result result;
    ff_event event;
    ff_status status;
    ff_runtime *runtime = NULL;
    ff_event_queue *events = NULL;
    ff_model *model = NULL;
    ff_session *session = NULL;
    unsigned char *root, *input;
    size_t root_len = 0, input_len = 0, out_len, i, best = 0;
    const void *out;
    int inference;

    if (argc != 6) {
        fprintf(stderr, "usage: watch STORE REPOSITORY ROOT.json MODEL INPUT\n");
        return 2;
    }
    root = read_file(argv[3], &root_len);
    input = read_file(argv[5], &input_len);
    if (root == NULL || input == NULL) {
        fprintf(stderr, "cannot read %s or %s\n", argv[3], argv[5]);
        return 2;
    }
    FF_INIT(&error);
    FF_INIT(&result);
    FF_INIT(&event);
    FF_INIT(&watched);
    FF_INIT(&options);
    watched.name = argv[4];
    watched.repository = argv[2];
    watched.root_json = root;
    watched.root_json_len = root_len;
    watched.min_inferences = 10;
    watched.health_window_s = FF_NONE;
    options.store_dir = argv[1];
    options.models = &watched;
    options.n_models = 1;

    if ((status = ff_runtime_open(&options, &runtime, &error)) != FF_OK) return failed("open", status, &error);
    if ((status = ff_events_subscribe(runtime, 0, &events, &error)) != FF_OK) return failed("events", status, &error);

    /* Once a quarter of an hour would do. Whatever comes of it, the version that served before still serves, or a better one does. */
    status = ff_update_poll(runtime, argv[4], 0, &result, &error);
    if (status == FF_OK) {
        printf("poll: %s\n", result.text);
    } else {
        failed("poll", status, &error);
    }

    if ((status = ff_model_active(runtime, argv[4], &model, &error)) != FF_OK) return failed("active", status, &error);
    if ((status = ff_session_create(model, NULL, &session, &error)) != FF_OK) return failed("session", status, &error);
    if ((status = ff_session_bind_input(session, 0, input, input_len, &error)) != FF_OK) return failed("input", status, &error);
    if ((status = ff_session_output(session, 0, &out, &out_len, &error)) != FF_OK) return failed("output", status, &error);
    for (inference = 0; inference < 10; inference++) {
        status = ff_session_run(session, NULL, &error);
        ff_outcome(runtime, model, status == FF_OK, NULL);
        if (status != FF_OK) return failed("run", status, &error);
    }
    for (i = 1; i < out_len; i++) {
        if (((const int8_t *)out)[i] > ((const int8_t *)out)[best]) best = i;
    }
    printf("answer: class %u\n", (unsigned)best);

    while (ff_events_next(events, &event, 0) == FF_OK) {
        printf("event %u: %s\n", (unsigned)event.seq, event.text);
    }
    ff_session_release(session);
    ff_model_release(model);
    ff_events_release(events);
    ff_runtime_release(runtime);
    free(root);
    free(input);
    return 0;
}

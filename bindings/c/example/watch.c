/* Classifies a photo, takes updates, says what happens, and survives a bad version: watch STORE REPOSITORY ROOT.json MODEL PHOTO.ppm
 *
 * REPOSITORY is a folder or http://...; ROOT.json is the first root metadata, which a program brings along; PHOTO.ppm is a portable pixmap (P6).
 */
#include <fleetfoot.h>
#include <stdio.h>
#include <stdlib.h>

enum { TRIAL = 10 /* good answers that a new version has to give before it is active */ };

static int failed(const char *what, ff_status status, const ff_error *error) {
    fprintf(stderr, "%s: %s (%d): %s\n", what, ff_status_name(status), (int)status, error->message);
    return 1;
}

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

/* Reads a photo into an image whose plane has to be freed; 0 if it is none. */
static int read_photo(const char *path, ff_image *image) {
    unsigned width, height, depth;
    size_t i;
    unsigned char *pixels = NULL;
    FILE *file = fopen(path, "rb");
    if (file == NULL) return 0;
    if (fscanf(file, "P6 %u %u %u", &width, &height, &depth) == 3 && depth == 255 && fgetc(file) != EOF && width > 0 && width <= 8192 &&
        height > 0 && height <= 8192) {
        pixels = (unsigned char *)calloc((size_t)width * height, 4);
    }
    for (i = 0; pixels != NULL && i < (size_t)width * height; i++) {
        if (fread(pixels + 4 * i, 1, 3, file) != 3) {
            free(pixels);
            pixels = NULL;
        }
    }
    fclose(file);
    if (pixels == NULL) return 0;
    FF_INIT(image);
    image->format = FF_RGBA8888;
    image->width = width;
    image->height = height;
    image->stride[0] = 4 * width;
    image->filter = FF_BILINEAR;
    image->plane[0] = pixels;
    return 1;
}

/* One poll. Once in some hours would do. Whatever comes of it, the version that served before still serves, or a better one does. */
static void poll(ff_runtime *runtime, const char *name) {
    ff_update_result result;
    ff_error error;
    ff_status status;
    FF_INIT(&result);
    FF_INIT(&error);
    status = ff_update_poll(runtime, name, 0, &result, &error);
    if (status != FF_OK) {
        failed("poll", status, &error);
        return;
    }
    printf("poll: %s\n", result.text);
    if (result.kind == FF_UPDATE_REJECTED) printf("survived: %s is out (%d)\n", result.version, (int)result.code);
}

/* Classifies the photo with the version that serves, and says whether that was good: TRIAL times, as a camera would. */
static int classify(ff_runtime *runtime, const char *name, const ff_image *photo) {
    ff_error error;
    ff_model_info info;
    ff_model *model = NULL;
    ff_session *session = NULL;
    ff_status status;
    const void *out = NULL;
    size_t len = 0, i, best = 0;
    int answer;
    FF_INIT(&error);
    FF_INIT(&info);
    status = ff_model_active(runtime, name, &model, &error);
    if (status == FF_OK) status = ff_model_get_info(model, &info, &error);
    if (status == FF_OK) status = ff_session_create(model, NULL, &session, &error);
    if (status == FF_OK) status = ff_session_output(session, 0, &out, &len, &error);
    for (answer = 0; status == FF_OK && answer < TRIAL; answer++) {
        status = ff_session_set_image(session, 0, photo, &error);
        if (status == FF_OK) status = ff_session_run(session, NULL, &error);
        /* A bad one ends the trial of a version, and the one before serves again. */
        ff_outcome(runtime, model, status == FF_OK, NULL);
    }
    if (status == FF_OK) {
        for (i = 1; i < len; i++) {
            if (((const int8_t *)out)[i] > ((const int8_t *)out)[best]) best = i;
        }
        printf("answer: class %u from version %s\n", (unsigned)best, info.version);
    }
    ff_session_release(session);
    ff_model_release(model);
    return status == FF_OK ? 0 : failed("classify", status, &error);
}

int main(int argc, char **argv) {
    ff_error error;
    ff_model_options watched;
    ff_runtime_options options;
    ff_event event;
    ff_image photo;
    ff_status status;
    ff_runtime *runtime = NULL;
    ff_event_queue *events = NULL;
    unsigned char *root;
    size_t root_len = 0;
    int code;

    if (argc != 6) {
        fprintf(stderr, "usage: watch STORE REPOSITORY ROOT.json MODEL PHOTO.ppm\n");
        return 2;
    }
    root = read_file(argv[3], &root_len);
    if (root == NULL || !read_photo(argv[5], &photo)) {
        fprintf(stderr, "cannot read %s, or %s is no portable pixmap of 8 bits\n", argv[3], argv[5]);
        return 2;
    }
    FF_INIT(&error);
    FF_INIT(&event);
    FF_INIT(&watched);
    FF_INIT(&options);
    watched.name = argv[4];
    watched.repository = argv[2];
    watched.root_json = root;
    watched.root_json_len = root_len;
    watched.min_inferences = TRIAL;
    watched.health_window_s = FF_NONE;
    options.store_dir = argv[1];
    options.models = &watched;
    options.n_models = 1;

    if ((status = ff_runtime_open(&options, &runtime, &error)) != FF_OK) return failed("open", status, &error);
    if ((status = ff_events_subscribe(runtime, 0, &events, &error)) != FF_OK) return failed("events", status, &error);
    poll(runtime, argv[4]);
    code = classify(runtime, argv[4], &photo);
    while (ff_events_next(events, &event, 0) == FF_OK) {
        printf("event: %s\n", event.text);
    }
    ff_events_release(events);
    ff_runtime_release(runtime);
    free(root);
    free((void *)photo.plane[0]);
    return code;
}

/* What the tests in C share: checks that say where they failed, files, and the world that tests/src/scenario.rs makes. */
#ifndef CHECK_H
#define CHECK_H

#include <fleetfoot.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

/* The call returns this status. */
#define RETURNS(status, call) returns_(status, call, #call, __FILE__, __LINE__)

static inline void returns_(ff_status expected, ff_status found, const char *call, const char *file, int line) {
    if (expected != found) {
        fprintf(stderr, "%s:%d: %s: %d %s, not %d %s\n", file, line, call, (int)found, ff_status_name(found), (int)expected, ff_status_name(expected));
        exit(1);
    }
}

/* A file of the world; its length goes to `len`. */
static inline unsigned char *contents(const char *world, const char *name, size_t *len) {
    char path[1024];
    FILE *file;
    unsigned char *bytes;
    snprintf(path, sizeof path, "%s/%s", world, name);
    file = fopen(path, "rb");
    CHECK(file != NULL);
    bytes = (unsigned char *)malloc(1 << 20);
    CHECK(bytes != NULL);
    *len = fread(bytes, 1, 1 << 20, file);
    CHECK(*len < 1 << 20);
    fclose(file);
    return bytes;
}

/* The model of release `number`, from its file. */
static inline ff_model *release(const char *world, int number) {
    char path[1024];
    size_t len;
    ff_model *model;
    unsigned char *key = contents(world, "key.bin", &len);
    snprintf(path, sizeof path, "%s/%d.ff", world, number);
    RETURNS(FF_OK, ff_model_from_file(path, key, 1, 1, &model, NULL));
    free(key);
    return model;
}

#endif

/* What a call from C costs, with the library that Kotlin uses: calls BUNDLE KEY. Prints the least and the middle time of a call in ns. */
#define _POSIX_C_SOURCE 200809L

#include <fleetfoot.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 4000, CALLS = 500 };

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv) {
    static double times[ROUNDS];
    unsigned char key[32];
    ff_model *model;
    ff_session *session;
    ff_error error;
    FILE *file = argc == 3 ? fopen(argv[2], "rb") : NULL;
    int round, call;
    FF_INIT(&error);
    if (file == NULL || fread(key, 1, 32, file) != 32 || ff_model_from_file(argv[1], key, 1, 1, &model, &error) != FF_OK ||
        ff_session_create(model, NULL, &session, &error) != FF_OK) {
        fprintf(stderr, "usage: calls BUNDLE KEY: %s\n", error.message);
        return 2;
    }
    for (round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        for (call = 0; call < CALLS; call++) {
            if (ff_session_run(session, NULL, &error) != FF_OK) return 1;
        }
        times[round] = (now_ns() - start) / CALLS;
    }
    qsort(times, ROUNDS, sizeof times[0], by_size);
    printf("%.1f %.1f\n", times[0], times[ROUNDS / 2]);
    return 0;
}

/* Models and sessions only: what a library without updates has, and one in which a panic ends the process. Usage: first WORLD */
#include "check.h"

int main(int argc, char **argv) {
    ff_model *model;
    ff_session *session;
    ff_error error;
    void *to;
    const void *from;
    size_t input_len, expected_len, len;
    unsigned char *input, *expected, byte = 0;
    CHECK(argc == 2);
    model = release(argv[1], 1);
    input = contents(argv[1], "input.bin", &input_len);
    expected = contents(argv[1], "output-1.bin", &expected_len);
    RETURNS(FF_OK, ff_session_create(model, NULL, &session, NULL));
    RETURNS(FF_OK, ff_session_input(session, 0, &to, &len, NULL));
    CHECK(len == input_len);
    memcpy(to, input, len);
    RETURNS(FF_OK, ff_session_run(session, NULL, NULL));
    RETURNS(FF_OK, ff_session_output(session, 0, &from, &len, NULL));
    CHECK(len == expected_len && memcmp(from, expected, len) == 0);
    /* Refusals are no panics. */
    FF_INIT(&error);
    RETURNS(FF_ERR_NULL, ff_session_input(session, 0, NULL, &len, &error));
    CHECK(error.message[0] != 0);
    CHECK(ff_model_from_memory(&byte, 1, &byte, 1, 1, &model, &error) != FF_OK);
    ff_session_release(session);
    RETURNS(FF_ERR_CLOSED, ff_session_run(session, NULL, NULL));
    free(input);
    free(expected);
    printf("one inference: %u bytes, as expected\n", (unsigned)len);
    return 0;
}

/* One run with all defaults, for the comparison of the surfaces (bindings/python/tests/test_surfaces.py).
 *
 *   defaults sample MODEL CONVENTIONS PLAN LABEL...
 *   defaults generate MODEL CONVENTIONS PLAN TOKEN...
 *   defaults draw MODEL CONVENTIONS PLAN BYTE...          the bytes of a prompt, as numbers
 *   defaults latents MODEL
 *
 * An empty CONVENTIONS or PLAN is none. Prints a line "name bytes" in hexadecimal for each tensor; latents turns
 * states of 1/8, 2/8, ... into pictures. */
#include <diffaccel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64 };

static int failed(const char *what) {
    fprintf(stderr, "defaults: %s: %s\n", what, da_last_error());
    return 1;
}

static void show(const char *name, const void *data, size_t bytes) {
    printf("%s ", name);
    for (size_t i = 0; i < bytes; i++) printf("%02x", ((const unsigned char *)data)[i]);
    printf("\n");
}

static int decode(da_model model) {
    static float latents[1 * 4 * 8 * 8];
    for (int i = 0; i < 256; i++) latents[i] = (float)(i % 8 + 1) / 8;
    da_tensor in = {sizeof in, DA_F32, "latents", latents, sizeof latents, 4, 0, {1, 4, 8, 8}};
    da_tensor out = {sizeof out, 0, "image", NULL, 0, 0, 0, {0}};
    if (da_model_forward(model, &in, 1, &out, 1, NULL)) return failed("size");
    out.data = malloc(out.bytes);
    if (!out.data || da_model_forward(model, &in, 1, &out, 1, NULL)) return failed("forward");
    show("image", out.data, out.bytes);
    free(out.data);
    return 0;
}

static int run(da_session session, const char *way, int64_t *numbers, size_t count) {
    da_result result;
    uint8_t prompt[MOST];
    da_tensor given = {sizeof given, DA_I64, "labels", numbers, count * sizeof *numbers, 1, 0, {(int64_t)count}};
    if (!strcmp(way, "generate")) given.name = "tokens";
    if (!strcmp(way, "draw")) {
        for (size_t i = 0; i < count; i++) prompt[i] = (uint8_t)numbers[i];
        given.name = "prompt", given.dtype = DA_U8, given.data = prompt, given.bytes = count;
    }
    if (da_session_run(session, NULL, 0, &given, 1, NULL, NULL, &result)) return failed("run");
    static const char *const names[] = {"latents", "images", "tokens"};
    for (int i = 0; i < 3; i++) {
        da_tensor view = {sizeof view, 0, NULL, NULL, 0, 0, 0, {0}};
        if (!da_result_tensor(result, names[i], &view)) show(names[i], view.data, view.bytes);
    }
    return da_result_close(result) != DA_OK;
}

int main(int argc, char **argv) {
    if (argc < 3) return 64;
    da_model model;
    da_model_options options;
    da_model_options_init(&options, sizeof options);
    if (argc > 3 && argv[3][0]) options.conventions = argv[3];
    if (da_model_open(argv[2], &options, &model)) return failed("open");
    if (!strcmp(argv[1], "latents")) return decode(model);
    da_plan plan = NULL;
    if (argc > 4 && argv[4][0] && da_plan_load(argv[4], &plan)) return failed("plan");
    da_session session;
    if (da_session_create(model, plan, NULL, &session)) return failed("session");
    int64_t numbers[MOST];
    size_t count = 0;
    for (int i = 5; i < argc && count < MOST; i++) numbers[count++] = strtoll(argv[i], NULL, 10);
    return run(session, argv[1], numbers, count);
}

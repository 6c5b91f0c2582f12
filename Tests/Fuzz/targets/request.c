/* A request: byte 0 says which tensors come with it and what becomes of its events, bytes 1 to 8 what the tensors are like; the
 * rest is JSON of any bytes. It is estimated, and run when the estimate says that it ends soon. */
#include "../weights.h"
#include "api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static da_session session;

void fuzz_start(void) {
    size_t size;
    struct fuzz_file file = fuzz_create("x.safetensors");
    uint8_t *image = tiny_transformer(&size);
    char config[1024];
    snprintf(config, sizeof config, "%s}", tiny_transformer_config);
    fuzz_write(&file, image, size);
    free(image);
    da_model model = NULL;
    da_model_options options;
    da_model_options_init(&options, sizeof options);
    options.config = config;
    fuzz_require(da_model_open(file.path, &options, &model) == DA_OK, "the good transformer", 0);
    da_session_options session_options;
    da_session_options_init(&session_options, sizeof session_options);
    session_options.threads = 1;
    session_options.memory_limit = 16 << 20;
    fuzz_require(da_session_create(model, NULL, &session_options, &session) == DA_OK, "a session", 0);
    da_model_close(model);
}

/* Stops early enough that no input takes long. */
static int32_t on_event(void *user, const da_event *event) { return fuzz_event(user, event) || event->step >= 8; }

void fuzz_input(const uint8_t *data, size_t size) {
    static int64_t labels[2] = {1, 2};
    static float noise[2 * 16 * 4];
    static char text[4096];
    if (size < 9) return;
    const struct {
        const char *name;
        int32_t dtype;
        void *data;
        size_t size;
    } kinds[] = {{"labels", DA_I64, labels, 8},
                 {"noise", DA_F32, noise, 4},
                 {"step_noise", DA_F32, noise, 4},
                 {"spacing", DA_U8, "even", 1}};
    da_tensor tensors[4];
    size_t count = 0, needed = 0;
    for (size_t i = 0; i < 4; i++) {
        if (!(data[0] >> (4 + i) & 1)) continue;
        uint8_t shape = data[1 + 2 * i], odd = data[2 + 2 * i];
        size_t most = i == 3 ? 4 : i ? sizeof noise / 4 : 2;
        da_tensor *t = &tensors[count++];
        *t = (da_tensor){
            .struct_size = sizeof *t, .dtype = kinds[i].dtype, .name = kinds[i].name, .data = kinds[i].data, .rank = 1};
        t->shape[0] = (int64_t)(shape < 128 ? i == 1 ? 16 * (1 + shape % 3) : most : shape % (most + 1));
        t->bytes = (size_t)t->shape[0] * kinds[i].size;
        if (odd < 200) continue;
        if (odd & 1) t->rank = odd % 10;
        if (odd & 2) t->shape[odd & 7] = (int64_t)shape << (odd & 63);
        if (odd & 4) t->name = kinds[shape & 3].name;
        if (odd & 8) t->dtype = odd & 16 ? DA_I64 : DA_U8;
    }
    const char *json = (const char *)data + 9;
    int32_t status = da_session_estimate(session, json, size - 9, tensors, count, text, sizeof text, &needed);
    fuzz_status(status, NULL, 0);
    da_result result = NULL;
    uint8_t choice = data[0];
    int32_t found = da_session_run(session, json, size - 9, tensors, count, on_event, &choice, &result);
    fuzz_status(found, result, 1);
    fuzz_kept_event();
    if (result) da_result_close(result);
    if (status < 0) fuzz_require(found == status, "run and estimate do not agree", found);
    else fuzz_require(found >= 0 || found == DA_NOT_FINITE || found == DA_OVER_BUDGET, "run and estimate do not agree", found);
}

/* The part of a config that says which process a model was trained for. Byte 0 chooses between the two layouts and what is
 * asked of the schedule; the rest is the text of the object. */
#include "../fuzz.h"
#include "../weights.h"

#include <stdio.h>
#include <stdlib.h>

static struct fuzz_file file;

static int32_t run(const char *config, uint8_t choice) {
    da_model model = NULL;
    da_model_options options;
    da_model_options_init(&options, sizeof options);
    options.config = config;
    int32_t status = da_model_open(file.path, &options, &model);
    fuzz_status(status, model, 1);
    if (status != DA_OK) return status;
    static const char *const spacings[] = {"null", "\"even\"", "\"leading\"", "\"strided\""};
    static char text[4096];
    size_t needed = 0;
    da_session session = NULL;
    da_session_options session_options;
    da_session_options_init(&session_options, sizeof session_options);
    session_options.threads = 1;
    fuzz_require(da_session_create(model, NULL, &session_options, &session) == DA_OK, "a session", 0);
    static const char *const samplers[] = {"null", "\"ddpm\"", "\"dpmpp_2m_karras\"", "\"unipc\""};
    char request[128];
    int length = snprintf(request, sizeof request, "{\"labels\":1,\"steps\":%d,\"spacing\":%s,\"sampler\":%s}",
                          1 + (choice >> 5), spacings[choice >> 1 & 3], samplers[choice >> 3 & 3]);
    fuzz_status(da_session_estimate(session, request, (size_t)length, NULL, 0, text, sizeof text, &needed), NULL, 0);
    da_session_close(session);
    da_model_close(model);
    return status;
}

void fuzz_start(void) {
    size_t size;
    uint8_t *image = tiny_transformer(&size);
    file = fuzz_create("x.safetensors");
    fuzz_write(&file, image, size);
    free(image);
    char config[1024];
    snprintf(config, sizeof config, "%s}", tiny_transformer_config);
    fuzz_require(run(config, 0x20) == DA_OK, "the good transformer", 0);
}

void fuzz_input(const uint8_t *data, size_t size) {
    static char config[1 << 17];
    if (size < 1) return;
    snprintf(config, sizeof config, "%s,\"%s\":%s}", tiny_transformer_config, data[0] & 1 ? "diffusion" : "scheduler",
             fuzz_text(data + 1, size - 1));
    run(config, data[0]);
}

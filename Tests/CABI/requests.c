/* What a request for images may say: every sampler by its names, the options that the model tells of; and what an estimate
 * depends on. */
#include "misuse.h"

static void try_sampler(da_session plain, const char *name, const char *others, int32_t status) {
    da_result made = NULL;
    STATUS(status, check_run(plain, quoted("{'labels':[1,2],'steps':6,'sampler':'%s'%s}", name, others), &made));
    if (made) STATUS(DA_OK, da_result_close(made));
}

/* Every sampler by its name and by its class; what a sampler does not have is refused. */
static void test_samplers(void) {
    static const char *const samplers[] = {"ddim",
                                           "ddpm",
                                           "pndm",
                                           "euler",
                                           "euler_karras",
                                           "euler_a",
                                           "heun",
                                           "heun_karras",
                                           "lms",
                                           "lms_karras",
                                           "dpmpp_2m",
                                           "dpmpp_2m_karras",
                                           "dpmpp_2m_sde",
                                           "dpmpp_sde",
                                           "dpmpp_sde_karras",
                                           "unipc",
                                           "unipc_karras",
                                           "lcm",
                                           "LCMScheduler",
                                           "EulerDiscreteScheduler",
                                           "dpmpp_2m_sde_karras"};
    da_session plain = NULL;
    STATUS(DA_OK, da_session_create(model, NULL, NULL, &plain));
    for (size_t i = 0; i < COUNT(samplers); i++) {
        const char *name = samplers[i];
        int is_spaced = strcmp(name, "lcm") && strcmp(name, "LCMScheduler");
        try_sampler(plain, name, "", DA_OK);
        try_sampler(plain, name, ",'spacing':'trailing'", is_spaced ? DA_OK : DA_UNSUPPORTED);
        try_sampler(plain, name, ",'spacing':'strided'", i < 2 ? DA_OK : DA_UNSUPPORTED);
        try_sampler(plain, name, ",'eta':0.5", i < 1 ? DA_OK : DA_UNSUPPORTED);
    }
    da_result none = NULL;
    STATUS(DA_INVALID_ARGUMENT, check_run(plain, "{\"labels\":1,\"sampler\":\"dpm_fast\"}", &none));
    CHECK(strstr(da_last_error(), "sampler") && strstr(da_last_error(), "dpmpp_2m_karras"), "%s", da_last_error());
    STATUS(DA_OK, da_session_close(plain));
}

/* The options that the model names are all that there are, and each one's default may be said. */
static void test_form(void) {
    static char text[1 << 16];
    STATUS(DA_OK, da_model_describe(model, text, sizeof text, NULL));
    const char *form = strstr(text, "\"request\":");
    CHECK(form, "no request in %.200s", text);
    static const char *const options[] = {"labels",       "steps",  "sampler",  "spacing",
                                          "steps_offset", "eta",    "guidance", "guidance_channels",
                                          "seed",         "decode", "tile"},
                             *const tensors[] = {"labels", "noise", "step_noise"};
    char part[64];
    for (size_t i = 0; form && i < COUNT(options); i++) {
        snprintf(part, sizeof part, "\"name\":\"%s\"", options[i]);
        CHECK(strstr(form, part), "no option %s in the form", options[i]);
    }
    for (size_t i = 0; form && i < COUNT(tensors); i++) {
        snprintf(part, sizeof part, "\"name\":\"%s\"", tensors[i]);
        const char *list = strstr(form, "\"tensors\":");
        CHECK(list && strstr(list, part), "no tensor %s in the form", tensors[i]);
    }
    static const char said[] = REQUEST(
        ",\"steps\":6,\"steps_offset\":0,\"eta\":0,\"guidance_channels\":3,\"decode\":true,"
        "\"tile\":\"auto\",\"comment\":\"the same\"");
    float latents[2 * TINY_STATE], again[2 * TINY_STATE];
    STATUS(DA_OK, check_sample(session, check_request, latents));
    STATUS(DA_OK, check_sample(session, said, again));
    CHECK(!memcmp(latents, again, sizeof latents), "defaults that are said give other values");
}

/* An estimate has no chance in it, and does nothing to what follows. */
static void test_estimates(void) {
    char first[4096], second[4096];
    STATUS(DA_OK, check_estimate(session, check_request, first, sizeof first, NULL));
    STATUS(DA_OK, check_estimate(session, check_request, second, sizeof second, NULL));
    CHECK(!strcmp(first, second), "two estimates of one request differ");
    STATUS(DA_OK, check_estimate(session, "{\"labels\":[4,4],\"seed\":99,\"steps\":6.0}", second, sizeof second, NULL));
    CHECK(!strcmp(first, second), "an estimate depends on seed and labels: %s, %s", first, second);
    STATUS(DA_OK, check_estimate(session, "{\"labels\":[4,4,4],\"steps\":6}", second, sizeof second, NULL));
    CHECK(strcmp(first, second), "three samples need what two need");
}

int main(void) {
    if (!misuse_begin()) return check_summary("requests");
    test_samplers();
    test_form();
    test_estimates();
    return misuse_end("requests");
}

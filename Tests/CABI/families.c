/* U-ViT and SiT: opened, evaluated, sampled by their samplers, with plans that change nothing and plans that do. */
#define _GNU_SOURCE
#include <math.h>

#include "tiny_families.h"

enum { STATE = 2 * TINY_STATE, FLOW_SAMPLERS = 7 };

static da_plan plan_of(const char *json) {
    da_plan plan = NULL;
    STATUS(DA_OK, da_plan_parse(json, strlen(json), &plan));
    return plan;
}

/* Samples with `plan`, which is closed; gives the status. */
static int32_t sample(da_model model, da_plan plan, const char *sampler, int32_t steps, float latents[STATE], da_result *kept) {
    da_session session = check_session(model, plan, 2);
    char request[128];
    snprintf(request, sizeof request, REQUEST(",\"steps\":%d%s%s%s"), steps, sampler ? ",\"sampler\":\"" : "",
             sampler ? sampler : "", sampler ? "\"" : "");
    int32_t status = check_sample(session, request, latents);
    if (kept) STATUS(DA_OK, check_run(session, request, kept));
    STATUS(DA_OK, da_session_close(session));
    if (plan) STATUS(DA_OK, da_plan_close(plan));
    return status;
}

/* Shares of the work grow, up to the whole. */
static double last_share;
static int32_t note_share(void *user, const da_event *event) {
    (void)user;
    CHECK(event->fraction >= last_share && event->fraction <= 1, "%g after %g", event->fraction, last_share);
    CHECK(event->step >= 1 && event->step <= event->steps && event->stage == DA_STAGE_DENOISE, "step %d of %d", event->step,
          event->steps);
    last_share = event->fraction;
    return 0;
}

/* `is_fixed`: the sampler makes as many calls as it said. */
static void test_shares(da_model model, const char *sampler, int is_fixed) {
    static float found[STATE];
    da_session session = check_session(model, NULL, 2);
    last_share = 0;
    STATUS(DA_OK, check_sample_with(session, quoted("{'labels':[1,2],'steps':%d,'sampler':'%s'}", is_fixed ? 6 : 1000, sampler),
                                    NULL, 0, note_share, NULL, found));
    CHECK(last_share > 0 && (!is_fixed || last_share == 1), "%s ends at %.17g", sampler, last_share);
    STATUS(DA_OK, da_session_close(session));
}

static int is_finite(const float *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i])) return 0;
    return 1;
}

static void test_description(da_model model, const char *family, const char *sampler) {
    static char text[1 << 16];
    char part[64];
    STATUS(DA_OK, da_model_describe(model, text, sizeof text, NULL));
    snprintf(part, sizeof part, "\"family\":\"%s\"", family);
    CHECK(strstr(text, part), "no %s in %.300s", part, text);
    snprintf(part, sizeof part, "\"sampler\":\"%s\"", sampler);
    CHECK(strstr(text, part), "no %s in %.300s", part, text);
    STATUS(DA_OK, da_library_describe(text, sizeof text, NULL));
    snprintf(part, sizeof part, "\"%s\"", family);
    CHECK(strstr(text, part), "the library does not name %s", family);
}

static void test_forward(da_model model, float time) {
    static float x[STATE], out[STATE], again[STATE];
    float t[2] = {time, time};
    int64_t y[2] = {1, 2};
    STATUS(DA_OK, da_random_normal(1, STATE, x));
    da_tensor inputs[3] = {{sizeof *inputs, DA_F32, "x", x, sizeof x, 4, 0, {2, TINY_CHANNELS, TINY_SIDE, TINY_SIDE}},
                           {sizeof *inputs, DA_F32, "t", t, sizeof t, 1, 0, {2}},
                           {sizeof *inputs, DA_I64, "y", y, sizeof y, 1, 0, {2}}};
    da_tensor output = {.struct_size = sizeof output, .name = "out", .data = out, .bytes = sizeof out};
    STATUS(DA_OK, da_model_forward(model, inputs, 3, &output, 1, NULL));
    CHECK(output.bytes == sizeof out && output.rank == 4 && output.shape[1] == TINY_CHANNELS, "out has %zu bytes",
          output.bytes);
    CHECK(is_finite(out, STATE), "the output is not finite");
    t[0] = t[1] = time / 2;
    output.data = again;
    STATUS(DA_OK, da_model_forward(model, inputs, 3, &output, 1, NULL));
    CHECK(memcmp(out, again, sizeof out), "the time changes nothing");
    STATUS(DA_INVALID_ARGUMENT, da_model_forward(model, inputs, 2, &output, 1, NULL));
    inputs[0].shape[2] = 4;
    inputs[0].bytes /= 2;
    STATUS(DA_SHAPE, da_model_forward(model, inputs, 3, &output, 1, NULL));
}

/* A neutral plan is the plain model bit for bit; one that reuses every other call is not, and computes less. */
static void test_plans(da_model model, const char *sampler) {
    static float plain[STATE], found[STATE];
    static char text[1 << 16];
    da_result result = NULL;
    STATUS(DA_OK, sample(model, NULL, sampler, 6, plain, NULL));
    CHECK(is_finite(plain, STATE), "the samples are not finite");
    const char *neutral[] = {"none", "interval:1", "{\"methods\":[]}"};
    for (int i = 0; i < 3; i++) {
        STATUS(DA_OK, sample(model, plan_of(neutral[i]), sampler, 6, found, NULL));
        CHECK(!memcmp(plain, found, sizeof plain), "%s: other values", neutral[i]);
    }
    STATUS(DA_OK, sample(model, plan_of("alternate"), sampler, 6, found, &result));
    CHECK(is_finite(found, STATE) && memcmp(plain, found, sizeof plain), "alternate changes nothing");
    STATUS(DA_OK, da_result_stats(result, text, sizeof text, NULL));
    const char *totals = strstr(text, "\"totals\""), *reused = totals ? strstr(totals, "\"reused\":") : NULL;
    CHECK(reused && atoi(reused + 9) > 0, "nothing is reused: %s", totals ? totals : text);
    STATUS(DA_OK, da_result_close(result));
}

static void test_depth(da_model model, const char *json, const char *sampler) {
    static float plain[STATE], found[STATE];
    STATUS(DA_OK, sample(model, NULL, sampler, 4, plain, NULL));
    STATUS(DA_OK, sample(model, plan_of(json), sampler, 4, found, NULL));
    CHECK(is_finite(found, STATE) && memcmp(plain, found, sizeof plain), "%s changes nothing", json);
}

/* A plan that does not fit the model is refused with `part` in the text. */
static void test_refused_plan(da_model model, const char *json, const char *part) {
    da_plan plan = plan_of(json);
    da_session session = NULL;
    STATUS(DA_INCOMPATIBLE, da_session_create(model, plan, NULL, &session));
    CHECK(!session && strstr(da_last_error(), part), "no %s in: %s", part, da_last_error());
    STATUS(DA_OK, da_plan_close(plan));
}

/* Rules of reuse count calls, also of a sampler with more of them in some steps than in others, but not of one that chooses
 * them. */
static void test_uneven(da_model model, const char *sampler, int32_t status) {
    static float found[STATE];
    da_plan plan = plan_of("alternate");
    da_session session = check_session(model, plan, 2);
    STATUS(status, check_sample(session, quoted("{'labels':[1,2],'steps':6,'sampler':'%s'}", sampler), found));
    CHECK(status == DA_OK || strstr(da_last_error(), "layer caching"), "%s", da_last_error());
    STATUS(DA_OK, da_session_close(session));
    STATUS(DA_OK, da_plan_close(plan));
}

static void test_foreign_samplers(da_model model, const char *own) {
    static float found[STATE];
    da_session session = check_session(model, NULL, 1);
    const char *foreign[] = {"ddim", "pndm", "EulerDiscreteScheduler"};
    for (int i = 0; i < 3; i++) {
        STATUS(DA_INVALID_ARGUMENT, check_sample(session, quoted("{'labels':[1,2],'sampler':'%s'}", foreign[i]), found));
        CHECK(strstr(da_last_error(), foreign[i]) && strstr(da_last_error(), own), "no remedy in: %s", da_last_error());
    }
    STATUS(DA_INVALID_ARGUMENT, check_sample(session, REQUEST(",\"spacing\":\"leading\""), found));
    CHECK(strstr(da_last_error(), "no option \"spacing\""), "%s", da_last_error());
    STATUS(DA_OK, da_session_close(session));
}

static void test_uvit(void) {
    da_model model = NULL;
    STATUS(DA_OK, da_model_open(write_uvit(), NULL, &model));
    test_description(model, "uvit", "dpmpp_2s");
    test_forward(model, 600);
    test_plans(model, NULL);
    test_depth(model, "{\"method\":\"depth\",\"keep\":{\"blocks\":[0,2,4]}}", NULL);
    test_refused_plan(model, "{\"method\":\"depth\",\"keep\":{\"blocks\":[0,1,2,4]}}", "1");
    test_refused_plan(model, "{\"method\":\"depth\",\"keep\":{\"in_blocks\":[0]}}", "in_blocks");
    test_shares(model, "dpmpp_2s", 1);
    test_foreign_samplers(model, "dpmpp_2s");
    STATUS(DA_OK, da_model_close(model));
}

static void test_sit(void) {
    da_model model = NULL;
    STATUS(DA_OK, da_model_open(write_sit(), NULL, &model));
    test_description(model, "sit", "dopri5");
    test_forward(model, 0.75f);
    const char *samplers[] = {"euler", "midpoint", "heun2", "heun3", "rk4", "sde_euler", "sde_heun"};
    static float found[FLOW_SAMPLERS][STATE], adaptive[STATE];
    for (int i = 0; i < FLOW_SAMPLERS; i++) {
        test_shares(model, samplers[i], 1);
        if (i < FLOW_SAMPLERS - 1) test_plans(model, samplers[i]);
        STATUS(DA_OK, sample(model, NULL, samplers[i], 6, found[i], NULL));
        for (int k = 0; k < i; k++)
            CHECK(memcmp(found[i], found[k], sizeof found[i]), "%s and %s give the same", samplers[i], samplers[k]);
    }
    STATUS(DA_OK, sample(model, NULL, NULL, 1000, adaptive, NULL));
    CHECK(is_finite(adaptive, STATE), "the samples are not finite");
    test_shares(model, "dopri5", 0);
    test_uneven(model, "sde_heun", DA_OK);
    test_uneven(model, "dopri5", DA_UNSUPPORTED);
    test_depth(model, "{\"method\":\"depth\",\"keep\":[0,2]}", "euler");
    test_foreign_samplers(model, "dopri5");
    STATUS(DA_OK, da_model_close(model));
}

int main(void) {
    test_uvit();
    test_sit();
    return check_summary("families");
}

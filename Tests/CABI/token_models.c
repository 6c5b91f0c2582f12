/* A model that makes pictures token by token: requests with everything of their own, and such as nobody should make. */
#define _GNU_SOURCE
#include <math.h>

#include "tiny_mar.h"

enum { SAMPLES = 2, STEPS = 4 };

static float noise[SAMPLES * MAR_STATE], step_noise[MAR_HEAD_STEPS * SAMPLES * MAR_STATE];
static int64_t order[SAMPLES * MAR_TOKENS];

static void sampled(da_session session, const char *json, const da_tensor *tensors, size_t count, float *out) {
    size_t bytes = check_copied(session, json, tensors, count, "latents", out, SAMPLES * MAR_STATE * sizeof *out);
    CHECK(bytes == SAMPLES * MAR_STATE * sizeof *out, "%zu bytes of latents", bytes);
    for (int i = 0; i < SAMPLES * MAR_STATE; i++) CHECK(isfinite(out[i]), "value %d is not finite", i);
}

static int steps_seen;
static int32_t note_step(void *user, const da_event *event) {
    (void)user;
    CHECK(event->stage == DA_STAGE_UNMASK && event->steps == STEPS && event->step == steps_seen + 1, "stage %d, step %d of %d",
          event->stage, event->step, event->steps);
    steps_seen++;
    return 0;
}

static void test_events(da_session session) {
    const char *json = "{\"labels\":[1,5]}";
    da_result result = NULL;
    steps_seen = 0;
    STATUS(DA_OK, da_session_run(session, json, strlen(json), NULL, 0, note_step, NULL, &result));
    CHECK(steps_seen == STEPS, "%d events", steps_seen);
    STATUS(DA_OK, da_result_close(result));
}

static void test_given(da_session session) {
    static float one[SAMPLES * MAR_STATE], other[SAMPLES * MAR_STATE];
    da_tensor given[] = {
        check_tensor("order", DA_I64, order, sizeof order, SHAPE(SAMPLES, MAR_TOKENS)),
        check_tensor("noise", DA_F32, noise, sizeof noise, SHAPE(SAMPLES, MAR_CHANNELS, 3, 3)),
        check_tensor("step_noise", DA_F32, step_noise, sizeof step_noise, SHAPE(MAR_HEAD_STEPS, SAMPLES, MAR_CHANNELS, 3, 3)),
    };
    sampled(session, "{\"labels\":[1,5],\"seed\":3}", given, 3, one);
    sampled(session, "{\"labels\":[1,5],\"seed\":4}", given, 3, other);
    CHECK(!memcmp(one, other, sizeof one), "with order and noise given the seed changes something");
    sampled(session, "{\"labels\":[1,5],\"seed\":4,\"order\":\"numpy\"}", NULL, 0, one);
    sampled(session, "{\"labels\":[1,5],\"seed\":4}", NULL, 0, other);
    CHECK(memcmp(one, other, sizeof one), "both generators give one order");
    sampled(session, "{\"labels\":[1,5],\"guidance\":1}", NULL, 0, one);
    sampled(session, "{\"labels\":[1,5],\"guidance\":1,\"guidance_schedule\":\"constant\"}", NULL, 0, other);
    CHECK(!memcmp(one, other, sizeof one), "guidance of 1 is guidance");
}

static void refused(da_session session, const char *json, const da_tensor *tensors, size_t count, int32_t status,
                    const char *part) {
    da_result result = (void *)&result;
    int32_t found = da_session_run(session, json, strlen(json), tensors, count, NULL, NULL, &result);
    CHECK(found == status && !result && strstr(da_last_error(), part), "%s gives %s: %s", json, da_status_name(found),
          da_last_error());
    size_t needed;
    CHECK(
        da_session_estimate(session, json, strlen(json), tensors, count, NULL, 0, &needed) == status || status == DA_NOT_FINITE,
        "an estimate of %s is made", json);
}

static void test_refusals(da_session session) {
    static const struct {
        const char *json, *part;
    } cases[] = {
        {"{'labels':1,'steps':0}", "steps"},
        {"{'labels':1,'steps':1001}", "steps"},
        {"{'labels':1,'guidance':-1}", "guidance"},
        {"{'labels':1,'guidance':1e9}", "guidance"},
        {"{'labels':1,'guidance_schedule':'cosine'}", "linear"},
        {"{'labels':1,'temperature':-0.1}", "temperature"},
        {"{'labels':1,'temperature':1e300}", "temperature"},
        {"{'labels':1,'head_steps':0}", "head_steps"},
        {"{'labels':1,'head_steps':1001}", "head_steps"},
        {"{'labels':1,'head_steps':'ddim300'}", "head_steps"},
        {"{'labels':1,'head_steps':'ddim'}", "head_steps"},
        {"{'labels':1,'head_steps':''}", "head_steps"},
        {"{'labels':1,'head_steps':'10,,3'}", "head_steps"},
        {"{'labels':1,'head_steps':'99999999999999999999'}", "head_steps"},
        {"{'labels':1,'head_steps':'600,400'}", "head_steps"},
        {"{'labels':1,'order':'random'}", "torch"},
        {"{'labels':1,'sampler':'ddim'}", "no option \"sampler\""},
        {"{'labels':1,'guidance_channels':3}", "no option \"guidance_channels\""},
        {"{'labels':6}", "labels"},
        {"{'labels':1,'previews':true}", "autoencoder"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(session, quoted("%s", cases[i].json), NULL, 0,
                strstr(cases[i].json, "previews") ? DA_UNSUPPORTED : DA_INVALID_ARGUMENT, cases[i].part);
    const char *two = "{\"labels\":[1,5]}";
    da_tensor flat = check_tensor("order", DA_I64, order, sizeof order, SHAPE(SAMPLES * MAR_TOKENS));
    refused(session, two, &flat, 1, DA_SHAPE, "order");
    da_tensor few = check_tensor("order", DA_I64, order, sizeof order / 2, SHAPE(1, MAR_TOKENS));
    refused(session, two, &few, 1, DA_SHAPE, "order");
    da_tensor floats = check_tensor("order", DA_F32, noise, 4 * SAMPLES * MAR_TOKENS, SHAPE(SAMPLES, MAR_TOKENS));
    refused(session, two, &floats, 1, DA_SHAPE, "order");
    const int64_t wrong[] = {-1, MAR_TOKENS, INT64_MAX, INT64_MIN, order[1]};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int64_t kept = order[0];
        order[0] = wrong[i];
        da_tensor bad = check_tensor("order", DA_I64, order, sizeof order, SHAPE(SAMPLES, MAR_TOKENS));
        refused(session, two, &bad, 1, DA_INVALID_ARGUMENT, "permutation");
        order[0] = kept;
    }
    da_tensor short_noise = check_tensor("step_noise", DA_F32, step_noise, sizeof noise, SHAPE(1, SAMPLES, MAR_CHANNELS, 3, 3));
    refused(session, two, &short_noise, 1, DA_SHAPE, "step_noise");
    float kept = noise[3];
    noise[3] = NAN;
    da_tensor bad = check_tensor("noise", DA_F32, noise, sizeof noise, SHAPE(SAMPLES, MAR_CHANNELS, 3, 3));
    refused(session, two, &bad, 1, DA_NOT_FINITE, "noise");
    noise[3] = kept;
}

static void test_plans(da_model model) {
    static float plain[SAMPLES * MAR_STATE], pruned[SAMPLES * MAR_STATE];
    static const struct {
        const char *json;
        int changes;
    } plans[] = {{"{\"method\":\"depth\",\"keep\":{\"encoder_blocks\":[0,1],\"decoder_blocks\":[0,1]}}", 0},
                 {"{\"method\":\"depth\",\"keep\":{\"encoder_blocks\":[1]}}", 1},
                 {"{\"method\":\"depth\",\"keep\":{\"decoder_blocks\":[0]}}", 1},
                 {"{\"method\":\"depth\",\"keep\":{\"diffloss.net.res_blocks\":[0]}}", 1}};
    da_session session = check_session(model, NULL, 2);
    sampled(session, "{\"labels\":[1,5]}", NULL, 0, plain);
    STATUS(DA_OK, da_session_close(session));
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        da_plan plan = NULL;
        STATUS(DA_OK, da_plan_parse(plans[i].json, strlen(plans[i].json), &plan));
        session = check_session(model, plan, 1);
        sampled(session, "{\"labels\":[1,5]}", NULL, 0, pruned);
        CHECK((memcmp(plain, pruned, sizeof plain) != 0) == plans[i].changes, "%s", plans[i].json);
        STATUS(DA_OK, da_session_close(session));
        STATUS(DA_OK, da_plan_close(plan));
    }
    da_plan plan = NULL;
    session = NULL;
    STATUS(DA_OK, da_plan_parse("alternate", strlen("alternate"), &plan));
    STATUS(DA_INCOMPATIBLE, da_session_create(model, plan, NULL, &session));
    CHECK(!session && strstr(da_last_error(), "another size"), "%s", da_last_error());
    STATUS(DA_OK, da_plan_close(plan));
}

/* What the decoder says of tokens does not depend on those that are unknown. */
static void test_forward(da_model model) {
    static float latents[MAR_STATE], z[2][MAR_TOKENS * FAMILY_WIDTH];
    int64_t mask[MAR_TOKENS], y[] = {3};
    for (int i = 0; i < MAR_TOKENS; i++) mask[i] = i != 4;
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < MAR_STATE; i++) latents[i] = i % MAR_TOKENS == 4 ? (float)i / 50 : (float)turn;
        const da_tensor in[] = {check_tensor("latents", DA_F32, latents, sizeof latents, SHAPE(1, MAR_CHANNELS, 3, 3)),
                                check_tensor("mask", DA_I64, mask, sizeof mask, SHAPE(1, MAR_TOKENS)),
                                check_tensor("y", DA_I64, y, sizeof y, SHAPE(1))};
        da_tensor out = check_tensor("z", DA_F32, z[turn], sizeof z[turn], SHAPE(1, MAR_TOKENS, FAMILY_WIDTH));
        STATUS(DA_OK, da_model_forward(model, in, 3, &out, 1, NULL));
        STATUS(DA_INVALID_ARGUMENT, da_model_forward(model, in, 1, &out, 1, NULL));
    }
    CHECK(!memcmp(z[0], z[1], sizeof z[0]), "unknown tokens are read");
}

int main(void) {
    STATUS(DA_OK, da_random_normal(1, SAMPLES * MAR_STATE, noise));
    STATUS(DA_OK, da_random_normal(2, MAR_HEAD_STEPS * SAMPLES * MAR_STATE, step_noise));
    for (int i = 0; i < SAMPLES * MAR_TOKENS; i++) order[i] = (i * 4 + i / MAR_TOKENS) % MAR_TOKENS;
    da_model model = NULL;
    STATUS(DA_OK, da_model_open(write_mar(), NULL, &model));
    da_session session = check_session(model, NULL, 2);
    test_events(session);
    test_given(session);
    test_refusals(session);
    test_plans(model);
    test_forward(model);
    STATUS(DA_OK, da_session_close(session));
    STATUS(DA_OK, da_model_close(model));
    return check_summary("token_models");
}

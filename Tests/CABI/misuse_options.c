/* Every member of the option structs at values that nobody should pass, and paths that are none. */
#include "misuse.h"

static void test_options(void) {
    for (size_t i = 0; i < COUNT(hostile32); i++) {
        da_session_options options;
        STATUS(DA_OK, da_session_options_init(&options, sizeof options));
        options.threads = hostile32[i];
        da_session made = (void *)&made;
        int32_t status = da_session_create(model, plan, &options, &made);
        expect_answer("threads", hostile32[i], status, made);
        CHECK((status == DA_OK) == (hostile32[i] >= 0 && hostile32[i] <= 256), "%d threads: %s", hostile32[i],
              da_status_name(status));
        if (made) da_session_close(made);
        da_trainer_options learning;
        STATUS(DA_OK, da_trainer_options_init(&learning, sizeof learning));
        learning.threads = hostile32[i];
        da_trainer learner = (void *)&learner;
        status = da_trainer_create(tiny_checkpoint(), misuse_settings, strlen(misuse_settings), NULL, &learning, &learner);
        expect_answer("trainer threads", hostile32[i], status, learner);
        CHECK((status == DA_OK) == (hostile32[i] >= 0 && hostile32[i] <= 256), "%d threads: %s", hostile32[i],
              da_status_name(status));
        if (learner) da_trainer_close(learner);
        da_model_options opening;
        da_model opened;
#define OPEN32(member)                                              \
    STATUS(DA_OK, da_model_options_init(&opening, sizeof opening)); \
    opening.member = hostile32[i];                                  \
    opened = (void *)&opened;                                       \
    status = da_model_open(tiny_checkpoint(), &opening, &opened);   \
    expect_answer(#member, hostile32[i], status, opened);           \
    if (opened) da_model_close(opened);
        OPEN32(widen)
        OPEN32(follow_links)
        OPEN32(reserved)
        CHECK((status == DA_OK) == (hostile32[i] == 0), "reserved = %d is %s", hostile32[i], da_status_name(status));
        size_t needed;
        status = da_plan_describe(plan, model, hostile32[i], NULL, 0, &needed);
        CHECK(status == DA_MORE || (status < 0 && status > DA_INTERNAL), "steps %d: %s", hostile32[i], da_status_name(status));
        CHECK(da_status_name(hostile32[i]) != NULL, "no status name");
    }
    for (size_t i = 0; i < COUNT(hostile64); i++) {
        da_session_options options;
        STATUS(DA_OK, da_session_options_init(&options, sizeof options));
        options.memory_limit = hostile64[i];
        da_session made = (void *)&made;
        int32_t status = da_session_create(model, plan, &options, &made);
        expect_answer("session memory_limit", (long double)hostile64[i], status, made);
        if (made) {
            float latents[2 * TINY_STATE];
            status = check_sample(made, check_request, latents);
            CHECK(status == DA_OK || status == DA_OVER_BUDGET, "a limit of %llu gives %s", (unsigned long long)hostile64[i],
                  da_status_name(status));
            da_session_close(made);
        }
        da_trainer_options learning;
        STATUS(DA_OK, da_trainer_options_init(&learning, sizeof learning));
        learning.memory_limit = hostile64[i];
        da_trainer learner = (void *)&learner;
        status = da_trainer_create(tiny_checkpoint(), misuse_settings, strlen(misuse_settings), NULL, &learning, &learner);
        expect_answer("trainer memory_limit", (long double)hostile64[i], status, learner);
        if (learner) {
            status = da_trainer_run(learner, 1, NULL, NULL);
            CHECK(status == DA_OK || status == DA_OVER_BUDGET, "a limit of %llu gives %s", (unsigned long long)hostile64[i],
                  da_status_name(status));
            da_trainer_close(learner);
        }
        da_model_options opening;
        STATUS(DA_OK, da_model_options_init(&opening, sizeof opening));
        opening.memory_limit = hostile64[i];
        da_model opened = (void *)&opened;
        status = da_model_open(tiny_checkpoint(), &opening, &opened);
        expect_answer("model memory_limit", (long double)hostile64[i], status, opened);
        if (opened) da_model_close(opened);
        STATUS(DA_OK, da_model_options_init(&opening, sizeof opening));
        opening.mask_token = (int64_t)hostile64[i];
        opened = (void *)&opened;
        status = da_model_open(tiny_checkpoint(), &opening, &opened);
        expect_answer("mask_token", (long double)hostile64[i], status, opened);
        CHECK((status == DA_OK) == (opening.mask_token == -1), "the mask %lld of a model of images is %s",
              (long long)opening.mask_token, da_status_name(status));
        if (opened) da_model_close(opened);
        da_plan parsed = (void *)&parsed;
        if (hostile64[i] == 0 || hostile64[i] >= 1ull << 40) {
            STATUS(DA_INVALID_ARGUMENT, da_plan_parse("{}", (size_t)hostile64[i], &parsed));
            CHECK(!parsed, "the plan is not null");
        }
    }
    const char *texts[] = {"",  "x", "\xff", "{",    "[]",        "null",           "{}",
                           "/", ".", "..",   "\xc3", "/dev/zero", "/proc/self/mem", "/dev/stdin"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        da_model_options opening;
        da_model opened;
        int32_t status;
#define OPENTEXT(member)                                            \
    STATUS(DA_OK, da_model_options_init(&opening, sizeof opening)); \
    opening.member = texts[i];                                      \
    opened = (void *)&opened;                                       \
    status = da_model_open(tiny_checkpoint(), &opening, &opened);   \
    expect_answer(#member " text", (long double)i, status, opened); \
    if (opened) da_model_close(opened);
        OPENTEXT(family)
        OPENTEXT(config)
        OPENTEXT(conventions)
        OPENTEXT(decoder)
        OPENTEXT(weights)
        OPENTEXT(settings)
        opened = (void *)&opened;
        status = da_model_open(texts[i], NULL, &opened);
        CHECK(status < 0 && status > DA_INTERNAL && !opened, "opening \"%s\" gives %s", texts[i], da_status_name(status));
        da_plan loaded = (void *)&loaded;
        status = da_plan_load(texts[i], &loaded);
        CHECK(status < 0 && status > DA_INTERNAL && !loaded, "loading \"%s\" gives %s", texts[i], da_status_name(status));
        status = da_plan_save(plan, strcmp(texts[i], "x") && strcmp(texts[i], "\xff") && strcmp(texts[i], "{") &&
                                            strcmp(texts[i], "[]") && strcmp(texts[i], "null") && strcmp(texts[i], "{}") &&
                                            strcmp(texts[i], "\xc3")
                                        ? texts[i]
                                        : "");
        CHECK(status < 0 && status > DA_INTERNAL, "saving to \"%s\" gives %s", texts[i], da_status_name(status));
        da_tensor view = {.struct_size = sizeof view};
        STATUS(DA_INVALID_ARGUMENT, da_result_tensor(result, texts[i], &view));
    }
}

int main(void) {
    if (!misuse_begin()) return check_summary("misuse_options");
    test_options();
    return misuse_end("misuse_options");
}

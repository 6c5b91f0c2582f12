/* Null pointers, text buffers of every size, and what error texts say. */
#include "misuse.h"

static void test_null_pointers(void) {
    char text[65536];
    size_t needed = 0;
    da_model m = model;
    da_plan p = plan;
    da_session s = session;
    da_result r = result;
    STATUS(DA_INVALID_ARGUMENT, da_model_options_init(NULL, sizeof(da_model_options)));
    STATUS(DA_INVALID_ARGUMENT, da_forward_options_init(NULL, sizeof(da_forward_options)));
    STATUS(DA_INVALID_ARGUMENT, da_session_options_init(NULL, sizeof(da_session_options)));
    STATUS(DA_INVALID_ARGUMENT, da_model_open(NULL, NULL, &m));
    CHECK(!m, "the model is not null");
    STATUS(DA_INVALID_ARGUMENT, da_model_open(tiny_checkpoint(), NULL, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_plan_load(NULL, &p));
    CHECK(!p, "the plan is not null");
    p = plan;
    STATUS(DA_INVALID_ARGUMENT, da_plan_load("x", NULL));
    STATUS(DA_INVALID_ARGUMENT, da_plan_parse(NULL, 0, &p));
    STATUS(DA_INVALID_ARGUMENT, da_plan_parse(NULL, 10, &p));
    STATUS(DA_INVALID_ARGUMENT, da_plan_parse("{}", 2, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_plan_stack(plan, plan, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_plan_save(plan, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_session_create(model, plan, NULL, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_session_run(session, NULL, 1, NULL, 0, NULL, NULL, &r));
    CHECK(!r, "the result is not null");
    STATUS(DA_INVALID_ARGUMENT, check_run(session, check_request, NULL));
    r = result;
    STATUS(DA_INVALID_ARGUMENT, da_session_run(session, "{}", 2, NULL, 1, NULL, NULL, &r));
    CHECK(!r, "the result is not null");
    const da_tensor label = check_tensor("labels", DA_I64, check_labels, 8, SHAPE(1));
    STATUS(DA_OK, da_session_run(session, NULL, 0, &label, 1, NULL, NULL, &r));
    STATUS(DA_OK, da_result_close(r));
    STATUS(DA_INVALID_ARGUMENT, da_session_estimate(session, NULL, 1, NULL, 0, text, sizeof text, &needed));
    STATUS(DA_INVALID_ARGUMENT, da_session_estimate(session, NULL, 0, NULL, 1, text, sizeof text, &needed));
    STATUS(DA_OK, da_session_estimate(session, NULL, 0, &label, 1, text, sizeof text, &needed));
    STATUS(DA_INVALID_ARGUMENT, da_event_tensor(NULL, "latents", &(da_tensor){.struct_size = sizeof(da_tensor)}));
    STATUS(DA_INVALID_ARGUMENT, da_event_describe(NULL, text, sizeof text, &needed));
    STATUS(DA_INVALID_ARGUMENT, da_result_tensor(result, NULL, &(da_tensor){.struct_size = sizeof(da_tensor)}));
    STATUS(DA_INVALID_ARGUMENT, da_result_tensor(result, "latents", NULL));
    STATUS(DA_OK, da_session_create(model, NULL, NULL, &s));
    STATUS(DA_OK, da_session_close(s));
    STATUS(DA_OK, da_plan_describe(plan, NULL, 0, text, sizeof text, &needed));
    STATUS(DA_OK, da_set_log(NULL, NULL, DA_LOG_INFO));
    STATUS(DA_OK, da_set_log(NULL, NULL, DA_LOG_NONE));
    STATUS(DA_INVALID_ARGUMENT, da_set_log(NULL, NULL, 4));
    STATUS(DA_INVALID_ARGUMENT, da_set_log(NULL, NULL, -1));
    STATUS(DA_INVALID_ARGUMENT, da_set_log(NULL, NULL, INT_MIN));
    STATUS(DA_INVALID_ARGUMENT, da_random_normal(0, 1, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_random_uniform(0, 1, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_random_permutation(0, 1, NULL));
    STATUS(DA_OK, da_random_normal(0, 0, NULL));
    STATUS(DA_OK, da_random_uniform(0, 0, NULL));
    STATUS(DA_OK, da_random_permutation(0, 0, NULL));
    float one;
    int64_t index;
    const size_t sizes[] = {((size_t)1 << 40) + 1, (size_t)1 << 62, (size_t)1 << 63, SIZE_MAX};
    for (int i = 0; i < 4; i++) {
        STATUS(DA_INVALID_ARGUMENT, da_random_normal(0, sizes[i], &one));
        STATUS(DA_INVALID_ARGUMENT, da_random_uniform(0, sizes[i], &one));
        STATUS(DA_INVALID_ARGUMENT, da_random_permutation(0, sizes[i], &index));
    }
}

/* ---- text buffers ---- */

typedef int32_t (*describe)(char *buf, size_t capacity, size_t *needed);

static int32_t of_library(char *b, size_t c, size_t *n) { return da_library_describe(b, c, n); }
static int32_t of_model(char *b, size_t c, size_t *n) { return da_model_describe(model, b, c, n); }
static int32_t of_plan(char *b, size_t c, size_t *n) { return da_plan_describe(plan, NULL, 0, b, c, n); }
static int32_t of_grid(char *b, size_t c, size_t *n) { return da_plan_describe(plan, model, 6, b, c, n); }
static int32_t of_result(char *b, size_t c, size_t *n) { return da_result_stats(result, b, c, n); }
static int32_t of_estimate(char *b, size_t c, size_t *n) { return check_estimate(session, check_request, b, c, n); }

static int32_t of_trainer(char *b, size_t c, size_t *n) { return da_trainer_describe(trainer, b, c, n); }
static int32_t of_training(char *b, size_t c, size_t *n) {
    return da_trainer_estimate(tiny_checkpoint(), misuse_settings, strlen(misuse_settings), NULL, NULL, b, c, n);
}

static void test_text_buffers(void) {
    const describe functions[] = {of_library, of_model, of_plan, of_grid, of_result, of_estimate, of_trainer, of_training};
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
        describe function = functions[f];
        size_t needed = 0, again = 0;
        STATUS(DA_MORE, function(NULL, 0, &needed));
        STATUS(DA_MORE, function(NULL, 0, NULL));
        CHECK(needed > 2, "text %zu needs %zu bytes", f, needed);
        STATUS(DA_INVALID_ARGUMENT, function(NULL, 10, &again));
        char *buffer = malloc(needed + 64);
        const size_t capacities[] = {0, 1, needed / 2, needed - 1, needed, needed + 1, needed + 32};
        for (int i = 0; i < 7; i++) {
            size_t capacity = capacities[i];
            memset(buffer, 0x55, needed + 64);
            STATUS(capacity < needed ? DA_MORE : DA_OK, function(buffer, capacity, &again));
            CHECK(again == needed, "text %zu needs %zu bytes, then %zu", f, needed, again);
            size_t touched = 0;
            for (size_t at = 0; at < needed + 64; at++)
                if (buffer[at] != 0x55) touched = at + 1;
            CHECK(capacity < needed ? touched == 0 : touched == needed, "capacity %zu of %zu: %zu bytes written", capacity,
                  needed, touched);
            if (capacity >= needed) CHECK(strlen(buffer) == needed - 1 && buffer[0] == '{', "no JSON text");
        }
        STATUS(DA_OK, function(buffer, needed, NULL));
        free(buffer);
    }
}

static void test_errors_are_told(void) {
    da_plan made = NULL;
    STATUS(DA_FORMAT, da_plan_parse("{\"method\": \"never-heard-of\"}", 28, &made));
    CHECK(strstr(da_last_error(), "never-heard-of"), "the text is \"%s\"", da_last_error());
    /* Words for plans, and what is said of one with a slip in it. */
    static const char *const words[] = {"none",           "alternate",   "interval:3", "random:0.5:7",
                                        "dkv:greedy:4:2", "depth:0,2-3", "code:2"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        da_plan parsed = NULL, loaded = NULL;
        STATUS(DA_OK, da_plan_parse(words[i], strlen(words[i]), &parsed));
        STATUS(DA_OK, da_plan_load(words[i], &loaded));
        STATUS(DA_OK, da_plan_close(parsed));
        STATUS(DA_OK, da_plan_close(loaded));
    }
    STATUS(DA_FORMAT, da_plan_parse("altrenate", 9, &made));
    CHECK(strstr(da_last_error(), "did you mean \"alternate\""), "the text is \"%s\"", da_last_error());
    STATUS(DA_IO, da_plan_load("altrenate", &made));
    CHECK(strstr(da_last_error(), "did you mean \"alternate\""), "the text is \"%s\"", da_last_error());
    static const char *const wrong[] = {"interval",
                                        "interval:0",
                                        "interval:3:4",
                                        "random:2",
                                        "random:nan",
                                        "random:0.5:-1",
                                        "dkv",
                                        "dkv:",
                                        "dkv:prefix:4",
                                        "dkv:decode:0",
                                        "dkv:decode:8:1",
                                        "depth:",
                                        "depth:3-1",
                                        "code:0",
                                        "none:1",
                                        "interval:99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        STATUS(DA_INVALID_ARGUMENT, da_plan_parse(wrong[i], strlen(wrong[i]), &made));
        STATUS(DA_INVALID_ARGUMENT, da_plan_load(wrong[i], &made));
    }
    STATUS(DA_OK, da_random_uniform(0, 0, NULL));
    CHECK(!*da_last_error(), "a success leaves the text \"%s\"", da_last_error());
    for (int i = -20; i < 20; i++) CHECK(strncmp(da_status_name(i), "DA_", 3) == 0, "name of %d", i);
    /* A name a megabyte long must not make the text longer than promised. */
    static char path[1 << 20];
    memset(path, 'a', sizeof path - 1);
    da_model opened = NULL;
    CHECK(da_model_open(path, NULL, &opened) < 0 && !opened, "a path of a megabyte is opened");
    CHECK(strlen(da_last_error()) < 2048, "an error text of %zu bytes", strlen(da_last_error()));
}

int main(void) {
    if (!misuse_begin()) return check_summary("misuse_arguments");
    test_null_pointers();
    test_text_buffers();
    test_errors_are_told();
    return misuse_end("misuse_arguments");
}

/* Every function from threads with stacks of 64 KiB. */
#define _GNU_SOURCE
#include <pthread.h>

#include "learning.h"
#include "surroundings.h"

static void texts(da_model own, da_plan plan, da_session small, da_result made) {
    static char text[1 << 16];
    size_t needed;
    STATUS(DA_OK, da_library_describe(text, sizeof text, &needed));
    STATUS(DA_OK, da_model_describe(own, text, sizeof text, &needed));
    STATUS(DA_OK, da_plan_describe(plan, own, 6, text, sizeof text, &needed));
    STATUS(DA_OK, check_estimate(small, check_request, text, sizeof text, &needed));
    STATUS(DA_OK, da_result_stats(made, text, sizeof text, &needed));
    CHECK(da_version_string() && da_abi_version() > 0 && da_status_name(DA_IO) && da_last_error(), "constants");
    STATUS(DA_OK, da_set_log(NULL, NULL, DA_LOG_NONE));
}

static void plans(da_plan plan) {
    char path[] = "/tmp/diffaccel-stack-XXXXXX";
    int file = mkstemp(path);
    da_plan stacked = NULL, loaded = NULL;
    CHECK(file >= 0 && !close(file), "no file");
    STATUS(DA_OK, da_plan_save(plan, path));
    STATUS(DA_OK, da_plan_load(path, &loaded));
    STATUS(DA_OK, da_plan_stack(loaded, plan, &stacked));
    STATUS(DA_OK, da_plan_close(stacked));
    STATUS(DA_OK, da_plan_close(loaded));
    unlink(path);
    /* Recursion is what runs out of stack. */
    static char nested[200000];
    memset(nested, '[', sizeof nested);
    da_plan refused = NULL;
    CHECK(da_plan_parse(nested, sizeof nested, &refused) < 0, "nesting is accepted");
}

static void forward(da_model own) {
    static float x[TINY_STATE], t[1] = {10}, out[2 * TINY_STATE];
    static int64_t y[1] = {1}, order[100];
    da_forward_options options;
    STATUS(DA_OK, da_forward_options_init(&options, sizeof options));
    da_tensor output = {.struct_size = sizeof output, .name = "out", .data = out, .bytes = sizeof out};
    const da_tensor inputs[3] = {{sizeof *inputs, DA_F32, "x", x, sizeof x, 4, 0, {1, TINY_CHANNELS, TINY_SIDE, TINY_SIDE}},
                                 {sizeof *inputs, DA_F32, "t", t, sizeof t, 1, 0, {1}},
                                 {sizeof *inputs, DA_I64, "y", y, sizeof y, 1, 0, {1}}};
    STATUS(DA_OK, da_random_normal(1, TINY_STATE, x));
    STATUS(DA_OK, da_model_forward(own, inputs, 3, &output, 1, &options));
    STATUS(DA_OK, da_random_uniform(1, TINY_STATE, x));
    STATUS(DA_OK, da_random_permutation(1, 100, order));
}

/* Each kind of learning, with data and without. */
static void learning(void) {
    static char text[1 << 16];
    const int which[] = {0, 2, 4, 10, 15};
    for (int i = 0; i < 5; i++) {
        const struct recipe *recipe = &recipes[which[i]];
        da_trainer trainer = new_trainer(recipe, STEPS, "");
        const char *settings = settings_of(recipe, STEPS, "");
        da_plan plan = NULL;
        STATUS(DA_OK, da_trainer_estimate(tiny_checkpoint(), settings, strlen(settings), NULL, NULL, text, sizeof text, NULL));
        STATUS(DA_OK, da_trainer_run(trainer, 0, NULL, NULL));
        STATUS(DA_OK, da_trainer_describe(trainer, text, sizeof text, NULL));
        STATUS(DA_OK, da_trainer_evaluate(trainer, 1, text, sizeof text, NULL));
        STATUS(DA_OK, da_trainer_save(trainer, in_place("stack-state")));
        STATUS(DA_OK, da_trainer_restore(trainer, in_place("stack-state")));
        if (recipe->plan) {
            STATUS(DA_OK, da_trainer_plan(trainer, &plan));
            STATUS(DA_OK, da_plan_close(plan));
        }
        if (recipe->exported) STATUS(DA_OK, da_trainer_export(trainer, in_place("stack-export")));
        STATUS(DA_OK, da_trainer_cancel(trainer));
        STATUS(DA_OK, da_trainer_close(trainer));
    }
}

static void *in_small_stack(void *argument) {
    (void)argument;
    da_model own = NULL;
    da_model_options options;
    STATUS(DA_OK, da_model_options_init(&options, sizeof options));
    STATUS(DA_OK, da_model_open(tiny_checkpoint(), &options, &own));
    da_plan plan = NULL;
    const char *json = "{\"method\":\"l2c\",\"policy\":\"interval\",\"interval\":2}";
    STATUS(DA_OK, da_plan_parse(json, strlen(json), &plan));
    da_session small = check_session(own, NULL, 2);
    float found[N];
    STATUS(DA_OK, check_sample(small, check_request, found));
    CHECK(!memcmp(found, expected, sizeof found), "small stack: other values");
    da_result made = NULL;
    STATUS(DA_OK, check_run(small, check_request, &made));
    texts(own, plan, small, made);
    plans(plan);
    forward(own);
    learning();
    STATUS(DA_OK, da_session_cancel(small));
    STATUS(DA_OK, da_result_close(made));
    STATUS(DA_OK, da_session_close(small));
    STATUS(DA_OK, da_plan_close(plan));
    STATUS(DA_OK, da_model_close(own));
    return NULL;
}

static size_t stack_size;

static void use_small_stack(void) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_t thread;
    CHECK(!pthread_attr_setstacksize(&attributes, stack_size), "no stack of %zu bytes", stack_size);
    if (!pthread_create(&thread, &attributes, in_small_stack, NULL)) pthread_join(thread, NULL);
    else CHECK(0, "no thread with a stack of %zu bytes", stack_size);
    pthread_attr_destroy(&attributes);
}

/* In children: a stack that is passed kills the process. */
static void test_small_stacks(void) {
    const size_t sizes[] = {64 << 10, 128 << 10, 256 << 10, 1 << 20};
    for (int i = 0; i < 4; i++) {
        char what[64];
        stack_size = sizes[i];
        snprintf(what, sizeof what, "a stack of %zu KiB", sizes[i] >> 10);
        in_child(what, use_small_stack);
    }
}

int main(void) {
    begin();
    learning_data(); /* here, so that children share it and the parent removes it */
    test_small_stacks();
    STATUS(DA_OK, da_session_close(session));
    STATUS(DA_OK, da_model_close(model));
    return check_summary("stacks");
}

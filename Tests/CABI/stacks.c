/* Every function from threads with stacks of 64 KiB. */
#define _GNU_SOURCE
#include <pthread.h>

#include "surroundings.h"

static void *in_small_stack(void *argument) {
    (void)argument;
    char text[2048];
    size_t needed;
    da_model own = NULL;
    STATUS(DA_OK, da_model_open(tiny_checkpoint(), NULL, &own));
    da_plan plan = NULL;
    const char *json = "{\"method\":\"l2c\",\"policy\":\"interval\",\"interval\":2}";
    STATUS(DA_OK, da_plan_parse(json, strlen(json), &plan));
    STATUS(DA_OK, da_plan_describe(plan, own, 6, text, sizeof text, &needed));
    da_session small = check_session(own, NULL, 2);
    da_request request = check_request();
    float found[N];
    STATUS(DA_OK, check_sample(small, &request, found));
    CHECK(!memcmp(found, expected, sizeof found), "small stack: other values");
    STATUS(DA_MORE, da_session_estimate(small, &request, NULL, 0, &needed));
    static char nested[200000];
    memset(nested, '[', sizeof nested);
    da_plan refused = NULL;
    CHECK(da_plan_parse(nested, sizeof nested, &refused) < 0, "nesting is accepted");
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
    test_small_stacks();
    STATUS(DA_OK, da_session_close(session));
    STATUS(DA_OK, da_model_close(model));
    return check_summary("stacks");
}

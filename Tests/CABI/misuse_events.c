/* Events as nobody should use them: kept beyond their call, made up, of a wrong size, asked for what they do not have, and
 * shared by several threads.
 * Usage: misuse_events folder-of-the-bundled-models */
#define _GNU_SOURCE
#include <pthread.h>

#include "bundled.h"

/* ---- several threads that ask at once ---- */

static pthread_barrier_t start;

static void *ask(void *argument) {
    static const char *const names[] = {"sequences", "lengths", "prompts", "queries", "revealed"};
    const da_event *event = argument;
    pthread_barrier_wait(&start);
    for (int round = 0; round < 5; round++)
        for (size_t i = 0; i < COUNT(names); i++) {
            da_tensor view = {.struct_size = sizeof view};
            STATUS(DA_OK, da_event_tensor(event, names[i], &view));
            if (i == 0) CHECK(view.bytes == 8 * 31 && ((const int64_t *)view.data)[0] == 70, "other sequences");
            STATUS(DA_MORE, da_event_describe(event, NULL, 0, NULL));
        }
    return NULL;
}

static int32_t ask_in_threads(void *user, const da_event *event) {
    pthread_t threads[4];
    (void)user;
    for (int i = 0; i < 4; i++) CHECK(!pthread_create(&threads[i], NULL, ask, (void *)(uintptr_t)event), "no thread");
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    return 0;
}

static void test_threads(void) {
    static const char json[] = "{\"tokens\":[70],\"length\":30}";
    da_session texts = bundled_session("tiny-llada", NULL);
    da_result made = NULL;
    CHECK(!pthread_barrier_init(&start, NULL, 4), "no barrier");
    for (int round = 0; round < 4; round++) {
        STATUS(DA_OK, check_told(texts, json, ask_in_threads, NULL, &made));
        STATUS(DA_OK, da_result_close(made));
    }
    pthread_barrier_destroy(&start);
    STATUS(DA_OK, da_session_close(texts));
}

/* ---- what an event must refuse ---- */

static da_event kept, earlier;
static int has_earlier;

static void refuse_event(const da_event *event, const char *what) {
    char text[16] = "untouched";
    size_t needed = 77;
    da_tensor view = {.struct_size = sizeof view};
    int32_t status = da_event_tensor(event, "latents", &view);
    CHECK(status == DA_INVALID_HANDLE && !view.data, "%s: %s", what, da_status_name(status));
    CHECK(*da_last_error(), "%s: no text", what);
    status = da_event_describe(event, text, sizeof text, &needed);
    CHECK(status == DA_INVALID_HANDLE && !strcmp(text, "untouched") && needed == 77, "%s: %s", what, da_status_name(status));
}

static void made_up_sources(const da_event *event) {
    da_event forged = *event;
    void *const others[] = {NULL, (void *)&forged, model, plan, session, result, trainer};
    for (size_t i = 0; i < COUNT(others); i++) {
        forged.source = (da_event_source)others[i];
        refuse_event(&forged, "a made-up source");
    }
    for (int bit = 0; bit < 64; bit++) {
        forged.source = (da_event_source)((uintptr_t)event->source ^ (uintptr_t)1 << bit);
        refuse_event(&forged, "a flipped bit");
    }
    uint64_t state = 88172645463325252u;
    for (int i = 0; i < 1000; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        uint64_t value = i % 2 ? (state & 0x03ffffffffc00000u) | ((uintptr_t)event->source & 0xfc000000003fffffu) : state;
        if (value == (uintptr_t)event->source) continue;
        forged.source = (da_event_source)(uintptr_t)value;
        refuse_event(&forged, "a random source");
    }
    /* An event is no handle of another kind. */
    da_tensor view = {.struct_size = sizeof view};
    STATUS(DA_INVALID_HANDLE, da_session_cancel((da_session)event->source));
    STATUS(DA_INVALID_HANDLE, da_session_close((da_session)event->source));
    STATUS(DA_INVALID_HANDLE, da_model_close((da_model)event->source));
    STATUS(DA_INVALID_HANDLE, da_result_tensor((da_result)event->source, "latents", &view));
    STATUS(DA_INVALID_HANDLE, da_result_close((da_result)event->source));
}

static void wrong_structs(const da_event *event) {
    static unsigned char memory[66000];
    const uint32_t sizes[] = {0, 1, 4, 8, sizeof *event - 1, 65537, 1u << 31, UINT32_MAX};
    da_tensor view = {.struct_size = sizeof view};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        da_event wrong = *event;
        wrong.struct_size = sizes[i];
        STATUS(DA_INVALID_ARGUMENT, da_event_tensor(&wrong, "latents", &view));
        STATUS(DA_INVALID_ARGUMENT, da_event_describe(&wrong, NULL, 0, NULL));
        da_tensor other = {.struct_size = sizes[i] == sizeof *event - 1 ? sizeof view - 1 : sizes[i]};
        STATUS(DA_INVALID_ARGUMENT, da_event_tensor(event, "latents", &other));
        CHECK(!other.data, "a refused view is filled");
    }
    /* At an odd address, and with a tail from the future. */
    for (int shift = 0; shift < 16; shift++) {
        memset(memory, 0x55, sizeof memory);
        memcpy(memory + shift, event, sizeof *event);
        STATUS(DA_OK, da_event_tensor((const da_event *)(const void *)(memory + shift), "latents", &view));
        da_tensor *odd = (da_tensor *)(void *)(memory + 1000 + shift);
        memcpy(odd, &(da_tensor){.struct_size = sizeof view}, sizeof view);
        STATUS(DA_OK, da_event_tensor(event, "latents", odd));
        da_tensor copy;
        memcpy(&copy, odd, sizeof copy);
        CHECK(copy.data == view.data && memory[1000 + shift - 1] == 0x55 && memory[1000 + shift + sizeof view] == 0x55,
              "a view at an odd address");
    }
    const uint32_t longer = sizeof *event + 100;
    memset(memory, 0, sizeof memory);
    memcpy(memory, event, sizeof *event);
    memcpy(memory, &longer, sizeof longer);
    STATUS(DA_MORE, da_event_describe((const da_event *)(const void *)memory, NULL, 0, NULL));
    memory[sizeof *event + 50] = 1;
    STATUS(DA_UNSUPPORTED, da_event_describe((const da_event *)(const void *)memory, NULL, 0, NULL));
}

static void wrong_arguments(const da_event *event) {
    da_tensor view = {.struct_size = sizeof view};
    char text[1024];
    size_t needed = 0, again = 0;
    STATUS(DA_INVALID_ARGUMENT, da_event_tensor(event, NULL, &view));
    STATUS(DA_INVALID_ARGUMENT, da_event_tensor(event, "latents", NULL));
    STATUS(DA_INVALID_ARGUMENT, da_event_tensor(NULL, "latents", &view));
    static char long_name[1 << 16];
    memset(long_name, 'a', sizeof long_name - 1);
    const char *const names[] = {"", "latent", "LATENTS", "latents ", "pixels", "images", "tokens", "\xff", "%s%n", long_name};
    for (size_t i = 0; i < COUNT(names); i++) {
        STATUS(DA_INVALID_ARGUMENT, da_event_tensor(event, names[i], &view));
        CHECK(!view.data && strlen(da_last_error()) < 2048, "the text is \"%s\"", da_last_error());
    }
    STATUS(DA_INVALID_ARGUMENT, da_event_tensor(event, "latent", &view));
    CHECK(strstr(da_last_error(), "no tensor \"latent\"; it has latents"), "the text is \"%s\"", da_last_error());
    STATUS(DA_INVALID_ARGUMENT, da_event_describe(NULL, text, sizeof text, &needed));
    STATUS(DA_INVALID_ARGUMENT, da_event_describe(event, NULL, 10, &needed));
    STATUS(DA_INVALID_ARGUMENT, da_event_describe(event, text, SIZE_MAX, &needed));
    STATUS(DA_MORE, da_event_describe(event, NULL, 0, &needed));
    STATUS(DA_MORE, da_event_describe(event, NULL, 0, NULL));
    CHECK(needed > 2 && needed < sizeof text, "%zu bytes", needed);
    for (size_t capacity = 0; capacity <= needed + 1; capacity++) {
        memset(text, 0x55, sizeof text);
        STATUS(capacity < needed ? DA_MORE : DA_OK, da_event_describe(event, text, capacity, &again));
        CHECK(again == needed, "%zu bytes, then %zu", needed, again);
        CHECK(capacity < needed ? text[0] == 0x55 : !text[needed - 1] && text[needed] == 0x55, "capacity %zu of %zu", capacity,
              needed);
    }
}

static int32_t refuse_all(void *user, const da_event *event) {
    if (has_earlier) refuse_event(&earlier, "the event of an earlier call");
    earlier = kept = *event, has_earlier = 1;
    /* A copy is as good as the event while its call lasts. */
    da_tensor view = {.struct_size = sizeof view};
    STATUS(DA_OK, da_event_tensor(&kept, "latents", &view));
    if (event->step > 2) return *(int *)user && event->step == 4;
    made_up_sources(event);
    wrong_structs(event);
    wrong_arguments(event);
    return 0;
}

static void test_refusals(void) {
    float expected[2 * TINY_STATE], found[2 * TINY_STATE];
    STATUS(DA_OK, check_sample(session, check_request, expected));
    for (int stops = 0; stops < 2; stops++) {
        has_earlier = 0;
        STATUS(stops ? DA_CANCELLED : DA_OK, check_sample_with(session, check_request, NULL, 0, refuse_all, &stops, found));
        refuse_event(&kept, "an event kept beyond its run");
        CHECK(stops || !memcmp(expected, found, sizeof found), "an observer that asks for too much changes the samples");
    }
    refuse_event(&kept, "an event kept for long");
    /* The next handle that is made may stand in its place. */
    da_plan other = NULL;
    STATUS(DA_OK, da_plan_parse("{}", 2, &other));
    refuse_event(&kept, "an event whose place is taken");
    STATUS(DA_OK, da_plan_close(other));
}

int main(int count, char **arguments) {
    if (!bundled_begin("misuse_events", count, arguments)) return 2;
    if (!misuse_begin()) return check_summary("misuse_events");
    test_threads();
    test_refusals();
    return misuse_end("misuse_events");
}

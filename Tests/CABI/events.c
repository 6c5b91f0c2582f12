/* What a run tells on its way: numbers that fit together, tensors that agree with the result, JSON; and events that are kept
 * beyond their call or made up, which are refused.
 * Usage: events folder-of-the-bundled-models */
#define _GNU_SOURCE
#include <pthread.h>

#include "misuse.h"

enum { MOST = 1 << 16 };

static const char *models;

static da_session bundled(const char *name, const char *plan_name) {
    char path[4096];
    da_model own = NULL;
    da_plan own_plan = NULL;
    snprintf(path, sizeof path, "%s/%s", models, name);
    STATUS(DA_OK, da_model_open(path, NULL, &own));
    if (plan_name) {
        snprintf(path, sizeof path, strchr(plan_name, '/') ? "%s/%s" : "%.0s%s", models, plan_name);
        STATUS(DA_OK, da_plan_load(path, &own_plan));
    }
    da_session made = check_session(own, own_plan, 2);
    if (own_plan) STATUS(DA_OK, da_plan_close(own_plan));
    STATUS(DA_OK, da_model_close(own));
    return made;
}

/* ---- an observer that looks at everything ---- */

static const char *const all_names[] = {"latents", "preview", "sequences", "lengths", "prompts", "queries", "revealed"};
enum { LATENTS, PREVIEW, SEQUENCES, LENGTHS, PROMPTS, QUERIES, REVEALED, NAMES };

struct watcher {
    int has[NAMES]; /* which tensors events outside of decoding must have */
    int calls, decoded;
    int last_step, last_stage;
    double fraction, seconds;
    int partners; /* calls of the partner's network */
    unsigned char *last[NAMES];
    size_t bytes[NAMES];
    int64_t revealed;
    int64_t written[MOST]; /* how often each position of the batch was revealed */
};

static double number_in(const char *json, const char *name) {
    char part[40];
    snprintf(part, sizeof part, "\"%s\":", name);
    const char *at = strstr(json, part);
    CHECK(at, "no %s in %s", name, json);
    return at ? strtod(at + strlen(part), NULL) : NAN;
}

static const int64_t *integers(struct watcher *w, int name) { return (const int64_t *)(void *)w->last[name]; }

static void look_at_texts(struct watcher *w) {
    size_t texts = w->bytes[LENGTHS] / 8, sum = 0;
    CHECK(w->bytes[PROMPTS] == 8 * texts && w->bytes[QUERIES] == 8 * texts, "%zu texts", texts);
    for (size_t i = 0; i < texts; i++) {
        int64_t length = integers(w, LENGTHS)[i], queries = integers(w, QUERIES)[i];
        CHECK(queries >= 0 && queries <= length, "%lld of %lld positions computed", (long long)queries, (long long)length);
        CHECK(!i || integers(w, PROMPTS)[i] > integers(w, PROMPTS)[i - 1], "prompts are out of order");
        for (size_t k = 0; k < w->bytes[REVEALED] / 16; k++) {
            int64_t prompt = integers(w, REVEALED)[2 * k], position = integers(w, REVEALED)[2 * k + 1];
            if (prompt != integers(w, PROMPTS)[i]) continue;
            CHECK(position >= 0 && position < length, "position %lld of %lld", (long long)position, (long long)length);
            w->revealed++;
            w->written[(prompt * 512 + position) % MOST]++;
            CHECK(integers(w, SEQUENCES)[sum + (size_t)position] != 1023, "what is revealed is a mask");
        }
        sum += (size_t)length;
    }
    CHECK(w->bytes[SEQUENCES] == 8 * sum, "%zu bytes of sequences", w->bytes[SEQUENCES]);
}

static void look_at_tensors(struct watcher *w, const da_event *event, const char *json) {
    int decoding = event->stage == DA_STAGE_DECODE;
    for (int i = 0; i < NAMES; i++) {
        char part[40];
        da_tensor view = {.struct_size = sizeof view}, again = view;
        snprintf(part, sizeof part, "\"%s\"", all_names[i]);
        int expected = w->has[i] && !decoding;
        CHECK(!strstr(strstr(json, "\"tensors\":") ? strstr(json, "\"tensors\":") : json, part) == !expected, "%s in %s",
              all_names[i], json);
        STATUS(expected ? DA_OK : DA_INVALID_ARGUMENT, da_event_tensor(event, all_names[i], &view));
        if (!expected) {
            CHECK(!view.data && strstr(da_last_error(), part), "the text is \"%s\"", da_last_error());
            CHECK(strstr(da_last_error(), decoding          ? "it has none"
                                          : w->has[LATENTS] ? "it has latents"
                                                            : "it has sequences"),
                  "the text is \"%s\"", da_last_error());
            continue;
        }
        CHECK(!strcmp(view.name, all_names[i]) && view.struct_size == sizeof view, "a view of %s", view.name);
        CHECK(view.dtype == (i == LATENTS ? DA_F32 : i == PREVIEW ? DA_U8 : DA_I64), "%s has type %d", view.name, view.dtype);
        CHECK(view.rank == (i < SEQUENCES ? 4 : i == REVEALED ? 2 : 1), "%s has rank %d", view.name, view.rank);
        size_t size = view.dtype == DA_F32 ? 4 : view.dtype == DA_U8 ? 1 : 8, count = 1;
        for (int k = 0; k < view.rank; k++) count *= (size_t)view.shape[k];
        CHECK(count * size == view.bytes, "%s of %zu bytes", view.name, view.bytes);
        STATUS(DA_OK, da_event_tensor(event, all_names[i], &again));
        CHECK(again.data == view.data && again.bytes == view.bytes, "%s asked for again is another", view.name);
        w->last[i] = realloc(w->last[i], view.bytes + 1);
        w->bytes[i] = view.bytes;
        if (view.bytes) memcpy(w->last[i], view.data, view.bytes);
    }
    if (w->has[SEQUENCES] && !decoding) look_at_texts(w);
}

static int32_t watch(void *user, const da_event *event) {
    struct watcher *w = user;
    static const char *const stages[] = {"denoise", "decode", "scale", "unmask"};
    char json[1024], part[64];
    CHECK(event->struct_size == sizeof *event && event->source, "an event of %u bytes", event->struct_size);
    CHECK(event->stage >= 0 && event->stage <= 3, "stage %d", event->stage);
    CHECK(event->step >= 1 && event->step <= event->steps, "step %d of %d", event->step, event->steps);
    CHECK(event->step == (event->stage == w->last_stage ? w->last_step + 1 : 1), "step %d after %d", event->step, w->last_step);
    CHECK(event->fraction >= w->fraction && event->fraction <= 1, "fraction %.17g after %.17g", event->fraction, w->fraction);
    CHECK(event->seconds >= w->seconds, "%g seconds after %g", event->seconds, w->seconds);
    size_t needed = 0;
    STATUS(DA_OK, da_event_describe(event, json, sizeof json, &needed));
    CHECK(needed == strlen(json) + 1, "%zu bytes of %s", needed, json);
    snprintf(part, sizeof part, "\"stage\":\"%s\"", stages[event->stage & 3]);
    CHECK(strstr(json, part), "no %s in %s", part, json);
    CHECK(number_in(json, "step") == event->step && number_in(json, "steps") == event->steps &&
              number_in(json, "fraction") == event->fraction && number_in(json, "seconds") == event->seconds,
          "%s", json);
    CHECK(number_in(json, "flops") >= 0 && number_in(json, "computed") >= 0 && number_in(json, "reused") >= 0 &&
              number_in(json, "skipped") >= 0,
          "%s", json);
    CHECK(!strstr(json, "\"timestep\":null") == (event->stage != DA_STAGE_DECODE), "%s", json);
    if (number_in(json, "network") == 1) w->partners++;
    look_at_tensors(w, event, json);
    w->last_step = event->step, w->last_stage = event->stage;
    w->fraction = event->fraction, w->seconds = event->seconds;
    event->stage == DA_STAGE_DECODE ? w->decoded++ : w->calls++;
    return 0;
}

/* Runs with the watcher looking, whose last tensors `names` must be those of the result. */
static da_result watched(da_session own, const char *json, const da_tensor *tensors, size_t count, struct watcher *w,
                         int32_t status) {
    da_result made = NULL;
    w->last_stage = -1;
    STATUS(status, da_session_run(own, json, strlen(json), tensors, count, watch, w, &made));
    return made;
}

static void same(da_result made, const char *name, struct watcher *w, int which) {
    da_tensor view = {.struct_size = sizeof view};
    STATUS(DA_OK, da_result_tensor(made, name, &view));
    CHECK(view.data && view.bytes == w->bytes[which] && !memcmp(view.data, w->last[which], view.bytes),
          "%s of the result is not %s of the last event", name, all_names[which]);
}

static void forget(struct watcher *w, da_result made) {
    if (made) STATUS(DA_OK, da_result_close(made));
    for (int i = 0; i < NAMES; i++) free(w->last[i]);
    memset(w, 0, sizeof *w);
}

static struct watcher w;

/* ---- models of images ---- */

static void test_images(void) {
    static const char *const samplers[] = {"ddim", "ddpm",     "pndm",      "euler_a", "heun",
                                           "lms",  "dpmpp_2m", "dpmpp_sde", "unipc",   "lcm"};
    da_session plain = check_session(model, NULL, 2);
    for (size_t i = 0; i < 2 * COUNT(samplers); i++) {
        const char *json = quoted("{'labels':[1,2],'steps':6,'sampler':'%s','guidance':%d}", samplers[i / 2], i % 2 ? 3 : 1);
        w.has[LATENTS] = 1;
        da_result made = watched(plain, json, NULL, 0, &w, DA_OK);
        CHECK(w.calls >= 6 && w.fraction == 1, "%s: %d calls, fraction %.17g", json, w.calls, w.fraction);
        same(made, "latents", &w, LATENTS);
        forget(&w, made);
    }
    w.has[LATENTS] = 1;
    da_result made = watched(session, check_request, NULL, 0, &w, DA_OK);
    CHECK(w.calls == 6 && w.fraction == 1, "under a plan: %d calls, fraction %.17g", w.calls, w.fraction);
    same(made, "latents", &w, LATENTS);
    forget(&w, made);
    STATUS(DA_OK, da_session_close(plain));
    /* Pixels need no decoding, asked for or not. */
    da_session pixels = bundled("fashion-dit", NULL);
    for (int decode = 0; decode < 2; decode++) {
        w.has[LATENTS] = 1;
        made = watched(pixels, quoted("{'labels':[1,2],'steps':4,'decode':%s}", decode ? "true" : "false"), NULL, 0, &w, DA_OK);
        CHECK(w.calls == 4 && !w.decoded && w.fraction == 1, "%d calls, %d decoded, fraction %.17g", w.calls, w.decoded,
              w.fraction);
        same(made, "latents", &w, LATENTS);
        forget(&w, made);
    }
    STATUS(DA_OK, da_session_close(pixels));
}

/* ---- scale by scale ---- */

static void test_scales(void) {
    static const char *const plans[] = {NULL, "fashion-var/code.json"};
    for (int pair = 0; pair < 2; pair++) {
        da_session scales = bundled("fashion-var", plans[pair]);
        for (int previews = 0; previews < 2; previews++) {
            w.has[LATENTS] = 1;
            w.has[PREVIEW] = previews;
            da_result made =
                watched(scales, quoted("{'labels':[1,2],'previews':%s}", previews ? "true" : "false"), NULL, 0, &w, DA_OK);
            CHECK(w.calls > 2 && w.decoded && w.fraction == 1, "%d calls, %d decoded, fraction %.17g", w.calls, w.decoded,
                  w.fraction);
            CHECK(!w.partners == !pair && w.partners < w.calls, "%d calls of the partner", w.partners);
            same(made, "latents", &w, LATENTS);
            if (previews) same(made, "images", &w, PREVIEW);
            forget(&w, made);
        }
        STATUS(DA_OK, da_session_close(scales));
    }
}

/* ---- language models ---- */

static const int64_t prompt_tokens[] = {70, 71, 72, 73, 74}, prompt_lengths[] = {2, 3};

static void test_texts(void) {
    da_session texts = bundled("tiny-llada", NULL);
    const da_tensor prompts[] = {check_tensor("tokens", DA_I64, prompt_tokens, sizeof prompt_tokens, SHAPE(5)),
                                 check_tensor("lengths", DA_I64, prompt_lengths, sizeof prompt_lengths, SHAPE(2))};
    static const char *const requests[] = {
        "{\"length\":12}", "{\"length\":12,\"steps\":5}", "{\"length\":16,\"block_length\":8,\"steps\":8}",
        "{\"length\":12,\"temperature\":0.7,\"seeds\":[3,4]}", "{\"length\":16,\"block_length\":4,\"threshold\":0.3}"};
    for (size_t i = 0; i < COUNT(requests); i++) {
        for (int name = SEQUENCES; name < NAMES; name++) w.has[name] = 1;
        int decides = strstr(requests[i], "threshold") != NULL;
        da_result made = watched(texts, requests[i], prompts, 2, &w, DA_OK);
        CHECK(w.calls > 1 && !w.decoded && (decides || w.fraction == 1), "%s: %d passes, fraction %.17g", requests[i], w.calls,
              w.fraction);
        da_tensor view = {.struct_size = sizeof view}, lengths = view;
        STATUS(DA_OK, da_result_tensor(made, "lengths", &lengths));
        /* A text that is complete takes part in no pass. */
        if (!decides) same(made, "sequences", &w, SEQUENCES), same(made, "lengths", &w, LENGTHS);
        STATUS(DA_OK, da_result_tensor(made, "filled", &view));
        int64_t filled = 0, at = 0;
        for (int64_t prompt = 0; prompt < lengths.shape[0]; prompt++)
            for (int64_t k = 0; k < ((const int64_t *)lengths.data)[prompt]; k++, at++) {
                int64_t is_filled = ((const int64_t *)view.data)[at];
                filled += is_filled;
                CHECK(w.written[prompt * 512 + k] == is_filled, "position %lld of prompt %lld is revealed %lld times",
                      (long long)k, (long long)prompt, (long long)w.written[prompt * 512 + k]);
            }
        CHECK(at == view.shape[0] && filled == w.revealed && filled > 0, "%s: %lld filled, %lld revealed", requests[i],
              (long long)filled, (long long)w.revealed);
        forget(&w, made);
    }
    STATUS(DA_OK, da_session_close(texts));
}

/* ---- several threads that ask at once ---- */

static pthread_barrier_t start;

static void *ask(void *argument) {
    const da_event *event = argument;
    pthread_barrier_wait(&start);
    for (int round = 0; round < 5; round++)
        for (int i = SEQUENCES; i < NAMES; i++) {
            da_tensor view = {.struct_size = sizeof view};
            STATUS(DA_OK, da_event_tensor(event, all_names[i], &view));
            if (i == SEQUENCES) CHECK(view.bytes == 8 * 31 && ((const int64_t *)view.data)[0] == 70, "other sequences");
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
    da_session texts = bundled("tiny-llada", NULL);
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
    STATUS(DA_OK, da_event_describe((const da_event *)(const void *)memory, NULL, 0, NULL) == DA_MORE ? DA_OK : DA_INTERNAL);
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
    if (count < 2) {
        fprintf(stderr, "usage: events folder-of-the-bundled-models\n");
        return 2;
    }
    models = arguments[1];
    if (!misuse_begin()) return check_summary("events");
    test_images();
    test_scales();
    test_texts();
    test_threads();
    test_refusals();
    return misuse_end("events");
}

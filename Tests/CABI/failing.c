/* Memory and threads that the system refuses: every large allocation of a whole use of the library fails once, and from then
 * on. Each time: a status, nothing made, nothing leaked, and the same use succeeds afterwards with the same bits. */
#define _GNU_SOURCE
#include "failing.h"
#include "tiny_sounds.h"

enum { N = 2 * TINY_STATE };

static float expected[N], forward_expected[2 * TINY_STATE];

/* Texts of every kind: with memory they are the same each time. */
static void describe(da_model model, da_plan plan, da_session session, da_result result) {
    static char text[1 << 16];
    size_t needed;
    if (model) good("da_model_describe", da_model_describe(model, text, sizeof text, &needed), DA_OK, NULL);
    if (plan) good("da_plan_describe", da_plan_describe(plan, model, model ? 6 : 0, text, sizeof text, &needed), DA_OK, NULL);
    if (session) good("da_session_estimate", check_estimate(session, check_request, text, sizeof text, &needed), DA_OK, NULL);
    if (result) good("da_result_stats", da_result_stats(result, text, sizeof text, &needed), DA_OK, NULL);
    good("da_library_describe", da_library_describe(text, sizeof text, &needed), DA_OK, NULL);
}

static void forward(da_model model) {
    static float x[TINY_STATE], t[1] = {10}, out[2 * TINY_STATE];
    static int64_t y[1] = {1};
    da_tensor output = {.struct_size = sizeof output, .name = "out", .data = out, .bytes = sizeof out};
    const da_tensor inputs[3] = {{sizeof *inputs, DA_F32, "x", x, sizeof x, 4, 0, {1, TINY_CHANNELS, TINY_SIDE, TINY_SIDE}},
                                 {sizeof *inputs, DA_F32, "t", t, sizeof t, 1, 0, {1}},
                                 {sizeof *inputs, DA_I64, "y", y, sizeof y, 1, 0, {1}}};
    if (!good("da_random_normal", da_random_normal(1, TINY_STATE, x), DA_OK, NULL)) return;
    memset(out, 0x55, sizeof out);
    if (good("da_model_forward", da_model_forward(model, inputs, 3, &output, 1, NULL), DA_OK, NULL)) {
        if (!forward_expected[0]) memcpy(forward_expected, out, sizeof out);
        CHECK(!memcmp(forward_expected, out, sizeof out), "the network gives other values");
    } else {
        for (size_t i = 0; i < sizeof out; i++)
            if (((unsigned char *)out)[i] != 0x55) {
                CHECK(0, "a failed forward writes to the output");
                break;
            }
    }
}

/* Asks an event for what it has, in a run with options and tensors. */
static int32_t look(void *user, const da_event *event) {
    static char text[1024];
    da_tensor view = {.struct_size = sizeof view};
    (void)user;
    good("da_event_tensor", da_event_tensor(event, "latents", &view), DA_OK, view.data);
    good("da_event_describe", da_event_describe(event, text, sizeof text, NULL), DA_OK, NULL);
    return 0;
}

static void sample(da_session session, da_result *result) {
    static float noise[N];
    static const char json[] = "{\"steps\":6,\"guidance\":2,\"sampler\":\"ddim\",\"decode\":true}";
    if (!noise[0] && !good("da_random_normal", da_random_normal(3, N, noise), DA_OK, NULL)) return;
    const da_tensor tensors[] = {
        check_tensor("labels", DA_I64, check_labels, sizeof check_labels, SHAPE(2)),
        check_tensor("noise", DA_F32, noise, sizeof noise, SHAPE(2, TINY_CHANNELS, TINY_SIDE, TINY_SIDE)),
        check_tensor("spacing", DA_U8, "trailing", 8, SHAPE(8)),
    };
    if (!good("da_session_run", da_session_run(session, json, sizeof json - 1, tensors, 3, look, NULL, result), DA_OK, *result))
        return;
    da_tensor view = {.struct_size = sizeof view};
    if (!good("da_result_tensor", da_result_tensor(*result, "latents", &view), DA_OK, view.data)) return;
    if (!expected[0]) memcpy(expected, view.data, sizeof expected);
    CHECK(!memcmp(view.data, expected, sizeof expected), "the samples differ");
}

static int use(void) {
    static const char json[] = "{\"method\":\"l2c\",\"policy\":\"alternate\"}";
    int before = refusals;
    da_model model = NULL;
    da_plan plan = NULL, both = NULL;
    da_session session = NULL;
    da_result result = NULL;
    good("da_model_open", da_model_open(tiny_checkpoint(), NULL, &model), DA_OK, model);
    good("da_plan_parse", da_plan_parse(json, sizeof json - 1, &plan), DA_OK, plan);
    da_plan empty = NULL;
    good("da_plan_parse", da_plan_parse("{}", 2, &empty), DA_OK, empty);
    if (plan && empty) good("da_plan_stack", da_plan_stack(empty, plan, &both), DA_OK, both);
    da_session_options options;
    STATUS(DA_OK, da_session_options_init(&options, sizeof options));
    options.threads = 3;
    if (model && both) good("da_session_create", da_session_create(model, both, &options, &session), DA_OK, session);
    if (session) sample(session, &result);
    describe(model, plan, session, result);
    if (model) forward(model);
    if (result) STATUS(DA_OK, da_result_close(result));
    if (session) STATUS(DA_OK, da_session_close(session));
    if (both) STATUS(DA_OK, da_plan_close(both));
    if (empty) STATUS(DA_OK, da_plan_close(empty));
    if (plan) STATUS(DA_OK, da_plan_close(plan));
    if (model) STATUS(DA_OK, da_model_close(model));
    return refusals == before;
}

static void settle(void) {}

/* A text whose strings outgrow the parser's buffer: no refused growth may end the process, as it does where a byte behind a
 * backslash is lost. */
static void long_strings(void) {
    enum { LENGTH = 300000 };
    static char text[LENGTH + 64];
    int length = sprintf(text, "{\"method\":\"");
    memset(text + length, '\\', LENGTH);
    strcpy(text + length + LENGTH, "\"}");
    da_plan none = NULL;
    int32_t usual = da_plan_parse(text, strlen(text), &none);
    int64_t given = 0;
    for (int lasting = 0; lasting < 2; lasting++)
        for (int64_t number = 1; number < 200; number++) {
            da_plan plan = NULL;
            fail_any(number, lasting);
            int32_t status = da_plan_parse(text, strlen(text), &plan);
            given += faults_given();
            fail_any(0, 0);
            CHECK(!plan && (status == usual || status == DA_NO_MEMORY), "block %lld refused: %s: %s", (long long)number,
                  da_status_name(status), da_last_error());
        }
    /* The parser is linked in, and what the system refuses it comes from the library's reserve. */
    CHECK(SANITIZED || given > 10, "only %lld blocks were refused", (long long)given);
}

/* ---- a language model ---- */

static int32_t look_at_text(void *user, const da_event *event) {
    static const char *const names[] = {"sequences", "lengths", "prompts", "queries", "revealed"};
    (void)user;
    for (int i = 0; i < 5; i++) {
        da_tensor view = {.struct_size = sizeof view};
        int32_t status = da_event_tensor(event, names[i], &view);
        good("da_event_tensor", status, DA_OK, view.bytes ? view.data : NULL);
    }
    return 0;
}

/* One run, its events and its result; returns whether all of it succeeded. */
static int write_text(da_session session) {
    static const char json[] = "{\"length\":3,\"temperature\":0.5}", prompt[] = "And \"it\"\n";
    static const char *const names[] = {"tokens", "sequences", "text", "text_lengths"};
    int before = refusals;
    const da_tensor given = check_tensor("prompt", DA_U8, prompt, sizeof prompt - 1, SHAPE(sizeof prompt - 1));
    da_result result = NULL;
    size_t needed;
    good("da_session_estimate", da_session_estimate(session, json, sizeof json - 1, &given, 1, NULL, 0, &needed), DA_MORE,
         NULL);
    int32_t status = da_session_run(session, json, sizeof json - 1, &given, 1, look_at_text, NULL, &result);
    if (!good("da_session_run", status, DA_OK, result)) return 0;
    for (int i = 0; i < 4; i++) {
        da_tensor view = {.struct_size = sizeof view};
        good("da_result_tensor", da_result_tensor(result, names[i], &view), DA_OK, view.data);
    }
    STATUS(DA_OK, da_result_close(result));
    return refusals == before;
}

/* ---- a pipeline of sounds ---- */

static int32_t listen(void *user, const da_event *event) {
    (void)user;
    if (event->stage != DA_STAGE_VOCODE) return 0;
    da_tensor view = {.struct_size = sizeof view}, place = view;
    good("da_event_tensor", da_event_tensor(event, "audio", &view), DA_OK, view.data);
    good("da_event_tensor", da_event_tensor(event, "audio_place", &place), DA_OK, place.data);
    return 0;
}

/* As write_text. */
static int make_sound(da_session session) {
    static const char json[] = "{\"prompt\":\"a\",\"steps\":2,\"seconds\":0.02}";
    static const char *const names[] = {"latents", "mel", "audio"};
    static float first[320];
    int before = refusals;
    da_result result = NULL;
    size_t needed;
    good("da_session_estimate", check_estimate(session, json, NULL, 0, &needed), DA_MORE, NULL);
    if (!good("da_session_run", check_told(session, json, listen, NULL, &result), DA_OK, result)) return 0;
    for (int i = 0; i < 3; i++) {
        da_tensor view = {.struct_size = sizeof view};
        if (!good("da_result_tensor", da_result_tensor(result, names[i], &view), DA_OK, view.data) || i < 2) continue;
        CHECK(view.bytes == sizeof first, "%zu bytes of sound", view.bytes);
        if (!first[0]) memcpy(first, view.data, sizeof first);
        CHECK(!memcmp(first, view.data, sizeof first), "the sound differs");
    }
    STATUS(DA_OK, da_result_close(result));
    return refusals == before;
}

/* Each `step`-th block of any size of a `run` is refused; the model at `path` and its session are made with memory. */
static void runs(const char *what, const char *path, int (*run)(da_session session), int64_t step) {
    da_model model = NULL;
    fail_any(0, 0);
    STATUS(DA_OK, da_model_open(path, NULL, &model));
    da_session session = check_session(model, NULL, 1);
    for (int i = 0; i < 20; i++) CHECK(run(session), "a first run fails");
    small_too = 1;
    for (int lasting = 0; lasting < 2; lasting++) {
        int64_t number = 1;
        for (; number < LIMIT; number += step) {
            /* What a session keeps of its last run is a whole run's each time it is counted: a refused block of it would come
             * from the reserve, which is not. */
            int64_t before = 0, given = 0;
            for (int again = 0; again < 2; again++) {
                before = live_bytes();
                fail_any(number, lasting);
                run(session);
                given = faults_given();
                fail_any(0, 0);
                CHECK(run(session), "block %lld: no run afterwards", (long long)number);
            }
            if (!given) break;
            int64_t left = live_bytes() - before;
            CHECK(left <= 0, "block %lld%s leaves %lld bytes", (long long)number, lasting ? " and after" : "", (long long)left);
        }
        CHECK(run(session), "no run after the last fault");
        CHECK(number > 500 && number < LIMIT, "%lld blocks", (long long)number);
        printf("blocks of a %s, %s: %lld of them refused, each %lldth\n", what, lasting ? "from then on" : "once",
               (long long)number - 1, (long long)step);
    }
    small_too = 0;
    STATUS(DA_OK, da_session_close(session));
    STATUS(DA_OK, da_model_close(model));
}

/* Usage: failing folder-of-the-bundled-models [step for blocks of any size] */
int main(int count, char **arguments) {
    int64_t step = count > 2 ? atoi(arguments[2]) : 1;
    if (count < 2) {
        fprintf(stderr, "usage: failing folder-of-the-bundled-models [step]\n");
        return 2;
    }
    fail_everything(1, step);
    long_strings();
    char path[4096];
    snprintf(path, sizeof path, "%s/tiny-llada", arguments[1]);
    runs("text", path, write_text, 7 * step);
    runs("sound", write_sounds(), make_sound, 7 * step);
    return check_summary("failing");
}

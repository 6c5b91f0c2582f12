/* Memory and threads that the system refuses: every large allocation of a whole use of the library fails once, and from then
 * on. Each time: a status, nothing made, nothing leaked, and the same use succeeds afterwards with the same bits. */
#include "check.h"
#include "faults.h"

enum { N = 2 * TINY_STATE, LIMIT = 100000, LARGE_BLOCK = 4096 };

static float expected[N], forward_expected[2 * TINY_STATE];
static atomic_int refusals;
static int small_too; /* blocks of any size are refused */

/* Counts DA_NO_MEMORY; any other failure is one of the test too, but that libjansson goes on without a refused word:
 * a syntax error, or a tensor of another name. A failed call has made nothing. */
static int good(const char *what, int32_t status, int32_t success, const void *made) {
    CHECK(status == success || status == DA_NO_MEMORY || (small_too && (status == DA_FORMAT || status == DA_INCOMPATIBLE)),
          "%s gives %s: %s", what, da_status_name(status), da_last_error());
    if (status == success) return 1;
    refusals++;
    CHECK(!made, "%s failed and made %p", what, made);
    CHECK(*da_last_error(), "%s failed without a text", what);
    return 0;
}

/* Texts of every kind: with memory they are the same each time. */
static void describe(da_model model, da_plan plan, da_session session, da_result result) {
    static char text[1 << 16];
    size_t needed;
    da_request request = check_request();
    if (model) good("da_model_describe", da_model_describe(model, text, sizeof text, &needed), DA_OK, NULL);
    if (plan) good("da_plan_describe", da_plan_describe(plan, model, model ? 6 : 0, text, sizeof text, &needed), DA_OK, NULL);
    if (session) good("da_session_estimate", da_session_estimate(session, &request, text, sizeof text, &needed), DA_OK, NULL);
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

static void sample(da_session session, da_result *result) {
    da_request request = check_request();
    request.guidance = 2;
    if (!good("da_session_sample", da_session_sample(session, &request, result), DA_OK, *result)) return;
    da_tensor view = {.struct_size = sizeof view};
    if (!good("da_result_tensor", da_result_tensor(*result, "latents", &view), DA_OK, view.data)) return;
    if (!expected[0]) memcpy(expected, view.data, sizeof expected);
    CHECK(!memcmp(view.data, expected, sizeof expected), "the samples differ");
}

/* One whole use of the library; returns whether all of it succeeded. */
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

static void fail_large(int64_t number, int lasting) { fail_allocation(number, lasting, LARGE_BLOCK); }
static void fail_any(int64_t number, int lasting) { fail_allocation(number, lasting, 0); }

/* Fails number 1, 1 + step, ... until a use comes to its end untouched; returns how many there were. */
static int64_t every(const char *what, void (*fail)(int64_t number, int lasting), int lasting, int64_t step) {
    CHECK(use(), "a use without faults fails");
    int64_t number = 1;
    for (; number < LIMIT; number += step) {
        /* Twice: what this way out makes once and keeps is there after the first time. */
        int64_t before = 0, given = 0;
        for (int again = 0; again < 2; again++) {
            before = live_bytes();
            fail(number, lasting);
            use();
            given = faults_given();
            fail(0, 0);
        }
        if (!given) break;
        int64_t left = live_bytes() - before;
        CHECK(left <= 0, "%s %lld%s leaves %lld bytes", what, (long long)number, lasting ? " and after" : "", (long long)left);
        if (number / step % 8 == 0) CHECK(use(), "%s %lld: no use afterwards", what, (long long)number);
    }
    CHECK(use(), "no use after the last fault");
    CHECK(number < LIMIT, "%s: no end after %d", what, LIMIT);
    printf("%s, %s: %lld of them refused, each %lldth\n", what, lasting ? "from then on" : "once", (long long)number - 1,
           (long long)step);
    return number - 1;
}

/* Usage: failing [step for blocks of any size] */
int main(int count, char **arguments) {
    int64_t step = count > 1 ? atoi(arguments[1]) : 1;
    fail_any(0, 0);
    /* What is made once and kept, such as tables, is made before anything is counted. */
    for (int i = 0; i < 20; i++) CHECK(use(), "a first use fails");
    for (int lasting = 0; lasting < 2; lasting++) {
        CHECK(every("blocks of 4 KiB or more", fail_large, lasting, 1) > 50, "there are hardly any");
        CHECK(every("threads", fail_thread, lasting, 1) >= 2, "there are hardly any");
        small_too = 1;
        CHECK(every("blocks of any size", fail_any, lasting, step > 0 ? step : 1) > 1000, "there are hardly any");
        small_too = 0;
    }
    return check_summary("failing");
}

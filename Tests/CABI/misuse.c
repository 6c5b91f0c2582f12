/* Every function with arguments that nobody should pass: the library answers with a status and lives on. */
#define _GNU_SOURCE
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static da_model model;
static da_plan plan;
static da_session session;
static da_result result;

static uint64_t random_state = 88172645463325252u;

static uint64_t random64(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* ---- handles ---- */

enum kind { MODEL, PLAN, SESSION, RESULT, KINDS };

static int32_t close_as(enum kind kind, void *handle) {
    switch (kind) {
        case MODEL: return da_model_close(handle);
        case PLAN: return da_plan_close(handle);
        case SESSION: return da_session_close(handle);
        default: return da_result_close(handle);
    }
}

/* Calls each function that takes a handle of `kind`, but for closing, with `handle`; all must refuse it. */
static void refuse(enum kind kind, void *handle) {
    char text[16] = "untouched";
    size_t needed = 77;
    void *made = &needed;
    da_request request = check_request();
    da_tensor view = {.struct_size = sizeof view};
    switch (kind) {
        case MODEL: {
            int32_t unused[4] = {0};
            da_tensor input = {.struct_size = sizeof input, .name = "x", .data = unused, .bytes = 4, .rank = 1, .shape = {1}};
            da_tensor output = {.struct_size = sizeof output, .name = "out"};
            STATUS(DA_INVALID_HANDLE, da_model_describe(handle, text, sizeof text, &needed));
            STATUS(DA_INVALID_HANDLE, da_model_forward(handle, &input, 1, &output, 1, NULL));
            STATUS(DA_INVALID_HANDLE, da_session_create(handle, NULL, NULL, (da_session *)&made));
            CHECK(!made, "a failed call leaves its out-parameter null");
            if (handle) STATUS(DA_INVALID_HANDLE, da_plan_describe(plan, handle, 6, text, sizeof text, &needed));
            break;
        }
        case PLAN:
            STATUS(DA_INVALID_HANDLE, da_plan_describe(handle, model, 6, text, sizeof text, &needed));
            STATUS(DA_INVALID_HANDLE, da_plan_save(handle, "/tmp/never-written-by-diffaccel.json"));
            STATUS(DA_INVALID_HANDLE, da_plan_stack(handle, plan, (da_plan *)&made));
            CHECK(!made, "a failed call leaves its out-parameter null");
            STATUS(DA_INVALID_HANDLE, da_plan_stack(plan, handle, (da_plan *)&made));
            if (handle) STATUS(DA_INVALID_HANDLE, da_session_create(model, handle, NULL, (da_session *)&made));
            break;
        case SESSION:
            STATUS(DA_INVALID_HANDLE, da_session_estimate(handle, &request, text, sizeof text, &needed));
            STATUS(DA_INVALID_HANDLE, da_session_sample(handle, &request, (da_result *)&made));
            CHECK(!made, "a failed call leaves its out-parameter null");
            STATUS(DA_INVALID_HANDLE, da_session_cancel(handle));
            break;
        default:
            STATUS(DA_INVALID_HANDLE, da_result_tensor(handle, "latents", &view));
            CHECK(!view.data, "a refused view is filled");
            STATUS(DA_INVALID_HANDLE, da_result_stats(handle, text, sizeof text, &needed));
    }
    STATUS(DA_INVALID_HANDLE, close_as(kind, handle));
    CHECK(!strcmp(text, "untouched"), "a refused call writes to the buffer");
    CHECK(*da_last_error(), "a refused handle leaves no error text");
}

static void test_handles(void) {
    void *handles[KINDS] = {model, plan, session, result};
    for (enum kind kind = MODEL; kind < KINDS; kind++) {
        refuse(kind, NULL);
        refuse(kind, (void *)&kind);
        for (enum kind other = MODEL; other < KINDS; other++)
            if (other != kind) refuse(kind, handles[other]);
        for (int bit = 0; bit < 64; bit++) refuse(kind, (void *)((uintptr_t)handles[kind] ^ (uintptr_t)1 << bit));
        for (int i = 0; i < 100000; i++) {
            uint64_t value = random64();
            /* Half of them look like handles: leading and trailing bits of a real one. */
            if (i % 2) value = (value & 0x03fffffffffffff0u) | ((uintptr_t)handles[kind] & 0xfc0000000000000fu);
            if ((uintptr_t)handles[0] == value || (uintptr_t)handles[1] == value || (uintptr_t)handles[2] == value ||
                (uintptr_t)handles[3] == value)
                continue;
            refuse(kind, (void *)(uintptr_t)value);
        }
    }
}

static void test_closed_handles(void) {
    for (int round = 0; round < 50; round++) {
        da_model m = check_model();
        da_plan p = NULL;
        STATUS(DA_OK, da_plan_parse("{}", 2, &p));
        da_session s = check_session(m, p, 1);
        da_request request = check_request();
        request.steps = 1;
        da_result r = NULL;
        STATUS(DA_OK, da_session_sample(s, &request, &r));
        void *handles[KINDS] = {m, p, s, r};
        /* In every one of the 24 orders. */
        int order[4] = {0, 1, 2, 3};
        for (int i = 3, n = round; i > 0; n /= i + 1, i--) {
            int j = n % (i + 1), swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
        for (int i = 0; i < KINDS; i++) STATUS(DA_OK, close_as((enum kind)order[i], handles[order[i]]));
        for (int i = 0; i < KINDS; i++) refuse((enum kind)i, handles[i]);
    }
}

/* ---- null pointers ---- */

static void test_null_pointers(void) {
    da_request request = check_request();
    char text[65536];
    size_t needed = 0;
    da_model m = model;
    da_plan p = plan;
    da_session s = session;
    da_result r = result;
    STATUS(DA_INVALID_ARGUMENT, da_model_options_init(NULL, sizeof(da_model_options)));
    STATUS(DA_INVALID_ARGUMENT, da_forward_options_init(NULL, sizeof(da_forward_options)));
    STATUS(DA_INVALID_ARGUMENT, da_session_options_init(NULL, sizeof(da_session_options)));
    STATUS(DA_INVALID_ARGUMENT, da_request_init(NULL, sizeof(da_request)));
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
    STATUS(DA_INVALID_ARGUMENT, da_session_sample(session, NULL, &r));
    CHECK(!r, "the result is not null");
    STATUS(DA_INVALID_ARGUMENT, da_session_sample(session, &request, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_session_estimate(session, NULL, text, sizeof text, &needed));
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
    request.labels = NULL;
    STATUS(DA_INVALID_ARGUMENT, da_session_sample(session, &request, &r));
}

/* ---- text buffers ---- */

typedef int32_t (*describe)(char *buf, size_t capacity, size_t *needed);

static int32_t of_library(char *b, size_t c, size_t *n) { return da_library_describe(b, c, n); }
static int32_t of_model(char *b, size_t c, size_t *n) { return da_model_describe(model, b, c, n); }
static int32_t of_plan(char *b, size_t c, size_t *n) { return da_plan_describe(plan, NULL, 0, b, c, n); }
static int32_t of_grid(char *b, size_t c, size_t *n) { return da_plan_describe(plan, model, 6, b, c, n); }
static int32_t of_result(char *b, size_t c, size_t *n) { return da_result_stats(result, b, c, n); }
static int32_t of_estimate(char *b, size_t c, size_t *n) {
    da_request request = check_request();
    return da_session_estimate(session, &request, b, c, n);
}

static void test_text_buffers(void) {
    const describe functions[] = {of_library, of_model, of_plan, of_grid, of_result, of_estimate};
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

/* ---- options ---- */

static const int32_t hostile32[] = {0,    1,    -1,    2,     -2,      3,       7,           255,     256,     257,        1000,
                                    1001, 4096, 65535, 65536, 1 << 24, 1 << 30, INT_MAX - 1, INT_MAX, INT_MIN, INT_MIN + 1};
static const uint64_t hostile64[] = {0,
                                     1,
                                     2,
                                     3,
                                     4095,
                                     4096,
                                     4097,
                                     65536,
                                     1u << 31,
                                     (1ull << 31) - 1,
                                     1ull << 32,
                                     (1ull << 32) + 1,
                                     1ull << 40,
                                     1ull << 47,
                                     1ull << 48,
                                     (1ull << 48) - 1,
                                     (1ull << 62) - 1,
                                     (1ull << 62) + 1,
                                     (1ull << 63) - 1,
                                     1ull << 63,
                                     (1ull << 63) + 1,
                                     UINT64_MAX - 1,
                                     UINT64_MAX};
static const double hostile_floats[] = {0.0,      -0.0,  0.5,  1.0,  -1.0,  1.0000001, 1e-310, -1e-310,
                                        4.9e-324, 1e-38, 1e38, 1e39, -1e39, 1e308,     -1e308};
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* A documented status, and nothing made unless it is success. */
static void expect_answer(const char *what, long double value, int32_t status, const void *made) {
    CHECK(status <= DA_MORE && status > DA_INTERNAL, "%s = %Lg gives %s: %s", what, value, da_status_name(status),
          da_last_error());
    CHECK((status == DA_OK) == (made != NULL), "%s = %Lg: status %s, out-parameter %p", what, value, da_status_name(status),
          made);
}

/* Stops as soon as the run has begun: whether a request is accepted is known by then. */
static int32_t stop(void *user, const da_event *event) {
    (void)user;
    return event->step >= 1;
}

static void try_request(const char *what, long double value, const da_request *request) {
    da_result made = (void *)&made;
    da_request stopping = *request;
    stopping.callback = stop;
    int32_t status = da_session_sample(session, &stopping, &made);
    expect_answer(what, value, status, made);
    if (made) da_result_close(made);
    size_t needed;
    status = da_session_estimate(session, request, NULL, 0, &needed);
    CHECK(status <= DA_MORE && status > DA_INTERNAL, "estimate, %s = %Lg: %s", what, value, da_last_error());
}

static void test_requests(void) {
    static int64_t labels[4096];
    da_request request;
#define TRY32(member)                                                    \
    for (size_t i = 0; i < COUNT(hostile32); i++) {                      \
        request = check_request();                                       \
        request.member = hostile32[i];                                   \
        try_request(#member, hostile32[i], &request);                    \
        request.sampler = "ddpm";                                        \
        request.spacing = "leading";                                     \
        try_request(#member " (ddpm, leading)", hostile32[i], &request); \
    }
    TRY32(steps)
    TRY32(guidance_channels)
    TRY32(steps_offset)
    TRY32(decode)
    TRY32(tile)
    for (size_t i = 0; i < COUNT(hostile64); i++) {
        request = check_request();
        request.seed = hostile64[i];
        try_request("seed", (long double)hostile64[i], &request);
        request = check_request();
        request.labels = labels;
        request.label_count = (size_t)hostile64[i];
        request.steps = 1;
        try_request("label_count", (long double)hostile64[i], &request);
        request = check_request();
        request.noise_count = (size_t)hostile64[i];
        try_request("noise_count without noise", (long double)hostile64[i], &request);
        request = check_request();
        request.step_noise_count = (size_t)hostile64[i];
        try_request("step_noise_count without noise", (long double)hostile64[i], &request);
        labels[0] = (int64_t)hostile64[i];
        request = check_request();
        request.labels = labels;
        request.label_count = 1;
        try_request("label", (long double)hostile64[i], &request);
        labels[0] = 0;
    }
    for (size_t i = 0; i < COUNT(hostile_floats) + 3; i++) {
        double value =
            i < COUNT(hostile_floats) ? hostile_floats[i] : (double[]){NAN, INFINITY, -INFINITY}[i - COUNT(hostile_floats)];
        request = check_request();
        request.eta = value;
        try_request("eta", value, &request);
        da_result made = NULL;
        if (!(value >= 0 && value <= 1)) STATUS(DA_INVALID_ARGUMENT, da_session_sample(session, &request, &made));
        request = check_request();
        request.guidance = value;
        try_request("guidance", value, &request);
    }
    static char long_text[1 << 20];
    memset(long_text, '1', sizeof long_text - 1);
    const char *texts[] = {"",
                           " ",
                           "ddim ",
                           "DDIM",
                           "\xff\xfe",
                           "\xc0\x80",
                           "0",
                           "-1",
                           "1,",
                           ",1",
                           "1,,1",
                           "1,1",
                           "6",
                           "2,2,2",
                           "99999999999999999999",
                           "2147483648",
                           "9223372036854775808",
                           "0,6",
                           "-6,12",
                           "1e3",
                           "0x6",
                           "6.0",
                           "even",
                           "strided",
                           "leading",
                           "%s%n",
                           long_text};
    for (size_t i = 0; i < COUNT(texts); i++) {
        request = check_request();
        request.sampler = texts[i];
        try_request("sampler", (long double)i, &request);
        request = check_request();
        request.spacing = texts[i];
        try_request("spacing", (long double)i, &request);
        request.steps = 0;
        try_request("spacing without steps", (long double)i, &request);
    }
    /* Noise of the wrong count, of an odd address, and with numbers that are none. */
    enum { N = 2 * TINY_STATE };
    static char memory[6 * N * sizeof(float) + 8];
    float latents[N], unaligned[N];
    for (int steps = 0; steps < 2; steps++)
        for (size_t count = 0; count < N + 2; count += count < 3 ? 1 : 85) {
            request = check_request();
            if (steps) {
                request.sampler = "ddpm";
                request.step_noise = (const float *)memory;
                request.step_noise_count = count;
            } else {
                request.noise = (const float *)memory;
                request.noise_count = count;
            }
            try_request("a wrong noise_count", (long double)count, &request);
        }
    STATUS(DA_OK, da_random_normal(3, N, (float *)memory));
    request = check_request();
    request.noise = (const float *)memory;
    request.noise_count = N;
    STATUS(DA_OK, check_sample(session, &request, latents));
    for (int shift = 1; shift < 4; shift++) {
        memmove(memory + shift, memory + shift - 1, N * sizeof(float));
        request.noise = (const float *)(const void *)(memory + shift);
        STATUS(DA_OK, check_sample(session, &request, unaligned));
        CHECK(!memcmp(latents, unaligned, sizeof latents), "noise at an odd address gives other values");
    }
    char odd_labels[17];
    memcpy(odd_labels + 1, check_labels, 16);
    request.labels = (const int64_t *)(const void *)(odd_labels + 1);
    STATUS(DA_OK, check_sample(session, &request, unaligned));
    CHECK(!memcmp(latents, unaligned, sizeof latents), "labels at an odd address give other values");
    const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f, 1e-42f};
    for (size_t i = 0; i < COUNT(bad); i++) {
        for (int at = 0; at < N; at++) ((float *)memory)[at] = bad[i];
        request = check_request();
        request.noise = (const float *)memory;
        request.noise_count = N;
        if (isfinite(bad[i])) try_request("noise", bad[i], &request);
        else STATUS(DA_NOT_FINITE, check_sample(session, &request, unaligned));
    }
    request = check_request();
    STATUS(DA_OK, check_sample(session, &request, unaligned));
}

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
            da_request request = check_request();
            float latents[2 * TINY_STATE];
            status = check_sample(made, &request, latents);
            CHECK(status == DA_OK || status == DA_OVER_BUDGET, "a limit of %llu gives %s", (unsigned long long)hostile64[i],
                  da_status_name(status));
            da_session_close(made);
        }
        da_model_options opening;
        STATUS(DA_OK, da_model_options_init(&opening, sizeof opening));
        opening.memory_limit = hostile64[i];
        da_model opened = (void *)&opened;
        status = da_model_open(tiny_checkpoint(), &opening, &opened);
        expect_answer("model memory_limit", (long double)hostile64[i], status, opened);
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

/* A struct of another length: shorter is refused, a longer one must end in zeros. */
static void test_struct_sizes(void) {
    union {
        da_request request;
        da_session_options session;
        da_model_options model;
        da_tensor tensor;
        unsigned char bytes[512];
    } u;
    const uint32_t wrong[] = {0, 1, 3, 4, 8, 100000, 1u << 31, UINT32_MAX};
    float latents[2 * TINY_STATE];
    for (size_t i = 0; i < COUNT(wrong); i++) {
        memset(&u, 0, sizeof u);
        STATUS(DA_INVALID_ARGUMENT, da_request_init(&u.request, wrong[i]));
        STATUS(DA_INVALID_ARGUMENT, da_session_options_init(&u.session, wrong[i]));
        STATUS(DA_INVALID_ARGUMENT, da_model_options_init(&u.model, wrong[i]));
        for (size_t at = 0; at < sizeof u; at++) CHECK(!u.bytes[at], "a refused _init writes");
        u.request = check_request();
        u.request.struct_size = wrong[i];
        STATUS(DA_INVALID_ARGUMENT, check_sample(session, &u.request, latents));
        u.session = (da_session_options){.struct_size = wrong[i]};
        da_session made = NULL;
        STATUS(DA_INVALID_ARGUMENT, da_session_create(model, NULL, &u.session, &made));
        u.model = (da_model_options){.struct_size = wrong[i]};
        da_model opened = NULL;
        STATUS(DA_INVALID_ARGUMENT, da_model_open(tiny_checkpoint(), &u.model, &opened));
        u.tensor = (da_tensor){.struct_size = wrong[i]};
        STATUS(DA_INVALID_ARGUMENT, da_result_tensor(result, "latents", &u.tensor));
        CHECK(!u.tensor.data && u.tensor.struct_size == wrong[i], "a refused view is filled");
    }
    for (uint32_t extra = 1; extra <= 256; extra += 51) {
        memset(&u, 0xee, sizeof u);
        uint32_t size = (uint32_t)sizeof(da_request) + extra;
        STATUS(DA_OK, da_request_init(&u.request, size));
        CHECK(u.request.struct_size == size && !u.bytes[size - 1] && u.bytes[size] == 0xee,
              "a longer request is not filled to its end");
        u.request = check_request();
        u.request.struct_size = size;
        STATUS(DA_OK, check_sample(session, &u.request, latents));
        u.bytes[size - 1] = 1;
        STATUS(DA_UNSUPPORTED, check_sample(session, &u.request, latents));
    }
}

/* ---- forward ---- */

static float x_data[2 * TINY_STATE], t_data[2] = {10, 20};
static int64_t y_data[2] = {1, 2};

static void forward_inputs(da_tensor inputs[3]) {
    inputs[0] = (da_tensor){.struct_size = sizeof *inputs,
                            .name = "x",
                            .data = x_data,
                            .bytes = sizeof x_data,
                            .rank = 4,
                            .shape = {2, TINY_CHANNELS, TINY_SIDE, TINY_SIDE}};
    inputs[1] = (da_tensor){
        .struct_size = sizeof *inputs, .name = "t", .data = t_data, .bytes = sizeof t_data, .rank = 1, .shape = {2}};
    inputs[2] = (da_tensor){.struct_size = sizeof *inputs,
                            .name = "y",
                            .dtype = DA_I64,
                            .data = y_data,
                            .bytes = sizeof y_data,
                            .rank = 1,
                            .shape = {2}};
}

/* Runs a forward that may be refused; checks that nothing is written past the output. */
static int32_t try_forward(const char *what, long double value, const da_tensor inputs[3]) {
    static float data[4 * TINY_STATE + 16];
    for (size_t i = 0; i < COUNT(data); i++) data[i] = 1234.5f;
    da_tensor output = {.struct_size = sizeof output, .name = "out", .data = data, .bytes = 4 * TINY_STATE * sizeof(float)};
    int32_t status = da_model_forward(model, inputs, 3, &output, 1, NULL);
    CHECK(status <= DA_MORE && status > DA_INTERNAL, "forward, %s = %Lg: %s %s", what, value, da_status_name(status),
          da_last_error());
    for (size_t i = status == DA_OK ? 4 * TINY_STATE : 0; i < COUNT(data); i++)
        if (data[i] != 1234.5f) {
            CHECK(0, "forward, %s = %Lg (%s) wrote element %zu", what, value, da_status_name(status), i);
            break;
        }
    return status;
}

static void test_forward(void) {
    da_tensor inputs[3];
    forward_inputs(inputs);
    STATUS(DA_OK, da_random_normal(1, 2 * TINY_STATE, x_data));
    STATUS(DA_OK, try_forward("nothing", 0, inputs));
    for (int which = 0; which < 3; which++) {
        for (size_t i = 0; i < COUNT(hostile32); i++) {
            forward_inputs(inputs);
            if (hostile32[i] != inputs[which].dtype) {
                inputs[which].dtype = hostile32[i];
                int32_t status = try_forward("dtype", hostile32[i], inputs);
                CHECK(status < 0, "a wrong dtype is %s", da_status_name(status));
            }
            forward_inputs(inputs);
            if (hostile32[i] != inputs[which].rank) {
                inputs[which].rank = hostile32[i];
                CHECK(try_forward("rank", hostile32[i], inputs) < 0, "input %d of rank %d is accepted", which, hostile32[i]);
            }
        }
        for (size_t i = 0; i < COUNT(hostile64); i++) {
            forward_inputs(inputs);
            if (hostile64[i] != inputs[which].bytes) {
                inputs[which].bytes = (size_t)hostile64[i];
                CHECK(try_forward("bytes", (long double)hostile64[i], inputs) < 0, "wrong bytes are accepted");
            }
            for (int axis = 0; axis < (which ? 1 : 4); axis++) {
                forward_inputs(inputs);
                if (inputs[which].shape[axis] == (int64_t)hostile64[i]) continue;
                inputs[which].shape[axis] = (int64_t)hostile64[i];
                CHECK(try_forward("shape", (long double)hostile64[i], inputs) < 0, "a wrong shape is accepted");
            }
        }
        forward_inputs(inputs);
        inputs[which].data = NULL;
        CHECK(try_forward("null data", which, inputs) < 0, "null data is accepted");
        forward_inputs(inputs);
        const char *names[] = {NULL,
                               "",
                               "z",
                               "\xff",
                               "x",
                               "out",
                               "a name that is a good deal longer than any input of any network would ever be called"};
        for (size_t i = 0; i < COUNT(names); i++) {
            if (names[i] && inputs[which].name && !strcmp(names[i], "x") && which == 0) continue;
            inputs[which].name = names[i];
            STATUS(DA_INVALID_ARGUMENT, try_forward("name", (long double)i, inputs));
            forward_inputs(inputs);
        }
    }
    /* Shapes that are right in number but not in form. */
    forward_inputs(inputs);
    inputs[1].rank = 2;
    inputs[1].shape[1] = 1;
    STATUS(DA_SHAPE, try_forward("t of two dimensions", 2, inputs));
    forward_inputs(inputs);
    inputs[0].shape[1] = TINY_SIDE;
    inputs[0].shape[3] = TINY_CHANNELS;
    STATUS(DA_SHAPE, try_forward("channels last", 0, inputs));
    forward_inputs(inputs);
    const int64_t classes[] = {-1, TINY_CLASSES + 1, 1000, INT64_MAX, INT64_MIN, 1ll << 32};
    for (size_t i = 0; i < COUNT(classes); i++) {
        y_data[1] = classes[i];
        CHECK(try_forward("class", (long double)classes[i], inputs) < 0, "class %lld is accepted", (long long)classes[i]);
    }
    y_data[1] = 2;
    const float times[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, -1, 1e-42f, 1e9f};
    for (size_t i = 0; i < COUNT(times); i++) {
        t_data[1] = times[i];
        try_forward("t", times[i], inputs);
    }
    t_data[1] = 20;
    /* Output buffers. */
    static char data[4 * TINY_STATE * sizeof(float) + 64];
    const size_t whole = 4 * TINY_STATE * sizeof(float);
    da_tensor output = {.struct_size = sizeof output, .name = "out"};
    STATUS(DA_OK, da_model_forward(model, inputs, 3, &output, 1, NULL));
    CHECK(output.bytes == whole && output.rank == 4 && output.shape[1] == 2 * TINY_CHANNELS && output.dtype == DA_F32,
          "size query");
    for (size_t i = 0; i < COUNT(hostile64); i++) {
        if (hostile64[i] >= whole) continue;
        memset(data, 0x55, sizeof data);
        output = (da_tensor){.struct_size = sizeof output, .name = "out", .data = data, .bytes = (size_t)hostile64[i]};
        STATUS(DA_MORE, da_model_forward(model, inputs, 3, &output, 1, NULL));
        CHECK(output.bytes == whole, "needed bytes");
        for (size_t at = 0; at < sizeof data; at++)
            if (data[at] != 0x55) {
                CHECK(0, "a buffer that is too small is written to");
                break;
            }
    }
    static char odd[4 * TINY_STATE * sizeof(float) + 64];
    output = (da_tensor){.struct_size = sizeof output, .name = "out", .data = data, .bytes = whole};
    STATUS(DA_OK, da_model_forward(model, inputs, 3, &output, 1, NULL));
    output = (da_tensor){.struct_size = sizeof output, .name = "out", .data = odd + 1, .bytes = whole};
    static char odd_x[sizeof x_data + 1];
    memcpy(odd_x + 1, x_data, sizeof x_data);
    inputs[0].data = odd_x + 1;
    STATUS(DA_OK, da_model_forward(model, inputs, 3, &output, 1, NULL));
    CHECK(!memcmp(data, odd + 1, whole), "data at odd addresses give other values");
    /* Counts and null arrays. */
    forward_inputs(inputs);
    const size_t counts[] = {0, 1, 2, 65, (size_t)1 << 31, (size_t)1 << 63, SIZE_MAX};
    for (size_t i = 0; i < COUNT(counts); i++) {
        output = (da_tensor){.struct_size = sizeof output, .name = "out"};
        int32_t status = da_model_forward(model, inputs, counts[i], &output, 1, NULL);
        STATUS(DA_INVALID_ARGUMENT, status);
        if (counts[i] != 1 && counts[i] != 2)
            STATUS(DA_INVALID_ARGUMENT, da_model_forward(model, inputs, 3, &output, counts[i], NULL));
    }
    STATUS(DA_INVALID_ARGUMENT, da_model_forward(model, NULL, 3, &output, 1, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_model_forward(model, inputs, 3, NULL, 1, NULL));
    for (size_t i = 0; i < COUNT(hostile32); i++) {
        da_forward_options options;
        STATUS(DA_OK, da_forward_options_init(&options, sizeof options));
        options.threads = hostile32[i];
        output = (da_tensor){.struct_size = sizeof output, .name = "out", .data = data, .bytes = whole};
        STATUS(hostile32[i] >= 0 && hostile32[i] <= 256 ? DA_OK : DA_INVALID_ARGUMENT,
               da_model_forward(model, inputs, 3, &output, 1, &options));
    }
    for (size_t i = 0; i < COUNT(hostile64); i++) {
        da_forward_options options;
        STATUS(DA_OK, da_forward_options_init(&options, sizeof options));
        options.memory_limit = hostile64[i];
        output = (da_tensor){.struct_size = sizeof output, .name = "out", .data = data, .bytes = whole};
        int32_t status = da_model_forward(model, inputs, 3, &output, 1, &options);
        CHECK(status == DA_OK || status == DA_OVER_BUDGET, "a limit of %llu gives %s", (unsigned long long)hostile64[i],
              da_status_name(status));
    }
}

/* ---- noise counts that promise more than there is ---- */

/* The buffer has what the request needs; only the count is wrong. In a child, since a library that believes the count reads
 * past the buffer. */
static void test_noise_counts(void) {
    static float noise[2 * TINY_STATE];
    for (size_t i = 0; i < COUNT(hostile64); i++) {
        if (hostile64[i] <= 2 * TINY_STATE) continue;
        pid_t child = fork();
        if (child == 0) {
            da_request request = check_request();
            request.noise = noise;
            request.noise_count = (size_t)hostile64[i];
            float latents[2 * TINY_STATE];
            int32_t status = check_sample(session, &request, latents);
            _exit(status < 0 && status > DA_INTERNAL ? 0 : 1);
        }
        int end = 0;
        waitpid(child, &end, 0);
        CHECK(WIFEXITED(end) && WEXITSTATUS(end) == 0, "noise_count = %llu: %s %d", (unsigned long long)hostile64[i],
              WIFSIGNALED(end) ? "killed by signal" : "exit code", WIFSIGNALED(end) ? WTERMSIG(end) : WEXITSTATUS(end));
    }
}

static void test_errors_are_told(void) {
    da_plan made = NULL;
    STATUS(DA_FORMAT, da_plan_parse("{\"method\": \"never-heard-of\"}", 28, &made));
    CHECK(strstr(da_last_error(), "never-heard-of"), "the text is \"%s\"", da_last_error());
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
    model = check_model();
    const char *text = "{\"method\":\"l2c\",\"policy\":\"alternate\"}";
    STATUS(DA_OK, da_plan_parse(text, strlen(text), &plan));
    session = check_session(model, plan, 2);
    da_request request = check_request();
    STATUS(DA_OK, da_session_sample(session, &request, &result));
    if (!model || !plan || !session || !result) return check_summary("misuse");
    test_null_pointers();
    test_text_buffers();
    test_struct_sizes();
    test_options();
    test_requests();
    test_forward();
    test_noise_counts();
    test_errors_are_told();
    test_closed_handles();
    test_handles();
    STATUS(DA_OK, da_result_close(result));
    STATUS(DA_OK, da_session_close(session));
    STATUS(DA_OK, da_plan_close(plan));
    STATUS(DA_OK, da_model_close(model));
    return check_summary("misuse");
}

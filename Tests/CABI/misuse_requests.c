/* Every member of a sampling request at values that nobody should pass. */
#define _GNU_SOURCE
#include <sys/wait.h>
#include <unistd.h>

#include "misuse.h"

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
    /* Every sampler by its name and by its class; what a sampler does not have is refused. */
    static const char *const samplers[] = {"ddim",
                                           "ddpm",
                                           "pndm",
                                           "euler",
                                           "euler_karras",
                                           "euler_a",
                                           "heun",
                                           "heun_karras",
                                           "lms",
                                           "lms_karras",
                                           "dpmpp_2m",
                                           "dpmpp_2m_karras",
                                           "dpmpp_2m_sde",
                                           "dpmpp_sde",
                                           "dpmpp_sde_karras",
                                           "unipc",
                                           "unipc_karras",
                                           "lcm",
                                           "LCMScheduler",
                                           "EulerDiscreteScheduler",
                                           "dpmpp_2m_sde_karras"};
    da_session plain = NULL;
    STATUS(DA_OK, da_session_create(model, NULL, NULL, &plain));
    for (size_t i = 0; i < COUNT(samplers); i++) {
        da_result made = NULL;
        request = check_request();
        request.sampler = samplers[i];
        STATUS(DA_OK, da_session_sample(plain, &request, &made));
        STATUS(DA_OK, da_result_close(made));
        request.spacing = "trailing";
        int is_spaced = strcmp(samplers[i], "lcm") && strcmp(samplers[i], "LCMScheduler");
        STATUS(is_spaced ? DA_OK : DA_UNSUPPORTED, da_session_sample(plain, &request, &made));
        if (is_spaced) STATUS(DA_OK, da_result_close(made));
        request.spacing = "strided";
        STATUS(i < 2 ? DA_OK : DA_UNSUPPORTED, da_session_sample(plain, &request, &made));
        if (i < 2) da_result_close(made);
        request.spacing = NULL;
        request.eta = 0.5;
        STATUS(i < 1 ? DA_OK : DA_UNSUPPORTED, da_session_sample(plain, &request, &made));
        if (i < 1) da_result_close(made);
    }
    request = check_request();
    request.sampler = "dpm_fast";
    da_result none = NULL;
    STATUS(DA_INVALID_ARGUMENT, da_session_sample(plain, &request, &none));
    CHECK(strstr(da_last_error(), "dpmpp_2m_karras") != NULL, "%s", da_last_error());
    STATUS(DA_OK, da_session_close(plain));
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

int main(void) {
    if (!misuse_begin()) return check_summary("misuse_requests");
    test_requests();
    test_noise_counts();
    return misuse_end("misuse_requests");
}

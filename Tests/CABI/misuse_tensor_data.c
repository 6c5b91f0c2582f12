/* What stands in the tensors of a request: labels and noise that are none, odd addresses, texts as bytes. */
#include "tensor_requests.h"

/* ---- labels ---- */

static void test_labels(void) {
    static int64_t labels[4098];
    float latents[N], again[N];
    STATUS(DA_OK, check_sample(session, two, latents));
    da_tensor tensor = labels_of(check_labels, 2);
    STATUS(DA_OK, check_sample_with(session, none, &tensor, 1, NULL, NULL, again));
    CHECK(!memcmp(latents, again, sizeof latents), "labels as a tensor give other values");
    for (size_t i = 0; i < COUNT(hostile64); i++) {
        labels[1] = (int64_t)hostile64[i];
        tensor = labels_of(labels, 2);
        if (hostile64[i] <= TINY_CLASSES) CHECK(try_tensors("labels", none, &tensor, 1) == DA_OK, "%s", da_last_error());
        else refused(none, tensor, DA_INVALID_ARGUMENT, "at position 1 is outside 0..<11");
    }
    labels[1] = 0;
    for (int64_t count = 0; count <= 4098; count += count < 2 ? 1 : 4095) {
        tensor = labels_of(labels, count);
        size_t needed;
        int32_t status = da_session_estimate(session, none, strlen(none), &tensor, 1, NULL, 0, &needed);
        CHECK(status == (count >= 1 && count <= 4096 ? DA_MORE : DA_INVALID_ARGUMENT), "%lld labels: %s", (long long)count,
              da_last_error());
        CHECK(status == DA_MORE || strstr(da_last_error(), "labels"), "%s", da_last_error());
    }
    /* More integers than any request has. */
    size_t large = (1 << 24) + 1;
    int64_t *memory = calloc(large, 8);
    CHECK(memory != NULL, "no memory");
    if (memory) refused(none, labels_of(memory, (int64_t)large), DA_SHAPE, "labels");
    free(memory);
}

/* ---- numbers and addresses ---- */

static void test_noise(void) {
    static char memory[6 * N * sizeof(float) + 8];
    float latents[N], unaligned[N];
    STATUS(DA_OK, check_sample(session, two, latents));
    da_tensor tensor = check_tensor("noise", DA_F32, noise, sizeof noise, state_shape);
    STATUS(DA_OK, check_sample_with(session, two, &tensor, 1, NULL, NULL, unaligned));
    CHECK(!memcmp(latents, unaligned, sizeof latents), "the seed's numbers as noise give other values");
    for (int steps = 0; steps < 2; steps++)
        for (int64_t count = 0; count < N + 2; count += count < 3 ? 1 : 85) {
            if (count == N) continue;
            tensor = check_tensor(steps ? "step_noise" : "noise", DA_F32, memory, (size_t)count * 4, SHAPE(count));
            refused(steps ? REQUEST(",\"steps\":6,\"sampler\":\"ddpm\"") : two, tensor, DA_SHAPE,
                    steps ? "step_noise" : "noise");
        }
    memcpy(memory, noise, sizeof noise);
    for (int shift = 1; shift < 8; shift++) {
        memmove(memory + shift, memory + shift - 1, sizeof noise);
        tensor = check_tensor("noise", DA_F32, memory + shift, sizeof noise, state_shape);
        STATUS(DA_OK, check_sample_with(session, two, &tensor, 1, NULL, NULL, unaligned));
        CHECK(!memcmp(latents, unaligned, sizeof latents), "noise at an odd address gives other values");
    }
    char odd_labels[17];
    memcpy(odd_labels + 1, check_labels, 16);
    tensor = labels_of(odd_labels + 1, 2);
    STATUS(DA_OK, check_sample_with(session, none, &tensor, 1, NULL, NULL, unaligned));
    CHECK(!memcmp(latents, unaligned, sizeof latents), "labels at an odd address give other values");
    const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f, 1e-42f};
    for (size_t i = 0; i < COUNT(bad); i++)
        for (int steps = 0; steps < 2; steps++) {
            const char *json = steps ? REQUEST(",\"steps\":6,\"sampler\":\"ddpm\"") : two;
            for (size_t at = 0; at < 6 * N; at++) ((float *)memory)[at] = bad[i];
            tensor = check_tensor(steps ? "step_noise" : "noise", DA_F32, memory, (steps ? 6 : 1) * sizeof noise,
                                  SHAPE(steps ? 6 * N : N));
            int32_t status = try_tensors("odd numbers", json, &tensor, 1);
            if (!isfinite(bad[i])) CHECK(status == DA_NOT_FINITE, "%g gives %s", (double)bad[i], da_status_name(status));
        }
    /* What the sampler draws on the way: six times, and the last draw is not used. */
    STATUS(DA_OK, da_random_normal(4, 6 * N, (float *)memory));
    tensor = check_tensor("step_noise", DA_F32, memory, 6 * sizeof noise, SHAPE(6, 2, TINY_CHANNELS, TINY_SIDE, TINY_SIDE));
    STATUS(DA_OK, check_sample_with(session, REQUEST(",\"steps\":6,\"sampler\":\"ddpm\""), &tensor, 1, NULL, NULL, latents));
    STATUS(DA_OK, check_sample(session, REQUEST(",\"steps\":6,\"sampler\":\"ddpm\""), unaligned));
    CHECK(memcmp(latents, unaligned, sizeof latents), "noise of the steps changes nothing");
    STATUS(DA_OK, check_sample(session, two, unaligned));
}

/* ---- texts as bytes ---- */

static void test_texts(void) {
    float latents[N], again[N];
    STATUS(DA_OK, check_sample(session, REQUEST(",\"steps\":6,\"sampler\":\"ddpm\",\"spacing\":\"trailing\""), latents));
    const da_tensor both[] = {check_tensor("sampler", DA_U8, "ddpm", 4, SHAPE(4)),
                              check_tensor("spacing", DA_U8, "trailing", 8, SHAPE(8))};
    STATUS(DA_OK, check_sample_with(session, two, both, 2, NULL, NULL, again));
    CHECK(!memcmp(latents, again, sizeof latents), "options as bytes give other values");
    refused(REQUEST(",\"sampler\":\"ddpm\""), both[0], DA_INVALID_ARGUMENT,
            "\"sampler\" is given as an option and as a tensor");
    refused(two, check_tensor("sampler", DA_U8, "ddpm", 5, SHAPE(5)), DA_INVALID_ARGUMENT, "sampler");
    refused(two, check_tensor("sampler", DA_U8, "", 0, SHAPE(0)), DA_INVALID_ARGUMENT, "sampler");
    refused(two, check_tensor("spacing", DA_U8, NULL, 0, SHAPE(0)), DA_INVALID_ARGUMENT, "spacing");
    refused(two, check_tensor("eta", DA_U8, "0", 1, SHAPE(1)), DA_INVALID_ARGUMENT, "\"eta\" is an option, no tensor");
    refused(two, check_tensor("decode", DA_U8, "1", 1, SHAPE(1)), DA_INVALID_ARGUMENT, "\"decode\" is an option, no tensor");
    refused(two, check_tensor("spacing", DA_I64, check_labels, 16, SHAPE(2)), DA_INVALID_ARGUMENT, "\"spacing\" is an option");
    static const char *const bytes[] = {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "even\xc3", "\x80", "\xe2\x82"};
    for (size_t i = 0; i < COUNT(bytes); i++) {
        int64_t count = (int64_t)strlen(bytes[i]);
        refused(two, check_tensor("spacing", DA_U8, bytes[i], (size_t)count, SHAPE(count)), DA_INVALID_ARGUMENT,
                "spacing: the bytes are no valid UTF-8");
    }
    /* 4 MiB, and a byte more. */
    const int64_t most = 4 << 20;
    char *text = malloc((size_t)most + 1);
    CHECK(text != NULL, "no memory");
    if (!text) return;
    memset(text, '1', (size_t)most + 1);
    refused(two, check_tensor("spacing", DA_U8, text, (size_t)most, SHAPE(most)), DA_INVALID_ARGUMENT, "spacing must be even");
    CHECK(strlen(da_last_error()) < 2048, "an error text of %zu bytes", strlen(da_last_error()));
    refused(two, check_tensor("spacing", DA_U8, text, (size_t)most + 1, SHAPE(most + 1)), DA_SHAPE, "spacing");
    free(text);
}

/* An estimate of a request with tensors says what one with options says. */
static void test_estimates(void) {
    char options[4096], tensors[4096];
    const da_tensor both[] = {labels_of(check_labels, 2), check_tensor("noise", DA_F32, noise, sizeof noise, state_shape)};
    STATUS(DA_OK, check_estimate(session, two, options, sizeof options, NULL));
    STATUS(DA_OK, da_session_estimate(session, none, strlen(none), both, 1, tensors, sizeof tensors, NULL));
    CHECK(!strcmp(options, tensors), "labels as a tensor: %s, as an option: %s", tensors, options);
    /* Numbers that are given need not be drawn, which takes memory. */
    STATUS(DA_OK, da_session_estimate(session, none, strlen(none), both, 2, tensors, sizeof tensors, NULL));
    const char *work = strstr(options, "\"flops\""), *same = strstr(tensors, "\"flops\"");
    CHECK(work && same && !strcmp(work, same), "with noise: %s, without: %s", tensors, options);
    const char *all = strstr(options, "\"peak\":"), *less = strstr(tensors, "\"peak\":");
    CHECK(all && less && atoi(less + 7) <= atoi(all + 7), "with noise: %s, without: %s", tensors, options);
}

int main(void) {
    if (!tensors_begin()) return check_summary("misuse_tensor_data");
    test_labels();
    test_noise();
    test_texts();
    test_estimates();
    return misuse_end("misuse_tensor_data");
}

/* Tensors of a request: names, types, shapes, numbers and addresses that nobody should pass. */
#define _GNU_SOURCE
#include <sys/wait.h>
#include <unistd.h>

#include "misuse.h"

enum { N = 2 * TINY_STATE };

static const int64_t state_shape[] = {2, TINY_CHANNELS, TINY_SIDE, TINY_SIDE, -1};
static float noise[N];

/* The status of a run with these tensors, which an estimate gives too unless it is one of the numbers themselves. */
static int32_t try_tensors(const char *what, const char *json, const da_tensor *tensors, size_t count) {
    da_result made = (void *)&made;
    int32_t status = da_session_run(session, json, strlen(json), tensors, count, NULL, NULL, &made);
    expect_answer(what, (long double)count, status, made);
    if (made) da_result_close(made);
    size_t needed;
    int32_t estimated = da_session_estimate(session, json, strlen(json), tensors, count, NULL, 0, &needed);
    CHECK(estimated == (status == DA_OK || status == DA_NOT_FINITE ? DA_MORE : status), "%s: run gives %s, estimate %s", what,
          da_status_name(status), da_status_name(estimated));
    return status;
}

/* A request with one tensor is refused with a text that names it. */
static void refused(const char *json, da_tensor tensor, int32_t status, const char *part) {
    int32_t found = try_tensors(part, json, &tensor, 1);
    CHECK(found == status && strstr(da_last_error(), part), "%s in %s gives %s: %s, expected %s",
          tensor.name ? tensor.name : "-", json, da_status_name(found), da_last_error(), da_status_name(status));
}

static const char two[] = "{\"labels\":[1,2],\"steps\":6,\"seed\":3}", none[] = "{\"steps\":6,\"seed\":3}";

static da_tensor labels_of(const void *data, int64_t count) {
    return check_tensor("labels", DA_I64, data, (size_t)count * 8, SHAPE(count));
}

/* ---- what a tensor may be called ---- */

static void test_names(void) {
    static const int64_t numbers[4] = {1, 2, 3, 4};
    const da_tensor good = check_tensor("noise", DA_F32, noise, sizeof noise, state_shape), labels = labels_of(numbers, 2);
    refused(two, labels, DA_INVALID_ARGUMENT, "\"labels\" is given as an option and as a tensor");
    da_tensor both[66] = {labels, good, labels};
    CHECK(try_tensors("labels and noise", none, both, 2) == DA_OK, "%s", da_last_error());
    CHECK(try_tensors("labels twice", none, both, 3) == DA_INVALID_ARGUMENT, "%s", da_last_error());
    CHECK(strstr(da_last_error(), "\"labels\" is given twice"), "%s", da_last_error());
    static const struct {
        const char *name, *part;
    } names[] = {{"label", "no tensor \"label\"; did you mean \"labels\""},
                 {"Noise", "did you mean \"noise\""},
                 {"stepnoise", "did you mean \"step_noise\""},
                 {"", "no tensor \"\"; there are labels, noise, step_noise"},
                 {"latents", "no tensor \"latents\""},
                 {"prompt", "no tensor \"prompt\""},
                 {"tile", "\"tile\" is an option, no tensor"},
                 {"guidance", "\"guidance\" is an option, no tensor"},
                 {"comment", "no tensor \"comment\""},
                 {"\xff", "da_tensor.name"}};
    for (size_t i = 0; i < COUNT(names); i++) {
        da_tensor tensor = good;
        tensor.name = names[i].name;
        refused(two, tensor, DA_INVALID_ARGUMENT, names[i].part);
    }
    da_tensor tensor = good;
    tensor.name = NULL;
    refused(two, tensor, DA_INVALID_ARGUMENT, "da_tensor.name is null");
    static char long_name[1 << 16];
    memset(long_name, 'a', sizeof long_name - 1);
    tensor.name = long_name;
    refused(two, tensor, DA_INVALID_ARGUMENT, "da_tensor.name");
    long_name[4000] = 0;
    refused(two, tensor, DA_INVALID_ARGUMENT, "no tensor \"aaa");
    CHECK(strlen(da_last_error()) < 2048, "an error text of %zu bytes", strlen(da_last_error()));
    /* So many, and one more; counts that promise more than there is are refused unread. */
    static char many[66][8];
    for (int i = 0; i < 66; i++) both[i] = good, both[i].name = strcpy(many[i], "unknown");
    CHECK(try_tensors("64 of one name", two, both, 64) == DA_INVALID_ARGUMENT, "%s", da_last_error());
    CHECK(strstr(da_last_error(), "given twice"), "%s", da_last_error());
    for (int i = 0; i < 66; i++) snprintf(many[i], sizeof *many, "n%d", i);
    CHECK(try_tensors("64 unknown", two, both, 64) == DA_INVALID_ARGUMENT && strstr(da_last_error(), "no tensor \"n0\""), "%s",
          da_last_error());
    for (size_t i = 0; i < COUNT(hostile64); i++) {
        if (hostile64[i] == 0 || (hostile64[i] <= 64)) continue;
        for (int is_null = 0; is_null < 2; is_null++) {
            int32_t status = try_tensors("a wild count", two, is_null ? NULL : both, (size_t)hostile64[i]);
            CHECK(status == DA_INVALID_ARGUMENT && strstr(da_last_error(), "0...64"), "%llu tensors: %s",
                  (unsigned long long)hostile64[i], da_last_error());
        }
    }
    CHECK(try_tensors("65", two, both, 65) == DA_INVALID_ARGUMENT, "%s", da_last_error());
    CHECK(try_tensors("a null of 1", two, NULL, 1) == DA_INVALID_ARGUMENT, "%s", da_last_error());
    CHECK(try_tensors("nothing of an array", two, both, 0) == DA_OK, "%s", da_last_error());
}

/* ---- types and shapes ---- */

static void test_types(void) {
    static const int64_t integers[N] = {1, 2};
    for (size_t i = 0; i < COUNT(hostile32); i++) {
        da_tensor tensor = check_tensor("noise", hostile32[i], noise, sizeof noise, state_shape);
        if (hostile32[i] != DA_F32) refused(two, tensor, DA_SHAPE, "noise");
        tensor = check_tensor("labels", hostile32[i], integers, 16, SHAPE(2));
        if (hostile32[i] != DA_I64) refused(none, tensor, DA_SHAPE, "labels");
    }
    refused(two, check_tensor("noise", DA_I64, integers, sizeof integers, state_shape), DA_SHAPE,
            "is f32 [n, 4, 8, 8], found i64");
    refused(two, check_tensor("noise", DA_U8, integers, N, state_shape), DA_SHAPE, "is f32 [n, 4, 8, 8], found u8");
    refused(none, check_tensor("labels", DA_F32, noise, 8, SHAPE(2)), DA_SHAPE, "is i64 [n], found f32");
    refused(none, check_tensor("labels", DA_U8, integers, 2, SHAPE(2)), DA_SHAPE, "is i64 [n], found u8");
    refused(two, check_tensor("noise", 1, noise, sizeof noise, state_shape), DA_SHAPE, "noise: unknown dtype 1");
}

static void test_shapes(void) {
    static const struct {
        int64_t shape[DA_MAX_RANK + 1];
        int32_t rank;
    } shapes[] = {
        {{0}, 1},
        {{1}, 1},
        {{N - 1}, 1},
        {{N + 1}, 1},
        {{3, 4, 8, 8}, 4},
        {{1, 4, 8, 8}, 4},
        {{2, 4, 8, 0}, 4},
        {{0, 0, 0, 0}, 4},
        {{0}, 0},
        {{-1, 4, 8, 8}, 4},
        {{INT64_MIN}, 1},
        {{INT64_MAX, INT64_MAX}, 2},
        {{INT64_MAX}, 1},
        {{1ll << 32, 1ll << 32}, 2},
        {{1ll << 32, 1ll << 31, 2}, 3},
        {{1ll << 62, 4, 8, 8}, 4},
        {{1ll << 61, 2, 2, 2}, 4},
        {{INT64_MAX, 2, 0}, 3},
        {{65536, 65536, 65536, 65536}, 4},
        {{2, 2, 2, 2, 2, 2, 2, 2}, 8},
        {{3037000500, 3037000500}, 2},
    };
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (int bytes = 0; bytes < 3; bytes++) {
            da_tensor tensor = {.struct_size = sizeof tensor, .dtype = DA_F32, .name = "noise", .data = noise};
            uint64_t product = 4;
            tensor.rank = shapes[i].rank;
            for (int k = 0; k < tensor.rank; k++) {
                tensor.shape[k] = shapes[i].shape[k];
                product *= (uint64_t)shapes[i].shape[k];
            }
            /* What the shape comes to where products wrap round, what there is, and nothing. */
            tensor.bytes = bytes == 0 ? (size_t)product : bytes == 1 ? sizeof noise : 0;
            /* A tensor that says it has more than there is would be read as far as it says. */
            if (product > sizeof noise && tensor.bytes == product && (int64_t)product > 0) continue;
            refused(two, tensor, DA_SHAPE, "noise");
        }
    for (size_t i = 0; i < COUNT(hostile32); i++) {
        da_tensor tensor = check_tensor("noise", DA_F32, noise, sizeof noise, state_shape);
        tensor.rank = hostile32[i];
        /* A number alone, a row of them or two of them are too few; more than eight extents there are not. */
        refused(two, tensor, DA_SHAPE, "noise");
    }
    /* Bytes and shape do not agree; no data; what must be zero is not looked at in inputs of the present. */
    for (size_t i = 0; i < COUNT(hostile64); i++) {
        da_tensor tensor = check_tensor("noise", DA_F32, noise, (size_t)hostile64[i], state_shape);
        refused(two, tensor, DA_SHAPE, "noise");
        tensor = labels_of(check_labels, 2);
        tensor.bytes = (size_t)hostile64[i];
        refused(none, tensor, DA_SHAPE, "labels");
    }
    da_tensor tensor = check_tensor("noise", DA_F32, NULL, sizeof noise, state_shape);
    refused(two, tensor, DA_INVALID_ARGUMENT, "noise: data is null");
    /* Axes may be joined. */
    const int64_t joined[][3] = {{N, -1, -1}, {2, N / 2, -1}};
    float latents[N], again[N];
    for (int i = 0; i < 3; i++) {
        tensor = check_tensor("noise", DA_F32, noise, sizeof noise, i < 2 ? joined[i] : state_shape);
        STATUS(DA_OK, check_sample_with(session, two, &tensor, 1, NULL, NULL, i ? again : latents));
        CHECK(!i || !memcmp(latents, again, sizeof latents), "joined axes give other values");
    }
    refused(none, check_tensor("labels", DA_I64, check_labels, 16, SHAPE(1, 2)), DA_SHAPE, "\"labels\" is i64 [n], found");
    refused(none, check_tensor("labels", DA_I64, check_labels, 8, SHAPE(-1)), DA_SHAPE, "\"labels\" is i64 [n], found");
}

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

/* ---- counts that promise more than there is ---- */

/* The buffer has what the request needs; only the extents, or only the bytes, are wrong. In a child, since a library that
 * believes them reads past the buffer. */
static void test_noise_counts(void) {
    for (size_t k = 0; k < 2 * COUNT(hostile64); k++) {
        size_t i = k / 2;
        if (hostile64[i] <= N) continue;
        pid_t child = fork();
        if (child == 0) {
            da_tensor tensor = check_tensor("noise", DA_F32, noise, sizeof noise, SHAPE(N));
            if (k % 2) tensor.shape[0] = (int64_t)hostile64[i];
            else tensor.bytes = (size_t)hostile64[i];
            float latents[N];
            int32_t status = check_sample_with(session, two, &tensor, 1, NULL, NULL, latents);
            _exit(status < 0 && status > DA_INTERNAL ? 0 : 1);
        }
        int end = 0;
        waitpid(child, &end, 0);
        CHECK(WIFEXITED(end) && WEXITSTATUS(end) == 0, "%llu numbers: %s %d", (unsigned long long)hostile64[i],
              WIFSIGNALED(end) ? "killed by signal" : "exit code", WIFSIGNALED(end) ? WTERMSIG(end) : WEXITSTATUS(end));
    }
}

int main(void) {
    if (!misuse_begin()) return check_summary("misuse_tensors");
    STATUS(DA_OK, da_random_normal(3, N, noise));
    test_names();
    test_types();
    test_shapes();
    test_labels();
    test_noise();
    test_texts();
    test_estimates();
    test_noise_counts();
    return misuse_end("misuse_tensors");
}

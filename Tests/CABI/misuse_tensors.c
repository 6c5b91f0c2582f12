/* Tensors of a request as nobody should describe them: names, types, shapes, counts and sizes. */
#define _GNU_SOURCE
#include <sys/wait.h>
#include <unistd.h>

#include "tensor_requests.h"

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
    /* As bytes a label is a name, as every option that is a text. */
    refused(none, check_tensor("labels", DA_U8, "no", 2, SHAPE(2)), DA_INVALID_ARGUMENT, "there is no class \"no\"");
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
    if (!tensors_begin()) return check_summary("misuse_tensors");
    test_names();
    test_types();
    test_shapes();
    test_noise_counts();
    return misuse_end("misuse_tensors");
}

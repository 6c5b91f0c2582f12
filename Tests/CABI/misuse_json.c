/* Requests that are no JSON, or more of it than anybody writes: broken, cut, beyond every limit, nested without end. */
#include "option_requests.h"

static void test_json(void) {
    static const char *const broken[] = {"{",
                                         "}",
                                         "{}}",
                                         "{} x",
                                         "{'steps':5}",
                                         "{\"steps\":5,}",
                                         "{\"steps\"}",
                                         "{\"steps\":}",
                                         "{\"steps\":5 \"seed\":1}",
                                         "{steps:5}",
                                         "{\"steps\":5}//",
                                         "{\"steps\":5,\"steps\":5}",
                                         "{\"steps\":null,\"steps\":5}",
                                         "{\"sampler\":\"\xff\"}",
                                         "{\"sampler\":\"\xc0\x80\"}",
                                         "{\"sampler\":\"\xed\xa0\x80\"}",
                                         "{\"sampler\":\"\xf4\x90\x80\x80\"}",
                                         "{\"\xc3\":1}",
                                         "{\"sampler\":\"\\ud800\"}",
                                         "{\"sampler\":\"a\nb\"}",
                                         "{\"sampler\":\"\\x\"}",
                                         "{\"a\\u0000b\":1}",
                                         "[",
                                         "\"",
                                         "nul",
                                         "\xef\xbb\xbf"};
    for (size_t i = 0; i < COUNT(broken); i++) refused(broken[i], DA_FORMAT, "request");
    static const char *const others[] = {"[]", "null", "3", "\"steps\"", "true", "[{\"steps\":5}]"};
    for (size_t i = 0; i < COUNT(others); i++) refused(others[i], DA_FORMAT, "request");
    static const char *const none[] = {"{\"labels\":1}", " {\"labels\" : [ 1 ] } ", "\n{\t\"labels\":[1\r\n]}\r\n"};
    for (size_t i = 0; i < COUNT(none); i++) CHECK(try_request(none[i]) == DA_OK, "%s: %s", none[i], da_last_error());
}

/* Only `length` bytes are read. */
static void test_parts(void) {
    /* An empty request is whole, but that the model asks for labels. */
    static const char *const empty[] = {"{}", "nothing is read", NULL};
    for (size_t i = 0; i < COUNT(empty); i++) {
        CHECK(try_bytes("empty", empty[i], i ? 0 : 2) == DA_INVALID_ARGUMENT, "an empty request");
        CHECK(strstr(da_last_error(), "\"labels\" is missing: an integer in 0...10"), "%s", da_last_error());
    }
    CHECK(try_bytes("a part", "{\"labels\":6}garbage", 12) == DA_OK, "%s", da_last_error());
    /* A NUL is none of JSON's. */
    CHECK(try_bytes("with its NUL", "{\"labels\":6}", 13) == DA_FORMAT, "%s", da_last_error());
    CHECK(try_bytes("a NUL inside", "{\"labels\":\0006}", 13) == DA_FORMAT, "%s", da_last_error());
    /* Every beginning of a request, in a block of just its length. */
    for (size_t length = 1; length < sizeof check_request - 1; length++) {
        char *part = malloc(length);
        memcpy(part, check_request, length);
        CHECK(try_bytes("a beginning", part, length) == DA_FORMAT, "%zu bytes: %s", length, da_last_error());
        free(part);
    }
}

/* Lengths beyond the limit are refused unread, and the limit itself is not. */
static void test_lengths(void) {
    enum { MOST = 4 << 20 };
    char *text = malloc(MOST + 1);
    CHECK(text != NULL, "no memory");
    if (!text) return;
    memset(text, ' ', MOST + 1);
    memcpy(text, "{\"labels\":1}", 12);
    CHECK(try_bytes("4 MiB", text, MOST) == DA_OK, "4 MiB: %s", da_last_error());
    CHECK(try_bytes("a byte more", text, MOST + 1) == DA_INVALID_ARGUMENT, "4 MiB and 1: %s", da_last_error());
    CHECK(strstr(da_last_error(), "json"), "%s", da_last_error());
    free(text);
    const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, (size_t)1 << 63, ((size_t)1 << 63) - 1, (size_t)1 << 40, (size_t)1 << 32};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        CHECK(try_bytes("wild", "{}", sizes[i]) == DA_INVALID_ARGUMENT, "%zu bytes: %s", sizes[i], da_last_error());
        CHECK(try_bytes("wild null", NULL, sizes[i]) == DA_INVALID_ARGUMENT, "null of %zu: %s", sizes[i], da_last_error());
    }
    CHECK(try_bytes("null of 1", NULL, 1) == DA_INVALID_ARGUMENT, "null of 1: %s", da_last_error());
}

/* ---- without end ---- */

/* `text` behind `at`, `count` times; returns where it ends. */
static char *repeat(char *at, const char *text, int count) {
    for (int i = 0; i < count; i++) at = stpcpy(at, text);
    return at;
}

enum { DEEP = 200000 };
static char endless[6 * DEEP + 64];

static void test_depth(void) {
    static const char *const opens[] = {"[", "{\"a\":"}, *const closes[] = {"]", "}"};
    for (int kind = 0; kind < 2; kind++)
        for (int depth = 1; depth <= DEEP; depth = depth < 40 ? depth + 1 : 10 * depth)
            for (int closed = 0; closed < 2; closed++) {
                /* A list of one label is a request. */
                if (depth == 1 && !kind && closed) continue;
                char *at = repeat(stpcpy(endless, "{\"labels\":"), opens[kind], depth);
                if (closed) stpcpy(repeat(stpcpy(at, "1"), closes[kind], depth), "}");
                int32_t status = try_request(endless);
                CHECK(status == DA_FORMAT || (closed && depth <= 32 && status == DA_INVALID_ARGUMENT), "depth %d gives %s: %s",
                      depth, da_status_name(status), da_last_error());
            }
}

/* A label for each of 4096 samples, one more, and many more. */
static void test_counts(void) {
    const int counts[] = {4096, 4097, 100001, DEEP};
    for (size_t i = 0; i < COUNT(counts); i++) {
        stpcpy(repeat(stpcpy(endless, "{\"decode\":false,\"steps\":1,\"labels\":[1"), ",1", counts[i] - 1), "]}");
        size_t needed;
        int32_t status = check_estimate(session, endless, NULL, 0, &needed);
        CHECK(status == (counts[i] == 4096 ? DA_MORE : DA_INVALID_ARGUMENT) || (counts[i] > 100000 && status == DA_FORMAT),
              "%d labels give %s: %s", counts[i], da_status_name(status), da_last_error());
    }
}

int main(void) {
    if (!misuse_begin()) return check_summary("misuse_json");
    test_json();
    test_parts();
    test_lengths();
    test_depth();
    test_counts();
    return misuse_end("misuse_json");
}

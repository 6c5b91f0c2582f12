/* Every option of a sampling request at values that nobody should pass, and JSON that is none. */
#define _GNU_SOURCE
#include <sys/wait.h>
#include <unistd.h>

#include "misuse.h"

/* Stops as soon as the run has begun: whether a request is accepted is known by then. */
static int32_t stop(void *user, const da_event *event) {
    (void)user;
    return event->step >= 1;
}

/* Runs and estimates the request: both give a documented status, and the same one but for what only a run does. */
static int32_t try_bytes(const char *what, const char *json, size_t length) {
    da_result made = (void *)&made;
    int32_t status = da_session_run(session, json, length, NULL, 0, stop, NULL, &made);
    expect_answer(what, (long double)length, status, made);
    if (made) da_result_close(made);
    size_t needed;
    int32_t estimated = da_session_estimate(session, json, length, NULL, 0, NULL, 0, &needed);
    int32_t expected = status == DA_OK || status == DA_CANCELLED ? DA_MORE : status;
    /* What a plan has no part in is known when it begins. */
    CHECK(estimated == expected || status == DA_INCOMPATIBLE || status == DA_OVER_BUDGET, "%.100s: run gives %s, estimate %s",
          what, da_status_name(status), da_status_name(estimated));
    return estimated == DA_MORE ? DA_OK : estimated;
}

static int32_t try_request(const char *json) { return try_bytes(json, json, strlen(json)); }

/* The request is refused by run and estimate with `status` and a text that has `part`; nothing is made. */
static void refused(const char *json, int32_t status, const char *part) {
    da_result made = (void *)&made;
    STATUS(status, check_run(session, json, &made));
    CHECK(!made, "%.100s: a refused request has a result", json);
    CHECK(strstr(da_last_error(), part), "%.100s: no %s in: %s", json, part, da_last_error());
    size_t needed = 77;
    STATUS(status, check_estimate(session, json, NULL, 0, &needed));
    CHECK(strstr(da_last_error(), part), "%.100s, estimate: no %s in: %s", json, part, da_last_error());
    CHECK(needed == 77, "a refused estimate needs %zu bytes", needed);
}

/* A request with the option `name`, and a label if that is another one. */
static const char *with(const char *name, const char *value) {
    return quoted("{'%s':%s%s}", name, value, strcmp(name, "labels") ? ",'labels':1" : "");
}

/* The option `name` with a number, alone and where it has a meaning. */
static void try_number(const char *name, const char *number) {
    try_request(with(name, number));
    try_request(quoted("{'sampler':'ddpm','spacing':'leading','%s':%s%s}", name, number,
                       strcmp(name, "labels") ? ",'labels':[1,2]" : ""));
}

static const char *const number_options[] = {"steps", "guidance_channels", "steps_offset", "decode", "tile", "seed", "labels",
                                             "eta",   "guidance"};

static void test_numbers(void) {
    char number[32];
    static const char *const texts[] = {"1e3",
                                        "1.5",
                                        "-0",
                                        "0.0",
                                        "1e400",
                                        "-1e400",
                                        "1e-400",
                                        "18446744073709551616",
                                        "28.0",
                                        "1E2",
                                        "1e19",
                                        "1e18",
                                        "99999999999999999999999999999999999999",
                                        "-9223372036854775809",
                                        "9223372036854775807",
                                        "2147483648",
                                        "4.9e-324",
                                        "1e308"};
    for (size_t k = 0; k < COUNT(number_options); k++) {
        for (size_t i = 0; i < COUNT(hostile32); i++) {
            snprintf(number, sizeof number, "%d", hostile32[i]);
            try_number(number_options[k], number);
        }
        for (size_t i = 0; i < COUNT(hostile64); i++) {
            snprintf(number, sizeof number, "%llu", (unsigned long long)hostile64[i]);
            try_number(number_options[k], number);
            snprintf(number, sizeof number, "%lld", (long long)hostile64[i]);
            try_number(number_options[k], number);
        }
        for (size_t i = 0; i < COUNT(hostile_floats); i++) {
            snprintf(number, sizeof number, "%.17g", hostile_floats[i]);
            try_number(number_options[k], number);
        }
        for (size_t i = 0; i < COUNT(texts); i++) try_number(number_options[k], texts[i]);
    }
}

/* What is out of range is refused with the option's name, at both ends, and what is just within is taken. */
static void test_ranges(void) {
    static const struct {
        const char *name, *least, *most, *below, *above;
    } ranges[] = {{"steps", "1", "1000", "0", "1001"},
                  {"eta", "0", "1", "-1e-9", "1.0000001"},
                  {"guidance", "0", "1000", "-0.5", "1000.5"},
                  {"guidance_channels", "1", "4", "0", "5"},
                  {"seed", "0", "9223372036854775807", "-1", "9223372036854775808"},
                  {"tile", "8", "4096", "7", "4097"},
                  {"labels", "0", "10", "-1", "11"},
                  {"steps_offset", "0", "0", "-1", "1001"}};
    for (size_t i = 0; i < COUNT(ranges); i++) {
        const char *name = ranges[i].name;
        CHECK(try_request(with(name, ranges[i].least)) == DA_OK, "%s %s: %s", name, ranges[i].least, da_last_error());
        CHECK(try_request(with(name, ranges[i].most)) == DA_OK, "%s %s: %s", name, ranges[i].most, da_last_error());
        refused(with(name, ranges[i].below), DA_INVALID_ARGUMENT, name);
        refused(with(name, ranges[i].above), DA_INVALID_ARGUMENT, name);
    }
    static const char *const none[] = {"NaN", "Infinity", "-Infinity", "nan", "inf", "0x10",
                                       "01",  "+1",       ".5",        "1.",  "--1", "1e"};
    for (size_t k = 0; k < COUNT(number_options); k++)
        for (size_t i = 0; i < COUNT(none); i++) /* The first three are what Python writes, and read to be told apart. */
            refused(with(number_options[k], none[i]), i < 3 ? DA_INVALID_ARGUMENT : DA_FORMAT,
                    i < 3 ? number_options[k] : "request");
}

/* A value of another type is refused with the option's name, what was expected and what was found. */
static void test_types(void) {
    static const struct {
        const char *name, *type;
    } options[] = {{"steps", "an integer"},     {"eta", "a number"},
                   {"guidance", "a number"},    {"seed", "an integer"},
                   {"decode", "true or false"}, {"sampler", "one of"},
                   {"spacing", "a string"},     {"tile", "an integer"},
                   {"labels", "an integer"},    {"guidance_channels", "an integer"}};
    static const char *const values[] = {"[]", "{}", "[[1]]", "[null]", "{\"a\":1}", "[1,{}]", "[\"x\",3.5]"};
    for (size_t i = 0; i < COUNT(options); i++) {
        for (size_t k = 0; k < COUNT(values); k++) {
            refused(with(options[i].name, values[k]), DA_INVALID_ARGUMENT, options[i].name);
            CHECK(strstr(da_last_error(), options[i].type), "no type in: %s", da_last_error());
        }
        if (strcmp(options[i].name, "decode")) refused(with(options[i].name, "true"), DA_INVALID_ARGUMENT, options[i].name);
        refused(with(options[i].name, "'no such word'"), DA_INVALID_ARGUMENT, options[i].name);
        /* null is not given. */
        if (strcmp(options[i].name, "labels"))
            CHECK(try_request(with(options[i].name, "null")) == DA_OK, "%s null: %s", options[i].name, da_last_error());
        else refused("{\"labels\":null}", DA_INVALID_ARGUMENT, "\"labels\" is missing");
    }
    refused(with("decode", "2"), DA_INVALID_ARGUMENT, "decode");
    refused(with("decode", "'yes'"), DA_INVALID_ARGUMENT, "decode");
    refused("{\"labels\":[1,2,11]}", DA_INVALID_ARGUMENT, "labels[2]");
    refused("{\"labels\":[]}", DA_INVALID_ARGUMENT, "labels");
}

static void test_names(void) {
    static const struct {
        const char *json, *part;
    } cases[] = {{"{\"step\":5}", "no option \"step\"; did you mean \"steps\""},
                 {"{\"guidence\":5}", "did you mean \"guidance\""},
                 {"{\"Steps\":5}", "did you mean \"steps\""},
                 {"{\"label\":5}", "did you mean \"labels\""},
                 {"{\"\":5}", "no option \"\"; there are labels, steps,"},
                 {"{\"something_else_entirely\":5}", "there are labels, steps, sampler"},
                 {"{\"noise\":5}", "no option \"noise\""},
                 {"{\"prompt\":\"a\"}", "no option \"prompt\""},
                 {"{\"labels\":1,\"sampler\":\"ddmi\"}", "sampler"},
                 {"{\"steps\":6,\"unknown\":null}", "no option \"unknown\""}};
    for (size_t i = 0; i < COUNT(cases); i++) refused(cases[i].json, DA_INVALID_ARGUMENT, cases[i].part);
    CHECK(try_request(with("comment", "{'steps':[true,null]}")) == DA_OK, "a comment: %s", da_last_error());
    /* Names of a megabyte, and texts too. */
    static char text[1 << 20];
    for (int value = 0; value < 3; value++) {
        static const char *const heads[] = {"{\"", "{\"labels\":1,\"sampler\":\"", "{\"labels\":1,\"spacing\":\""};
        memset(text, '1', sizeof text);
        memcpy(text, heads[value], strlen(heads[value]));
        strcpy(text + sizeof text - 6, value ? "\"}" : "\":0}");
        refused(text, DA_INVALID_ARGUMENT, value == 0 ? "no option \"111" : value == 1 ? "sampler" : "spacing");
        CHECK(strlen(da_last_error()) < 2048, "an error text of %zu bytes", strlen(da_last_error()));
    }
}

/* ---- what is no JSON object ---- */

static void test_json(void) {
    static const char *const broken[] = {"",
                                         "{",
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
    for (size_t i = 1; i < COUNT(broken); i++) refused(broken[i], DA_FORMAT, "request");
    static const char *const others[] = {"[]", "null", "3", "\"steps\"", "true", "[{\"steps\":5}]"};
    for (size_t i = 0; i < COUNT(others); i++) refused(others[i], DA_FORMAT, "request");
    static const char *const none[] = {"{\"labels\":1}", " {\"labels\" : [ 1 ] } ", "\n{\t\"labels\":[1\r\n]}\r\n"};
    for (size_t i = 0; i < COUNT(none); i++) CHECK(try_request(none[i]) == DA_OK, "%s: %s", none[i], da_last_error());
    /* An empty request is whole, but that the model asks for labels. */
    static const char *const empty[] = {"{}", "nothing is read", NULL};
    for (size_t i = 0; i < COUNT(empty); i++) {
        CHECK(try_bytes("empty", empty[i], i ? 0 : 2) == DA_INVALID_ARGUMENT, "an empty request");
        CHECK(strstr(da_last_error(), "\"labels\" is missing: an integer in 0...10"), "%s", da_last_error());
    }
    /* Only `length` bytes are read, and a NUL among them is none of JSON's. */
    CHECK(try_bytes("a part", "{\"labels\":6}garbage", 12) == DA_OK, "%s", da_last_error());
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

/* Nesting and numbers of values without end. */
static void test_depth(void) {
    enum { DEEP = 200000 };
    static char text[6 * DEEP + 64];
    static const char *const opens[] = {"[", "{\"a\":"}, *const closes[] = {"]", "}"};
    for (int kind = 0; kind < 2; kind++)
        for (int depth = 1; depth <= DEEP; depth = depth < 40 ? depth + 1 : 10 * depth) {
            for (int closed = 0; closed < 2; closed++) {
                char *at = text + sprintf(text, "{\"labels\":");
                for (int i = 0; i < depth; i++) at = stpcpy(at, opens[kind]);
                at = stpcpy(at, closed ? "1" : "");
                for (int i = 0; closed && i < depth; i++) at = stpcpy(at, closes[kind]);
                if (closed) at = stpcpy(at, "}");
                if (depth == 1 && !kind && closed) continue;
                int32_t status = try_request(text);
                CHECK(status == DA_FORMAT || (closed && depth <= 32 && status == DA_INVALID_ARGUMENT), "depth %d gives %s: %s",
                      depth, da_status_name(status), da_last_error());
            }
        }
    /* A label for each of 4096 samples, one more, and many more. */
    const int counts[] = {4096, 4097, 100001, DEEP};
    for (size_t i = 0; i < COUNT(counts); i++) {
        char *at = text + sprintf(text, "{\"decode\":false,\"steps\":1,\"labels\":[1");
        for (int k = 1; k < counts[i]; k++) at = stpcpy(at, ",1");
        strcpy(at, "]}");
        size_t needed;
        int32_t status = check_estimate(session, text, NULL, 0, &needed);
        CHECK(status == (counts[i] == 4096   ? DA_MORE
                         : counts[i] == 4097 ? DA_INVALID_ARGUMENT
                                             : DA_FORMAT) ||
                  (i > 1 && status == DA_INVALID_ARGUMENT),
              "%d labels give %s: %s", counts[i], da_status_name(status), da_last_error());
    }
}

/* ---- what a sampler does not have ---- */

static void test_texts(void) {
    static const char *const texts[] = {"",
                                        " ",
                                        "ddim ",
                                        "DDIM",
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
                                        "%s%n"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        char request[160];
        const char *const forms[] = {"{\"labels\":1,\"sampler\":\"%s\",\"steps\":6}",
                                     "{\"labels\":1,\"spacing\":\"%s\",\"steps\":6}",
                                     "{\"labels\":1,\"spacing\":\"%s\"}",
                                     "{\"labels\":1,\"tile\":\"%s\"}",
                                     "{\"labels\":\"%s\"}",
                                     "{\"labels\":1,\"guidance_channels\":\"%s\"}"};
        for (size_t k = 0; k < COUNT(forms); k++) {
            const char *at = strstr(forms[k], "%s");
            snprintf(request, sizeof request, "%.*s%s%s", (int)(at - forms[k]), forms[k], texts[i], at + 2);
            try_request(request);
        }
    }
    CHECK(try_request("{\"labels\":1,\"tile\":\"auto\",\"guidance_channels\":\"all\"}") == DA_OK, "%s", da_last_error());
    CHECK(try_request("{\"labels\":1,\"tile\":\"never\"}") == DA_OK, "%s", da_last_error());
}

/* Every sampler by its name and by its class; what a sampler does not have is refused. */
static void test_samplers(void) {
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
        const char *name = samplers[i];
        da_result made = NULL;
        STATUS(DA_OK, check_run(plain, quoted("{'labels':[1,2],'steps':6,'sampler':'%s'}", name), &made));
        STATUS(DA_OK, da_result_close(made));
        int is_spaced = strcmp(name, "lcm") && strcmp(name, "LCMScheduler");
        STATUS(is_spaced ? DA_OK : DA_UNSUPPORTED,
               check_run(plain, quoted("{'labels':[1,2],'steps':6,'sampler':'%s','spacing':'trailing'}", name), &made));
        if (is_spaced) STATUS(DA_OK, da_result_close(made));
        STATUS(i < 2 ? DA_OK : DA_UNSUPPORTED,
               check_run(plain, quoted("{'labels':[1,2],'steps':6,'sampler':'%s','spacing':'strided'}", name), &made));
        if (i < 2) da_result_close(made);
        STATUS(i < 1 ? DA_OK : DA_UNSUPPORTED,
               check_run(plain, quoted("{'labels':[1,2],'steps':6,'sampler':'%s','eta':0.5}", name), &made));
        if (i < 1) da_result_close(made);
    }
    da_result none = NULL;
    STATUS(DA_INVALID_ARGUMENT, check_run(plain, "{\"labels\":1,\"sampler\":\"dpm_fast\"}", &none));
    CHECK(strstr(da_last_error(), "sampler") && strstr(da_last_error(), "dpmpp_2m_karras"), "%s", da_last_error());
    STATUS(DA_OK, da_session_close(plain));
}

/* ---- what holds for every member of the form ---- */

/* The options that the model names are all that there are, and each one's default may be said. */
static void test_form(void) {
    static char text[1 << 16];
    STATUS(DA_OK, da_model_describe(model, text, sizeof text, NULL));
    const char *form = strstr(text, "\"request\":");
    CHECK(form, "no request in %.200s", text);
    static const char *const options[] = {"labels",       "steps",  "sampler",  "spacing",
                                          "steps_offset", "eta",    "guidance", "guidance_channels",
                                          "seed",         "decode", "tile"},
                             *const tensors[] = {"labels", "noise", "step_noise"};
    char part[64];
    for (size_t i = 0; form && i < COUNT(options); i++) {
        snprintf(part, sizeof part, "\"name\":\"%s\"", options[i]);
        CHECK(strstr(form, part), "no option %s in the form", options[i]);
    }
    for (size_t i = 0; form && i < COUNT(tensors); i++) {
        snprintf(part, sizeof part, "\"name\":\"%s\"", tensors[i]);
        const char *list = strstr(form, "\"tensors\":");
        CHECK(list && strstr(list, part), "no tensor %s in the form", tensors[i]);
    }
    static const char said[] = REQUEST(
        ",\"steps\":6,\"steps_offset\":0,\"eta\":0,\"guidance_channels\":3,\"decode\":true,"
        "\"tile\":\"auto\",\"comment\":\"the same\"");
    float latents[2 * TINY_STATE], again[2 * TINY_STATE];
    STATUS(DA_OK, check_sample(session, check_request, latents));
    STATUS(DA_OK, check_sample(session, said, again));
    CHECK(!memcmp(latents, again, sizeof latents), "defaults that are said give other values");
}

/* An estimate has no chance in it, and does nothing to what follows. */
static void test_estimates(void) {
    char first[4096], second[4096];
    STATUS(DA_OK, check_estimate(session, check_request, first, sizeof first, NULL));
    STATUS(DA_OK, check_estimate(session, check_request, second, sizeof second, NULL));
    CHECK(!strcmp(first, second), "two estimates of one request differ");
    STATUS(DA_OK, check_estimate(session, "{\"labels\":[4,4],\"seed\":99,\"steps\":6.0}", second, sizeof second, NULL));
    CHECK(!strcmp(first, second), "an estimate depends on seed and labels: %s, %s", first, second);
    STATUS(DA_OK, check_estimate(session, "{\"labels\":[4,4,4],\"steps\":6}", second, sizeof second, NULL));
    CHECK(strcmp(first, second), "three samples need what two need");
}

static void test_requests(void) {
    test_numbers();
    test_ranges();
    test_types();
    test_names();
    test_json();
    test_lengths();
    test_depth();
    test_texts();
    test_samplers();
    test_form();
    test_estimates();
}

int main(void) {
    if (!misuse_begin()) return check_summary("misuse_requests");
    test_requests();
    return misuse_end("misuse_requests");
}

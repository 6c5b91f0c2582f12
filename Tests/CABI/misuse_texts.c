/* Requests for texts that nobody should make: every option at the edges of its type, tokens and lengths that do not fit.
 * Usage: misuse_texts folder-of-the-bundled-models */
#include "text_requests.h"

/* ---- options ---- */

static void test_options(void) {
    static const struct {
        const char *json;
        int32_t status;
        const char *part;
    } cases[] = {
        {"{}", DA_INVALID_ARGUMENT, "prompt or tokens is needed"},
        {"{'length':4}", DA_INVALID_ARGUMENT, "prompt or tokens is needed"},
        {"{'prompt':'a','tokens':[1]}", DA_INVALID_ARGUMENT, "prompt and tokens are both given"},
        {"{'promt':'a'}", DA_INVALID_ARGUMENT, "no option \"promt\"; did you mean \"prompt\""},
        {"{'prompt':'a','lenght':4}", DA_INVALID_ARGUMENT, "did you mean \"length\""},
        {"{'prompt':'a','labels':4}", DA_INVALID_ARGUMENT, "no option \"labels\""},
        {"{'prompt':'a','eps':0.5}", DA_INVALID_ARGUMENT, "no option \"eps\""},
        {"{'prompt':3}", DA_INVALID_ARGUMENT, "prompt"},
        {"{'prompt':[]}", DA_INVALID_ARGUMENT, "prompt"},
        {"{'prompt':['a',3]}", DA_INVALID_ARGUMENT, "prompt[1]"},
        {"{'tokens':'a'}", DA_INVALID_ARGUMENT, "tokens"},
        {"{'tokens':[1024]}", DA_INVALID_ARGUMENT, "tokens[0]"},
        {"{'tokens':[1,-1]}", DA_INVALID_ARGUMENT, "tokens[1]"},
        {"{'tokens':[[1],[2,9223372036854775807]]}", DA_INVALID_ARGUMENT, "tokens[1]"},
        {"{'tokens':[1.5]}", DA_INVALID_ARGUMENT, "tokens[0]"},
        {"{'tokens':[NaN]}", DA_INVALID_ARGUMENT, "tokens[0]"},
        {"{'tokens':[1],'length':-1}", DA_INVALID_ARGUMENT, "length"},
        {"{'tokens':[1],'length':1048577}", DA_INVALID_ARGUMENT, "length"},
        {"{'tokens':[1],'length':1048576}", DA_INVALID_ARGUMENT, "at most 1048576"},
        {"{'tokens':[1],'steps':0}", DA_INVALID_ARGUMENT, "steps"},
        {"{'tokens':[1],'block_length':0}", DA_INVALID_ARGUMENT, "block_length"},
        {"{'tokens':[1],'order':'backwards'}", DA_INVALID_ARGUMENT, "order"},
        {"{'tokens':[1],'temperature':-1}", DA_INVALID_ARGUMENT, "temperature"},
        {"{'tokens':[1],'temperature':Infinity}", DA_INVALID_ARGUMENT, "temperature"},
        {"{'tokens':[1],'threshold':1.5}", DA_INVALID_ARGUMENT, "threshold"},
        {"{'tokens':[1],'threshold':0}", DA_INVALID_ARGUMENT, "threshold"},
        {"{'tokens':[1],'guidance':-0.1}", DA_INVALID_ARGUMENT, "guidance"},
        {"{'tokens':[1],'seed':-1}", DA_INVALID_ARGUMENT, "seed"},
        {"{'tokens':[1],'seeds':[1,2]}", DA_INVALID_ARGUMENT, "2 seeds for 1 prompts"},
        {"{'tokens':[1],'seeds':[]}", DA_INVALID_ARGUMENT, "seeds"},
        {"{'tokens':[1],'chat':'yes'}", DA_INVALID_ARGUMENT, "chat"},
        {"{'prompt':'a','chat':true,'blank':'_'}", DA_INVALID_ARGUMENT, "blank is for plain prompts"},
        {"{'prompt':'\xff'}", DA_FORMAT, "request"},
        {"{'prompt':'a\\u0000b'}", DA_FORMAT, "request"},
        {"{'prompt':'a','prompt':'b'}", DA_FORMAT, "prompt"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) refused(quoted("%s", cases[i].json), NULL, 0, cases[i].status, cases[i].part);
}

static void test_every_value(void) {
    static const char *const names[] = {"length",     "steps",  "block_length", "temperature", "threshold",
                                        "guidance",   "seed",   "seeds",        "infill",      "chat",
                                        "allow_mask", "no_end", "end_last",     "order",       "blank"};
    static const char *const values[] = {"0",
                                         "1",
                                         "-1",
                                         "2",
                                         "64",
                                         "65",
                                         "1048577",
                                         "2147483648",
                                         "-2147483649",
                                         "9223372036854775807",
                                         "1e18",
                                         "1e19",
                                         "1e-310",
                                         "1e39",
                                         "0.5",
                                         "1.0000001",
                                         "-0.0",
                                         "NaN",
                                         "-Infinity",
                                         "null",
                                         "true",
                                         "[]",
                                         "[0]",
                                         "{}",
                                         "'a'",
                                         "''",
                                         "'low_confidence'",
                                         "[1,2]",
                                         "18446744073709551616"};
    for (size_t i = 0; i < COUNT(names); i++)
        for (size_t k = 0; k < COUNT(values); k++)
            try_request(quoted("{'tokens':[1,2,3]%s,'%s':%s}", i ? ",'length':16" : "", names[i], values[k]), NULL, 0);
}

/* ---- tensors ---- */

static int64_t ids[] = {1, 2, 3}, lengths[] = {1, 2};
static da_tensor both[2];

/* One prompt of one token, and one of two. */
static void set_prompts(void) {
    for (int i = 0; i < 3; i++) ids[i] = i + 1;
    lengths[0] = 1, lengths[1] = 2;
    both[0] = check_tensor("tokens", DA_I64, ids, sizeof ids, SHAPE(3));
    both[1] = check_tensor("lengths", DA_I64, lengths, sizeof lengths, SHAPE(2));
}

static void test_tokens(void) {
    set_prompts();
    int64_t one[64], two[64];
    size_t count = sequences("{\"length\":3}", both, 2, one, 64);
    CHECK(count == 9 && count == sequences("{\"length\":3,\"tokens\":[[1],[2,3]]}", NULL, 0, two, 64) && !memcmp(one, two, 72),
          "tokens as a tensor and as an option differ");
    count = sequences("{\"length\":3}", both, 1, one, 64);
    CHECK(count == 6 && count == sequences("{\"length\":3,\"tokens\":[1,2,3]}", NULL, 0, two, 64) && !memcmp(one, two, 48),
          "one prompt as a tensor and as an option differ");
}

static void test_tensors(void) {
    set_prompts();
    refused("{}", both + 1, 1, DA_INVALID_ARGUMENT, "prompt or tokens is needed");
    refused("{\"prompt\":\"a\"}", both + 1, 1, DA_INVALID_ARGUMENT, "lengths goes with the tensor tokens");
    refused("{\"tokens\":[1,2,3]}", both + 1, 1, DA_INVALID_ARGUMENT, "lengths goes with the tensor tokens");
    refused("{\"prompt\":\"a\"}", both, 2, DA_INVALID_ARGUMENT, "prompt and tokens are both given");
    refused("{\"tokens\":[1]}", both, 2, DA_INVALID_ARGUMENT, "\"tokens\" is given as an option and as a tensor");
    const da_tensor prompt = prompt_of("a", 1);
    refused("{\"prompt\":\"a\"}", &prompt, 1, DA_INVALID_ARGUMENT, "\"prompt\" is given as an option and as a tensor");
    refused("{\"tokens\":[1]}", &prompt, 1, DA_INVALID_ARGUMENT, "prompt and tokens are both given");
    const da_tensor bad = prompt_of("a\xff", 2), as_numbers = check_tensor("prompt", DA_I64, ids, 24, SHAPE(3));
    refused("{}", &bad, 1, DA_INVALID_ARGUMENT, "prompt: the bytes are no valid UTF-8");
    refused("{}", &as_numbers, 1, DA_INVALID_ARGUMENT, "\"prompt\" is an option, no tensor");
    da_tensor wrong = both[0];
    wrong.name = "token";
    refused("{}", &wrong, 1, DA_INVALID_ARGUMENT, "no tensor \"token\"; did you mean \"tokens\"");
    wrong = check_tensor("tokens", DA_U8, "abc", 3, SHAPE(3));
    refused("{}", &wrong, 1, DA_SHAPE, "\"tokens\" is i64 [sum of lengths], found u8");
    wrong = check_tensor("tokens", DA_I64, ids, 16, SHAPE(1, 2));
    refused("{}", &wrong, 1, DA_SHAPE, "\"tokens\" is i64 [sum of lengths], found");
}

/* Lengths that do not come to the tokens, and tokens that are none. */
static void test_numbers(void) {
    for (size_t i = 0; i < COUNT(hostile64); i++) {
        for (int at = 0; at < 2; at++) {
            set_prompts();
            lengths[at] = (int64_t)hostile64[i];
            if (lengths[0] + (uint64_t)lengths[1] != 3) refused("{\"length\":1}", both, 2, DA_SHAPE, "request: ");
        }
        set_prompts();
        ids[2] = (int64_t)hostile64[i];
        if (hostile64[i] >= 1024) refused("{\"length\":1}", both, 2, DA_INVALID_ARGUMENT, "token ");
    }
    set_prompts();
    lengths[0] = 0, lengths[1] = 3;
    try_request("{\"length\":1}", both, 2);
    lengths[0] = 1, lengths[1] = 1;
    refused("{\"length\":1}", both, 2, DA_SHAPE, "3 tokens, but lengths for 2");
    lengths[0] = lengths[1] = INT64_MAX;
    refused("{\"length\":1}", both, 2, DA_SHAPE, "prompt 0 has 9223372036854775807 tokens");
    da_tensor empty[] = {check_tensor("tokens", DA_I64, NULL, 0, SHAPE(0)), check_tensor("lengths", DA_I64, NULL, 0, SHAPE(0))};
    try_request("{\"length\":1}", empty, 1);
    refused("{\"length\":1}", empty, 2, DA_INVALID_ARGUMENT, "prompts, found 0");
}

/* More prompts than a request has, and more tokens. */
static void test_limits(void) {
    enum { MANY = 4097 };
    static int64_t many[MANY];
    for (int i = 0; i < MANY; i++) many[i] = 1;
    const da_tensor crowd[] = {check_tensor("tokens", DA_I64, many, sizeof many, SHAPE(MANY)),
                               check_tensor("lengths", DA_I64, many, sizeof many, SHAPE(MANY))};
    refused("{\"length\":0}", crowd, 2, DA_INVALID_ARGUMENT, "prompts, found 4097");
    int64_t *memory = calloc((1 << 20) + 1, 8);
    CHECK(memory != NULL, "no memory");
    if (!memory) return;
    const da_tensor large = check_tensor("tokens", DA_I64, memory, 8 * ((1 << 20) + 1), SHAPE((1 << 20) + 1));
    refused("{\"length\":0}", &large, 1, DA_SHAPE, "tokens");
    free(memory);
}

/* A model of images has nothing to say. */
static void test_images(void) {
    const da_tensor prompt = prompt_of("a", 1);
    da_result made = (da_result)&prompt;
    STATUS(DA_INVALID_ARGUMENT, da_session_run(session, "{}", 2, &prompt, 1, NULL, NULL, &made));
    CHECK(!made && strstr(da_last_error(), "prompt"), "the text is \"%s\"", da_last_error());
    made = (da_result)&prompt;
    STATUS(DA_INVALID_ARGUMENT, check_run(session, "{\"tokens\":[1],\"labels\":1}", &made));
    CHECK(!made && strstr(da_last_error(), "\"tokens\""), "the text is \"%s\"", da_last_error());
    STATUS(DA_INVALID_ARGUMENT, da_session_estimate(session, "{}", 2, &prompt, 1, NULL, 0, NULL));
    made = (da_result)&prompt;
    STATUS(DA_INVALID_HANDLE, da_session_run((da_session)model, "{}", 2, &prompt, 1, NULL, NULL, &made));
    CHECK(!made, "a failed call leaves its out-parameter null");
    STATUS(DA_INVALID_HANDLE, da_session_estimate(NULL, "{}", 2, &prompt, 1, NULL, 0, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_session_run(writer, "{}", 2, &prompt, 1, NULL, NULL, NULL));
}

int main(int count, char **arguments) {
    if (!bundled_begin("misuse_texts", count, arguments)) return 2;
    if (!misuse_begin()) return check_summary("misuse_texts");
    open_writer();
    test_options();
    test_every_value();
    test_tokens();
    test_tensors();
    test_numbers();
    test_limits();
    test_images();
    close_writer();
    return misuse_end("misuse_texts");
}

/* Tokenizers, chats and requests for texts: what they give, and what they refuse.
 * Usage: text folder-of-the-bundled-models */
#include "misuse.h"
#include "tokenizer_files.h"

#include <unistd.h>

static void test_encode_and_decode(void) {
    da_tokenizer tokenizer = NULL;
    CHECK(write_tokenizer("[\"h e\"]", "[a-z]+|."), "no file to write");
    STATUS(DA_OK, da_tokenizer_load(file, &tokenizer));
    int64_t tokens[8], offsets[16];
    size_t needed = 0;
    STATUS(DA_MORE, da_tokenizer_encode(tokenizer, "she<|end|>!", 11, 2, NULL, NULL, NULL, 0, &needed));
    CHECK(needed == 4, "%zu tokens", needed);
    memset(tokens, 0x55, sizeof tokens);
    STATUS(DA_MORE, da_tokenizer_encode(tokenizer, "she<|end|>!", 11, 2, NULL, tokens, offsets, 3, &needed));
    CHECK(tokens[0] == 0x5555555555555555, "too small an array is written to");
    STATUS(DA_OK, da_tokenizer_encode(tokenizer, "she<|end|>!", 11, 2, NULL, tokens, offsets, 8, &needed));
    CHECK(needed == 4 && tokens[0] == 's' && tokens[1] == 200 && tokens[2] == 300 && tokens[3] == '!', "other tokens");
    CHECK(offsets[2] == 1 && offsets[3] == 3 && offsets[4] == 3 && offsets[5] == 10 && offsets[7] == 11, "other offsets");
    char text[16];
    STATUS(DA_OK, da_tokenizer_decode(tokenizer, tokens, 4, 1, NULL, text, sizeof text, &needed));
    CHECK(!strcmp(text, "she!") && needed == 5, "decoded \"%s\"", text);
    STATUS(DA_OK, da_tokenizer_decode(tokenizer, tokens, 4, 0, NULL, text, sizeof text, NULL));
    CHECK(!strcmp(text, "she<|end|>!"), "decoded \"%s\"", text);
    STATUS(DA_MORE, da_tokenizer_decode(tokenizer, tokens, 4, 0, NULL, text, 3, &needed));
    STATUS(DA_OK, da_tokenizer_encode(tokenizer, "", 0, 0, NULL, NULL, NULL, 0, &needed));
    STATUS(DA_OK, da_tokenizer_encode(tokenizer, NULL, 0, 0, NULL, NULL, NULL, 0, NULL));
    STATUS(DA_OK, da_tokenizer_decode(tokenizer, NULL, 0, 1, NULL, text, sizeof text, NULL));
    /* Bytes that are no UTF-8, and every number as a token. */
    STATUS(DA_OK, da_tokenizer_encode(tokenizer, "\xff\xfe\x80", 3, 0, NULL, tokens, offsets, 8, &needed));
    for (size_t i = 0; i < COUNT(hostile64); i++) {
        int64_t wild = (int64_t)hostile64[i];
        STATUS(DA_OK, da_tokenizer_decode(tokenizer, &wild, 1, 1, NULL, text, sizeof text, NULL));
    }
    STATUS(DA_INVALID_ARGUMENT, da_tokenizer_encode(tokenizer, NULL, 1, 0, NULL, tokens, NULL, 8, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_tokenizer_encode(tokenizer, "a", SIZE_MAX, 0, NULL, tokens, NULL, 8, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_tokenizer_encode(tokenizer, "a", 1, 4, NULL, tokens, NULL, 8, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_tokenizer_encode(tokenizer, "a", 1, 0, NULL, NULL, NULL, 8, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_tokenizer_decode(tokenizer, NULL, 1, 1, NULL, text, sizeof text, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_tokenizer_decode(tokenizer, tokens, SIZE_MAX, 1, NULL, text, sizeof text, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_tokenizer_decode(tokenizer, tokens, 1, 1, NULL, NULL, 4, NULL));
    STATUS(DA_OK, da_tokenizer_close(tokenizer));
    STATUS(DA_INVALID_HANDLE, da_tokenizer_close(tokenizer));
    STATUS(DA_INVALID_HANDLE, da_tokenizer_encode(tokenizer, "a", 1, 0, NULL, tokens, NULL, 8, NULL));
    STATUS(DA_INVALID_HANDLE, da_tokenizer_decode(tokenizer, tokens, 1, 1, NULL, text, sizeof text, NULL));
    STATUS(DA_INVALID_HANDLE, da_tokenizer_close((da_tokenizer)model));
}

static void test_hostile_files(void) {
    da_tokenizer tokenizer = NULL;
    static const char *const patterns[] = {"(", "[",     "a{100001}", "\\\\",  "\\\\p{Nothing}",
                                           "*", "\\\\X", "(a)\\\\1",  "(?~a)", "\\\\K"};
    for (size_t i = 0; i < COUNT(patterns); i++) {
        CHECK(write_tokenizer("[]", patterns[i]), "no file to write");
        CHECK(da_tokenizer_load(file, &tokenizer) < 0 && !tokenizer, "the pattern %s is read", patterns[i]);
    }
    static const char *const merges[] = {"3", "[3]", "[\"h\"]", "[\"h h\"]", "[[\"h\"]]", "[\"h e\"", "[\"zz e\"]"};
    for (size_t i = 0; i < COUNT(merges); i++) {
        CHECK(write_tokenizer(merges[i], "."), "no file to write");
        CHECK(da_tokenizer_load(file, &tokenizer) < 0 && !tokenizer, "the merges %s are read", merges[i]);
    }
    /* A pattern that other engines take years for ends with a status. */
    CHECK(write_tokenizer("[]", "(a|aa)+c"), "no file to write");
    STATUS(DA_OK, da_tokenizer_load(file, &tokenizer));
    static char text[4096];
    memset(text, 'a', sizeof text);
    size_t needed = 0;
    STATUS(DA_UNSUPPORTED, da_tokenizer_encode(tokenizer, text, sizeof text, 0, NULL, NULL, NULL, 0, &needed));
    STATUS(DA_OK, da_tokenizer_close(tokenizer));
    STATUS(DA_IO, da_tokenizer_load("/nowhere/tokenizer.json", &tokenizer));
    STATUS(DA_INVALID_ARGUMENT, da_tokenizer_load(NULL, &tokenizer));
    STATUS(DA_INVALID_ARGUMENT, da_tokenizer_load(file, NULL));
    STATUS(DA_UNSUPPORTED, da_model_tokenizer(model, &tokenizer));
    STATUS(DA_INVALID_HANDLE, da_model_tokenizer(NULL, &tokenizer));
    CHECK(!tokenizer, "a failed call leaves its out-parameter null");
}

static void test_chats(void) {
    char text[256];
    const char *messages = "[{\"role\": \"user\", \"content\": \" Hi \"}]";
    STATUS(DA_OK, da_chat_render("dream", messages, strlen(messages), 1, text, sizeof text, NULL));
    CHECK(strstr(text, "<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n"), "a chat is \"%s\"", text);
    STATUS(DA_OK, da_chat_render("llada", messages, strlen(messages), 0, text, sizeof text, NULL));
    CHECK(!strcmp(text, "<|startoftext|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"), "a chat is \"%s\"", text);
    STATUS(DA_INVALID_ARGUMENT, da_chat_render("other", messages, strlen(messages), 0, text, sizeof text, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_chat_render(NULL, messages, strlen(messages), 0, text, sizeof text, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_chat_render("llada", NULL, 4, 0, text, sizeof text, NULL));
    static const char *const bad[] = {"",
                                      "{}",
                                      "[]",
                                      "[3]",
                                      "[{}]",
                                      "[{\"role\": \"tool\", \"content\": \"\"}]",
                                      "[{\"role\": \"user\", \"content\": \"\", \"name\": \"x\"}]",
                                      "[{\"role\": 3, \"content\": \"\"}]",
                                      "[{\"role\": \"user\"}]"};
    for (size_t i = 0; i < COUNT(bad); i++)
        CHECK(da_chat_render("llada", bad[i], strlen(bad[i]), 0, text, sizeof text, NULL) < 0, "the chat %s is rendered",
              bad[i]);
}

/* ---- requests ---- */

static da_session writer;
static da_tokenizer words;

static void open_writer(const char *models) {
    char path[4096];
    da_model own = NULL;
    snprintf(path, sizeof path, "%s/tiny-llada", models);
    STATUS(DA_OK, da_model_open(path, NULL, &own));
    STATUS(DA_OK, da_model_tokenizer(own, &words));
    writer = check_session(own, NULL, 1);
    STATUS(DA_OK, da_model_close(own));
}

static int32_t stop(void *user, const da_event *event) {
    (void)user;
    return event->step >= 1;
}

/* The status of a request to the writer, and the same of its estimate; a run that has begun is stopped. */
static int32_t try_request(const char *json, const da_tensor *tensors, size_t count) {
    da_result made = (void *)&made;
    int32_t status = da_session_run(writer, json, strlen(json), tensors, count, stop, NULL, &made);
    expect_answer(json, (long double)count, status, made);
    if (made) da_result_close(made);
    char told[2100];
    snprintf(told, sizeof told, "%s", da_last_error());
    size_t needed;
    int32_t estimated = da_session_estimate(writer, json, strlen(json), tensors, count, NULL, 0, &needed);
    CHECK(estimated == (status >= 0 ? DA_MORE : status), "%s: run gives %s, estimate %s", json, da_status_name(status),
          da_status_name(estimated));
    CHECK(status >= 0 || !strcmp(told, da_last_error()), "%s: run says %s, estimate %s", json, told, da_last_error());
    return status >= 0 ? DA_OK : status;
}

static void refused(const char *json, const da_tensor *tensors, size_t count, int32_t status, const char *part) {
    int32_t found = try_request(json, tensors, count);
    CHECK(found == status && strstr(da_last_error(), part), "%s gives %s: %s, expected %s with \"%s\"", json,
          da_status_name(found), da_last_error(), da_status_name(status), part);
}

/* Runs the request and copies the sequences of its result; gives their number of tokens. */
static size_t sequences(const char *json, const da_tensor *tensors, size_t count, int64_t *tokens, size_t room) {
    da_result made = NULL;
    da_tensor view = {.struct_size = sizeof view};
    STATUS(DA_OK, da_session_run(writer, json, strlen(json), tensors, count, NULL, NULL, &made));
    if (!made) return 0;
    STATUS(DA_OK, da_result_tensor(made, "sequences", &view));
    CHECK(view.bytes <= 8 * room, "%zu bytes of sequences", view.bytes);
    if (view.bytes <= 8 * room) memcpy(tokens, view.data, view.bytes);
    STATUS(DA_OK, da_result_close(made));
    return view.bytes / 8;
}

/* `text` as JSON must have it. */
static void escape(const char *text, size_t length, char *out) {
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') out += sprintf(out, "\\%c", c);
        else if (c < 32) out += sprintf(out, "\\u%04x", c);
        else *out++ = (char)c;
    }
    *out = 0;
}

static da_tensor prompt_of(const char *text, size_t length) {
    return check_tensor("prompt", DA_U8, text, length, SHAPE((int64_t)length));
}

/* What a user typed, as bytes and as JSON: the same tokens, which are those of the tokenizer, and the same memory. */
static void same_prompt(const char *text, size_t length) {
    static char json[8192], escaped[8000], as_bytes[4096], as_json[4096];
    static int64_t one[2048], two[2048], encoded[2048];
    static const char options[] = "{\"length\":1,\"steps\":1}";
    const da_tensor prompt = prompt_of(text, length);
    escape(text, length, escaped);
    snprintf(json, sizeof json, "{\"length\":1,\"steps\":1,\"prompt\":\"%s\"}", escaped);
    size_t count = sequences(options, &prompt, 1, one, COUNT(one)), again = sequences(json, NULL, 0, two, COUNT(two)),
           needed = 0;
    CHECK(count == again && count > 0 && !memcmp(one, two, 8 * count), "\"%s\": %zu tokens as bytes, %zu as JSON", escaped,
          count, again);
    STATUS(DA_OK, da_tokenizer_encode(words, text, length, DA_ENCODE_SPECIAL, NULL, encoded, NULL, COUNT(encoded), &needed));
    CHECK(needed + 1 == count && !memcmp(one, encoded, 8 * needed), "\"%s\": other tokens than the tokenizer's", escaped);
    STATUS(DA_OK, da_session_estimate(writer, options, strlen(options), &prompt, 1, as_bytes, sizeof as_bytes, NULL));
    STATUS(DA_OK, check_estimate(writer, json, as_json, sizeof as_json, NULL));
    CHECK(!strcmp(as_bytes, as_json), "\"%s\": other estimates", escaped);
}

static void test_prompts(void) {
    static const char *const texts[] = {"a",
                                        "She said: \"no\".",
                                        "two\nlines\r\n\tand a tab",
                                        "\\ \\n \\u0041 \\\"",
                                        "{\"prompt\": \"a\", \"length\": 99}",
                                        "\"}, {\"",
                                        "\x01\x02\x1f\x7f",
                                        "caf\xc3\xa9 e\xcc\x81",
                                        "\xf0\x9f\x98\x80 \xe4\xbd\xa0\xe5\xa5\xbd",
                                        "<|endoftext|> is only text",
                                        "%s%n%d",
                                        " ",
                                        "\xe2\x80\xa8\xef\xbb\xbf\xef\xbf\xbf"};
    for (size_t i = 0; i < COUNT(texts); i++) same_prompt(texts[i], strlen(texts[i]));
    static const char *const pieces[] = {"\"",   "\\", "\n",          "'", "/", "a", " ", "\xc3\xa9", "\xf0\x9f\x98\x80",
                                         "\x1b", "{",  "\xe2\x82\xac"};
    uint64_t state = 1;
    for (int round = 0; round < 100; round++) {
        char text[256];
        size_t length = 0;
        for (int i = 0; i < 1 + round % 40; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            const char *piece = pieces[(state >> 33) % COUNT(pieces)];
            memcpy(text + length, piece, strlen(piece));
            length += strlen(piece);
        }
        same_prompt(text, length);
    }
    /* A NUL that is one of the text's bytes; nothing at all. */
    const da_tensor nul = prompt_of("a\0b", 3), nothing = prompt_of(NULL, 0);
    int64_t tokens[16], encoded[16];
    size_t needed = 0, count = sequences("{\"length\":1,\"steps\":1}", &nul, 1, tokens, COUNT(tokens));
    STATUS(DA_OK, da_tokenizer_encode(words, "a\0b", 3, DA_ENCODE_SPECIAL, NULL, encoded, NULL, COUNT(encoded), &needed));
    CHECK(count == needed + 1 && !memcmp(tokens, encoded, 8 * needed), "a prompt with a NUL has %zu tokens", count);
    CHECK(try_request("{\"length\":1}", &nothing, 1) == try_request("{\"length\":1,\"prompt\":\"\"}", NULL, 0),
          "an empty prompt");
    /* Control tokens are text unless that is asked for. */
    const da_tensor control = prompt_of("a<|endoftext|>", 14);
    for (int allowed = 0; allowed < 2; allowed++) {
        int found = 0;
        count = sequences(quoted("{'length':1,'no_end':true,'allow_control':%s}", allowed ? "true" : "false"), &control, 1,
                          tokens, COUNT(tokens));
        for (size_t i = 0; i < count; i++) found += tokens[i] == 1022;
        CHECK(found == allowed, "%d control tokens where %d are allowed", found, allowed);
    }
    /* A mark for what is to be filled in, each way. */
    const da_tensor both[] = {prompt_of("a ___ b", 7), check_tensor("blank", DA_U8, "___", 3, SHAPE(3))};
    int64_t other[16];
    count = sequences("{\"length\":0,\"prompt\":\"a ___ b\",\"blank\":\"___\"}", NULL, 0, tokens, COUNT(tokens));
    CHECK(count == sequences("{\"length\":0}", both, 2, other, COUNT(other)) && count && !memcmp(tokens, other, 8 * count),
          "a blank as bytes gives other tokens");
}

/* Texts of the result: where they begin and end, and what they say. */
static void test_results(void) {
    static const char json[] = "{\"prompt\":[\"And it\",\"In the beginning\"],\"length\":8,\"no_end\":true}";
    da_result made = NULL;
    da_tensor text = {.struct_size = sizeof text}, lengths = text, tokens = text, sequence = text;
    STATUS(DA_OK, check_run(writer, json, &made));
    STATUS(DA_OK, da_result_tensor(made, "text", &text));
    STATUS(DA_OK, da_result_tensor(made, "text_lengths", &lengths));
    STATUS(DA_OK, da_result_tensor(made, "tokens", &tokens));
    STATUS(DA_OK, da_result_tensor(made, "lengths", &sequence));
    CHECK(text.dtype == DA_U8 && text.rank == 1 && lengths.dtype == DA_I64 && lengths.rank == 1 && lengths.shape[0] == 2,
          "texts");
    CHECK(tokens.rank == 2 && tokens.shape[0] == 2 && tokens.shape[1] == 8 && sequence.shape[0] == 2, "tokens");
    size_t at = 0;
    for (int i = 0; i < 2 && lengths.data && text.data; i++) {
        char decoded[256];
        size_t needed = 0, bytes = (size_t)((const int64_t *)lengths.data)[i];
        STATUS(DA_OK,
               da_tokenizer_decode(words, (const int64_t *)tokens.data + 8 * i, 8, 1, NULL, decoded, sizeof decoded, &needed));
        CHECK(at + bytes <= text.bytes && needed == bytes + 1 && !memcmp((const char *)text.data + at, decoded, bytes),
              "text %d has %zu bytes, decoded %zu: %s", i, bytes, needed - 1, decoded);
        at += bytes;
    }
    CHECK(at == text.bytes, "%zu bytes of texts, lengths for %zu", text.bytes, at);
    CHECK(da_result_tensor(made, "latents", &text) == DA_INVALID_ARGUMENT && !strstr(da_last_error(), "\"text\" "), "latents");
    STATUS(DA_OK, da_result_close(made));
}

static void test_options(void) {
    static const struct {
        const char *json;
        int32_t status;
        const char *part;
    } cases[] = {
        {"{}", DA_INVALID_ARGUMENT, "prompt or tokens is needed"},
        {"{\"length\":4}", DA_INVALID_ARGUMENT, "prompt or tokens is needed"},
        {"{\"prompt\":\"a\",\"tokens\":[1]}", DA_INVALID_ARGUMENT, "prompt and tokens are both given"},
        {"{\"promt\":\"a\"}", DA_INVALID_ARGUMENT, "no option \"promt\"; did you mean \"prompt\""},
        {"{\"prompt\":\"a\",\"lenght\":4}", DA_INVALID_ARGUMENT, "did you mean \"length\""},
        {"{\"prompt\":\"a\",\"labels\":4}", DA_INVALID_ARGUMENT, "no option \"labels\""},
        {"{\"prompt\":\"a\",\"eps\":0.5}", DA_INVALID_ARGUMENT, "no option \"eps\""},
        {"{\"prompt\":3}", DA_INVALID_ARGUMENT, "prompt"},
        {"{\"prompt\":[]}", DA_INVALID_ARGUMENT, "prompt"},
        {"{\"prompt\":[\"a\",3]}", DA_INVALID_ARGUMENT, "prompt[1]"},
        {"{\"tokens\":\"a\"}", DA_INVALID_ARGUMENT, "tokens"},
        {"{\"tokens\":[1024]}", DA_INVALID_ARGUMENT, "tokens[0]"},
        {"{\"tokens\":[1,-1]}", DA_INVALID_ARGUMENT, "tokens[1]"},
        {"{\"tokens\":[[1],[2,9223372036854775807]]}", DA_INVALID_ARGUMENT, "tokens[1]"},
        {"{\"tokens\":[1.5]}", DA_INVALID_ARGUMENT, "tokens[0]"},
        {"{\"tokens\":[NaN]}", DA_INVALID_ARGUMENT, "tokens[0]"},
        {"{\"tokens\":[1],\"length\":-1}", DA_INVALID_ARGUMENT, "length"},
        {"{\"tokens\":[1],\"length\":1048577}", DA_INVALID_ARGUMENT, "length"},
        {"{\"tokens\":[1],\"length\":1048576}", DA_INVALID_ARGUMENT, "at most 1048576"},
        {"{\"tokens\":[1],\"steps\":0}", DA_INVALID_ARGUMENT, "steps"},
        {"{\"tokens\":[1],\"block_length\":0}", DA_INVALID_ARGUMENT, "block_length"},
        {"{\"tokens\":[1],\"order\":\"backwards\"}", DA_INVALID_ARGUMENT, "order"},
        {"{\"tokens\":[1],\"temperature\":-1}", DA_INVALID_ARGUMENT, "temperature"},
        {"{\"tokens\":[1],\"temperature\":Infinity}", DA_INVALID_ARGUMENT, "temperature"},
        {"{\"tokens\":[1],\"threshold\":1.5}", DA_INVALID_ARGUMENT, "threshold"},
        {"{\"tokens\":[1],\"threshold\":0}", DA_INVALID_ARGUMENT, "threshold"},
        {"{\"tokens\":[1],\"guidance\":-0.1}", DA_INVALID_ARGUMENT, "guidance"},
        {"{\"tokens\":[1],\"seed\":-1}", DA_INVALID_ARGUMENT, "seed"},
        {"{\"tokens\":[1],\"seeds\":[1,2]}", DA_INVALID_ARGUMENT, "2 seeds for 1 prompts"},
        {"{\"tokens\":[1],\"seeds\":[]}", DA_INVALID_ARGUMENT, "seeds"},
        {"{\"tokens\":[1],\"chat\":\"yes\"}", DA_INVALID_ARGUMENT, "chat"},
        {"{\"prompt\":\"a\",\"chat\":true,\"blank\":\"_\"}", DA_INVALID_ARGUMENT, "blank is for plain prompts"},
        {"{\"prompt\":\"\xff\"}", DA_FORMAT, "request"},
        {"{\"prompt\":\"a\\u0000b\"}", DA_FORMAT, "request"},
        {"{\"prompt\":\"a\",\"prompt\":\"b\"}", DA_FORMAT, "prompt"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) refused(cases[i].json, NULL, 0, cases[i].status, cases[i].part);
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

static void test_tensors(void) {
    static int64_t ids[] = {1, 2, 3}, lengths[] = {1, 2};
    da_tensor both[] = {check_tensor("tokens", DA_I64, ids, sizeof ids, SHAPE(3)),
                        check_tensor("lengths", DA_I64, lengths, sizeof lengths, SHAPE(2))};
    int64_t one[64], two[64];
    size_t count = sequences("{\"length\":3}", both, 2, one, 64);
    CHECK(count == 9 && count == sequences("{\"length\":3,\"tokens\":[[1],[2,3]]}", NULL, 0, two, 64) && !memcmp(one, two, 72),
          "tokens as a tensor and as an option differ");
    count = sequences("{\"length\":3}", both, 1, one, 64);
    CHECK(count == 6 && count == sequences("{\"length\":3,\"tokens\":[1,2,3]}", NULL, 0, two, 64) && !memcmp(one, two, 48),
          "one prompt as a tensor and as an option differ");
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
    /* Lengths that do not come to the tokens, and tokens that are none. */
    for (size_t i = 0; i < COUNT(hostile64); i++) {
        for (int at = 0; at < 2; at++) {
            lengths[0] = 1, lengths[1] = 2;
            lengths[at] = (int64_t)hostile64[i];
            if (lengths[0] + (uint64_t)lengths[1] != 3) refused("{\"length\":1}", both, 2, DA_SHAPE, "request: ");
        }
        lengths[0] = 1, lengths[1] = 2;
        ids[2] = (int64_t)hostile64[i];
        if (hostile64[i] >= 1024) refused("{\"length\":1}", both, 2, DA_INVALID_ARGUMENT, "token ");
        ids[2] = 3;
    }
    lengths[0] = 0, lengths[1] = 3;
    try_request("{\"length\":1}", both, 2);
    lengths[0] = 1, lengths[1] = 1;
    refused("{\"length\":1}", both, 2, DA_SHAPE, "3 tokens, but lengths for 2");
    lengths[0] = lengths[1] = INT64_MAX;
    refused("{\"length\":1}", both, 2, DA_SHAPE, "prompt 0 has 9223372036854775807 tokens");
    da_tensor empty[] = {check_tensor("tokens", DA_I64, NULL, 0, SHAPE(0)), check_tensor("lengths", DA_I64, NULL, 0, SHAPE(0))};
    try_request("{\"length\":1}", empty, 1);
    refused("{\"length\":1}", empty, 2, DA_INVALID_ARGUMENT, "prompts, found 0");
    /* More prompts than a request has, and more tokens. */
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

static void test_requests(const char *models) {
    open_writer(models);
    test_prompts();
    test_results();
    test_options();
    test_tensors();
    test_images();
    STATUS(DA_OK, da_tokenizer_close(words));
    STATUS(DA_OK, da_session_close(writer));
}

int main(int count, char **arguments) {
    if (count < 2) {
        fprintf(stderr, "usage: text folder-of-the-bundled-models\n");
        return 2;
    }
    if (!misuse_begin()) return check_summary("text");
    int descriptor = mkstemp(file);
    CHECK(descriptor >= 0, "no temporary file");
    if (descriptor >= 0) close(descriptor);
    test_encode_and_decode();
    test_hostile_files();
    test_chats();
    test_requests(arguments[1]);
    unlink(file);
    return misuse_end("text");
}

/* Requests for texts: what a user typed gives the same tokens as bytes and as JSON, and results say what was written.
 * Usage: text_requests folder-of-the-bundled-models */
#include "text_requests.h"

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
}

/* Texts of what JSON must escape and what it need not. */
static void test_random_prompts(void) {
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
}

static void test_odd_prompts(void) {
    /* A NUL that is one of the text's bytes; nothing at all. */
    const da_tensor nul = prompt_of("a\0b", 3), nothing = prompt_of(NULL, 0);
    int64_t tokens[16], encoded[16];
    size_t needed = 0, count = sequences("{\"length\":1,\"steps\":1}", &nul, 1, tokens, COUNT(tokens));
    STATUS(DA_OK, da_tokenizer_encode(words, "a\0b", 3, DA_ENCODE_SPECIAL, NULL, encoded, NULL, COUNT(encoded), &needed));
    CHECK(count == needed + 1 && !memcmp(tokens, encoded, 8 * needed), "a prompt with a NUL has %zu tokens", count);
    CHECK(try_request("{\"length\":1}", &nothing, 1) == try_request("{\"length\":1,\"prompt\":\"\"}", NULL, 0),
          "an empty prompt");
}

/* Control tokens are text unless that is asked for. */
static void test_control_tokens(void) {
    int64_t tokens[16];
    const da_tensor control = prompt_of("a<|endoftext|>", 14);
    for (int allowed = 0; allowed < 2; allowed++) {
        int found = 0;
        size_t count = sequences(quoted("{'length':1,'no_end':true,'allow_control':%s}", allowed ? "true" : "false"), &control,
                                 1, tokens, COUNT(tokens));
        for (size_t i = 0; i < count; i++) found += tokens[i] == 1022;
        CHECK(found == allowed, "%d control tokens where %d are allowed", found, allowed);
    }
}

/* A mark for what is to be filled in, each way. */
static void test_blanks(void) {
    const da_tensor both[] = {prompt_of("a ___ b", 7), check_tensor("blank", DA_U8, "___", 3, SHAPE(3))};
    int64_t tokens[16], other[16];
    size_t count = sequences("{\"length\":0,\"prompt\":\"a ___ b\",\"blank\":\"___\"}", NULL, 0, tokens, COUNT(tokens));
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

int main(int count, char **arguments) {
    if (!bundled_begin("text_requests", count, arguments)) return 2;
    if (!misuse_begin()) return check_summary("text_requests");
    open_writer();
    test_prompts();
    test_random_prompts();
    test_odd_prompts();
    test_control_tokens();
    test_blanks();
    test_results();
    close_writer();
    return misuse_end("text_requests");
}

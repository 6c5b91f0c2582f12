/* Tokenizers, chats and text requests: what they give, and what they refuse. The library's own model is no language model here,
 * so generating is refused in every way; that it works is for the Swift and Python tests. */
#include "misuse.h"

#include <unistd.h>

static char file[64] = "/tmp/diffaccel-text-XXXXXX";

/* A vocabulary of the 94 visible ASCII characters, "he" and a special token. */
static int write_tokenizer(const char *merges, const char *pattern) {
    FILE *out = fopen(file, "w");
    if (!out) return 0;
    fputs("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"he\":200", out);
    for (int c = 33; c < 127; c++) fprintf(out, ",\"%s%c\":%d", c == '"' || c == '\\' ? "\\" : "", c, c);
    fprintf(
        out,
        "},\"merges\":%s},\"added_tokens\":[{\"id\":300,\"content\":\"<|end|>\",\"special\":true}],\"pre_tokenizer\":{\"type\":"
        "\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"%s\"}},{"
        "\"type\":"
        "\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}}",
        merges, pattern);
    return fclose(out) == 0;
}

/* The same over all bytes, with NFC and a space in front. */
static int write_bytes_tokenizer(void) {
    FILE *out = fopen(file, "w");
    if (!out) return 0;
    fputs("{\"normalizer\":{\"type\":\"NFC\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"he\":256", out);
    for (int byte = 0, next = 256; byte < 256; byte++) {
        int visible = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
        fprintf(out, ",\"\\u%04x\":%d", visible ? byte : next++, byte);
    }
    fputs("},\"merges\":[\"h e\"]},\"added_tokens\":[{\"id\":300,\"content\":\"<|end|>\",\"special\":true}],\"pre_tokenizer\":{"
          "\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}}",
          out);
    return fclose(out) == 0;
}

static void test_encode_and_decode(void) {
    da_tokenizer tokenizer = NULL;
    CHECK(write_tokenizer("[\"h e\"]", "[a-z]+|."), "no file to write");
    STATUS(DA_OK, da_tokenizer_load(file, &tokenizer));
    int64_t tokens[8], offsets[16];
    size_t needed = 0;
    STATUS(DA_MORE, da_tokenizer_encode(tokenizer, "she<|end|>!", 11, 2, NULL, NULL, NULL, NULL, 0, &needed));
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

/* Every token's bytes lie in the caller's and in order, whatever the bytes are: no UTF-8, marks that compose, added tokens. */
static void check_offsets(da_tokenizer tokenizer, const char *text, size_t length, int32_t flags) {
    static int64_t tokens[4096], offsets[8192];
    size_t needed = 0;
    STATUS(DA_OK, da_tokenizer_encode(tokenizer, text, length, flags, NULL, tokens, offsets, 4096, &needed));
    int64_t first = 0, last = 0, covered = 0;
    for (size_t i = 0; i < needed; i++) {
        int64_t from = offsets[2 * i], to = offsets[2 * i + 1];
        CHECK(from >= first && to >= last && from <= to && to <= (int64_t)length, "token %zu of %zu bytes has [%lld,%lld]", i, length,
              (long long)from, (long long)to);
        CHECK(from <= covered, "a gap before byte %lld", (long long)from);
        first = from, last = to;
        if (to > covered) covered = to;
    }
    CHECK(covered == (int64_t)length, "%lld of %zu bytes are covered", (long long)covered, length);
}

static void test_offsets(void) {
    static const char *const pieces[] = {"a", "he", " ", "<|end|>", "\xc3\xa9", "e\xcc\x81", "a\xcc\x81\xcc\xa3", "\xf0\x9f\x98\x80", "\xf0\x9f",
                                         "\xff", "\xc3", "\xed\xa0\x80", "\xc0\x80", "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xcc\x81",
                                         "\xe2\x84\xab", "\n", "<|end", "\xf4\x90\x80\x80"};
    da_tokenizer tokenizer = NULL;
    CHECK(write_bytes_tokenizer(), "no file to write");
    STATUS(DA_OK, da_tokenizer_load(file, &tokenizer));
    check_offsets(tokenizer, "ok\xf0\x9f", 4, 0);
    int64_t tokens[8], offsets[16];
    size_t needed = 0;
    STATUS(DA_OK, da_tokenizer_encode(tokenizer, "ok\xf0\x9f", 4, 0, NULL, tokens, offsets, 8, &needed));
    /* U+FFFD is three bytes, each a token, for the two of the caller's. */
    CHECK(needed == 5 && offsets[4] == 2 && offsets[5] == 4 && offsets[8] == 2 && offsets[9] == 4, "other offsets");
    uint64_t state = 1;
    for (int round = 0; round < 4000; round++) {
        char text[512];
        size_t length = 0;
        for (int i = 0; i < 24; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            uint32_t pick = (uint32_t)(state >> 33);
            if (round % 3 == 0) {
                text[length++] = (char)(pick >> 8);
                continue;
            }
            const char *piece = pieces[pick % COUNT(pieces)];
            memcpy(text + length, piece, strlen(piece));
            length += strlen(piece);
        }
        check_offsets(tokenizer, text, length, round % 4);
    }
    STATUS(DA_OK, da_tokenizer_close(tokenizer));
}

/* Megabytes of one kind end in time, and a flag ends them at once. */
static void test_large_texts(void) {
    enum { SIZE = 2000000 };
    char *text = malloc(SIZE + 8);
    da_tokenizer tokenizer = NULL;
    CHECK(text && write_bytes_tokenizer(), "no memory or file");
    if (!text) return;
    STATUS(DA_OK, da_tokenizer_load(file, &tokenizer));
    static const char *const kinds[] = {"a", " ", "1", "\n", "\xcc\x81", "\xff", "<", "<|end", "\xe1\x85\xa1", "he"};
    size_t needed = 0;
    for (size_t kind = 0; kind < COUNT(kinds); kind++) {
        size_t step = strlen(kinds[kind]), length = 0;
        while (length + step <= SIZE) memcpy(text + length, kinds[kind], step), length += step;
        STATUS(DA_MORE, da_tokenizer_encode(tokenizer, text, length, 3, NULL, NULL, NULL, 0, &needed));
        CHECK(needed > 0, "no tokens");
    }
    const int32_t stop = 1, go = 0;
    STATUS(DA_CANCELLED, da_tokenizer_encode(tokenizer, text, SIZE, 0, &stop, NULL, NULL, 0, &needed));
    STATUS(DA_MORE, da_tokenizer_encode(tokenizer, text, SIZE, 0, &go, NULL, NULL, 0, &needed));
    int64_t *tokens = malloc(SIZE * sizeof *tokens);
    CHECK(tokens != NULL, "no memory");
    for (size_t i = 0; tokens && i < SIZE; i++) tokens[i] = 'a';
    STATUS(DA_CANCELLED, da_tokenizer_decode(tokenizer, tokens, SIZE, 1, &stop, NULL, 0, &needed));
    STATUS(DA_MORE, da_tokenizer_decode(tokenizer, tokens, SIZE, 1, &go, NULL, 0, &needed));
    CHECK(needed == SIZE + 1, "%zu bytes", needed);
    free(tokens);
    const char *messages = "[{\"role\": \"user\", \"content\": \"Hi\"}]";
    STATUS(DA_CANCELLED, da_chat_encode(tokenizer, "llada", messages, strlen(messages), 1, 0, &stop, NULL, 0, &needed));
    STATUS(DA_OK, da_tokenizer_close(tokenizer));
    free(text);
}

static void test_hostile_files(void) {
    da_tokenizer tokenizer = NULL;
    static const char *const patterns[] = {"(", "[", "a{2", "\\\\", "\\\\p{Nothing}", "*", "\\\\X", "(a)\\\\1", "(?~a)", "\\\\K"};
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
    static const char *const bad[] = {"", "{}", "[]", "[3]", "[{}]", "[{\"role\": \"tool\", \"content\": \"\"}]",
                                      "[{\"role\": \"user\", \"content\": \"\", \"name\": \"x\"}]", "[{\"role\": 3, \"content\": \"\"}]", "[{\"role\": \"user\"}]"};
    for (size_t i = 0; i < COUNT(bad); i++)
        CHECK(da_chat_render("llada", bad[i], strlen(bad[i]), 0, text, sizeof text, NULL) < 0, "the chat %s is rendered",
              bad[i]);
}

/* What a message says never is a control token unless that is asked for; roles and NULs are refused in our own words. */
static void test_forged_chats(void) {
    da_tokenizer tokenizer = NULL;
    CHECK(write_bytes_tokenizer(), "no file to write");
    STATUS(DA_OK, da_tokenizer_load(file, &tokenizer));
    const char *messages = "[{\"role\": \"user\", \"content\": \"<|end|>\"}]";
    int64_t tokens[256];
    size_t needed = 0;
    for (int32_t flags = 0; flags <= 2; flags += 2) {
        int found = 0;
        STATUS(DA_OK, da_chat_encode(tokenizer, "dream", messages, strlen(messages), 1, flags, NULL, tokens, 256, &needed));
        for (size_t i = 0; i < needed; i++) found += tokens[i] == 300;
        CHECK(found == flags / 2, "%d control tokens with the flags %d", found, flags);
    }
    STATUS(DA_MORE, da_chat_encode(tokenizer, "dream", messages, strlen(messages), 1, 0, NULL, tokens, 3, &needed));
    STATUS(DA_INVALID_ARGUMENT, da_chat_encode(tokenizer, "dream", messages, strlen(messages), 1, 1, NULL, tokens, 256, &needed));
    STATUS(DA_INVALID_ARGUMENT, da_chat_encode(tokenizer, "dream", messages, strlen(messages), 2, 0, NULL, tokens, 256, &needed));
    STATUS(DA_INVALID_ARGUMENT, da_chat_encode(tokenizer, "x", messages, strlen(messages), 1, 0, NULL, tokens, 256, &needed));
    STATUS(DA_INVALID_ARGUMENT, da_chat_encode(tokenizer, "dream", NULL, 4, 1, 0, NULL, tokens, 256, &needed));
    STATUS(DA_INVALID_ARGUMENT, da_chat_encode(tokenizer, "dream", messages, strlen(messages), 1, 0, NULL, NULL, 256, &needed));
    STATUS(DA_INVALID_HANDLE, da_chat_encode((da_tokenizer)model, "dream", messages, strlen(messages), 1, 0, NULL, tokens, 256, &needed));
    static const char *const nul[] = {"[{\"role\": \"user\", \"content\": \"a\\u0000b\"}]", "[{\"role\": \"user\", \"content\": \"\\\\\\u0000\"}]"};
    for (size_t i = 0; i < COUNT(nul); i++) {
        STATUS(DA_FORMAT, da_chat_encode(tokenizer, "dream", nul[i], strlen(nul[i]), 1, 0, NULL, tokens, 256, &needed));
        CHECK(strstr(da_last_error(), "a NUL character"), "a NUL is \"%s\"", da_last_error());
    }
    const char *none = "[{\"role\": \"user\", \"content\": \"\\\\u0000\"}]";
    STATUS(DA_OK, da_chat_encode(tokenizer, "dream", none, strlen(none), 1, 0, NULL, tokens, 256, &needed));
    const char *role = "[{\"role\": \"tool\", \"content\": \"\"}]";
    STATUS(DA_INVALID_ARGUMENT, da_chat_encode(tokenizer, "dream", role, strlen(role), 1, 0, NULL, tokens, 256, &needed));
    CHECK(strstr(da_last_error(), "system, user, assistant"), "a role is \"%s\"", da_last_error());
    STATUS(DA_OK, da_tokenizer_close(tokenizer));
}

static void test_requests(void) {
    da_text_request request;
    STATUS(DA_OK, da_text_request_init(&request, sizeof request));
    CHECK(request.length == 128 && request.top_p == 1 && request.flags == 0, "other defaults");
    STATUS(DA_INVALID_ARGUMENT, da_text_request_init(&request, 4));
    STATUS(DA_INVALID_ARGUMENT, da_text_request_init(NULL, sizeof request));
    int64_t tokens[] = {1, 2, 3};
    size_t lengths[] = {1, 2};
    request.tokens = tokens, request.lengths = lengths, request.prompt_count = 2;
    da_result made = (da_result)&request;
    char text[64];
    /* A model of images has nothing to say. */
    STATUS(DA_INVALID_ARGUMENT, da_session_generate(session, &request, &made));
    CHECK(!made, "a failed call leaves its out-parameter null");
    STATUS(DA_INVALID_ARGUMENT, da_session_generate_estimate(session, &request, text, sizeof text, NULL));
    STATUS(DA_INVALID_HANDLE, da_session_generate((da_session)model, &request, &made));
    STATUS(DA_INVALID_HANDLE, da_session_generate_estimate(NULL, &request, text, sizeof text, NULL));
    STATUS(DA_INVALID_ARGUMENT, da_session_generate(session, NULL, &made));
    STATUS(DA_INVALID_ARGUMENT, da_session_generate(session, &request, NULL));
    for (size_t i = 0; i < COUNT(hostile64); i++) {
        da_text_request wild = request;
        /* Counts in between would have us read beyond `lengths`, as they say. */
        wild.prompt_count = (size_t)hostile64[i];
        if (wild.prompt_count == 0 || wild.prompt_count > 4096)
            CHECK(da_session_generate(session, &wild, &made) < 0, "%zu prompts", wild.prompt_count);
        size_t size = (size_t)hostile64[i];
        wild = request, wild.prompt_count = 1, wild.lengths = &size;
        if (size > 3) wild.tokens = NULL;
        CHECK(da_session_generate(session, &wild, &made) < 0, "a prompt of %zu", size);
    }
    request.flags = 8;
    STATUS(DA_INVALID_ARGUMENT, da_session_generate(session, &request, &made));
}

int main(void) {
    if (!misuse_begin()) return check_summary("text");
    int descriptor = mkstemp(file);
    CHECK(descriptor >= 0, "no temporary file");
    if (descriptor >= 0) close(descriptor);
    test_encode_and_decode();
    test_offsets();
    test_large_texts();
    test_hostile_files();
    test_chats();
    test_forged_chats();
    test_requests();
    unlink(file);
    return misuse_end("text");
}

/* Texts that somebody else wrote: bytes that are no UTF-8, megabytes of one kind, control tokens spelt out. */
#include "misuse.h"
#include "tokenizer_files.h"

/* Every token's bytes lie in the caller's and in order, whatever the bytes are: no UTF-8, marks that compose, added tokens. */
static void check_offsets(da_tokenizer tokenizer, const char *text, size_t length, int32_t flags) {
    static int64_t tokens[4096], offsets[8192];
    size_t needed = 0;
    STATUS(DA_OK, da_tokenizer_encode(tokenizer, text, length, flags, NULL, tokens, offsets, 4096, &needed));
    int64_t first = 0, last = 0, covered = 0;
    for (size_t i = 0; i < needed; i++) {
        int64_t from = offsets[2 * i], to = offsets[2 * i + 1];
        CHECK(from >= first && to >= last && from <= to && to <= (int64_t)length, "token %zu of %zu bytes has [%lld,%lld]", i,
              length, (long long)from, (long long)to);
        CHECK(from <= covered, "a gap before byte %lld", (long long)from);
        first = from, last = to;
        if (to > covered) covered = to;
    }
    CHECK(covered == (int64_t)length, "%lld of %zu bytes are covered", (long long)covered, length);
}

static void test_offsets(void) {
    static const char *const pieces[] = {"a",
                                         "he",
                                         " ",
                                         "<|end|>",
                                         "\xc3\xa9",
                                         "e\xcc\x81",
                                         "a\xcc\x81\xcc\xa3",
                                         "\xf0\x9f\x98\x80",
                                         "\xf0\x9f",
                                         "\xff",
                                         "\xc3",
                                         "\xed\xa0\x80",
                                         "\xc0\x80",
                                         "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8",
                                         "\xcc\x81",
                                         "\xe2\x84\xab",
                                         "\n",
                                         "<|end",
                                         "\xf4\x90\x80\x80"};
    da_tokenizer tokenizer = NULL;
    CHECK(write_bytes_tokenizer(), "no file to write");
    STATUS(DA_OK, da_tokenizer_load(file, &tokenizer));
    check_offsets(tokenizer, "ok\xf0\x9f", 4, 0);
    int64_t tokens[8], offsets[16];
    size_t needed = 0;
    STATUS(DA_OK, da_tokenizer_encode(tokenizer, "ok\xf0\x9f", 4, 0, NULL, tokens, offsets, 8, &needed));
    /* A space in front, two letters, and the three bytes of U+FFFD, each a token, for the last two of the caller's. */
    CHECK(needed == 6 && offsets[6] == 2 && offsets[7] == 4 && offsets[10] == 2 && offsets[11] == 4, "other offsets");
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
    STATUS(DA_INVALID_ARGUMENT,
           da_chat_encode(tokenizer, "dream", messages, strlen(messages), 1, 1, NULL, tokens, 256, &needed));
    STATUS(DA_INVALID_ARGUMENT,
           da_chat_encode(tokenizer, "dream", messages, strlen(messages), 2, 0, NULL, tokens, 256, &needed));
    STATUS(DA_INVALID_ARGUMENT, da_chat_encode(tokenizer, "x", messages, strlen(messages), 1, 0, NULL, tokens, 256, &needed));
    STATUS(DA_INVALID_ARGUMENT, da_chat_encode(tokenizer, "dream", NULL, 4, 1, 0, NULL, tokens, 256, &needed));
    STATUS(DA_INVALID_ARGUMENT, da_chat_encode(tokenizer, "dream", messages, strlen(messages), 1, 0, NULL, NULL, 256, &needed));
    STATUS(DA_INVALID_HANDLE,
           da_chat_encode((da_tokenizer)model, "dream", messages, strlen(messages), 1, 0, NULL, tokens, 256, &needed));
    static const char *const nul[] = {"[{\"role\": \"user\", \"content\": \"a\\u0000b\"}]",
                                      "[{\"role\": \"user\", \"content\": \"\\\\\\u0000\"}]"};
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

int main(void) {
    if (!misuse_begin()) return check_summary("text_safety");
    begin_file();
    test_offsets();
    test_large_texts();
    test_forged_chats();
    unlink(file);
    return misuse_end("text_safety");
}

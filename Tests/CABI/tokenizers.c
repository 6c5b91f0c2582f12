/* Tokenizers and chats: what they give, and what they refuse. */
#include "misuse.h"
#include "tokenizer_files.h"

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
    STATUS(DA_OK, da_tokenizer_close(tokenizer));
}

static void test_wrong_arguments(void) {
    da_tokenizer tokenizer = NULL;
    CHECK(write_tokenizer("[\"h e\"]", "[a-z]+|."), "no file to write");
    STATUS(DA_OK, da_tokenizer_load(file, &tokenizer));
    int64_t tokens[8] = {'a'};
    char text[16];
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
}

static void test_no_files(void) {
    da_tokenizer tokenizer = NULL;
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

int main(void) {
    if (!misuse_begin()) return check_summary("tokenizers");
    begin_file();
    test_encode_and_decode();
    test_wrong_arguments();
    test_hostile_files();
    test_no_files();
    test_chats();
    unlink(file);
    return misuse_end("tokenizers");
}

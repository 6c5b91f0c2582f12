/* A tokenizer file and a text: byte 0 is the flags, then the file up to a NUL, then the text, which is the file again when
 * there is none. Whatever the two are, each token's bytes lie within the text and in order. */
#include "../fuzz.h"

#include <stdlib.h>
#include <string.h>

static struct fuzz_file file;

void fuzz_start(void) { file = fuzz_create("tokenizer.json"); }

static void encode(da_tokenizer tokenizer, const char *text, size_t length, int32_t flags) {
    size_t needed = 0;
    int32_t status = da_tokenizer_encode(tokenizer, text, length, flags, NULL, NULL, NULL, 0, &needed);
    fuzz_status(status, tokenizer, 0);
    if (status < 0) return;
    int64_t *tokens = calloc(3 * needed + 1, sizeof *tokens), *offsets = tokens + needed;
    status = da_tokenizer_encode(tokenizer, text, length, flags, NULL, tokens, offsets, needed, &needed);
    fuzz_require(status == DA_OK, "the same text again", status);
    int64_t first = 0, last = 0;
    for (size_t i = 0; i < needed; i++) {
        int64_t from = offsets[2 * i], to = offsets[2 * i + 1];
        fuzz_require(from >= first && to >= last && from <= to && to <= (int64_t)length, "offsets", status);
        first = from, last = to;
    }
    size_t bytes = 0;
    status = da_tokenizer_decode(tokenizer, tokens, needed, flags & 1, NULL, NULL, 0, &bytes);
    fuzz_require(status == DA_OK || status == DA_MORE, "decoding what was encoded", status);
    free(tokens);
}

void fuzz_input(const uint8_t *data, size_t size) {
    if (size < 1) return;
    const uint8_t *json = data + 1, *end = memchr(json, 0, size - 1);
    size_t length = end ? (size_t)(end - json) : size - 1;
    fuzz_write(&file, json, length);
    da_tokenizer tokenizer = NULL;
    fuzz_status(da_tokenizer_load(file.path, &tokenizer), tokenizer, 1);
    if (!tokenizer) return;
    const char *text = end ? (const char *)end + 1 : (const char *)json;
    size_t count = end ? size - 2 - length : length;
    encode(tokenizer, text, count, data[0] & 3);
    da_tokenizer_close(tokenizer);
}

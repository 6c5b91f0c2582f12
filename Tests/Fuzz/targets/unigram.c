/* A tokenizer file of the kind Unigram and a text: byte 0 is the flags, then the file up to a NUL, then the text, which is the
 * file again when there is none. Whatever the two are, each token's bytes lie within the text and in order. */
#include "../fuzz.h"
#include "../tokens.h"

#include <string.h>

static struct fuzz_file file;

void fuzz_start(void) { file = fuzz_create("tokenizer.json"); }

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
    fuzz_tokens(tokenizer, text, count, data[0] & 3);
    da_tokenizer_close(tokenizer);
}

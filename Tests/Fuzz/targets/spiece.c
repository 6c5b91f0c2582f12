/* A spiece.model and a text: byte 0 is the flags, byte 1 a number n of bytes of text at the end, 16 n of them; the rest is the
 * file. */
#include "../fuzz.h"
#include "../tokens.h"

static struct fuzz_file file;

void fuzz_start(void) {
    file = fuzz_create("spiece.model");
    static const char config[] = "{\"extra_ids\":3}";
    struct fuzz_file beside = fuzz_create("tokenizer_config.json");
    fuzz_write(&beside, config, sizeof config - 1);
}

void fuzz_input(const uint8_t *data, size_t size) {
    if (size < 2) return;
    size_t left = size - 2, count = 16 * (size_t)data[1];
    if (count > left) count = left;
    fuzz_write(&file, data + 2, left - count);
    da_tokenizer tokenizer = NULL;
    fuzz_status(da_tokenizer_load(fuzz_folder(), &tokenizer), tokenizer, 1);
    if (!tokenizer) return;
    fuzz_tokens(tokenizer, (const char *)data + 2 + left - count, count, data[0] & 3);
    da_tokenizer_close(tokenizer);
}

/* The files of CLIP's tokenizer or RoBERTa's, and a text: byte 0 is the flags, then vocab.json, merges.txt,
 * tokenizer_config.json and the text, each but the last up to a NUL. What is not there is empty, the text the vocabulary. */
#include "../fuzz.h"
#include "../tokens.h"

#include <string.h>

static struct fuzz_file files[3];

void fuzz_start(void) {
    files[0] = fuzz_create("vocab.json");
    files[1] = fuzz_create("merges.txt");
    files[2] = fuzz_create("tokenizer_config.json");
}

void fuzz_input(const uint8_t *data, size_t size) {
    if (size < 1) return;
    const uint8_t *at = data + 1, *end = data + size;
    for (int i = 0; i < 3; i++) {
        const uint8_t *stop = at < end ? memchr(at, 0, (size_t)(end - at)) : NULL;
        const uint8_t *last = stop ? stop : end;
        static const char class[] = "{\"tokenizer_class\":\"CLIPTokenizer\"}";
        if (i == 2 && last == at) fuzz_write(&files[i], class, sizeof class - 1);
        else fuzz_write(&files[i], at, (size_t)(last - at));
        at = stop ? stop + 1 : end;
    }
    da_tokenizer tokenizer = NULL;
    fuzz_status(da_tokenizer_load(fuzz_folder(), &tokenizer), tokenizer, 1);
    if (!tokenizer) return;
    if (at == end) at = data + 1;
    fuzz_tokens(tokenizer, (const char *)at, (size_t)(end - at), data[0] & 3);
    da_tokenizer_close(tokenizer);
}

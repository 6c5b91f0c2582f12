#include "tokens.h"

#include "fuzz.h"

#include <stdlib.h>

void fuzz_tokens(da_tokenizer tokenizer, const char *text, size_t length, int32_t flags) {
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

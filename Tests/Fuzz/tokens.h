/* Texts through a tokenizer, with what holds for every one. */
#ifndef FUZZ_TOKENS_H
#define FUZZ_TOKENS_H

#include <diffaccel.h>
#include <stddef.h>

/* Encodes the text and decodes its tokens: each token's bytes lie within the text and in order. `flags` are DA_ENCODE_*. */
void fuzz_tokens(da_tokenizer tokenizer, const char *text, size_t length, int32_t flags);

#endif

/* Vocabularies that the library brings along, for files that hold networks and no tokenizer. */
#ifndef CTOKENIZERDATA_H
#define CTOKENIZERDATA_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* CLIP's merges, best first, two token ids each: 0 to 255 are the bytes in the order of GPT-2's alphabet, 256 to 511 the same at the
 * end of a word, 512 + i what merge i makes. */
const uint16_t *ct_clip_merges(void);
int32_t ct_clip_merge_count(void);

#ifdef __cplusplus
}
#endif
#endif

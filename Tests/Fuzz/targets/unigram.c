/* What the target `tokenizer` does, on a corpus of its own: files of the kind Unigram. */
#include "tokenizer.c"

/* Small tokenizer files, written anew for each test. */
#ifndef TOKENIZER_FILES_H
#define TOKENIZER_FILES_H

#include <stdio.h>
#include <unistd.h>

#include "check.h"

static char file[64] = "/tmp/diffaccel-text-XXXXXX";

static inline void begin_file(void) {
    int descriptor = mkstemp(file);
    CHECK(descriptor >= 0, "no temporary file");
    if (descriptor >= 0) close(descriptor);
}

/* A vocabulary of the 94 visible ASCII characters, "he" and a special token. */
static inline int write_tokenizer(const char *merges, const char *pattern) {
    FILE *out = fopen(file, "w");
    if (!out) return 0;
    fputs("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"he\":200", out);
    for (int c = 33; c < 127; c++) fprintf(out, ",\"%s%c\":%d", c == '"' || c == '\\' ? "\\" : "", c, c);
    fprintf(
        out,
        "},\"merges\":%s},\"added_tokens\":[{\"id\":300,\"content\":\"<|end|>\",\"special\":true}],\"pre_tokenizer\":{\"type\":"
        "\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"%s\"}},{"
        "\"type\":"
        "\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}}",
        merges, pattern);
    return fclose(out) == 0;
}

/* The same over all bytes, with NFC and a space in front. */
static inline int write_bytes_tokenizer(void) {
    FILE *out = fopen(file, "w");
    if (!out) return 0;
    fputs("{\"normalizer\":{\"type\":\"NFC\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"he\":256", out);
    for (int byte = 0, next = 256; byte < 256; byte++) {
        int visible = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
        fprintf(out, ",\"\\u%04x\":%d", visible ? byte : next++, byte);
    }
    fputs(
        "},\"merges\":[\"h e\"]},\"added_tokens\":[{\"id\":300,\"content\":\"<|end|>\",\"special\":true}],\"pre_tokenizer\":{"
        "\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}}",
        out);
    return fclose(out) == 0;
}

#endif

#include "cboundary.h"

#include <string.h>

static _Thread_local char text[CB_ERROR_BYTES];

void cb_error_set(const char *from, size_t length) {
    if (length >= CB_ERROR_BYTES) length = CB_ERROR_BYTES - 1;
    /* Do not cut through a UTF-8 sequence. */
    while (length == CB_ERROR_BYTES - 1 && length > 0 && ((unsigned char)from[length] & 0xc0) == 0x80) length--;
    if (length > 0) memcpy(text, from, length);
    text[length] = '\0';
}

const char *cb_error_text(void) { return text; }

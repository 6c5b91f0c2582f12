/* The header of a safetensors file. Byte 0 chooses the stated length, byte 1 how many data bytes follow; the rest is the
 * header's text. */
#include "../fuzz.h"

#include <string.h>

enum { TEXT = 1 << 16, DATA = 1024 };

static struct fuzz_file file;

void fuzz_start(void) { file = fuzz_create("x.safetensors"); }

static uint64_t stated_length(uint8_t choice, uint64_t length) {
    switch (choice) {
        case 255: return length + 1;
        case 254: return length ? length - 1 : 0;
        case 253: return 0;
        case 252: return UINT64_MAX;
        case 251: return UINT64_MAX - 7;
        case 250: return (uint64_t)1 << 63;
        case 249: return 100000001;
        case 248: return (uint64_t)1 << 32;
        default: return length;
    }
}

void fuzz_input(const uint8_t *data, size_t size) {
    static uint8_t image[8 + TEXT + DATA];
    if (size < 2 || size - 2 > TEXT) return;
    size_t length = size - 2, tail = (size_t)data[1] * 4;
    uint64_t stated = stated_length(data[0], length);
    memcpy(image, &stated, 8);
    memcpy(image + 8, data + 2, length);
    memset(image + 8 + length, 0x40, tail);
    fuzz_write(&file, image, 8 + length + tail);
    /* No config: an accepted header ends the call at once. */
    fuzz_require(fuzz_open(file.path, NULL, NULL) != DA_OK, "a model without a config", DA_OK);
}

/* Feared numbers in every place of a header that takes one, and as the header's length. */
#include "hostile.h"

#include <inttypes.h>

static void open_header(const char *id, const char *header, const char *part) {
    size_t size;
    uint8_t *image = hostile_image(header, strlen(header), strlen(header), 4, &size);
    hostile_open(id, hostile_write("x.safetensors", image, size), NULL, NULL, size, DA_FORMAT, part);
    free(image);
}

static void fields(void) {
    static const struct {
        const char *name, *format;
    } places[] = {{"shape", "{\"a\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[0,4]}}"},
                  {"second extent", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,%s],\"data_offsets\":[0,4]}}"},
                  {"zero and", "{\"a\":{\"dtype\":\"F32\",\"shape\":[0,%s],\"data_offsets\":[0,4]}}"},
                  {"begin", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%s,4]}}"},
                  {"end", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,%s]}}"},
                  {"entry", "{\"a\":%s}"},
                  {"dtype", "{\"a\":{\"dtype\":%s,\"shape\":[1],\"data_offsets\":[0,4]}}"},
                  {"metadata", "{\"__metadata__\":{\"k\":%s}}"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (const char *const *number = hostile_numbers; *number; number++) {
            char id[64], header[256];
            snprintf(id, sizeof id, "%s %s", places[i].name, *number);
            snprintf(header, sizeof header, places[i].format, *number);
            /* The one sound combination: text where text is wanted, over bytes that no tensor owns. */
            int metadata = !strcmp(places[i].name, "metadata") && **number == '"';
            open_header(id, header, metadata ? "4 bytes after the last tensor" : "x.safetensors: ");
        }
}

static void lengths(void) {
    static const uint64_t numbers[] = {0,
                                       1,
                                       7,
                                       9,
                                       100000000,
                                       100000001,
                                       INT32_MAX,
                                       (uint64_t)1 << 31,
                                       (uint64_t)1 << 32,
                                       ((uint64_t)1 << 32) + 8,
                                       ((uint64_t)1 << 62) + 1,
                                       INT64_MAX,
                                       (uint64_t)1 << 63,
                                       UINT64_MAX - 8,
                                       UINT64_MAX - 7,
                                       UINT64_MAX};
    static const char header[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char id[64];
        size_t size;
        snprintf(id, sizeof id, "length %" PRIu64, numbers[i]);
        uint8_t *image = hostile_image(header, strlen(header), numbers[i], 4, &size);
        hostile_open(id, hostile_write("x.safetensors", image, size), NULL, NULL, size, DA_FORMAT, "x.safetensors: ");
        free(image);
    }
    for (size_t size = 0; size < 8; size++)
        hostile_open("shorter than a length", hostile_write("x.safetensors", "\2\0\0\0\0\0\0", size), NULL, NULL, size,
                     DA_FORMAT, "x.safetensors: ");
}

/* Sizes whose sum wraps. */
static void sums(void) {
    static const char *const sizes[] = {"9223372036854775743", "4611686018427387904", "281474976710656", "72057594037927936"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char header[1024] = "{";
        for (int tensor = 0; tensor < 4; tensor++)
            snprintf(header + strlen(header), sizeof header - strlen(header),
                     "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[%s],\"data_offsets\":[0,%s]}", tensor ? "," : "", tensor, sizes[i],
                     sizes[i]);
        strcat(header, "}");
        open_header(sizes[i], header, "x.safetensors: tensor \"t0\"");
    }
}

void cases_numbers(void) {
    fields();
    lengths();
    sums();
}

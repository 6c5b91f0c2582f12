/* Every prefix of a good checkpoint, and every single byte of it set to values that parsers fear.
 *
 * Exact: no prefix opens; a change of the length or of a tensor's place never opens; a change of an element always does.
 * Elsewhere in the header the status is one of those that da_model_open documents for what a file holds. */
#include "hostile.h"
#include "meter.h"

#include <unistd.h>

static char config[1024];

static int32_t open_image(const char *path, size_t size, const char *what, size_t at) {
    da_model model = (da_model)(uintptr_t)1;
    da_model_options options;
    da_model_options_init(&options, sizeof options);
    options.config = config;
    meter_start();
    int32_t status = da_model_open(path, &options, &model);
    long peak = meter_peak();
    CHECK((status == DA_OK) == (model != NULL), "%s %zu: out-parameter and status do not fit", what, at);
    CHECK(peak <= 4 * (long)size + (16 << 20), "%s %zu: %ld bytes asked for", what, at, peak);
    if (model) da_model_close(model);
    return status;
}

static void prefixes(const uint8_t *image, size_t size) {
    const char *path = hostile_write("x.safetensors", image, size);
    CHECK(open_image(path, size, "the whole of", size) == DA_OK, "the good file: %s", da_last_error());
    for (size_t length = size; length-- > 0;) {
        CHECK(!truncate(path, (off_t)length), "truncate");
        int32_t status = open_image(path, size, "prefix", length);
        CHECK(status == DA_FORMAT && strstr(da_last_error(), "x.safetensors"), "the first %zu bytes give %s: %s", length,
              da_status_name(status), da_last_error());
    }
}

/* Whether the byte belongs to a number or a bracket of the table: no such change is harmless. */
static int is_place(uint8_t byte) { return (byte >= '0' && byte <= '9') || strchr("{}[],:", byte); }

static void single_bytes(const uint8_t *image, size_t size, size_t header) {
    int loaded = 0, refused = 0;
    FILE *file = fopen(hostile_write("x.safetensors", image, size), "r+b");
    char path[512];
    snprintf(path, sizeof path, "%s/x.safetensors", hostile_folder());
    if (!file) exit(2);
    setvbuf(file, NULL, _IONBF, 0);
    for (size_t at = 0; at < size; at++) {
        const uint8_t values[] = {0, 0x7f, 0x80, 0xff, (uint8_t)(image[at] + 1), (uint8_t)(image[at] - 1)};
        for (size_t i = 0; i < sizeof values; i++) {
            if (values[i] == image[at]) continue;
            fseek(file, (long)at, SEEK_SET);
            CHECK(fputc(values[i], file) != EOF, "write");
            int32_t status = open_image(path, size, "byte", at);
            status == DA_OK ? loaded++ : refused++;
            if (at < 8)
                CHECK(status == DA_FORMAT || status == DA_UNSUPPORTED, "length byte %zu = %d: %d", at, values[i], (int)status);
            else if (at >= header) CHECK(status == DA_OK, "data byte %zu = %d: %s", at, values[i], da_last_error());
            else if (is_place(image[at]))
                CHECK(status == DA_FORMAT || status == DA_SHAPE || status == DA_INCOMPATIBLE,
                      "table byte %zu = %d gives %s: %s", at, values[i], da_status_name(status), da_last_error());
            else
                CHECK(status == DA_OK || status == DA_FORMAT || status == DA_SHAPE || status == DA_INCOMPATIBLE ||
                          status == DA_UNSUPPORTED,
                      "header byte %zu = %d gives %s: %s", at, values[i], da_status_name(status), da_last_error());
        }
        fseek(file, (long)at, SEEK_SET);
        CHECK(fputc(image[at], file) != EOF, "write");
    }
    fclose(file);
    printf("single bytes: %d load, %d are refused\n", loaded, refused);
    CHECK(open_image(path, size, "in the end", 0) == DA_OK, "the good file in the end: %s", da_last_error());
}

int main(void) {
    size_t size;
    uint64_t header;
    uint8_t *image = tiny_transformer(&size);
    memcpy(&header, image, 8);
    snprintf(config, sizeof config, "%s}", tiny_transformer_config);
    prefixes(image, size);
    single_bytes(image, size, 8 + (size_t)header);
    free(image);
    return hostile_summary("bytes");
}

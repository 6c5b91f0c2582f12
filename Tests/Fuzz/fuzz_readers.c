/* A short, seeded fuzz of everything that reads outside text or files: plans, configs, safetensors headers.
 *
 *   fuzz_readers [inputs] [seed]
 *
 * Each input is a valid text with a few edits: bytes flipped, cut, repeated, and numbers replaced by the ones parsers fear.
 * A crash, a hang or a status that is none of ours ends the program with a failure; the seed and the number of the input are
 * printed first, so that any failure can be repeated. */
#include "diffaccel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CAPACITY = 1 << 16 };

static uint64_t state;

static uint64_t draw(void) { /* splitmix64 */
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t below(size_t n) { return n ? (size_t)(draw() % n) : 0; }

static const char *const feared[] = {"0",
                                     "-1",
                                     "1",
                                     "2147483647",
                                     "2147483648",
                                     "4294967296",
                                     "4611686018427387905",
                                     "9223372036854775807",
                                     "9223372036854775808",
                                     "18446744073709551615",
                                     "18446744073709551616",
                                     "1e999",
                                     "-1e999",
                                     "1e-400",
                                     "0.1",
                                     "null",
                                     "true",
                                     "\"\"",
                                     "[]",
                                     "{}",
                                     "[[]]",
                                     "\"\\u0000\"",
                                     "\"\\ud800\"",
                                     "\"../x\"",
                                     "1.0",
                                     "1e0",
                                     "+1",
                                     "01",
                                     "NaN"};

static size_t replace(char *text, size_t length, size_t from, size_t count, const char *with, size_t size) {
    if (length - count + size > CAPACITY) return length;
    memmove(text + from + size, text + from + count, length - from - count);
    memcpy(text + from, with, size);
    return length - count + size;
}

static size_t edit(char *text, size_t length) {
    size_t at = below(length);
    switch (below(6)) {
        case 0: /* one byte */
            if (length) text[at] = (char)draw();
            return length;
        case 1: /* cut */
            return replace(text, length, at, below(length - at + 1) % 64 < length - at ? below(length - at + 1) % 64 : 0, "",
                           0);
        case 2: { /* repeat a piece */
            char piece[64];
            size_t size = below(sizeof piece);
            if (at + size > length) size = length - at;
            memcpy(piece, text + at, size);
            return replace(text, length, at, 0, piece, size);
        }
        case 3: { /* a number becomes a feared one */
            while (at < length && (text[at] < '0' || text[at] > '9')) at++;
            size_t end = at;
            while (end < length && ((text[end] >= '0' && text[end] <= '9') || text[end] == '.')) end++;
            const char *with = feared[below(sizeof feared / sizeof *feared)];
            return replace(text, length, at, end - at, with, strlen(with));
        }
        case 4: { /* structure */
            static const char marks[] = "{}[],:\"\\ \n";
            return replace(text, length, at, below(2) && at < length ? 1 : 0, marks + below(sizeof marks - 1), 1);
        }
        default: /* the end is missing */ return below(8) ? length : at;
    }
}

static size_t mutate(char *text, size_t length) {
    for (size_t edits = 1 + below(4); edits > 0; edits--) length = edit(text, length);
    return length;
}

static int known(int32_t status) { return strcmp(da_status_name(status), "DA_UNKNOWN") != 0 && status != DA_INTERNAL; }

static const char plan_text[] =
    "{\"methods\": [{\"method\": \"l2c\", \"threshold\": 0.1, \"logits\": [[1.5, -2.0], [0.25, 3e-1], [-4, 5]]}]}";
static const char config_text[] =
    "{\"family\": \"dit\", \"model\": {\"input_size\": 8, \"patch_size\": 2, \"hidden_size\": 16, \"depth\": 2, \"num_heads\": "
    "2,"
    " \"num_classes\": 10, \"mlp_ratio\": 4.0, \"in_channels\": 4, \"learn_sigma\": true}, \"cfg_scale\": 1.5,"
    " \"diffusion\": {\"schedule\": \"linear\", \"beta_start\": 0.0001, \"beta_end\": 0.02, \"train_steps\": 1000}}";
static const char header_text[] =
    "{\"__metadata__\": {\"format\": \"pt\"}, \"blocks.0.attn.qkv.weight\": {\"dtype\": \"F32\", \"shape\": [4, 8],"
    " \"data_offsets\": [0, 128]}, \"pos_embed\": {\"dtype\": \"BF16\", \"shape\": [1, 4, 8], \"data_offsets\": [128, 192]}}";

static int32_t try_plan(char *text) {
    da_plan plan = NULL;
    size_t length = mutate(text, strlen(strcpy(text, plan_text)));
    int32_t status = da_plan_parse(text, length, &plan);
    if (status == DA_OK) da_plan_close(plan);
    return status;
}

static int32_t open_with(const char *path, const char *config) {
    da_model model = NULL;
    da_model_options options;
    da_model_options_init(&options, sizeof options);
    options.config = config;
    int32_t status = da_model_open(path, &options, &model);
    if (status == DA_OK) da_model_close(model);
    return status;
}

static int32_t try_config(char *text, const char *path) {
    size_t length = mutate(text, strlen(strcpy(text, config_text)));
    text[length < CAPACITY ? length : CAPACITY - 1] = '\0';
    return open_with(path, text);
}

static void write_file(const char *path, const char *header, size_t length, uint64_t stated, size_t data) {
    static const char zeros[256];
    FILE *file = fopen(path, "wb");
    if (!file) exit(2);
    fwrite(&stated, 8, 1, file);
    fwrite(header, 1, length, file);
    fwrite(zeros, 1, data, file);
    fclose(file);
}

static int32_t try_header(char *text, const char *path) {
    size_t length = mutate(text, strlen(strcpy(text, header_text)));
    uint64_t stated = below(16) ? length : draw() >> below(64);
    write_file(path, text, length, stated, below(8) ? 192 : below(256));
    return open_with(path, config_text);
}

int main(int count, char **arguments) {
    unsigned long inputs = count > 1 ? strtoul(arguments[1], NULL, 10) : 30000;
    uint64_t seed = count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
    static char text[CAPACITY + 256];
    char good[64], bad[64];
    snprintf(good, sizeof good, "/tmp/fuzz-good-%d.safetensors", (int)getpid());
    snprintf(bad, sizeof bad, "/tmp/fuzz-bad-%d.safetensors", (int)getpid());
    write_file(good, header_text, strlen(header_text), strlen(header_text), 192);
    printf("fuzz_readers: %lu inputs, seed %llu\n", inputs, (unsigned long long)seed);
    fflush(stdout);
    unsigned long accepted = 0, failed = 0;
    for (unsigned long i = 0; i < inputs; i++) {
        state = seed * 1000003u + i;
        int32_t status = i % 3 == 0 ? try_plan(text) : i % 3 == 1 ? try_config(text, good) : try_header(text, bad);
        accepted += status == DA_OK;
        if (!known(status)) {
            printf("input %lu: status %d: %s\n", i, (int)status, da_last_error());
            failed++;
        }
    }
    unlink(good);
    unlink(bad);
    printf("%lu accepted\n%lu passed, %lu failed\n", accepted, inputs - failed, failed);
    return failed != 0;
}

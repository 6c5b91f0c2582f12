/* A whole folder: the input is a list of edits (file, kind, place, value) to one of three good checkpoints - a plain one, a
 * pipeline with transformer and autoencoder, a sharded one - which is then opened, and sampled from when it still opens. */
#include "../fuzz.h"
#include "../weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 11, ROOM = 1 << 14 };

static struct {
    char path[160];
    uint8_t *good;
    size_t size;
} files[FILES];

/* Files of checkpoint i: first[i] ..< first[i + 1]. */
static const int first[] = {0, 3, 8, FILES};
static const char *const roots[] = {"plain", "pipeline", "sharded"};

static void put(const char *path, const void *data, size_t size) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file)) exit(2);
}

static void add(int number, const char *name, uint8_t *data, size_t size) {
    snprintf(files[number].path, sizeof files[number].path, "%s/%s", fuzz_folder(), name);
    files[number].good = data;
    files[number].size = size;
    put(files[number].path, data, size);
}

static void add_text(int number, const char *name, const char *text) {
    add(number, name, (uint8_t *)strdup(text), strlen(text));
}

static int32_t open_root(int root, int follow, int sample) {
    char path[128];
    da_model model = NULL;
    da_model_options options;
    da_model_options_init(&options, sizeof options);
    options.follow_links = follow;
    options.memory_limit = 64 << 20;
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), roots[root]);
    int32_t status = da_model_open(path, &options, &model);
    fuzz_status(status, model, 1);
    if (!model) return status;
    da_session session = NULL;
    da_session_options session_options;
    da_session_options_init(&session_options, sizeof session_options);
    session_options.threads = 1;
    session_options.memory_limit = 64 << 20;
    fuzz_status(da_session_create(model, NULL, &session_options, &session), session, 1);
    static const char request[] = "{\"labels\":1,\"steps\":1}";
    da_result result = NULL;
    if (session && sample)
        fuzz_status(da_session_run(session, request, sizeof request - 1, NULL, 0, NULL, NULL, &result), result, 1);
    if (result) da_result_close(result);
    if (session) da_session_close(session);
    da_model_close(model);
    return status;
}

void fuzz_start(void) {
    static const char *const folders[] = {"plain", "plain/vae", "pipeline", "pipeline/transformer", "pipeline/vae", "sharded"};
    char path[128], config[1024];
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(path, sizeof path, "%s/%s", fuzz_folder(), folders[i]);
        mkdir(path, 0700);
    }
    rmdir(strcat(strcat(strcpy(path, fuzz_folder()), "/"), "plain/vae"));
    snprintf(config, sizeof config, "%s}", tiny_transformer_config);
    size_t size;
    uint8_t *image = tiny_transformer(&size);
    add_text(0, "plain/config.json", config);
    add(1, "plain/model.safetensors", image, size);
    add_text(2, "plain/README.md", "{}");
    add_text(3, "pipeline/model_index.json", "{\"_class_name\":\"DiTPipeline\",\"transformer\":[\"diffusers\",\"x\"]}");
    add_text(4, "pipeline/transformer/config.json", config);
    add(5, "pipeline/transformer/diffusion_pytorch_model.safetensors", image, size);
    add_text(6, "pipeline/vae/config.json", tiny_autoencoder_config);
    image = tiny_autoencoder(&size);
    add(7, "pipeline/vae/diffusion_pytorch_model.safetensors", image, size);
    add_text(8, "sharded/config.json", config);
    char *index = tiny_transformer_index();
    image = tiny_transformer_shard(0, &size);
    add(9, "sharded/s.safetensors", image, size);
    image = tiny_transformer_shard(1, &size);
    add(10, "sharded/t.safetensors", image, size);
    snprintf(path, sizeof path, "%s/sharded/model.safetensors.index.json", fuzz_folder());
    put(path, index, strlen(index));
    free(index);
    for (int root = 0; root < 3; root++) fuzz_require(open_root(root, 0, 1) == DA_OK, roots[root], 0);
}

static const char *const words[] = {"0",
                                    "-1",
                                    "1e999",
                                    "9223372036854775807",
                                    "18446744073709551615",
                                    "null",
                                    "[]",
                                    "\"../x\"",
                                    "{",
                                    "}",
                                    "\"",
                                    "4096",
                                    "[1,2,3]",
                                    "4",
                                    "\\",
                                    "\"F64\""};

/* Carries out one edit of five bytes; `current` has the file's contents so far. */
static size_t edit(int number, const uint8_t *op, uint8_t *current, size_t size) {
    const char *path = files[number].path;
    size_t at = size ? (size_t)(op[2] | op[3] << 8) % size : 0;
    const char *word = words[op[4] % (sizeof words / sizeof *words)];
    char other[160];
    switch (op[1] % 12) {
        case 0: /* cut */ return at;
        case 1:
        case 2: /* one byte */
            if (size) current[at] = op[4];
            return size;
        case 3: /* a bit of the length or of the header's beginning */
            if (size > 24) current[op[2] % 24] ^= (uint8_t)(1 << op[4] % 8);
            return size;
        case 4:
        case 5: /* a word over what is there, or put in */
            if (op[1] & 1 && at + strlen(word) <= size) {
                memcpy(current + at, word, strlen(word));
                return size;
            }
            if (size + strlen(word) > ROOM) return size;
            memmove(current + at + strlen(word), current + at, size - at);
            memcpy(current + at, word, strlen(word));
            return size + strlen(word);
        case 6: /* another file's contents */ {
            int from = op[2] % FILES;
            memcpy(current, files[from].good, files[from].size);
            return files[from].size;
        }
        case 7: /* more at the end */
            if (size + op[4] > ROOM) return size;
            memset(current + size, op[2], op[4]);
            return size + op[4];
        case 8: unlink(path); return SIZE_MAX;
        case 9: unlink(path); return mkdir(path, 0700) ? SIZE_MAX : SIZE_MAX;
        case 10:
            unlink(path);
            snprintf(other, sizeof other, "%s/%s", fuzz_folder(), op[2] & 1 ? "missing" : "plain/model.safetensors");
            return symlink(op[4] & 1 ? other : path, path) ? SIZE_MAX : SIZE_MAX;
        default: unlink(path); return mkfifo(path, op[4] & 1 ? 0600 : 0) ? SIZE_MAX : SIZE_MAX;
    }
}

void fuzz_input(const uint8_t *data, size_t size) {
    static uint8_t current[FILES][ROOM + 256];
    size_t sizes[FILES];
    uint32_t touched = 0;
    if (size < 1) return;
    int root = data[0] % 3, count = first[root + 1] - first[root];
    for (size_t at = 1; at + 5 <= size && at < 5 * 8; at += 5) {
        int number = first[root] + data[at] % count;
        if (!(touched & 1u << number)) {
            memcpy(current[number], files[number].good, files[number].size);
            sizes[number] = files[number].size;
            touched |= 1u << number;
        }
        if (sizes[number] != SIZE_MAX) sizes[number] = edit(number, data + at, current[number], sizes[number]);
    }
    for (int i = 0; i < FILES; i++)
        if (touched & 1u << i && sizes[i] != SIZE_MAX) put(files[i].path, current[i], sizes[i]);
    open_root(root, data[0] & 0x80, data[0] & 0x40);
    for (int i = 0; i < FILES; i++) {
        if (!(touched & 1u << i)) continue;
        if (sizes[i] == SIZE_MAX && unlink(files[i].path)) rmdir(files[i].path);
        put(files[i].path, files[i].good, files[i].size);
    }
}

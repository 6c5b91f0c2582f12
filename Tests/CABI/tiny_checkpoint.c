#define _GNU_SOURCE
#include "tiny_checkpoint.h"

#include <limits.h>
#include <unistd.h>

#include "tensor_table.h"

struct sizes {
    int width, depth, heads, side, patch;
};

static void weights(struct table *table, struct sizes s) {
    char name[128], shape[64];
    int w = s.width, grid = s.side / s.patch, area = s.patch * s.patch;
    snprintf(shape, sizeof shape, "1,%d,%d", grid * grid, w);
    tensor(table, "pos_embed", shape, (size_t)(grid * grid * w), 0.5f);
    snprintf(shape, sizeof shape, "%d,%d,%d,%d", w, TINY_CHANNELS, s.patch, s.patch);
    tensor(table, "x_embedder.proj.weight", shape, (size_t)(w * TINY_CHANNELS * area), 0.3f);
    snprintf(shape, sizeof shape, "%d", w);
    tensor(table, "x_embedder.proj.bias", shape, (size_t)w, 0.05f);
    linear(table, "t_embedder.mlp.0", w, 256);
    linear(table, "t_embedder.mlp.2", w, w);
    snprintf(shape, sizeof shape, "%d,%d", TINY_CLASSES + 1, w);
    tensor(table, "y_embedder.embedding_table.weight", shape, (size_t)((TINY_CLASSES + 1) * w), 0.8f);
    const struct {
        const char *name;
        int out, in;
    } parts[] = {{"attn.qkv", 3 * w, w},
                 {"attn.proj", w, w},
                 {"mlp.fc1", 4 * w, w},
                 {"mlp.fc2", w, 4 * w},
                 {"adaLN_modulation.1", 6 * w, w}};
    for (int block = 0; block < s.depth; block++)
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            snprintf(name, sizeof name, "blocks.%d.%s", block, parts[i].name);
            linear(table, name, parts[i].out, parts[i].in);
        }
    linear(table, "final_layer.adaLN_modulation.1", 2 * w, w);
    linear(table, "final_layer.linear", 2 * TINY_CHANNELS * area, w);
}

static int write_weights(const char *path, struct sizes s) {
    struct table table = {.data = tmpfile(), .random = 0x9e3779b97f4a7c15u};
    if (!table.data) return -1;
    weights(&table, s);
    return write_table(path, &table);
}

static int write_config(const char *path, struct sizes s) {
    FILE *file = fopen(path, "wb");
    if (!file) return -1;
    fprintf(
        file,
        "{\"family\":\"dit\",\"model\":{\"input_size\":%d,\"patch_size\":%d,\"hidden_size\":%d,\"depth\":%d,\"num_heads\":%d,"
        "\"num_classes\":%d,\"mlp_ratio\":4.0,\"class_dropout_prob\":0.1,\"in_channels\":%d,\"learn_sigma\":true,"
        "\"frequency_embedding_size\":256}}\n",
        s.side, s.patch, s.width, s.depth, s.heads, TINY_CLASSES, TINY_CHANNELS);
    return fclose(file);
}

static char folders[8][64];
static int folder_count;
static pid_t creator;

/* Only in the process that made them: children of fork leave the folders to their parent. */
static void remove_folders(void) {
    if (getpid() != creator) return;
    for (int i = 0; i < folder_count; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/config.json", folders[i]);
        unlink(path);
        snprintf(path, sizeof path, "%s/model.safetensors", folders[i]);
        unlink(path);
        rmdir(folders[i]);
    }
}

static const char *write_checkpoint(struct sizes s) {
    if (folder_count == 8) return NULL;
    char *folder = folders[folder_count], path[1024];
    strcpy(folder, "/tmp/diffaccel-test-XXXXXX");
    if (!mkdtemp(folder)) return NULL;
    if (!folder_count++) {
        creator = getpid();
        atexit(remove_folders);
    }
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    if (write_weights(path, s)) return NULL;
    snprintf(path, sizeof path, "%s/config.json", folder);
    return write_config(path, s) ? NULL : folder;
}

const char *tiny_checkpoint(void) {
    static const char *folder;
    if (!folder) folder = write_checkpoint((struct sizes){.width = 48, .depth = 3, .heads = 4, .side = TINY_SIDE, .patch = 2});
    return folder;
}

const char *larger_checkpoint(int width, int depth, int side) {
    return write_checkpoint((struct sizes){.width = width, .depth = depth, .heads = 4, .side = side, .patch = 2});
}

/* A tiny VAR and the codebook of its VQ-VAE: scales of 1, 2 and 3, so 14 tokens of 16 codes. */
#ifndef TINY_VAR_H
#define TINY_VAR_H

#include "learning_files.h"
#include "tensor_table.h"

enum { VAR_TOKENS = 14, VAR_CODES = 16, VAR_CHANNELS = 4, VAR_CLASSES = 5 };

HELPER void var_tensor(struct table *table, const char *name, const char *shape, float scale) {
    size_t count = 1;
    char text[64], *rest = text;
    snprintf(text, sizeof text, "%s", shape);
    for (char *extent; (extent = strsep(&rest, ","));) count *= (size_t)atoi(extent);
    tensor(table, name, shape, count, scale);
}

HELPER int write_var_weights(const char *path, int width, int depth, int codes) {
    struct table table = {.data = tmpfile(), .random = 0x9e3779b97f4a7c15u};
    char name[128], shape[64];
    if (!table.data) return -1;
#define VAR_TENSOR(SCALE, NAME, ...) (snprintf(shape, sizeof shape, __VA_ARGS__), var_tensor(&table, NAME, shape, SCALE))
    VAR_TENSOR(1, "pos_start", "1,1,%d", width);
    VAR_TENSOR(1, "pos_1LC", "1,%d,%d", VAR_TOKENS, width);
    VAR_TENSOR(1, "lvl_embed.weight", "3,%d", width);
    VAR_TENSOR(1, "class_emb.weight", "%d,%d", VAR_CLASSES + 1, width);
    linear(&table, "word_embed", width, VAR_CHANNELS);
    linear(&table, "head_nm.ada_lin.1", 2 * width, width);
    linear(&table, "head", codes, width);
    for (int block = 0; block < depth; block++) {
        const struct {
            const char *name;
            int out, in;
        } parts[] = {{"attn.proj", width, width},
                     {"ffn.fc1", 4 * width, width},
                     {"ffn.fc2", width, 4 * width},
                     {"ada_lin.1", 6 * width, width}};
        for (int i = 0; i < 4; i++) {
            snprintf(name, sizeof name, "blocks.%d.%s", block, parts[i].name);
            linear(&table, name, parts[i].out, parts[i].in);
        }
        snprintf(name, sizeof name, "blocks.%d.attn.mat_qkv.weight", block);
        VAR_TENSOR(0.2f, name, "%d,%d", 3 * width, width);
        snprintf(name, sizeof name, "blocks.%d.attn.scale_mul_1H11", block);
        VAR_TENSOR(1, name, "1,2,1,1");
        const char *biases[] = {"q_bias", "zero_k_bias", "v_bias"};
        for (int i = 0; i < 3; i++) {
            snprintf(name, sizeof name, "blocks.%d.attn.%s", block, biases[i]);
            VAR_TENSOR(i == 1 ? 0 : 0.1f, name, "%d", width);
        }
    }
    return write_table(path, &table);
}

/* The codebook and the convolutions between scales: what tokens need. */
HELPER int write_var_codes(const char *path) {
    struct table table = {.data = tmpfile(), .random = 0x9e3779b97f4a7c15u};
    char name[128], shape[64];
    if (!table.data) return -1;
    VAR_TENSOR(1, "quantize.embedding.weight", "%d,%d", VAR_CODES, VAR_CHANNELS);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "quantize.quant_resi.qresi_ls.%d.weight", i);
        VAR_TENSOR(0.1f, name, "%d,%d,3,3", VAR_CHANNELS, VAR_CHANNELS);
        snprintf(name, sizeof name, "quantize.quant_resi.qresi_ls.%d.bias", i);
        VAR_TENSOR(0.1f, name, "%d", VAR_CHANNELS);
    }
#undef VAR_TENSOR
    return write_table(path, &table);
}

/* Writes the model `name` into the tests' folder, with its codebook in `vae` if it `has_codes`, and gives its path, valid for
 * the next 32 calls of in_place. */
HELPER const char *write_var(const char *name, int width, int depth, int codes, int has_codes) {
    char path[PATH_MAX], config[] = "{\"family\":\"var\",\"model\":{\"patch_nums\":[1,2,3]}}";
    CHECK(!mkdir(in_place(name), 0700), "no %s", name);
    snprintf(path, sizeof path, "%s/model.safetensors", name);
    CHECK(!write_var_weights(in_place(path), width, depth, codes), "no %s", path);
    snprintf(path, sizeof path, "%s/config.json", name);
    write_data(path, config, strlen(config), "", 0);
    if (!has_codes) return in_place(name);
    snprintf(path, sizeof path, "%s/vae", name);
    CHECK(!mkdir(in_place(path), 0700), "no %s", path);
    snprintf(path, sizeof path, "%s/vae/model.safetensors", name);
    CHECK(!write_var_codes(in_place(path)), "no %s", path);
    return in_place(name);
}

#endif

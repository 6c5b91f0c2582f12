/* A tiny U-ViT and a tiny SiT, with the state of tiny_checkpoint.h. */
#ifndef TINY_FAMILIES_H
#define TINY_FAMILIES_H

#include "learning_files.h"
#include "tensor_table.h"

enum { FAMILY_WIDTH = 32, FAMILY_DEPTH = 4, FAMILY_GRID = TINY_SIDE / 2 };

/* The tensor `prefix`.`name` of these extents. */
HELPER void family_tensor(struct table *table, const char *prefix, const char *name, float scale, const char *shape) {
    size_t count = 1;
    char full[128], text[64], *rest = text;
    snprintf(full, sizeof full, "%s%s%s", prefix, *prefix ? "." : "", name);
    snprintf(text, sizeof text, "%s", shape);
    for (char *extent; (extent = strsep(&rest, ","));) count *= (size_t)atoi(extent);
    tensor(table, full, shape, count, scale);
}

/* The layer `prefix`.`name`. */
HELPER void family_linear(struct table *table, const char *prefix, const char *name, int out, int in) {
    char full[128];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    linear(table, full, out, in);
}

HELPER void uvit_block(struct table *table, const char *name, int takes_skip) {
    const int w = FAMILY_WIDTH;
    const char *norms[] = {"norm1", "norm2"};
    for (int i = 0; i < 2; i++) {
        char part[32];
        snprintf(part, sizeof part, "%s.weight", norms[i]);
        family_tensor(table, name, part, 1, "32");
        snprintf(part, sizeof part, "%s.bias", norms[i]);
        family_tensor(table, name, part, 0.05f, "32");
    }
    if (takes_skip) family_linear(table, name, "skip_linear", w, 2 * w);
    family_tensor(table, name, "attn.qkv.weight", 0.2f, "96,32");
    family_linear(table, name, "attn.proj", w, w);
    family_linear(table, name, "mlp.fc1", 4 * w, w);
    family_linear(table, name, "mlp.fc2", w, 4 * w);
}

HELPER void uvit_weights(struct table *table) {
    family_tensor(table, "patch_embed.proj", "weight", 0.3f, "32,4,2,2");
    family_tensor(table, "patch_embed.proj", "bias", 0.05f, "32");
    family_tensor(table, "", "pos_embed", 0.5f, "1,18,32");
    family_tensor(table, "label_emb", "weight", 0.8f, "11,32");
    const char *blocks[] = {"in_blocks.0", "in_blocks.1", "mid_block", "out_blocks.0", "out_blocks.1"};
    for (int i = 0; i <= FAMILY_DEPTH; i++) uvit_block(table, blocks[i], i > FAMILY_DEPTH / 2);
    family_tensor(table, "norm", "weight", 1, "32");
    family_tensor(table, "norm", "bias", 0.05f, "32");
    linear(table, "decoder_pred", 4 * TINY_CHANNELS, FAMILY_WIDTH);
    family_tensor(table, "final_layer", "weight", 0.2f, "4,4,3,3");
    family_tensor(table, "final_layer", "bias", 0.05f, "4");
}

HELPER void sit_weights(struct table *table) {
    const int w = FAMILY_WIDTH;
    family_tensor(table, "x_embedder.proj", "weight", 0.3f, "32,4,2,2");
    family_tensor(table, "x_embedder.proj", "bias", 0.05f, "32");
    family_tensor(table, "", "pos_embed", 0.5f, "1,16,32");
    linear(table, "t_embedder.mlp.0", w, 256);
    linear(table, "t_embedder.mlp.2", w, w);
    family_tensor(table, "y_embedder.embedding_table", "weight", 0.8f, "11,32");
    for (int i = 0; i < FAMILY_DEPTH; i++) {
        char name[32];
        snprintf(name, sizeof name, "blocks.%d", i);
        family_linear(table, name, "attn.qkv", 3 * w, w);
        family_linear(table, name, "attn.proj", w, w);
        family_linear(table, name, "mlp.fc1", 4 * w, w);
        family_linear(table, name, "mlp.fc2", w, 4 * w);
        family_linear(table, name, "adaLN_modulation.1", 6 * w, w);
    }
    linear(table, "final_layer.adaLN_modulation.1", 2 * w, w);
    linear(table, "final_layer.linear", 8 * TINY_CHANNELS, w);
}

/* Writes the model `name` into the tests' folder and gives its path, valid for the next 32 calls of in_place. */
HELPER const char *write_family(const char *name, const char *config, void (*weights)(struct table *)) {
    char path[PATH_MAX];
    struct table table = {.data = tmpfile(), .random = 0x9e3779b97f4a7c15u};
    CHECK(table.data && !mkdir(in_place(name), 0700), "no %s", name);
    weights(&table);
    snprintf(path, sizeof path, "%s/model.safetensors", name);
    CHECK(!write_table(in_place(path), &table), "no %s", path);
    snprintf(path, sizeof path, "%s/config.json", name);
    write_data(path, config, strlen(config), "", 0);
    return in_place(name);
}

HELPER const char *write_uvit(void) {
    return write_family("uvit",
                        "{\"img_size\":8,\"patch_size\":2,\"in_chans\":4,\"embed_dim\":32,\"depth\":4,\"num_heads\":4,"
                        "\"qkv_bias\":false,\"mlp_time_embed\":false,\"num_classes\":11,\"null_class\":10}",
                        uvit_weights);
}

HELPER const char *write_sit(void) {
    return write_family("sit",
                        "{\"family\":\"sit\",\"input_size\":8,\"patch_size\":2,\"in_channels\":4,\"hidden_size\":32,"
                        "\"depth\":4,\"num_heads\":4,\"num_classes\":10,\"learn_sigma\":true}",
                        sit_weights);
}

#endif

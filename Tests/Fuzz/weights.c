#include "weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void weights_add(struct weights *w, const char *name, const int *extents) {
    size_t count = 1;
    char shape[128] = "";
    size_t at = 0;
    for (const int *extent = extents; *extent; extent++) {
        count *= (size_t)*extent;
        at += (size_t)snprintf(shape + at, sizeof shape - at, "%s%d", at ? "," : "", *extent);
    }
    w->length += (size_t)snprintf(w->header + w->length, sizeof w->header - w->length,
                                  "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                                  w->length ? "," : "{", name, shape, w->data, w->data + 4 * count);
    w->data += 4 * count;
    if (w->length + 2 > sizeof w->header) abort();
}

uint8_t *weights_finish(struct weights *w, size_t *size) {
    w->header[w->length++] = '}';
    *size = 8 + w->length + w->data;
    uint8_t *image = malloc(*size);
    if (!image) abort();
    uint64_t length = w->length;
    memcpy(image, &length, 8);
    memcpy(image + 8, w->header, w->length);
    for (size_t i = 0; i < w->data / 4; i++) {
        float value = (float)(int)(i * 37 % 19) / 64.0f - 0.125f;
        memcpy(image + 8 + w->length + 4 * i, &value, 4);
    }
    return image;
}

/* `name`.weight with these extents and `name`.bias of the first. */
static void layer(struct weights *w, const char *name, const int *extents) {
    char full[128];
    snprintf(full, sizeof full, "%s.weight", name);
    weights_add(w, full, extents);
    snprintf(full, sizeof full, "%s.bias", name);
    weights_add(w, full, (int[]){extents[0], 0});
}

static void layers(struct weights *w, const char *prefix, const char *const *names, const int *extents) {
    for (; *names; names++) {
        char full[128];
        snprintf(full, sizeof full, "%s%s", prefix, *names);
        layer(w, full, extents);
    }
}

static void residual(struct weights *w, const char *prefix) {
    layers(w, prefix, (const char *const[]){"norm1", "norm2", NULL}, (int[]){4, 0});
    layers(w, prefix, (const char *const[]){"conv1", "conv2", NULL}, (int[]){4, 4, 3, 3, 0});
}

const char tiny_autoencoder_config[] =
    "{\"_class_name\":\"AutoencoderKL\",\"block_out_channels\":[4],\"layers_per_block\":1,\"norm_num_groups\":2,"
    "\"latent_channels\":4,\"out_channels\":3,\"in_channels\":3,\"scaling_factor\":0.18215,\"shift_factor\":0,"
    "\"act_fn\":\"silu\",\"use_quant_conv\":true,\"use_post_quant_conv\":true}";

uint8_t *tiny_autoencoder(size_t *size) {
    struct weights w = {.length = 0};
    layer(&w, "post_quant_conv", (int[]){4, 4, 1, 1, 0});
    layer(&w, "decoder.conv_in", (int[]){4, 4, 3, 3, 0});
    residual(&w, "decoder.mid_block.resnets.0.");
    residual(&w, "decoder.mid_block.resnets.1.");
    layer(&w, "decoder.mid_block.attentions.0.group_norm", (int[]){4, 0});
    layers(&w, "decoder.mid_block.attentions.0.", (const char *const[]){"to_q", "to_k", "to_v", "to_out.0", NULL},
           (int[]){4, 4, 0});
    residual(&w, "decoder.up_blocks.0.resnets.0.");
    residual(&w, "decoder.up_blocks.0.resnets.1.");
    layer(&w, "decoder.conv_norm_out", (int[]){4, 0});
    layer(&w, "decoder.conv_out", (int[]){3, 4, 3, 3, 0});
    return weights_finish(&w, size);
}

const char tiny_transformer_config[] =
    "{\"family\":\"dit\",\"model\":{\"input_size\":2,\"patch_size\":1,\"hidden_size\":4,\"depth\":1,\"num_heads\":2,"
    "\"num_classes\":3,\"mlp_ratio\":1.0,\"class_dropout_prob\":0.1,\"in_channels\":4,\"learn_sigma\":false,"
    "\"frequency_embedding_size\":4}";

static void trunk(struct weights *w) {
    weights_add(w, "pos_embed", (int[]){1, 4, 4, 0});
    layer(w, "x_embedder.proj", (int[]){4, 4, 1, 1, 0});
    layer(w, "t_embedder.mlp.0", (int[]){4, 4, 0});
    layer(w, "t_embedder.mlp.2", (int[]){4, 4, 0});
    weights_add(w, "y_embedder.embedding_table.weight", (int[]){4, 4, 0});
    layer(w, "blocks.0.attn.qkv", (int[]){12, 4, 0});
    layers(w, "blocks.0.", (const char *const[]){"attn.proj", "mlp.fc1", "mlp.fc2", NULL}, (int[]){4, 4, 0});
    layer(w, "blocks.0.adaLN_modulation.1", (int[]){24, 4, 0});
}

static void head(struct weights *w) {
    layer(w, "final_layer.adaLN_modulation.1", (int[]){8, 4, 0});
    layer(w, "final_layer.linear", (int[]){4, 4, 0});
}

uint8_t *tiny_transformer(size_t *size) {
    struct weights w = {.length = 0};
    trunk(&w);
    head(&w);
    return weights_finish(&w, size);
}

uint8_t *tiny_transformer_shard(int part, size_t *size) {
    struct weights w = {.length = 0};
    part ? head(&w) : trunk(&w);
    return weights_finish(&w, size);
}

/* Adds `"name":"shard"` for every name of the header: what stands before `:{`. */
static void append_names(char *text, const char *header, const char *shard) {
    for (const char *end = header; (end = strstr(end, "\":{")); end++) {
        const char *start = end;
        while (start[-1] != '"') start--;
        sprintf(text + strlen(text), "%s\"%.*s\":\"%s\"", text[strlen(text) - 1] == '{' ? "" : ",", (int)(end - start), start,
                shard);
    }
}

char *tiny_transformer_index(void) {
    struct weights first = {.length = 0}, second = {.length = 0};
    char *text = malloc(16384);
    if (!text) abort();
    trunk(&first);
    head(&second);
    strcpy(text, "{\"metadata\":{},\"weight_map\":{");
    append_names(text, first.header, "s.safetensors");
    append_names(text, second.header, "t.safetensors");
    return strcat(text, "}}");
}

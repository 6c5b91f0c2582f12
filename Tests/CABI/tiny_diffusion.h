/* A tiny Stable Diffusion pipeline as diffusers saves it: 32 x 32 pixels by default, latents [4,4,4], texts of 16 tokens. */
#ifndef TINY_DIFFUSION_H
#define TINY_DIFFUSION_H

#include "tiny_families.h"

enum { DRAWN_SIDE = 32, DRAWN_LATENTS = 4 * 4 * 4, DRAWN_TOKENS = 16, DRAWN_TEXT = 12 };

/* The table that a part is written into, and what stands before the names of its tensors. */
static struct table *part_table;

__attribute__((format(printf, 2, 3))) HELPER void weight(float scale, const char *name_and_shape, ...) {
    char text[120];
    va_list arguments;
    va_start(arguments, name_and_shape);
    vsnprintf(text, sizeof text, name_and_shape, arguments);
    va_end(arguments);
    char *shape = strchr(text, ' ');
    *shape++ = 0;
    family_tensor(part_table, "", text, scale, shape);
}

HELPER void part_linear(const char *name, int out, int in, int has_bias) {
    weight(0.7f / sqrtf((float)in), "%s.weight %d,%d", name, out, in);
    if (has_bias) weight(0.02f, "%s.bias %d", name, out);
}

HELPER void part_conv(const char *name, int out, int in, int k) {
    weight(0.7f / sqrtf((float)(in * k * k)), "%s.weight %d,%d,%d,%d", name, out, in, k, k);
    weight(0.02f, "%s.bias %d", name, out);
}

HELPER void part_norm(const char *name, int width) {
    weight(1, "%s.weight %d", name, width);
    weight(0.05f, "%s.bias %d", name, width);
}

/* "prefix.name", valid for the next seven. */
HELPER const char *joined(const char *prefix, const char *name) {
    static char texts[8][160];
    static unsigned next;
    char *text = texts[next++ % 8];
    snprintf(text, sizeof *texts, "%s.%s", prefix, name);
    return text;
}

HELPER void part_resnet(const char *name, int out, int in, int time) {
    part_norm(joined(name, "norm1"), in);
    part_conv(joined(name, "conv1"), out, in, 3);
    if (time) part_linear(joined(name, "time_emb_proj"), out, time, 1);
    part_norm(joined(name, "norm2"), out);
    part_conv(joined(name, "conv2"), out, out, 3);
    if (in != out) part_conv(joined(name, "conv_shortcut"), out, in, 1);
}

HELPER void part_attention(const char *name, int width, int states, int has_bias) {
    part_linear(joined(name, "to_q"), width, width, has_bias);
    part_linear(joined(name, "to_k"), width, states, has_bias);
    part_linear(joined(name, "to_v"), width, states, has_bias);
    part_linear(joined(name, "to_out.0"), width, width, 1);
}

HELPER void part_transformer(const char *name, int width) {
    char block[160];
    part_norm(joined(name, "norm"), width);
    part_linear(joined(name, "proj_in"), width, width, 1);
    part_linear(joined(name, "proj_out"), width, width, 1);
    snprintf(block, sizeof block, "%s.transformer_blocks.0", name);
    part_norm(joined(block, "norm1"), width);
    part_norm(joined(block, "norm2"), width);
    part_norm(joined(block, "norm3"), width);
    part_attention(joined(block, "attn1"), width, width, 0);
    part_attention(joined(block, "attn2"), width, DRAWN_TEXT, 0);
    part_linear(joined(block, "ff.net.0.proj"), 8 * width, width, 1);
    part_linear(joined(block, "ff.net.2"), width, 4 * width, 1);
}

HELPER void unet_weights(struct table *table) {
    part_table = table;
    const int w = 8, time = 32;
    part_linear("time_embedding.linear_1", time, w, 1);
    part_linear("time_embedding.linear_2", time, time, 1);
    part_conv("conv_in", w, 4, 3);
    part_resnet("down_blocks.0.resnets.0", w, w, time);
    part_transformer("down_blocks.0.attentions.0", w);
    part_conv("down_blocks.0.downsamplers.0.conv", w, w, 3);
    part_resnet("down_blocks.1.resnets.0", w, w, time);
    part_resnet("mid_block.resnets.0", w, w, time);
    part_transformer("mid_block.attentions.0", w);
    part_resnet("mid_block.resnets.1", w, w, time);
    part_resnet("up_blocks.0.resnets.0", w, 2 * w, time);
    part_resnet("up_blocks.0.resnets.1", w, 2 * w, time);
    part_conv("up_blocks.0.upsamplers.0.conv", w, w, 3);
    part_resnet("up_blocks.1.resnets.0", w, 2 * w, time);
    part_resnet("up_blocks.1.resnets.1", w, 2 * w, time);
    part_transformer("up_blocks.1.attentions.0", w);
    part_transformer("up_blocks.1.attentions.1", w);
    part_norm("conv_norm_out", w);
    part_conv("conv_out", 4, w, 3);
}

/* Four levels of width 4, both halves: eight pixels to a latent. */
HELPER void vae_weights(struct table *table) {
    part_table = table;
    const int w = 4;
    for (int half = 0; half < 2; half++) {
        const char *side = half ? "decoder" : "encoder";
        char name[96];
        part_conv(joined(side, "conv_in"), w, half ? 4 : 3, 3);
        for (int level = 0; level < 4; level++) {
            for (int i = 0; i <= half; i++) {
                snprintf(name, sizeof name, "%s.%s.%d.resnets.%d", side, half ? "up_blocks" : "down_blocks", level, i);
                part_resnet(name, w, w, 0);
            }
            snprintf(name, sizeof name, "%s.%s.%d.%s.0.conv", side, half ? "up_blocks" : "down_blocks", level,
                     half ? "upsamplers" : "downsamplers");
            if (level < 3) part_conv(name, w, w, 3);
        }
        part_resnet(joined(side, "mid_block.resnets.0"), w, w, 0);
        part_resnet(joined(side, "mid_block.resnets.1"), w, w, 0);
        part_norm(joined(side, "mid_block.attentions.0.group_norm"), w);
        part_attention(joined(side, "mid_block.attentions.0"), w, w, 1);
        part_norm(joined(side, "conv_norm_out"), w);
        part_conv(joined(side, "conv_out"), half ? 3 : 8, w, 3);
    }
    part_conv("quant_conv", 8, 8, 1);
    part_conv("post_quant_conv", 4, 4, 1);
}

HELPER void text_weights(struct table *table) {
    part_table = table;
    const int w = DRAWN_TEXT;
    weight(0.5f, "text_model.embeddings.token_embedding.weight 514,%d", w);
    weight(0.2f, "text_model.embeddings.position_embedding.weight %d,%d", DRAWN_TOKENS, w);
    for (int i = 0; i < 2; i++) {
        static const char *const parts[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"};
        char layer[64];
        snprintf(layer, sizeof layer, "text_model.encoder.layers.%d", i);
        part_norm(joined(layer, "layer_norm1"), w);
        part_norm(joined(layer, "layer_norm2"), w);
        for (int k = 0; k < 4; k++) part_linear(joined(layer, parts[k]), w, w, 1);
        part_linear(joined(layer, "mlp.fc1"), 2 * w, w, 1);
        part_linear(joined(layer, "mlp.fc2"), w, 2 * w, 1);
    }
    part_norm("text_model.final_layer_norm", w);
}

/* A token for each byte, alone and at the end of a word, and the two around a text; no merges. */
HELPER void write_clip_tokenizer(void) {
    CHECK(!mkdir(in_place("sd/tokenizer"), 0700), "no sd/tokenizer");
    FILE *out = fopen(in_place("sd/tokenizer/vocab.json"), "w");
    CHECK(out, "no vocabulary");
    if (!out) return;
    fputs("{\"<|startoftext|>\":512,\"<|endoftext|>\":513", out);
    for (int byte = 0, next = 256; byte < 256; byte++) {
        int visible = (byte > 32 && byte < 127) || (byte > 160 && byte != 173), letter = visible ? byte : next++;
        fprintf(out, ",\"\\u%04x\":%d,\"\\u%04x</w>\":%d", letter, byte, letter, 256 + byte);
    }
    CHECK(fputs("}", out) >= 0 && !fclose(out), "no vocabulary");
    static const char merges[] = "#version: 0.2\n",
                      config[] =
                          "{\"bos_token\":\"<|startoftext|>\",\"eos_token\":\"<|endoftext|>\",\"pad_token\":\"<|endoftext|>\","
                          "\"unk_token\":\"<|endoftext|>\",\"tokenizer_class\":\"CLIPTokenizer\",\"model_max_length\":16}";
    write_data("sd/tokenizer/merges.txt", merges, strlen(merges), "", 0);
    write_data("sd/tokenizer/tokenizer_config.json", config, strlen(config), "", 0);
}

/* Writes the pipeline into the tests' folder and gives its path, valid for the next 32 calls of in_place. */
HELPER const char *write_diffusion(void) {
    static const char index[] =
        "{\"_class_name\":\"StableDiffusionPipeline\",\"unet\":[\"diffusers\",\"UNet2DConditionModel\"],\"vae\":[\"diffusers\","
        "\"AutoencoderKL\"],\"text_encoder\":[\"transformers\",\"CLIPTextModel\"],\"tokenizer\":[\"transformers\","
        "\"CLIPTokenizer\"],\"scheduler\":[\"diffusers\",\"PNDMScheduler\"]}",
                      scheduler[] =
                          "{\"_class_name\":\"PNDMScheduler\",\"beta_start\":0.00085,\"beta_end\":0.012,\"beta_schedule\":"
                          "\"scaled_linear\","
                          "\"steps_offset\":1,\"skip_prk_steps\":true,\"set_alpha_to_one\":false,\"clip_sample\":false}";
    CHECK(!mkdir(in_place("sd"), 0700) && !mkdir(in_place("sd/scheduler"), 0700), "no folder");
    write_data("sd/model_index.json", index, strlen(index), "", 0);
    write_data("sd/scheduler/scheduler_config.json", scheduler, strlen(scheduler), "", 0);
    write_family("sd/unet",
                 "{\"_class_name\":\"UNet2DConditionModel\",\"in_channels\":4,\"out_channels\":4,\"sample_size\":4,"
                 "\"block_out_channels\":[8,8],\"down_block_types\":[\"CrossAttnDownBlock2D\",\"DownBlock2D\"],"
                 "\"up_block_types\":[\"UpBlock2D\",\"CrossAttnUpBlock2D\"],\"layers_per_block\":1,"
                 "\"cross_attention_dim\":12,\"attention_head_dim\":2,\"norm_num_groups\":4,\"use_linear_projection\":true}",
                 unet_weights);
    write_family("sd/vae",
                 "{\"_class_name\":\"AutoencoderKL\",\"block_out_channels\":[4,4,4,4],\"layers_per_block\":1,"
                 "\"norm_num_groups\":2,\"latent_channels\":4,\"scaling_factor\":0.18215}",
                 vae_weights);
    write_family("sd/text_encoder",
                 "{\"architectures\":[\"CLIPTextModel\"],\"model_type\":\"clip_text_model\",\"hidden_size\":12,"
                 "\"intermediate_size\":24,\"num_attention_heads\":3,\"num_hidden_layers\":2,"
                 "\"max_position_embeddings\":16,\"vocab_size\":514,\"hidden_act\":\"quick_gelu\"}",
                 text_weights);
    write_clip_tokenizer();
    return in_place("sd");
}

#endif

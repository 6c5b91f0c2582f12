/* A tiny AudioLDM pipeline as diffusers saves it: 16 kHz, a latent [4,t,4] for every 40 values, texts of 16 tokens. */
#ifndef TINY_SOUNDS_H
#define TINY_SOUNDS_H

#include "tiny_diffusion.h"

enum { HEARD_RATE = 16000, HEARD_LATENT = 40, HEARD_BINS = 8, HEARD_VECTOR = 10, HEARD_TEXT = 12, HEARD_WORDS = 262 };

HELPER void heard_transformer(const char *name, int width) {
    char block[160];
    part_norm(joined(name, "norm"), width);
    part_conv(joined(name, "proj_in"), width, width, 1);
    part_conv(joined(name, "proj_out"), width, width, 1);
    snprintf(block, sizeof block, "%s.transformer_blocks.0", name);
    part_norm(joined(block, "norm1"), width);
    part_norm(joined(block, "norm2"), width);
    part_norm(joined(block, "norm3"), width);
    part_attention(joined(block, "attn1"), width, width, 0);
    part_attention(joined(block, "attn2"), width, width, 0);
    part_linear(joined(block, "ff.net.0.proj"), 8 * width, width, 1);
    part_linear(joined(block, "ff.net.2"), width, 4 * width, 1);
}

/* Widths 8 and 16, the second with transformers; resnets are told the time and the class vector. */
HELPER void heard_unet_weights(struct table *table) {
    part_table = table;
    const int time = 32, told = 64;
    part_linear("time_embedding.linear_1", time, 8, 1);
    part_linear("time_embedding.linear_2", time, time, 1);
    part_linear("class_embedding", time, HEARD_VECTOR, 1);
    part_conv("conv_in", 8, 4, 3);
    part_resnet("down_blocks.0.resnets.0", 8, 8, told);
    part_conv("down_blocks.0.downsamplers.0.conv", 8, 8, 3);
    part_resnet("down_blocks.1.resnets.0", 16, 8, told);
    heard_transformer("down_blocks.1.attentions.0", 16);
    part_resnet("mid_block.resnets.0", 16, 16, told);
    heard_transformer("mid_block.attentions.0", 16);
    part_resnet("mid_block.resnets.1", 16, 16, told);
    part_resnet("up_blocks.0.resnets.0", 16, 32, told);
    part_resnet("up_blocks.0.resnets.1", 16, 24, told);
    heard_transformer("up_blocks.0.attentions.0", 16);
    heard_transformer("up_blocks.0.attentions.1", 16);
    part_conv("up_blocks.0.upsamplers.0.conv", 16, 16, 3);
    part_resnet("up_blocks.1.resnets.0", 8, 24, told);
    part_resnet("up_blocks.1.resnets.1", 8, 16, told);
    part_norm("conv_norm_out", 8);
    part_conv("conv_out", 4, 8, 3);
}

/* Two levels of width 4, spectrograms in and out. */
HELPER void heard_vae_weights(struct table *table) {
    part_table = table;
    const int w = 4;
    for (int half = 0; half < 2; half++) {
        const char *side = half ? "decoder" : "encoder";
        char name[96];
        part_conv(joined(side, "conv_in"), w, half ? 4 : 1, 3);
        for (int level = 0; level < 2; level++) {
            for (int i = 0; i <= half; i++) {
                snprintf(name, sizeof name, "%s.%s.%d.resnets.%d", side, half ? "up_blocks" : "down_blocks", level, i);
                part_resnet(name, w, w, 0);
            }
            snprintf(name, sizeof name, "%s.%s.%d.%s.0.conv", side, half ? "up_blocks" : "down_blocks", level,
                     half ? "upsamplers" : "downsamplers");
            if (level < 1) part_conv(name, w, w, 3);
        }
        part_resnet(joined(side, "mid_block.resnets.0"), w, w, 0);
        part_resnet(joined(side, "mid_block.resnets.1"), w, w, 0);
        part_norm(joined(side, "mid_block.attentions.0.group_norm"), w);
        part_attention(joined(side, "mid_block.attentions.0"), w, w, 1);
        part_norm(joined(side, "conv_norm_out"), w);
        part_conv(joined(side, "conv_out"), half ? 1 : 8, w, 3);
    }
    part_conv("quant_conv", 8, 8, 1);
    part_conv("post_quant_conv", 4, 4, 1);
}

HELPER void heard_convolution(const char *name, int out, int in, int k) {
    weight(0.7f / sqrtf((float)(in * k)), "%s.weight %d,%d,%d", name, out, in, k);
    weight(0.02f, "%s.bias %d", name, out);
}

HELPER void vocoder_weights(struct table *table) {
    part_table = table;
    heard_convolution("conv_pre", 8, HEARD_BINS, 7);
    for (int stage = 0, width = 8; stage < 2; stage++, width /= 2) {
        char name[64];
        weight(0.3f, "upsampler.%d.weight %d,%d,%d", stage, width, width / 2, stage ? 8 : 16);
        weight(0.02f, "upsampler.%d.bias %d", stage, width / 2);
        for (int part = 1; part <= 2; part++) {
            snprintf(name, sizeof name, "resblocks.%d.convs%d.0", stage, part);
            heard_convolution(name, width / 2, width / 2, 3);
        }
    }
    heard_convolution("conv_post", 1, 2, 7);
}

HELPER void clap_weights(struct table *table) {
    part_table = table;
    const int w = HEARD_TEXT;
    weight(0.5f, "text_model.embeddings.word_embeddings.weight %d,%d", HEARD_WORDS, w);
    weight(0.5f, "text_model.embeddings.position_embeddings.weight 18,%d", w);
    weight(0.5f, "text_model.embeddings.token_type_embeddings.weight 1,%d", w);
    part_norm("text_model.embeddings.LayerNorm", w);
    for (int i = 0; i < 2; i++) {
        static const char *const parts[] = {"attention.self.query", "attention.self.key", "attention.self.value",
                                            "attention.output.dense"};
        char layer[64];
        snprintf(layer, sizeof layer, "text_model.encoder.layer.%d", i);
        for (int k = 0; k < 4; k++) part_linear(joined(layer, parts[k]), w, w, 1);
        part_norm(joined(layer, "attention.output.LayerNorm"), w);
        part_linear(joined(layer, "intermediate.dense"), 16, w, 1);
        part_linear(joined(layer, "output.dense"), w, 16, 1);
        part_norm(joined(layer, "output.LayerNorm"), w);
    }
    part_linear("text_model.pooler.dense", w, w, 1);
    part_linear("text_projection.linear1", HEARD_VECTOR, w, 1);
    part_linear("text_projection.linear2", HEARD_VECTOR, HEARD_VECTOR, 1);
}

/* A token for each byte, behind the four of RoBERTa, and the mask; no merges. */
HELPER void write_roberta_tokenizer(void) {
    CHECK(!mkdir(in_place("sounds/tokenizer"), 0700), "no sounds/tokenizer");
    FILE *out = fopen(in_place("sounds/tokenizer/vocab.json"), "w");
    CHECK(out, "no vocabulary");
    if (!out) return;
    fputs("{\"<s>\":0,\"<pad>\":1,\"</s>\":2,\"<unk>\":3,\"<mask>\":260", out);
    for (int byte = 0, next = 256; byte < 256; byte++) {
        int visible = (byte > 32 && byte < 127) || (byte > 160 && byte != 173), letter = visible ? byte : next++;
        fprintf(out, ",\"\\u%04x\":%d", letter, 4 + byte);
    }
    CHECK(fputs("}", out) >= 0 && !fclose(out), "no vocabulary");
    static const char merges[] = "#version: 0.2\n",
                      config[] =
                          "{\"bos_token\":\"<s>\",\"cls_token\":\"<s>\",\"eos_token\":\"</s>\",\"sep_token\":\"</s>\","
                          "\"pad_token\":\"<pad>\",\"unk_token\":\"<unk>\",\"mask_token\":\"<mask>\","
                          "\"tokenizer_class\":\"RobertaTokenizer\",\"model_max_length\":16}";
    write_data("sounds/tokenizer/merges.txt", merges, strlen(merges), "", 0);
    write_data("sounds/tokenizer/tokenizer_config.json", config, strlen(config), "", 0);
}

/* Writes the pipeline into the tests' folder and gives its path, valid for the next 32 calls of in_place. */
HELPER const char *write_sounds(void) {
    static const char index[] =
        "{\"_class_name\":\"AudioLDMPipeline\",\"unet\":[\"diffusers\",\"UNet2DConditionModel\"],\"vae\":[\"diffusers\","
        "\"AutoencoderKL\"],\"text_encoder\":[\"transformers\",\"ClapTextModelWithProjection\"],\"tokenizer\":["
        "\"transformers\","
        "\"RobertaTokenizerFast\"],\"vocoder\":[\"transformers\",\"SpeechT5HifiGan\"],"
        "\"scheduler\":[\"diffusers\",\"DDIMScheduler\"]}",
                      scheduler[] =
                          "{\"_class_name\":\"DDIMScheduler\",\"beta_start\":0.0015,\"beta_end\":0.0195,\"beta_schedule\":"
                          "\"scaled_linear\",\"steps_offset\":1,\"set_alpha_to_one\":false,\"clip_sample\":false}";
    CHECK(!mkdir(in_place("sounds"), 0700) && !mkdir(in_place("sounds/scheduler"), 0700), "no folder");
    write_data("sounds/model_index.json", index, strlen(index), "", 0);
    write_data("sounds/scheduler/scheduler_config.json", scheduler, strlen(scheduler), "", 0);
    write_family("sounds/unet",
                 "{\"_class_name\":\"UNet2DConditionModel\",\"in_channels\":4,\"out_channels\":4,\"sample_size\":16,"
                 "\"block_out_channels\":[8,16],\"down_block_types\":[\"DownBlock2D\",\"CrossAttnDownBlock2D\"],"
                 "\"up_block_types\":[\"CrossAttnUpBlock2D\",\"UpBlock2D\"],\"layers_per_block\":1,"
                 "\"cross_attention_dim\":[8,16],\"attention_head_dim\":4,\"norm_num_groups\":4,"
                 "\"class_embed_type\":\"simple_projection\",\"class_embeddings_concat\":true,"
                 "\"projection_class_embeddings_input_dim\":10}",
                 heard_unet_weights);
    write_family("sounds/vae",
                 "{\"_class_name\":\"AutoencoderKL\",\"block_out_channels\":[4,4],\"layers_per_block\":1,"
                 "\"norm_num_groups\":2,\"latent_channels\":4,\"in_channels\":1,\"out_channels\":1,\"scaling_factor\":0.9}",
                 heard_vae_weights);
    write_family("sounds/vocoder",
                 "{\"architectures\":[\"SpeechT5HifiGan\"],\"model_type\":\"hifigan\",\"model_in_dim\":8,"
                 "\"sampling_rate\":16000,\"upsample_initial_channel\":8,\"upsample_rates\":[5,4],"
                 "\"upsample_kernel_sizes\":[16,8],\"resblock_kernel_sizes\":[3],\"resblock_dilation_sizes\":[[1]],"
                 "\"normalize_before\":false}",
                 vocoder_weights);
    write_family("sounds/text_encoder",
                 "{\"architectures\":[\"ClapTextModelWithProjection\"],\"model_type\":\"clap_text_model\",\"hidden_size\":12,"
                 "\"intermediate_size\":16,\"num_attention_heads\":3,\"num_hidden_layers\":2,\"max_position_embeddings\":18,"
                 "\"vocab_size\":262,\"type_vocab_size\":1,\"projection_dim\":10}",
                 clap_weights);
    write_roberta_tokenizer();
    return in_place("sounds");
}

#endif

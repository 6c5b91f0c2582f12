/* A tiny MAR: nine tokens of four numbers, two blocks each way. */
#ifndef TINY_MAR_H
#define TINY_MAR_H

#include "tiny_families.h"

enum { MAR_TOKENS = 9, MAR_CHANNELS = 4, MAR_STATE = MAR_TOKENS * MAR_CHANNELS, MAR_HEAD_STEPS = 10 };

HELPER void mar_norm(struct table *table, const char *name, const char *size) {
    family_tensor(table, name, "weight", 1, size);
    family_tensor(table, name, "bias", 0.05f, size);
}

HELPER void mar_weights(struct table *table) {
    const int w = FAMILY_WIDTH;
    char name[96], part[128];
    family_tensor(table, "", "fake_latent", 0.8f, "1,32");
    family_tensor(table, "class_emb", "weight", 0.8f, "5,32");
    family_tensor(table, "", "encoder_pos_embed_learned", 0.5f, "1,11,32");
    family_tensor(table, "", "decoder_pos_embed_learned", 0.5f, "1,11,32");
    family_tensor(table, "", "mask_token", 0.5f, "1,1,32");
    family_tensor(table, "", "diffusion_pos_embed_learned", 0.5f, "1,9,32");
    linear(table, "z_proj", w, MAR_CHANNELS);
    mar_norm(table, "z_proj_ln", "32");
    linear(table, "decoder_embed", w, w);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s_blocks.%d", i < 2 ? "encoder" : "decoder", i % 2);
        for (int k = 1; k <= 2; k++) {
            snprintf(part, sizeof part, "%s.norm%d", name, k);
            mar_norm(table, part, "32");
        }
        family_linear(table, name, "attn.qkv", 3 * w, w);
        family_linear(table, name, "attn.proj", w, w);
        family_linear(table, name, "mlp.fc1", 4 * w, w);
        family_linear(table, name, "mlp.fc2", w, 4 * w);
    }
    mar_norm(table, "encoder_norm", "32");
    mar_norm(table, "decoder_norm", "32");
    const char *head = "diffloss.net";
    family_linear(table, head, "time_embed.mlp.0", w, 256);
    family_linear(table, head, "time_embed.mlp.2", w, w);
    family_linear(table, head, "cond_embed", w, w);
    family_linear(table, head, "input_proj", w, MAR_CHANNELS);
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s.res_blocks.%d", head, i);
        snprintf(part, sizeof part, "%s.in_ln", name);
        mar_norm(table, part, "32");
        family_linear(table, name, "mlp.0", w, w);
        family_linear(table, name, "mlp.2", w, w);
        family_linear(table, name, "adaLN_modulation.1", 3 * w, w);
    }
    family_linear(table, head, "final_layer.linear", 2 * MAR_CHANNELS, w);
    family_linear(table, head, "final_layer.adaLN_modulation.1", 2 * w, w);
}

HELPER const char *write_mar(void) {
    return write_family("mar",
                        "{\"family\":\"mar\",\"encoder_num_heads\":4,\"decoder_num_heads\":4,\"num_iter\":4,\"cfg\":2,"
                        "\"num_sampling_steps\":\"ddim10\"}",
                        mar_weights);
}

#endif

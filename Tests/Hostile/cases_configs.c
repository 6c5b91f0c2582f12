/* Configs of both families, as text of the caller over good weights, and as config.json. */
#include "hostile.h"

#include <sys/stat.h>

#define MEMBERS                                                                                                            \
    "\"input_size\":2,\"patch_size\":1,\"hidden_size\":4,\"depth\":1,\"num_heads\":2,\"num_classes\":3,\"mlp_ratio\":1.0," \
    "\"class_dropout_prob\":0.1,\"in_channels\":4,\"learn_sigma\":false,\"frequency_embedding_size\":4"
#define DIT(rest) "{\"family\":\"dit\",\"model\":{" MEMBERS "}" rest "}"
#define SOURCE    "options.config: "

static const struct hostile transformers[] = {
    {"good", DIT(""), 0, DA_OK, ""},
    {"unknown members", DIT(",\"x\":[1,{\"y\":null}]"), 0, DA_OK, ""},
    {"empty", "", 0, DA_FORMAT, SOURCE "empty"},
    {"spaces", "  \n", 0, DA_FORMAT, SOURCE "bad JSON"},
    {"cut", "{\"family\":\"dit\",", 0, DA_FORMAT, SOURCE "bad JSON at line 1"},
    {"an array", "[]", 0, DA_FORMAT, "expected an object"},
    {"a number", "1", 0, DA_FORMAT, "expected an object"},
    {"null", "null", 0, DA_FORMAT, "expected an object"},
    {"byte order mark", "\xef\xbb\xbf" DIT(""), 0, DA_OK, ""},
    {"no members", "{}", 0, DA_UNSUPPORTED, "family"},
    {"another family", "{\"family\":\"unet\"}", 0, DA_UNSUPPORTED, "unet"},
    {"family as number", "{\"family\":1}", 0, DA_FORMAT, "family"},
    {"family of the other", "{\"family\":\"autoencoder_kl\"}", 0, DA_INCOMPATIBLE, "x.safetensors: the weights do not fit"},
    {"model as array", "{\"family\":\"dit\",\"model\":[]}", 0, DA_FORMAT, "model: expected an object"},
    {"model empty", "{\"family\":\"dit\",\"model\":{}}", 0, DA_FORMAT, "model.hidden_size: missing"},
    {"duplicate", "{\"family\":\"dit\",\"family\":\"dit\"}", 0, DA_FORMAT, "duplicate"},
    {"labels of another number", DIT(",\"labels\":[\"a\"]"), 0, DA_FORMAT, "labels: 1 names for 3 classes"},
    {"labels as numbers", DIT(",\"labels\":[1,2,3]"), 0, DA_FORMAT, "labels"},
    {"labels as text", DIT(",\"labels\":\"abc\""), 0, DA_FORMAT, "labels"},
    {"guidance as text", DIT(",\"cfg_scale\":\"1\""), 0, DA_FORMAT, "cfg_scale"},
    {"guidance below", DIT(",\"cfg_scale\":-1"), 0, DA_FORMAT, "cfg_scale"},
    {"guidance above", DIT(",\"cfg_scale\":1e300"), 0, DA_FORMAT, "cfg_scale"},
    {"guided channels above", DIT(",\"cfg_channels\":5"), 0, DA_FORMAT, "cfg_channels"},
    {"guided channels none", DIT(",\"cfg_channels\":0"), 0, DA_FORMAT, "cfg_channels"},
    {"a block more",
     "{\"family\":\"dit\",\"model\":{\"input_size\":2,\"patch_size\":1,\"hidden_size\":4,\"depth\":2,\"num_heads\":2}}", 0,
     DA_SHAPE, "missing: blocks.1.adaLN_modulation.1.bias"},
    {"4096 blocks", "{\"family\":\"dit\",\"model\":{\"hidden_size\":4,\"depth\":4096,\"num_heads\":2}}", 0, DA_INCOMPATIBLE,
     "tensors cannot be 4096 blocks"},
    {"output as text", DIT(",\"output\":\"pixels\""), 0, DA_FORMAT, "output"},
    {"output of a kind", DIT(",\"output\":{\"kind\":\"voxels\"}"), 0, DA_FORMAT, "output.kind"},
    {"output range", DIT(",\"output\":{\"range\":[0,1]}"), 0, DA_FORMAT, "output.range"},
    {"output range of three", DIT(",\"output\":{\"range\":[-1,1,1]}"), 0, DA_FORMAT, "output.range"},
};

#define VAE(change) "{\"_class_name\":\"AutoencoderKL\",\"latent_channels\":4," change "}"
#define LEVELS      "\"block_out_channels\":[4],\"layers_per_block\":1,\"norm_num_groups\":2"

static const struct hostile autoencoders[] = {
    {"good", VAE(LEVELS), 0, DA_OK, ""},
    {"defaults", "{\"_class_name\":\"AutoencoderKL\"}", 0, DA_SHAPE, "wrongly shaped: decoder.conv_in"},
    {"no levels", VAE("\"block_out_channels\":[]"), 0, DA_FORMAT, "block_out_channels must name 1 to 8"},
    {"nine levels", VAE("\"block_out_channels\":[4,4,4,4,4,4,4,4,4],\"norm_num_groups\":2"), 0, DA_FORMAT, "1 to 8 levels"},
    {"levels as number", VAE("\"block_out_channels\":4"), 0, DA_FORMAT, "block_out_channels"},
    {"a level of zero", VAE("\"block_out_channels\":[0]"), 0, DA_FORMAT, "block_out_channels[0]"},
    {"a level below", VAE("\"block_out_channels\":[-4]"), 0, DA_FORMAT, "block_out_channels[0]"},
    {"a level above", VAE("\"block_out_channels\":[4,16385]"), 0, DA_FORMAT, "block_out_channels[1]"},
    {"a level as text", VAE("\"block_out_channels\":[\"4\"]"), 0, DA_FORMAT, "block_out_channels[0]"},
    {"no groups", VAE("\"norm_num_groups\":0"), 0, DA_FORMAT, "norm_num_groups"},
    {"groups that do not divide", VAE("\"block_out_channels\":[4],\"norm_num_groups\":3"), 0, DA_FORMAT,
     "4 channels are not divisible into 3 groups"},
    {"no layers", VAE("\"layers_per_block\":0"), 0, DA_FORMAT, "layers_per_block"},
    {"layers above", VAE("\"layers_per_block\":65"), 0, DA_FORMAT, "layers_per_block"},
    {"layers the weights do not have", VAE("\"block_out_channels\":[4],\"layers_per_block\":64,\"norm_num_groups\":2"), 0,
     DA_INCOMPATIBLE, "tensors cannot be 65 blocks"},
    {"one layer more", VAE("\"block_out_channels\":[4],\"layers_per_block\":2,\"norm_num_groups\":2"), 0, DA_INCOMPATIBLE,
     "missing: decoder.up_blocks.0.resnets.2.conv1.bias"},
    {"latents of zero", "{\"_class_name\":\"AutoencoderKL\",\"latent_channels\":0}", 0, DA_FORMAT, "latent_channels"},
    {"latents above", "{\"_class_name\":\"AutoencoderKL\",\"latent_channels\":1025}", 0, DA_FORMAT, "latent_channels"},
    {"scale of zero", VAE("\"scaling_factor\":0"), 0, DA_FORMAT, "scaling_factor"},
    {"scale below", VAE("\"scaling_factor\":-1"), 0, DA_FORMAT, "scaling_factor"},
    {"scale beyond numbers", VAE("\"scaling_factor\":1e400"), 0, DA_FORMAT, SOURCE "bad JSON"},
    {"scale subnormal", VAE("\"scaling_factor\":5e-324"), 0, DA_FORMAT, "scaling_factor"},
    {"shift above", VAE("\"shift_factor\":1e300"), 0, DA_FORMAT, "shift_factor"},
    {"activation of others", VAE("\"act_fn\":\"gelu\""), 0, DA_UNSUPPORTED, "act_fn"},
    {"flag as number", VAE("\"use_quant_conv\":2"), 0, DA_FORMAT, "use_quant_conv"},
    {"flag as text", VAE("\"use_post_quant_conv\":\"yes\""), 0, DA_FORMAT, "use_post_quant_conv"},
    {"channels out of none", VAE(LEVELS ",\"out_channels\":0"), 0, DA_FORMAT, "out_channels"},
    {"channels the weights do not have", VAE(LEVELS ",\"out_channels\":4"), 0, DA_SHAPE, "decoder.conv_out"},
    {"without the last projection", VAE(LEVELS ",\"use_post_quant_conv\":false"), 0, DA_INCOMPATIBLE,
     "unused: post_quant_conv"},
    {"width the weights do not have", VAE("\"block_out_channels\":[8],\"layers_per_block\":1,\"norm_num_groups\":2"), 0,
     DA_SHAPE, "wrongly shaped: decoder.conv_in"},
};

/* Every number of a transformer's config at feared values: all are out of range, or do not fit the weights. */
static void members(const char *path) {
    static const char *const names[] = {"input_size",  "patch_size", "hidden_size", "depth",       "num_heads",
                                        "num_classes", "mlp_ratio",  "in_channels", "learn_sigma", "frequency_embedding_size"};
    static const char *const values[] = {
        "0",     "-1",    "4097", "65537", "1000000000", "9223372036854775807", "18446744073709551615",
        "1e308", "\"1\"", "[]",   "null",  "0.5"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
            char text[1024] = "{\"family\":\"dit\",\"model\":{", id[64], key[64];
            const char *members = MEMBERS;
            snprintf(key, sizeof key, "\"%s\":", names[i]);
            const char *at = strstr(members, key) + strlen(key), *rest = strchr(at, ',');
            snprintf(text + strlen(text), sizeof text - strlen(text), "%.*s%s%s}}", (int)(at - members), members, values[k],
                     rest ? rest : "");
            snprintf(id, sizeof id, "%s = %s", names[i], values[k]);
            da_model model = NULL;
            da_model_options options;
            da_model_options_init(&options, sizeof options);
            options.config = text;
            int32_t status = da_model_open(path, &options, &model);
            /* null is as good as absent: the default is what these weights have, or does not fit them. 0 is false. */
            if (!strcmp(id, "in_channels = null") || !strcmp(id, "learn_sigma = 0")) {
                CHECK(status == DA_OK, "%s: %s", id, da_last_error());
                da_model_close(model);
                continue;
            }
            CHECK(status == DA_FORMAT || status == DA_SHAPE || status == DA_INCOMPATIBLE, "%s gives %s (%s)", id,
                  da_status_name(status), da_last_error());
            if (status == DA_FORMAT)
                CHECK(strstr(da_last_error(), "options.config") != NULL, "%s: no place in: %s", id, da_last_error());
            else CHECK(strstr(da_last_error(), "x.safetensors") != NULL, "%s: no place in: %s", id, da_last_error());
            if (model) da_model_close(model);
        }
}

/* Some of the same as config.json beside the weights. */
static void files(const uint8_t *image, size_t size) {
    static const struct hostile texts[] = {
        {"empty file", "", 0, DA_FORMAT, "config.json: empty"},
        {"bad", "{\n\"a\":\n}", 0, DA_FORMAT, "config.json: bad JSON at line 3"},
        {"duplicate", "{\"a\":1,\"a\":2}", 0, DA_FORMAT, "config.json: bad JSON"},
        {"an array", "[]", 0, DA_FORMAT, "config.json: expected an object"},
        {"not UTF-8", "{\"\xff\":1}", 0, DA_FORMAT, "config.json: bad JSON"},
        {"wrong depth", "{\"family\":\"dit\",\"model\":{\"depth\":true}}", 0, DA_FORMAT, "config.json: model."},
        {"good", DIT(""), 0, DA_OK, ""}};
    char path[512];
    snprintf(path, sizeof path, "%s/configs", hostile_folder());
    mkdir(path, 0700);
    hostile_write("configs/model.safetensors", image, size);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        hostile_write("configs/config.json", texts[i].text, strlen(texts[i].text));
        hostile_open(texts[i].id, path, NULL, NULL, size, texts[i].status, texts[i].part);
    }
    hostile_remove("configs");
}

void cases_configs(void) {
    size_t size;
    uint8_t *image = tiny_transformer(&size);
    const char *path = hostile_write("x.safetensors", image, size);
    for (size_t i = 0; i < sizeof transformers / sizeof *transformers; i++) {
        const struct hostile *h = &transformers[i];
        hostile_open(h->id, path, NULL, h->text, size, h->status, h->part);
    }
    members(path);
    files(image, size);
    free(image);
    image = tiny_autoencoder(&size);
    path = hostile_write("x.safetensors", image, size);
    for (size_t i = 0; i < sizeof autoencoders / sizeof *autoencoders; i++) {
        const struct hostile *h = &autoencoders[i];
        hostile_open(h->id, path, NULL, h->text, size, h->status, h->part);
    }
    free(image);
}

/* Pipelines of Stable Diffusion that are none: parts of other checkpoints, missing ones, tokenizers and updates of other
 * models, numbers that contradict the weights. */
#include "hostile.h"
#include "pipelines.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* Opens `path` under `settings` and judges it; a model that opens is closed. */
static void opened(const char *id, const char *path, const char *settings, int32_t status, const char *part) {
    da_model model = (da_model)(uintptr_t)1;
    da_model_options options;
    da_model_options_init(&options, sizeof options);
    options.settings = settings;
    int32_t found;
    HOSTILE_METERED(id, pipeline_size(), status, part, found, model, found = da_model_open(path, &options, &model));
    if (found == DA_OK) da_model_close(model);
}

static const struct {
    const char *kind, *folder, *part;
    int32_t status;
    const char *words;
} parts[] = {
    {"sd", "text_encoder", "clip_pooled", DA_OK, ""},
    {"sd", "text_encoder", "vae", DA_INCOMPATIBLE, "text_encoder/diffusion_pytorch_model.safetensors: the weights do not fit"},
    {"sd", "unet", "unet_xl", DA_INCOMPATIBLE, "take all parts from one checkpoint"},
    {"sd", "unet", "mmdit", DA_UNSUPPORTED, "unet/config.json: _class_name"},
    {"sd", "vae", "vae_sd3", DA_INCOMPATIBLE, "16 latent channels, the network makes 4"},
    {"sd", "vae", "clip", DA_INCOMPATIBLE, "vae/model.safetensors: the weights do not fit"},
    {"sd", "vae", "taesd", DA_OK, ""},
    {"sdxl", "text_encoder", "mmdit", DA_INCOMPATIBLE, "text_encoder/diffusion_pytorch_model.safetensors: the weights do not"},
    {"sdxl", "text_encoder_2", "clip", DA_INCOMPATIBLE, "text_encoder_2 has no text_projection"},
    {"sdxl", "unet", "unet", DA_INCOMPATIBLE, "take all parts from one checkpoint"},
    {"sd3", "transformer", "unet", DA_UNSUPPORTED, "transformer/config.json: _class_name"},
    {"sd3", "transformer", "vae_sd3", DA_UNSUPPORTED, "transformer/config.json: _class_name"},
    {"sd3", "vae", "vae", DA_INCOMPATIBLE, "4 latent channels, the network makes 16"},
    {"sd3", "text_encoder", "clip", DA_INCOMPATIBLE, "text_encoder has no text_projection"},
};

static void wrong_parts(void) {
    for (size_t i = 0; i < COUNT(parts); i++) {
        char id[96], name[96];
        snprintf(id, sizeof id, "%s with %s for %s", parts[i].kind, parts[i].part, parts[i].folder);
        snprintf(name, sizeof name, "pipeline/%s", parts[i].folder);
        const char *path = pipeline_write("pipeline", parts[i].kind);
        pipeline_part(name, parts[i].part);
        opened(id, path, NULL, parts[i].status, parts[i].words);
    }
}

/* Folders missing one by one. Networks, encoders and tokenizers are asked for by name where they are needed. */
static void missing_parts(void) {
    static const char *const kinds[] = {"sd", "sdxl", "sd3"};
    for (size_t k = 0; k < COUNT(kinds); k++) {
        const char *sub;
        json_t *part;
        json_object_foreach(pipeline_parts(kinds[k]), sub, part) {
            char id[96], name[96];
            snprintf(id, sizeof id, "%s without %s", kinds[k], sub);
            snprintf(name, sizeof name, "pipeline/%s", sub);
            const char *path = pipeline_write("pipeline", kinds[k]);
            hostile_remove(name);
            int32_t status = DA_OK;
            const char *words = "";
            if (!strncmp(sub, "tokenizer", 9))
                status = DA_IO, words = "name a folder that has one with the setting \"tokenizer\"";
            if (!strcmp(sub, "unet") || !strcmp(sub, "transformer")) status = DA_IO, words = sub;
            /* One encoder of several gives states of another width than the network takes. */
            if (!strncmp(sub, "text_encoder", 12) && strcmp(kinds[k], "sd"))
                status = DA_INCOMPATIBLE, words = "take all parts from one checkpoint";
            opened(id, path, NULL, status, words);
        }
        const char *path = pipeline_write("pipeline", kinds[k]);
        hostile_remove("pipeline/scheduler");
        opened("no scheduler", path, NULL, DA_OK, "");
        pipeline_write("pipeline", kinds[k]);
        hostile_remove("pipeline/model_index.json");
        opened("no index", path, NULL, DA_IO, "pipeline");
    }
}

static void tokenizers(void) {
    static const int sizes[] = {1, 100, 5000};
    char words[128];
    for (size_t i = 0; i < COUNT(sizes); i++) {
        const char *path = pipeline_write("pipeline", "sd");
        pipeline_tokenizer("pipeline/tokenizer", "<|endoftext|>", sizes[i]);
        snprintf(words, sizeof words, "tokenizer has %d tokens, text_encoder knows 522: take both from one checkpoint",
                 522 + sizes[i]);
        opened("a larger vocabulary", path, NULL, DA_INCOMPATIBLE, words);
    }
    const char *path = pipeline_write("pipeline", "sd");
    pipeline_tokenizer("pipeline/tokenizer", "<|endoftext|>", -3);
    opened("a smaller vocabulary", path, NULL, DA_OK, "");
    pipeline_tokenizer("pipeline/tokenizer", "<pad>", 0);
    opened("a padding that is no token", path, NULL, DA_FORMAT, "the pad_token \"<pad>\" is not in the vocabulary");
    static const struct hostile configs[] = {
        {"padding in front", "{\"padding_side\":\"left\"}", 0, DA_UNSUPPORTED, "padding_side"},
        {"capitals", "{\"tokenizer_class\":\"CLIPTokenizer\",\"do_lower_case\":false}", 0, DA_UNSUPPORTED, "do_lower_case"},
        {"the end kept", "{\"truncation_side\":\"left\"}", 0, DA_UNSUPPORTED, "truncation_side"},
        {"a length of no tokens", "{\"model_max_length\":0}", 0, DA_FORMAT, "model_max_length"},
        {"no token", "{\"pad_token\":7}", 0, DA_FORMAT, "tokenizer_config.json"},
        {"a list", "[]", 0, DA_FORMAT, "tokenizer_config.json"},
    };
    for (size_t i = 0; i < COUNT(configs); i++) {
        pipeline_write("pipeline", "sd");
        hostile_write("pipeline/tokenizer/tokenizer_config.json", configs[i].text, strlen(configs[i].text));
        opened(configs[i].id, path, NULL, configs[i].status, configs[i].part);
    }
}

static void updates(void) {
    char settings[700];
    const char *path = pipeline_write("pipeline", "sd");
    const char *kinds[] = {"unet", "unet_xl"};
    for (size_t i = 0; i < 2; i++) {
        snprintf(settings, sizeof settings, "{\"lora\":\"%s\"}", pipeline_lora("lora.safetensors", kinds[i]));
        opened(i ? "a LoRA of another model" : "a LoRA of the model", path, settings, i ? DA_SHAPE : DA_OK,
               i ? "it was made for another model" : "");
        if (i) continue;
        pipeline_write("pipeline", "sd3");
        opened("a LoRA for a network that is not there", path, settings, DA_INCOMPATIBLE, "lora.safetensors");
        pipeline_write("pipeline", "sd");
    }
    snprintf(settings, sizeof settings, "{\"lora\":\"%s/unet/diffusion_pytorch_model.safetensors\"}", path);
    opened("weights for a LoRA", path, settings, DA_UNSUPPORTED,
           "diffusion_pytorch_model.safetensors: no LoRA that is read here");
    hostile_write("lora.safetensors", "hello", 5);
    snprintf(settings, sizeof settings, "{\"lora\":[{\"path\":\"%s/lora.safetensors\",\"scale\":0.5}]}", hostile_folder());
    opened("a text for a LoRA", path, settings, DA_FORMAT, "lora.safetensors");
    snprintf(settings, sizeof settings, "{\"lora\":\"%s/tokenizer\"}", path);
    opened("a folder for a LoRA", path, settings, DA_IO, "pipeline/tokenizer");
    static const struct hostile others[] = {
        {"no path", "{\"lora\":[{\"scale\":1}]}", 0, DA_INVALID_ARGUMENT, "lora[0]"},
        {"a number", "{\"lora\":[7]}", 0, DA_INVALID_ARGUMENT, "lora[0]"},
        {"a scale beyond all", "{\"lora\":{\"path\":\"x\",\"scale\":1e30}}", 0, DA_INVALID_ARGUMENT, "scale"},
        {"nowhere", "{\"lora\":\"/nowhere/at all\"}", 0, DA_IO, "/nowhere/at all"},
        {"a decoder of words", "{\"decoder\":\"vae\"}", 0, DA_INVALID_ARGUMENT, "decoder"},
        {"a tokenizer nowhere", "{\"tokenizer\":\"/nowhere\"}", 0, DA_IO, "/nowhere"},
        {"a variant that is not there", "{\"variant\":\"fp8\"}", 0, DA_IO, "fp8"},
        {"a variant up the tree", "{\"variant\":\"../x\"}", 0, DA_IO, "no weights of variant \"../x\""},
    };
    for (size_t i = 0; i < COUNT(others); i++) opened(others[i].id, path, others[i].text, others[i].status, others[i].part);
}

/* Numbers of the configurations that contradict the weights: a refusal by a documented status, or a model, and no more memory
 * than that takes. */
static void contradictions(void) {
    static const struct {
        const char *kind, *folder, *part;
    } places[] = {{"sd", "unet", "unet"},
                  {"sdxl", "unet", "unet_xl"},
                  {"sd3", "transformer", "mmdit"},
                  {"sd", "vae", "vae"},
                  {"sd", "text_encoder", "clip"}};
    for (size_t p = 0; p < COUNT(places); p++) {
        const char *path = pipeline_write("pipeline", places[p].kind), *key;
        json_t *config = pipeline_config(places[p].part), *value;
        char name[128];
        snprintf(name, sizeof name, "pipeline/%s/config.json", places[p].folder);
        json_object_foreach(config, key, value) {
            if (*key == '_' || json_is_string(value)) continue;
            for (const char *const *n = hostile_numbers; *n; n++) {
                json_t *number = json_loads(*n, JSON_DECODE_ANY, NULL), *changed = json_deep_copy(config);
                /* What is no number for this reader goes in as text, and so is one wrong value more. */
                json_object_set_new(changed, key, number ? number : json_string(*n));
                pipeline_json(name, changed);
                json_decref(changed);
                char id[160];
                snprintf(id, sizeof id, "%s: %s: %s", places[p].part, key, *n);
                da_model model = (da_model)(uintptr_t)1;
                int32_t found;
                HOSTILE_METERED(id, pipeline_size(), found, "pipeline", found, model,
                                found = da_model_open(path, NULL, &model));
                CHECK(found != DA_INTERNAL, "%s: %s", id, da_last_error());
                if (found == DA_OK) da_model_close(model);
            }
        }
        json_decref(config);
    }
}

void cases_pipelines(void) {
    wrong_parts();
    missing_parts();
    tokenizers();
    updates();
    contradictions();
    hostile_remove("pipeline");
}

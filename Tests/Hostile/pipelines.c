#include "pipelines.h"
#include "hostile.h"

#include <math.h>
#include <sys/stat.h>

static size_t written;

size_t pipeline_size(void) { return written; }

static json_t *data(void) {
    static json_t *stored;
    json_error_t error;
    if (!stored && !(stored = json_load_file(PIPELINE_DATA, 0, &error))) {
        fprintf(stderr, "%s: %s\n", PIPELINE_DATA, error.text);
        exit(2);
    }
    return stored;
}

static json_t *entry(const char *part) {
    json_t *found = json_object_get(json_object_get(data(), "parts"), part);
    if (!found) exit(2);
    return found;
}

/* Names and extents; a part may be like another, but for some tensors. */
static json_t *tensors(const char *part) {
    json_t *own = json_object_get(entry(part), "tensors"), *like = json_object_get(entry(part), "like");
    json_t *all = like ? tensors(json_string_value(like)) : json_object();
    json_object_update(all, own);
    return all;
}

json_t *pipeline_config(const char *part) { return json_deep_copy(json_object_get(entry(part), "config")); }

json_t *pipeline_parts(const char *kind) {
    return json_object_get(json_object_get(json_object_get(data(), "pipelines"), kind), "parts");
}

static void folder(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", hostile_folder(), name);
    if (mkdir(path, 0700)) CHECK(0, "the folder %s", path);
}

size_t pipeline_json(const char *name, json_t *json) {
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
    size_t size = text ? strlen(text) : 0;
    hostile_write(name, text ? text : "", size);
    written += size;
    free(text);
    return size;
}

/* Small numbers, the same on every machine; of a norm's weights near one. */
static float number(const char *name, size_t rank, double inputs) {
    static uint32_t state = 7;
    state = state * 1664525u + 1013904223u;
    double drawn = 2 * ((state >> 8) / 16777216.0) - 1;
    size_t length = strlen(name);
    if (rank > 1) return (float)(drawn * sqrt(3 / inputs));
    return (float)(length > 6 && !strcmp(name + length - 6, "weight") ? 1 + 0.1 * drawn : 0.1 * drawn);
}

/* A safetensors file of tensors {name: extents}. */
static void weights(const char *path, json_t *shapes) {
    json_t *header = json_object(), *shape;
    const char *name;
    size_t bytes = 0, at = 0;
    json_object_foreach(shapes, name, shape) {
        size_t count = 1, axis;
        json_t *extent;
        json_array_foreach(shape, axis, extent) count *= (size_t)json_integer_value(extent);
        json_object_set_new(header, name,
                            json_pack("{s:s,s:O,s:[I,I]}", "dtype", "F32", "shape", shape, "data_offsets", (json_int_t)bytes,
                                      (json_int_t)(bytes + 4 * count)));
        bytes += 4 * count;
    }
    char *text = json_dumps(header, JSON_COMPACT);
    size_t size, length = strlen(text);
    uint8_t *image = hostile_image(text, length, length, bytes, &size);
    float *to = malloc(bytes);
    if (!to) exit(2);
    json_object_foreach(shapes, name, shape) {
        size_t rank = json_array_size(shape), count = 1, inputs = 1;
        for (size_t axis = 0; axis < rank; axis++) {
            size_t extent = (size_t)json_integer_value(json_array_get(shape, axis));
            count *= extent;
            if (axis) inputs *= extent;
        }
        for (size_t i = 0; i < count; i++) to[at++] = number(name, rank, (double)inputs);
    }
    memcpy(image + 8 + length, to, bytes);
    hostile_write(path, image, size);
    written += size;
    free(to), free(image), free(text);
    json_decref(header);
}

void pipeline_part(const char *name, const char *part) {
    char path[256];
    hostile_remove(name);
    folder(name);
    snprintf(path, sizeof path, "%s/config.json", name);
    json_t *config = pipeline_config(part), *shapes = tensors(part);
    pipeline_json(path, config);
    snprintf(path, sizeof path, "%s/%s", name, json_string_value(json_object_get(entry(part), "file")));
    weights(path, shapes);
    json_decref(config), json_decref(shapes);
}

static const char *const merges[] = {"t h", "th e</w>", "c a", "ca t</w>", "i n", "in g</w>", "r e", "re d</w>"};

/* The character that stands for `byte`, in UTF-8: itself where it can be seen, else one behind the first 256. */
static const char *letter(int byte) {
    static char text[4];
    int hidden = 0, code = byte;
    for (int other = 0; other <= byte; other++)
        if (other < 33 || other == 127 || (other > 127 && other < 161) || other == 173) {
            if (other == byte) code = 256 + hidden;
            hidden++;
        }
    memset(text, 0, sizeof text);
    if (code < 128) text[0] = (char)code;
    else text[0] = (char)(0xc0 | code >> 6), text[1] = (char)(0x80 | (code & 63));
    return text;
}

void pipeline_tokenizer(const char *name, const char *padding, int more) {
    char path[256], word[64], lines[512] = "#version: 0.2\n";
    json_t *words = json_object();
    int next = 0;
    hostile_remove(name);
    folder(name);
    for (int end = 0; end < 2; end++)
        for (int byte = 0; byte < 256; byte++) {
            snprintf(word, sizeof word, "%s%s", letter(byte), end ? "</w>" : "");
            json_object_set_new(words, word, json_integer(next++));
        }
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) {
        const char *space = strchr(merges[i], ' ');
        snprintf(word, sizeof word, "%.*s%s", (int)(space - merges[i]), merges[i], space + 1);
        /* Fewer words are those without the last merges. */
        if (more < 0 && (int)i >= 8 + more) continue;
        json_object_set_new(words, word, json_integer(next++));
        strcat(strcat(lines, merges[i]), "\n");
    }
    for (int i = 0; i < more; i++) {
        snprintf(word, sizeof word, "word%d</w>", i);
        json_object_set_new(words, word, json_integer(next++));
    }
    json_object_set_new(words, "<|startoftext|>", json_integer(next++));
    json_object_set_new(words, "<|endoftext|>", json_integer(next++));
    snprintf(path, sizeof path, "%s/vocab.json", name);
    pipeline_json(path, words);
    snprintf(path, sizeof path, "%s/merges.txt", name);
    hostile_write(path, lines, strlen(lines));
    json_t *config =
        json_pack("{s:s,s:i,s:s,s:s,s:s,s:s}", "tokenizer_class", "CLIPTokenizer", "model_max_length", 16, "bos_token",
                  "<|startoftext|>", "eos_token", "<|endoftext|>", "unk_token", "<|endoftext|>", "pad_token", padding);
    snprintf(path, sizeof path, "%s/tokenizer_config.json", name);
    pipeline_json(path, config);
    json_decref(words), json_decref(config);
}

const char *pipeline_write(const char *name, const char *kind) {
    static char paths[4][512];
    static int turn;
    char path[256];
    json_t *stored = json_object_get(json_object_get(data(), "pipelines"), kind), *part;
    const char *sub;
    if (!stored) exit(2);
    hostile_remove(name);
    written = 0;
    folder(name);
    snprintf(path, sizeof path, "%s/model_index.json", name);
    pipeline_json(path, json_object_get(stored, "model_index"));
    json_object_foreach(json_object_get(stored, "parts"), sub, part) {
        snprintf(path, sizeof path, "%s/%s", name, sub);
        if (strncmp(sub, "tokenizer", 9)) pipeline_part(path, json_string_value(part));
        else pipeline_tokenizer(path, json_string_value(part), 0);
    }
    snprintf(path, sizeof path, "%s/scheduler", name);
    folder(path);
    strcat(path, "/scheduler_config.json");
    pipeline_json(path, json_object_get(stored, "scheduler"));
    char *full = paths[turn++ % 4];
    snprintf(full, sizeof *paths, "%s/%s", hostile_folder(), name);
    return full;
}

const char *pipeline_lora(const char *name, const char *part) {
    static char path[512];
    json_t *shapes = tensors(part), *updates = json_object(), *shape;
    const char *tensor;
    json_object_foreach(shapes, tensor, shape) {
        const char *end = strstr(tensor, ".to_k.weight");
        char module[256];
        if (!end) continue;
        snprintf(module, sizeof module, "unet.%.*s.lora_A.weight", (int)(end + 5 - tensor), tensor);
        json_object_set_new(updates, module, json_pack("[i,O]", 2, json_array_get(shape, 1)));
        snprintf(module, sizeof module, "unet.%.*s.lora_B.weight", (int)(end + 5 - tensor), tensor);
        json_object_set_new(updates, module, json_pack("[O,i]", json_array_get(shape, 0), 2));
    }
    weights(name, updates);
    json_decref(shapes), json_decref(updates);
    snprintf(path, sizeof path, "%s/%s", hostile_folder(), name);
    return path;
}

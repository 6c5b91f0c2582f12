/* Options of da_model_open that lead to files: links that are followed, decoders, configs at the limit of their length. */
#include "hostile.h"
#include "meter.h"

#include <sys/stat.h>
#include <unistd.h>

static char root[512];

static void in_root(const char *name, char path[600]) { snprintf(path, 600, "%s/%s", root, name); }

static void link_to(const char *target, const char *name) {
    char path[600];
    in_root(name, path);
    unlink(path);
    CHECK(!symlink(target, path), "a link called %s", name);
}

/* Opens with these options and judges status and text. */
static void with(const char *id, const char *path, const da_model_options *options, int32_t status, const char *part) {
    da_model model = (da_model)(uintptr_t)1;
    meter_start();
    int32_t found = da_model_open(path, options, &model);
    long peak = meter_peak();
    CHECK(found == status, "%s gives %s (%s), expected %s", id, da_status_name(found), da_last_error(), da_status_name(status));
    CHECK((found == DA_OK) == (model != NULL), "%s: out-parameter and status do not fit", id);
    if (status != DA_OK)
        CHECK(strstr(da_last_error(), part) != NULL, "%s: the text does not say \"%s\": %s", id, part, da_last_error());
    CHECK(peak <= 48 << 20, "%s: %ld bytes asked for", id, peak);
    if (found == DA_OK) da_model_close(model);
}

static da_model_options defaults(void) {
    da_model_options options;
    da_model_options_init(&options, sizeof options);
    return options;
}

static void links(void) {
    da_model_options options = defaults();
    options.follow_links = 1;
    static const struct {
        const char *id, *target;
        int32_t status;
        const char *part;
    } targets[] = {{"a file", "../good-model", DA_OK, ""},
                   {"a link to a file", "second", DA_OK, ""},
                   {"itself", "model.safetensors", DA_IO, "model.safetensors: cannot be opened"},
                   {"nothing", "nowhere", DA_IO, "model.safetensors: cannot be opened: no such file"},
                   {"a device", "/dev/zero", DA_IO, "model.safetensors: a device"},
                   {"a folder", "..", DA_IO, "model.safetensors: a directory"},
                   {"a pipe", "pipe", DA_IO, "model.safetensors: a pipe"},
                   {"text", "config.json", DA_FORMAT, "model.safetensors: "}};
    link_to("../good-model", "second");
    char path[600];
    in_root("pipe", path);
    CHECK(!mkfifo(path, 0600), "a pipe");
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        char id[64];
        snprintf(id, sizeof id, "followed link to %s", targets[i].id);
        link_to(targets[i].target, "model.safetensors");
        with(id, root, &options, targets[i].status, targets[i].part);
        snprintf(id, sizeof id, "refused link to %s", targets[i].id);
        with(id, root, NULL, DA_IO, "model.safetensors: cannot be opened: is a symbolic link");
    }
    link_to("../good-model", "model.safetensors");
    for (int value = -1; value <= 3; value++) {
        options.follow_links = value;
        int flag = value == 0 || value == 1;
        with("follow_links", root, &options,
             value == 1 ? DA_OK
             : flag     ? DA_IO
                        : DA_INVALID_ARGUMENT,
             flag ? "symbolic link" : "follow_links");
    }
}

static void decoders(const char *model) {
    size_t size;
    uint8_t *image = tiny_autoencoder(&size);
    char vae[600];
    in_root("vae", vae);
    mkdir(vae, 0700);
    hostile_write("options/vae/model.safetensors", image, size);
    hostile_write("options/vae/config.json", tiny_autoencoder_config, strlen(tiny_autoencoder_config));
    da_model_options options = defaults();
    options.config = NULL;
    struct {
        const char *id, *path;
        int32_t status;
        const char *part;
    } cases[] = {{"good", vae, DA_OK, ""},
                 {"absent", "/nowhere", DA_IO, "/nowhere: cannot be opened"},
                 {"a device", "/dev/zero", DA_IO, "/dev/zero: a device"},
                 {"empty", "", DA_INVALID_ARGUMENT, "not a path"},
                 {"not UTF-8", "\xff", DA_INVALID_ARGUMENT, "decoder"},
                 {"weights without a config", model, DA_FORMAT, "no config.json"},
                 {"the system's folder", "/proc/self", DA_IO, "/proc/self: no weights"}};
    char config[1024];
    snprintf(config, sizeof config, "%s}", tiny_transformer_config);
    options.config = config;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        options.decoder = cases[i].path;
        char id[64];
        snprintf(id, sizeof id, "decoder %s", cases[i].id);
        with(id, model, &options, cases[i].status, cases[i].part);
    }
    /* A decoder for other latents than the model makes. */
    char other[1024];
    snprintf(other, sizeof other,
             "{\"block_out_channels\":[4],\"layers_per_block\":1,\"norm_num_groups\":2,\"latent_channels\":5}");
    hostile_write("options/vae/config.json", other, strlen(other));
    options.decoder = vae;
    with("decoder of other channels", model, &options, DA_SHAPE, "wrongly shaped: decoder.conv_in");
    free(image);
}

/* Configs at 4 MiB, and limits on memory that nothing fits under. */
static void sizes(const char *model) {
    size_t limit = 4 << 20;
    char *text = malloc(limit + 64);
    if (!text) exit(2);
    da_model_options options = defaults();
    options.config = text;
    memset(text, ' ', limit + 64);
    int length = snprintf(text, limit, "%s}", tiny_transformer_config);
    text[length] = ' ';
    text[limit] = '\0';
    with("a config of 4 MiB", model, &options, DA_OK, "");
    text[limit] = ' ';
    text[limit + 1] = '\0';
    with("a config of one byte more", model, &options, DA_INVALID_ARGUMENT, "config");
    text[length] = '\0';
    static const uint64_t limits[] = {1, 64, 1000, UINT64_MAX};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        options.memory_limit = limits[i];
        with("a memory limit", model, &options, i < 3 ? DA_OVER_BUDGET : DA_OK, "limit");
    }
    free(text);
}

void cases_options(void) {
    size_t size;
    uint8_t *image = tiny_transformer(&size);
    char config[1024], model[512];
    snprintf(root, sizeof root, "%s/options", hostile_folder());
    mkdir(root, 0700);
    strcpy(model, hostile_write("good-model", image, size));
    snprintf(config, sizeof config, "%s}", tiny_transformer_config);
    hostile_write("options/config.json", config, strlen(config));
    links();
    decoders(model);
    sizes(model);
    hostile_remove("options");
    free(image);
}

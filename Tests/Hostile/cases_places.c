/* What lies where a checkpoint should, and paths that are none. */
#include "hostile.h"

#include <sys/stat.h>
#include <unistd.h>

static char root[512];

/* Entries of the folder: F a good file, P a pipe, D a directory, L a link to the good file, B a broken link, S 1 TiB of holes.
 */
struct entry {
    char kind;
    const char *name;
};

static void make(const struct entry *entry, const uint8_t *image, size_t size) {
    char path[600], name[64];
    snprintf(path, sizeof path, "%s/%s", root, entry->name);
    snprintf(name, sizeof name, "place/%s", entry->name);
    switch (entry->kind) {
        case 'F': hostile_write(name, image, size); break;
        case 'T': hostile_write(name, "{}", 2); break;
        case 'P': CHECK(!mkfifo(path, 0600), "a pipe"); break;
        case 'D': CHECK(!mkdir(path, 0700), "a directory"); break;
        case 'L': CHECK(!symlink("../good.weights", path), "a link"); break;
        case 'B': CHECK(!symlink("nowhere", path), "a broken link"); break;
        case 'Z': CHECK(!symlink("/dev/zero", path), "a link to a device"); break;
        default: hostile_write(name, "", 0); CHECK(!truncate(path, (off_t)1 << 36), "a file of holes");
    }
}

static const struct {
    const char *id;
    struct entry entries[3];
    int32_t status;
    const char *part;
} folders[] = {
    {"empty", {{0}}, DA_IO, "place: no weights; looked for model.safetensors"},
    {"only a config", {{'T', "config.json"}}, DA_IO, "place: no weights"},
    {"weights alone", {{'F', "model.safetensors"}}, DA_FORMAT, "no config.json"},
    {"any one name", {{'F', "net.safetensors"}}, DA_FORMAT, "no config.json"},
    {"two of unknown names",
     {{'F', "a.safetensors"}, {'F', "b.safetensors"}},
     DA_FORMAT,
     "which weights? found a.safetensors, b.s"},
    {"weights are a pipe", {{'P', "model.safetensors"}}, DA_IO, "model.safetensors: a pipe"},
    {"weights are a directory", {{'D', "model.safetensors"}}, DA_IO, "model.safetensors: a directory"},
    {"weights are a link", {{'L', "model.safetensors"}}, DA_IO, "model.safetensors: cannot be opened: is a symbolic link"},
    {"weights are a broken link, others good",
     {{'B', "model.safetensors"}, {'F', "weights.safetensors"}},
     DA_IO,
     "model.safetensors: cannot be opened"},
    {"weights are a device", {{'Z', "model.safetensors"}}, DA_IO, "model.safetensors: cannot be opened"},
    {"weights are holes", {{'S', "model.safetensors"}}, DA_FORMAT, "model.safetensors: nothing but zeros"},
    {"index is a pipe", {{'P', "model.safetensors.index.json"}}, DA_IO, "model.safetensors.index.json: a pipe"},
    {"index is a directory", {{'D', "model.safetensors.index.json"}}, DA_IO, "index.json: a directory"},
    {"index is a link", {{'L', "model.safetensors.index.json"}}, DA_IO, "index.json: cannot be opened: is a symbolic link"},
    {"index is holes", {{'S', "model.safetensors.index.json"}}, DA_FORMAT, "index.json: 68719476736 bytes; at most"},
    {"config is a pipe", {{'P', "config.json"}, {'F', "model.safetensors"}}, DA_IO, "config.json: a pipe"},
    {"config is a directory", {{'D', "config.json"}, {'F', "model.safetensors"}}, DA_IO, "config.json: a directory"},
    {"config is a link",
     {{'L', "config.json"}, {'F', "model.safetensors"}},
     DA_IO,
     "config.json: cannot be opened: is a symbolic"},
    {"config is a broken link", {{'B', "config.json"}, {'F', "model.safetensors"}}, DA_IO, "config.json: cannot be opened"},
    {"config is a device", {{'Z', "config.json"}, {'F', "model.safetensors"}}, DA_IO, "config.json: cannot be opened"},
    {"config is holes",
     {{'S', "config.json"}, {'F', "model.safetensors"}},
     DA_FORMAT,
     "config.json: 68719476736 bytes; at most"},
    {"config is weights", {{'F', "config.json"}, {'F', "model.safetensors"}}, DA_FORMAT, "config.json: bad JSON"},
    {"pipeline is a pipe", {{'P', "model_index.json"}, {'F', "model.safetensors"}}, DA_IO, "model_index.json: a pipe"},
    {"pipeline is a directory", {{'D', "model_index.json"}}, DA_IO, "model_index.json: a directory"},
    {"pipeline is a link", {{'L', "model_index.json"}}, DA_IO, "model_index.json: cannot be opened"},
    {"pipeline is weights", {{'F', "model_index.json"}}, DA_FORMAT, "model_index.json: bad JSON"},
    {"pipeline without parts", {{'T', "model_index.json"}}, DA_UNSUPPORTED, "a pipeline without a class"},
    {"pipeline with an empty part", {{'T', "model_index.json"}, {'D', "transformer"}}, DA_IO, "place/transformer: no weights"},
    {"part is a file", {{'T', "model_index.json"}, {'F', "transformer"}}, DA_UNSUPPORTED, "a pipeline without a class"},
    {"pickles only", {{'F', "pytorch_model.bin"}, {'T', "config.json"}}, DA_UNSUPPORTED, "pytorch_model.bin"},
    {"checkpoints of others", {{'F', "model.ckpt"}}, DA_UNSUPPORTED, "model.ckpt"},
    {"weights are text", {{'T', "model.safetensors"}}, DA_FORMAT, "model.safetensors: a JSON text"},
};

static void paths(void) {
    static char long_path[6000];
    memset(long_path, 'a', sizeof long_path - 1);
    hostile_open("no path", NULL, NULL, NULL, 0, DA_INVALID_ARGUMENT, "path");
    hostile_open("empty path", "", NULL, NULL, 0, DA_INVALID_ARGUMENT, "not a path");
    hostile_open("long path", long_path, NULL, NULL, 0, DA_INVALID_ARGUMENT, "path is longer than 4096");
    for (size_t i = 100; i < sizeof long_path - 1; i += 100) long_path[i] = '/';
    hostile_open("long path of parts", long_path, NULL, NULL, 0, DA_INVALID_ARGUMENT, "path is longer than 4096");
    long_path[300] = '\0';
    long_path[0] = '/';
    for (size_t i = 1; i < 300; i++) long_path[i] = 'b';
    hostile_open("long part", long_path, NULL, NULL, 0, DA_IO, "name too long");
    hostile_open("absent", "/nowhere/at/all", NULL, NULL, 0, DA_IO, "/nowhere/at/all: cannot be opened: no such file");
    hostile_open("below a file", "/etc/hostname/x", NULL, NULL, 0, DA_IO, "not a directory");
    hostile_open("not UTF-8", "/\xff\xfe", NULL, NULL, 0, DA_INVALID_ARGUMENT, "path");
    hostile_open("a device", "/dev/null", NULL, NULL, 0, DA_IO, "/dev/null: a device");
    hostile_open("endless device", "/dev/zero", NULL, NULL, 0, DA_IO, "/dev/zero: a device");
    hostile_open("the process's memory", "/proc/self/mem", NULL, NULL, 0, DA_FORMAT, "/proc/self/mem: an empty file");
    hostile_open("the file system's root", "/", NULL, NULL, 0, DA_IO, "no weights");
}

void cases_places(void) {
    size_t size;
    uint8_t *image = tiny_transformer(&size);
    snprintf(root, sizeof root, "%s/place", hostile_folder());
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        mkdir(root, 0700);
        for (size_t k = 0; k < 3 && folders[i].entries[k].kind; k++) make(&folders[i].entries[k], image, size);
        hostile_open(folders[i].id, root, NULL, NULL, size, folders[i].status, folders[i].part);
        hostile_remove("place");
    }
    free(image);
    paths();
}

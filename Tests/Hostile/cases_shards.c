/* Shard indices: names that lead elsewhere, and tables that do not agree with the shards. */
#include "hostile.h"

#include <sys/stat.h>
#include <unistd.h>

#define INDEX      "model.safetensors.index.json"
#define MAP(shard) "{\"weight_map\":{\"a\":\"" shard "\"}}"
#define TRAVERSAL  DA_FORMAT, "weight_map: \""

static const struct hostile indices[] = {
    {"agreed", "{\"weight_map\":{\"a\":\"s.safetensors\",\"b\":\"t.safetensors\"}}", 0, DA_FORMAT, "no config.json"},
    {"with metadata", "{\"metadata\":{\"total_size\":8},\"weight_map\":{\"a\":\"s.safetensors\"}}", 0, DA_FORMAT,
     "no config.json"},
    {"parent", MAP("../s.safetensors"), 0, TRAVERSAL},
    {"absolute", MAP("/etc/s.safetensors"), 0, TRAVERSAL},
    {"down and up", MAP("a/../../s.safetensors"), 0, TRAVERSAL},
    {"backslashes", MAP("a\\\\..\\\\s.safetensors"), 0, TRAVERSAL},
    {"a folder", MAP("sub/s.safetensors"), 0, TRAVERSAL},
    {"empty", MAP(""), 0, TRAVERSAL},
    {"dot", MAP("."), 0, TRAVERSAL},
    {"two dots", MAP(".."), 0, TRAVERSAL},
    {"slash at the end", MAP("s.safetensors/"), 0, TRAVERSAL},
    {"slash at the beginning", MAP("/s.safetensors"), 0, TRAVERSAL},
    {"double slash", MAP("//s.safetensors"), 0, TRAVERSAL},
    {"this folder", MAP("./s.safetensors"), 0, TRAVERSAL},
    {"newline", MAP("s\\n.safetensors"), 0, TRAVERSAL},
    {"carriage return", MAP("s\\r.safetensors"), 0, TRAVERSAL},
    {"delete", MAP("s\\u007f.safetensors"), 0, TRAVERSAL},
    {"escape", MAP("s\\u001b.safetensors"), 0, TRAVERSAL},
    {"the process itself", MAP("/proc/self/mem"), 0, TRAVERSAL},
    {"a device", MAP("/dev/zero"), 0, TRAVERSAL},
    {"NUL", MAP("s.safetensors\\u0000.txt"), 0, DA_FORMAT, INDEX ": bad JSON"},
    {"absent", MAP("missing.safetensors"), 0, DA_IO, "missing.safetensors: cannot be opened: no such file"},
    {"itself", MAP(INDEX), 0, DA_FORMAT, INDEX "\" is not a .safetensors file"},
    {"config as shard", MAP("config.json"), 0, DA_FORMAT, "\"config.json\" is not a .safetensors file"},
    {"pickle", MAP("pytorch_model-00001-of-00002.bin"), 0, DA_UNSUPPORTED, "weight_map: \"pytorch_model"},
    {"another case", MAP("s.SAFETENSORS"), 0, DA_FORMAT, "\"s.SAFETENSORS\" is not a .safetensors file"},
    {"a cut shard", "{\"weight_map\":{\"d\":\"u.safetensors\"}}", 0, DA_FORMAT, "u.safetensors: tensor \"d\": ends beyond"},
    {"a link", MAP("link.safetensors"), 0, DA_IO, "link.safetensors: cannot be opened: is a symbolic link"},
    {"a link to a device", MAP("zero.safetensors"), 0, DA_IO, "zero.safetensors: cannot be opened: is a symbolic link"},
    {"a pipe", MAP("pipe.safetensors"), 0, DA_IO, "pipe.safetensors: a pipe, not a regular file"},
    {"a directory", MAP("folder.safetensors"), 0, DA_IO, "folder.safetensors: a directory, not a regular file"},
    {"empty shard", MAP("empty.safetensors"), 0, DA_FORMAT, "empty.safetensors: an empty file"},
    {"tensor absent", "{\"weight_map\":{\"a\":\"s.safetensors\",\"z\":\"s.safetensors\"}}", 0, DA_FORMAT, "names: z"},
    {"tensor unlisted", "{\"weight_map\":{\"z\":\"s.safetensors\"}}", 0, DA_FORMAT, "s.safetensors: tensor \"a\" is not in"},
    {"tensor elsewhere", "{\"weight_map\":{\"a\":\"t.safetensors\",\"b\":\"s.safetensors\"}}", 0, DA_FORMAT,
     "belongs to another shard"},
    {"tensor in two", "{\"weight_map\":{\"a\":\"s.safetensors\",\"c\":\"both.safetensors\"}}", 0, DA_FORMAT,
     "both.safetensors: tensor \"a\" belongs to another shard"},
    {"an array", "[]", 0, DA_FORMAT, INDEX ": expected an object"},
    {"a text", "\"x\"", 0, DA_FORMAT, INDEX ": expected an object"},
    {"nothing", "", 0, DA_FORMAT, INDEX ": empty"},
    {"no map", "{}", 0, DA_FORMAT, INDEX ": weight_map: missing"},
    {"map of null", "{\"weight_map\":null}", 0, DA_FORMAT, INDEX ": weight_map"},
    {"map as array", "{\"weight_map\":[]}", 0, DA_FORMAT, INDEX ": weight_map"},
    {"map as text", "{\"weight_map\":\"s.safetensors\"}", 0, DA_FORMAT, INDEX ": weight_map"},
    {"empty map", "{\"weight_map\":{}}", 0, DA_FORMAT, INDEX ": weight_map: 0 tensors"},
    {"a number", "{\"weight_map\":{\"a\":1}}", 0, DA_FORMAT, INDEX ": weight_map.a: expected a file name"},
    {"a list of shards", "{\"weight_map\":{\"a\":[\"s.safetensors\"]}}", 0, DA_FORMAT,
     INDEX ": weight_map.a: expected a file name"},
    {"null", "{\"weight_map\":{\"a\":null}}", 0, DA_FORMAT, INDEX ": weight_map.a: expected a file name"},
    {"empty tensor name", "{\"weight_map\":{\"\":\"s.safetensors\"}}", 0, DA_FORMAT, INDEX ": weight_map"},
    {"twice", "{\"weight_map\":{\"a\":\"s.safetensors\",\"a\":\"s.safetensors\"}}", 0, DA_FORMAT, "duplicate"},
    {"two maps", "{\"weight_map\":{\"a\":\"s.safetensors\"},\"weight_map\":{\"a\":\"s.safetensors\"}}", 0, DA_FORMAT,
     "duplicate"},
    {"cut", "{\"weight_map\":{\"a\":\"s.safe", 0, DA_FORMAT, INDEX ": bad JSON at line 1"},
    {"byte order mark", "\xef\xbb\xbf" MAP("s.safetensors"), 0, DA_FORMAT, "no config.json"},
    {"not UTF-8", "{\"weight_map\":{\"\xff\":\"s.safetensors\"}}", 0, DA_FORMAT, INDEX ": bad JSON"},
};

static void shard(const char *name, const char *const *tensors, size_t cut) {
    struct weights weights = {.length = 0};
    for (; *tensors; tensors++) weights_add(&weights, *tensors, (int[]){1, 0});
    size_t size;
    uint8_t *image = weights_finish(&weights, &size);
    hostile_write(name, image, size - cut);
    free(image);
}

static void in_folder(const char *name, char path[512]) { snprintf(path, 512, "%s/%s", hostile_folder(), name); }

void cases_shards(void) {
    char root[512], path[512], target[512];
    in_folder("shards", root);
    mkdir(root, 0700);
    shard("shards/s.safetensors", (const char *const[]){"a", NULL}, 0);
    shard("shards/t.safetensors", (const char *const[]){"b", NULL}, 0);
    shard("shards/u.safetensors", (const char *const[]){"d", NULL}, 1);
    shard("shards/both.safetensors", (const char *const[]){"a", "c", NULL}, 0);
    hostile_write("shards/empty.safetensors", "", 0);
    in_folder("shards/s.safetensors", target);
    in_folder("shards/link.safetensors", path);
    CHECK(!symlink(target, path), "a link");
    in_folder("shards/zero.safetensors", path);
    CHECK(!symlink("/dev/zero", path), "a link to a device");
    in_folder("shards/pipe.safetensors", path);
    CHECK(!mkfifo(path, 0600), "a pipe");
    in_folder("shards/folder.safetensors", path);
    mkdir(path, 0700);
    for (size_t i = 0; i < sizeof indices / sizeof *indices; i++) {
        const struct hostile *h = &indices[i];
        hostile_write("shards/" INDEX, h->text, strlen(h->text));
        hostile_open(h->id, root, NULL, NULL, strlen(h->text), h->status, h->part);
    }
    /* Names at and beyond what a file system takes. */
    static const size_t lengths[] = {200, 243, 244, 1000, 5000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char text[8192], name[6000];
        memset(name, 'n', lengths[i]);
        name[lengths[i]] = '\0';
        snprintf(text, sizeof text, "{\"weight_map\":{\"a\":\"%s.safetensors\"}}", name);
        hostile_write("shards/" INDEX, text, strlen(text));
        int possible = lengths[i] + 12 <= 255;
        hostile_open("a long name", root, NULL, NULL, strlen(text), possible ? DA_IO : DA_FORMAT,
                     possible ? "nnn.safetensors: cannot be opened" : "weight_map: \"nnn");
    }
    hostile_remove("shards");
}

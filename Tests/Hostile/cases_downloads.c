/* What downloads and other programs leave under the names of weights and configs: each is told by what it is. */
#include "hostile.h"

#include <sys/stat.h>
#include <unistd.h>

#define LFS  "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
#define PAGE "<!DOCTYPE html>\n<html lang=\"en\"><head><title>Sign in</title>"

static char root[512];

static const struct hostile weights[] = {
    {"git-lfs", LFS, 0, DA_FORMAT, "a git-lfs pointer, not safetensors; fetch the file itself: git lfs pull"},
    {"Xet", "# xet version 0\nfilesize = 5\n", 0, DA_FORMAT, "a Xet pointer"},
    {"git-annex", "/annex/objects/SHA256E-s5--ab.safetensors\n", 0, DA_FORMAT, "a git-annex pointer"},
    {"page", PAGE, 0, DA_FORMAT, "an HTML page"},
    {"page behind spaces", " \n\t<HTML>", 0, DA_FORMAT, "an HTML page"},
    {"storage's message", "<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code></Error>", 0, DA_FORMAT, "an XML text"},
    {"message", "{\"error\":\"restricted\"}", 0, DA_FORMAT, "a JSON text"},
    {"words", "Entry not found", 0, DA_FORMAT, "a text (\"Entry not found\")"},
    {"a letter", "x", 0, DA_FORMAT, "a text (\"x\")"},
    {"nothing", "", 0, DA_FORMAT, "an empty file, not safetensors; fetch the file again"},
};

static const struct hostile configs[] = {
    {"git-lfs", LFS, 0, DA_FORMAT, "config.json: a git-lfs pointer, not JSON"},
    {"page", PAGE, 0, DA_FORMAT, "config.json: an HTML page, not JSON"},
    {"nothing", "", 0, DA_FORMAT, "config.json: empty"},
    {"gzip", "\x1f\x8b\x08", 0, DA_FORMAT, "config.json: a gzip archive, not JSON"},
    {"mark of UTF-16", "\xff\xfe{", 0, DA_FORMAT, "config.json: bad JSON: the text is in UTF-16"},
    {"comment", "{\n // x\n}", 0, DA_FORMAT, "config.json: bad JSON at line 2, column 2: a comment"},
    {"comma", "{\"a\":1,\n}", 0, DA_FORMAT, "config.json: bad JSON at line 2, column 1: a comma before a closing bracket"},
    {"Python's words", "{\"a\":None}", 0, DA_FORMAT,
     "config.json: bad JSON at line 1, column 6: Python's None: JSON says null"},
    {"single quotes", "{'a':1}", 0, DA_FORMAT, "config.json: bad JSON at line 1, column 2: a single quote"},
    {"NaN as a name", "{NaN:1}", 0, DA_FORMAT, "config.json: bad JSON"},
    {"NaN in a word", "{\"a\":NaNN}", 0, DA_FORMAT, "config.json: bad JSON"},
    {"NaN and open", "{\"a\":NaN", 0, DA_FORMAT, "config.json: bad JSON"},
    {"NaN beside its stand-in", "{\"a\":NaN,\"b\":\"\x7f\"}", 0, DA_FORMAT, "config.json: bad JSON"},
    {"NaN beside its stand-in, escaped", "{\"a\":NaN,\"b\":\"\\u007F\"}", 0, DA_FORMAT, "config.json: bad JSON"},
    {"NaN twice", "{\"a\":NaN,\"a\":NaN}", 0, DA_FORMAT, "config.json: bad JSON"},
    {"NaN unused", "{\"a\":[NaN,Infinity,-Infinity]}", 0, DA_UNSUPPORTED, "family"},
    {"NaN used", "{\"family\":\"dit\",\"model\":{\"hidden_size\":NaN}}", 0, DA_FORMAT,
     "model.hidden_size: expected an integer"},
    {"infinity used", "{\"family\":\"dit\",\"model\":{\"hidden_size\":Infinity}}", 0, DA_FORMAT, "model.hidden_size: expected"},
    {"long integer unused", "{\"a\":1000000000000000019884624838656}", 0, DA_UNSUPPORTED, "family"},
    {"long integer used", "{\"family\":\"dit\",\"model\":{\"hidden_size\":-99999999999999999999}}", 0, DA_FORMAT,
     "model.hidden_size: expected an integer"},
    {"mark of UTF-8", "\xef\xbb\xbf{}", 0, DA_UNSUPPORTED, "family"},
    {"mark of UTF-8 alone", "\xef\xbb\xbf", 0, DA_FORMAT, "config.json: empty"},
    {"two marks", "\xef\xbb\xbf\xef\xbb\xbf{}", 0, DA_FORMAT, "config.json: bad JSON"},
};

/* Files beside which no weights stand. */
static const struct {
    const char *name;
    int32_t status;
    const char *part;
} leftovers[] = {
    {"model.safetensors.incomplete", DA_FORMAT, "let the download finish"},
    {"model.safetensors.crdownload", DA_FORMAT, "let the download finish"},
    {"pytorch_model.bin", DA_UNSUPPORTED, "python -m diffaccel.convert"},
    {"last.ckpt", DA_UNSUPPORTED, "python -m diffaccel.convert"},
    {"model.Q4_K.gguf", DA_UNSUPPORTED, "it cannot be converted"},
    {"model.onnx", DA_UNSUPPORTED, "it cannot be converted"},
    {"model.tar", DA_UNSUPPORTED, "unpack it first"},
};

/* Room that was made for a download which never came. */
static void zeros(void) {
    static const uint8_t bytes[4096];
    const char *path = hostile_write("x.safetensors", bytes, sizeof bytes);
    hostile_open("zeros", path, NULL, NULL, sizeof bytes, DA_FORMAT, "nothing but zeros in its first 512 bytes");
}

void cases_downloads(void) {
    size_t size;
    uint8_t *image = tiny_transformer(&size);
    char path[600];
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        const struct hostile *h = &weights[i];
        const char *file = hostile_write("x.safetensors", h->text, strlen(h->text));
        hostile_open(h->id, file, NULL, NULL, strlen(h->text), h->status, h->part);
    }
    snprintf(root, sizeof root, "%s/downloads", hostile_folder());
    mkdir(root, 0700);
    hostile_write("downloads/model.safetensors", image, size);
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        const struct hostile *h = &configs[i];
        hostile_write("downloads/config.json", h->text, strlen(h->text));
        hostile_open(h->id, root, NULL, NULL, size, h->status, h->part);
    }
    hostile_remove("downloads");
    for (size_t i = 0; i < sizeof leftovers / sizeof *leftovers; i++) {
        mkdir(root, 0700);
        snprintf(path, sizeof path, "downloads/%s", leftovers[i].name);
        hostile_write(path, image, size);
        hostile_open(leftovers[i].name, root, NULL, NULL, size, leftovers[i].status, leftovers[i].part);
        hostile_remove("downloads");
    }
    /* A download cache opened at its top. */
    mkdir(root, 0700);
    snprintf(path, sizeof path, "%s/snapshots", root);
    mkdir(path, 0700);
    hostile_open("a cache", root, NULL, NULL, size, DA_IO, "open the folder in it, with follow_links");
    hostile_remove("downloads");
    free(image);
    zeros();
}

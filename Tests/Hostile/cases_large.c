/* Texts that are long, deep or dense: what they would need in memory is refused before it is asked for. */
#include "hostile.h"

/* `head`, then `unit` `count` times, then `tail`; `size` bytes, to be freed. */
static char *repeated(const char *head, const char *unit, size_t count, const char *tail, size_t *size) {
    size_t length = strlen(unit);
    *size = strlen(head) + length * count + strlen(tail);
    char *text = malloc(*size + 1);
    if (!text) exit(2);
    char *at = stpcpy(text, head);
    for (size_t i = 0; i < count; i++, at += length) memcpy(at, unit, length);
    strcpy(at, tail);
    return text;
}

static void header(const char *id, char *text, size_t length, const char *part) {
    size_t size;
    uint8_t *image = hostile_image(text, length, length, 4, &size);
    const char *path = hostile_write("x.safetensors", image, size);
    free(image);
    free(text);
    hostile_open(id, path, NULL, NULL, size, DA_FORMAT, part);
    hostile_remove("x.safetensors");
}

static void deep(void) {
    static const size_t depths[] = {10, 30, 31, 32, 33, 100, 10000, 1000000};
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        char id[64];
        size_t size;
        snprintf(id, sizeof id, "arrays %zu deep", depths[i]);
        char *text = repeated("{\"a\":", "[", depths[i], "", &size);
        char *closed = repeated(text, "]", depths[i], "}", &size);
        free(text);
        header(id, closed, size, depths[i] < 32 ? "tensor \"a\": expected an object" : "x.safetensors: JSON nested");
        snprintf(id, sizeof id, "objects %zu deep", depths[i]);
        text = repeated("", "{\"a\":", depths[i], "1", &size);
        closed = repeated(text, "}", depths[i], "", &size);
        free(text);
        header(id, closed, size, depths[i] <= 32 ? "tensor \"a\"" : "x.safetensors: JSON nested");
    }
}

static void dense(void) {
    static const struct {
        const char *id, *head, *unit, *tail;
        size_t count;
        const char *part;
    } texts[] = {
        {"numbers", "{\"a\":[1", ",1", "]}", 2500000, "x.safetensors: "},
        {"objects", "{\"a\":[{}", ",{}", "]}", 1000000, "x.safetensors: "},
        {"arrays", "{\"a\":[[]", ",[]", "]}", 1000000, "x.safetensors: "},
        {"texts", "{\"a\":[\"\"", ",\"\"", "]}", 1000000, "x.safetensors: "},
        {"one long name", "{\"", "a", "\":1}", 5000000, "x.safetensors: tensor \"aaa"},
        {"one long text", "{\"a\":\"", "a", "\"}", 5000000, "tensor \"a\": expected an object"},
        {"spaces", "{", " ", "!}", 5000000, "x.safetensors: bad JSON at line 1"},
        {"lines", "{", "\n", "!}", 1000000, "x.safetensors: bad JSON at line 1000001"},
        {"escapes", "{\"a\":\"", "\\u0061", "\"}", 500000, "tensor \"a\": expected an object"},
        {"minus signs", "{\"a\":", "-", "1}", 1000000, "x.safetensors: bad JSON"},
        {"digits", "{\"a\":", "9", "}", 1000000, "x.safetensors: bad JSON"},
        {"quotes", "{\"a\":", "\"", "}", 1000001, "x.safetensors: reading this JSON could take"},
        {"closing brackets", "{", "]", "", 100000, "x.safetensors: bad JSON"},
        {"backslashes", "{\"", "\\\\", "\":1}", 1000000, "x.safetensors: tensor "},
        {"the same tensor", "{", "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},", "\"b\":1}", 2000,
         "duplicate"},
        {"extents", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1", ",1", "],\"data_offsets\":[0,4]}}", 100000, "x.safetensors: "},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t size;
        char *text = repeated(texts[i].head, texts[i].unit, texts[i].count, texts[i].tail, &size);
        header(texts[i].id, text, size, texts[i].part);
    }
}

/* Many tensors over the same four bytes: small on the disk, huge when believed. */
static void many(void) {
    size_t room = 100 * 20000, size = 1;
    char *text = malloc(room);
    if (!text) exit(2);
    strcpy(text, "{");
    for (int i = 0; i < 20000; i++)
        size +=
            (size_t)sprintf(text + size, "%s\"t%d\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}", i ? "," : "", i);
    strcpy(text + size, "}");
    header("twenty thousand over the same bytes", text, size + 1, "x.safetensors: ");
}

void cases_large(void) {
    deep();
    dense();
    many();
}

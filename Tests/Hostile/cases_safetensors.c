/* Headers of safetensors files. A header that is accepted gets as far as the missing config. */
#include "hostile.h"

#define LOADS DA_FORMAT, "no config.json"
#define BAD   DA_FORMAT
#define ENTRY(name, type, shape, offsets) \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define ONE(type, shape, offsets) "{" ENTRY("a", type, shape, offsets) "}"
#define A                         ENTRY("a", "F32", "[1]", "[0,4]")
#define TENSOR                    "x.safetensors: tensor \"a\""

static const struct hostile headers[] = {
    {"no tensors", "{}", 0, LOADS},
    {"one tensor", "{" A "}", 4, LOADS},
    {"any order", "{" ENTRY("b", "F32", "[1]", "[4,8]") "," A "}", 8, LOADS},
    {"scalar", ONE("F32", "[]", "[0,4]"), 4, LOADS},
    {"empty tensor", ONE("F32", "[0]", "[0,0]"), 0, LOADS},
    {"trailing spaces", "{}  \n", 0, LOADS},
    {"extra field", "{\"a\":{\"x\":[{}],\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, LOADS},
    {"metadata", "{\"__metadata__\":{\"k\":\"v\"}}", 0, LOADS},
    {"rank 8", ONE("F32", "[1,1,1,1,1,1,1,1]", "[0,4]"), 4, LOADS},
    {"leading space", " {}", 0, BAD, "begin with {"},
    {"byte order mark", "\xef\xbb\xbf{}", 0, BAD, "begin with {"},
    {"an array", "[]", 0, BAD, "begin with {"},
    {"a string", "\"a\"", 0, BAD, "begin with {"},
    {"two objects", "{}{}", 0, BAD, "bad JSON at line 1"},
    {"trailing comma", "{" A ",}", 4, BAD, "bad JSON at line 1"},
    {"comment", "{/**/}", 0, BAD, "bad JSON at line 1"},
    {"third line", "{\n\n!}", 0, BAD, "bad JSON at line 3"},
    {"open object", "{" A, 4, BAD, "bad JSON at line 1"},
    {"open string", "{\"a", 0, BAD, "bad JSON at line 1"},
    {"single quotes", "{'a':1}", 0, BAD, "bad JSON at line 1"},
    {"not a number", "{\"a\":NaN}", 0, BAD, "bad JSON at line 1"},
    {"infinity", "{\"a\":Infinity}", 0, BAD, "bad JSON at line 1"},
    {"bad escape", "{\"\\x\":1}", 0, BAD, "bad JSON at line 1"},
    {"lone surrogate", "{\"\\ud800\":1}", 0, BAD, "bad JSON at line 1"},
    {"low surrogate first", "{\"\\udc00\\ud800\":1}", 0, BAD, "bad JSON at line 1"},
    {"not UTF-8", "{\"\xff\":1}", 0, BAD, "bad JSON at line 1"},
    {"overlong UTF-8", "{\"\xc0\x80\":1}", 0, BAD, "bad JSON at line 1"},
    {"surrogate in UTF-8", "{\"\xed\xa0\x80\":1}", 0, BAD, "bad JSON at line 1"},
    {"beyond Unicode", "{\"\xf4\x90\x80\x80\":1}", 0, BAD, "bad JSON at line 1"},
    {"cut UTF-8", "{\"\xe2\x82\":1}", 0, BAD, "bad JSON at line 1"},
    {"control character", "{\"\x01\":1}", 0, BAD, "bad JSON at line 1"},
    {"escaped NUL in a name", "{" ENTRY("a\\u0000", "F32", "[1]", "[0,4]") "}", 4, BAD, "x.safetensors"},
    {"empty name", "{" ENTRY("", "F32", "[1]", "[0,4]") "}", 4, BAD, "tensor \"\""},
    {"the same name twice", "{" A "," A "}", 4, BAD, "duplicate"},
    {"the same name, escaped", "{" A "," ENTRY("\\u0061", "F32", "[1]", "[0,4]") "}", 4, BAD, "duplicate"},
    {"the same field twice", "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, BAD,
     "duplicate"},
    {"metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, BAD, "duplicate"},
    {"metadata with a number", "{\"__metadata__\":{\"k\":1}}", 0, BAD, "__metadata__.k"},
    {"metadata with null", "{\"__metadata__\":{\"k\":null}}", 0, BAD, "__metadata__.k"},
    {"metadata as array", "{\"__metadata__\":[]}", 0, BAD, "__metadata__"},
    {"metadata as text", "{\"__metadata__\":\"x\"}", 0, BAD, "__metadata__"},
    {"an entry of an array", "{\"a\":[\"F32\",[1],[0,4]]}", 4, BAD, TENSOR},
    {"an entry of null", "{\"a\":null}", 4, BAD, TENSOR},
    {"an entry of text", "{\"a\":\"F32\"}", 4, BAD, TENSOR},
    {"an empty entry", "{\"a\":{}}", 4, BAD, TENSOR ": dtype: missing"},
    {"no dtype", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, BAD, TENSOR ": dtype: missing"},
    {"no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, BAD, TENSOR ": shape: missing"},
    {"no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, BAD, TENSOR ": data_offsets: missing"},
    {"dtype of another case", ONE("f32", "[1]", "[0,4]"), 4, BAD, TENSOR ": unknown dtype \"f32\""},
    {"dtype of another format", ONE("Q4_K", "[1]", "[0,4]"), 4, BAD, TENSOR ": unknown dtype"},
    {"empty dtype", ONE("", "[1]", "[0,4]"), 4, BAD, TENSOR ": unknown dtype"},
    {"dtype as number", "{\"a\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, BAD, TENSOR ": dtype"},
    {"shape as number", ONE("F32", "1", "[0,4]"), 4, BAD, TENSOR ": shape"},
    {"shape as text", ONE("F32", "\"[1]\"", "[0,4]"), 4, BAD, TENSOR ": shape"},
    {"rank 9", ONE("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, BAD, TENSOR ": shape"},
    {"product wraps to 0", ONE("F32", "[4294967296,4294967296]", "[0,0]"), 0, BAD, TENSOR ": shape"},
    {"product wraps to 0, outside", ONE("F32", "[4294967296,4294967296]", "[8,8]"), 4, BAD, TENSOR ": shape"},
    {"bytes wrap to 4", ONE("F32", "[4611686018427387905]", "[0,4]"), 4, BAD, TENSOR},
    {"exabytes over four bytes", ONE("F32", "[1048576,1048576,1048576]", "[0,4]"), 4, BAD, TENSOR ": shape"},
    {"gigabytes over four bytes", ONE("F32", "[1073741824]", "[0,4]"), 4, BAD, TENSOR ": shape [1073741824] of F32 needs"},
    {"gigabytes claimed", ONE("F32", "[1073741824]", "[0,4294967296]"), 4, BAD, TENSOR ": ends beyond the file"},
    {"zero beside huge", ONE("F32", "[0,1152921504606846976]", "[0,0]"), 0, BAD, TENSOR ": shape"},
    {"shape too large", ONE("F32", "[2]", "[0,4]"), 4, BAD, TENSOR ": shape [2] of F32 needs 8 bytes"},
    {"shape too small", ONE("F32", "[1]", "[0,8]"), 8, BAD, TENSOR ": shape [1] of F32 needs 4 bytes"},
    {"data one byte short", ONE("F32", "[2]", "[0,8]"), 7, BAD, TENSOR ": ends beyond the file"},
    {"no data", ONE("F32", "[2]", "[0,8]"), 0, BAD, TENSOR ": ends beyond the file"},
    {"one byte too many", "{" A "}", 5, BAD, "x.safetensors: 1 bytes after the last tensor"},
    {"bytes without tensors", "{}", 100, BAD, "x.safetensors: 100 bytes after"},
    {"hole before", ONE("F32", "[1]", "[4,8]"), 8, BAD, TENSOR ": leaves a hole before it, at byte 4"},
    {"hole between", "{" A "," ENTRY("b", "F32", "[1]", "[8,12]") "}", 12, BAD, "tensor \"b\": leaves a hole"},
    {"the same bytes twice", "{" A "," ENTRY("b", "F32", "[1]", "[0,4]") "}", 4, BAD,
     "overlaps the tensor before it, at byte 0"},
    {"overlap", "{" A "," ENTRY("b", "F32", "[1]", "[2,6]") "}", 6, BAD, "tensor \"b\": overlaps"},
    {"one inside another", "{" ENTRY("a", "F32", "[4]", "[0,16]") "," ENTRY("b", "F32", "[1]", "[4,8]") "}", 16, BAD,
     "tensor \"b\": overlaps"},
    {"an empty one inside", "{" ENTRY("a", "F32", "[4]", "[0,16]") "," ENTRY("b", "F32", "[0]", "[4,4]") "}", 16, BAD,
     "tensor \"b\": overlaps"},
    {"end before begin", ONE("F32", "[1]", "[4,0]"), 4, BAD, TENSOR ": data_offsets"},
    {"one offset", ONE("F32", "[1]", "[4]"), 4, BAD, TENSOR ": data_offsets"},
    {"three offsets", ONE("F32", "[1]", "[0,4,4]"), 4, BAD, TENSOR ": data_offsets"},
    {"offsets as text", ONE("F32", "[1]", "\"0,4\""), 4, BAD, TENSOR ": data_offsets"},
    {"offsets as object", ONE("F32", "[1]", "{\"begin\":0,\"end\":4}"), 4, BAD, TENSOR ": data_offsets"},
    {"offsets near the end of numbers", ONE("F32", "[1]", "[9223372036854775803,9223372036854775807]"), 4, BAD,
     TENSOR ": data_offsets beyond any file"},
    {"four bits, odd", ONE("F4", "[3]", "[0,2]"), 2, BAD, TENSOR ": 3 elements of F4 do not fill whole bytes"},
};

/* Magic numbers of formats that are recognised and not read. */
static void foreign(void) {
    static const struct {
        const char *id;
        uint8_t bytes[8];
    } magics[] = {{"zip", {0x50, 0x4b, 3, 4, 0, 0, 8, 8}},
                  {"pickle 2", {0x80, 2, 0x8a, 10}},
                  {"pickle 4", {0x80, 4, 0x95, 1}},
                  {"gguf", {'G', 'G', 'U', 'F', 3, 0, 0, 0}},
                  {"hdf5", {0x89, 'H', 'D', 'F', 13, 10, 26, 10}},
                  {"numpy", {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0}},
                  {"gzip", {0x1f, 0x8b, 8, 0}}};
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
        uint8_t bytes[512];
        memset(bytes, 7, sizeof bytes);
        memcpy(bytes, magics[i].bytes, 8);
        const char *path = hostile_write("x.safetensors", bytes, sizeof bytes);
        hostile_open(magics[i].id, path, NULL, NULL, sizeof bytes, DA_UNSUPPORTED, "x.safetensors");
    }
}

/* Every type over the bytes of every other size: the shape must be held to the bytes. */
static void types(void) {
    static const struct {
        const char *name;
        int bytes;
    } all[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I16", 2}, {"U16", 2}, {"F16", 2},
               {"BF16", 2}, {"I32", 4}, {"U32", 4}, {"F32", 4},     {"I64", 8},     {"U64", 8}, {"F64", 8}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (int span = 8; span <= 64; span *= 2) {
            char id[64], header[256], part[64];
            size_t size;
            snprintf(id, sizeof id, "%s over %d bytes", all[i].name, span);
            snprintf(header, sizeof header, ONE("%s", "[8]", "[0,%d]"), all[i].name, span);
            snprintf(part, sizeof part, TENSOR ": shape [8] of %s needs %d", all[i].name, 8 * all[i].bytes);
            uint8_t *image = hostile_image(header, strlen(header), strlen(header), (size_t)span, &size);
            const char *path = hostile_write("x.safetensors", image, size);
            hostile_open(id, path, NULL, NULL, size, DA_FORMAT, span == 8 * all[i].bytes ? "no config.json" : part);
            free(image);
        }
}

void cases_safetensors(void) {
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        const struct hostile *h = &headers[i];
        size_t size, length = strlen(h->text);
        uint8_t *image = hostile_image(h->text, length, length, (size_t)h->data, &size);
        const char *path = hostile_write("x.safetensors", image, size);
        hostile_open(h->id, path, NULL, NULL, size, h->status, h->part);
        free(image);
    }
    foreign();
    types();
}

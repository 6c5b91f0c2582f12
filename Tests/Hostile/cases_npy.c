/* Data in NumPy's format: heads of every wrong kind, seen when a trainer is made. */
#include "hostile.h"

#define D(descr, order, shape) "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }"
#define S(shape)               D("'<f4'", "False", shape)
#define GOOD                   S("(2, 4, 2, 2)")
#define X                      "x.npy: NumPy header: "

static const struct hostile heads[] = {
    {"good", GOOD, 128, DA_OK, ""},
    {"more bytes than elements", GOOD, 131, DA_OK, ""},
    {"newlines and spaces", "{ 'descr' : '<f4' ,\n'fortran_order' : False ,\n'shape' : ( 2 , 4 , 2 , 2 , ) } \n", 128, DA_OK,
     ""},
    {"no spaces", "{'descr':'<f4','fortran_order':False,'shape':(2,4,2,2)}", 128, DA_OK, ""},
    {"double quotes", "{\"shape\": (2, 4, 2, 2), \"fortran_order\": False, \"descr\": \"<f4\"}", 128, DA_OK, ""},
    {"with twins", S("(1, 2, 4, 2, 2)"), 128, DA_SHAPE, "2 labels for 1 samples"},
    {"f16", D("'<f2'", "False", "(2, 4, 2, 2)"), 64, DA_OK, ""},
    {"f64", D("'<f8'", "False", "(2, 4, 2, 2)"), 256, DA_OK, ""},
    {"bytes", D("'|u1'", "False", "(2, 4, 2, 2)"), 32, DA_OK, ""},
    {"empty", "", 128, DA_FORMAT, X "no \"{\""},
    {"spaces", "   \n", 128, DA_FORMAT, X "no \"{\""},
    {"no keys", "{}", 128, DA_FORMAT, X "not the three keys"},
    {"an array", "['descr']", 128, DA_FORMAT, X "no \"{\""},
    {"no shape", "{'descr': '<f4', 'fortran_order': False}", 128, DA_FORMAT, X "not the three keys"},
    {"no descr", "{'shape': (2, 4, 2, 2), 'fortran_order': False}", 128, DA_FORMAT, X "not the three keys"},
    {"no order", "{'shape': (2, 4, 2, 2), 'descr': '<f4'}", 128, DA_FORMAT, X "not the three keys"},
    {"another key", "{'shape': (2,), 'name': 'x'}", 128, DA_FORMAT, X "the key \"name\""},
    {"a key twice", "{'descr': '<f4', 'descr': '<f4'}", 128, DA_FORMAT, X "the key \"descr\""},
    {"a key that is none", "{descr: '<f4'}", 128, DA_FORMAT, X "no text"},
    {"no colon", "{'descr' '<f4'}", 128, DA_FORMAT, X "no \":\""},
    {"no comma", "{'descr': '<f4' 'fortran_order': False}", 128, DA_FORMAT, X "no \"}\""},
    {"no end", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4, 2, 2)", 128, DA_FORMAT, X "no \"}\""},
    {"text behind", GOOD " x", 128, DA_FORMAT, X "not the three keys"},
    {"twice", GOOD GOOD, 128, DA_FORMAT, X "not the three keys"},
    {"nested", "{{{{{{{{", 128, DA_FORMAT, X "no text"},
    {"fields", D("[('a', '<f4')]", "False", "(2, 4, 2, 2)"), 128, DA_FORMAT, X "no text"},
    {"no closing quote", "{'descr", 128, DA_FORMAT, X "a text without end"},
    {"a long text", "{'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa': 1}", 128, DA_FORMAT,
     X},
    {"not ASCII", "{'d\xc3\xa9': '<f4'}", 128, DA_FORMAT, X "a text that is none"},
    {"not UTF-8", "{'\xff\xfe': '<f4'}", 128, DA_FORMAT, X "a text that is none"},
    {"a control character", "{'\x01': '<f4'}", 128, DA_FORMAT, X "a text that is none"},
    {"the other byte order", D("'>f4'", "False", "(2, 4, 2, 2)"), 128, DA_UNSUPPORTED, "\">f4\""},
    {"complex", D("'<c8'", "False", "(2, 4, 2, 2)"), 256, DA_UNSUPPORTED, "\"<c8\""},
    {"objects", D("'|O'", "False", "(2, 4, 2, 2)"), 256, DA_UNSUPPORTED, "\"|O\""},
    {"long doubles", D("'<f16'", "False", "(2, 4, 2, 2)"), 512, DA_UNSUPPORTED, "\"<f16\""},
    {"times", D("'<M8[ns]'", "False", "(2, 4, 2, 2)"), 256, DA_UNSUPPORTED, "\"<M8[ns]\""},
    {"texts", D("'<U8'", "False", "(2, 4, 2, 2)"), 1024, DA_UNSUPPORTED, "\"<U8\""},
    {"no byte order", D("'f4'", "False", "(2, 4, 2, 2)"), 128, DA_UNSUPPORTED, "\"f4\""},
    {"no type", D("''", "False", "(2, 4, 2, 2)"), 128, DA_UNSUPPORTED, "\"\""},
    {"integers as states", D("'<i8'", "False", "(2, 4, 2, 2)"), 256, DA_UNSUPPORTED, "I64 elements cannot be states"},
    {"truths as states", D("'|b1'", "False", "(2, 4, 2, 2)"), 32, DA_UNSUPPORTED, "BOOL elements cannot be states"},
    {"Fortran order", D("'<f4'", "True", "(2, 4, 2, 2)"), 128, DA_UNSUPPORTED, "x.npy: Fortran order"},
    {"an order of 1", D("'<f4'", "1", "(2, 4, 2, 2)"), 128, DA_FORMAT, X "neither True nor False"},
    {"an order of None", D("'<f4'", "None", "(2, 4, 2, 2)"), 128, DA_FORMAT, X "neither True nor False"},
    {"half an order", "{'fortran_order': Tru", 128, DA_FORMAT, X "neither True nor False"},
    {"a scalar", S("()"), 4, DA_SHAPE, "x.npy"},
    {"a number as shape", S("2"), 128, DA_FORMAT, X "no \"(\""},
    {"a number in brackets", S("(2)"), 8, DA_SHAPE, "x.npy"},
    {"a list as shape", S("[2, 4, 2, 2]"), 128, DA_FORMAT, X "no \"(\""},
    {"rank 1", S("(32,)"), 128, DA_SHAPE, "x.npy"},
    {"rank 8", S("(2, 1, 1, 1, 1, 4, 2, 2)"), 128, DA_SHAPE, "x.npy"},
    {"rank 9", S("(2, 1, 1, 1, 1, 1, 4, 2, 2)"), 128, DA_FORMAT, X "more than 8 extents"},
    {"no rows", S("(0, 4, 2, 2)"), 0, DA_SHAPE, "no rows"},
    {"no channels", S("(2, 0, 2, 2)"), 0, DA_SHAPE, "empty states"},
    {"other channels", S("(2, 2, 4, 2)"), 128, DA_SHAPE, "the model's states"},
    {"fewer rows than labels", S("(1, 4, 2, 2)"), 64, DA_SHAPE, "2 labels for 1 samples"},
    {"below zero", S("(-2, 4, 2, 2)"), 128, DA_FORMAT, X "no number"},
    {"plus", S("(+2, 4, 2, 2)"), 128, DA_FORMAT, X "no number"},
    {"long integers of old", S("(2L, 4L, 2L, 2L)"), 128, DA_FORMAT, X "no \")\""},
    {"broken numbers", S("(2.0, 4, 2, 2)"), 128, DA_FORMAT, X "no \")\""},
    {"exponents", S("(1e1, 4, 2, 2)"), 128, DA_FORMAT, X "no \")\""},
    {"hexadecimal", S("(0x2, 4, 2, 2)"), 128, DA_FORMAT, X "no \")\""},
    {"a text as extent", S("('2', 4, 2, 2)"), 128, DA_FORMAT, X "no number"},
    {"two commas", S("(2,, 4, 2, 2)"), 128, DA_FORMAT, X "no number"},
    {"brackets in brackets", S("((2, 4), 2, 2)"), 128, DA_FORMAT, X "no number"},
    {"open shape", "{'shape': (2, 4, 2, 2", 128, DA_FORMAT, X "no \")\""},
    {"the largest number", S("(9223372036854775807, 4, 2, 2)"), 128, DA_FORMAT, "x.npy"},
    {"beyond the largest", S("(9223372036854775808, 4, 2, 2)"), 128, DA_FORMAT, X "an extent that is too large"},
    {"far beyond", S("(99999999999999999999999999999999999, 4, 2, 2)"), 128, DA_FORMAT, X "an extent that is too large"},
    {"product wraps to 0", S("(4294967296, 4294967296, 2, 2)"), 128, DA_FORMAT, "x.npy"},
    {"product wraps, and 0", S("(4294967296, 4294967296, 0, 2)"), 128, DA_FORMAT, "x.npy"},
    {"bytes wrap", S("(4611686018427387904, 1, 1, 1)"), 128, DA_FORMAT, "x.npy"},
    {"gigabytes over 128 bytes", S("(67108864, 4, 2, 2)"), 128, DA_FORMAT, "do not fit a file of"},
    {"one byte short", GOOD, 127, DA_FORMAT, "do not fit a file of"},
    {"no data", GOOD, 0, DA_FORMAT, "do not fit a file of"},
};

static char settings[512];

static void judge(const char *id, const uint8_t *image, size_t size, int32_t status, const char *part) {
    hostile_write("x.npy", image, size);
    hostile_trainer(id, settings, size, status, part);
}

/* An array of this version, head and stated length of the head. */
static size_t build(uint8_t *image, int version, uint64_t stated, const char *head, size_t data) {
    size_t length = strlen(head), start = version == 1 ? 10 : 12;
    memcpy(image, "\x93NUMPY", 6);
    image[6] = (uint8_t)version;
    image[7] = 0;
    memcpy(image + 8, &stated, start - 8);
    memcpy(image + start, head, length);
    memset(image + start + length, 0x3c, data);
    return start + length + data;
}

/* What stands before the dictionary. */
static void beginnings(void) {
    static uint8_t image[70000];
    size_t length = strlen(GOOD), size;
    for (int version = 0; version < 256; version = version < 5 ? version + 1 : version + 125) {
        char part[64];
        snprintf(part, sizeof part, "version %d of NumPy's format", version);
        size = build(image, version, length, GOOD, 128);
        judge(part, image, size, version >= 1 && version <= 3 ? DA_OK : DA_UNSUPPORTED, part);
    }
    const uint64_t stated[] = {0, 1, length - 1, length + 1, length + 200, 65535, 65536, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof stated / sizeof *stated; i++)
        for (int version = 1; version <= 2; version++) {
            char id[64];
            if (version == 1 && stated[i] > 65535) continue;
            size = build(image, version, stated[i], GOOD, 128);
            snprintf(id, sizeof id, "a stated length of %llu in version %d", (unsigned long long)stated[i], version);
            judge(id, image, size, DA_FORMAT, "x.npy: ");
        }
    size = build(image, 1, length, GOOD, 128);
    for (size_t at = 0; at < 6; at++) {
        uint8_t kept = image[at];
        image[at] ^= 0x20;
        judge("another first byte", image, size, DA_FORMAT, "no NumPy file");
        image[at] = kept;
    }
    for (size_t cut = 0; cut < size; cut += cut < 16 ? 1 : 7) judge("cut", image, cut, DA_FORMAT, "x.npy");
    /* Heads as long as they may be. */
    char *spaces = malloc(65600);
    memset(spaces, ' ', 65600);
    memcpy(spaces, GOOD, length);
    spaces[65536] = 0;
    size = build(image, 2, 65536, spaces, 128);
    judge("a head of 64 KiB", image, size, DA_OK, "");
    memset(spaces, '{', 65536);
    size = build(image, 2, 65536, spaces, 128);
    judge("a head of brackets", image, size, DA_FORMAT, X "no text");
    free(spaces);
}

void cases_npy(void) {
    static uint8_t image[4096];
    const char *head = D("'<i8'", "False", "(2,)");
    size_t size = build(image, 1, strlen(head), head, 0);
    memset(image + size, 0, 16);
    const char *labels = strdup(hostile_write("l.npy", image, size + 16));
    snprintf(settings, sizeof settings,
             "{\"method\":\"finetune\",\"steps\":1,\"batch\":1,\"data\":{\"latents\":\"%s/x.npy\",\"labels\":\"%s\"}}",
             hostile_folder(), labels);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        const struct hostile *h = &heads[i];
        size = build(image, 1, strlen(h->text), h->text, (size_t)h->data);
        judge(h->id, image, size, h->status, h->part);
    }
    beginnings();
    hostile_remove("x.npy");
}

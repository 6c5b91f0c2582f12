/* Each instruction set that this processor has, without threads and with some, against plain C.
 * Usage: table [isa]   Prints "table: N passed, N failed". */
#include "table.h"

int passed, failed;
const char *isa = "";
ck_pool *pool;

static uint64_t state;
void seed(uint64_t from) { state = from; }
uint64_t bits(void) {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
float number(float scale) { return ((float)(bits() >> 40) / (float)(1 << 23) - 1) * scale; }

/* ---- blocks ---- */

enum { GUARD = 128, BLOCKS = 512 };
static struct {
    unsigned char *base;
    int64_t before, bytes;
} blocks[BLOCKS];
static int used;

static void *block(int64_t count, int64_t before) {
    if (used == BLOCKS) abort();
    int64_t all = (GUARD + before + count + GUARD + 63) / 64 * 64;
    unsigned char *base = aligned_alloc(64, (size_t)all);
    if (!base) abort();
    memset(base, 0xa5, (size_t)all);
    blocks[used].base = base;
    blocks[used].before = GUARD + before;
    blocks[used++].bytes = count;
    return base + GUARD + before;
}

void *bytes(int64_t count) { return block(count, 0); }
float *floats(int64_t count, int64_t offset) {
    float *at = block(count * 4, offset * 4);
    memset(at, 0xff, (size_t)count * 4);
    return at;
}
float *random_floats(int64_t count, int64_t offset, float scale) {
    float *at = floats(count, offset);
    for (int64_t i = 0; i < count; i++) at[i] = number(scale);
    return at;
}

void release(const char *what) {
    while (used > 0) {
        used--;
        const unsigned char *base = blocks[used].base;
        int64_t before = blocks[used].before, end = before + blocks[used].bytes;
        int intact = 1;
        for (int64_t i = 0; i < before; i++) intact &= base[i] == 0xa5;
        for (int64_t i = end; i < end + GUARD; i++) intact &= base[i] == 0xa5;
        CHECK(intact, "%s writes outside of its arrays", what);
        free(blocks[used].base);
    }
}

int close_to(float got, double want, double tolerance) {
    if (isnan(got) || isnan(want)) return isnan(got) && isnan(want);
    return (double)got == want || fabs((double)got - want) <= tolerance * (1 + fabs(want));
}

double act(int32_t kind, double x) {
    switch (kind) {
        case CK_ACT_GELU_TANH: return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
        case CK_ACT_GELU_ERF: return 0.5 * x * (1 + erf(x * 0.7071067811865476));
        case CK_ACT_SILU: return x / (1 + exp(-x));
        case CK_ACT_GELU_QUICK: return x / (1 + exp(-1.702 * x));
        case CK_ACT_RELU: return fmax(x, 0);
        default: return x;
    }
}
double act_slope(int32_t kind, double x) {
    double h = 1e-5;
    return (act(kind, x + h) - act(kind, x - h)) / (2 * h);
}

int main(int count, char **arguments) {
    for (int32_t set = 0; set < CK_ISA_COUNT; set++) {
        isa = ck_isa_name(set);
        if (!ck_isa_supported(set) || (count > 1 && strcmp(arguments[1], isa) != 0)) continue;
        CHECK(ck_isa_select(set) && ck_isa_current() == set, "cannot be selected");
        for (int threads = 0; threads <= 3; threads += 3) {
            pool = threads ? ck_pool_create(threads) : NULL;
            seed(7);
            test_types();
            test_products();
            test_pairs();
            test_attention();
            test_windows();
            test_convolution();
            test_rows();
            test_learning();
            test_language();
            test_planes();
            test_signals();
            ck_pool_destroy(pool);
        }
        fprintf(stderr, "%s: done\n", isa);
    }
    printf("table: %d passed, %d failed\n", passed, failed);
    return failed != 0 || passed == 0;
}

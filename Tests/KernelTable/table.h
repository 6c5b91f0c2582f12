/* The kernels against plain C: what the programs of this folder share. Compiled without contraction of products and sums, so
 * that "each product and the sum rounded" can be written down as such, whatever the processor fuses. */
#ifndef TABLE_H
#define TABLE_H

#include <ckernels.h>
#include <ckernels_language.h>
#include <ckernels_learning.h>
#include <ckernels_planes.h>
#include <ckernels_signal.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern int passed, failed;
extern const char *isa; /* the instruction set at work */
extern ck_pool *pool;   /* null, or of some threads */

/* CHECK(condition, "text", ...): counts, and tells what failed on which instruction set. */
#define CHECK(condition, ...)                                        \
    do {                                                             \
        if (condition) passed++;                                     \
        else if (failed++ < 40) {                                    \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, isa); \
            fprintf(stderr, __VA_ARGS__);                            \
            fputc('\n', stderr);                                     \
        }                                                            \
    } while (0)

/* Widths around every register and strip, and one beyond a block. */
static const int64_t widths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 64, 65, 100, 300};
enum { WIDTHS = sizeof widths / sizeof *widths, OFFSETS = 3 };

/* ---- numbers ---- */

void seed(uint64_t state);
uint64_t bits(void);
float number(float scale); /* in -scale ... scale */

/* ---- blocks between guards, `offset` floats behind a cache line; all are given back by release ---- */

float *floats(int64_t count, int64_t offset); /* NaN */
float *random_floats(int64_t count, int64_t offset, float scale);
void *bytes(int64_t count);
void release(const char *what); /* checks every guard */

/* ---- comparisons ---- */

static inline int same_bits(const void *a, const void *b, int64_t count) { return memcmp(a, b, (size_t)count * 4) == 0; }
/* Within `tolerance` of 1 + the magnitude. */
int close_to(float got, double want, double tolerance);

double act(int32_t kind, double x);
double act_slope(int32_t kind, double x);

/* ---- the cases, for the instruction set and the pool at work ---- */

void test_products(void);
void test_pairs(void);
void test_attention(void);
void test_windows(void);
void test_convolution(void);
void test_types(void);
void test_rows(void);
void test_learning(void);
void test_language(void);
void test_planes(void);
void test_signals(void);

#endif

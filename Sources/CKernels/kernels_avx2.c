/* x86-64 with AVX2, FMA and F16C (2013 and later). 6 rows by two registers of columns: 12 of the 16 registers for sums, two for
 * the columns, two for the values of the rows. */
#if defined(__x86_64__)
#include "kernels.h"

#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define CK_TABLE         ck_kernels_avx2
#define CK_TABLE_ISA     CK_ISA_AVX2
#define CK_LANES         8
#define CK_TILE_ROWS     6
#define CK_BLOCK_ROWS    144
#define CK_FUSED         1
#define CK_HALF_HARDWARE 1
#define CK_PAIRED        0
#include "generic/kernels.inl"
#pragma clang attribute pop
#else
typedef int ck_no_kernels_here; /* a translation unit may not be empty */
#endif

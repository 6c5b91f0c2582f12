/* x86-64 with AVX512_BF16 beside AVX-512: the tile of kernels_avx512.c, each of whose steps multiplies two elements. */
#if defined(__x86_64__)
#include "kernels.h"

#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c"))), \
                             apply_to = function)
#define CK_TABLE          ck_pairs_avx512
#define CK_TABLE_ISA      CK_ISA_AVX512
#define CK_LANES          16
#define CK_TILE_ROWS      12
#define CK_BLOCK_ROWS     264
#define CK_FUSED          1
#define CK_HALF_HARDWARE  1
#define CK_PAIRED         1
#define CK_BRAIN_HARDWARE 1
#include "generic/pairs.inl"
#pragma clang attribute pop
#else
typedef int ck_no_pairs_here; /* a translation unit may not be empty */
#endif

/* x86-64 with AVX-512 F, BW, DQ and VL. 32 registers allow twice the rows per register tile. */
#if defined(__x86_64__)
#include "kernels.h"

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), apply_to = function)
#define CK_TABLE         ck_kernels_avx512
#define CK_TABLE_ISA     CK_ISA_AVX512
#define CK_LANES         16
#define CK_TILE_ROWS     12
#define CK_FUSED         1
#define CK_HALF_HARDWARE 1
#include "generic/kernels.inl"
#pragma clang attribute pop
#else
typedef int ck_no_kernels_here; /* a translation unit may not be empty */
#endif

/* x86-64 with AVX-512 F, BW, DQ and VL.
 *
 * A tile of 12 rows by two registers of columns takes 24 of the 32 registers for sums, two for the columns and some for the
 * values of the rows. Two multiply-adds begin in each cycle and take four, so eight sums would keep the units busy; what
 * decides is what a step of k reads, here 14 lines for 24 multiply-adds, where two loads are done in a cycle. 14 rows by two
 * and 9 by three registers were no faster. The second-level caches of these processors hold 1 MiB and more: hence the larger
 * block. */
#if defined(__x86_64__)
#include "kernels.h"

#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), apply_to = function)
#define CK_TABLE         ck_kernels_avx512
#define CK_TABLE_ISA     CK_ISA_AVX512
#define CK_LANES         16
#define CK_TILE_ROWS     12
#define CK_BLOCK_ROWS    264
#define CK_FUSED         1
#define CK_HALF_HARDWARE 1
#define CK_PAIRED        0
#include "generic/kernels.inl"
#pragma clang attribute pop
#else
typedef int ck_no_kernels_here; /* a translation unit may not be empty */
#endif

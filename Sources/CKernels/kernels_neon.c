/* 64-bit ARM. 8 rows by two registers of columns: 16 of the 32 registers for sums, as two to four multiply-adds begin in each
 * cycle and take four. */
#if defined(__aarch64__)
#include "kernels.h"

#define CK_TABLE         ck_kernels_neon
#define CK_TABLE_ISA     CK_ISA_NEON
#define CK_LANES         4
#define CK_TILE_ROWS     8
#define CK_BLOCK_ROWS    144
#define CK_FUSED         1
#define CK_HALF_HARDWARE 1
#define CK_PAIRED        0
#include "generic/kernels.inl"
#else
typedef int ck_no_kernels_here; /* a translation unit may not be empty */
#endif

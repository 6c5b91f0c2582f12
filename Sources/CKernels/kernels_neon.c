/* 64-bit ARM. 32 registers: eight rows per register tile. */
#if defined(__aarch64__)
#include "kernels.h"

#define CK_TABLE         ck_kernels_neon
#define CK_TABLE_ISA     CK_ISA_NEON
#define CK_LANES         4
#define CK_TILE_ROWS     8
#define CK_FUSED         1
#define CK_HALF_HARDWARE 1
#include "generic/kernels.inl"
#else
typedef int ck_no_kernels_here; /* a translation unit may not be empty */
#endif

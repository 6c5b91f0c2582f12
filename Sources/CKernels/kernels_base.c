/* Every machine: four lanes, SSE2 on x86-64; no fused multiply-add and no half-precision instructions there. 6 rows by two
 * registers of columns use all of its 16 registers: a product needs one beside the columns' two and the row's value. */
#include "kernels.h"

#define CK_TABLE         ck_kernels_base
#define CK_TABLE_ISA     CK_ISA_BASE
#define CK_LANES         4
#define CK_TILE_ROWS     6
#define CK_BLOCK_ROWS    144
#define CK_FUSED         0
#define CK_HALF_HARDWARE 0
#define CK_PAIRED        0
#include "generic/kernels.inl"

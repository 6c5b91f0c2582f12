/* Products of pairs of bf16 on every machine, the definition of their bits: two fused multiply-adds for a pair, by the C
 * library where there is no instruction. Several times as slow as f32, so that nobody is given it who did not ask for it
 * (dispatch.c). */
#include "kernels.h"

#define CK_TABLE          ck_pairs_base
#define CK_TABLE_ISA      CK_ISA_BASE
#define CK_LANES          4
#define CK_TILE_ROWS      6
#define CK_BLOCK_ROWS     144
#define CK_FUSED          0
#define CK_HALF_HARDWARE  0
#define CK_PAIRED         1
#define CK_BRAIN_HARDWARE 0
#include "generic/pairs.inl"

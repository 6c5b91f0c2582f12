/* Products of pairs of bf16 (units.inl): the bodies of packing and of the product, and no others. Set as for kernels.inl, and
 * CK_BRAIN_HARDWARE, whether there are instructions for bf16. */
#pragma clang diagnostic ignored "-Wunused-function" /* of what else the files have */
#include "simd.inl"
#include "cast.inl"
#include "math.inl"
#include "elementwise.inl"
#include "units.inl"
#include "gemm.inl"
#include "block.inl"
#include "pack.inl"
#include "few.inl"
#include "columns.inl"

const ck_kernels CK_TABLE = {
    .isa = CK_TABLE_ISA,
    .unit = UNIT,
    .gemm_rows = CK_TILE_ROWS,
    .block_rows = CK_BLOCK_ROWS,
    .gemm_columns = TILE_COLUMNS > CK_STRIP ? TILE_COLUMNS : CK_STRIP,
    .pack_rows = pack_rows,
    .pack_cols = pack_cols,
    .pack_block = pack_block,
    .pack_block_columns = pack_block_columns,
    .gemm_block = gemm_block,
    .few_rows = few_rows,
    .few_pack = few_pack,
    .softmax_columns = softmax_columns,
    .scale_columns = scale_columns,
};

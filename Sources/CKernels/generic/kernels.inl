/* One body for every instruction set. The including file sets CK_LANES (floats per register), CK_TILE_ROWS (rows of a
 * matrix-product tile), CK_BLOCK_ROWS (rows that are packed at once), CK_FUSED (whether it has fused multiply-adds), CK_HALF_HARDWARE
 * (half-precision conversion instructions) and CK_TABLE; CK_PAIRED is for pairs.inl. All functions are static, so each copy keeps the target attribute of its
 * file; only the table is visible. */
#include "simd.inl"
#include "cast.inl"
#include "math.inl"
#include "elementwise.inl"
#include "norm.inl"
#include "dot.inl"
#include "units.inl"
#include "gemm.inl"
#include "block.inl"
#include "pack.inl"
#include "quantise.inl"
#include "few.inl"
#include "language.inl"
#include "backward.inl"
#include "optimiser.inl"
#include "winograd.inl"
#include "signal.inl"

const ck_kernels CK_TABLE = {
    .isa = CK_TABLE_ISA,
    .unit = UNIT,
    .gemm_rows = CK_TILE_ROWS,
    .block_rows = CK_BLOCK_ROWS,
    .gemm_columns = TILE_COLUMNS > CK_STRIP ? TILE_COLUMNS : CK_STRIP,
    .to_f32 = to_f32,
    .from_f32 = from_f32,
    .strips_to_f32 = strips_to_f32,
    .pack_rows = pack_rows,
    .pack_cols = pack_cols,
    .strip_largest = strip_largest,
    .strip_quantised = strip_quantised,
    .gemm_panel = gemm_panel,
    .pack_block = pack_block,
    .pack_block_columns = pack_block_columns,
    .gemm_block = gemm_block,
    .linear_rows = linear_rows,
    .few_rows = few_rows,
    .few_pack = few_pack,
    .activation = activation,
    .softmax_row = softmax_row,
    .softmax_weights = softmax_weights,
    .softmax_block = softmax_block,
    .scale_row = scale_row,
    .leaky = leaky,
    .add = add_arrays,
    .axpby = axpby_arrays,
    .multiply_add = multiply_add,
    .all_finite = all_finite,
    .to_u8 = to_u8,
    .layer_norm_row = layer_norm_row,
    .sums = sums,
    .affine = affine,
    .winograd_take = winograd_take,
    .winograd_input = winograd_input,
    .winograd_weights = winograd_weights,
    .winograd_result = winograd_result,
    .every_other = every_other,
    .put_line = put_line,
    .signal_take = signal_take,
    .signal_put = signal_put,
    .activation_backward = activation_backward,
    .gated_row_backward = gated_row_backward,
    .layer_norm_row_backward = layer_norm_row_backward,
    .mix = mix,
    .mix_backward = mix_backward,
    .softmax_backward = softmax_backward,
    .adamw = adamw,
    .rms_norm_row = rms_norm_row,
    .gated_row = gated_row,
    .rotate = rotate,
    .best = best_of,
    .exp_sum = exp_sum,
};

/* Convolutions of signals by Winograd's transform F(4, 4) (ckernels_signal.h).
 *
 * The taps are taken in groups of as many as a tile has rows. What a tile of the input is for one group, the tile before it is
 * for the next: so the input is transformed once, and the groups of a point are one product with overlapping rows, as in
 * signal.c. A task takes some tiles from the input to the output, panel by panel of its columns: nothing as large as the signal
 * is ever there. */
#include "include/ckernels_signal.h"
#include "kernels.h"

enum {
    TILE = CK_SIGNAL_TILE,
    POINTS = CK_SIGNAL_POINTS,
    MIN_CHANNELS = 32,
    MAX_GROUPS = 8,            /* each takes a tile more of the input for a task */
    CHANNEL_COST = 100,        /* transforming a channel of a tile, in multiply-adds of a lane */
    INPUT_FLOATS = 160 * 1024, /* of a task's transformed input: in a second-level cache with a panel of weights and its sums */
    MIN_TILES = 24,
    MAX_TILES = 96,      /* of a task */
    PANEL = 128,         /* columns at once */
    BLOCK_COLUMNS = 320, /* that repay packing the rows too */
    PADDING = 16,        /* floats behind each point, so that they do not all fall on the same lines of a cache */
    TASKS_PER_THREAD = 6 /* so that threads finish together */
};

int32_t ck_signal_tiles_worth(int64_t n, int64_t inputs, int64_t taps) {
    int64_t saved = TILE * taps - POINTS * ck_signal_groups(taps);
    if (n < MIN_CHANNELS || inputs < MIN_CHANNELS || ck_signal_groups(taps) > MAX_GROUPS) return 0;
    return saved * inputs > CHANNEL_COST * (inputs + n) / n;
}

/* ---- weights ---- */

/* Element [point][tap of a group]: x^tap over the product of the differences to the other finite points. */
static const double factors[POINTS][TILE] = {
    {-1 / 2.0, 0, 0, 0},
    {-1 / 3.0, -1 / 3.0, -1 / 3.0, -1 / 3.0},
    {1 / 9.0, -1 / 9.0, 1 / 9.0, -1 / 9.0},
    {1 / 36.0, 2 / 36.0, 4 / 36.0, 8 / 36.0},
    {-1 / 60.0, 2 / 60.0, -4 / 60.0, 8 / 60.0},
    {32 / 45.0, 16 / 45.0, 8 / 45.0, 4 / 45.0},
    {0, 0, 0, 1},
};

typedef struct {
    const float *w;
    float *packed;
    int64_t n, inputs, taps, k;
} pack_plan;

/* Lines [k, k + count) of one group for one column: the sums of its taps, each in double precision. */
static void transform(const pack_plan *p, const double *factor, const float *row, int64_t k, int64_t count, float *lines) {
    double sums[CK_MAX_DEPTH] = {0};
    int64_t first = k / p->inputs * TILE, taps = ck_min(TILE, p->taps - first);
    const float *from = row + first * p->inputs + k % p->inputs;
    for (int64_t i = 0; i < taps; i++, from += p->inputs)
        for (int64_t c = 0; factor[i] != 0 && c < count; c++) sums[c] += factor[i] * (double)from[c];
    for (int64_t c = 0; c < count; c++) lines[c * CK_STRIP] = (float)sums[c];
}

/* A strip of columns of one point, as ck_pack_matrix has them. */
static void pack_task(void *context, int64_t index, int32_t thread) {
    const pack_plan *p = context;
    (void)thread;
    int64_t padded = ck_round_up(p->n, CK_STRIP), strips = padded / CK_STRIP, depth = ck_gemm_depth(p->k);
    int64_t first = index % strips * CK_STRIP;
    float *to = p->packed + index / strips * padded * p->k;
    for (int64_t k0 = 0; k0 < p->k; k0 += depth) {
        int64_t end = ck_min(k0 + depth, p->k);
        float *lines = to + k0 * padded + first * (end - k0);
        for (int64_t c = 0; c < CK_STRIP; c++) {
            const float *row = p->w + ck_min(first + c, p->n - 1) * p->taps * p->inputs;
            for (int64_t k = k0, count; k < end; k += count) {
                count = ck_min(end - k, p->inputs - k % p->inputs);
                transform(p, factors[index / strips], row, k, count, lines + (k - k0) * CK_STRIP + c);
            }
        }
    }
}

int64_t ck_signal_tiles_count(int64_t n, int64_t inputs, int64_t taps) {
    return POINTS * ck_packed_count(n, ck_signal_groups(taps) * inputs);
}

void ck_signal_tiles_pack(ck_pool *pool, const float *w, int64_t n, int64_t inputs, int64_t taps, float *packed) {
    pack_plan p = {.w = w, .packed = packed, .n = n, .inputs = inputs, .taps = taps, .k = ck_signal_groups(taps) * inputs};
    ck_run(pool, POINTS * ck_ceil_div(n, CK_STRIP), pack_task, &p);
}

/* ---- products ---- */

typedef struct {
    const ck_signal_tiles_args *args;
    const ck_kernels *kernels;
    int64_t groups, k;
    int64_t tiles, each, blocks; /* of a task; of a phase; tasks of a phase */
    int64_t panel;
    int32_t packs;                                /* whether ck_gemm_block */
    int64_t input_floats, sum_floats, own_floats; /* of a point; of a thread */
} plan;

static plan make_plan(int32_t threads, const ck_signal_tiles_args *a) {
    plan p = {.args = a, .kernels = ck_active(), .groups = ck_signal_groups(a->taps)};
    p.k = p.groups * a->inputs;
    p.packs = a->n >= BLOCK_COLUMNS;
    p.panel = ck_round_up(ck_ceil_div(a->n, ck_ceil_div(a->n, p.packs ? 2 * BLOCK_COLUMNS : PANEL)), 2 * CK_STRIP);
    p.each = ck_ceil_div(ck_ceil_div(a->rows, a->dilation), TILE);
    int64_t most = ck_max(MIN_TILES, ck_min(MAX_TILES, INPUT_FLOATS / (POINTS * a->inputs)));
    int64_t wanted = ck_ceil_div((int64_t)threads * TASKS_PER_THREAD, a->dilation);
    int64_t cuts = ck_max(ck_ceil_div(p.each, most), ck_min(wanted, p.each / MIN_TILES));
    p.tiles = ck_round_up(ck_ceil_div(p.each, ck_max(cuts, 1)), p.kernels->gemm_rows);
    p.blocks = ck_ceil_div(p.each, p.tiles);
    p.input_floats = (p.tiles + p.groups - 1) * a->inputs + PADDING;
    p.sum_floats = p.tiles * p.panel + PADDING;
    int64_t pack = p.packs ? (int64_t)ck_gemm_block_floats(p.kernels, p.k) : 0;
    p.own_floats = ck_round_up(POINTS * (p.input_floats + p.sum_floats) + a->inputs + pack, 16);
    return p;
}

/* Tiles [first, first + count) of a phase of the input. */
static void take(const plan *p, int64_t phase, int64_t first, int64_t count, const float *zeros, float *to) {
    const ck_signal_tiles_args *a = p->args;
    for (int64_t tile = 0; tile < count; tile++, to += a->inputs) {
        const float *rows[POINTS];
        for (int64_t i = 0; i < POINTS; i++) {
            int64_t row = a->first + phase + ((first + tile) * TILE + i) * a->dilation;
            rows[i] = row < 0 || row >= a->x_rows ? zeros : a->x + row * a->inputs;
        }
        p->kernels->signal_take(rows, a->inputs, a->x_slope, to, p->input_floats);
    }
}

/* The rows of tiles [first, first + count) of a phase in columns [column, column + columns). */
static void put(const plan *p, int64_t phase, int64_t first, int64_t count, int64_t column, int64_t columns,
                const float *sums) {
    const ck_signal_tiles_args *a = p->args;
    ck_signal_sums tile = {
        .sums = sums,
        .stride = p->sum_floats,
        .n = columns,
        .bias = a->bias ? a->bias + column : NULL,
        .step = a->dilation * a->out_row,
        .accumulate = a->accumulate,
        .slope = a->slope,
    };
    for (int64_t t = 0; t < count; t++, tile.sums += p->panel) {
        int64_t row = phase + (first + t) * TILE * a->dilation;
        tile.out = a->out + row * a->out_row + column;
        tile.count = (int32_t)ck_min(TILE, ck_ceil_div(a->rows - row, a->dilation));
        p->kernels->signal_put(&tile);
    }
}

static void tiles_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_signal_tiles_args *a = p->args;
    int64_t phase = index % a->dilation, first = index / a->dilation * p->tiles;
    /* Later phases may have a row less. */
    int64_t count = ck_min(p->tiles, ck_ceil_div(ck_ceil_div(a->rows - phase, a->dilation), TILE) - first);
    if (count <= 0) return;
    float *input = (float *)a->scratch + thread * p->own_floats, *sums = input + POINTS * p->input_floats;
    float *zeros = sums + POINTS * p->sum_floats, *room = zeros + a->inputs;
    memset(zeros, 0, (size_t)a->inputs * sizeof *zeros);
    take(p, phase, first, count + p->groups - 1, zeros, input);
    for (int64_t column = 0; column < a->n; column += p->panel) {
        int64_t columns = ck_min(p->panel, a->n - column);
        for (int64_t point = 0; point < POINTS; point++) {
            ck_gemm_args product = {
                .a = input + point * p->input_floats,
                .lda = a->inputs,
                .b = a->w + point * ck_packed_count(a->n, p->k),
                .ldb = a->n,
                .first = column,
                .dtype = CK_F32,
                .form = CK_B_PACKED,
                .c = sums + point * p->sum_floats,
                .ldc = p->panel,
                .m = count,
                .n = columns,
                .k = p->k,
                .panel = p->panel,
                .pack = room,
            };
            if (p->packs) ck_gemm_block(p->kernels, &product);
            else ck_gemm(p->kernels, &product);
        }
        put(p, phase, first, count, column, columns, sums);
    }
}

void ck_signal_tiles(ck_pool *pool, const ck_signal_tiles_args *args) {
    if (args->rows <= 0 || args->n <= 0 || args->inputs <= 0 || args->taps <= 0 || args->dilation <= 0) return;
    plan p = make_plan(ck_pool_threads(pool), args);
    ck_run(pool, p.blocks * args->dilation, tiles_task, &p);
}

size_t ck_signal_tiles_scratch(int32_t threads, const ck_signal_tiles_args *args) {
    plan p = make_plan(ck_max(threads, 1), args);
    return (size_t)ck_max(threads, 1) * (size_t)p.own_floats * sizeof(float);
}

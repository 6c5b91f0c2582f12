/* Convolutions of any form (conv.h). A group of columns at a time is taken from the input, then come blocks of output channels,
 * each on one thread: their weights, a product for every point, the pixels. So nothing as large as an image's matrices is ever
 * there, and the weights stay as the checkpoint has them and are read once for each group. */
#include "conv.h"

enum {
    GROUP_FLOATS = 6 * 1024 * 1024, /* of a group's panels, which a third-level cache should hold */
    MAX_GROUP = 1024,               /* columns */
    PADDING = 16,                   /* floats behind each matrix, so that they do not all fall on the same lines of a cache */
    MIN_BLOCK = 24,
    MAX_BLOCK = 96,    /* output channels of a task */
    MAX_CUTS = 8,      /* of a group's columns */
    WEIGHT_COST = 200, /* preparing a weight, and */
    COLUMN_COST = 4,   /* fetching an element of a panel, in multiply-adds of a lane */
    CACHE_LINE = 64,
};

int64_t ck_conv_runs(const ck_conv_plan *p, int64_t first, int64_t count, ck_conv_run *runs) {
    int64_t n = 0;
    for (int64_t at = 0; at < count; n++) {
        int64_t image = (first + at) / p->area, place = (first + at) % p->area, x = place % p->across;
        int64_t length = ck_min(count - at, p->across - x);
        runs[n] = (ck_conv_run){at, length, image, place / p->across * p->step, x * p->step};
        at += length;
    }
    return n;
}

void ck_take_weights(const ck_conv_plan *p, int64_t at, int64_t rows, int64_t count, int64_t next, float *to, float *room) {
    const ck_conv2d_args *a = &p->a;
    int64_t k = a->in_channels * a->kh * a->kw, lda = k;
    const float *from = (const float *)a->w + at;
    /* Short pieces of lines far apart: no processor foresees those that come next. */
    for (int64_t i = 0; next >= 0 && i < rows; i++) {
        const char *line = ck_at(a->w, a->dtype, next + i * k), *end = ck_at(a->w, a->dtype, next + i * k + count);
        for (; line < end; line += CACHE_LINE) __builtin_prefetch(line);
    }
    if (a->dtype != CK_F32) {
        for (int64_t i = 0; i < rows; i++)
            p->kernels->to_f32(a->dtype, ck_at(a->w, a->dtype, at + i * k), room + i * count, count);
        from = room, lda = count;
    }
    p->products->pack_block(from, lda, rows, count, to);
}

int64_t ck_weights_after(const ck_conv_plan *p, int64_t row, int64_t count, int64_t r, int64_t k0, int64_t deep) {
    int64_t following = r + p->products->gemm_rows;
    if (following < count) return (row + following) * p->k + k0;
    return k0 + deep < p->k ? row * p->k + k0 + deep : -1;
}

static void input_task(void *context, int64_t index, int32_t thread) {
    const ck_conv_plan *p = context;
    (void)thread;
    int64_t parts = ck_ceil_div(p->count, CK_TAKEN_COLUMNS), first = index % parts * CK_TAKEN_COLUMNS;
    int64_t last = ck_min(first + CK_TAKEN_COLUMNS, p->count), rows = p->points > 1 ? CK_TAKEN_ROWS / CK_TAPS : CK_TAKEN_ROWS;
    int64_t from = index / parts * rows, to = ck_min(from + rows, p->k);
    if (p->points > 1) ck_winograd_input(p, from, to, first, last);
    else ck_gather_input(p, from, to, first, last);
}

/* `lines` are the pixels of a strip of columns of one output channel, lines of CK_STRIP * step of them. */
static void put(const ck_conv_plan *p, const float *lines, int64_t channel, const ck_conv_run *runs, int64_t n) {
    const ck_conv2d_args *a = &p->a;
    for (const ck_conv_run *r = runs; r < runs + n; r++) {
        int64_t width = ck_min(r->count * p->step, a->out_w - r->x), height = ck_min(p->step, a->out_h - r->y);
        float bias = a->bias ? a->bias[channel] : 0.0f;
        if (a->vectors) bias += a->vectors[r->image * a->vector_stride + channel];
        for (int64_t i = 0; i < height; i++) {
            int64_t at = ((r->image * a->out_channels + channel) * a->out_h + r->y + i) * a->out_w + r->x;
            const float *from = lines + (i * CK_STRIP + r->at) * p->step;
            p->kernels->put_line(from, bias, a->add ? a->add + at : NULL, a->out + at, width);
        }
    }
}

/* Products of a task to the output's pixels. */
static void put_sums(const ck_conv_plan *p, const float *sums, int64_t row, int64_t rows, int64_t column, int64_t columns) {
    int64_t line = p->task_columns + PADDING, strip = p->points > 1 ? CK_STRIP : CK_TAKEN_COLUMNS;
    float lines[4 * 4 * CK_STRIP];
    for (int64_t at = 0; at < columns; at += strip) {
        ck_conv_run runs[CK_TAKEN_COLUMNS];
        int64_t n = ck_conv_runs(p, p->first + column + at, ck_min(strip, columns - at), runs);
        for (int64_t r = 0; r < rows; r++) {
            const float *from = sums + r * line + at;
            if (p->points > 1) {
                p->kernels->winograd_result((int32_t)p->side, from, p->sum_floats, 2 * line, lines);
                from = lines;
            }
            put(p, from, row + r, runs, n);
        }
    }
}

static void block_task(void *context, int64_t index, int32_t thread) {
    const ck_conv_plan *p = context;
    int64_t row_blocks = ck_ceil_div(p->a.out_channels, p->task_rows);
    int64_t row = index % row_blocks * p->task_rows, rows = ck_min(p->task_rows, p->a.out_channels - row);
    int64_t column = index / row_blocks * p->task_columns, columns = ck_min(p->task_columns, p->count - column);
    float *weights = p->own + (size_t)thread * p->own_floats, *sums = weights + p->points * p->weight_floats;
    float *room = sums + p->points * p->sum_floats;
    for (int64_t block = 0; block < p->blocks; block++) {
        int64_t k0 = block * p->depth, deep = ck_min(p->depth, p->k - k0), units = ck_ceil_div(deep, p->unit);
        if (p->points > 1) ck_winograd_weights(p, row, rows, k0, deep, weights, room);
        else ck_gather_weights(p, row, rows, k0, deep, weights, room);
        for (int64_t point = 0; point < p->points; point++) {
            const float *packed = p->panels + (block * p->points + point) * p->panel_floats + column * units;
            int32_t last = point + 1 == p->points && block + 1 == p->blocks;
            ck_panel_args panel = {
                .a = weights + point * p->weight_floats,
                .packed = packed,
                .c = sums + point * p->sum_floats,
                .ldc = p->task_columns + PADDING,
                .m = rows,
                .n = columns,
                .k = units,
                .accumulate = block > 0,
                .act = CK_ACT_NONE,
                .next = packed + p->panel_floats,
                .next_bytes = last ? 0 : p->products->gemm_columns * units * (int64_t)sizeof(float),
            };
            p->products->gemm_block(&panel);
        }
    }
    put_sums(p, sums, row, rows, column, columns);
}

/* Cuts a group into tasks, so that threads finish together and neither the weights are prepared too often nor the panels
 * fetched for too few of them. No element's bits depend on it. */
static void cut(ck_conv_plan *p, int32_t threads) {
    int64_t tile = p->products->gemm_rows, best = INT64_MAX;
    int64_t most = ck_max(ck_round_up(MIN_BLOCK, tile), ck_min(MAX_BLOCK, ck_round_up(p->a.out_channels, tile)));
    for (int64_t rows = ck_round_up(MIN_BLOCK, tile); rows <= most; rows += tile) {
        for (int64_t cuts = 1; cuts <= MAX_CUTS; cuts *= 2) {
            int64_t columns = ck_round_up(ck_ceil_div(p->group, cuts), 2 * CK_STRIP);
            if (cuts > 1 && columns < 4 * CK_STRIP) break;
            int64_t tasks = ck_ceil_div(p->a.out_channels, rows) * ck_ceil_div(p->group, columns);
            int64_t each = rows * (p->points * columns + WEIGHT_COST) + p->points * columns * COLUMN_COST;
            int64_t cost = ck_ceil_div(tasks, threads) * each;
            if (cost < best) best = cost, p->task_rows = rows, p->task_columns = columns;
        }
    }
}

static ck_conv_plan make_plan(int32_t threads, const ck_conv2d_args *args) {
    ck_conv_plan p = {.a = *args, .kernels = ck_active(), .side = 1, .step = 1, .points = 1};
    p.products = args->precision == CK_PAIRS && args->form == CK_CONV_DIRECT ? ck_active_pairs() : p.kernels;
    p.unit = p.products->unit;
    ck_conv2d_args *a = &p.a;
    p.k = a->in_channels;
    if (a->form == CK_CONV_DIRECT) {
        p.k *= a->kh * a->kw;
        /* A 1 x 1 convolution sees one long line. */
        if (a->kh == 1 && a->kw == 1 && a->stride == 1 && a->upsample == 1 && a->out_h == a->h && a->out_w == a->width)
            a->width = a->out_w *= a->h, a->h = a->out_h = 1;
    } else {
        p.side = a->form, p.step = p.side - 2, p.points = p.side * p.side;
    }
    p.across = ck_ceil_div(a->out_w, p.step), p.area = p.across * ck_ceil_div(a->out_h, p.step), p.columns = a->batch * p.area;
    p.depth = ck_gemm_depth(ck_ceil_div(p.k, p.unit)) * p.unit, p.blocks = ck_ceil_div(p.k, ck_max(p.depth, 1));
    int64_t most = ck_max(2, GROUP_FLOATS / (p.points * ck_max(p.k, 1)) / (2 * CK_STRIP)) * (2 * CK_STRIP);
    int64_t groups = ck_ceil_div(p.columns, ck_min(most, MAX_GROUP));
    p.group = ck_round_up(ck_ceil_div(p.columns, ck_max(groups, 1)), CK_STRIP);
    cut(&p, ck_max(threads, 1));
    int64_t units = p.depth / p.unit, tile = p.products->gemm_rows;
    p.panel_floats = units * p.group + PADDING;
    p.weight_floats = ck_round_up(p.task_rows, tile) * units + PADDING;
    p.sum_floats = p.task_rows * (p.task_columns + PADDING) + PADDING;
    /* Behind them room for the weights on their way: as they are widened, and side by side. */
    p.own_floats = (size_t)(p.points * (p.weight_floats + p.sum_floats) + 2 * (tile * CK_MAX_DEPTH * p.unit + PADDING));
    return p;
}

void ck_conv2d(ck_pool *pool, const ck_conv2d_args *args) {
    ck_conv_plan p = make_plan(ck_pool_threads(pool), args);
    if (p.columns <= 0 || p.k <= 0 || args->out_channels <= 0) return;
    p.panels = args->scratch;
    p.own = p.panels + p.blocks * p.points * p.panel_floats;
    int64_t rows = p.points > 1 ? CK_TAKEN_ROWS / CK_TAPS : CK_TAKEN_ROWS;
    for (p.first = 0; p.first < p.columns; p.first += p.group) {
        p.count = ck_min(p.group, p.columns - p.first);
        ck_run(pool, ck_ceil_div(p.count, CK_TAKEN_COLUMNS) * ck_ceil_div(p.k, rows), input_task, &p);
        ck_run(pool, ck_ceil_div(args->out_channels, p.task_rows) * ck_ceil_div(p.count, p.task_columns), block_task, &p);
    }
}

size_t ck_conv2d_scratch(int32_t threads, const ck_conv2d_args *args) {
    ck_conv_plan p = make_plan(threads, args);
    return ((size_t)(p.blocks * p.points * p.panel_floats) + (size_t)ck_max(threads, 1) * p.own_floats) * sizeof(float);
}

/* Costs of one sample in multiply-adds of a lane, as measured where two registers of 16 lanes begin each cycle: what is taken
 * from the input or put to the output costs as much as some products. Direct sums of pairs take half of the time, and still
 * nearly twice that of F(4,3), or as much as F(2,3) at 8 x 8 pixels: the choice is the same for both, and so are the bits where
 * it is a transform. */
static int64_t form_cost(const ck_conv2d_args *a, int32_t form) {
    int64_t in = a->in_channels, out = a->out_channels, rows = ck_round_up(out, 4);
    if (form == CK_CONV_DIRECT) return ck_round_up(a->out_h * a->out_w, CK_STRIP) * in * CK_TAPS * (rows + 8);
    int64_t step = form - 2, points = form * form;
    int64_t tiles = ck_ceil_div(a->out_h, step) * ck_ceil_div(a->out_w, step), columns = ck_round_up(tiles, CK_STRIP);
    int64_t products = columns * points * in * rows * 9 / 8, weights = in * out * points * 8;
    if (columns == CK_STRIP) products = products * 3 / 2; /* half a tile of registers: as many values of the rows for it */
    return products + weights + columns * points * (12 * in + 20 * rows);
}

int32_t ck_conv2d_form(const ck_conv2d_args *args, int32_t transforms_only) {
    if (args->kh != 3 || args->kw != 3 || args->stride != 1) return CK_CONV_DIRECT;
    int32_t best = form_cost(args, CK_CONV_F4) < form_cost(args, CK_CONV_F2) ? CK_CONV_F4 : CK_CONV_F2;
    return transforms_only || form_cost(args, best) < form_cost(args, CK_CONV_DIRECT) ? best : CK_CONV_DIRECT;
}

/* Convolution as a matrix product: weights [out, in*kh*kw] times columns gathered straight into the packed form. Output
 * pixels of all images form one sequence that is cut into strips, so small images share a strip. */
#include "kernels.h"

enum { STRIP = 192, MAX_OUT = 256, MIN_OUT = 48, TASKS_PER_THREAD = 3 };

typedef struct {
    ck_conv2d_args a; /* with a 1x1 convolution seen as one long line */
    const ck_kernels *kernels;
    const float *w;
    float *scratch;
    int64_t k, area, pixels, strips, out_block;
    size_t scratch_floats, pack_floats;
} plan;

/* Output pixels of a strip that lie in one output line, and where tap (0, 0) of the first of them reads. */
typedef struct {
    int64_t length, image, iy, ix;
} run;

static int64_t list_runs(const plan *p, int64_t first, int64_t count, run *runs) {
    const ck_conv2d_args *a = &p->a;
    int64_t n = 0;
    for (int64_t q = 0; q < count; n++) {
        int64_t image = (first + q) / p->area, pixel = (first + q) % p->area;
        int64_t oy = pixel / a->out_w, ox = pixel % a->out_w, length = ck_min(count - q, a->out_w - ox);
        runs[n] = (run){length, image, oy * a->stride - a->pad_top, ox * a->stride - a->pad_left};
        q += length;
    }
    return n;
}

/* One run of one tap: source positions step by `stride` over the enlarged input. */
static void gather_run(const ck_conv2d_args *a, const float *plane, int64_t iy, int64_t ix, float *to, int64_t count) {
    int64_t up = a->upsample, limit = a->width * up, i = 0;
    if (iy < 0 || iy >= a->h * up) {
        memset(to, 0, (size_t)count * sizeof *to);
        return;
    }
    const float *line = plane + iy / up * a->width;
    for (; i < count && ix < 0; i++, ix += a->stride) to[i] = 0;
    int64_t inside = ix < limit ? ck_min(count - i, ck_ceil_div(limit - ix, a->stride)) : 0;
    if (a->stride == 1 && up == 1) memcpy(to + i, line + ix, (size_t)inside * sizeof *to);
    else if (up == 1)
        for (int64_t d = 0; d < inside; d++) to[i + d] = line[ix + d * a->stride];
    else
        for (int64_t d = 0; d < inside; d++) to[i + d] = line[(ix + d * a->stride) / up];
    for (i += inside; i < count; i++) to[i] = 0;
}

/* Columns k0...k1 of the gathered matrix for pixels [first, first + count), in packed strips. */
static void gather(const plan *p, const run *runs, int64_t n, int64_t count, int64_t k0, int64_t k1, float *packed) {
    const ck_conv2d_args *a = &p->a;
    int64_t depth = k1 - k0;
    float line[STRIP + CK_STRIP];
    memset(line + count, 0, (size_t)(ck_round_up(count, CK_STRIP) - count) * sizeof *line);
    for (int64_t k = k0; k < k1; k++) {
        int64_t kx = k % a->kw, ky = k / a->kw % a->kh, channel = k / (a->kw * a->kh);
        float *at = line;
        for (const run *r = runs; r < runs + n; at += r++->length) {
            const float *plane = a->x + (r->image * a->in_channels + channel) * a->h * a->width;
            gather_run(a, plane, r->iy + ky, r->ix + kx, at, r->length);
        }
        float *to = packed + (k - k0) * CK_STRIP;
        for (int64_t q = 0; q < count; q += CK_STRIP) memcpy(to + q * depth, line + q, CK_STRIP * sizeof *to);
    }
}

/* Results of one strip to their place, with bias and addend. */
static void scatter(const plan *p, const float *tile, int64_t first, int64_t count, int64_t channel, int64_t channels) {
    const ck_conv2d_args *a = &p->a;
    for (int64_t q = 0; q < count;) {
        int64_t image = (first + q) / p->area, pixel = (first + q) % p->area, length = ck_min(count - q, p->area - pixel);
        for (int64_t c = 0; c < channels; c++) {
            int64_t at = (image * a->out_channels + channel + c) * p->area + pixel;
            const float *from = tile + c * STRIP + q;
            float bias = a->bias ? a->bias[channel + c] : 0.0f;
            if (a->vectors) bias += a->vectors[image * a->vector_stride + channel + c];
            if (a->add)
                for (int64_t i = 0; i < length; i++) a->out[at + i] = (from[i] + bias) + a->add[at + i];
            else
                for (int64_t i = 0; i < length; i++) a->out[at + i] = from[i] + bias;
        }
        q += length;
    }
}

static void strip_task(void *context, int64_t index, int32_t thread) {
    const plan *p = context;
    const ck_conv2d_args *a = &p->a;
    int64_t first = index % p->strips * STRIP, count = ck_min(STRIP, p->pixels - first);
    int64_t channel = index / p->strips * p->out_block, channels = ck_min(p->out_block, a->out_channels - channel);
    float *packed = p->scratch + (size_t)thread * p->scratch_floats, *tile = packed + p->pack_floats;
    int64_t depth = ck_gemm_depth(p->k);
    run runs[STRIP];
    int64_t n = list_runs(p, first, count, runs);
    for (int64_t k0 = 0; k0 < p->k; k0 += depth) {
        int64_t k1 = ck_min(k0 + depth, p->k);
        gather(p, runs, n, count, k0, k1, packed);
        ck_panel_args panel = {
            .a = p->w + channel * p->k + k0,
            .lda = p->k,
            .packed = packed,
            .c = tile,
            .ldc = STRIP,
            .m = channels,
            .n = count,
            .k = k1 - k0,
            .accumulate = k0 > 0,
            .act = CK_ACT_NONE,
        };
        p->kernels->gemm_panel(&panel);
    }
    scatter(p, tile, first, count, channel, channels);
}

static size_t weight_floats(const ck_conv2d_args *a) {
    if (a->dtype == CK_F32) return 0;
    return (size_t)ck_round_up(a->out_channels * a->in_channels * a->kh * a->kw, 16);
}

void ck_conv2d(ck_pool *pool, const ck_conv2d_args *args) {
    if (args->form != CK_CONV_DIRECT) {
        ck_winograd(pool, args);
        return;
    }
    plan p = {.a = *args, .kernels = ck_active(), .scratch = args->scratch, .w = args->w};
    ck_conv2d_args *a = &p.a;
    p.k = a->in_channels * a->kh * a->kw;
    if (a->dtype != CK_F32) {
        ck_to_f32(pool, a->dtype, a->w, p.scratch, a->out_channels * p.k);
        p.w = p.scratch;
        p.scratch += weight_floats(a);
    }
    p.area = a->out_h * a->out_w;
    p.pixels = a->batch * p.area;
    if (p.pixels <= 0 || a->out_channels <= 0 || p.k <= 0) return;
    if (a->kh == 1 && a->kw == 1 && a->stride == 1 && a->upsample == 1 && p.area == a->h * a->width) {
        a->width = a->out_w = p.area;
        a->h = a->out_h = 1;
    }
    p.pack_floats = ck_gemm_pack_floats(STRIP, p.k);
    p.scratch_floats = p.pack_floats + MAX_OUT * STRIP;
    p.strips = ck_ceil_div(p.pixels, STRIP);
    /* Cutting the output channels repeats the gathering: only as far as all threads need. */
    int64_t wanted = ck_ceil_div((int64_t)ck_pool_threads(pool) * TASKS_PER_THREAD, p.strips);
    if (ck_pool_threads(pool) == 1) wanted = 1;
    int64_t even = ck_max(MIN_OUT, ck_round_up(ck_ceil_div(a->out_channels, wanted), p.kernels->gemm_rows));
    p.out_block = ck_min(MAX_OUT / p.kernels->gemm_rows * p.kernels->gemm_rows, even);
    ck_run(pool, p.strips * ck_ceil_div(a->out_channels, p.out_block), strip_task, &p);
}

size_t ck_conv2d_scratch(int32_t threads, const ck_conv2d_args *args) {
    if (args->form != CK_CONV_DIRECT) return ck_winograd_scratch(threads, args);
    int64_t k = args->in_channels * args->kh * args->kw;
    size_t each = ck_gemm_pack_floats(STRIP, k) + MAX_OUT * STRIP;
    return (weight_floats(args) + (size_t)ck_max(threads, 1) * each) * sizeof(float);
}

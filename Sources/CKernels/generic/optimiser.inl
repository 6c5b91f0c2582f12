/* The optimiser's loop. Products and sums are rounded one by one, as torch's separate passes do. */

static void adamw(const ck_adamw_args *a, const ck_adamw_factors *f, int64_t from, int64_t to) {
#pragma clang fp contract(off)
    float *p = a->p, *m = a->m, *v = a->v;
    const float *g = a->g;
    for (int64_t i = from; i < to; i++) {
        float gradient = g[i] * f->gradient_scale;
        float first = (gradient - m[i]) * f->beta1_rest;
        first = m[i] + first;
        float second = v[i] * f->beta2, square = gradient * gradient;
        square = square * f->beta2_rest;
        second = second + square;
        float decayed = p[i] * f->decay, root = __builtin_sqrtf(second) / f->root;
        float change = f->step_size * (first / (root + f->eps));
        m[i] = first;
        v[i] = second;
        p[i] = decayed - change;
    }
}

/* OpenBLAS as a reference and a second choice for matrix products.
 *
 * Not the first choice: on the shapes measured our kernels are as fast, and OpenBLAS gives a row other bits when other rows
 * stand beside it (it picks its inner kernel by size), so a batch would not equal its samples. Not linked: its threads
 * would start in the host when the library is loaded. It is loaded when DIFFACCEL_GEMM=openblas or a test asks for it,
 * and told once to use one thread per call: the work is shared out by our own pool. */
#include "kernels.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* cblas.h's numbers and its sgemm, with the 32-bit integers of libopenblas.so.0. */
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };
typedef void (*sgemm_function)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                               const float *b, int ldb, float beta, float *c, int ldc);

static sgemm_function sgemm;
static pthread_once_t loading = PTHREAD_ONCE_INIT;
static _Atomic int32_t backend = -1;

static void load(void) {
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    void (*set_threads)(int) = (void (*)(int))dlsym(library, "openblas_set_num_threads");
    sgemm_function found = (sgemm_function)dlsym(library, "cblas_sgemm");
    if (!set_threads || !found) return;
    set_threads(1);
    sgemm = found;
}

int32_t ck_gemm_select(int32_t wanted) {
    if (wanted == CK_GEMM_OPENBLAS) {
        pthread_once(&loading, load);
        if (!sgemm) return 0;
    } else if (wanted != CK_GEMM_OWN) {
        return 0;
    }
    atomic_store_explicit(&backend, wanted, memory_order_release);
    return 1;
}

int32_t ck_gemm_current(void) {
    int32_t now = atomic_load_explicit(&backend, memory_order_acquire);
    if (now >= 0) return now;
    const char *wish = getenv("DIFFACCEL_GEMM");
    if (!(wish && strcmp(wish, "openblas") == 0 && ck_gemm_select(CK_GEMM_OPENBLAS))) ck_gemm_select(CK_GEMM_OWN);
    return atomic_load_explicit(&backend, memory_order_acquire);
}

static void epilogue(const ck_kernels *kernels, const ck_gemm_args *g, int64_t j, int64_t columns) {
    for (int64_t i = 0; i < g->m; i++) {
        float *row = g->c + i * g->ldc + j;
        if (g->bias) kernels->add(row, g->bias + j, row, columns);
        if (g->act != CK_ACT_NONE) kernels->activation(g->act, row, row, columns);
    }
}

int32_t ck_gemm_blas(const ck_kernels *kernels, const ck_gemm_args *g) {
    if (g->form == CK_B_PACKED || g->m > INT_MAX || g->n > INT_MAX || g->k > INT_MAX || g->k <= 0 || g->lda > INT_MAX ||
        g->ldb > INT_MAX || g->ldc > INT_MAX)
        return 0;
    int64_t depth = g->dtype == CK_F32 ? g->k : ck_gemm_depth(g->k);
    for (int64_t j = 0; j < g->n; j += g->panel) {
        int64_t columns = ck_min(g->panel, g->n - j);
        for (int64_t p = 0; p < g->k; p += depth) {
            int64_t deep = ck_min(depth, g->k - p), ldb = g->ldb;
            const float *b = g->form == CK_B_ROWS ? (const float *)g->b + j * ldb + p : (const float *)g->b + p * ldb + j;
            if (g->dtype != CK_F32) { /* narrow weights, [n,k]: widened block by block into the packing space */
                for (int64_t r = 0; r < columns; r++)
                    kernels->to_f32(g->dtype, ck_at(g->b, g->dtype, (j + r) * g->ldb + p), g->pack + r * deep, deep);
                b = g->pack;
                ldb = deep;
            }
            sgemm(ROW_MAJOR, NO_TRANS, g->form == CK_B_ROWS ? TRANS : NO_TRANS, (int)g->m, (int)columns, (int)deep, 1.0f,
                  g->a + p, (int)g->lda, b, (int)ldb, p > 0 ? 1.0f : 0.0f, g->c + j, (int)g->ldc);
        }
        epilogue(kernels, g, j, columns);
    }
    return 1;
}

/* The linear layers of a network and nothing else: the same shapes in the same order, every layer with weights of its own,
 * so that they come from memory as in the network. What a forward takes beyond this is not matrix products.
 *
 * Two ways to run them: the kernels of this library (compiled into this file's shared object), and OpenBLAS. */
#include "../../Sources/CKernels/include/ckernels.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    int64_t m, n, k;
    int32_t vectors; /* 1: one vector per sample, row-major weights; 0: rows of a matrix, packed weights */
    int32_t reserved;
    const float *weights; /* [n, k]; stays with the caller */
} replay_layer;

typedef struct {
    ck_pool *pool;
    replay_layer *layers;
    float **packed;
    float *x, *y, *scratch;
    int32_t count;
} replay;

/* cblas.h's numbers. */
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };
typedef void (*sgemm_function)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                               const float *b, int ldb, float beta, float *c, int ldc);

static float *floats(int64_t count) {
    void *block = NULL;
    if (posix_memalign(&block, 64, (size_t)count * sizeof(float))) return NULL;
    return block;
}

static int32_t rows_of(const replay_layer *l) { return l->vectors ? CK_ROWS_ARE_VECTORS : CK_ROWS_OF_MATRIX; }
static int32_t layout_of(const replay_layer *l) { return l->vectors ? CK_ROW_MAJOR : CK_PACKED; }

void replay_destroy(replay *r) {
    if (!r) return;
    for (int32_t i = 0; r->packed && i < r->count; i++) free(r->packed[i]);
    ck_pool_destroy(r->pool);
    free(r->packed);
    free(r->layers);
    free(r->scratch);
    free(r->x);
    free(r->y);
    free(r);
}

/* Packs the weights of matrix layers; null when out of memory. */
replay *replay_create(const replay_layer *layers, int32_t count, int32_t threads) {
    replay *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    int64_t input = 1, output = 1;
    size_t scratch = sizeof(float);
    for (int32_t i = 0; i < count; i++) {
        if (layers[i].m * layers[i].k > input) input = layers[i].m * layers[i].k;
        if (layers[i].m * layers[i].n > output) output = layers[i].m * layers[i].n;
        size_t bytes = ck_linear_scratch(threads, layers[i].k, CK_F32, rows_of(&layers[i]), layout_of(&layers[i]));
        if (bytes > scratch) scratch = bytes;
    }
    r->count = count;
    r->pool = ck_pool_create(threads);
    r->layers = malloc((size_t)count * sizeof *layers);
    r->packed = calloc((size_t)count, sizeof *r->packed);
    r->x = floats(input);
    r->y = floats(output);
    r->scratch = floats((int64_t)(scratch / sizeof(float)));
    int complete = r->pool && r->layers && r->packed && r->x && r->y && r->scratch;
    if (complete) memcpy(r->layers, layers, (size_t)count * sizeof *layers);
    for (int32_t i = 0; complete && i < count; i++) {
        if (layers[i].vectors) continue;
        r->packed[i] = floats(ck_packed_count(layers[i].n, layers[i].k));
        if (!r->packed[i]) complete = 0;
        else ck_pack_matrix(r->pool, CK_F32, layers[i].weights, layers[i].n, layers[i].k, r->packed[i]);
    }
    if (!complete) {
        replay_destroy(r);
        return NULL;
    }
    for (int64_t i = 0; i < input; i++) r->x[i] = (float)(i % 1009) / 1009.0f - 0.5f;
    return r;
}

static void run_layer(replay *r, ck_pool *pool, int32_t index) {
    const replay_layer *l = &r->layers[index];
    ck_linear_args args = {
        .x = r->x,
        .ldx = l->k,
        .w = l->vectors ? l->weights : r->packed[index],
        .dtype = CK_F32,
        .y = r->y,
        .ldy = l->n,
        .m = l->m,
        .n = l->n,
        .k = l->k,
        .scratch = r->scratch,
        .rows = rows_of(l),
        .layout = layout_of(l),
    };
    ck_linear(pool, &args);
}

void replay_run(replay *r) {
    for (int32_t i = 0; i < r->count; i++) run_layer(r, r->pool, i);
}

/* Counting instead of running: calls of the pool pass through here (the linker's --wrap), so that the number of tasks a layer
 * is cut into for any number of threads comes from the code that cuts it. */
static int64_t *counter;
void __real_ck_pool_run(ck_pool *pool, int64_t tasks, ck_task task, void *context);
void __wrap_ck_pool_run(ck_pool *pool, int64_t tasks, ck_task task, void *context) {
    if (counter) *counter = tasks;
    else __real_ck_pool_run(pool, tasks, task, context);
}

/* Tasks of each layer for a pool of that size, into `tasks`. 1 when done. Nothing else of this file may run meanwhile. */
int32_t replay_tasks(replay *r, int32_t threads, int64_t *tasks) {
    ck_pool *pool = ck_pool_create(threads); /* starts no thread before its first run */
    if (!pool) return 0;
    for (int32_t i = 0; i < r->count; i++) {
        tasks[i] = 1;
        counter = &tasks[i];
        run_layer(r, pool, i);
    }
    counter = NULL;
    ck_pool_destroy(pool);
    return 1;
}

/* 1 when OpenBLAS was found. Its own threads share the work out. */
int32_t replay_run_openblas(replay *r, int32_t threads) {
    static sgemm_function sgemm;
    static void (*set_threads)(int);
    if (!sgemm) {
        void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
        if (!library) return 0;
        set_threads = (void (*)(int))dlsym(library, "openblas_set_num_threads");
        sgemm = (sgemm_function)dlsym(library, "cblas_sgemm");
        if (!set_threads || !sgemm) return 0;
    }
    set_threads(threads);
    for (int32_t i = 0; i < r->count; i++) {
        const replay_layer *l = &r->layers[i];
        sgemm(ROW_MAJOR, NO_TRANS, TRANS, (int)l->m, (int)l->n, (int)l->k, 1.0f, r->x, (int)l->k, l->weights, (int)l->k, 0.0f,
              r->y, (int)l->n);
    }
    return 1;
}

/* One output of the layer run last, so that tests of this file can compare the two ways. */
float replay_output(const replay *r, int64_t index) { return r->y[index]; }

static void nothing(void *context, int64_t index, int32_t thread) { (void)context, (void)index, (void)thread; }

/* Seconds that one parallel call with nothing to do takes: the cost of distributing work and waiting for all. */
double replay_barrier(replay *r, int32_t calls) {
    struct timespec from, to;
    int32_t tasks = ck_pool_threads(r->pool);
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int32_t i = 0; i < calls; i++) ck_pool_run(r->pool, tasks, nothing, NULL);
    clock_gettime(CLOCK_MONOTONIC, &to);
    return ((double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec)) / (calls > 0 ? calls : 1);
}

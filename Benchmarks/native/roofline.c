/* The two limits of this machine at this moment: how fast its cores multiply and add, and how fast they read memory.
 *
 * Enough independent sums are kept in registers that no multiply-add waits for another one, so what is measured is the
 * arithmetic units alone: no program that multiplies in f32 can be faster. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

enum { MAX_THREADS = 256, ROUNDS = 20000 };

static double clock_of(clockid_t which) {
    struct timespec t;
    clock_gettime(which, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
static double now(void) { return clock_of(CLOCK_MONOTONIC); }

/* Each loop does ROUNDS times SUMS multiply-adds of LANES floats and returns a number that depends on all of them. The empty
 * statement hides a factor's value from the compiler, which could otherwise fold the loop; asked of the sums, it makes them spill. */
#define FMA_LOOP(SUMS, VECTOR, SET, FMA, STORE, LANES, REGISTER)                                \
    VECTOR sum[SUMS], a = SET(0.999f), b = SET(0.001f);                                         \
    _Pragma("GCC unroll 32") for (int i = 0; i < SUMS; i++) sum[i] = SET((float)i);             \
    for (int r = 0; r < ROUNDS; r++) {                                                          \
        __asm__ volatile("" : "+" REGISTER(a));                                                 \
        _Pragma("GCC unroll 32") for (int i = 0; i < SUMS; i++) sum[i] = FMA(sum[i], a, b);     \
    }                                                                                           \
    float lanes[LANES], total = 0;                                                              \
    _Pragma("GCC unroll 32") for (int i = 0; i < SUMS; i++) {                                   \
        STORE(lanes, sum[i]);                                                                   \
        total += lanes[0] + lanes[LANES - 1];                                                   \
    }                                                                                           \
    return total

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static float fma_avx2(void) {
    FMA_LOOP(12, __m256, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_storeu_ps, 8, "x");
}
/* VL too: without it the low lanes that are read at the end can only lie in the first 16 registers, and the sums spill. */
__attribute__((target("avx512f,avx512vl"))) static float fma_avx512(void) {
    FMA_LOOP(24, __m512, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_storeu_ps, 16, "x");
}
__attribute__((target("avx512f,avx512vl,avx512bf16"))) static inline __m512 fma_pairs(__m512 sum, __m512 a, __m512 b) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}
__attribute__((target("avx512f,avx512vl,avx512bf16"))) static float fma_bf16(void) {
    FMA_LOOP(24, __m512, _mm512_set1_ps, fma_pairs, _mm512_storeu_ps, 16, "x");
}
#elif defined(__aarch64__)
static float32x4_t fma_lane(float32x4_t sum, float32x4_t a, float32x4_t b) { return vfmaq_f32(b, sum, a); }
static float fma_neon(void) { FMA_LOOP(24, float32x4_t, vdupq_n_f32, fma_lane, vst1q_f32, 4, "w"); }
#endif
static float fma_plain(float sum, float a, float b) { return sum * a + b; }
static float identity(float x) { return x; }
static void store_plain(float *to, float x) { *to = x; }
static float fma_base(void) { FMA_LOOP(8, float, identity, fma_plain, store_plain, 1, "m"); }

typedef struct {
    float (*run)(void);
    double flops;
    const char *name;
} loop;

/* With `pairs` of products of bf16, where there are any. */
static loop best_loop(int32_t pairs) {
    (void)pairs;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (pairs && __builtin_cpu_supports("avx512bf16")) return (loop){fma_bf16, 24.0 * 32 * 2 * ROUNDS, "avx512bf16"};
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
        return (loop){fma_avx512, 24.0 * 16 * 2 * ROUNDS, "avx512"};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return (loop){fma_avx2, 12.0 * 8 * 2 * ROUNDS, "avx2"};
#elif defined(__aarch64__)
    return (loop){fma_neon, 24.0 * 4 * 2 * ROUNDS, "neon"};
#endif
    return (loop){fma_base, 8.0 * 2 * ROUNDS, "scalar"};
}

typedef struct {
    double seconds;     /* asked for */
    int32_t pairs;
    double rate;        /* found: operations or bytes a second of this thread, */
    double undisturbed; /* and operations a second of its processor time */
    const float *data;
    int64_t floats;
    volatile float sink;
} job;

static void *fma_thread(void *argument) {
    job *j = argument;
    loop l = best_loop(j->pairs);
    double start = now(), end = start, processor = clock_of(CLOCK_THREAD_CPUTIME_ID);
    int64_t loops = 0;
    for (; end - start < j->seconds; end = now(), loops++) j->sink = l.run();
    j->rate = (double)loops * l.flops / (end - start);
    processor = clock_of(CLOCK_THREAD_CPUTIME_ID) - processor;
    j->undisturbed = processor > 0 ? (double)loops * l.flops / processor : 0;
    return NULL;
}

static void *read_thread(void *argument) {
    job *j = argument;
    double start = now(), end = start, bytes = 0;
    const int64_t block = 1 << 16;
    while (end - start < j->seconds) {
        for (int64_t at = 0; at + block <= j->floats; at += block) {
            int32_t lanes[64] = {0}, part[64];
            for (int64_t i = 0; i < block; i += 64) {
                memcpy(part, j->data + at + i, sizeof part);
                for (int l = 0; l < 64; l++) lanes[l] ^= part[l];
            }
            for (int l = 1; l < 64; l++) lanes[0] ^= lanes[l];
            j->sink = (float)lanes[0];
        }
        bytes += (double)(j->floats / block * block) * sizeof(float);
        end = now();
    }
    j->rate = bytes / (end - start);
    return NULL;
}

static double together(int32_t threads, job *jobs, void *(*work)(void *)) {
    pthread_t handles[MAX_THREADS];
    int32_t started = 1;
    while (started < threads && pthread_create(&handles[started], NULL, work, &jobs[started]) == 0) started++;
    work(&jobs[0]);
    double rate = jobs[0].rate;
    for (int32_t i = 1; i < started; i++) {
        pthread_join(handles[i], NULL);
        rate += jobs[i].rate;
    }
    return started == threads ? rate : -1;
}

static int32_t allowed(int32_t threads) { return threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads; }

const char *roofline_name(int32_t pairs) { return best_loop(pairs).name; }

/* Multiply-adds a second (each counts as 2) of `threads` threads together, in f32 or of pairs of bf16, over about `seconds`; -1 on failure. `core`: what
 * one core does in a second of processor time, which other programs on the machine hardly change. */
double roofline_fma(int32_t threads, double seconds, int32_t pairs, double *core) {
    static job jobs[MAX_THREADS];
    threads = allowed(threads);
    for (int32_t i = 0; i < threads; i++) jobs[i] = (job){.seconds = seconds, .pairs = pairs};
    double rate = together(threads, jobs, fma_thread);
    *core = 0;
    for (int32_t i = 0; i < threads; i++) *core += jobs[i].undisturbed / threads;
    return rate;
}

/* Bytes a second read by `threads` threads, each from its own share of `floats` floats. */
double roofline_read(int32_t threads, const float *data, int64_t floats, double seconds) {
    static job jobs[MAX_THREADS];
    threads = allowed(threads);
    for (int32_t i = 0; i < threads; i++)
        jobs[i] = (job){.seconds = seconds, .data = data + floats / threads * i, .floats = floats / threads};
    return together(threads, jobs, read_thread);
}

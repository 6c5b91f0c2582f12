/* Which instruction set to use: decided once, at first use, never at load. */
#include "kernels.h"

#include <stdatomic.h>
#include <stdlib.h>

static _Atomic(const ck_kernels *) active_table;

static const ck_kernels *table_of(int32_t isa) {
    switch (isa) {
        case CK_ISA_BASE: return &ck_kernels_base;
#if defined(__x86_64__)
        case CK_ISA_AVX2: return &ck_kernels_avx2;
        case CK_ISA_AVX512: return &ck_kernels_avx512;
#elif defined(__aarch64__)
        case CK_ISA_NEON: return &ck_kernels_neon;
#endif
        default: return NULL;
    }
}

int32_t ck_isa_supported(int32_t isa) {
    switch (isa) {
        case CK_ISA_BASE: return 1;
#if defined(__x86_64__)
        /* These also ask whether the operating system saves the wide registers. */
        case CK_ISA_AVX2:
            __builtin_cpu_init();
            return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
        case CK_ISA_AVX512:
            __builtin_cpu_init();
            return ck_isa_supported(CK_ISA_AVX2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#elif defined(__aarch64__)
        case CK_ISA_NEON: return 1;
#endif
        default: return 0;
    }
}

const char *ck_isa_name(int32_t isa) {
    static const char *const names[CK_ISA_COUNT] = {"base", "avx2", "avx512", "neon"};
    return isa >= 0 && isa < CK_ISA_COUNT ? names[isa] : "unknown";
}

static int32_t choose(void) {
    const char *wish = getenv("DIFFACCEL_ISA");
    int32_t best = CK_ISA_BASE;
    for (int32_t isa = 0; isa < CK_ISA_COUNT; isa++) {
        if (!ck_isa_supported(isa)) continue;
        if (wish && strcmp(wish, ck_isa_name(isa)) == 0) return isa;
        best = isa; /* the enumeration ascends within each architecture */
    }
    return best;
}

const ck_kernels *ck_active(void) {
    const ck_kernels *table = atomic_load_explicit(&active_table, memory_order_acquire);
    if (table) return table;
    /* Threads that race here choose alike. A selection made meanwhile wins. */
    const ck_kernels *chosen = table_of(choose());
    if (atomic_compare_exchange_strong(&active_table, &table, chosen)) return chosen;
    return table;
}

int32_t ck_pairs_supported(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    return ck_active()->isa == CK_ISA_AVX512 && __builtin_cpu_supports("avx512bf16");
#else
    return 0;
#endif
}

const ck_kernels *ck_active_pairs(void) {
#if defined(__x86_64__)
    if (ck_pairs_supported()) return &ck_pairs_avx512;
#endif
    return &ck_pairs_base;
}

int32_t ck_isa_current(void) { return ck_active()->isa; }

int32_t ck_isa_select(int32_t isa) {
    if (!ck_isa_supported(isa)) return 0;
    atomic_store_explicit(&active_table, table_of(isa), memory_order_release);
    return 1;
}

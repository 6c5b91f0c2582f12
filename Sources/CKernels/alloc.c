/* Aligned blocks that can be refused: by the system, by a budget or by a test. */
#include "include/ckernels.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

struct ck_budget {
    _Atomic uint64_t limit, used, peak;
};

/* Allocations asked for so far, and the count at which they fail: 0 never, n at n, -n from n on. */
static _Atomic uint64_t asked;
static _Atomic int64_t failing;
static _Atomic int32_t poison = -1;

ck_budget *ck_budget_create(uint64_t limit_bytes) {
    ck_budget *budget = malloc(sizeof *budget);
    if (!budget) return NULL;
    atomic_init(&budget->limit, limit_bytes);
    atomic_init(&budget->used, 0);
    atomic_init(&budget->peak, 0);
    return budget;
}
void ck_budget_destroy(ck_budget *budget) { free(budget); }
void ck_budget_set_limit(ck_budget *budget, uint64_t limit_bytes) { atomic_store(&budget->limit, limit_bytes); }
uint64_t ck_budget_limit(const ck_budget *budget) { return atomic_load(&budget->limit); }
uint64_t ck_budget_used(const ck_budget *budget) { return atomic_load(&budget->used); }
uint64_t ck_budget_peak(const ck_budget *budget) { return atomic_load(&budget->peak); }
void ck_budget_reset_peak(ck_budget *budget) { atomic_store(&budget->peak, atomic_load(&budget->used)); }

/* The account never passes its limit, not even for a moment, so the peak is what was really held. */
static int reserve(ck_budget *budget, uint64_t bytes) {
    uint64_t used = atomic_load(&budget->used), limit = atomic_load(&budget->limit);
    do {
        if (limit != 0 && (used > limit || bytes > limit - used)) return 0;
    } while (!atomic_compare_exchange_weak(&budget->used, &used, used + bytes));
    uint64_t peak = atomic_load(&budget->peak);
    while (peak < used + bytes && !atomic_compare_exchange_weak(&budget->peak, &peak, used + bytes)) {
    }
    return 1;
}

static int fails_by_test(uint64_t number) {
    int64_t at = atomic_load_explicit(&failing, memory_order_relaxed);
    return at > 0 ? number == (uint64_t)at : at < 0 && number >= (uint64_t)-at;
}

void *ck_alloc(ck_budget *budget, size_t bytes, int32_t *status) {
    uint64_t number = atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed) + 1;
    *status = CK_NO_MEMORY;
    if (fails_by_test(number) || bytes > PTRDIFF_MAX - ALIGNMENT) return NULL;
    if (budget && !reserve(budget, bytes)) {
        *status = CK_OVER_BUDGET;
        return NULL;
    }
    size_t rounded = bytes ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
    void *block = aligned_alloc(ALIGNMENT, rounded);
    if (!block) {
        if (budget) atomic_fetch_sub(&budget->used, bytes);
        return NULL;
    }
    int32_t fill = atomic_load_explicit(&poison, memory_order_relaxed);
    if (fill >= 0) memset(block, fill, rounded);
    *status = CK_OK;
    return block;
}

/* A store the compiler may not drop although the block is freed next. */
static void overwrite(void *block, int32_t fill, size_t bytes) {
    memset(block, fill, bytes);
    __asm__ volatile("" : : "r"(block) : "memory");
}

void ck_free(ck_budget *budget, void *block, size_t bytes) {
    if (!block) return;
    int32_t fill = atomic_load_explicit(&poison, memory_order_relaxed);
    if (fill >= 0) overwrite(block, fill, bytes);
    free(block);
    if (budget) atomic_fetch_sub(&budget->used, bytes);
}

void ck_fault_set(int64_t n, int32_t sticky) {
    int64_t at = n > 0 ? (int64_t)atomic_load(&asked) + n : 0;
    atomic_store(&failing, sticky ? -at : at);
}
uint64_t ck_alloc_count(void) { return atomic_load_explicit(&asked, memory_order_relaxed); }
void ck_set_poison(int32_t byte_or_minus1) { atomic_store(&poison, byte_or_minus1 < 0 ? -1 : byte_or_minus1 & 0xff); }

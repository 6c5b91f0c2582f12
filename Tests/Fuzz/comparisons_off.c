/* In place of libFuzzer's tracing of comparisons, which takes half the time of a small reader: with these, only the counters of
 * edges guide the search, and more inputs are seen. */
#include <stdint.h>

#define IGNORED(size, type)                                                    \
    void __sanitizer_cov_trace_cmp##size(type a, type b) { (void)a, (void)b; } \
    void __sanitizer_cov_trace_const_cmp##size(type a, type b) { (void)a, (void)b; }

IGNORED(1, uint8_t)
IGNORED(2, uint16_t)
IGNORED(4, uint32_t)
IGNORED(8, uint64_t)

void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases) { (void)value, (void)cases; }
void __sanitizer_cov_trace_div4(uint32_t value) { (void)value; }
void __sanitizer_cov_trace_div8(uint64_t value) { (void)value; }
void __sanitizer_cov_trace_gep(uintptr_t value) { (void)value; }

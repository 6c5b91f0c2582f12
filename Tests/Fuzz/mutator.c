/* Changes that know JSON a little: numbers and strings become ones that parsers fear, values are swapped, repeated and left
 * out. Half of the changes are libFuzzer's own. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t capacity);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed);

static const char *const feared[] = {"0",
                                     "-1",
                                     "1",
                                     "2147483647",
                                     "2147483648",
                                     "4294967296",
                                     "4611686018427387905",
                                     "9223372036854775807",
                                     "-0",
                                     "1e999",
                                     "1e308",
                                     "-1e999",
                                     "1e-400",
                                     "5e-324",
                                     "9223372036854775808",
                                     "-9223372036854775808",
                                     "0.1",
                                     "null",
                                     "true",
                                     "false",
                                     "\"\"",
                                     "[]",
                                     "18446744073709551615",
                                     "18446744073709551616",
                                     "{}",
                                     "[[]]",
                                     "1.0",
                                     "1e0",
                                     "\"\\u0000\"",
                                     "[1,2]",
                                     "\"\\ud800\"",
                                     "\"../x\"",
                                     "NaN",
                                     "Infinity",
                                     "+1",
                                     "01",
                                     "\"\\u00e9\"",
                                     "[null]",
                                     "{\"a\":1}",
                                     "1000000",
                                     "4096",
                                     "65536",
                                     "4097",
                                     "1001",
                                     "[0,4]",
                                     "16",
                                     "0.999999",
                                     "1e-9",
                                     "\"/x\"",
                                     "\".\"",
                                     "32",
                                     "1e15",
                                     "1.7976931e308"};

/* xorshift on libFuzzer's seed, so that a run can be repeated. */
static uint32_t draw(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static size_t replace(uint8_t *data, size_t size, size_t capacity, size_t from, size_t count, const void *with, size_t length) {
    if (size - count + length > capacity) return size;
    memmove(data + from + length, data + from + count, size - from - count);
    memcpy(data + from, with, length);
    return size - count + length;
}

/* End of the JSON value that begins at `at`, or `at` when none does. */
static size_t value_end(const uint8_t *data, size_t size, size_t at) {
    size_t depth = 0;
    int quoted = 0;
    for (size_t i = at; i < size; i++) {
        uint8_t c = data[i];
        if (quoted) {
            if (c == '\\') i++;
            else if (c == '"') {
                quoted = 0;
                if (!depth) return i + 1;
            }
        } else if (c == '"') {
            quoted = 1;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (!depth) return i;
            if (!--depth) return i + 1;
        } else if (!depth && (c == ',' || c == ':' || c == ' ')) {
            return i;
        }
    }
    return size;
}

/* The beginning of a value: behind one of the marks that precede values, searched from a random place. */
static size_t find_value(const uint8_t *data, size_t size, uint32_t *state) {
    size_t start = draw(state) % size;
    for (size_t i = 0; i < size; i++) {
        size_t at = (start + i) % size;
        if (strchr(":,[{", data[at]) && data[at] && at + 1 < size) {
            at++;
            while (at + 1 < size && data[at] == ' ') at++;
            return at;
        }
    }
    return start;
}

static size_t structural(uint8_t *data, size_t size, size_t capacity, uint32_t *state) {
    size_t at = find_value(data, size, state), end = value_end(data, size, at);
    uint8_t piece[512];
    size_t length;
    switch (draw(state) % 6) {
        case 0: /* another value in its place */
        case 1: {
            const char *with = feared[draw(state) % (sizeof feared / sizeof *feared)];
            return replace(data, size, capacity, at, end - at, with, strlen(with));
        }
        case 2: /* a value from elsewhere in its place */ {
            size_t from = find_value(data, size, state);
            length = value_end(data, size, from) - from;
            if (length > sizeof piece) return size;
            memcpy(piece, data + from, length);
            return replace(data, size, capacity, at, end - at, piece, length);
        }
        case 3: /* once more, as the next element or member */
            length = end - at + 1;
            if (length > sizeof piece) return size;
            piece[0] = ',';
            memcpy(piece + 1, data + at, length - 1);
            return replace(data, size, capacity, end, 0, piece, length);
        case 4: /* left out, with the comma behind it */
            if (end < size && data[end] == ',') end++;
            return replace(data, size, capacity, at, end - at, "", 0);
        default: /* one level deeper */
            if (end - at + 2 > sizeof piece) return size;
            piece[0] = '[';
            memcpy(piece + 1, data + at, end - at);
            piece[end - at + 1] = ']';
            return replace(data, size, capacity, at, end - at, piece, end - at + 2);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed) {
    uint32_t state = seed | 1;
    draw(&state);
    if (size < 4 || draw(&state) % 2) return LLVMFuzzerMutate(data, size, capacity);
    size_t changed = structural(data, size, capacity, &state);
    for (uint32_t more = draw(&state) % 3; more > 0 && changed >= 4; more--)
        changed = structural(data, changed, capacity, &state);
    return changed ? changed : LLVMFuzzerMutate(data, size, capacity);
}

/* Safetensors files of pseudo-random weights, written tensor by tensor. */
#ifndef TENSOR_TABLE_H
#define TENSOR_TABLE_H

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each file uses some of these. */
#define HELPER __attribute__((unused)) static

/* Tensor table of a safetensors file under construction: the header's text, and where the data stand. */
struct table {
    char *header;
    size_t length, capacity;
    uint64_t offset;
    FILE *data;
    uint64_t random;
    int failed;
};

HELPER void append(struct table *table, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int count = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (count < 0 || (size_t)count >= sizeof text) {
        table->failed = 1;
        return;
    }
    if (table->length + (size_t)count + 1 > table->capacity) {
        table->capacity = 2 * table->capacity + sizeof text;
        char *larger = realloc(table->header, table->capacity);
        if (!larger) {
            table->failed = 1;
            return;
        }
        table->header = larger;
    }
    memcpy(table->header + table->length, text, (size_t)count + 1);
    table->length += (size_t)count;
}

/* Uniform in -1...1, the same on every machine. */
HELPER float draw(struct table *table) {
    table->random ^= table->random << 13;
    table->random ^= table->random >> 7;
    table->random ^= table->random << 17;
    return (float)(int32_t)(table->random >> 32) / 2147483648.0f;
}

HELPER void tensor(struct table *table, const char *name, const char *shape, size_t count, float scale) {
    append(table, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}", table->length ? "," : "{", name,
           shape, (unsigned long long)table->offset, (unsigned long long)(table->offset + 4 * count));
    table->offset += 4 * count;
    for (size_t i = 0; i < count; i++) {
        float value = draw(table) * scale;
        if (fwrite(&value, sizeof value, 1, table->data) != 1) table->failed = 1;
    }
}

/* A weight [out, in] scaled to keep magnitudes, and its bias. */
HELPER void linear(struct table *table, const char *name, int out, int in) {
    char full[128], shape[64];
    snprintf(full, sizeof full, "%s.weight", name);
    snprintf(shape, sizeof shape, "%d,%d", out, in);
    tensor(table, full, shape, (size_t)out * (size_t)in, 1.2f / sqrtf((float)in));
    snprintf(full, sizeof full, "%s.bias", name);
    snprintf(shape, sizeof shape, "%d", out);
    tensor(table, full, shape, (size_t)out, 0.05f);
}

/* Writes the file and frees the table. Not 0 when something failed, now or before. */
HELPER int write_table(const char *path, struct table *table) {
    append(table, "}");
    while (table->length % 8 && !table->failed) append(table, " ");
    FILE *file = fopen(path, "wb");
    uint64_t length = table->length;
    if (!file || fwrite(&length, 8, 1, file) != 1 || fwrite(table->header, 1, table->length, file) != table->length)
        table->failed = 1;
    rewind(table->data);
    char block[65536];
    for (size_t count; !table->failed && (count = fread(block, 1, sizeof block, table->data)) > 0;)
        if (fwrite(block, 1, count, file) != count) table->failed = 1;
    fclose(table->data);
    free(table->header);
    if (file && fclose(file)) table->failed = 1;
    return table->failed ? -1 : 0;
}

#endif

/* What the process asks for: memory, counted where the C library's allocator is called. */
#ifndef METER_H
#define METER_H

#include <stddef.h>

/* Forgets the highest mark; returns what is held now. */
long meter_start(void);

/* The most that has been held since meter_start, in bytes over what was held then. */
long meter_peak(void);

#endif

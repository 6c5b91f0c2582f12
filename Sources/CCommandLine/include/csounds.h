/* Sounds through libsndfile, which is loaded when one is written: nothing else of the program needs it, and it is not everywhere. */
#ifndef CSOUNDS_H
#define CSOUNDS_H

#include <sndfile.h>

/* Values of one channel: the upper bits of `whole`, or `real` when `whole` is null. */
typedef struct cc_sound_values {
    const int *whole;
    const float *real;
    sf_count_t count;
} cc_sound_values;

/* Writes a file of this form through `access`, which gets `user`; *written says whether all of it came there. The same values are the
 * same file, whenever it is written. Null, or what the loader says is missing: a text of its own, good until its next call. */
const char *cc_write_sound(SF_INFO info, cc_sound_values values, SF_VIRTUAL_IO access, void *user, int *written);

#endif

#include "csounds.h"

#include <dlfcn.h>
#include <stddef.h>

/* The functions of sndfile.h that are used. */
typedef struct {
    SNDFILE *(*open)(SF_VIRTUAL_IO *access, int mode, SF_INFO *info, void *user);
    int (*command)(SNDFILE *file, int command, void *data, int size);
    sf_count_t (*write_int)(SNDFILE *file, const int *values, sf_count_t count);
    sf_count_t (*write_float)(SNDFILE *file, const float *values, sf_count_t count);
    int (*close)(SNDFILE *file);
} functions;

static int is_loaded(functions *f) {
    void *library = dlopen("libsndfile.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) return 0;
    *(void **)&f->open = dlsym(library, "sf_open_virtual");
    *(void **)&f->command = dlsym(library, "sf_command");
    *(void **)&f->write_int = dlsym(library, "sf_write_int");
    *(void **)&f->write_float = dlsym(library, "sf_write_float");
    *(void **)&f->close = dlsym(library, "sf_close");
    return f->open && f->command && f->write_int && f->write_float && f->close;
}

const char *cc_write_sound(SF_INFO info, cc_sound_values values, SF_VIRTUAL_IO access, void *user, int *written) {
    functions f;
    *written = 0;
    if (!is_loaded(&f)) {
        const char *reason = dlerror();
        return reason ? reason : "libsndfile.so.1 lacks a function";
    }
    SNDFILE *file = f.open(&access, SFM_WRITE, &info, user);
    if (!file) return NULL;
    /* The chunk of the peak has a time in it. */
    f.command(file, SFC_SET_ADD_PEAK_CHUNK, NULL, SF_FALSE);
    sf_count_t done =
        values.whole ? f.write_int(file, values.whole, values.count) : f.write_float(file, values.real, values.count);
    *written = f.close(file) == 0 && done == values.count;
    return NULL;
}

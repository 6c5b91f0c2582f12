/* The floating-point environment: a host may have set rounding, traps or flush-to-zero to its own liking. */
#include "include/ckernels.h"

#include <fenv.h>
#include <string.h>

_Static_assert(sizeof(fenv_t) <= sizeof(ck_fpenv), "ck_fpenv is too small for this platform");

void ck_fpenv_enter(ck_fpenv *saved) {
    fenv_t environment;
    fegetenv(&environment);
    memcpy(saved->opaque, &environment, sizeof environment);
    fesetenv(FE_DFL_ENV);
}

void ck_fpenv_leave(const ck_fpenv *saved) {
    fenv_t environment;
    memcpy(&environment, saved->opaque, sizeof environment);
    fesetenv(&environment);
}

/*
 * late.h - libraries that are loaded when they are first called.
 *
 * A runtime waits for each of our processes, and the dynamic linker takes 2 ms for the two libraries
 * (with the dozen they need) that hardly any of them calls.
 */
#ifndef BH_BASE_LATE_H
#define BH_BASE_LATE_H

#include <stddef.h>

#include "error.h"

/* Finds `count` functions of the library `soname`, in the order of `names`; the library stays loaded. */
int bh_late_load(const char *soname, const char *const *names, void **functions, size_t count,
                 struct bh_error *err);

#endif

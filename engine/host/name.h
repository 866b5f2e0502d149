/*
 * name.h - see name.c. Inside host/ only.
 */
#ifndef BH_HOST_NAME_H
#define BH_HOST_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "../base/error.h"

/* 1 to `max` of A-Z a-z 0-9 _ . -, the first alphanumeric; `what` is named in the error. */
int bh_name_check(const char *what, const char *name, size_t max, struct bh_error *err);

#endif

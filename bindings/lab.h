/*
 * lab.h - the `lab` object, for bulkhead.open{lab = …}.
 */
#ifndef BH_BINDINGS_LAB_H
#define BH_BINDINGS_LAB_H

#include "../engine/platform/lab.h"
#include "common.h"

/* Raises if it is not a lab or closed. */
struct bh_lab *bh_check_lab(lua_State *L, int index);

#endif

/*
 * stranger.h - who besides root may change what a path leads to.
 */
#ifndef BH_BINDINGS_STRANGER_H
#define BH_BINDINGS_STRANGER_H

#include <lua.h>

/* bulkhead.stranger(path) */
int bh_stranger(lua_State *L);

#endif

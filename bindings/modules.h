/*
 * modules.h - the list of C modules as data; adding one is adding a line here.
 */
#ifndef BH_BINDINGS_MODULES_H
#define BH_BINDINGS_MODULES_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

int luaopen_bulkhead_policy(lua_State *L);

static const luaL_Reg bh_modules[] = {
	{"bulkhead.policy", luaopen_bulkhead_policy},
	{NULL, NULL},
};

#endif

/*
 * modules.h - the list of C modules as data; adding one is adding a line here.
 */
#ifndef BH_BINDINGS_MODULES_H
#define BH_BINDINGS_MODULES_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

int luaopen_bulkhead(lua_State *L);
int luaopen_bulkhead_console(lua_State *L);
int luaopen_bulkhead_filter(lua_State *L);
int luaopen_bulkhead_lab(lua_State *L);
int luaopen_bulkhead_policy(lua_State *L);
int luaopen_bulkhead_prove(lua_State *L);
int luaopen_bulkhead_replay(lua_State *L);

static const luaL_Reg bh_modules[] = {
	{"bulkhead", luaopen_bulkhead},
	{"bulkhead.console", luaopen_bulkhead_console},
	{"bulkhead.filter", luaopen_bulkhead_filter},
	{"bulkhead.lab", luaopen_bulkhead_lab},
	{"bulkhead.policy", luaopen_bulkhead_policy},
	{"bulkhead.prove", luaopen_bulkhead_prove},
	{"bulkhead.replay", luaopen_bulkhead_replay},
	{NULL, NULL},
};

#endif

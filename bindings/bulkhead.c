/*
 * bulkhead.c - module `bulkhead`: opens hosts.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../engine/platform/linux/nftables.h"
#include "host.h"
#include "lab.h"

#define DEFAULT_STATE "/var/lib/bulkhead"

static const char *state_directory(lua_State *L)
{
	const char *environment = getenv("BULKHEAD_STATE");

	return bh_field_text(L, 1, "state", environment && *environment ? environment : DEFAULT_STATE);
}

static int bulkhead_open(lua_State *L)
{
	struct bh_host_options options = {0};
	struct bh_host **host;
	struct bh_error err;
	const char *platform;

	if (lua_isnoneornil(L, 1)) {
		lua_settop(L, 0);
		lua_newtable(L);
	}
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	platform = bh_field_text(L, 1, "platform", "memory");
	if (strcmp(platform, "linux") && strcmp(platform, "memory"))
		return luaL_error(L, "platform '%s' is not known (linux or memory)", platform);
	options.linux_platform = !strcmp(platform, "linux");
	options.state = state_directory(L);
	options.write = bh_field_flag(L, 1, "write", false);
	options.check = bh_field_flag(L, 1, "check", false);
	options.discard = bh_field_flag(L, 1, "discard", false);
	host = bh_host_push(L);
	if (lua_getfield(L, 1, "lab") != LUA_TNIL) {
		options.lab = bh_check_lab(L, -1);
		if (options.linux_platform && !bh_field_text(L, 1, "state", NULL))
			return luaL_error(L, "a host in a lab needs a state of its own");
		lua_setiuservalue(L, -2, 1); /* the lab lives as long as the host in it */
	} else {
		lua_pop(L, 1);
	}
	if (bh_host_open(host, &options, &err))
		return bh_push_error(L, &err);
	return 1;
}

/* Interrupted by a signal it returns early. */
static int bulkhead_wait(lua_State *L)
{
	lua_Number seconds = luaL_checknumber(L, 1);
	struct timespec time;

	luaL_argcheck(L, seconds >= 0 && seconds < 1e6, 1, "must be seconds");
	time.tv_sec = (time_t)seconds;
	time.tv_nsec = (long)((seconds - (lua_Number)time.tv_sec) * 1e9);
	bh_console_sleep(&time);
	return 0;
}

/* Whether a list of names that a network may reach has this one. */
static int bulkhead_reaches(lua_State *L)
{
	const char *name = luaL_checkstring(L, 2), *item;
	size_t length;
	bool found = false;

	luaL_checktype(L, 1, LUA_TTABLE);
	for (lua_Integer i = 1; !found && lua_rawgeti(L, 1, i) == LUA_TSTRING; i++) {
		item = lua_tolstring(L, -1, &length);
		found = bh_reach_names(item, length, name);
		lua_pop(L, 1);
	}
	lua_pushboolean(L, found);
	return 1;
}

static int bulkhead_nftables(lua_State *L)
{
	struct bh_error err;
	char *json = NULL;

	if (bh_nftables_list(&json, &err))
		return bh_push_error(L, &err);
	lua_pushstring(L, json);
	free(json);
	return 1;
}

static const luaL_Reg functions[] = {
	{"open", bulkhead_open},
	{"nftables", bulkhead_nftables},
	{"reaches", bulkhead_reaches},
	{"wait", bulkhead_wait},
	{NULL, NULL},
};

int luaopen_bulkhead(lua_State *L);

int luaopen_bulkhead(lua_State *L)
{
	bh_host_register(L);
	luaL_newlib(L, functions);
	bh_set_text(L, "version", BH_VERSION);
	return 1;
}

/*
 * policy.c - bulkhead.policy: trusted Lua loads a policy set and asks it.
 *
 * A policy object owns its sandbox. Nothing of the sandbox is ever handed out: rules leave it as
 * plain tables, and what goes in is copied (policy_set.c). The object is made first and filled
 * afterwards, so an error on the way leaves it to be collected. See types/policy.lua.
 */
#include "policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "modules.h"

#define POLICY "bulkhead.policy"

static struct bh_policy *check_policy(lua_State *L)
{
	struct bh_policy *policy = luaL_checkudata(L, 1, POLICY);

	if (!policy->box.L)
		luaL_error(L, "the policy is closed");
	if (policy->box.running) /* a log's sink that asks about what it is told of */
		luaL_error(L, "the policy is running");
	return policy;
}

/* An integer option of load, from `min` up. */
static lua_Integer option_integer(lua_State *L, const char *name, lua_Integer fallback,
                                  lua_Integer min)
{
	int is_integer;
	lua_Integer n;

	if (lua_getfield(L, 1, name) == LUA_TNIL) {
		lua_pop(L, 1);
		return fallback;
	}
	n = lua_tointegerx(L, -1, &is_integer);
	if (!is_integer || n < min)
		luaL_error(L, "policy.load: %s must be an integer, at least %I", name, (LUAI_UACINT)min);
	lua_pop(L, 1);
	return n;
}

/* Leaves the string on the stack. */
static const char *option_string(lua_State *L, const char *name, bool required)
{
	int type = lua_getfield(L, 1, name);

	if (type != LUA_TSTRING && (required || type != LUA_TNIL))
		luaL_error(L, "policy.load: %s must be a string", name);
	if (type == LUA_TSTRING && lua_rawlen(L, -1) != strlen(lua_tostring(L, -1)))
		luaL_error(L, "policy.load: %s has a NUL byte in it", name);
	return lua_tostring(L, -1);
}

static int policy_load(lua_State *L)
{
	static const char *const names[] = {"dir", "type", "driver", "memory", "instructions", NULL};
	const char *dir, *type, *driver;
	lua_Integer memory, instructions;
	struct bh_policy *policy;
	struct bh_error err;

	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
		bool known = false;

		for (int i = 0; names[i] && lua_type(L, -2) == LUA_TSTRING; i++)
			known = known || !strcmp(names[i], lua_tostring(L, -2));
		if (!known)
			return luaL_error(L, "policy.load takes dir, type, driver, memory and instructions");
	}
	memory = option_integer(L, "memory", (lua_Integer)BH_SANDBOX_MEMORY, 1);
	instructions = option_integer(L, "instructions", BH_SANDBOX_INSTRUCTIONS, 1);
	dir = option_string(L, "dir", true);
	type = option_string(L, "type", true);
	driver = option_string(L, "driver", false);
	policy = lua_newuserdatauv(L, sizeof(*policy), 0);
	memset(policy, 0, sizeof(*policy));
	policy->dirfd = -1;
	luaL_setmetatable(L, POLICY);
	if (bh_sandbox_open(&policy->box, (size_t)memory, instructions, &err) ||
	    bh_policy_load(policy, dir, type, driver, &err)) {
		bh_policy_clear(policy);
		return bh_push_error(L, &err);
	}
	return 1;
}

static int policy_default(lua_State *L)
{
	const struct bh_policy *policy = check_policy(L);

	lua_createtable(L, 0, 2);
	for (int i = 0; bh_policy_directions[i]; i++) {
		lua_createtable(L, 0, 2);
		lua_pushstring(L, bh_policy_actions[policy->actions[i]]);
		lua_setfield(L, -2, "action");
		lua_pushfstring(L, "%s/%s", policy->dir, policy->origins[i]);
		lua_setfield(L, -2, "origin");
		lua_setfield(L, -2, bh_policy_directions[i]);
	}
	return 1;
}

/*
 * Pushes a list of the sandbox's registry: rules as tables, or strings. Outside of a protected call
 * the sandbox is only asked what allocates nothing: the registry's fields were interned at load.
 */
static void push_registry(lua_State *L, const struct bh_policy *policy, const char *key)
{
	lua_State *box = policy->box.L;
	lua_Unsigned n;

	lua_settop(box, 0);
	lua_getfield(box, LUA_REGISTRYINDEX, key);
	n = lua_rawlen(box, 1);
	lua_newtable(L);
	for (lua_Unsigned i = 1; i <= n; i++) {
		lua_settop(box, 1);
		if (lua_rawgeti(box, 1, (lua_Integer)i) == LUA_TUSERDATA)
			bh_policy_rule_push(L, lua_touserdata(box, 2), policy->dir);
		else
			lua_pushstring(L, lua_tostring(box, 2));
		lua_rawseti(L, -2, (lua_Integer)i);
	}
	lua_settop(box, 0);
}

static int policy_rules(lua_State *L)
{
	push_registry(L, check_policy(L), BH_POLICY_RULES);
	return 1;
}

static int policy_options(lua_State *L)
{
	const struct bh_policy *policy = check_policy(L);

	lua_createtable(L, 0, 8);
	lua_pushboolean(L, policy->antispoof);
	lua_setfield(L, -2, "antispoof");
	lua_pushboolean(L, policy->router);
	lua_setfield(L, -2, "router");
	lua_pushboolean(L, policy->dhcp_server);
	lua_setfield(L, -2, "dhcp_server");
	lua_pushboolean(L, policy->audit);
	lua_setfield(L, -2, "audit");
	lua_pushboolean(L, policy->direct);
	lua_setfield(L, -2, "direct");
	if (policy->flows) {
		lua_pushinteger(L, policy->flows);
		lua_setfield(L, -2, "flows");
	}
	lua_newtable(L);
	for (int i = 0; i < BH_TIMEOUT_COUNT; i++) {
		if (!policy->timeouts[i])
			continue;
		lua_pushinteger(L, policy->timeouts[i]);
		lua_setfield(L, -2, bh_timeout_names[i]);
	}
	lua_setfield(L, -2, "timeouts");
	push_registry(L, policy, BH_POLICY_REACH);
	lua_setfield(L, -2, "reach");
	return 1;
}

static enum bh_event check_event(lua_State *L)
{
	const char *name = luaL_checkstring(L, 2);
	char list[80];
	int event = 0;

	while (bh_policy_events[event] && strcmp(bh_policy_events[event], name))
		event++;
	if (!bh_policy_events[event])
		luaL_error(L, "there is no event '%s' (there are: %s)", name,
		           bh_policy_join(bh_policy_events, list, sizeof(list)));
	return (enum bh_event)event;
}

static int policy_handles(lua_State *L)
{
	const struct bh_policy *policy = check_policy(L);
	enum bh_event event = check_event(L);

	lua_pushboolean(L, (policy->handlers[BH_POLICY_CONTAINER] | policy->handlers[BH_POLICY_NETWORK]) &
	                       (1u << event));
	return 1;
}

/* Pushes the fields of the object at `index`, with its metamethods; the index of the first. */
static int push_fields(lua_State *L, int index, const char *const *names)
{
	int first = lua_gettop(L) + 1;

	luaL_checkstack(L, 16, NULL);
	for (; *names; names++)
		lua_getfield(L, index, *names);
	return first;
}

static int policy_run(lua_State *L)
{
	struct bh_policy *policy = check_policy(L);
	struct bh_policy_call call = {.policy = policy, .event = check_event(L), .from = L};
	struct bh_error err;

	lua_settop(L, 4);
	if (!lua_istable(L, 3) && !lua_isuserdata(L, 3))
		luaL_typeerror(L, 3, "container");
	if (!lua_isnil(L, 4) && !lua_istable(L, 4) && !lua_isuserdata(L, 4))
		luaL_typeerror(L, 4, "endpoint");
	call.container = push_fields(L, 3, bh_container_fields);
	if (!lua_isnil(L, 4))
		call.endpoint = push_fields(L, 4, bh_endpoint_fields);
	if (bh_policy_call(&call, &err))
		return bh_push_error(L, &err);
	push_registry(L, policy, BH_POLICY_ADDED);
	return 1;
}

/* FNV-1a of 128 bits (draft-eastlake-fnv): tells sets apart; it is no signature. */
static unsigned __int128 fnv(unsigned __int128 hash, const void *data, size_t size)
{
	const unsigned __int128 prime = (unsigned __int128)1 << 88 | 0x13b;

	for (const uint8_t *p = data; size--; p++)
		hash = (hash ^ *p) * prime;
	return hash;
}

static const unsigned __int128 fnv_start =
	(unsigned __int128)0x6c62272e07bb0142ULL << 64 | 0x62b821756295c58dULL;

static void push_hash(lua_State *L, unsigned __int128 hash)
{
	char text[33];

	snprintf(text, sizeof(text), "%016llx%016llx", (unsigned long long)(hash >> 64),
	         (unsigned long long)hash);
	lua_pushstring(L, text);
}

static int policy_files(lua_State *L)
{
	const struct bh_policy *policy = check_policy(L);

	lua_createtable(L, (int)policy->file_count, 0);
	for (size_t i = 0; i < policy->file_count; i++) {
		const struct bh_policy_file *file = &policy->files[i];

		lua_createtable(L, 0, 4);
		lua_pushfstring(L, "%s/%s", policy->dir, file->name);
		lua_setfield(L, -2, "path");
		lua_pushstring(L, file->name);
		lua_setfield(L, -2, "name");
		lua_pushlstring(L, file->text, file->size);
		lua_setfield(L, -2, "text");
		push_hash(L, fnv(fnv_start, file->text, file->size));
		lua_setfield(L, -2, "hash");
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

/* Of names and texts in the order of names, whatever the order of loading. */
static int policy_hash(lua_State *L)
{
	const struct bh_policy *policy = check_policy(L);
	unsigned __int128 hash = fnv_start;
	const char *last = "";

	for (size_t done = 0; done < policy->file_count; done++) {
		const struct bh_policy_file *next = NULL;

		for (size_t i = 0; i < policy->file_count; i++) {
			const struct bh_policy_file *file = &policy->files[i];

			if (strcmp(file->name, last) > 0 && (!next || strcmp(file->name, next->name) < 0))
				next = file;
		}
		if (!next)
			break;
		hash = fnv(hash, next->name, strlen(next->name) + 1);
		hash = fnv(hash, next->text, next->size + 1);
		last = next->name;
	}
	push_hash(L, hash);
	return 1;
}

static int policy_close(lua_State *L)
{
	struct bh_policy *policy = luaL_checkudata(L, 1, POLICY);

	if (policy->box.running)
		return luaL_error(L, "the policy is running");
	bh_policy_clear(policy);
	return 0;
}

static int policy_tostring(lua_State *L)
{
	const struct bh_policy *policy = luaL_checkudata(L, 1, POLICY);

	if (!policy->box.L)
		lua_pushliteral(L, POLICY " (closed)");
	else
		lua_pushfstring(L, POLICY " (%s: %s%s%s, %I rules)", policy->dir, policy->type,
		                policy->driver ? " on " : "", policy->driver ? policy->driver : "",
		                (LUAI_UACINT)policy->rule_count);
	return 1;
}

static const luaL_Reg methods[] = {
	{"close", policy_close}, {"default", policy_default}, {"files", policy_files},
	{"handles", policy_handles}, {"hash", policy_hash}, {"options", policy_options},
	{"rules", policy_rules}, {"run", policy_run}, {NULL, NULL},
};
static const struct bh_class class = {POLICY, methods, policy_close, policy_tostring};

static const luaL_Reg functions[] = {
	{"load", policy_load}, {NULL, NULL},
};

int luaopen_bulkhead_policy(lua_State *L)
{
	bh_class_register(L, &class);
	luaL_newlib(L, functions);
	return 1;
}

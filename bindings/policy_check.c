/*
 * policy_check.c - what a policy's file returned, field by field, taken into the loaded policy.
 *
 * Runs inside the sandbox, and reads tables raw: a policy's metatables have no say in what it
 * means. The stack is: 1 the returned table.
 */
#include <stdio.h>
#include <string.h>

#include "conf.h"
#include "policy.h"

const char *const bh_policy_events[] = {"create", "attach", "start", "stop", "detach", "remove", NULL};
static const char *const field_names[] = {
	"default", "rules", "on", "antispoof", "router", "dhcp_server", "audit", "direct", "flows", "timeouts", "reach", NULL,
};

#define NETWORK_NAME_MAX 63

struct check {
	struct bh_policy *policy;
	const struct bh_policy_file *file;
	int layer;
	char where[80]; /* FILE:LINE of the field at hand */
};

static int find_name(const char *const *names, const char *name)
{
	for (int i = 0; name && names[i]; i++)
		if (!strcmp(names[i], name))
			return i;
	return -1;
}

static void set_where(struct check *check, const char *field)
{
	int line = field ? bh_source_field_line(check->file->text, field) : 0;

	if (!line)
		line = bh_source_return_line(check->file->text);
	snprintf(check->where, sizeof(check->where), "%s:%d", check->file->name, line);
}

/* The key under the value at the top, which must be one of `names`. */
static int check_key(lua_State *L, struct check *check, const char *owner,
                     const char *const *names)
{
	const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
	int i = find_name(names, key);
	char list[256];

	if (i >= 0)
		return i;
	if (key && !strcmp(owner, "a policy"))
		set_where(check, key);
	bh_policy_join(names, list, sizeof(list));
	if (!key && lua_isinteger(L, -2))
		return luaL_error(L, "%s: %s has no field %I (it may have: %s)", check->where, owner,
		                  (LUAI_UACINT)lua_tointeger(L, -2), list);
	return luaL_error(L, "%s: %s has no field '%s' (it may have: %s)", check->where, owner,
	                  key ? key : luaL_typename(L, -2), list);
}

static void check_type(lua_State *L, const struct check *check, const char *field, int type,
                       const char *right)
{
	if (lua_type(L, -1) != type)
		luaL_error(L, "%s: %s must be %s, not a %s", check->where, field, right, luaL_typename(L, -1));
}

static void check_default(lua_State *L, struct check *check)
{
	int table = lua_gettop(L);
	struct bh_policy *policy = check->policy;

	check_type(L, check, "default", LUA_TTABLE, "a table { inbound = …, outbound = … }");
	for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
		int direction = check_key(L, check, "default", bh_policy_directions);
		int action = -1;

		if (lua_type(L, -1) == LUA_TSTRING)
			action = find_name(bh_policy_actions, lua_tostring(L, -1));
		if (action < 0)
			luaL_error(L, "%s: default.%s must be \"allow\" or \"block\"", check->where,
			           bh_policy_directions[direction]);
		policy->actions[direction] = (enum bh_action)action;
		snprintf(policy->origins[direction], sizeof(policy->origins[0]), "%s", check->where);
	}
}

static void check_rules(lua_State *L, struct check *check)
{
	const char *what = lua_pushfstring(L, "%s: rules", check->where);

	if (!lua_istable(L, -2))
		luaL_error(L, "%s must be a list of rules made by allow or block, not a %s", what,
		           luaL_typename(L, -2));
	lua_getfield(L, LUA_REGISTRYINDEX, BH_POLICY_RULES);
	lua_pushvalue(L, -3);
	bh_policy_collect(L, -2, what);
}

static void check_handlers(lua_State *L, struct check *check)
{
	int table = lua_gettop(L);

	check_type(L, check, "on", LUA_TTABLE, "a table of handlers, { attach = function … }");
	lua_getfield(L, LUA_REGISTRYINDEX, BH_POLICY_HANDLERS);
	for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
		int event = check_key(L, check, "on", bh_policy_events);

		if (!lua_isfunction(L, -1))
			luaL_error(L, "%s: on.%s must be a function, not a %s", check->where,
			           bh_policy_events[event], luaL_typename(L, -1));
		check->policy->handlers[check->layer] |= 1u << event;
		lua_pushvalue(L, -1);
		lua_rawseti(L, table + 1, check->layer * BH_EVENTS + event + 1);
	}
}

/* The integer at the top, from 1 to `max`. */
static int64_t check_count(lua_State *L, const struct check *check, const char *field, int64_t max)
{
	int is_integer = 0;
	lua_Integer n = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &is_integer) : 0;

	if (!is_integer || n < 1 || n > max)
		luaL_error(L, "%s: %s must be an integer from 1 to %I", check->where, field, (LUAI_UACINT)max);
	return n;
}

static void check_timeouts(lua_State *L, struct check *check)
{
	int table = lua_gettop(L);
	const char *names[BH_TIMEOUT_COUNT + 1] = {NULL};
	char field[40];

	memcpy(names, bh_timeout_names, sizeof(bh_timeout_names));
	check_type(L, check, "timeouts", LUA_TTABLE, "a table of seconds, { syn = 60 }");
	for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
		int timeout = check_key(L, check, "timeouts", names);

		snprintf(field, sizeof(field), "timeouts.%s", bh_timeout_names[timeout]);
		check->policy->timeouts[timeout] = check_count(L, check, field, INT32_MAX);
	}
}

static void check_reach(lua_State *L, struct check *check)
{
	int table = lua_gettop(L);
	lua_Integer n, keys = 0;

	check_type(L, check, "reach", LUA_TTABLE, "a list of names of networks");
	n = (lua_Integer)lua_rawlen(L, table);
	for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
		keys++;
	lua_createtable(L, 0, 0);
	if (n > BH_REACH_MAX)
		luaL_error(L, "%s: reach names %I networks; at most %d are possible", check->where, n, BH_REACH_MAX);
	for (lua_Integer i = 1; i <= n || keys != n; i++) {
		if (keys != n || lua_rawgeti(L, table, i) != LUA_TSTRING ||
		    lua_rawlen(L, -1) > NETWORK_NAME_MAX || !lua_rawlen(L, -1) ||
		    strlen(lua_tostring(L, -1)) != lua_rawlen(L, -1))
			luaL_error(L, "%s: reach must be a list of names of networks", check->where);
		lua_rawseti(L, table + 1, i);
	}
	lua_setfield(L, LUA_REGISTRYINDEX, BH_POLICY_REACH);
}

static bool check_flag(lua_State *L, const struct check *check, const char *field)
{
	check_type(L, check, field, LUA_TBOOLEAN, "true or false");
	return lua_toboolean(L, -1);
}

static void check_field(lua_State *L, struct check *check, const char *field)
{
	struct bh_policy *policy = check->policy;

	set_where(check, field);
	if (!strcmp(field, "default"))
		check_default(L, check);
	else if (!strcmp(field, "rules"))
		check_rules(L, check);
	else if (!strcmp(field, "on"))
		check_handlers(L, check);
	else if (!strcmp(field, "timeouts"))
		check_timeouts(L, check);
	else if (!strcmp(field, "reach"))
		check_reach(L, check);
	else if (!strcmp(field, "flows"))
		policy->flows = check_count(L, check, field, BH_FLOWS_LIMIT);
	else if (!strcmp(field, "antispoof"))
		policy->antispoof = check_flag(L, check, field);
	else if (!strcmp(field, "router"))
		policy->router = check_flag(L, check, field);
	else if (!strcmp(field, "audit"))
		policy->audit = check_flag(L, check, field);
	else if (!strcmp(field, "direct"))
		policy->direct = check_flag(L, check, field);
	else
		policy->dhcp_server = check_flag(L, check, field);
}

void bh_policy_check(lua_State *L, const struct bh_policy_file *file, int layer)
{
	struct check check = {.policy = bh_policy_of(L), .file = file, .layer = layer};

	set_where(&check, NULL);
	if (!lua_istable(L, 1))
		luaL_error(L, "%s: a policy must return a table, not %s%s", check.where,
		           lua_isnil(L, 1) ? "" : "a ", luaL_typename(L, 1));
	for (lua_pushnil(L); lua_next(L, 1); lua_settop(L, 2))
		check_key(L, &check, "a policy", field_names);
	/* In the order of the list, so that of two mistakes it is always the same that is told. */
	for (const char *const *field = field_names; *field; field++) {
		lua_settop(L, 1);
		lua_pushstring(L, *field);
		if (lua_rawget(L, 1) != LUA_TNIL)
			check_field(L, &check, *field);
	}
	for (int i = 0; layer == BH_POLICY_CONTAINER && bh_policy_directions[i]; i++) {
		set_where(&check, "default");
		if (!*check.policy->origins[i])
			luaL_error(L, "%s: the policy says no default for %s traffic (default = { inbound = "
			           "\"block\", outbound = \"allow\" })", check.where, bh_policy_directions[i]);
	}
}

/*
 * policy_words.c - the words a policy has: allow, block, contains, glob, and endpoint:add.
 *
 * A rule is checked by the engine at the line that makes it and cannot be changed afterwards, so
 * what a policy returns needs no second look.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "policy.h"

#define GLOB_MAX 1024
#define NESTING_MAX 16

const char *const bh_policy_actions[] = {"allow", "block", NULL};
const char *const bh_policy_directions[] = {"inbound", "outbound", NULL};

const char *bh_policy_join(const char *const *names, char *text, size_t size)
{
	size_t used = 0;

	*text = '\0';
	for (size_t i = 0; names[i] && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", names[i]);
	return text;
}

static bool takes_list(const char *field)
{
	static const char *const lists[] = {"local", "remote", "local_port", "remote_port", "icmp", NULL};

	for (const char *const *list = lists; *list; list++)
		if (!strcmp(field, *list))
			return true;
	return false;
}

/* Pushes one value as text: a string, or an integer. `what` is what a better one would be. */
static void push_scalar(lua_State *L, const char *field, int index, const char *what)
{
	size_t size;
	const char *text;
	int is_integer;
	lua_Integer number;

	if (lua_type(L, index) == LUA_TNUMBER) {
		number = lua_tointegerx(L, index, &is_integer);
		if (!is_integer)
			luaL_error(L, "%s must be %s, not %f", field, what, lua_tonumber(L, index));
		lua_pushfstring(L, "%I", (LUAI_UACINT)number);
		return;
	}
	if (lua_type(L, index) != LUA_TSTRING)
		luaL_error(L, "%s must be %s, not a %s", field, what, luaL_typename(L, index));
	text = lua_tolstring(L, index, &size);
	if (strlen(text) != size)
		luaL_error(L, "%s has a NUL byte in it", field);
	lua_pushvalue(L, index);
}

/* Raises unless the table at `index` is a list of n and nothing else. */
static void check_list(lua_State *L, const char *what, int index, lua_Unsigned n)
{
	lua_Unsigned keys = 0;

	bh_sandbox_charge(L, (size_t)n);
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
		if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1 ||
		    (lua_Unsigned)lua_tointeger(L, -2) > n) {
			if (lua_type(L, -2) == LUA_TSTRING)
				luaL_error(L, "%s must be a list; it has the key '%s'", what, lua_tostring(L, -2));
			luaL_error(L, "%s must be a list; it has keys that are not 1, 2, 3, …", what);
		}
		keys++;
	}
	if (keys != n)
		luaL_error(L, "%s must be a list without gaps", what);
}

/* Pushes a list's elements with commas between. */
static void push_list(lua_State *L, const char *field, int index, const char *what)
{
	lua_Unsigned n = lua_rawlen(L, index);
	luaL_Buffer buffer;

	index = lua_absindex(L, index);
	check_list(L, field, index, n);
	if (!n)
		luaL_error(L, "%s is an empty list; leave it out to mean any", field);
	if (n > BH_LIST_MAX)
		luaL_error(L, "%s lists %I elements; at most %d are possible", field, (LUAI_UACINT)n,
		           BH_LIST_MAX);
	luaL_buffinit(L, &buffer);
	for (lua_Unsigned i = 1; i <= n; i++) {
		if (i > 1)
			luaL_addchar(&buffer, ',');
		lua_rawgeti(L, index, (lua_Integer)i);
		push_scalar(L, field, lua_gettop(L), what);
		lua_remove(L, -2);
		luaL_addvalue(&buffer);
	}
	luaL_pushresult(&buffer);
}

/* Pushes the value at the top, of a rule's field, in the notation the engine parses. */
static const char *push_field(lua_State *L, const char *field)
{
	int index = lua_gettop(L);

	if (!strcmp(field, "log") || !strcmp(field, "audit")) {
		if (!lua_isboolean(L, index))
			luaL_error(L, "%s must be true or false, not a %s", field, luaL_typename(L, index));
		lua_pushstring(L, lua_toboolean(L, index) ? "true" : "false");
	} else if (!strcmp(field, "name")) {
		if (lua_type(L, index) != LUA_TSTRING)
			luaL_error(L, "name must be a string, not a %s", luaL_typename(L, index));
		push_scalar(L, field, index, "a string");
	} else if (!strcmp(field, "priority")) {
		if (!lua_isinteger(L, index))
			luaL_error(L, "priority must be an integer from 0 to 65535, not a %s",
			           lua_type(L, index) == LUA_TNUMBER ? "fraction" : luaL_typename(L, index));
		push_scalar(L, field, index, "an integer");
	} else if (!takes_list(field)) {
		push_scalar(L, field, index, "a name or an integer");
	} else if (lua_istable(L, index)) {
		push_list(L, field, index, "a string or an integer");
	} else {
		push_scalar(L, field, index, "a string, an integer, or a list of these");
	}
	return lua_tostring(L, -1);
}

/* Pushes the rule that `scratch` holds. */
static void pack_rule(lua_State *L, const struct bh_rule *rule)
{
	char buffer[16], origin[64];
	const char *value;
	struct bh_policy_rule *packed;
	size_t size = sizeof(*packed) + 1, origin_size;
	char *p;

	bh_sandbox_where(L, origin, sizeof(origin));
	origin_size = strlen(origin) + 1;
	size += 1 + origin_size;
	for (int f = 0; bh_rule_fields[f]; f++) {
		value = bh_rule_get(rule, bh_rule_fields[f], buffer);
		size += value ? strlen(value) + 2 : 0;
	}
	packed = lua_newuserdatauv(L, size, 0);
	packed->action = rule->action;
	packed->direction = rule->direction;
	p = packed->text;
	for (int f = 0; bh_rule_fields[f]; f++) {
		value = bh_rule_get(rule, bh_rule_fields[f], buffer);
		if (!value)
			continue;
		*p++ = (char)(f + 1);
		memcpy(p, value, strlen(value) + 1);
		p += strlen(value) + 1;
	}
	*p++ = BH_POLICY_ORIGIN;
	memcpy(p, origin, origin_size);
	p[origin_size] = '\0';
	luaL_setmetatable(L, BH_POLICY_RULE);
}

/* allow.inbound{}, … : action and direction are the upvalues. */
static int make_rule(lua_State *L)
{
	struct bh_policy *policy = bh_policy_of(L);
	struct bh_rule *rule = &policy->scratch;
	int action = (int)lua_tointeger(L, lua_upvalueindex(1));
	int direction = (int)lua_tointeger(L, lua_upvalueindex(2));
	struct bh_error err;

	if (!lua_istable(L, 1))
		return luaL_error(L, "%s.%s takes a table, as in %s.%s { protocol = \"tcp\", local_port = 80 }",
		                  bh_policy_actions[action], bh_policy_directions[direction],
		                  bh_policy_actions[action], bh_policy_directions[direction]);
	lua_settop(L, 1);
	bh_rule_clear(rule);
	bh_rule_init(rule, (enum bh_action)action, (enum bh_direction)direction);
	for (lua_pushnil(L); lua_next(L, 1); lua_settop(L, 2)) {
		const char *field, *text = "";
		bool known = false;

		lua_pushvalue(L, 2);
		field = bh_sandbox_tostring(L, 2, NULL);
		if (lua_type(L, 2) == LUA_TSTRING)
			for (int f = 0; bh_rule_fields[f]; f++)
				known = known || !strcmp(field, bh_rule_fields[f]);
		if (known) {
			lua_pushvalue(L, 3);
			text = push_field(L, field);
			bh_sandbox_charge(L, strlen(text) / 4);
		}
		if (bh_rule_set(rule, field, text, &err))
			return luaL_error(L, "%s", err.message);
	}
	if (bh_rule_check(rule, &err))
		return luaL_error(L, "%s", err.message);
	pack_rule(L, rule);
	bh_rule_clear(rule);
	return 1;
}

/* The packed text of a field, or NULL. */
static const char *find_field(const struct bh_policy_rule *rule, char which)
{
	const char *p = rule->text;

	while (*p && *p != which)
		p += strlen(p) + 1;
	return *p ? p + 1 : NULL;
}

static int rule_index(lua_State *L)
{
	const struct bh_policy_rule *rule = luaL_checkudata(L, 1, BH_POLICY_RULE);
	const char *field = luaL_checkstring(L, 2), *value = NULL;

	if (!strcmp(field, "action"))
		value = bh_policy_actions[rule->action];
	else if (!strcmp(field, "direction"))
		value = bh_policy_directions[rule->direction];
	else if (!strcmp(field, "origin"))
		value = find_field(rule, BH_POLICY_ORIGIN);
	for (int f = 0; bh_rule_fields[f]; f++)
		if (!strcmp(field, bh_rule_fields[f]))
			value = find_field(rule, (char)(f + 1));
	lua_pushstring(L, value);
	return 1;
}

static int rule_newindex(lua_State *L)
{
	return luaL_error(L, "a rule cannot be changed once it is made");
}

static int rule_tostring(lua_State *L)
{
	const struct bh_policy_rule *rule = luaL_checkudata(L, 1, BH_POLICY_RULE);

	lua_pushfstring(L, "%s %s (%s)", bh_policy_actions[rule->action],
	                bh_policy_directions[rule->direction], find_field(rule, BH_POLICY_ORIGIN));
	return 1;
}

void bh_policy_rule_push(lua_State *L, const struct bh_policy_rule *rule, const char *dir)
{
	lua_createtable(L, 0, 10);
	bh_set_text(L, "action", bh_policy_actions[rule->action]);
	bh_set_text(L, "direction", bh_policy_directions[rule->direction]);
	bh_set_integer(L, "priority", BH_PRIORITY_DEFAULT);
	bh_set_flag(L, "log", false);
	bh_set_flag(L, "audit", false);
	for (const char *p = rule->text; *p; p += strlen(p) + 1) {
		const char *field = *p == BH_POLICY_ORIGIN ? "origin" : bh_rule_fields[*p - 1];

		if (*p == BH_POLICY_ORIGIN)
			lua_pushfstring(L, "%s/%s", dir, p + 1);
		else if (!strcmp(field, "log") || !strcmp(field, "audit"))
			lua_pushboolean(L, 1); /* kept only where it is true */
		else if (!strcmp(field, "priority"))
			lua_pushinteger(L, atoi(p + 1));
		else
			lua_pushstring(L, p + 1);
		lua_setfield(L, -2, field);
	}
}

/* The value at the top: a rule, or a list of such values. `path` names it. */
static void collect(lua_State *L, int list, const char *path, int nesting)
{
	int value = lua_gettop(L);
	lua_Unsigned n;

	if (luaL_testudata(L, value, BH_POLICY_RULE)) {
		n = lua_rawlen(L, list);
		if (bh_policy_of(L)->rule_count + n >= BH_RULES_MAX)
			luaL_error(L, "%s: an endpoint has at most %d rules", path, BH_RULES_MAX);
		lua_pushvalue(L, value);
		lua_rawseti(L, list, (lua_Integer)n + 1);
		return;
	}
	if (!lua_istable(L, value))
		luaL_error(L, "%s is a %s; it must be a rule made by allow or block, or a list of them", path,
		           luaL_typename(L, value));
	if (nesting >= NESTING_MAX)
		luaL_error(L, "%s is nested too deep (at most %d lists)", path, NESTING_MAX);
	luaL_checkstack(L, 8, "lists of rules");
	n = lua_rawlen(L, value);
	check_list(L, path, value, n);
	for (lua_Unsigned i = 1; i <= n; i++) {
		const char *element = lua_pushfstring(L, "%s[%I]", path, (LUAI_UACINT)i);

		lua_rawgeti(L, value, (lua_Integer)i);
		collect(L, list, element, nesting + 1);
		lua_settop(L, value);
	}
}

void bh_policy_collect(lua_State *L, int list, const char *what)
{
	collect(L, lua_absindex(L, list), what, 0);
}

/* endpoint:add(rules); the upvalue is the run it belongs to. */
static int endpoint_add(lua_State *L)
{
	struct bh_policy *policy = bh_policy_of(L);

	if (!lua_istable(L, 1) || lua_gettop(L) != 2)
		return luaL_error(L, "add is a method and takes one rule or one list: endpoint:add(rule)");
	if (!policy->box.running || lua_tointeger(L, lua_upvalueindex(1)) != policy->run)
		return luaL_error(L, "this endpoint belongs to a handler that has returned");
	lua_getfield(L, LUA_REGISTRYINDEX, BH_POLICY_ADDED);
	lua_insert(L, 2);
	bh_policy_collect(L, 2, "endpoint:add");
	return 0;
}

void bh_policy_push_add(lua_State *L)
{
	lua_pushinteger(L, bh_policy_of(L)->run);
	lua_pushcclosure(L, endpoint_add, 1);
}

/* contains(prefix, address) */
static int word_contains(lua_State *L)
{
	const char *prefix = luaL_checkstring(L, 1), *address = luaL_checkstring(L, 2);
	struct bh_range range;
	struct bh_prefix inner;
	struct bh_error err;

	if (bh_range_parse(&range, prefix, &err) || bh_prefix_parse(&inner, address, true, &err))
		return luaL_error(L, "%s", err.message);
	lua_pushboolean(L, bh_range_contains(&range, &inner.address));
	return 1;
}

/*
 * Whether `text` fits `pattern`; counts its steps, of which there are at most the product of
 * lengths.
 */
static bool glob_match(const char *pattern, const char *text, size_t *steps)
{
	const char *star = NULL, *resume = NULL;

	while (*text) {
		++*steps;
		if (*pattern == '*') {
			star = ++pattern;
			resume = text;
		} else if (*pattern && (*pattern == '?' || *pattern == *text)) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

/* glob(pattern, text) */
static int word_glob(lua_State *L)
{
	size_t pattern_size, text_size, steps = 0;
	const char *pattern = luaL_checklstring(L, 1, &pattern_size);
	const char *text = luaL_checklstring(L, 2, &text_size);

	if (pattern_size > GLOB_MAX || text_size > GLOB_MAX)
		return luaL_error(L, "glob takes texts of at most %d bytes", GLOB_MAX);
	lua_pushboolean(L, strlen(text) == text_size && strlen(pattern) == pattern_size &&
	                       glob_match(pattern, text, &steps));
	bh_sandbox_charge(L, steps / 8);
	return 1;
}

void bh_policy_open_words(lua_State *L)
{
	static const luaL_Reg rule_methods[] = {
		{"__index", rule_index},
		{"__newindex", rule_newindex},
		{"__tostring", rule_tostring},
		{NULL, NULL},
	};

	luaL_newmetatable(L, BH_POLICY_RULE);
	luaL_setfuncs(L, rule_methods, 0);
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
	for (int action = 0; bh_policy_actions[action]; action++) {
		lua_newtable(L);
		for (int direction = 0; bh_policy_directions[direction]; direction++) {
			lua_pushinteger(L, action);
			lua_pushinteger(L, direction);
			lua_pushcclosure(L, make_rule, 2);
			lua_setfield(L, -2, bh_policy_directions[direction]);
		}
		lua_setglobal(L, bh_policy_actions[action]);
	}
	lua_register(L, "contains", word_contains);
	lua_register(L, "glob", word_glob);
}

/*
 * common.c - see common.h.
 */
#include "common.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int default_tostring(lua_State *L)
{
	luaL_getmetafield(L, 1, "__name");
	return 1;
}

void bh_class_register(lua_State *L, const struct bh_class *class)
{
	if (!luaL_newmetatable(L, class->name)) {
		lua_pop(L, 1);
		return;
	}
	luaL_newlib(L, ((luaL_Reg[]){{NULL, NULL}}));
	luaL_setfuncs(L, class->methods, 0);
	lua_setfield(L, -2, "__index");
	if (class->gc) {
		lua_pushcfunction(L, class->gc);
		lua_setfield(L, -2, "__gc");
		lua_pushcfunction(L, class->gc);
		lua_setfield(L, -2, "__close");
	}
	lua_pushcfunction(L, class->tostring ? class->tostring : default_tostring);
	lua_setfield(L, -2, "__tostring");
	lua_pop(L, 1);
}

int bh_push_error(lua_State *L, const struct bh_error *err)
{
	const char *name = strerrorname_np(-err->code);

	lua_pushnil(L);
	lua_pushstring(L, err->message);
	lua_pushstring(L, name ? name : "EIO");
	return 3;
}

int bh_push_result(lua_State *L, int rc, const struct bh_error *err)
{
	if (rc)
		return bh_push_error(L, err);
	lua_pushboolean(L, 1);
	return 1;
}

const char *bh_field_text(lua_State *L, int index, const char *field, const char *otherwise)
{
	int type = lua_getfield(L, index, field);
	const char *text = lua_tostring(L, -1);

	if (type == LUA_TNIL) {
		lua_pop(L, 1);
		return otherwise;
	}
	if (type != LUA_TSTRING)
		luaL_error(L, "%s must be a string, not a %s", field, lua_typename(L, type));
	if (strlen(text) != lua_rawlen(L, -1))
		luaL_error(L, "%s has a NUL byte in it", field);
	lua_pop(L, 1);
	return text;
}

lua_Integer bh_field_integer(lua_State *L, int index, const char *field, lua_Integer otherwise)
{
	int type = lua_getfield(L, index, field), ok;
	lua_Integer value = lua_tointegerx(L, -1, &ok);

	lua_pop(L, 1);
	if (type == LUA_TNIL)
		return otherwise;
	if (type != LUA_TNUMBER || !ok)
		luaL_error(L, "%s must be an integer", field);
	return value;
}

lua_Number bh_field_number(lua_State *L, int index, const char *field, lua_Number otherwise)
{
	int type = lua_getfield(L, index, field);
	lua_Number value = lua_tonumber(L, -1);

	lua_pop(L, 1);
	if (type == LUA_TNIL)
		return otherwise;
	if (type != LUA_TNUMBER)
		luaL_error(L, "%s must be a number, not a %s", field, lua_typename(L, type));
	return value;
}

bool bh_field_flag(lua_State *L, int index, const char *field, bool otherwise)
{
	int type = lua_getfield(L, index, field);
	bool value = lua_toboolean(L, -1);

	lua_pop(L, 1);
	if (type == LUA_TNIL)
		return otherwise;
	if (type != LUA_TBOOLEAN)
		luaL_error(L, "%s must be true or false, not a %s", field, lua_typename(L, type));
	return value;
}

size_t bh_field_texts(lua_State *L, int index, const char *field, const char **texts, size_t max)
{
	int type = lua_getfield(L, index, field);
	size_t count;

	if (type == LUA_TNIL) {
		lua_pop(L, 1);
		return 0;
	}
	if (type != LUA_TTABLE)
		luaL_error(L, "%s must be a list of strings, not a %s", field, lua_typename(L, type));
	count = lua_rawlen(L, -1);
	if (count > max)
		luaL_error(L, "%s lists %d elements; at most %d are possible", field, (int)count, (int)max);
	for (size_t i = 0; i < count; i++) {
		if (lua_rawgeti(L, -1, (lua_Integer)i + 1) != LUA_TSTRING)
			luaL_error(L, "%s must be a list of strings", field);
		texts[i] = lua_tostring(L, -1);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	return count;
}

void bh_set_text(lua_State *L, const char *field, const char *text)
{
	if (!text)
		return;
	lua_pushstring(L, text);
	lua_setfield(L, -2, field);
}

void bh_set_integer(lua_State *L, const char *field, lua_Integer value)
{
	lua_pushinteger(L, value);
	lua_setfield(L, -2, field);
}

void bh_set_flag(lua_State *L, const char *field, bool value)
{
	lua_pushboolean(L, value);
	lua_setfield(L, -2, field);
}

void bh_append_list(lua_State *L, const char *text)
{
	lua_Integer n = (lua_Integer)lua_rawlen(L, -1);

	while (text && *text) {
		size_t length = strcspn(text, ",");

		lua_pushlstring(L, text, length);
		lua_rawseti(L, -2, ++n);
		text += length + (text[length] == ',');
	}
}

void bh_set_list(lua_State *L, const char *field, const char *text)
{
	lua_newtable(L);
	bh_append_list(L, text);
	lua_setfield(L, -2, field);
}

static int rules_gc(lua_State *L)
{
	struct bh_rules *rules = lua_touserdata(L, 1);

	for (size_t i = 0; i < rules->count; i++)
		bh_rule_clear(&rules->rules[i]);
	free(rules->rules);
	rules->rules = NULL;
	rules->count = 0;
	return 0;
}

static const luaL_Reg no_methods[] = {{NULL, NULL}};
static const struct bh_class rules_class = {"bulkhead.rules", no_methods, rules_gc, NULL};

void bh_rules_register(lua_State *L)
{
	bh_class_register(L, &rules_class);
}

/* A field's value as text: a string, an integer, a boolean, or a list of the first two. Pushes it. */
static const char *value_text(lua_State *L, const char *field)
{
	luaL_Buffer buffer;
	size_t count;
	int list;

	if (lua_isboolean(L, -1))
		return lua_pushstring(L, lua_toboolean(L, -1) ? "true" : "false");
	if (lua_isinteger(L, -1) || lua_type(L, -1) == LUA_TSTRING) {
		lua_pushvalue(L, -1);
		return lua_tostring(L, -1);
	}
	if (!lua_istable(L, -1))
		luaL_error(L, "%s must be a string, a number or a list of them", field);
	list = lua_gettop(L);
	count = lua_rawlen(L, list);
	luaL_buffinit(L, &buffer);
	for (size_t i = 1; i <= count; i++) {
		lua_rawgeti(L, list, (lua_Integer)i);
		if (!lua_isinteger(L, -1) && lua_type(L, -1) != LUA_TSTRING)
			luaL_error(L, "%s must list strings or numbers", field);
		luaL_addvalue(&buffer);
		if (i < count)
			luaL_addchar(&buffer, ',');
	}
	luaL_pushresult(&buffer);
	return lua_tostring(L, -1);
}

static bool is_one_of(const char *text, const char *const *names)
{
	while (*names && strcmp(*names, text))
		names++;
	return *names != NULL;
}

const char *bh_unknown_field(lua_State *L, int index, const char *const *names, const char *const *more)
{
	static const char *const none[] = {NULL};

	index = lua_absindex(L, index);
	lua_pushnil(L);
	while (lua_next(L, index)) {
		const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : luaL_typename(L, -2);

		lua_pop(L, 1);
		if (!is_one_of(key, names) && !is_one_of(key, more ? more : none)) {
			lua_pop(L, 1);
			return key;
		}
	}
	return NULL;
}

/* Refuses what a misspelt word would leave unsaid. */
static int check_words(lua_State *L, const char *action, const char *direction, struct bh_error *err)
{
	static const char *const more[] = {"action", "direction", "id", "origin", NULL};
	const char *unknown;

	if (strcmp(action, "allow") && strcmp(action, "block"))
		return bh_error_set(err, -EINVAL, "a rule's action is allow or block, not '%.40s'", action);
	if (strcmp(direction, "inbound") && strcmp(direction, "outbound"))
		return bh_error_set(err, -EINVAL, "a rule's direction is inbound or outbound, not '%.40s'", direction);
	unknown = bh_unknown_field(L, -1, bh_rule_fields, more);
	return unknown ? bh_error_set(err, -EINVAL, "a rule has no field '%.40s'", unknown) : 0;
}

/* Fills one rule from the table at the top. */
static int rule_from_table(lua_State *L, struct bh_rule *rule, struct bh_error *err)
{
	const char *action = bh_field_text(L, -1, "action", "allow");
	const char *direction = bh_field_text(L, -1, "direction", "inbound");
	const char *origin = bh_field_text(L, -1, "origin", NULL);
	int table = lua_gettop(L), rc = check_words(L, action, direction, err);

	bh_rule_init(rule, strcmp(action, "block") ? BH_ALLOW : BH_BLOCK,
	             strcmp(direction, "outbound") ? BH_IN : BH_OUT);
	for (const char *const *field = bh_rule_fields; !rc && *field; field++) {
		if (lua_getfield(L, table, *field) != LUA_TNIL)
			rc = bh_rule_set(rule, *field, value_text(L, *field), err);
		lua_settop(L, table);
	}
	if (!rc && origin) {
		rule->origin = strdup(origin);
		if (!rule->origin)
			rc = bh_error_set(err, -ENOMEM, "not enough memory for a rule");
	}
	if (!rc)
		rc = bh_rule_check(rule, err);
	return rc && origin ? bh_error_prefix(err, "%s", origin) : rc;
}

int bh_check_rules(lua_State *L, int index, struct bh_rules **out, struct bh_error *err)
{
	struct bh_rules *rules;
	size_t count;
	int rc = 0;

	index = lua_absindex(L, index);
	rules = lua_newuserdatauv(L, sizeof(*rules), 0);
	memset(rules, 0, sizeof(*rules));
	luaL_setmetatable(L, rules_class.name);
	*out = rules;
	if (lua_isnoneornil(L, index))
		return 0;
	luaL_checktype(L, index, LUA_TTABLE);
	count = lua_rawlen(L, index);
	if (!count)
		return 0;
	rules->rules = calloc(count, sizeof(*rules->rules));
	if (!rules->rules)
		return bh_error_set(err, -ENOMEM, "not enough memory for %zu rules", count);
	for (size_t i = 0; !rc && i < count; i++) {
		if (lua_rawgeti(L, index, (lua_Integer)i + 1) != LUA_TTABLE)
			luaL_error(L, "rule %d must be a table, not a %s", (int)i + 1, luaL_typename(L, -1));
		rules->count++;
		rc = rule_from_table(L, &rules->rules[i], err);
		lua_pop(L, 1);
	}
	return rc;
}

void bh_push_rule(lua_State *L, const struct bh_rule *rule)
{
	char buffer[16];

	lua_newtable(L);
	bh_set_text(L, "action", rule->action == BH_BLOCK ? "block" : "allow");
	bh_set_text(L, "direction", rule->direction == BH_OUT ? "outbound" : "inbound");
	for (const char *const *field = bh_rule_fields; *field; field++)
		bh_set_text(L, *field, bh_rule_get(rule, *field, buffer));
	bh_set_integer(L, "priority", rule->priority);
	bh_set_flag(L, "log", rule->log);
	bh_set_flag(L, "audit", rule->audit);
	bh_set_text(L, "origin", rule->origin);
	if (rule->id)
		bh_set_integer(L, "id", rule->id);
}

/*
 * sandbox_lib.c - what code in a sandbox may call: a white list.
 *
 * Lua's own functions are taken over where they are constant in time or linear in what memory
 * already bounds. The others are written anew here:
 *
 *   table.*        work on raw lengths and raw elements: with a lying __len and a C function as __index
 *                  the originals loop for ever without one instruction for the hook to count
 *   string.rep     checks the length first; the original loops 1<<40 times over the empty string
 *   setmetatable   takes a checked copy. __gc would run without hooks, __mode makes collections
 *                  quadratic, and a __call that is a table which is its own __call loops inside C.
 *                  With a copy none of them can be slipped in afterwards
 *   xpcall         unwinds before it calls the handler, because hooks are off where an error of the
 *                  hook is raised, and a looping handler would never end
 *   tostring, string.format
 *                  show no addresses of the process
 *
 * Left out: patterns (exponential inside C), load and bytecode, coroutines (a hook and a count
 * each), math.randomseed (it returns an address), collectgarbage, require (policy_set.c has its
 * own).
 */
#include "sandbox.h"

#include <lualib.h>
#include <string.h>

#include "../engine/base/log.h"

#define UNPACK_MAX 8192

static const char *const base_names[] = {
	"assert", "error", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawlen", "rawset",
	"select", "tonumber", "type", NULL,
};
static const char *const string_names[] = {
	"byte", "char", "len", "lower", "sub", "upper", NULL,
};
static const char *const math_names[] = {
	"abs", "acos", "asin", "atan", "ceil", "cos", "deg", "exp", "floor", "fmod", "huge", "log", "max",
	"maxinteger", "min", "mininteger", "modf", "pi", "rad", "random", "sin", "sqrt", "tan",
	"tointeger", "type", "ult", NULL,
};
static const char *const metamethods[] = {
	"__add", "__band", "__bnot", "__bor", "__bxor", "__call", "__close", "__concat", "__div", "__eq",
	"__idiv", "__index", "__le", "__len", "__lt", "__metatable", "__mod", "__mul", "__name",
	"__newindex", "__pairs", "__pow", "__shl", "__shr", "__sub", "__tostring", "__unm", NULL,
};

/* Its address is the key under which a metatable's copy keeps the table it was made from. */
static const char original_key;

const char *bh_sandbox_tostring(lua_State *L, int index, size_t *size)
{
	index = lua_absindex(L, index);
	if (luaL_callmeta(L, index, "__tostring")) {
		if (!lua_isstring(L, -1))
			luaL_error(L, "'__tostring' must return a string");
	} else if (lua_type(L, index) == LUA_TNUMBER || lua_type(L, index) == LUA_TSTRING) {
		lua_pushvalue(L, index);
	} else if (lua_type(L, index) == LUA_TBOOLEAN) {
		lua_pushstring(L, lua_toboolean(L, index) ? "true" : "false");
	} else if (luaL_getmetafield(L, index, "__name") != LUA_TSTRING) {
		lua_pushstring(L, luaL_typename(L, index));
	}
	return lua_tolstring(L, -1, size);
}

static int base_tostring(lua_State *L)
{
	luaL_checkany(L, 1);
	bh_sandbox_tostring(L, 1, NULL);
	return 1;
}

static int base_print(lua_State *L)
{
	int n = lua_gettop(L);
	char line[512] = "", *end = line;

	bh_sandbox_charge(L, 1000);
	for (int i = 1; i <= n; i++) {
		size_t room = sizeof(line) - (size_t)(end - line) - 1, size;
		const char *text = bh_sandbox_tostring(L, i, &size);

		if (i > 1 && room) {
			*end++ = ' ';
			room--;
		}
		size = strnlen(text, size < room ? size : room);
		memcpy(end, text, size);
		end += size;
		lua_pop(L, 1);
	}
	*end = '\0';
	bh_sandbox_printable(line);
	bh_log(BH_LOG_INFO, "policy: %s", line);
	return 0;
}

static int base_xpcall(lua_State *L)
{
	int n = lua_gettop(L);

	luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_pushvalue(L, 1);
	lua_rotate(L, 3, 1); /* f, handler, f, arguments */
	if (lua_pcall(L, n - 2, LUA_MULTRET, 0) == LUA_OK) {
		lua_pushboolean(L, 1);
		lua_replace(L, 2);
		return lua_gettop(L) - 1;
	}
	lua_pushvalue(L, 2);
	lua_insert(L, -2);
	lua_pcall(L, 1, 1, 0); /* an error of the handler takes the place of its result */
	lua_pushboolean(L, 0);
	lua_insert(L, -2);
	return 2;
}

static void refuse_metafield(lua_State *L, const char *name, const char *why)
{
	lua_pushstring(L, name);
	if (lua_rawget(L, 2) != LUA_TNIL)
		luaL_error(L, "setmetatable refuses '%s' in a policy: %s", name, why);
	lua_pop(L, 1);
}

static int base_setmetatable(lua_State *L)
{
	int type = lua_type(L, 2);

	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
	if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
		return luaL_error(L, "cannot change a protected metatable");
	lua_settop(L, 2);
	if (type == LUA_TNIL) {
		lua_setmetatable(L, 1);
		return 1;
	}
	refuse_metafield(L, "__gc", "finalisers run without limits");
	refuse_metafield(L, "__mode", "there are no weak tables");
	lua_createtable(L, 0, 4);
	for (const char *const *name = metamethods; *name; name++) {
		lua_pushstring(L, *name);
		lua_pushvalue(L, -1);
		if (lua_rawget(L, 2) == LUA_TNIL) {
			lua_pop(L, 2);
			continue;
		}
		if (!strcmp(*name, "__call") && !lua_isfunction(L, -1))
			return luaL_error(L, "'__call' must be a function");
		lua_rawset(L, 3);
	}
	lua_pushvalue(L, 2);
	lua_rawsetp(L, 3, &original_key);
	lua_setmetatable(L, 1);
	lua_settop(L, 1);
	return 1;
}

static int base_getmetatable(lua_State *L)
{
	luaL_checkany(L, 1);
	if (!lua_getmetatable(L, 1)) {
		lua_pushnil(L);
		return 1;
	}
	if (luaL_getmetafield(L, 1, "__metatable") == LUA_TNIL)
		lua_rawgetp(L, -1, &original_key);
	return 1;
}

static int string_rep(lua_State *L)
{
	size_t size, gap, total;
	const char *text = luaL_checklstring(L, 1, &size);
	lua_Integer n = luaL_checkinteger(L, 2);
	const char *separator = luaL_optlstring(L, 3, "", &gap);
	luaL_Buffer buffer;
	char *p;

	if (n <= 0 || size + gap == 0) {
		lua_pushliteral(L, "");
		return 1;
	}
	if ((lua_Unsigned)n > BH_SANDBOX_STRING || (size_t)n * (size + gap) > BH_SANDBOX_STRING + gap)
		return luaL_error(L, "resulting string is longer than %d KiB", (int)(BH_SANDBOX_STRING >> 10));
	total = (size_t)n * size + (size_t)(n - 1) * gap;
	bh_sandbox_charge(L, (size_t)n);
	p = luaL_buffinitsize(L, &buffer, total);
	for (lua_Integer i = 0; i < n; i++) {
		memcpy(p, text, size);
		p += size;
		if (gap && i + 1 < n) {
			memcpy(p, separator, gap);
			p += gap;
		}
	}
	luaL_pushresultsize(&buffer, total);
	return 1;
}

/* The original is the upvalue; it sees only values that print without addresses. */
static int string_format(lua_State *L)
{
	size_t size, work = 0;
	const char *format = luaL_checklstring(L, 1, &size);
	int n = lua_gettop(L);

	for (size_t i = 0; i + 1 < size; i++) {
		if (format[i] != '%')
			continue;
		for (i++; i < size && strchr("-+ #0.123456789", format[i]) && format[i]; i++)
			;
		if (i < size && format[i] == 'p')
			return luaL_error(L, "string.format has no '%%p' in a policy");
	}
	for (int i = 2; i <= n; i++) {
		int type = lua_type(L, i);

		if (type == LUA_TSTRING) {
			work += lua_rawlen(L, i) / 16;
		} else if (type > LUA_TNUMBER || type == LUA_TLIGHTUSERDATA) {
			bh_sandbox_tostring(L, i, NULL);
			lua_replace(L, i);
		}
	}
	bh_sandbox_charge(L, work + size / 16);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, n, 1);
	return 1;
}

static lua_Integer raw_length(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	return (lua_Integer)lua_rawlen(L, 1);
}

static int table_insert(lua_State *L)
{
	lua_Integer n = raw_length(L), position = n + 1;

	switch (lua_gettop(L)) {
	case 2:
		break;
	case 3:
		position = luaL_checkinteger(L, 2);
		luaL_argcheck(L, position >= 1 && position <= n + 1, 2, "position out of bounds");
		bh_sandbox_charge(L, (size_t)(n + 1 - position));
		for (lua_Integer i = n + 1; i > position; i--) {
			lua_rawgeti(L, 1, i - 1);
			lua_rawseti(L, 1, i);
		}
		break;
	default:
		return luaL_error(L, "wrong number of arguments to 'insert'");
	}
	lua_rawseti(L, 1, position);
	return 0;
}

static int table_remove(lua_State *L)
{
	lua_Integer n = raw_length(L);
	lua_Integer position = luaL_optinteger(L, 2, n);

	luaL_argcheck(L, (position >= 1 && position <= n + 1) || (n == 0 && position == 0), 2,
	              "position out of bounds");
	bh_sandbox_charge(L, position < n ? (size_t)(n - position) : 0);
	lua_rawgeti(L, 1, position);
	for (; position < n; position++) {
		lua_rawgeti(L, 1, position + 1);
		lua_rawseti(L, 1, position);
	}
	if (position <= n) {
		lua_pushnil(L);
		lua_rawseti(L, 1, position);
	}
	return 1;
}

static int table_pack(lua_State *L)
{
	int n = lua_gettop(L);

	lua_createtable(L, n, 1);
	lua_insert(L, 1);
	for (int i = n; i >= 1; i--)
		lua_rawseti(L, 1, i);
	lua_pushinteger(L, n);
	lua_setfield(L, 1, "n");
	return 1;
}

static int table_unpack(lua_State *L)
{
	lua_Integer n = raw_length(L);
	lua_Integer first = luaL_optinteger(L, 2, 1), last = luaL_optinteger(L, 3, n);
	lua_Unsigned count = (lua_Unsigned)last - (lua_Unsigned)first;

	if (first > last)
		return 0;
	if (count >= UNPACK_MAX || !lua_checkstack(L, (int)count + 1))
		return luaL_error(L, "too many results to unpack (at most %d)", UNPACK_MAX);
	bh_sandbox_charge(L, (size_t)count);
	for (lua_Unsigned i = 0; i <= count; i++)
		lua_rawgeti(L, 1, (lua_Integer)((lua_Unsigned)first + i));
	return (int)count + 1;
}

/* Two passes, so that a result that is too long is refused before any of it is made. */
static int table_concat(lua_State *L)
{
	lua_Integer n = raw_length(L);
	size_t gap, total = 0, size;
	const char *separator = luaL_optlstring(L, 2, "", &gap);
	lua_Integer first = luaL_optinteger(L, 3, 1), last = luaL_optinteger(L, 4, n);
	luaL_Buffer buffer;

	if (first <= last && (lua_Unsigned)last - (lua_Unsigned)first <= (lua_Unsigned)1 << 24)
		bh_sandbox_charge(L, (size_t)(last - first));
	for (lua_Integer i = first; first <= last; i++) {
		int type = lua_rawgeti(L, 1, i);

		if (type != LUA_TSTRING && type != LUA_TNUMBER)
			return luaL_error(L, "invalid value (at index %I) in table for 'concat'", (LUAI_UACINT)i);
		size = type == LUA_TSTRING ? lua_rawlen(L, -1) : 0;
		lua_pop(L, 1);
		total += size + (i < last ? gap : 0);
		if (total > BH_SANDBOX_STRING)
			return luaL_error(L, "resulting string is longer than %d KiB",
			                  (int)(BH_SANDBOX_STRING >> 10));
		if (i == last)
			break;
	}
	luaL_buffinit(L, &buffer);
	for (lua_Integer i = first; first <= last; i++) {
		lua_rawgeti(L, 1, i);
		luaL_addvalue(&buffer);
		if (i == last)
			break;
		luaL_addlstring(&buffer, separator, gap);
	}
	luaL_pushresult(&buffer);
	return 1;
}

/* Whether the element at index a of the stack sorts before that at b. */
static bool sorts_before(lua_State *L, int a, int b)
{
	bool before;

	bh_sandbox_charge(L, 1 + (lua_type(L, a) == LUA_TSTRING ? lua_rawlen(L, a) / 64 : 0));
	if (lua_isnil(L, 2))
		return lua_compare(L, a, b, LUA_OPLT);
	lua_pushvalue(L, 2);
	lua_pushvalue(L, a);
	lua_pushvalue(L, b);
	lua_call(L, 2, 1);
	before = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return before;
}

/* Lets the element at `root` sink in the heap of the first n. */
static void sift_down(lua_State *L, lua_Integer root, lua_Integer n)
{
	int value = lua_gettop(L) + 1, child_value = value + 1;

	lua_rawgeti(L, 1, root);
	while (root <= n / 2) {
		lua_Integer child = root * 2;

		lua_rawgeti(L, 1, child);
		if (child < n) {
			lua_rawgeti(L, 1, child + 1);
			if (sorts_before(L, child_value, child_value + 1)) {
				child++;
				lua_replace(L, child_value);
			} else {
				lua_pop(L, 1);
			}
		}
		if (!sorts_before(L, value, child_value)) {
			lua_pop(L, 1);
			break;
		}
		lua_rawseti(L, 1, root);
		root = child;
	}
	lua_rawseti(L, 1, root);
}

/* Heapsort: its number of steps is bounded whatever the comparison answers. */
static int table_sort(lua_State *L)
{
	lua_Integer n = raw_length(L);

	if (!lua_isnoneornil(L, 2))
		luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_settop(L, 2);
	for (lua_Integer i = n / 2; i >= 1; i--)
		sift_down(L, i, n);
	for (lua_Integer i = n; i > 1; i--) {
		lua_rawgeti(L, 1, 1);
		lua_rawgeti(L, 1, i);
		lua_rawseti(L, 1, 1);
		lua_rawseti(L, 1, i);
		sift_down(L, 1, i - 1);
	}
	return 0;
}

static const luaL_Reg base_functions[] = {
	{"getmetatable", base_getmetatable}, {"print", base_print},   {"setmetatable", base_setmetatable},
	{"tostring", base_tostring},         {"xpcall", base_xpcall}, {NULL, NULL},
};
static const luaL_Reg table_functions[] = {
	{"concat", table_concat}, {"insert", table_insert}, {"pack", table_pack},
	{"remove", table_remove}, {"sort", table_sort},     {"unpack", table_unpack},
	{NULL, NULL},
};

/* Opens a library of Lua's and pushes a table with only those of its functions. */
static void push_some(lua_State *L, const char *library, lua_CFunction open,
                      const char *const *names)
{
	luaL_requiref(L, library, open, 0);
	lua_newtable(L);
	for (; *names; names++) {
		lua_getfield(L, -2, *names);
		lua_setfield(L, -2, *names);
	}
}

int bh_sandbox_libraries(lua_State *L)
{
	push_some(L, "_G", luaopen_base, base_names);
	luaL_setfuncs(L, base_functions, 0);

	push_some(L, "string", luaopen_string, string_names);
	lua_pushcfunction(L, string_rep);
	lua_setfield(L, -2, "rep");
	lua_getfield(L, -2, "format");
	lua_pushcclosure(L, string_format, 1);
	lua_setfield(L, -2, "format");
	/* The metatable all strings share: methods are ours, and nobody gets at it. */
	lua_pushliteral(L, "");
	lua_getmetatable(L, -1);
	lua_pushvalue(L, -3);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 2);
	lua_setfield(L, 2, "string");
	lua_settop(L, 2);

	push_some(L, "math", luaopen_math, math_names);
	lua_setfield(L, 2, "math");
	lua_settop(L, 2);

	luaL_newlib(L, table_functions);
	lua_setfield(L, 2, "table");

	/* Chunks get the white list as their globals; Lua's own tables are let go. */
	lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
	lua_pushnil(L);
	lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
	return 0;
}

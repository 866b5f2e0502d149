/*
 * common.h - what every C module of ours needs: classes from one descriptor, fields of tables,
 * errors as Lua expects them.
 *
 * A Lua error is a longjmp: nothing here and in the modules may own memory across a call into Lua
 * unless a userdata holds it. So: make the userdata first, then fill it.
 */
#ifndef BH_BINDINGS_COMMON_H
#define BH_BINDINGS_COMMON_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "../engine/base/error.h"
#include "../engine/filter/rule.h"

/* One descriptor per Lua class; `name` is the metatable's and what type errors say. */
struct bh_class {
	const char *name;
	const luaL_Reg *methods;
	lua_CFunction gc;       /* also __close; must bear being called twice */
	lua_CFunction tostring; /* NULL: "NAME" */
};

void bh_class_register(lua_State *L, const struct bh_class *class);

/* nil, message, code (an errno name). */
int bh_push_error(lua_State *L, const struct bh_error *err);
/* true, or the three above. */
int bh_push_result(lua_State *L, int rc, const struct bh_error *err);

/* Fields of the table at `index`; the texts live as long as the table holds them. Raise on a value
 * of another type, naming field and type. */
const char *bh_field_text(lua_State *L, int index, const char *field, const char *otherwise);
lua_Integer bh_field_integer(lua_State *L, int index, const char *field, lua_Integer otherwise);
lua_Number bh_field_number(lua_State *L, int index, const char *field, lua_Number otherwise);
bool bh_field_flag(lua_State *L, int index, const char *field, bool otherwise);
/* A list of texts: their number, at most `max` (more raises). */
size_t bh_field_texts(lua_State *L, int index, const char *field, const char **texts, size_t max);

/* t[field] = text (nothing if NULL), on the table at the top. */
void bh_set_text(lua_State *L, const char *field, const char *text);
void bh_set_integer(lua_State *L, const char *field, lua_Integer value);
void bh_set_flag(lua_State *L, const char *field, bool value);
/* The texts that `text` holds with commas, at the end of the list at the top. */
void bh_append_list(lua_State *L, const char *text);
/* t[field] = list of them. */
void bh_set_list(lua_State *L, const char *field, const char *text);

/* A key of the table that neither list names (`more` may be NULL), or the type of one that is no text; NULL: none.
 * Lives as long as the table. */
const char *bh_unknown_field(lua_State *L, int index, const char *const *names, const char *const *more);

/*
 * A list of rules in a userdata on the stack, from the list of tables at `index` (nil = none). The
 * tables are as policy:rules() gives them; a mistake is returned as an error naming the rule.
 */
struct bh_rules {
	size_t count;
	struct bh_rule *rules; /* owned by the userdata */
};
int bh_check_rules(lua_State *L, int index, struct bh_rules **out, struct bh_error *err);
/* Pushes one rule as a table. */
void bh_push_rule(lua_State *L, const struct bh_rule *rule);
/* Registers the userdata's class; every module that uses rules calls it. */
void bh_rules_register(lua_State *L);

/* Sleeps. Ctrl-C that guard() is to answer ends it at once, also one that came before. */
void bh_console_sleep(const struct timespec *time);

#endif

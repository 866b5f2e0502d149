/*
 * prove.c - module `bulkhead.prove`: what gates make of all packets, not of samples.
 *
 * Every question is one comparison of two gates (engine/filter/difference.h): of a gate with itself
 * plus a rule in front, less a rule, or with the one that allows nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../engine/filter/difference.h"
#include "../engine/filter/notation.h"
#include "gate.h"
#include "modules.h"

struct difference_object {
	struct bh_difference difference;
	char *text; /* owned: of the field being pushed */
};

static int difference_gc(lua_State *L)
{
	struct difference_object *object = lua_touserdata(L, 1);

	bh_difference_clear(&object->difference);
	free(object->text);
	object->text = NULL;
	return 0;
}

static const luaL_Reg no_methods[] = {{NULL, NULL}};
static const struct bh_class difference_class = {"bulkhead.difference", no_methods, difference_gc, NULL};

static struct bh_side side_of(lua_State *L, int index)
{
	struct bh_gate_object *gate = luaL_checkudata(L, index, "bulkhead.gate");

	return (struct bh_side){.conf = &gate->conf, .rulesets = {gate->rulesets[0], gate->rulesets[1]}};
}

/* An example as PACKET notation; a TCP segment is one that opens. */
static void push_packet(lua_State *L, const struct bh_key *key)
{
	bool out = key->direction == BH_OUT;
	struct bh_notation packet = {
		.direction = key->direction,
		.protocol = key->protocol,
		.tcp_flags = key->protocol == BH_PROTO_TCP ? BH_TCP_SYN : 0,
		.icmp_type = bh_is_icmp(key) ? bh_icmp_type(key) : 0,
		.icmp_code = bh_is_icmp(key) ? (uint8_t)key->local_port : 0,
		.source = out ? key->local : key->remote,
		.target = out ? key->remote : key->local,
		.source_port = out ? key->local_port : key->remote_port,
		.target_port = out ? key->remote_port : key->local_port,
	};
	char text[BH_NOTATION_TEXT];

	lua_pushstring(L, bh_notation_format(&packet, text));
}

/* The difference of two sides in a userdata at the top, or NULL and an error. */
static struct difference_object *compare(lua_State *L, const struct bh_side sides[2], lua_Integer budget,
                                         struct bh_error *err)
{
	struct difference_object *object = lua_newuserdatauv(L, sizeof(*object), 0);

	memset(object, 0, sizeof(*object));
	luaL_setmetatable(L, difference_class.name);
	return bh_difference_init(&object->difference, sides, (uint64_t)budget, err) ? NULL : object;
}

/* true; or false and the example of the first class; or nil, message, code. */
static int answer(lua_State *L, const struct bh_side sides[2])
{
	struct bh_error err;
	struct difference_object *object = compare(L, sides, BH_DIFFERENCE_BUDGET, &err);

	if (!object)
		return bh_push_error(L, &err);
	lua_pushboolean(L, !object->difference.count);
	if (!object->difference.count)
		return 1;
	push_packet(L, &object->difference.classes[0].example);
	return 2;
}

static void set_decider(lua_State *L, const char *name, const struct bh_decider *decider)
{
	lua_newtable(L);
	bh_set_text(L, "action", bh_action_name(decider->action));
	bh_set_text(L, "by", bh_by_name(decider->by));
	bh_set_flag(L, "audit", decider->rule && decider->rule->audit);
	if (decider->rule) {
		bh_set_text(L, "rule", decider->rule->name);
		bh_set_text(L, "origin", decider->rule->origin);
		bh_set_integer(L, "id", decider->rule->id);
	}
	lua_setfield(L, -2, name);
}

static void push_class(lua_State *L, struct difference_object *object, const struct bh_difference_class *class)
{
	static const char *const fields[] = {"protocol", "local", "local_port", "remote", "remote_port",
	                                     "icmp", NULL};

	lua_newtable(L);
	bh_set_text(L, "change", class->change == BH_NEWLY_ALLOWED ? "allowed" : "blocked");
	bh_set_text(L, "direction", bh_direction_name(class->example.direction));
	for (const char *const *field = fields; *field; field++) {
		object->text = bh_difference_field(&object->difference, class, *field);
		bh_set_text(L, *field, object->text);
		free(object->text);
		object->text = NULL;
	}
	push_packet(L, &class->example);
	lua_setfield(L, -2, "example");
	set_decider(L, "before", &class->deciders[0]);
	set_decider(L, "after", &class->deciders[1]);
}

static int prove_compare(lua_State *L)
{
	struct bh_side sides[2] = {side_of(L, 1), side_of(L, 2)};
	lua_Integer budget = luaL_optinteger(L, 3, BH_DIFFERENCE_BUDGET);
	struct difference_object *object;
	struct bh_error err;

	luaL_argcheck(L, budget > 0, 3, "must be a number of steps");
	object = compare(L, sides, budget, &err);
	if (!object)
		return bh_push_error(L, &err);
	lua_createtable(L, (int)object->difference.count, 0);
	for (size_t i = 0; i < object->difference.count; i++) {
		push_class(L, object, &object->difference.classes[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

static int prove_equivalent(lua_State *L)
{
	struct bh_side sides[2] = {side_of(L, 1), side_of(L, 2)};

	return answer(L, sides);
}

/* The gate, and the same with the rule at index 2 before all others. */
static int prove_action(lua_State *L, enum bh_action action)
{
	struct bh_side sides[2] = {side_of(L, 1), side_of(L, 1)};
	struct bh_rules *rules;
	struct bh_error err;

	luaL_checktype(L, 2, LUA_TTABLE);
	lua_settop(L, 2);
	lua_newtable(L);
	lua_pushvalue(L, 2);
	lua_rawseti(L, 3, 1);
	if (bh_check_rules(L, 3, &rules, &err))
		return bh_push_error(L, &err);
	rules->rules[0].action = (uint8_t)action;
	rules->rules[0].audit = false;
	sides[1].first = &rules->rules[0];
	return answer(L, sides);
}

static int prove_permits(lua_State *L)
{
	return prove_action(L, BH_ALLOW);
}

static int prove_forbids(lua_State *L)
{
	return prove_action(L, BH_BLOCK);
}

/* The gate's rule of the id at index 2. */
static const struct bh_rule *check_rule(lua_State *L, const struct bh_side *side)
{
	lua_Integer id = luaL_checkinteger(L, 2);
	const struct bh_rule *rule;
	size_t at[2] = {0, 0};

	while ((rule = bh_side_next(side, at)))
		if (rule->id == id)
			return rule;
	luaL_error(L, "the gate has no rule with id %I", (LUAI_UACINT)id);
	return NULL;
}

static int prove_shadowed(lua_State *L)
{
	struct bh_side sides[2] = {side_of(L, 1), side_of(L, 1)};

	sides[1].only = check_rule(L, &sides[1]);
	sides[0].nothing = true;
	return answer(L, sides);
}

static int prove_idle(lua_State *L)
{
	struct bh_side sides[2] = {side_of(L, 1), side_of(L, 1)};

	sides[1].without = check_rule(L, &sides[1]);
	return answer(L, sides);
}

static int prove_rules(lua_State *L)
{
	struct bh_side side = side_of(L, 1);
	const struct bh_rule *rule;
	size_t at[2] = {0, 0};
	lua_Integer n = 0;

	lua_newtable(L);
	while ((rule = bh_side_next(&side, at))) {
		bh_push_rule(L, rule);
		lua_rawseti(L, -2, ++n);
	}
	return 1;
}

static const luaL_Reg functions[] = {
	{"compare", prove_compare}, {"equivalent", prove_equivalent}, {"permits", prove_permits},
	{"forbids", prove_forbids}, {"shadowed", prove_shadowed}, {"idle", prove_idle},
	{"rules", prove_rules}, {NULL, NULL},
};

int luaopen_bulkhead_prove(lua_State *L)
{
	bh_rules_register(L);
	bh_gate_register(L);
	bh_class_register(L, &difference_class);
	luaL_newlib(L, functions);
	return 1;
}

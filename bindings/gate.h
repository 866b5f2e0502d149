/*
 * gate.h - the `gate` object: one firewall gate to ask, imagined or a copy of a live one.
 */
#ifndef BH_BINDINGS_GATE_H
#define BH_BINDINGS_GATE_H

#include "../engine/filter/evaluate.h"
#include "common.h"

struct bh_gate_object {
	struct bh_conf conf;
	struct bh_ruleset *rulesets[2]; /* shared, own; owned */
	struct bh_table *tables[2];     /* compiled from them, or read from a live gate, or NULL; owned */
	struct bh_flow_table *flows;    /* owned */
	uint64_t now;                   /* ns */
	/* Of a live gate: where flows are read from. */
	int (*flow_fetch)(void *arg, const struct bh_flow_key *key, struct bh_flow *flow);
	void *arg;
};

void bh_gate_register(lua_State *L);

/* t[field] = { reason = packets } of counts by reason, on the table at the top. */
void bh_set_dropped(lua_State *L, const char *field, const uint64_t *dropped);

/* State, age and packets of a flow, on the table at the top. */
void bh_set_flow_counts(lua_State *L, const struct bh_flow *flow, uint64_t now);

/* Pushes an empty gate with its flow table; raises if there is not enough memory. */
struct bh_gate_object *bh_gate_push(lua_State *L);

struct bh_gate_object *bh_check_gate(lua_State *L, int index);
/* The rule with this id, or NULL. */
const struct bh_rule *bh_gate_rule(const struct bh_gate_object *gate, uint32_t id);

#endif

/*
 * gate.c - see gate.h. The verdict is the evaluator's; which rules matched and why the losers lost
 * is told by the plain ruleset, beside it.
 */
#include "gate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../engine/filter/notation.h"

static const char gate_name[] = "bulkhead.gate";
static const uint8_t peer_mac[6] = {0x02, 0, 0, 0, 0, 0x01};

struct bh_gate_object *bh_check_gate(lua_State *L, int index)
{
	return luaL_checkudata(L, index, gate_name);
}

static int gate_gc(lua_State *L)
{
	struct bh_gate_object *gate = bh_check_gate(L, 1);

	for (int i = 0; i < 2; i++) {
		bh_ruleset_free(&gate->rulesets[i]);
		bh_table_free(&gate->tables[i]);
	}
	bh_flow_table_free(&gate->flows);
	return 0;
}

static const void *table_of(void *arg, const struct bh_table_ref *ref)
{
	const struct bh_gate_object *gate = arg;
	const struct bh_table *table = gate->tables[ref - gate->conf.tables];

	return table ? table->bytes : NULL;
}

static struct bh_env gate_env(struct bh_gate_object *gate)
{
	return (struct bh_env){
		.table = table_of,
		.table_arg = gate,
		.flows = gate->flows,
		.flow_fetch = gate->flow_fetch,
		.flow_arg = gate->arg,
		.now = gate->now,
	};
}

const struct bh_rule *bh_gate_rule(const struct bh_gate_object *gate, uint32_t id)
{
	const struct bh_rule *rule = NULL;

	for (int i = 0; id && !rule && i < 2; i++)
		if (gate->rulesets[i])
			rule = bh_ruleset_find(gate->rulesets[i], id);
	return rule;
}

/* The next rule, of both sets in the order of precedence, that speaks of the key. */
static const struct bh_rule *next_match(const struct bh_gate_object *gate, size_t at[2],
                                        const struct bh_key *key)
{
	const struct bh_rule *found[2] = {NULL, NULL};
	int which;

	for (int i = 0; i < 2; i++)
		for (; gate->rulesets[i] && at[i] < bh_ruleset_count(gate->rulesets[i]); at[i]++) {
			const struct bh_rule *rule = bh_ruleset_at(gate->rulesets[i], at[i]);

			if (bh_rule_matches(rule, bh_ruleset_words(gate->rulesets[i]), key)) {
				found[i] = rule;
				break;
			}
		}
	if (!found[0] && !found[1])
		return NULL;
	which = !found[0] || (found[1] && bh_rule_precedes(found[1], found[0]));
	at[which]++;
	return found[which];
}

/* t.matched, on the table at the top. */
static void set_matched(lua_State *L, const struct bh_gate_object *gate, const struct bh_key *key)
{
	const struct bh_rule *winner = NULL, *rule;
	size_t at[2] = {0, 0};
	int n = 0;

	lua_newtable(L);
	while ((rule = next_match(gate, at, key))) {
		lua_newtable(L);
		bh_set_text(L, "rule", rule->name);
		bh_set_integer(L, "id", rule->id);
		bh_set_text(L, "origin", rule->origin);
		bh_set_text(L, "action", bh_action_name(rule->action));
		bh_set_integer(L, "priority", rule->priority);
		bh_set_flag(L, "won", !winner);
		if (winner)
			bh_set_text(L, "lost_by", rule->priority == winner->priority && rule->action != winner->action
			                              ? "block" : "priority");
		else
			winner = rule;
		lua_rawseti(L, -2, ++n);
	}
	lua_setfield(L, -2, "matched");
}

/* What rules were asked about: the packet, or the opener of the flow it belongs to. */
static struct bh_key asked_key(struct bh_gate_object *gate, const struct bh_packet *packet,
                               const struct bh_verdict *verdict)
{
	struct bh_env env = gate_env(gate);
	struct bh_key key = packet->key;
	const struct bh_flow *flow;

	if (verdict->by != BH_BY_FLOW && verdict->by != BH_BY_FRAGMENT)
		return key;
	flow = bh_flow_find(&env, &packet->flow);
	if (flow) {
		key.direction = flow->opener;
		key.local_port = flow->local_port;
		key.remote_port = flow->remote_port;
		if (packet->has_inner) {
			key.local = packet->inner.local;
			key.remote = packet->inner.remote;
			key.protocol = packet->inner.protocol;
		}
	}
	return key;
}

void bh_set_flow_counts(lua_State *L, const struct bh_flow *flow, uint64_t now)
{
	static const char *const states[] = {"opening", "answered", "established", "closing", "reset"};

	bh_set_text(L, "state", states[flow->state < 5 ? flow->state : 0]);
	bh_set_integer(L, "age", (lua_Integer)((now > flow->created ? now - flow->created : 0) / BH_NS));
	bh_set_integer(L, "idle", (lua_Integer)((now > flow->seen ? now - flow->seen : 0) / BH_NS));
	bh_set_integer(L, "packets_in", (lua_Integer)flow->packets[BH_IN]);
	bh_set_integer(L, "packets_out", (lua_Integer)flow->packets[BH_OUT]);
}

/* judgement.flow: what the flow, where it is a live one, counted so far. */
static void set_flow(lua_State *L, struct bh_gate_object *gate, const struct bh_packet *packet)
{
	struct bh_flow flow;

	if (!gate->flow_fetch || gate->flow_fetch(gate->arg, &packet->flow, &flow))
		return;
	lua_newtable(L);
	bh_set_flow_counts(L, &flow, gate->now);
	lua_setfield(L, -2, "flow");
}

static void push_judgement(lua_State *L, struct bh_gate_object *gate, const struct bh_packet *packet,
                           const struct bh_verdict *verdict)
{
	const struct bh_rule *rule = bh_gate_rule(gate, verdict->rule);
	char text[BH_NOTATION_TEXT];
	struct bh_key key = asked_key(gate, packet, verdict);
	bool asked = packet->form == BH_FORM_IP &&
	             (verdict->by == BH_BY_RULE || verdict->by == BH_BY_DEFAULT || verdict->by == BH_BY_FLOW ||
	              verdict->by == BH_BY_FRAGMENT || verdict->by == BH_BY_QUOTA);

	lua_newtable(L);
	bh_set_text(L, "packet", bh_notation_of_packet(packet, text));
	bh_set_text(L, "direction", bh_direction_name(packet->key.direction));
	bh_set_text(L, "verdict", bh_action_name(verdict->action));
	bh_set_text(L, "by", bh_by_name(verdict->by));
	bh_set_flag(L, "audit", verdict->audit);
	bh_set_text(L, "opener", bh_direction_name(key.direction));
	if (rule) {
		bh_set_text(L, "rule", rule->name);
		bh_set_text(L, "origin", rule->origin);
		bh_set_integer(L, "rule_id", rule->id);
	}
	if (verdict->by == BH_BY_FLOW || verdict->by == BH_BY_FRAGMENT)
		set_flow(L, gate, packet);
	if (asked)
		set_matched(L, gate, &key);
	else
		bh_set_list(L, "matched", NULL);
}

static void judge(lua_State *L, struct bh_gate_object *gate, enum bh_direction direction,
                  const void *frame, uint32_t size)
{
	struct bh_env env = gate_env(gate);
	struct bh_verdict verdict;
	struct bh_packet packet;

	env.frame = frame;
	env.size = size;
	bh_evaluate(&env, &gate->conf, direction, &packet, &verdict);
	push_judgement(L, gate, &packet, &verdict);
}

/* The multicast or broadcast MAC of an address (RFC 1112, RFC 2464), or `otherwise`. */
static void mac_for(const struct bh_gate_object *gate, const struct bh_address *address,
                    const uint8_t otherwise[6], uint8_t mac[6])
{
	uint8_t bytes[16];

	memcpy(mac, otherwise, 6);
	if (bh_address_is_multicast(address)) {
		bool v4 = bh_address_to_bytes(address, bytes) == 4;

		if (v4)
			memcpy(mac, (uint8_t[]){0x01, 0, 0x5e, bytes[1] & 0x7f, bytes[2], bytes[3]}, 6);
		else
			memcpy(mac, (uint8_t[]){0x33, 0x33, bytes[12], bytes[13], bytes[14], bytes[15]}, 6);
		return;
	}
	for (uint32_t i = 0; i < gate->conf.addresses_count; i++)
		if (bh_address_equal(address, &gate->conf.broadcasts[i]) &&
		    !bh_address_equal(address, &gate->conf.addresses[i]))
			memset(mac, 0xff, 6);
	if (bh_address_is_v4(address) && (uint32_t)address->lo == 0xffffffff)
		memset(mac, 0xff, 6);
}

static uint32_t build_frame(struct bh_gate_object *gate, const struct bh_notation *packet,
                            uint8_t frame[BH_FRAME_MAX])
{
	uint8_t mac[6];

	if (packet->direction == BH_OUT) {
		mac_for(gate, &packet->target, peer_mac, mac);
		return bh_notation_frame(packet, gate->conf.mac, mac, frame);
	}
	mac_for(gate, &packet->target, gate->conf.mac, mac);
	return bh_notation_frame(packet, peer_mac, mac, frame);
}

static int gate_judge(lua_State *L)
{
	struct bh_gate_object *gate = bh_check_gate(L, 1);
	uint8_t frame[BH_FRAME_MAX];
	struct bh_notation packet;
	struct bh_error err;
	uint32_t size;

	if (bh_notation_parse(&packet, luaL_checkstring(L, 2), &err))
		return bh_push_error(L, &err);
	size = build_frame(gate, &packet, frame);
	judge(L, gate, packet.direction, frame, size);
	return 1;
}

static int gate_judge_frame(lua_State *L)
{
	static const char *const directions[] = {"inbound", "outbound", NULL};
	struct bh_gate_object *gate = bh_check_gate(L, 1);
	enum bh_direction direction = luaL_checkoption(L, 2, NULL, directions);
	size_t size;
	const char *frame = luaL_checklstring(L, 3, &size);

	luaL_argcheck(L, size <= 65549, 3, "a frame has at most 65549 bytes");
	judge(L, gate, direction, frame, (uint32_t)size);
	return 1;
}

static int gate_frame(lua_State *L)
{
	struct bh_gate_object *gate = bh_check_gate(L, 1);
	uint8_t frame[BH_FRAME_MAX];
	struct bh_notation packet;
	struct bh_error err;

	if (bh_notation_parse(&packet, luaL_checkstring(L, 2), &err))
		return bh_push_error(L, &err);
	lua_pushlstring(L, (const char *)frame, build_frame(gate, &packet, frame));
	return 1;
}

static int gate_advance(lua_State *L)
{
	struct bh_gate_object *gate = bh_check_gate(L, 1);
	lua_Number seconds = luaL_checknumber(L, 2);

	luaL_argcheck(L, seconds >= 0 && seconds < 1e9, 2, "must be seconds from now");
	gate->now += (uint64_t)(seconds * 1e9);
	return 0;
}

static int count_flow(const struct bh_flow_key *key, const struct bh_flow *flow, void *arg)
{
	(void)key;
	(void)flow;
	++*(lua_Integer *)arg;
	return 0;
}

static int gate_flow_count(lua_State *L)
{
	lua_Integer count = 0;

	bh_flow_table_each(bh_check_gate(L, 1)->flows, count_flow, &count);
	lua_pushinteger(L, count);
	return 1;
}

static const luaL_Reg methods[] = {
	{"judge", gate_judge},
	{"judge_frame", gate_judge_frame},
	{"frame", gate_frame},
	{"advance", gate_advance},
	{"flow_count", gate_flow_count},
	{NULL, NULL},
};

static const struct bh_class gate_class = {gate_name, methods, gate_gc, NULL};

void bh_gate_register(lua_State *L)
{
	bh_class_register(L, &gate_class);
}

struct bh_gate_object *bh_gate_push(lua_State *L)
{
	struct bh_gate_object *gate = lua_newuserdatauv(L, sizeof(*gate), 1);
	struct bh_error err;

	memset(gate, 0, sizeof(*gate));
	luaL_setmetatable(L, gate_name);
	bh_conf_init(&gate->conf);
	gate->now = 1000 * BH_NS;
	if (bh_flow_table_new(&gate->flows, 1u << 20, &err))
		luaL_error(L, "%s", err.message);
	return gate;
}

void bh_set_dropped(lua_State *L, const char *field, const uint64_t *dropped)
{
	lua_newtable(L);
	for (int by = 0; by < BH_BY_COUNT; by++)
		if (dropped[by])
			bh_set_integer(L, bh_by_name(by), (lua_Integer)dropped[by]);
	lua_setfield(L, -2, field);
}

/*
 * replay.c - module `bulkhead.replay`: captures through a gate, as Lua sees it.
 *
 * The loop over packets is in C, a stretch at a time, so that Lua can show how far it is.
 */
#include <errno.h>
#include <string.h>

#include "../engine/filter/notation.h"
#include "modules.h"
#include "capture.h"
#include "gate.h"

static const char replay_name[] = "bulkhead.replay";

static struct bh_replay *check_replay(lua_State *L)
{
	struct bh_replay *replay = luaL_checkudata(L, 1, replay_name);

	if (!replay->pcap)
		luaL_error(L, "the replay is closed");
	return replay;
}

static int replay_gc(lua_State *L)
{
	bh_replay_clear(luaL_checkudata(L, 1, replay_name));
	return 0;
}

static struct bh_replay *push_replay(lua_State *L)
{
	struct bh_replay *replay = lua_newuserdatauv(L, sizeof(*replay), 1);

	memset(replay, 0, sizeof(*replay));
	luaL_setmetatable(L, replay_name);
	return replay;
}

static int replay_open(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct bh_gate_object *gate = bh_check_gate(L, 2);
	struct bh_replay *replay = push_replay(L);
	struct bh_error err;

	lua_pushvalue(L, 2);
	lua_setiuservalue(L, -2, 1); /* the gate lives as long as what replays through it */
	if (bh_replay_open(replay, path, &err) || bh_replay_prepare(replay, gate, &err))
		return bh_push_error(L, &err);
	return 1;
}

static lua_Integer check_count(lua_State *L)
{
	lua_Integer count = luaL_checkinteger(L, 2);

	luaL_argcheck(L, count > 0, 2, "must be a number of packets");
	return count;
}

static int replay_run(lua_State *L)
{
	struct bh_replay *replay = check_replay(L);
	lua_Integer count = check_count(L), done = 0;
	struct bh_replay_packet judged;

	while (done < count && bh_replay_next(replay, &judged))
		done++;
	lua_pushinteger(L, done);
	return 1;
}

/* Name and origin of what decided, onto the table at the top. */
static void set_verdict(lua_State *L, const struct bh_replay *replay,
                        const struct bh_verdict *verdict)
{
	const struct bh_rule *rule = bh_gate_rule(replay->gate, verdict->rule);

	bh_set_text(L, "by", bh_by_name(verdict->by));
	if (rule) {
		bh_set_text(L, "rule", rule->name);
		bh_set_text(L, "origin", rule->origin);
		bh_set_integer(L, "rule_id", rule->id);
	}
}

/* Whose default it is, if one decided: the packet's, or that of the flow's opener. */
static enum bh_direction opener_of(struct bh_replay *replay, const struct bh_replay_packet *judged)
{
	struct bh_env env = {.flows = replay->flows};
	const struct bh_flow *flow = NULL;

	if (judged->verdict.by == BH_BY_FLOW || judged->verdict.by == BH_BY_FRAGMENT)
		flow = bh_flow_find(&env, &judged->packet.flow);
	return flow ? (enum bh_direction)flow->opener : judged->direction;
}

static void set_time(lua_State *L, const char *field, uint64_t time)
{
	lua_pushnumber(L, (lua_Number)time / 1e9);
	lua_setfield(L, -2, field);
}

static int replay_list(lua_State *L)
{
	struct bh_replay *replay = check_replay(L);
	lua_Integer count = check_count(L), done = 0;
	struct bh_replay_packet judged;
	char text[BH_NOTATION_TEXT];

	lua_newtable(L);
	while (done < count && bh_replay_next(replay, &judged)) {
		lua_newtable(L);
		bh_set_integer(L, "number", (lua_Integer)replay->packets);
		set_time(L, "time", judged.time);
		bh_set_text(L, "direction", bh_direction_name(judged.direction));
		bh_set_text(L, "opener", bh_direction_name(opener_of(replay, &judged)));
		bh_set_text(L, "packet", bh_notation_of_packet(&judged.packet, text));
		bh_set_integer(L, "size", judged.size);
		bh_set_text(L, "verdict", bh_action_name(judged.verdict.action));
		bh_set_flag(L, "audit", judged.verdict.audit);
		set_verdict(L, replay, &judged.verdict);
		lua_rawseti(L, -2, ++done);
	}
	return 1;
}

static int replay_progress(lua_State *L)
{
	lua_pushnumber(L, bh_replay_progress(check_replay(L)));
	return 1;
}

struct flow_list {
	lua_State *L;
	const struct bh_replay *replay;
	lua_Integer count;
};

static void set_ends(lua_State *L, const struct bh_replay_key *key)
{
	char text[BH_ADDRESS_TEXT], name[8];
	bool ports = bh_has_ports(key->protocol);

	bh_set_text(L, "local_address", bh_address_format(&key->local, text));
	bh_set_text(L, "remote_address", bh_address_format(&key->remote, text));
	bh_set_integer(L, "local_port", ports ? key->local_port : 0);
	bh_set_integer(L, "remote_port", ports ? key->remote_port : 0);
	bh_set_text(L, "protocol", key->form == BH_FORM_ARP ? "arp" : bh_protocol_format(key->protocol, name));
}

static int push_flow(const void *k, void *value, void *arg)
{
	const struct bh_replay_key *key = k;
	const struct bh_replay_flow *flow = value;
	struct flow_list *list = arg;
	lua_State *L = list->L;
	uint64_t packets = flow->packets[BH_IN] + flow->packets[BH_OUT];

	lua_newtable(L);
	if (key->form == BH_FORM_IP || key->form == BH_FORM_ARP)
		set_ends(L, key);
	else
		bh_set_text(L, "protocol", key->form == BH_FORM_OTHER ? "frame" : "malformed");
	if (key->form == BH_FORM_IP && key->protocol == (key->v6 ? BH_PROTO_ICMP6 : BH_PROTO_ICMP)) {
		bh_set_integer(L, "icmp_type", flow->local_port >> 8);
		bh_set_integer(L, "icmp_code", flow->local_port & 0xff);
	}
	bh_set_integer(L, "ethertype", key->ethertype);
	bh_set_text(L, "direction", bh_direction_name(flow->opener));
	set_time(L, "first", flow->first);
	set_time(L, "last", flow->last);
	bh_set_integer(L, "packets_in", (lua_Integer)flow->packets[BH_IN]);
	bh_set_integer(L, "packets_out", (lua_Integer)flow->packets[BH_OUT]);
	bh_set_integer(L, "bytes_in", (lua_Integer)flow->bytes[BH_IN]);
	bh_set_integer(L, "bytes_out", (lua_Integer)flow->bytes[BH_OUT]);
	bh_set_integer(L, "dropped", (lua_Integer)flow->dropped);
	bh_set_integer(L, "audited", (lua_Integer)flow->audited);
	bh_set_text(L, "verdict", !flow->dropped ? "allow" : flow->dropped == packets ? "block" : "mixed");
	bh_set_text(L, "opener", bh_direction_name(flow->dropped ? flow->worst_direction : flow->opener));
	set_verdict(L, list->replay, flow->dropped ? &flow->worst : &flow->opened);
	lua_rawseti(L, -2, ++list->count);
	return 0;
}

static int replay_summary(lua_State *L)
{
	struct bh_replay *replay = check_replay(L);
	const struct bh_counters *counters = &replay->counters;
	struct flow_list list = {L, replay, 0};

	lua_newtable(L);
	bh_set_integer(L, "packets", (lua_Integer)replay->packets);
	bh_set_integer(L, "others", (lua_Integer)replay->others);
	bh_set_integer(L, "passed_in", (lua_Integer)counters->packets[BH_IN]);
	bh_set_integer(L, "passed_out", (lua_Integer)counters->packets[BH_OUT]);
	bh_set_integer(L, "audited", (lua_Integer)(counters->audited[BH_IN] + counters->audited[BH_OUT]));
	bh_set_dropped(L, "dropped_in", counters->dropped[BH_IN]);
	bh_set_dropped(L, "dropped_out", counters->dropped[BH_OUT]);
	set_time(L, "first", replay->first);
	set_time(L, "last", replay->last);
	bh_set_integer(L, "unlisted", (lua_Integer)replay->unlisted);
	if (*replay->ending)
		bh_set_text(L, "ending", replay->ending);
	lua_newtable(L);
	bh_hash_each(replay->summary, push_flow, &list);
	lua_setfield(L, -2, "flows");
	return 1;
}

struct seen {
	uint64_t packets;
	uint64_t order;
};

static int push_address(const void *key, void *value, void *arg)
{
	const struct seen *seen = value;
	char text[BH_ADDRESS_TEXT];
	lua_State *L = arg;

	lua_newtable(L);
	bh_set_text(L, "address", bh_address_format(key, text));
	bh_set_integer(L, "packets", (lua_Integer)seen->packets);
	bh_set_integer(L, "order", (lua_Integer)seen->order);
	lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
	return 0;
}

static void count_address(struct bh_hash *hash, const struct bh_address *address)
{
	struct seen *seen = bh_hash_find(hash, address), one = {1, bh_hash_count(hash) + 1};

	if (seen)
		seen->packets++;
	else if (bh_hash_count(hash) < BH_REPLAY_FLOWS)
		bh_hash_insert(hash, address, &one);
}

static int replay_addresses(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	lua_Integer left = luaL_optinteger(L, 2, 1000000);
	struct bh_replay *replay = push_replay(L);
	struct bh_address source, target;
	struct bh_error err;

	if (bh_replay_open(replay, path, &err))
		return bh_push_error(L, &err);
	replay->summary = bh_hash_new(sizeof(struct bh_address), sizeof(struct seen));
	if (!replay->summary)
		return luaL_error(L, "not enough memory for the addresses of a capture");
	while (left-- > 0 && bh_replay_ends(replay, &source, &target)) {
		count_address(replay->summary, &source);
		count_address(replay->summary, &target);
	}
	lua_newtable(L);
	bh_hash_each(replay->summary, push_address, L);
	bh_replay_clear(replay);
	return 1;
}

static const luaL_Reg methods[] = {
	{"run", replay_run},
	{"list", replay_list},
	{"progress", replay_progress},
	{"summary", replay_summary},
	{"close", replay_gc},
	{NULL, NULL},
};

static const struct bh_class replay_class = {replay_name, methods, replay_gc, NULL};

static const luaL_Reg functions[] = {
	{"open", replay_open},
	{"addresses", replay_addresses},
	{NULL, NULL},
};

int luaopen_bulkhead_replay(lua_State *L)
{
	bh_gate_register(L);
	bh_class_register(L, &replay_class);
	luaL_newlib(L, functions);
	return 1;
}

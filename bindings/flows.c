/*
 * flows.c - host:flows(): the flows that gates know and that are not over.
 *
 * There may be a million of them: they are read in batches, each endpoint's timeouts once, and handed out one
 * by one to who does not want a list.
 */
#include <errno.h>
#include <string.h>

#include "conf.h"
#include "gate.h"
#include "host.h"

#define LIVES 4096 /* endpoints whose timeouts are kept; a power of two */
#define VISIT 3    /* where the function is on the stack, or nil */

/* How long flows of an endpoint live. */
struct life {
	uint32_t endpoint; /* 0 = none yet */
	bool gone;
	uint32_t timeouts[BH_TIMEOUT_COUNT];
};

struct flow_list {
	lua_State *L;
	struct bh_host **host; /* a function may close it */
	struct bh_platform *platform;
	struct life *lives; /* by the lowest bits of the endpoint */
	lua_Integer endpoint; /* 0 = all */
	uint64_t now;
	lua_Integer count;
	bool raised; /* what the function raised is at the top */
};

static void push_flow(lua_State *L, const struct bh_flow_key *key, const struct bh_flow *flow, uint64_t now)
{
	char local[BH_ADDRESS_TEXT], remote[BH_ADDRESS_TEXT], name[8];

	lua_newtable(L);
	bh_set_integer(L, "endpoint", key->endpoint);
	bh_set_integer(L, "compartment", flow->compartment);
	bh_set_text(L, "protocol", bh_protocol_format(key->protocol, name));
	bh_set_text(L, "direction", bh_direction_name(flow->opener));
	bh_set_text(L, "local_address", bh_address_format(&key->local, local));
	bh_set_text(L, "remote_address", bh_address_format(&key->remote, remote));
	bh_set_integer(L, "local_port", bh_has_ports(key->protocol) ? key->local_port : 0);
	bh_set_integer(L, "remote_port", bh_has_ports(key->protocol) ? key->remote_port : 0);
	if (key->protocol == (key->v6 ? BH_PROTO_ICMP6 : BH_PROTO_ICMP)) {
		bh_set_integer(L, "icmp_type", flow->local_port >> 8);
		bh_set_integer(L, "icmp_code", flow->local_port & 0xff);
	}
	bh_set_flow_counts(L, flow, now);
	if (flow->rule)
		bh_set_integer(L, "rule", flow->rule);
	bh_set_flag(L, "blocked", flow->blocked);
	bh_set_flag(L, "audit", flow->audit);
}

/* Whether the flow is over: its endpoint's timeouts say so. */
static bool is_over(struct flow_list *list, const struct bh_flow_key *key, const struct bh_flow *flow)
{
	struct life *life = &list->lives[key->endpoint & (LIVES - 1)];
	struct bh_conf conf = {0};

	if (life->endpoint != key->endpoint) {
		life->endpoint = key->endpoint;
		life->gone = list->platform->ops->gate_read(list->platform, key->endpoint, &conf, NULL) != 0;
		memcpy(life->timeouts, conf.timeouts, sizeof(life->timeouts));
	}
	memcpy(conf.timeouts, life->timeouts, sizeof(conf.timeouts));
	return life->gone || bh_flow_expired(&conf, flow, key, list->now);
}

/* Non-zero ends the walk. */
static int hand_out(const struct bh_flow_key *key, const struct bh_flow *flow, void *arg)
{
	struct flow_list *list = arg;
	lua_State *L = list->L;

	if (key->kind != BH_KIND_FLOW || (list->endpoint && list->endpoint != key->endpoint) ||
	    is_over(list, key, flow))
		return 0;
	list->count++;
	if (lua_isnil(L, VISIT)) {
		push_flow(L, key, flow, list->now);
		lua_rawseti(L, -2, list->count);
		return 0;
	}
	lua_pushvalue(L, VISIT);
	push_flow(L, key, flow, list->now);
	list->raised = lua_pcall(L, 1, 0, 0) != LUA_OK;
	return list->raised || !*list->host ? -ECANCELED : 0;
}

int bh_host_flows(lua_State *L)
{
	struct bh_platform *platform = bh_host_platform(bh_check_host(L, 1));
	struct flow_list list = {
		.L = L,
		.host = lua_touserdata(L, 1),
		.platform = platform,
		.endpoint = luaL_optinteger(L, 2, 0),
		.now = platform->ops->now(platform),
	};
	struct bh_error err;
	int rc;

	lua_settop(L, VISIT);
	if (!lua_isnil(L, VISIT))
		luaL_checktype(L, VISIT, LUA_TFUNCTION);
	list.lives = lua_newuserdatauv(L, LIVES * sizeof(*list.lives), 0);
	memset(list.lives, 0, LIVES * sizeof(*list.lives));
	lua_newtable(L);
	rc = platform->ops->flow_each(platform, hand_out, &list, &err);
	if (list.raised)
		return lua_error(L);
	if (rc && *list.host)
		return bh_push_error(L, &err);
	if (!lua_isnil(L, VISIT))
		lua_pushinteger(L, list.count);
	return 1;
}

int bh_host_flows_used(lua_State *L)
{
	struct bh_platform *platform = bh_host_platform(bh_check_host(L, 1));
	struct bh_share share;
	struct bh_room room;
	struct bh_error err;

	if (platform->ops->share_read(platform, (uint32_t)luaL_checkinteger(L, 2), &share, &room, &err))
		return bh_push_error(L, &err);
	lua_pushinteger(L, (lua_Integer)(share.used[BH_IN] + share.used[BH_OUT]));
	return 1;
}

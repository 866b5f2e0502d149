/*
 * host.c - the `host` object of module `bulkhead`: reading, and changes as transactions.
 */
#include "host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../engine/platform/linux/namespace.h"
#include "conf.h"
#include "gate.h"
#include "rows.h"

static const char host_name[] = "bulkhead.host";

struct bh_host *bh_check_host(lua_State *L, int index)
{
	struct bh_host **host = luaL_checkudata(L, index, host_name);

	if (!*host)
		luaL_error(L, "the host is closed");
	return *host;
}

static int host_gc(lua_State *L)
{
	bh_host_close(luaL_checkudata(L, 1, host_name));
	return 0;
}

static int host_tostring(lua_State *L)
{
	struct bh_host **host = luaL_checkudata(L, 1, host_name);

	if (*host)
		lua_pushfstring(L, "host (%s)", bh_host_platform(*host)->ops->name);
	else
		lua_pushliteral(L, "host (closed)");
	return 1;
}

static int host_platform(lua_State *L)
{
	lua_pushstring(L, bh_host_platform(bh_check_host(L, 1))->ops->name);
	return 1;
}

/* The list at the top. That the store cannot be read is nothing that whoever lists it reckons with. */
static int return_rows(lua_State *L, int rc, const struct bh_error *err)
{
	if (!rc)
		return 1;
	lua_pushstring(L, err->message);
	return lua_error(L);
}

static int host_networks(lua_State *L)
{
	struct bh_error err;

	return return_rows(L, bh_rows_networks(L, bh_check_host(L, 1), luaL_optstring(L, 2, NULL), &err), &err);
}

static int host_containers(lua_State *L)
{
	struct bh_error err;

	return return_rows(L, bh_rows_containers(L, bh_check_host(L, 1), luaL_optstring(L, 2, NULL), &err), &err);
}

static int host_endpoints(lua_State *L)
{
	struct bh_error err;

	const char *key = luaL_optstring(L, 2, NULL);
	enum bh_endpoints_by by = !key ? BH_ENDPOINTS_ALL : BH_ENDPOINTS_OF_CONTAINER;

	if (key && !lua_isnoneornil(L, 3)) {
		static const char *const names[] = {"container", "compartment", "id", NULL};

		by = BH_ENDPOINTS_OF_CONTAINER + (enum bh_endpoints_by)luaL_checkoption(L, 3, NULL, names);
	}
	return return_rows(L, bh_rows_endpoints(L, bh_check_host(L, 1), by, key, &err), &err);
}

static int host_lost(lua_State *L)
{
	struct bh_error err;

	return return_rows(L, bh_rows_lost(L, bh_check_host(L, 1), &err), &err);
}

static int host_compartments(lua_State *L)
{
	struct bh_error err;
	lua_Integer id = luaL_optinteger(L, 2, 0);
	bool all = lua_isnoneornil(L, 2);
	int rc = bh_rows_compartments(L, bh_check_host(L, 1), &err);

	if (rc)
		return bh_push_error(L, &err);
	if (all)
		return 1;
	for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TTABLE; i++) {
		if (bh_field_integer(L, -1, "id", 0) == id)
			return 1;
		lua_pop(L, 1);
	}
	bh_error_set(&err, -ENOENT, "there is no compartment %lld", (long long)id);
	return bh_push_error(L, &err);
}

/* By id or name, else by the beginning of an id that no other has. */
static int host_container(lua_State *L)
{
	const char *who = luaL_checkstring(L, 2), *id, *name;
	int list, prefixed = 0, found = 0;
	struct bh_error err;
	int rc = bh_rows_containers(L, bh_check_host(L, 1), NULL, &err);

	if (rc)
		return bh_push_error(L, &err);
	list = lua_gettop(L);
	for (int i = 1; lua_rawgeti(L, list, i) == LUA_TTABLE; i++) {
		id = bh_field_text(L, -1, "id", "");
		name = bh_field_text(L, -1, "name", "");
		if (!strcmp(id, who))
			return 1;
		if (!strcmp(name, who))
			found = found ? -1 : i;
		if (*who && !strncmp(id, who, strlen(who)))
			prefixed = prefixed ? -1 : i;
		lua_pop(L, 1);
	}
	found = found ? found : prefixed;
	if (found > 0) {
		lua_rawgeti(L, list, found);
		return 1;
	}
	if (found < 0)
		bh_error_set(&err, -EEXIST, "'%.80s' could be several containers; give more of the id", who);
	else
		bh_error_set(&err, -ENOENT, "there is no container '%.80s'", who);
	return bh_push_error(L, &err);
}

static int host_counters(lua_State *L)
{
	struct bh_platform *platform = bh_host_platform(bh_check_host(L, 1));
	struct bh_counters counters;
	struct bh_error err;

	if (platform->ops->counters_read(platform, (uint32_t)luaL_checkinteger(L, 2), &counters, &err))
		return bh_push_error(L, &err);
	lua_newtable(L);
	bh_set_integer(L, "packets_in", (lua_Integer)counters.packets[BH_IN]);
	bh_set_integer(L, "packets_out", (lua_Integer)counters.packets[BH_OUT]);
	bh_set_integer(L, "bytes_in", (lua_Integer)counters.bytes[BH_IN]);
	bh_set_integer(L, "bytes_out", (lua_Integer)counters.bytes[BH_OUT]);
	bh_set_integer(L, "audited_in", (lua_Integer)counters.audited[BH_IN]);
	bh_set_integer(L, "audited_out", (lua_Integer)counters.audited[BH_OUT]);
	bh_set_integer(L, "direct_out", (lua_Integer)counters.direct);
	bh_set_dropped(L, "dropped_in", counters.dropped[BH_IN]);
	bh_set_dropped(L, "dropped_out", counters.dropped[BH_OUT]);
	return 1;
}

/* Where the flows of a live gate's copy are read from, as they are asked for. */
struct live {
	struct bh_host **host; /* kept alive by this one; NULL once closed */
};

static int live_flow(void *arg, const struct bh_flow_key *key, struct bh_flow *flow)
{
	struct live *live = arg;
	struct bh_platform *platform = *live->host ? bh_host_platform(*live->host) : NULL;

	return platform ? platform->ops->flow_read(platform, key, flow) : -ENOENT;
}

/* A copy of what the gate has in the kernel. */
static int read_table(struct bh_host *host, const struct bh_table_ref *ref, struct bh_table **table,
                      struct bh_error *err)
{
	struct bh_platform *platform = bh_host_platform(host);
	void *bytes;
	int rc;

	if (!ref->id)
		return 0;
	rc = platform->ops->table_read(platform, ref, &bytes, err);
	if (rc)
		return rc;
	*table = calloc(1, sizeof(**table));
	if (!*table) {
		free(bytes);
		return bh_error_set(err, -ENOMEM, "not enough memory for table %u", ref->id);
	}
	(*table)->bytes = bytes;
	(*table)->size = ((const struct bh_table_head *)bytes)->size;
	return 0;
}

/* --- a full account --- */

#define NEARLY 256 /* flows that one sequence of packets may open */

/* Whether a new flow may meet an end of what the compartment may have. */
static bool nearly_full(const struct bh_conf *conf, const struct bh_share *share,
                        const struct bh_room *room)
{
	uint64_t used = share->used[BH_IN] + share->used[BH_OUT];
	uint64_t owned = share->owned[BH_IN] + share->owned[BH_OUT];

	return used + NEARLY >= conf->flows_limit || share->used[BH_IN] + NEARLY >= conf->flows_limit / 2 ||
	       (room->borrowed + NEARLY >= room->capacity &&
	        (owned + NEARLY >= conf->flows_guaranteed || share->owned[BH_IN] + NEARLY >= conf->flows_guaranteed / 2));
}

static int copy_flow(const struct bh_flow_key *key, const struct bh_flow *flow, void *arg)
{
	const struct bh_gate_object *gate = arg;

	return flow->compartment == gate->conf.compartment ? bh_flow_table_put(gate->flows, key, flow) : 0;
}

/* The account of the gate's compartment; where it is nearly full with its flows, of which some may have
 * to go for a new one. */
static int copy_account(struct bh_platform *platform, struct bh_gate_object *gate, struct bh_error *err)
{
	struct bh_share share;
	struct bh_room room;
	int rc = platform->ops->share_read(platform, gate->conf.compartment, &share, &room, err);

	if (rc || !nearly_full(&gate->conf, &share, &room))
		return rc ? rc : bh_flow_table_add_share(gate->flows, gate->conf.compartment, err);
	rc = bh_flow_table_set_share(gate->flows, gate->conf.compartment, &share, &room);
	rc = rc ? rc : platform->ops->flow_each(platform, copy_flow, gate, err);
	return rc ? bh_error_set(err, rc, "cannot copy the flows of compartment %u", gate->conf.compartment) : 0;
}

static int host_gate(lua_State *L)
{
	struct bh_host *host = bh_check_host(L, 1);
	uint32_t endpoint = (uint32_t)luaL_checkinteger(L, 2);
	struct bh_gate_object *gate = bh_gate_push(L);
	struct live *live = lua_newuserdatauv(L, sizeof(*live), 1);
	struct bh_error err;
	int rc;

	live->host = lua_touserdata(L, 1);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1); /* the host lives as long as what reads from it */
	lua_setiuservalue(L, -2, 1);
	gate->flow_fetch = live_flow;
	gate->arg = live;
	gate->now = bh_host_platform(host)->ops->now(bh_host_platform(host));
	rc = bh_endpoint_gate(host, endpoint, &gate->conf, gate->rulesets, &err);
	for (int i = 0; !rc && i < 2; i++)
		rc = read_table(host, &gate->conf.tables[i], &gate->tables[i], &err);
	rc = rc ? rc : copy_account(bh_host_platform(host), gate, &err);
	return rc ? bh_push_error(L, &err) : 1;
}

struct hits {
	lua_State *L;
	uint32_t endpoint;
};

/* hits[rule] = packets, in the table at the top. */
static int note_hits(uint32_t endpoint, uint32_t rule, uint64_t packets, void *arg)
{
	struct hits *hits = arg;

	if (endpoint == hits->endpoint) {
		lua_pushinteger(hits->L, (lua_Integer)packets);
		lua_rawseti(hits->L, -2, rule);
	}
	return 0;
}

/* Adds a rule to the list below the table of hits. */
static void push_rule(lua_State *L, const struct bh_rule *rule, bool own)
{
	bh_push_rule(L, rule);
	bh_set_flag(L, "own", own);
	lua_rawgeti(L, -2, rule->id);
	lua_pushinteger(L, lua_tointeger(L, -1)); /* 0 where there is none */
	lua_setfield(L, -3, "hits");
	lua_pop(L, 1);
	lua_rawseti(L, -3, (lua_Integer)lua_rawlen(L, -3) + 1);
}

/* Both rulesets, merged by precedence. */
static void push_rules(lua_State *L, struct bh_ruleset *const rulesets[2])
{
	size_t at[2] = {0, 0};

	for (;;) {
		const struct bh_rule *next[2];
		int which;

		for (int i = 0; i < 2; i++)
			next[i] = at[i] < bh_ruleset_count(rulesets[i]) ? bh_ruleset_at(rulesets[i], at[i]) : NULL;
		if (!next[0] && !next[1])
			return;
		which = !next[0] || (next[1] && bh_rule_precedes(next[1], next[0]));
		push_rule(L, next[which], which == 1);
		at[which]++;
	}
}

static int host_rules(lua_State *L)
{
	struct bh_host *host = bh_check_host(L, 1);
	struct bh_platform *platform = bh_host_platform(host);
	struct bh_gate_object *gate;
	struct hits hits = {L, (uint32_t)luaL_checkinteger(L, 2)};
	bool uncounted = lua_toboolean(L, 3);
	struct bh_error err;

	gate = bh_gate_push(L);
	if (bh_endpoint_gate(host, hits.endpoint, &gate->conf, gate->rulesets, &err))
		return bh_push_error(L, &err);
	lua_newtable(L);
	lua_newtable(L);
	if (!uncounted && platform->ops->hits_each(platform, note_hits, &hits, &err))
		return bh_push_error(L, &err);
	push_rules(L, gate->rulesets);
	lua_pop(L, 1);
	return 1;
}

/* Calls a function in the network namespace of the default compartment. */
static int host_visit(lua_State *L)
{
	struct bh_platform *platform = bh_host_platform(bh_check_host(L, 1));
	struct bh_visit visit = {0};
	struct bh_error err;
	int fd, rc;

	luaL_checktype(L, 2, LUA_TFUNCTION);
	fd = platform->ops->compartment_open(platform, BH_DEFAULT_COMPARTMENT, &err);
	if (fd < 0 && fd != -ENOTSUP)
		return bh_push_error(L, &err);
	rc = fd < 0 ? 0 : bh_namespace_enter(&visit, fd, &err);
	if (fd >= 0)
		close(fd);
	if (rc)
		return bh_push_error(L, &err);
	lua_settop(L, 2);
	rc = lua_pcall(L, 0, LUA_MULTRET, 0);
	bh_namespace_leave(&visit);
	return rc ? lua_error(L) : lua_gettop(L) - 1;
}

static int host_check_endpoint(lua_State *L)
{
	struct bh_error err;

	return bh_push_result(L, bh_endpoint_check(bh_check_host(L, 1), (uint32_t)luaL_checkinteger(L, 2), &err),
	                      &err);
}

static int host_check_network(lua_State *L)
{
	struct bh_error err;

	return bh_push_result(L, bh_network_check(bh_check_host(L, 1), luaL_checkstring(L, 2), &err), &err);
}

static int host_check_container(lua_State *L)
{
	struct bh_error err;

	return bh_push_result(L, bh_container_check(bh_check_host(L, 1), luaL_checkstring(L, 2),
	                                            luaL_optstring(L, 3, NULL), &err), &err);
}

/* Runs a function with what follows it; the host may be closed by then. */
static int host_snapshot(lua_State *L)
{
	struct bh_host *host = bh_check_host(L, 1), **there = lua_touserdata(L, 1);
	struct bh_error err;
	int rc;

	luaL_checktype(L, 2, LUA_TFUNCTION);
	if (bh_host_snapshot(host, &err))
		return bh_push_error(L, &err);
	rc = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
	if (*there)
		bh_host_snapshot_end(host);
	return rc ? lua_error(L) : lua_gettop(L) - 1;
}

static int host_begin(lua_State *L)
{
	struct bh_error err;

	return bh_push_result(L, bh_host_begin(bh_check_host(L, 1), &err), &err);
}

static int host_commit(lua_State *L)
{
	struct bh_error err;

	return bh_push_result(L, bh_host_commit(bh_check_host(L, 1), &err), &err);
}

static int host_abort(lua_State *L)
{
	bh_host_abort(bh_check_host(L, 1));
	return 0;
}

static int host_reset(lua_State *L)
{
	struct bh_error err;

	return bh_push_result(L, bh_host_reset(bh_check_host(L, 1), &err), &err);
}

static const luaL_Reg methods[] = {
	{"close", host_gc},
	{"platform", host_platform},
	{"networks", host_networks},
	{"compartments", host_compartments},
	{"containers", host_containers},
	{"lost", host_lost},
	{"forget_lost", bh_host_forget_lost},
	{"container", host_container},
	{"endpoints", host_endpoints},
	{"counters", host_counters},
	{"rules", host_rules},
	{"flows", bh_host_flows},
	{"gate", host_gate},
	{"visit", host_visit},
	{"check_endpoint", host_check_endpoint},
	{"check_network", host_check_network},
	{"check_container", host_check_container},
	{"snapshot", host_snapshot},
	{"begin", host_begin},
	{"commit", host_commit},
	{"abort", host_abort},
	{"reset", host_reset},
	{"add_network", bh_host_add_network},
	{"remove_network", bh_host_remove_network},
	{"add_container", bh_host_add_container},
	{"remove_container", bh_host_remove_container},
	{"add_endpoint", bh_host_add_endpoint},
	{"remove_endpoint", bh_host_remove_endpoint},
	{"set_phase", bh_host_set_phase},
	{"add_rules", bh_host_add_rules},
	{"change_endpoint", bh_host_change_endpoint},
	{"set_policies", bh_host_set_policies},
	{"drops", bh_host_drops},
	{"flows_used", bh_host_flows_used},
	{NULL, NULL},
};

static const struct bh_class host_class = {host_name, methods, host_gc, host_tostring};

void bh_host_register(lua_State *L)
{
	bh_rules_register(L);
	bh_gate_register(L);
	bh_class_register(L, &host_class);
}

struct bh_host **bh_host_push(lua_State *L)
{
	struct bh_host **host = lua_newuserdatauv(L, sizeof(*host), 1);

	*host = NULL;
	luaL_setmetatable(L, host_name);
	return host;
}

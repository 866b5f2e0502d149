/*
 * change.c - the methods of `host` that add and remove, inside begin and commit.
 *
 * Texts of the specs are borrowed from the Lua tables, which stay on the stack for the call.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "host.h"
#include "rows.h"

/* Pushes a list of texts joined with commas. */
static const char *push_joined(lua_State *L, int index, const char *field, size_t max)
{
	const char *texts[BH_REACH_MAX];
	size_t count = bh_field_texts(L, index, field, texts, max);
	luaL_Buffer buffer;

	luaL_buffinit(L, &buffer);
	for (size_t i = 0; i < count; i++) {
		luaL_addstring(&buffer, texts[i]);
		if (i + 1 < count)
			luaL_addchar(&buffer, ',');
	}
	luaL_pushresult(&buffer);
	return lua_tostring(L, -1);
}

/* What was just added: the first of the rows, of which a negative `rc` says why there are none. */
static int return_first(lua_State *L, int rc, const struct bh_error *err)
{
	if (rc)
		return bh_push_error(L, err);
	if (lua_rawgeti(L, -1, 1) != LUA_TTABLE)
		return luaL_error(L, "what was added is not there");
	return 1;
}

int bh_host_add_network(lua_State *L)
{
	struct bh_host *host = bh_check_host(L, 1);
	struct bh_network_spec spec = {0};
	struct bh_error err;
	lua_Integer mtu;
	int rc;

	luaL_checktype(L, 2, LUA_TTABLE);
	lua_settop(L, 2);
	spec.name = bh_field_text(L, 2, "name", "");
	spec.driver = bh_field_text(L, 2, "driver", "nat");
	spec.subnets_count = bh_field_texts(L, 2, "subnets", spec.subnets, BH_SUBNETS_MAX);
	spec.gateways_count = bh_field_texts(L, 2, "gateways", spec.gateways, BH_SUBNETS_MAX);
	mtu = bh_field_integer(L, 2, "mtu", 0);
	spec.mtu = mtu < 0 || mtu > 65535 ? 65536 : (uint32_t)mtu;
	spec.dns = push_joined(L, 2, "dns", BH_WORD_MAX);
	spec.reach = push_joined(L, 2, "reach", BH_REACH_MAX);
	rc = bh_network_add(host, &spec, &err);
	return return_first(L, rc ? rc : bh_rows_networks(L, host, spec.name, &err), &err);
}

int bh_host_remove_network(lua_State *L)
{
	struct bh_error err;

	return bh_push_result(L, bh_network_remove(bh_check_host(L, 1), luaL_checkstring(L, 2), &err), &err);
}

/* Number of pairs of the table `field`, whose keys and values must be strings. */
static size_t count_pairs(lua_State *L, int index, const char *field)
{
	size_t count = 0;

	if (lua_getfield(L, index, field) != LUA_TNIL) {
		luaL_checktype(L, -1, LUA_TTABLE);
		for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
			if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
				luaL_error(L, "%s must have strings for keys and values", field);
			count++;
		}
	}
	lua_pop(L, 1);
	return count;
}

static size_t fill_pairs(lua_State *L, int index, const char *field, const char *kind,
                         struct bh_property *properties)
{
	size_t count = 0;

	if (lua_getfield(L, index, field) != LUA_TNIL)
		for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
			properties[count++] = (struct bh_property){kind, lua_tostring(L, -2), lua_tostring(L, -1)};
	lua_pop(L, 1);
	return count;
}

static uint16_t field_port(lua_State *L, int index, const char *field)
{
	lua_Integer port = bh_field_integer(L, index, field, 0);

	if (port < 1 || port > 65535)
		luaL_error(L, "published %s port %I is not 1 to 65535", field, port);
	return (uint16_t)port;
}

/* The list `published` in a userdata that is left on the stack. */
static void fill_published(lua_State *L, struct bh_container_spec *spec)
{
	struct bh_publish *published;

	if (lua_getfield(L, 2, "published") == LUA_TNIL)
		return;
	luaL_checktype(L, -1, LUA_TTABLE);
	spec->published_count = lua_rawlen(L, -1);
	published = lua_newuserdatauv(L, (spec->published_count + 1) * sizeof(*published), 0);
	for (size_t i = 0; i < spec->published_count; i++) {
		lua_rawgeti(L, -2, (lua_Integer)i + 1);
		luaL_checktype(L, -1, LUA_TTABLE);
		published[i].address = bh_field_text(L, -1, "address", NULL);
		published[i].host = field_port(L, -1, "host");
		published[i].container = field_port(L, -1, "container");
		published[i].protocol = bh_field_text(L, -1, "protocol", "tcp");
		lua_pop(L, 1);
	}
	spec->published = published;
}

int bh_host_add_container(lua_State *L)
{
	struct bh_host *host = bh_check_host(L, 1);
	struct bh_container_spec spec = {0};
	struct bh_property *properties;
	struct bh_error err;
	int rc;

	luaL_checktype(L, 2, LUA_TTABLE);
	lua_settop(L, 2);
	spec.id = bh_field_text(L, 2, "id", "");
	spec.name = bh_field_text(L, 2, "name", NULL);
	spec.type = bh_field_text(L, 2, "type", "process");
	spec.policies = bh_field_text(L, 2, "policies", "");
	spec.policy = bh_field_text(L, 2, "policy", NULL);
	spec.netns = bh_field_text(L, 2, "netns", NULL);
	spec.owner = bh_field_text(L, 2, "owner", "hand");
	properties = lua_newuserdatauv(L, (count_pairs(L, 2, "annotations") + count_pairs(L, 2, "labels") + 1) *
	                               sizeof(*properties), 0);
	spec.properties_count = fill_pairs(L, 2, "annotations", "annotation", properties);
	spec.properties_count += fill_pairs(L, 2, "labels", "label", properties + spec.properties_count);
	spec.properties = properties;
	fill_published(L, &spec);
	rc = bh_container_add(host, &spec, &err);
	return return_first(L, rc ? rc : bh_rows_containers(L, host, spec.id, &err), &err);
}

int bh_host_remove_container(lua_State *L)
{
	struct bh_error err;

	return bh_push_result(L, bh_container_remove(bh_check_host(L, 1), luaL_checkstring(L, 2), &err), &err);
}

/* default.DIRECTION.origin */
static const char *default_origin(lua_State *L, int index, const char *direction)
{
	const char *origin = "";

	if (lua_getfield(L, index, "default") == LUA_TTABLE) {
		if (lua_getfield(L, -1, direction) == LUA_TTABLE)
			origin = bh_field_text(L, -1, "origin", "");
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	return origin;
}

/* What a policy says, from the table at `index`; its rules are in a userdata left on the stack. */
static int fill_policy(lua_State *L, int index, struct bh_endpoint_spec *spec, struct bh_error *err)
{
	struct bh_rules *rules;
	struct bh_conf conf;
	int rc;

	spec->origin_in = default_origin(L, index, "inbound");
	spec->origin_out = default_origin(L, index, "outbound");
	bh_conf_init(&conf);
	bh_conf_from_policy(L, index, &conf);
	spec->flags = conf.flags;
	spec->flows_limit = conf.flows_limit;
	memcpy(spec->timeouts, conf.timeouts, sizeof(spec->timeouts));
	lua_getfield(L, index, "options");
	spec->reach = lua_istable(L, -1) ? push_joined(L, -1, "reach", BH_REACH_MAX) : NULL; /* stays on the stack */
	lua_getfield(L, index, "rules");
	rc = bh_check_rules(L, -1, &rules, err);
	spec->rules = rules->rules;
	spec->rules_count = rules->count;
	return rc;
}

int bh_host_add_endpoint(lua_State *L)
{
	struct bh_host *host = bh_check_host(L, 1);
	struct bh_endpoint_spec spec = {0};
	struct bh_error err;
	char number[16];
	uint32_t id = 0;
	int rc;

	luaL_checktype(L, 2, LUA_TTABLE);
	lua_settop(L, 2);
	spec.container = bh_field_text(L, 2, "container", "");
	spec.network = bh_field_text(L, 2, "network", "nat");
	spec.addresses_count = bh_field_texts(L, 2, "addresses", spec.addresses, BH_ADDRESSES_MAX);
	spec.interface = bh_field_text(L, 2, "interface", "");
	spec.kind = bh_field_text(L, 2, "kind", NULL);
	spec.mac = bh_field_text(L, 2, "mac", NULL);
	spec.attachment = bh_field_text(L, 2, "attachment", "");
	rc = fill_policy(L, 2, &spec, &err);
	rc = rc ? rc : bh_endpoint_add(host, &spec, &id, &err);
	snprintf(number, sizeof(number), "%u", id);
	return return_first(L, rc ? rc : bh_rows_endpoints(L, host, BH_ENDPOINTS_ONE, number, &err), &err);
}

int bh_host_remove_endpoint(lua_State *L)
{
	struct bh_error err;

	return bh_push_result(L, bh_endpoint_remove(bh_check_host(L, 1), (uint32_t)luaL_checkinteger(L, 2), &err),
	                      &err);
}

int bh_host_set_phase(lua_State *L)
{
	struct bh_error err;

	return bh_push_result(L, bh_container_set_phase(bh_check_host(L, 1), luaL_checkstring(L, 2),
	                                                luaL_checkstring(L, 3), &err), &err);
}

int bh_host_forget_lost(lua_State *L)
{
	struct bh_error err;

	return bh_push_result(L, bh_container_forget_lost(bh_check_host(L, 1), luaL_checkstring(L, 2), &err), &err);
}

int bh_host_add_rules(lua_State *L)
{
	struct bh_host *host = bh_check_host(L, 1);
	uint32_t endpoint = (uint32_t)luaL_checkinteger(L, 2);
	struct bh_rules *rules;
	struct bh_error err;
	int rc = bh_check_rules(L, 3, &rules, &err);

	rc = rc ? rc : bh_endpoint_add_rules(host, endpoint, rules->rules, rules->count, &err);
	return bh_push_result(L, rc, &err);
}

int bh_host_change_endpoint(lua_State *L)
{
	struct bh_host *host = bh_check_host(L, 1);
	uint32_t endpoint = (uint32_t)luaL_checkinteger(L, 2);
	struct bh_endpoint_spec spec = {0};
	struct bh_rules *own = NULL;
	struct bh_error err;
	int rc;

	luaL_checktype(L, 3, LUA_TTABLE);
	lua_settop(L, 3);
	rc = fill_policy(L, 3, &spec, &err);
	lua_getfield(L, 3, "own");
	rc = rc ? rc : bh_check_rules(L, -1, &own, &err);
	rc = rc ? rc : bh_endpoint_change(host, endpoint, &spec, &err);
	rc = rc ? rc : bh_endpoint_add_rules(host, endpoint, own->rules, own->count, &err);
	return bh_push_result(L, rc, &err);
}

int bh_host_set_policies(lua_State *L)
{
	struct bh_error err;

	return bh_push_result(L, bh_container_set_policies(bh_check_host(L, 1), luaL_checkstring(L, 2),
	                                                   luaL_checkstring(L, 3), &err), &err);
}

/*
 * lab.c - module `bulkhead.lab`: a throwaway host to send packets in.
 */
#include "lab.h"

#include <errno.h>
#include <string.h>

static const char lab_name[] = "bulkhead.lab";

struct bh_lab *bh_check_lab(lua_State *L, int index)
{
	struct bh_lab **lab = luaL_checkudata(L, index, lab_name);

	if (!*lab)
		luaL_error(L, "the lab is closed");
	return *lab;
}

static int lab_gc(lua_State *L)
{
	bh_lab_close(luaL_checkudata(L, 1, lab_name));
	return 0;
}

static size_t field_prefixes(lua_State *L, const char *field, struct bh_prefix *prefixes, size_t max)
{
	const char *texts[8];
	size_t count = bh_field_texts(L, 1, field, texts, max);
	struct bh_error err;

	for (size_t i = 0; i < count; i++)
		if (bh_prefix_parse(&prefixes[i], texts[i], true, &err))
			luaL_error(L, "%s", err.message);
	return count;
}

static int lab_open(lua_State *L)
{
	struct bh_lab_options options = {0};
	struct bh_lab **lab;
	struct bh_error err;
	const char *platform;
	int rc;

	luaL_checktype(L, 1, LUA_TTABLE);
	platform = bh_field_text(L, 1, "platform", "memory");
	options.host_count = field_prefixes(L, "host", options.host, 4);
	options.outside_count = field_prefixes(L, "outside", options.outside, 4);
	lab = lua_newuserdatauv(L, sizeof(*lab), 0);
	*lab = NULL;
	luaL_setmetatable(L, lab_name);
	rc = strcmp(platform, "linux") ? bh_lab_memory_open(lab, &options, &err)
	                               : bh_lab_linux_open(lab, &options, &err);
	return rc ? bh_push_error(L, &err) : 1;
}

static uint32_t check_where(lua_State *L, int index)
{
	lua_Integer where = luaL_checkinteger(L, index);

	luaL_argcheck(L, where >= 0 && where <= UINT32_MAX, index, "must be a compartment's id, 1 or 0");
	return (uint32_t)where;
}

static int lab_listen(lua_State *L)
{
	struct bh_lab *lab = bh_check_lab(L, 1);
	uint32_t where = check_where(L, 2);
	int protocol = bh_protocol_parse(luaL_checkstring(L, 3), NULL);
	lua_Integer port = luaL_checkinteger(L, 4);
	struct bh_error err;

	luaL_argcheck(L, protocol == BH_PROTO_TCP || protocol == BH_PROTO_UDP, 3, "must be tcp or udp");
	luaL_argcheck(L, port > 0 && port < 65536, 4, "must be 1 to 65535");
	return bh_push_result(L, lab->ops->listen(lab, where, (uint8_t)protocol, (uint16_t)port, &err), &err);
}

static int lab_guest(lua_State *L)
{
	struct bh_lab *lab = bh_check_lab(L, 1);
	const char *addresses[BH_ADDRESSES_MAX], *gateways[BH_SUBNETS_MAX];
	struct bh_nic nic = {.kind = BH_NIC_SYNTHETIC};
	struct bh_error err;
	int rc;

	luaL_checktype(L, 2, LUA_TTABLE);
	nic.endpoint = (uint32_t)bh_field_integer(L, 2, "id", 0);
	nic.compartment = (uint32_t)bh_field_integer(L, 2, "compartment", 0);
	nic.ipv6 = bh_field_flag(L, 2, "ipv6", false);
	nic.default_route = !strcmp(bh_field_text(L, 2, "driver", ""), "nat");
	nic.mtu = 1500;
	strncpy(nic.name, bh_field_text(L, 2, "interface", ""), sizeof(nic.name) - 1);
	nic.addresses_count = bh_field_texts(L, 2, "addresses", addresses, BH_ADDRESSES_MAX);
	nic.gateways_count = bh_field_texts(L, 2, "gateways", gateways, BH_SUBNETS_MAX);
	rc = bh_mac_parse(nic.mac, bh_field_text(L, 2, "mac", ""), &err);
	for (size_t i = 0; !rc && i < nic.addresses_count; i++)
		rc = bh_prefix_parse(&nic.addresses[i], addresses[i], true, &err);
	for (size_t i = 0; !rc && i < nic.gateways_count; i++)
		rc = bh_address_parse(&nic.gateways[i], gateways[i], &err);
	rc = rc ? rc : lab->ops->guest_start(lab, &nic, &err);
	return bh_push_result(L, rc, &err);
}

static int probe_spec(lua_State *L, struct bh_probe *probe, struct bh_error *err)
{
	static const char *const kinds[] = {"tcp", "udp", "ping", "raw", NULL};
	const char *target, *packet;
	int kind = 0;

	probe->from = (uint32_t)bh_field_integer(L, 2, "from", 0);
	probe->to = (uint32_t)bh_field_integer(L, 2, "to", 0);
	probe->source_port = (uint16_t)bh_field_integer(L, 2, "source_port", 0);
	probe->target_port = (uint16_t)bh_field_integer(L, 2, "port", 0);
	probe->arrival_port = (uint16_t)bh_field_integer(L, 2, "arrival_port", 0);
	probe->timeout_ms = (uint32_t)(bh_field_number(L, 2, "timeout", 0.5) * 1000);
	target = bh_field_text(L, 2, "target", NULL);
	packet = bh_field_text(L, 2, "packet", NULL);
	while (kinds[kind] && strcmp(kinds[kind], bh_field_text(L, 2, "kind", "")))
		kind++;
	if (!kinds[kind])
		luaL_error(L, "kind must be tcp, udp, ping or raw");
	probe->kind = kind;
	if (kind == BH_PROBE_RAW)
		return packet ? bh_notation_parse(&probe->raw, packet, err) : luaL_error(L, "raw needs a packet");
	return target ? bh_address_parse(&probe->target, target, err) : luaL_error(L, "%s needs a target", kinds[kind]);
}

static int lab_probe(lua_State *L)
{
	struct bh_lab *lab = bh_check_lab(L, 1);
	struct bh_probe_result result = {0};
	struct bh_probe probe = {0};
	char source[BH_ADDRESS_TEXT];
	struct bh_error err;
	int rc;

	luaL_checktype(L, 2, LUA_TTABLE);
	rc = probe_spec(L, &probe, &err);
	rc = rc ? rc : lab->ops->probe(lab, &probe, &result, &err);
	if (rc)
		return bh_push_error(L, &err);
	lua_newtable(L);
	bh_set_flag(L, "arrived", result.arrived);
	bh_set_flag(L, "answered", result.answered);
	bh_set_flag(L, "refused", result.refused);
	if (!bh_address_is_unspecified(&result.source))
		bh_set_text(L, "source", bh_address_format(&result.source, source));
	return 1;
}

static int lab_inject(lua_State *L)
{
	struct bh_lab *lab = bh_check_lab(L, 1);
	uint32_t from = check_where(L, 2), to = check_where(L, 3);
	bool arrived = false;
	struct bh_error err;
	size_t size;
	const char *frame = luaL_checklstring(L, 4, &size);

	if (lab->ops->inject(lab, from, to, frame, size, &arrived, &err))
		return bh_push_error(L, &err);
	lua_pushboolean(L, arrived);
	return 1;
}

static int lab_route_outside(lua_State *L)
{
	struct bh_lab *lab = bh_check_lab(L, 1);
	struct bh_prefix prefix;
	struct bh_error err;
	int rc = bh_prefix_parse(&prefix, luaL_checkstring(L, 2), false, &err);

	return bh_push_result(L, rc ? rc : lab->ops->route_outside(lab, &prefix, &err), &err);
}

static int lab_advance(lua_State *L)
{
	struct bh_lab *lab = bh_check_lab(L, 1);
	lua_Number seconds = luaL_checknumber(L, 2);
	struct bh_error err;

	luaL_argcheck(L, seconds >= 0 && seconds < 1e9, 2, "must be seconds from now");
	return bh_push_result(L, lab->ops->advance(lab, (uint64_t)(seconds * 1e9), &err), &err);
}

static const luaL_Reg methods[] = {
	{"close", lab_gc},
	{"listen", lab_listen},
	{"guest", lab_guest},
	{"probe", lab_probe},
	{"inject", lab_inject},
	{"route_outside", lab_route_outside},
	{"advance", lab_advance},
	{NULL, NULL},
};

static const struct bh_class lab_class = {lab_name, methods, lab_gc, NULL};

static const luaL_Reg functions[] = {
	{"open", lab_open},
	{NULL, NULL},
};

int luaopen_bulkhead_lab(lua_State *L);

int luaopen_bulkhead_lab(lua_State *L)
{
	bh_class_register(L, &lab_class);
	luaL_newlib(L, functions);
	return 1;
}

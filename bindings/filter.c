/*
 * filter.c - module `bulkhead.filter`: notation, prefixes, and gates that exist nowhere else.
 */
#include <errno.h>
#include <string.h>

#include "../engine/filter/notation.h"
#include "conf.h"
#include "gate.h"

#define TABLE_BYTES_MAX (64u << 20)

static int filter_packet(lua_State *L)
{
	char source[BH_ADDRESS_TEXT], target[BH_ADDRESS_TEXT], name[8], text[BH_NOTATION_TEXT];
	struct bh_notation packet;
	struct bh_error err;
	bool in;

	if (bh_notation_parse(&packet, luaL_checkstring(L, 1), &err))
		return bh_push_error(L, &err);
	in = packet.direction == BH_IN;
	bh_address_format(&packet.source, source);
	bh_address_format(&packet.target, target);
	lua_newtable(L);
	bh_set_text(L, "direction", bh_direction_name(packet.direction));
	bh_set_text(L, "protocol", bh_protocol_format(packet.protocol, name));
	bh_set_text(L, "source", source);
	bh_set_text(L, "target", target);
	bh_set_text(L, "local", in ? target : source);
	bh_set_text(L, "remote", in ? source : target);
	bh_set_text(L, "text", bh_notation_format(&packet, text));
	bh_set_integer(L, "family", bh_address_is_v4(&packet.source) ? 4 : 6);
	if (bh_has_ports(packet.protocol)) {
		bh_set_integer(L, "source_port", packet.source_port);
		bh_set_integer(L, "target_port", packet.target_port);
		bh_set_integer(L, "local_port", in ? packet.target_port : packet.source_port);
		bh_set_integer(L, "remote_port", in ? packet.source_port : packet.target_port);
	}
	if (packet.protocol == BH_PROTO_ICMP || packet.protocol == BH_PROTO_ICMP6) {
		bh_set_integer(L, "icmp_type", packet.icmp_type);
		bh_set_integer(L, "icmp_code", packet.icmp_code);
	}
	return 1;
}

static int filter_prefix(lua_State *L)
{
	char text[BH_ADDRESS_TEXT];
	struct bh_prefix prefix;
	struct bh_range range;
	struct bh_error err;

	if (bh_prefix_parse(&prefix, luaL_checkstring(L, 1), lua_toboolean(L, 2), &err))
		return bh_push_error(L, &err);
	range = bh_prefix_range(&prefix);
	lua_newtable(L);
	bh_set_text(L, "address", bh_address_format(&prefix.address, text));
	bh_set_integer(L, "length", prefix.length);
	bh_set_text(L, "first", bh_address_format(&range.first, text));
	bh_set_text(L, "last", bh_address_format(&range.last, text));
	range.first = bh_address_next(range.first);
	bh_set_text(L, "gateway", bh_address_format(&range.first, text));
	bh_set_integer(L, "family", bh_address_is_v4(&prefix.address) ? 4 : 6);
	return 1;
}

static int filter_contains(lua_State *L)
{
	struct bh_address address;
	struct bh_prefix prefix;
	struct bh_error err;

	if (bh_prefix_parse(&prefix, luaL_checkstring(L, 1), true, &err) ||
	    bh_address_parse(&address, luaL_checkstring(L, 2), &err))
		return luaL_error(L, "%s", err.message);
	lua_pushboolean(L, bh_prefix_contains(&prefix, &address));
	return 1;
}

static int conf_addresses(lua_State *L, int index, struct bh_conf *conf, struct bh_error *err)
{
	const char *texts[BH_ADDRESSES_MAX];
	size_t count = bh_field_texts(L, index, "addresses", texts, BH_ADDRESSES_MAX);

	for (size_t i = 0; i < count; i++) {
		struct bh_prefix prefix;
		int rc = bh_prefix_parse(&prefix, texts[i], true, err);

		if (rc)
			return rc;
		conf->addresses[i] = prefix.address;
		conf->broadcasts[i] = bh_address_is_v4(&prefix.address) && prefix.length < 31
		                      ? bh_prefix_range(&prefix).last : prefix.address;
		if (!bh_address_is_v4(&prefix.address))
			conf->link_local = bh_address_link_local(conf->mac);
		conf->addresses_count++;
	}
	return 0;
}

static int words_from(lua_State *L, int index, struct bh_words *words, struct bh_error *err)
{
	static const char *const names[BH_WORDS] = {"LocalSubnet", "DefaultGateway", "DNS", "DHCP"};
	const char *texts[BH_WORD_MAX];

	memset(words, 0, sizeof(*words));
	for (int w = 0; w < BH_WORDS; w++) {
		size_t count = bh_field_texts(L, index, names[w], texts, BH_WORD_MAX);

		for (size_t i = 0; i < count; i++) {
			int rc = bh_range_parse(&words->ranges[w][words->count[w]++], texts[i], err);

			if (rc)
				return rc;
		}
	}
	return 0;
}

/* One ruleset and its compiled table from the list in `field`. */
static int gate_rules(lua_State *L, struct bh_gate_object *gate, int which, const char *field,
                      const struct bh_words *words, struct bh_error *err)
{
	struct bh_rules *rules;
	int rc;

	lua_getfield(L, 1, field);
	rc = bh_check_rules(L, -1, &rules, err);
	rc = rc ? rc : bh_ruleset_new(&gate->rulesets[which], err);
	for (size_t i = 0; !rc && i < rules->count; i++) {
		rules->rules[i].id = (uint32_t)(which << 24 | (i + 1));
		rc = bh_ruleset_add(gate->rulesets[which], &rules->rules[i], err);
	}
	if (rc)
		return rc;
	bh_ruleset_set_words(gate->rulesets[which], words);
	rc = bh_table_compile(&gate->tables[which], gate->rulesets[which], TABLE_BYTES_MAX, err);
	if (rc)
		return rc;
	gate->conf.tables[which].id = (uint32_t)which + 1;
	return 0;
}

/* Raises an error at a field that there is not: what it was to say would go unsaid. */
static void check_fields(lua_State *L, int index, const char *whose, const char *const *names)
{
	const char *unknown = bh_unknown_field(L, index, names, NULL);

	if (unknown)
		luaL_error(L, "%s has no field '%s'", whose, unknown);
}

/* The default verdicts of the gate_spec at index 1: tables with an action, as policy:default() gives them. */
static void check_default(lua_State *L)
{
	static const char *const directions[] = {"inbound", "outbound", NULL};
	const char *action;

	if (lua_getfield(L, 1, "default") != LUA_TNIL) {
		luaL_argcheck(L, lua_istable(L, -1), 1, "default is a table: { inbound = { action = … }, outbound = … }");
		check_fields(L, -1, "a default", directions);
		for (int d = 0; d < 2; d++) {
			if (lua_getfield(L, -1, directions[d]) != LUA_TNIL) {
				luaL_argcheck(L, lua_istable(L, -1), 1, "a default verdict is a table: { action = \"block\" }");
				action = bh_field_text(L, -1, "action", "allow");
				luaL_argcheck(L, !strcmp(action, "allow") || !strcmp(action, "block"), 1,
				              "a default's action is allow or block");
			}
			lua_pop(L, 1);
		}
	}
	lua_pop(L, 1);
}

static int filter_gate(lua_State *L)
{
	static const char *const fields[] = {"mac", "addresses", "default", "options", "rules", "own", "words", NULL};
	struct bh_gate_object *gate;
	struct bh_words words = {0};
	struct bh_error err;
	const char *mac;
	int rc;

	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	check_fields(L, 1, "a gate", fields);
	check_default(L);
	gate = bh_gate_push(L);
	gate->conf.endpoint = gate->conf.compartment = gate->conf.generation = 1;
	mac = bh_field_text(L, 1, "mac", "02:00:00:00:00:02");
	rc = bh_mac_parse(gate->conf.mac, mac, &err);
	rc = rc ? rc : conf_addresses(L, 1, &gate->conf, &err);
	bh_conf_from_policy(L, 1, &gate->conf);
	if (lua_getfield(L, 1, "words") == LUA_TTABLE && !rc)
		rc = words_from(L, lua_gettop(L), &words, &err);
	rc = rc ? rc : gate_rules(L, gate, 0, "rules", &words, &err);
	rc = rc ? rc : gate_rules(L, gate, 1, "own", &words, &err);
	rc = rc ? rc : bh_flow_table_add_share(gate->flows, gate->conf.compartment, &err);
	if (rc)
		return bh_push_error(L, &err);
	lua_settop(L, 2);
	return 1;
}

static const luaL_Reg functions[] = {
	{"packet", filter_packet},
	{"prefix", filter_prefix},
	{"contains", filter_contains},
	{"gate", filter_gate},
	{NULL, NULL},
};

int luaopen_bulkhead_filter(lua_State *L);

int luaopen_bulkhead_filter(lua_State *L)
{
	bh_rules_register(L);
	bh_gate_register(L);
	luaL_newlib(L, functions);
	return 1;
}

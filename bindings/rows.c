/*
 * rows.c - see rows.h.
 *
 * A statement is open while tables are pushed, and a Lua error would leave it so; it is reset when
 * the store closes, and the store's connection has no lock from a read.
 */
#include "rows.h"

#include <stdio.h>
#include <string.h>

#include "../engine/filter/evaluate.h"

/* How one column becomes a field: text, integer, flag, or a list from a text with commas. */
struct column {
	const char *field;
	char type; /* t i f l; - for none */
};

static void set_columns(lua_State *L, struct bh_statement *row, const struct column *columns)
{
	for (int c = 0; columns[c].field; c++)
		switch (columns[c].type) {
		case 't':
			bh_set_text(L, columns[c].field, bh_statement_text(row, c));
			break;
		case 'i':
			bh_set_integer(L, columns[c].field, bh_statement_int(row, c));
			break;
		case 'f':
			bh_set_flag(L, columns[c].field, bh_statement_int(row, c) != 0);
			break;
		case 'l':
			bh_set_list(L, columns[c].field, bh_statement_text(row, c));
			break;
		}
}

/* Appends a query's rows, each finished by `more`, to the list at the top. */
static int append_rows(lua_State *L, struct bh_host *host, const struct column *columns,
                       int (*more)(lua_State *, struct bh_host *, struct bh_error *),
                       struct bh_error *err, const char *sql, const char *argument)
{
	struct bh_statement *rows = NULL;
	int rc = bh_store_query(bh_host_store(host), &rows, err, sql, argument ? "s" : "", argument);
	lua_Integer n = (lua_Integer)lua_rawlen(L, -1);

	while (!rc && (rc = bh_statement_step(rows, err)) == 1) {
		lua_newtable(L);
		set_columns(L, rows, columns);
		rc = more ? more(L, host, err) : 0;
		lua_rawseti(L, -2, ++n);
		if (rc)
			break;
	}
	bh_statement_close(&rows);
	return rc;
}

/* Pushes the list of a query's rows. */
static int push_rows(lua_State *L, struct bh_host *host, const struct column *columns,
                     int (*more)(lua_State *, struct bh_host *, struct bh_error *),
                     struct bh_error *err, const char *sql, const char *argument)
{
	lua_newtable(L);
	return append_rows(L, host, columns, more, err, sql, argument);
}

/* t[field] = rows of a query about the id (an integer or a text) of the table at the top. */
static int set_rows(lua_State *L, struct bh_store *store, const char *field, const char *sql,
                    const struct column *columns, struct bh_error *err)
{
	struct bh_statement *rows = NULL;
	int rc, n = 0;

	lua_getfield(L, -1, "id");
	rc = lua_isinteger(L, -1)
	     ? bh_store_query(store, &rows, err, sql, "i", (int64_t)lua_tointeger(L, -1))
	     : bh_store_query(store, &rows, err, sql, "s", lua_tostring(L, -1));
	lua_pop(L, 1);
	lua_newtable(L);
	while (!rc && (rc = bh_statement_step(rows, err)) == 1) {
		lua_newtable(L);
		set_columns(L, rows, columns);
		lua_rawseti(L, -2, ++n);
		rc = 0;
	}
	bh_statement_close(&rows);
	lua_setfield(L, -2, field);
	return rc;
}

/* Its subnets; and in `reach`, beside its own (`own_reach`), what policies of its endpoints let it reach. */
static int network_more(lua_State *L, struct bh_host *host, struct bh_error *err)
{
	uint32_t id = (uint32_t)bh_field_integer(L, -1, "id", 0);
	struct bh_switch network;
	struct bh_statement *rows = NULL;
	char text[BH_ADDRESS_TEXT];
	int rc = bh_network_load(host, id, &network, err);

	if (rc)
		return rc;
	lua_newtable(L);
	for (size_t i = 0; i < network.subnets_count; i++) {
		lua_newtable(L);
		bh_set_text(L, "prefix", bh_prefix_format(&network.subnets[i].prefix, text));
		bh_set_text(L, "gateway", bh_address_format(&network.subnets[i].gateway, text));
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "subnets");
	lua_newtable(L);
	lua_getfield(L, -2, "own_reach");
	for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++)
		lua_rawseti(L, -3, i);
	lua_pop(L, 2);
	rc = bh_store_query(bh_host_store(host), &rows, err, "SELECT DISTINCT reach FROM endpoints WHERE network = ?"
	                    " AND reach <> '' AND status <> 'removing'", "i", (int64_t)id);
	while (!rc && (rc = bh_statement_step(rows, err)) == 1) {
		bh_append_list(L, bh_statement_text(rows, 0));
		rc = 0;
	}
	bh_statement_close(&rows);
	lua_setfield(L, -2, "reach");
	return rc;
}

int bh_rows_networks(lua_State *L, struct bh_host *host, const char *name, struct bh_error *err)
{
	static const struct column columns[] = {
		[BH_NETWORK_NUMBER] = {"id", 'i'}, [BH_NETWORK_NAME] = {"name", 't'}, [BH_NETWORK_DRIVER] = {"driver", 't'},
		[BH_NETWORK_MTU] = {"mtu", 'i'}, [BH_NETWORK_DNS] = {"dns", 'l'}, [BH_NETWORK_REACH] = {"own_reach", 'l'},
		[BH_NETWORK_STATUS] = {"status", 't'}, {NULL, 0},
	};
	char id[24];

	if (!name)
		return push_rows(L, host, columns, network_more, err, BH_NETWORK_COLUMNS "ORDER BY id", NULL);
	snprintf(id, sizeof(id), "%lld", (long long)bh_store_number(bh_host_store(host), 0, BH_NETWORK_ID, "s", name));
	return push_rows(L, host, columns, network_more, err, BH_NETWORK_ROW, id);
}

/* A list of integers from a list of texts, in place. */
static void to_integers(lua_State *L, const char *field)
{
	lua_getfield(L, -1, field);
	for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, -1); i <= n; i++) {
		lua_rawgeti(L, -1, i);
		lua_pushinteger(L, lua_tointeger(L, -1));
		lua_rawseti(L, -3, i);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

static int endpoints_to_integers(lua_State *L, struct bh_host *host, struct bh_error *err)
{
	(void)host;
	(void)err;
	to_integers(L, "endpoints");
	return 0;
}

int bh_rows_compartments(lua_State *L, struct bh_host *host, struct bh_error *err)
{
	static const struct column columns[] = {
		{"id", 'i'}, {"guid", 't'}, {"description", 't'}, {"type", 't'}, {"containers", 'l'},
		{"endpoints", 'l'}, {"status", 't'}, {NULL, 0},
	};

	return push_rows(L, host, columns, endpoints_to_integers, err,
	                 "SELECT id, guid, description, type,"
	                 " (SELECT group_concat(id) FROM (SELECT id FROM containers c WHERE c.compartment = k.id"
	                 "  ORDER BY seq)),"
	                 " (SELECT group_concat(id) FROM (SELECT id FROM endpoints e WHERE e.compartment = k.id"
	                 "  ORDER BY id)), status FROM compartments k ORDER BY id", NULL);
}

/* t.annotations and t.labels, each { key = value }, from a query about the id. */
static int set_properties(lua_State *L, struct bh_store *store, const char *sql, struct bh_error *err)
{
	struct bh_statement *rows = NULL;
	int rc = bh_store_query(store, &rows, err, sql, "s", bh_field_text(L, -1, "id", ""));

	lua_newtable(L);
	lua_newtable(L);
	while (!rc && (rc = bh_statement_step(rows, err)) == 1) {
		const char *kind = bh_statement_text(rows, 0), *key = bh_statement_text(rows, 1);

		rc = 0;
		if (!kind || !key)
			continue; /* what we never wrote */
		lua_pushstring(L, bh_statement_text(rows, 2));
		lua_setfield(L, strcmp(kind, "label") ? -3 : -2, key);
	}
	bh_statement_close(&rows);
	lua_setfield(L, -3, "labels");
	lua_setfield(L, -2, "annotations");
	return rc;
}

static const struct column published_columns[] = {
	{"address", 't'}, {"host", 'i'}, {"container", 'i'}, {"protocol", 't'}, {NULL, 0},
};

static int container_more(lua_State *L, struct bh_host *host, struct bh_error *err)
{
	struct bh_store *store = bh_host_store(host);
	struct bh_statement *rows = NULL;
	int rc, n = 0;

	rc = set_properties(L, store, "SELECT kind, key, value FROM properties WHERE container = ?", err);
	rc = rc ? rc : set_rows(L, store, "published",
	                        "SELECT address, host, port, protocol FROM published WHERE container = ? ORDER BY n",
	                        published_columns, err);
	rc = rc ? rc : bh_store_query(store, &rows, err, BH_IDS_IN_CONTAINER, "s",
	                              bh_field_text(L, -1, "id", ""));
	lua_newtable(L);
	while (!rc && (rc = bh_statement_step(rows, err)) == 1) {
		lua_pushinteger(L, bh_statement_int(rows, 0));
		lua_rawseti(L, -2, ++n);
		rc = 0;
	}
	bh_statement_close(&rows);
	lua_setfield(L, -2, "endpoints");
	return rc;
}

#define OF_LOST(list) " FROM lost l, json_each(l." list ") j WHERE l.id = ? ORDER BY j.key"
#define ITEM(n) "json_extract(j.value, '$[" #n "]')"

static int lost_more(lua_State *L, struct bh_host *host, struct bh_error *err)
{
	static const struct column columns[] = {
		{"id", 'i'}, {"container", 't'}, {"network", 't'}, {"driver", 't'}, {"mac", 't'},
		{"addresses", 'l'}, {"phase", 't'}, {NULL, 0},
	};
	struct bh_store *store = bh_host_store(host);
	int rc = set_properties(L, store, "SELECT " ITEM(0) ", " ITEM(1) ", " ITEM(2) OF_LOST("properties"), err);

	rc = rc ? rc : set_rows(L, store, "published",
	                        "SELECT " ITEM(0) ", " ITEM(1) ", " ITEM(2) ", " ITEM(3) OF_LOST("published"),
	                        published_columns, err);
	return rc ? rc : set_rows(L, store, "endpoints",
	                          "SELECT " ITEM(0) ", " ITEM(1) ", " ITEM(2) ", " ITEM(3) ", " ITEM(4) ", " ITEM(5)
	                          ", " ITEM(6) OF_LOST("endpoints"), columns, err);
}

int bh_rows_lost(lua_State *L, struct bh_host *host, struct bh_error *err)
{
	static const struct column columns[] = {
		{"id", 't'}, {"name", 't'}, {"type", 't'}, {"policies", 't'}, {"policy", 't'}, {"phase", 't'},
		{NULL, 0},
	};

	if (!bh_store_number(bh_host_store(host), 1, "SELECT EXISTS(SELECT 1 FROM lost)", "")) {
		lua_newtable(L); /* nearly always */
		return 0;
	}
	return push_rows(L, host, columns, lost_more, err,
	                 "SELECT id, name, type, policies, policy, phase FROM lost ORDER BY seq", NULL);
}

int bh_rows_containers(lua_State *L, struct bh_host *host, const char *id, struct bh_error *err)
{
	static const struct column columns[] = {
		[BH_CONTAINER_ID] = {"id", 't'}, [BH_CONTAINER_NAME] = {"name", 't'}, [BH_CONTAINER_TYPE] = {"type", 't'},
		[BH_CONTAINER_COMPARTMENT] = {"compartment", 'i'}, [BH_CONTAINER_POLICIES] = {"policies", 't'},
		[BH_CONTAINER_POLICY] = {"policy", 't'}, [BH_CONTAINER_OWNER] = {"owner", 't'},
		[BH_CONTAINER_NETNS] = {"netns", 't'}, [BH_CONTAINER_PHASE] = {"phase", 't'},
		[BH_CONTAINER_STATUS] = {"status", 't'}, {NULL, 0},
	};

	return push_rows(L, host, columns, container_more, err,
	                 id ? BH_CONTAINER_ROW : BH_CONTAINER_COLUMNS "ORDER BY seq", id);
}

/* What its flags and timeouts mean. */
static void set_options(lua_State *L)
{
	uint32_t flags = (uint32_t)bh_field_integer(L, -1, "flags", 0);
	const char *timeouts = bh_field_text(L, -1, "timeouts", NULL);

	bh_set_flag(L, "antispoof", flags & BH_CONF_ANTISPOOF);
	bh_set_flag(L, "router", flags & BH_CONF_ROUTER);
	bh_set_flag(L, "dhcp_server", flags & BH_CONF_DHCP_SERVER);
	bh_set_flag(L, "audit", flags & BH_CONF_AUDIT);
	bh_set_flag(L, "direct", !(flags & BH_CONF_SWITCHED));
	bh_set_text(L, "default_inbound", flags & BH_CONF_BLOCK_IN ? "block" : "allow");
	bh_set_text(L, "default_outbound", flags & BH_CONF_BLOCK_OUT ? "block" : "allow");
	lua_newtable(L);
	for (int t = 0; t < BH_TIMEOUT_COUNT && timeouts; t++) {
		unsigned seconds = 0;

		sscanf(timeouts, "%u", &seconds);
		bh_set_integer(L, bh_timeout_names[t], seconds);
		timeouts = strchr(timeouts, ',');
		timeouts = timeouts ? timeouts + 1 : NULL;
	}
	lua_setfield(L, -2, "timeouts");
	lua_pushnil(L);
	lua_setfield(L, -2, "flags");
}

/* Its addresses, and the gateways of its network. */
static int set_addresses(lua_State *L, struct bh_host *host, struct bh_error *err)
{
	uint32_t id = (uint32_t)bh_field_integer(L, -1, "id", 0);
	uint32_t on = (uint32_t)bh_field_integer(L, -1, "network_id", 0);
	struct bh_prefix addresses[BH_ADDRESSES_MAX];
	struct bh_switch network;
	char text[BH_ADDRESS_TEXT], with_length[BH_ADDRESS_TEXT + 8];
	size_t count = 0;
	int rc = bh_endpoint_addresses(host, id, addresses, &count, err);

	rc = rc ? rc : bh_network_load(host, on, &network, err);
	if (rc)
		return rc;
	lua_newtable(L);
	for (size_t i = 0; i < count; i++) {
		snprintf(with_length, sizeof(with_length), "%s/%u", bh_address_format(&addresses[i].address, text),
		         addresses[i].length);
		lua_pushstring(L, with_length);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "addresses");
	lua_newtable(L);
	for (size_t i = 0; i < network.subnets_count; i++) {
		lua_pushstring(L, bh_address_format(&network.subnets[i].gateway, text));
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "gateways");
	bh_set_text(L, "network", network.name);
	bh_set_text(L, "driver", bh_driver_names[network.driver]);
	lua_pushnil(L);
	lua_setfield(L, -2, "network_id");
	return 0;
}

/* While a change is not done, what is in force is told, not what is wanted. */
static int set_former(lua_State *L, struct bh_host *host, struct bh_error *err)
{
	static const struct column columns[] = {
		{"flags", 'i'}, {"timeouts", 't'}, {"flows_limit", 'i'}, {"default_inbound_origin", 't'},
		{"default_outbound_origin", 't'}, {"reach", 'l'}, {"generation", 'i'}, {NULL, 0},
	};
	lua_Integer id = bh_field_integer(L, -1, "id", 0);
	struct bh_statement *row = NULL;
	int rc;

	if (strcmp(bh_field_text(L, -1, "status", ""), "changing") || !bh_endpoint_has_former(host, (uint32_t)id))
		return 0;
	rc = bh_store_query(bh_host_store(host), &row, err, "SELECT flags, timeouts, flows, origin_in, origin_out, reach,"
	                    " generation FROM before WHERE endpoint = ?", "i", (int64_t)id);
	if (!rc && (rc = bh_statement_step(row, err)) == 1) {
		set_columns(L, row, columns);
		rc = 0;
	}
	bh_statement_close(&row);
	return rc;
}

static int endpoint_more(lua_State *L, struct bh_host *host, struct bh_error *err)
{
	struct bh_platform *platform = bh_host_platform(host);
	char path[64];
	int rc = set_former(L, host, err);

	if (rc)
		return rc;
	if (platform->ops->compartment_path) {
		platform->ops->compartment_path(platform, (uint32_t)bh_field_integer(L, -1, "compartment", 0), path,
		                                sizeof(path));
		bh_set_text(L, "namespace", path);
	}
	set_options(L);
	return set_addresses(L, host, err);
}

int bh_rows_endpoints(lua_State *L, struct bh_host *host, enum bh_endpoints_by by, const char *key,
                      struct bh_error *err)
{
	static const struct column columns[] = {
		[BH_ENDPOINT_ID] = {"id", 'i'}, [BH_ENDPOINT_CONTAINER] = {"container", 't'},
		[BH_ENDPOINT_COMPARTMENT] = {"compartment", 'i'}, [BH_ENDPOINT_NETWORK] = {"network_id", 'i'},
		[BH_ENDPOINT_KIND] = {"kind", 't'}, [BH_ENDPOINT_INTERFACE] = {"interface", 't'},
		[BH_ENDPOINT_MAC] = {"mac", 't'}, [BH_ENDPOINT_IPV6] = {"ipv6", 'f'}, [BH_ENDPOINT_SHARED] = {"shared", '-'},
		[BH_ENDPOINT_OWN] = {"own", '-'}, [BH_ENDPOINT_FLAGS] = {"flags", 'i'},
		[BH_ENDPOINT_TIMEOUTS] = {"timeouts", 't'}, [BH_ENDPOINT_FLOWS] = {"flows_limit", 'i'},
		[BH_ENDPOINT_ORIGIN_IN] = {"default_inbound_origin", 't'},
		[BH_ENDPOINT_ORIGIN_OUT] = {"default_outbound_origin", 't'}, [BH_ENDPOINT_REACH] = {"reach", 'l'},
		[BH_ENDPOINT_GENERATION] = {"generation", 'i'}, [BH_ENDPOINT_ATTACHMENT] = {"attachment", 't'},
		[BH_ENDPOINT_PHASE] = {"phase", 't'}, [BH_ENDPOINT_STATUS] = {"status", 't'}, {NULL, 0},
	};
	static const char *const ids[] = {
		[BH_ENDPOINTS_OF_CONTAINER] = "SELECT id FROM endpoints e WHERE e.container = ?1"
			" OR (e.compartment = (SELECT compartment FROM containers WHERE id = ?1)"
			" AND NOT EXISTS (SELECT 1 FROM endpoints o WHERE o.container = ?1)) ORDER BY e.id",
		[BH_ENDPOINTS_OF_COMPARTMENT] = BH_IDS_IN_COMPARTMENT,
	};
	struct bh_statement *rows = NULL;
	int rc;

	if (by == BH_ENDPOINTS_ALL)
		return push_rows(L, host, columns, endpoint_more, err, BH_ENDPOINT_COLUMNS "ORDER BY id", NULL);
	if (by == BH_ENDPOINTS_ONE)
		return push_rows(L, host, columns, endpoint_more, err, BH_ENDPOINT_ROW, key);
	rc = bh_store_query(bh_host_store(host), &rows, err, ids[by], "s", key);
	lua_newtable(L);
	while (!rc && (rc = bh_statement_step(rows, err)) == 1)
		rc = append_rows(L, host, columns, endpoint_more, err, BH_ENDPOINT_ROW, bh_statement_text(rows, 0));
	bh_statement_close(&rows);
	return rc;
}

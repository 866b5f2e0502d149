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
	char type; /* t i f l */
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
static int append_rows(lua_State *L, struct bh_store *store, const struct column *columns,
                       int (*more)(lua_State *, struct bh_store *, struct bh_error *),
                       struct bh_error *err, const char *sql, const char *argument)
{
	struct bh_statement *rows = NULL;
	int rc = bh_store_query(store, &rows, err, sql, argument ? "s" : "", argument);
	lua_Integer n = (lua_Integer)lua_rawlen(L, -1);

	while (!rc && (rc = bh_statement_step(rows, err)) == 1) {
		lua_newtable(L);
		set_columns(L, rows, columns);
		rc = more ? more(L, store, err) : 0;
		lua_rawseti(L, -2, ++n);
		if (rc)
			break;
	}
	bh_statement_close(&rows);
	return rc;
}

/* Pushes the list of a query's rows. */
static int push_rows(lua_State *L, struct bh_store *store, const struct column *columns,
                     int (*more)(lua_State *, struct bh_store *, struct bh_error *),
                     struct bh_error *err, const char *sql, const char *argument)
{
	lua_newtable(L);
	return append_rows(L, store, columns, more, err, sql, argument);
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

static int network_more(lua_State *L, struct bh_store *store, struct bh_error *err)
{
	static const struct column columns[] = {{"prefix", 't'}, {"gateway", 't'}, {NULL, 0}};
	struct bh_prefix parsed;
	int rc = set_rows(L, store, "subnets",
	                  "SELECT prefix, gateway FROM subnets WHERE network = ? ORDER BY rowid", columns, err);

	lua_getfield(L, -1, "name");
	lua_getfield(L, -2, "subnets");
	for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, -1); !rc && i <= n; i++) {
		lua_rawgeti(L, -1, i);
		for (int c = 0; !rc && c < 2; c++, lua_pop(L, 1)) {
			lua_getfield(L, -1, columns[c].field);
			rc = bh_prefix_parse(&parsed, lua_tostring(L, -1), false, err);
			if (rc)
				bh_error_prefix(err, "the store: network '%s'", lua_tostring(L, -5));
		}
		lua_pop(L, 1);
	}
	lua_pop(L, 2);
	return rc;
}

int bh_rows_networks(lua_State *L, struct bh_host *host, const char *name, struct bh_error *err)
{
	static const struct column columns[] = {
		{"id", 'i'}, {"name", 't'}, {"driver", 't'}, {"mtu", 'i'}, {"dns", 'l'}, {"reach", 'l'},
		{"own_reach", 'l'}, {"status", 't'}, {NULL, 0},
	};

#define NETWORKS                                                                                        \
	"SELECT id, name, driver, mtu, dns, trim(reach || ',' || coalesce((SELECT"                       \
	" group_concat(DISTINCT e.reach) FROM endpoints e WHERE e.network = networks.id"                 \
	" AND e.reach <> '' AND e.status <> 'removing'), ''), ','), reach, status FROM networks "

	return push_rows(L, bh_host_store(host), columns, network_more, err,
	                 name ? NETWORKS "WHERE name = ?1" : NETWORKS "ORDER BY id", name);
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

static int endpoints_to_integers(lua_State *L, struct bh_store *store, struct bh_error *err)
{
	(void)store;
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

	return push_rows(L, bh_host_store(host), columns, endpoints_to_integers, err,
	                 "SELECT id, guid, description, type,"
	                 " (SELECT group_concat(id) FROM (SELECT id FROM containers c WHERE c.compartment = k.id"
	                 "  ORDER BY seq)),"
	                 " (SELECT group_concat(id) FROM (SELECT id FROM endpoints e WHERE e.compartment = k.id"
	                 "  ORDER BY id)), status FROM compartments k ORDER BY id", NULL);
}

/* t[field] = { key = value } of one kind of property. */
static int set_properties(lua_State *L, struct bh_store *store, bool lost, const char *field,
                          const char *kind, struct bh_error *err)
{
	struct bh_statement *rows = NULL;
	int rc;

	lua_getfield(L, -1, "id");
	rc = bh_store_query(store, &rows, err,
	                    lost ? "SELECT key, value FROM lost_properties WHERE container = ? AND kind = ?"
	                         : "SELECT key, value FROM properties WHERE container = ? AND kind = ?",
	                    "ss", lua_tostring(L, -1), kind);
	lua_pop(L, 1);
	lua_newtable(L);
	while (!rc && (rc = bh_statement_step(rows, err)) == 1) {
		bh_set_text(L, bh_statement_text(rows, 0), bh_statement_text(rows, 1));
		rc = 0;
	}
	bh_statement_close(&rows);
	lua_setfield(L, -2, field);
	return rc;
}

/* What a container came with: of one that is there, or of one that a reboot took. */
static int set_details(lua_State *L, struct bh_store *store, bool lost, struct bh_error *err)
{
	static const struct column columns[] = {
		{"address", 't'}, {"host", 'i'}, {"container", 'i'}, {"protocol", 't'}, {NULL, 0},
	};
	int rc = set_properties(L, store, lost, "annotations", "annotation", err);

	rc = rc ? rc : set_properties(L, store, lost, "labels", "label", err);
	return rc ? rc : set_rows(L, store, "published", lost
	                          ? "SELECT address, host, port, protocol FROM lost_published WHERE container = ?"
	                            " ORDER BY rowid"
	                          : "SELECT address, host, port, protocol FROM published WHERE container = ?"
	                            " ORDER BY rowid", columns, err);
}

static int container_more(lua_State *L, struct bh_store *store, struct bh_error *err)
{
	int rc = set_details(L, store, false, err);

	to_integers(L, "endpoints");
	return rc;
}

static int lost_more(lua_State *L, struct bh_store *store, struct bh_error *err)
{
	static const struct column columns[] = {
		{"id", 'i'}, {"container", 't'}, {"network", 't'}, {"driver", 't'}, {"mac", 't'},
		{"addresses", 'l'}, {"phase", 't'}, {NULL, 0},
	};
	int rc = set_details(L, store, true, err);

	return rc ? rc : set_rows(L, store, "endpoints",
	                          "SELECT id, holder, network, driver, mac, address, phase FROM lost_endpoints"
	                          " WHERE container = ? ORDER BY id", columns, err);
}

int bh_rows_lost(lua_State *L, struct bh_host *host, struct bh_error *err)
{
	static const struct column columns[] = {
		{"id", 't'}, {"name", 't'}, {"type", 't'}, {"policies", 't'}, {"policy", 't'}, {"phase", 't'},
		{NULL, 0},
	};

	return push_rows(L, bh_host_store(host), columns, lost_more, err,
	                 "SELECT id, name, type, policies, policy, phase FROM lost ORDER BY seq", NULL);
}

int bh_rows_containers(lua_State *L, struct bh_host *host, const char *id, struct bh_error *err)
{
	static const struct column columns[] = {
		{"id", 't'}, {"name", 't'}, {"type", 't'}, {"compartment", 'i'}, {"policies", 't'},
		{"policy", 't'}, {"owner", 't'}, {"netns", 't'}, {"phase", 't'},
		{"status", 't'}, {"endpoints", 'l'}, {NULL, 0},
	};

#define CONTAINERS                                                                                      \
	"SELECT id, name, type, compartment, policies, policy, owner, netns, phase, status,"             \
	" (SELECT group_concat(id) FROM (SELECT id FROM endpoints e WHERE e.container = c.id"            \
	"  ORDER BY id)) FROM containers c "

	return push_rows(L, bh_host_store(host), columns, container_more, err,
	                 id ? CONTAINERS "WHERE id = ?1" : CONTAINERS "ORDER BY seq", id);
}

/* Gateways of the subnets it has an address in, and what its flags and timeouts mean. */
static int endpoint_more(lua_State *L, struct bh_store *store, struct bh_error *err)
{
	uint32_t flags;
	const char *timeouts;

	(void)store;
	(void)err;
	lua_getfield(L, -1, "flags");
	flags = (uint32_t)lua_tointeger(L, -1);
	lua_pop(L, 1);
	lua_pushnil(L);
	lua_setfield(L, -2, "flags");
	bh_set_flag(L, "antispoof", flags & BH_CONF_ANTISPOOF);
	bh_set_flag(L, "router", flags & BH_CONF_ROUTER);
	bh_set_flag(L, "dhcp_server", flags & BH_CONF_DHCP_SERVER);
	bh_set_flag(L, "audit", flags & BH_CONF_AUDIT);
	bh_set_flag(L, "direct", !(flags & BH_CONF_SWITCHED));
	bh_set_text(L, "default_inbound", flags & BH_CONF_BLOCK_IN ? "block" : "allow");
	bh_set_text(L, "default_outbound", flags & BH_CONF_BLOCK_OUT ? "block" : "allow");
	lua_getfield(L, -1, "timeouts");
	timeouts = lua_tostring(L, -1);
	lua_newtable(L);
	for (int t = 0; t < BH_TIMEOUT_COUNT && timeouts; t++) {
		unsigned seconds = 0;

		sscanf(timeouts, "%u", &seconds);
		bh_set_integer(L, bh_timeout_names[t], seconds);
		timeouts = strchr(timeouts, ',');
		timeouts = timeouts ? timeouts + 1 : NULL;
	}
	lua_setfield(L, -3, "timeouts");
	lua_pop(L, 1);
	return 0;
}

int bh_rows_endpoints(lua_State *L, struct bh_host *host, enum bh_endpoints_by by, const char *key,
                      struct bh_error *err)
{
	static const struct column columns[] = {
		{"id", 'i'}, {"container", 't'}, {"compartment", 'i'}, {"network", 't'}, {"driver", 't'},
		{"kind", 't'}, {"interface", 't'}, {"mac", 't'}, {"addresses", 'l'}, {"gateways", 'l'},
		{"ipv6", 'f'}, {"flags", 'i'}, {"timeouts", 't'}, {"flows_limit", 'i'},
		{"default_inbound_origin", 't'}, {"default_outbound_origin", 't'}, {"generation", 'i'},
		{"attachment", 't'}, {"phase", 't'}, {"status", 't'}, {"reach", 'l'}, {NULL, 0},
	};

#define ENDPOINTS                                                                                       \
	"SELECT e.id, e.container, e.compartment, n.name, n.driver, e.kind, e.interface, e.mac,"         \
	" (SELECT group_concat(address || '/' || length) FROM (SELECT * FROM addresses a"                \
	"  WHERE a.endpoint = e.id ORDER BY address LIKE '%:%', address)),"                              \
	" (SELECT group_concat(gateway) FROM subnets s WHERE s.network = n.id),"                         \
	" e.ipv6, e.flags, e.timeouts, e.flows, e.origin_in, e.origin_out, e.generation, e.attachment,"  \
	" e.phase, e.status, e.reach"                                                                       \
	" FROM endpoints e JOIN networks n ON n.id = e.network "

	/* Which they are: to compile the long statement once for each way to ask would take longer. */
	static const char *const ids[] = {
		[BH_ENDPOINTS_OF_CONTAINER] = "SELECT id FROM endpoints e WHERE e.container = ?1"
			" OR (e.compartment = (SELECT compartment FROM containers WHERE id = ?1)"
			" AND NOT EXISTS (SELECT 1 FROM endpoints o WHERE o.container = ?1)) ORDER BY e.id",
		[BH_ENDPOINTS_OF_COMPARTMENT] = "SELECT id FROM endpoints WHERE compartment = CAST(?1 AS INTEGER) ORDER BY id",
		[BH_ENDPOINTS_ONE] = "SELECT CAST(?1 AS INTEGER)",
	};
	struct bh_store *store = bh_host_store(host);
	struct bh_statement *rows = NULL;
	int rc;

	if (by == BH_ENDPOINTS_ALL)
		return push_rows(L, store, columns, endpoint_more, err, ENDPOINTS "ORDER BY e.id", NULL);
	rc = bh_store_query(store, &rows, err, ids[by], "s", key);
	lua_newtable(L);
	while (!rc && (rc = bh_statement_step(rows, err)) == 1)
		rc = append_rows(L, store, columns, endpoint_more, err, ENDPOINTS "WHERE e.id = CAST(?1 AS INTEGER)",
		                 bh_statement_text(rows, 0));
	bh_statement_close(&rows);
	return rc;
}

/*
 * drops.c - host:drops(): what the gates recorded, with what only the store knows about it.
 *
 * A record names ids; rule, origin and container are looked up when it is read, in what is in force
 * or, for what is gone, in what was kept of it.
 */
#include <string.h>
#include <time.h>

#include "../engine/filter/notation.h"
#include "host.h"

#define NEWEST 100 /* records that are given without `from` */

/* The wall clock's time of a record, as seconds. */
static double wall_time(struct bh_platform *platform, uint64_t at)
{
	uint64_t now = platform->ops->now(platform);
	struct timespec wall;

	clock_gettime(CLOCK_REALTIME, &wall);
	return (double)wall.tv_sec + (double)wall.tv_nsec / 1e9 - ((double)now - (double)at) / 1e9;
}

/* Name and origin of the rule, onto the table at the top. */
static void set_rule(lua_State *L, struct bh_store *store, uint32_t id)
{
	struct bh_statement *row = NULL;

	if (!bh_store_query(store, &row, NULL, "SELECT name, origin FROM rules WHERE id = ?1 UNION ALL"
	                    " SELECT name, origin FROM past_rules WHERE id = ?1 LIMIT 1", "i", (int64_t)id) &&
	    bh_statement_step(row, NULL) == 1) {
		bh_set_text(L, "rule", bh_statement_text(row, 0));
		bh_set_text(L, "origin", bh_statement_text(row, 1));
	}
	bh_statement_close(&row);
	bh_set_integer(L, "rule_id", id);
}

/* The container, and where a default decided the line of the default. */
static void set_endpoint(lua_State *L, struct bh_store *store, const struct bh_record *record)
{
	struct bh_statement *row = NULL;
	const char *origin;

	if (!bh_store_query(store, &row, NULL,
	                    "SELECT e.container, c.name, e.origin_in, e.origin_out, e.generation = ?2 FROM endpoints e"
	                    " JOIN containers c ON c.id = e.container WHERE e.id = ?1 UNION ALL"
	                    " SELECT container, (SELECT name FROM containers c WHERE c.id = container), origin_in,"
	                    " origin_out, generation = ?2 FROM past_policies WHERE endpoint = ?1 ORDER BY 5 DESC LIMIT 1",
	                    "ii", (int64_t)record->endpoint, (int64_t)record->generation) &&
	    bh_statement_step(row, NULL) == 1) {
		bh_set_text(L, "container", bh_statement_text(row, 0));
		bh_set_text(L, "name", bh_statement_text(row, bh_statement_text(row, 1) ? 1 : 0));
		origin = bh_statement_text(row, record->key.direction == BH_IN ? 2 : 3);
		if (record->by == BH_BY_DEFAULT && bh_statement_int(row, 4) && origin && *origin)
			bh_set_text(L, "origin", origin);
	}
	bh_statement_close(&row);
}

static void push_record(lua_State *L, struct bh_host *host, const struct bh_record *record)
{
	char text[BH_NOTATION_TEXT], mac[BH_ADDRESS_TEXT];
	struct bh_store *store = bh_host_store(host);

	lua_newtable(L);
	bh_set_integer(L, "number", (lua_Integer)(record->sequence - 1));
	lua_pushnumber(L, wall_time(bh_host_platform(host), record->time));
	lua_setfield(L, -2, "time");
	bh_set_integer(L, "endpoint", record->endpoint);
	bh_set_integer(L, "compartment", record->compartment);
	bh_set_text(L, "direction", bh_direction_name(record->key.direction));
	bh_set_text(L, "verdict", bh_action_name(record->action));
	bh_set_text(L, "by", bh_by_name(record->by));
	bh_set_flag(L, "audit", record->audit);
	bh_set_flag(L, "log", record->log);
	bh_set_text(L, "packet", bh_record_format(record, text));
	bh_set_integer(L, "ethertype", record->ethertype);
	bh_set_text(L, "source_mac", bh_mac_format(record->source_mac, mac));
	bh_set_integer(L, "size", record->size);
	set_endpoint(L, store, record);
	if (record->rule)
		set_rule(L, store, record->rule);
}

int bh_host_drops(lua_State *L)
{
	struct bh_host *host = bh_check_host(L, 1);
	struct bh_platform *platform = bh_host_platform(host);
	const struct bh_circle *circle = platform->ops->records(platform);
	uint64_t next = circle ? bh_circle_next(circle) : 0, from;
	lua_Integer limit = luaL_optinteger(L, 3, BH_RECORDS);
	struct bh_record *records;
	size_t count;

	luaL_argcheck(L, limit > 0 && limit <= BH_RECORDS, 3, "must be 1 to 8192");
	from = next > NEWEST ? next - NEWEST : 0;
	if (!lua_isnoneornil(L, 2)) {
		lua_Integer given = luaL_checkinteger(L, 2);

		if (given < 0)
			from = next > (uint64_t)-given ? next + (uint64_t)given : 0;
		else
			from = (uint64_t)given < next ? (uint64_t)given : next;
	}
	records = lua_newuserdatauv(L, (size_t)limit * sizeof(*records), 0);
	count = circle ? bh_circle_read(circle, &from, records, (size_t)limit) : 0;
	lua_createtable(L, (int)count, 0);
	for (size_t i = 0; i < count; i++) {
		push_record(L, host, &records[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_pushinteger(L, (lua_Integer)from);
	return 2;
}

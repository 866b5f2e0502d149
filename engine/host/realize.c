/*
 * realize.c - from rows to reality: makes what is `creating`, takes away what is `removing`.
 *
 * Both walk the store and may be run again after a crash at any point. A row is marked or deleted
 * only after the kernel was changed for it, all of a change in one transaction at its end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"
#include "../base/log.h"
#include "internal.h"
#include "publish.h"

#define REMOVING "status <> 'ready' AND status = 'removing'"
#define TABLE_BYTES_MAX (64u << 20) /* compiled, of one table */

/* Ids of the rows that a query selects; the caller's to free. */
static int collect(struct bh_host *host, const char *sql, uint32_t **ids, size_t *count,
                   struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *rows = NULL;
	BH_AUTOFREE uint32_t *list = NULL;
	size_t n = 0, room = 0;
	int rc = bh_store_query(host->store, &rows, err, sql, "");

	while (!rc && (rc = bh_statement_step(rows, err)) == 1) {
		if (n == room) {
			uint32_t *more = realloc(list, (room = room ? room * 2 : 16) * sizeof(*list));

			if (!more)
				return bh_error_set(err, -ENOMEM, "not enough memory for a change");
			list = more;
		}
		list[n++] = (uint32_t)bh_statement_int(rows, 0);
		rc = 0;
	}
	if (rc < 0)
		return rc;
	*ids = bh_take(&list);
	*count = n;
	return 0;
}

int bh_realize_each(struct bh_host *host, const char *sql,
                    int (*act)(struct bh_host *, uint32_t, struct bh_error *), struct bh_error *err)
{
	BH_AUTOFREE uint32_t *ids = NULL;
	size_t count = 0;
	int rc = collect(host, sql, &ids, &count, err);

	for (size_t i = 0; !rc && i < count; i++)
		rc = act(host, ids[i], err);
	return rc;
}

/* Whether the network of this name is in a list with commas. */
static bool names(const char *list, const char *name)
{
	for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
		if (bh_reach_names(p, strcspn(p, ","), name))
			return true;
	return false;
}

static bool reaches(struct bh_host *host, uint32_t from, const char *to)
{
	BH_AUTOSTATEMENT struct bh_statement *row = NULL;

	if (bh_store_query(host->store, &row, NULL, "SELECT reach FROM networks WHERE id = ?1 UNION ALL"
	                   " SELECT reach FROM endpoints WHERE network = ?1 AND reach <> '' AND status <> 'removing'",
	                   "i", (int64_t)from))
		return false;
	while (bh_statement_step(row, NULL) == 1)
		if (names(bh_statement_text(row, 0), to))
			return true;
	return false;
}

bool bh_realize_reaches(struct bh_host *host, const struct bh_pending *pending)
{
	if (bh_pending_reaches(pending, "creating"))
		return true;
	return bh_pending_any(pending, BH_PENDING_ENDPOINT, "changing") &&
	       bh_store_number(host->store, 0, "SELECT EXISTS(SELECT 1 FROM before b CROSS JOIN endpoints e"
	                       " ON e.id = b.endpoint WHERE e.reach <> b.reach)", "") != 0;
}

/* The published ports of the endpoints that are there. */
static int collect_mappings(struct bh_host *host, struct bh_mapping **mappings, size_t *count,
                            struct bh_error *err)
{
	BH_AUTOFREE uint32_t *ids = NULL;
	size_t endpoints = 0;
	int rc = collect(host, "SELECT DISTINCT e.id FROM endpoints e JOIN published p"
	                 " ON p.container = e.container WHERE e.status IN ('ready', 'changing')", &ids, &endpoints, err);

	for (size_t i = 0; !rc && i < endpoints; i++) {
		struct bh_endpoint_row row;

		rc = bh_endpoint_load(host, ids[i], &row, err);
		rc = rc ? rc : bh_publish_collect(host, &row, mappings, count, err);
	}
	return rc;
}

int bh_realize_uplink(struct bh_host *host, struct bh_error *err)
{
	BH_AUTOFREE struct bh_switch *switches = NULL;
	BH_AUTOFREE struct bh_mapping *mappings = NULL;
	BH_AUTOFREE uint32_t(*pairs)[2] = NULL;
	BH_AUTOFREE uint32_t *ids = NULL;
	struct bh_uplink uplink = {0};
	size_t count;
	int rc = collect(host, "SELECT id FROM networks WHERE status <> 'removing' ORDER BY id", &ids, &count,
	                 err);

	if (rc)
		return rc;
	switches = calloc(count + 1, sizeof(*switches));
	pairs = calloc(count * count + 1, sizeof(*pairs));
	if (!switches || !pairs)
		return bh_error_set(err, -ENOMEM, "not enough memory for %zu networks", count);
	for (size_t i = 0; !rc && i < count; i++)
		rc = bh_network_load(host, ids[i], &switches[i], err);
	for (size_t i = 0; !rc && i < count; i++)
		for (size_t j = 0; j < i; j++)
			if (reaches(host, ids[i], switches[j].name) && reaches(host, ids[j], switches[i].name)) {
				pairs[uplink.pairs_count][0] = ids[i];
				pairs[uplink.pairs_count++][1] = ids[j];
			}
	rc = rc ? rc : collect_mappings(host, &mappings, &uplink.mappings_count, err);
	uplink.mappings = mappings;
	uplink.switches = switches;
	uplink.switches_count = count;
	uplink.pairs = (const uint32_t(*)[2])pairs;
	return rc ? rc : host->platform->ops->uplink_apply(host->platform, &uplink, err);
}

/* One that cannot come back after a reboot must not stand in the way of everything else: it waits. */
static int create_network(struct bh_host *host, uint32_t id, struct bh_error *err)
{
	bool again = bh_store_number(host->store, 0, "SELECT count(*) FROM networks WHERE id = ?"
	                             " AND status = 'rebuild'", "i", (int64_t)id) != 0;
	struct bh_switch network;
	int rc = bh_network_load(host, id, &network, err);

	if (rc)
		return rc;
	rc = host->platform->ops->switch_create(host->platform, &network, err);
	if (rc && again) {
		bh_log(BH_LOG_WARNING, "network '%s' is not made again, which the next change tries: %s",
		       network.name, err->message);
		return 0;
	}
	return rc ? rc : bh_store_run(host->store, err, "UPDATE networks SET status = 'ready' WHERE id = ?", "i",
	                              (int64_t)id);
}

static int create_compartment(struct bh_host *host, uint32_t id, struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *row = NULL;
	uint64_t cookie = 0;
	bool known = false;
	int rc = bh_store_query(host->store, &row, err, BH_COMPARTMENT_ROW, "i", (int64_t)id);

	if (!rc && (rc = bh_statement_step(row, err)) == 1)
		rc = host->platform->ops->compartment_create(host->platform, id,
		                                             bh_statement_text(row, BH_COMPARTMENT_ADOPT), err);
	rc = rc ? rc : host->platform->ops->compartment_cookie(host->platform, id, NULL, &cookie, err);
	if (!rc)
		known = (uint64_t)bh_statement_int(row, BH_COMPARTMENT_COOKIE) == cookie;
	bh_statement_close(&row);
	if (rc)
		return rc;
	/* To write what is there would write its index too. */
	return known ? bh_store_run(host->store, err, "UPDATE compartments SET status = 'ready' WHERE id = ?", "i",
	                            (int64_t)id)
	             : bh_store_run(host->store, err, "UPDATE compartments SET status = 'ready', cookie = ? WHERE id = ?",
	                            "ii", (int64_t)cookie, (int64_t)id);
}

int bh_realize_compile(struct bh_host *host, uint32_t id, struct bh_table **out,
                       struct bh_error *err)
{
	struct bh_ruleset *ruleset = NULL;
	int64_t network = 0;
	int rc;

	if (id)
		network = bh_store_number(host->store, 0, "SELECT network FROM tables WHERE id = ? AND status = 'creating'",
		                          "i", (int64_t)id);
	if (!network)
		return 0;
	rc = bh_rules_load(host, id, (uint32_t)network, &ruleset, err);
	if (!rc)
		rc = bh_table_compile(out, ruleset, TABLE_BYTES_MAX, err);
	bh_ruleset_free(&ruleset);
	return rc;
}

/* The next endpoint of this change finds the tables published. */
static int mark_published(struct bh_host *host, uint32_t id, struct bh_error *err)
{
	return bh_store_run(host->store, err, "UPDATE tables SET status = 'ready' WHERE id = ?", "i", (int64_t)id);
}

int bh_realize_publish(struct bh_host *host, uint32_t id, struct bh_error *err)
{
	struct bh_table *table = NULL;
	int rc = bh_realize_compile(host, id, &table, err);

	if (!rc && table)
		rc = host->platform->ops->table_publish(host->platform, id, table, err);
	bh_table_free(&table);
	return rc ? rc : mark_published(host, id, err);
}

/* With those of its tables that are not published yet. */
static int create_endpoint(struct bh_host *host, uint32_t id, struct bh_error *err)
{
	struct bh_table *tables[2] = {NULL, NULL};
	struct bh_endpoint_row row;
	int rc = bh_endpoint_load(host, id, &row, err);

	for (int i = 0; !rc && i < 2; i++)
		rc = bh_realize_compile(host, row.conf.tables[i].id, &tables[i], err);
	if (!rc) {
		struct bh_gate gate = {.conf = row.conf, .tables = {tables[0], tables[1]}};

		rc = host->platform->ops->nic_create(host->platform, &row.nic, &gate, err);
	}
	for (int i = 0; i < 2; i++) {
		if (!rc && tables[i])
			rc = mark_published(host, row.conf.tables[i].id, err);
		bh_table_free(&tables[i]);
	}
	rc = rc ? rc : bh_publish_make(host, &row, err);
	return rc ? rc : bh_store_run(host->store, err, "UPDATE endpoints SET interface = ?, status = 'ready' WHERE id = ?",
	                              "si", row.nic.name, (int64_t)id);
}

/* There is nothing to make of it but what was made of its compartment and endpoint. */
static int create_container(struct bh_host *host, uint32_t seq, struct bh_error *err)
{
	return bh_store_run(host->store, err, "UPDATE containers SET status = 'ready' WHERE seq = ?", "i", (int64_t)seq);
}

static int create_pending(struct bh_host *host, const struct bh_pending *pending, struct bh_error *err)
{
	bool networks = bh_pending_any(pending, BH_PENDING_NETWORK, "creating") ||
	                bh_pending_any(pending, BH_PENDING_NETWORK, "rebuild");
	int rc = bh_pending_each(host, pending, BH_PENDING_NETWORK, "creating", create_network, err);

	rc = rc ? rc : bh_pending_each(host, pending, BH_PENDING_NETWORK, "rebuild", create_network, err);
	if (!rc && networks)
		rc = bh_realize_uplink(host, err);
	rc = rc ? rc : bh_pending_each(host, pending, BH_PENDING_COMPARTMENT, "creating", create_compartment, err);
	rc = rc ? rc : bh_pending_each(host, pending, BH_PENDING_ENDPOINT, "creating", create_endpoint, err);
	return rc ? rc : bh_pending_each(host, pending, BH_PENDING_CONTAINER, "creating", create_container, err);
}

int bh_realize_create(struct bh_host *host, struct bh_error *err)
{
	BH_AUTOPENDING struct bh_pending pending = {0};
	bool reaches = false;
	int rc;

	/* What is made is noted in the same transaction that marks it done: killed before, it is undone. */
	rc = bh_store_begin(host->store, err);
	rc = rc ? rc : bh_pending_load(host, &pending, err);
	rc = rc ? rc : create_pending(host, &pending, err);
	if (!rc)
		reaches = bh_realize_reaches(host, &pending); /* before what was is forgotten */
	rc = rc ? rc : bh_reload_realize(host, &pending, err);
	if (!rc && reaches)
		rc = bh_realize_uplink(host, err);
	rc = rc ? rc : bh_store_commit(host->store, err);
	if (rc)
		bh_store_rollback(host->store);
	return rc;
}

static int remove_endpoint(struct bh_host *host, uint32_t id, struct bh_error *err)
{
	struct bh_endpoint_row row;
	int rc = bh_endpoint_load(host, id, &row, err);

	rc = rc ? rc : bh_publish_unmake(host, &row, err);
	rc = rc ? rc : host->platform->ops->nic_remove(host->platform, &row.nic, err);
	if (!rc)
		bh_hits_forget(host, id);
	return rc;
}

static int remove_table(struct bh_host *host, uint32_t id, struct bh_error *err)
{
	return host->platform->ops->table_remove(host->platform, id, err);
}

static int remove_compartment(struct bh_host *host, uint32_t id, struct bh_error *err)
{
	return host->platform->ops->compartment_remove(host->platform, id, err);
}

static int remove_network(struct bh_host *host, uint32_t id, struct bh_error *err)
{
	return host->platform->ops->switch_remove(host->platform, id, err);
}

static int forget_compartment(struct bh_host *host, uint32_t id, struct bh_error *err)
{
	return bh_store_run(host->store, err, "DELETE FROM compartments WHERE id = ?", "i", (int64_t)id);
}

/* Marks what was half made, so that one walk takes away both. */
static int condemn(struct bh_host *host, struct bh_error *err)
{
	static const char *const statements[] = {
		"UPDATE compartments SET status = 'removing' WHERE status = 'creating' AND id IN"
		" (SELECT compartment FROM containers c WHERE c.status <> 'ready')",
		"UPDATE endpoints SET status = 'removing' WHERE status <> 'ready' AND status = 'creating'",
		"UPDATE containers SET status = 'removing' WHERE status <> 'ready' AND status = 'creating'",
		"UPDATE networks SET status = 'removing' WHERE status = 'creating'",
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < sizeof(statements) / sizeof(statements[0]); i++)
		rc = bh_store_run(host->store, err, statements[i], "");
	return rc;
}

/* Of whatever kind. */
static bool any(const struct bh_pending *pending, const char *status)
{
	for (enum bh_pending_kind kind = BH_PENDING_NETWORK; kind <= BH_PENDING_ENDPOINT; kind++)
		if (bh_pending_any(pending, kind, status))
			return true;
	return false;
}

#define UNUSED_TABLES                                                                                \
	"FROM tables WHERE id IN (SELECT id FROM loose)"                                              \
	" AND NOT EXISTS (SELECT 1 FROM endpoints e WHERE e.shared = tables.id)"                      \
	" AND NOT EXISTS (SELECT 1 FROM endpoints e WHERE e.id = tables.endpoint AND e.own = tables.id)" \
	" AND NOT EXISTS (SELECT 1 FROM before b WHERE tables.id IN (b.shared, b.own))"

void bh_tables_collect(struct bh_host *host)
{
	struct bh_error err;
	int rc;

	if (!bh_store_number(host->store, 0, "SELECT EXISTS(SELECT 1 FROM loose)", ""))
		return;
	rc = bh_store_begin(host->store, &err);
	rc = rc ? rc : bh_realize_each(host, "SELECT id " UNUSED_TABLES, remove_table, &err);
	rc = rc ? rc : bh_past_keep(host, UNUSED_TABLES, &err);
	rc = rc ? rc : bh_store_run(host->store, &err, "DELETE " UNUSED_TABLES, "");
	rc = rc ? rc : bh_store_run(host->store, &err, "DELETE FROM loose", "");
	rc = rc ? rc : bh_store_commit(host->store, &err);
	if (rc) {
		bh_store_rollback(host->store);
		bh_log(BH_LOG_WARNING, "tables that nothing uses stay until the next change: %s", err.message);
	}
}

/* Endpoints that are the first on a `nat` network once those that are `removing` are gone. */
#define HEIRS                                                                                    \
	"SELECT h.id FROM endpoints h JOIN networks n ON n.id = h.network WHERE h.container IN"      \
	" (SELECT container FROM endpoints WHERE " REMOVING ") AND n.driver = 'nat'"                 \
	" AND +h.status IN ('ready', 'changing')"                                                    \
	" AND EXISTS (SELECT 1 FROM published p WHERE p.container = h.container)"                    \
	" AND EXISTS (SELECT 1 FROM endpoints o JOIN networks m ON m.id = o.network WHERE o.id < h.id" \
	"  AND o.container = h.container AND m.driver = 'nat' AND o.status = 'removing')"            \
	" AND NOT EXISTS (SELECT 1 FROM endpoints o JOIN networks m ON m.id = o.network WHERE o.id < h.id" \
	"  AND o.container = h.container AND m.driver = 'nat' AND o.status <> 'removing')"

/* A container's published ports move on. What cannot (an address of a family that is gone) ends. */
static void inherit(struct bh_host *host, const uint32_t *heirs, size_t count)
{
	struct bh_endpoint_row row;
	struct bh_error err;

	for (size_t i = 0; i < count; i++)
		if (bh_endpoint_load(host, heirs[i], &row, &err) ||
		    (bh_publish_check(host, &row, &err) | bh_publish_make(host, &row, &err)))
			bh_log(BH_LOG_WARNING, "published ports end with the network they were on: %s", err.message);
}

int bh_realize_remove(struct bh_host *host, bool half_made_too, struct bh_error *err)
{
	static const char *const done[] = {
		"INSERT OR REPLACE INTO past_policies SELECT id, generation, container, origin_in, origin_out"
		" FROM endpoints WHERE " REMOVING,
		"INSERT OR IGNORE INTO loose SELECT shared FROM endpoints WHERE " REMOVING " AND shared IS NOT NULL"
		" UNION SELECT own FROM endpoints WHERE " REMOVING " AND own IS NOT NULL"
		" UNION SELECT shared FROM before WHERE shared IS NOT NULL UNION SELECT own FROM before WHERE own IS NOT NULL",
		"DELETE FROM endpoints WHERE " REMOVING,
		"DELETE FROM containers WHERE " REMOVING,
		"DELETE FROM networks WHERE status = 'removing'",
	};
	BH_AUTOPENDING struct bh_pending pending = {0};
	BH_AUTOFREE uint32_t *heirs = NULL;
	size_t heirs_count = 0;
	int rc = bh_pending_load(host, &pending, err);
	bool half_made = half_made_too && any(&pending, "creating");

	if (rc || (!half_made && !any(&pending, "removing")))
		return rc;
	rc = bh_store_begin(host->store, err);
	if (half_made) {
		rc = rc ? rc : condemn(host, err);
		rc = rc ? rc : bh_pending_load(host, &pending, err);
	}
	rc = rc ? rc : collect(host, HEIRS, &heirs, &heirs_count, err);
	rc = rc ? rc : bh_pending_each(host, &pending, BH_PENDING_ENDPOINT, "removing", remove_endpoint, err);
	rc = rc ? rc : bh_pending_each(host, &pending, BH_PENDING_COMPARTMENT, "removing", remove_compartment, err);
	rc = rc ? rc : bh_pending_each(host, &pending, BH_PENDING_NETWORK, "removing", remove_network, err);
	if (!rc && (bh_pending_any(&pending, BH_PENDING_NETWORK, "removing") || bh_pending_reaches(&pending, "removing")))
		rc = bh_realize_uplink(host, err);
	for (size_t i = 0; !rc && i < sizeof(done) / sizeof(done[0]); i++)
		rc = bh_store_run(host->store, err, done[i], "");
	rc = rc ? rc : bh_pending_each(host, &pending, BH_PENDING_COMPARTMENT, "removing", forget_compartment, err);
	if (!rc)
		inherit(host, heirs, heirs_count);
	rc = rc ? rc : bh_store_commit(host->store, err);
	if (rc)
		bh_store_rollback(host->store);
	return rc;
}

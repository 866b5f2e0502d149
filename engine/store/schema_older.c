/*
 * schema_older.c - brings a store that an earlier version wrote up to date.
 *
 * Versions 1 to 5 grew one out of the other, by the steps below. Version 6 was made anew: the tables of
 * version 5 are set aside under other names, those of schema.c are made, and what was in the old ones is
 * put into them.
 */
#include <stdio.h>
#include <string.h>

#include "schema.h"

static const char *const steps[] = {
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
	"CREATE TABLE networks (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
	" driver TEXT NOT NULL, mtu INTEGER NOT NULL, dns TEXT NOT NULL, reach TEXT NOT NULL,"
	" status TEXT NOT NULL)",
	"CREATE TABLE subnets (network INTEGER NOT NULL REFERENCES networks ON DELETE CASCADE,"
	" prefix TEXT NOT NULL, gateway TEXT NOT NULL, last TEXT NOT NULL)",
	"CREATE TABLE compartments (id INTEGER PRIMARY KEY AUTOINCREMENT, guid TEXT NOT NULL UNIQUE,"
	" description TEXT NOT NULL, type TEXT NOT NULL, adopt TEXT, cookie INTEGER, status TEXT NOT NULL)",
	"CREATE TABLE containers (id TEXT PRIMARY KEY, seq INTEGER NOT NULL, name TEXT NOT NULL,"
	" type TEXT NOT NULL, compartment INTEGER NOT NULL REFERENCES compartments,"
	" policies TEXT NOT NULL, policy TEXT NOT NULL, status TEXT NOT NULL)",
	"CREATE TABLE properties (container TEXT NOT NULL REFERENCES containers ON DELETE CASCADE,"
	" kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL)",
	"CREATE TABLE published (container TEXT NOT NULL REFERENCES containers ON DELETE CASCADE,"
	" address TEXT, host INTEGER NOT NULL, port INTEGER NOT NULL, protocol TEXT NOT NULL)",
	"CREATE TABLE tables (id INTEGER PRIMARY KEY AUTOINCREMENT, hash TEXT NOT NULL UNIQUE,"
	" network INTEGER NOT NULL, blocks_in INTEGER NOT NULL, blocks_out INTEGER NOT NULL,"
	" status TEXT NOT NULL)",
	"CREATE TABLE rules (id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" tbl INTEGER NOT NULL REFERENCES tables ON DELETE CASCADE, action TEXT NOT NULL,"
	" direction TEXT NOT NULL, protocol TEXT, local TEXT, local_port TEXT, remote TEXT,"
	" remote_port TEXT, icmp TEXT, priority TEXT, name TEXT, log TEXT, audit TEXT, origin TEXT)",
	"CREATE TABLE endpoints (id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" container TEXT NOT NULL REFERENCES containers, network INTEGER NOT NULL REFERENCES networks,"
	" compartment INTEGER NOT NULL REFERENCES compartments, kind TEXT NOT NULL, mac TEXT NOT NULL,"
	" interface TEXT NOT NULL, ipv6 INTEGER NOT NULL, shared INTEGER REFERENCES tables,"
	" own INTEGER REFERENCES tables, flags INTEGER NOT NULL, timeouts TEXT NOT NULL,"
	" flows INTEGER NOT NULL, origin_in TEXT NOT NULL, origin_out TEXT NOT NULL,"
	" generation INTEGER NOT NULL, status TEXT NOT NULL)",
	"CREATE TABLE addresses (endpoint INTEGER NOT NULL REFERENCES endpoints ON DELETE CASCADE,"
	" network INTEGER NOT NULL, address TEXT NOT NULL, length INTEGER NOT NULL,"
	" PRIMARY KEY (network, address)) WITHOUT ROWID",
	"CREATE INDEX rules_tbl ON rules(tbl)",
	"CREATE INDEX addresses_endpoint ON addresses(endpoint)",
	"CREATE INDEX endpoints_container ON endpoints(container)",
	"CREATE INDEX endpoints_shared ON endpoints(shared)",
	"CREATE INDEX endpoints_own ON endpoints(own)",
	"CREATE INDEX properties_container ON properties(container)",
	"CREATE INDEX published_container ON published(container)",
	"CREATE INDEX endpoints_status ON endpoints(status) WHERE status <> 'ready'",
	"CREATE INDEX containers_status ON containers(status) WHERE status <> 'ready'",
	"CREATE INDEX compartments_status ON compartments(status) WHERE status <> 'ready'",
	"PRAGMA user_version = 1",
	/* Version 2. `owner` is who takes a container away: hook, cni or hand; `netns` where a runtime said
	 * its namespace is; `attachment` the name of the CNI configuration that asked for an endpoint. The
	 * phase is what handlers were last told of an endpoint, or of a container that has none of its own:
	 * attached, started, stopped. `before` keeps what an endpoint that is `changing` had; `past_` tables
	 * what flows and records of drops may still name. */
	"ALTER TABLE containers ADD COLUMN owner TEXT NOT NULL DEFAULT 'hand'",
	"ALTER TABLE containers ADD COLUMN netns TEXT",
	"ALTER TABLE containers ADD COLUMN phase TEXT NOT NULL DEFAULT 'started'",
	"ALTER TABLE endpoints ADD COLUMN attachment TEXT NOT NULL DEFAULT ''",
	"ALTER TABLE endpoints ADD COLUMN phase TEXT NOT NULL DEFAULT 'started'",
	"CREATE TABLE before (endpoint INTEGER PRIMARY KEY REFERENCES endpoints ON DELETE CASCADE,"
	" shared INTEGER, own INTEGER, flags INTEGER, timeouts TEXT, flows INTEGER, origin_in TEXT,"
	" origin_out TEXT, generation INTEGER, policies TEXT)",
	"CREATE TABLE past_policies (endpoint INTEGER NOT NULL, generation INTEGER NOT NULL,"
	" container TEXT NOT NULL, origin_in TEXT NOT NULL, origin_out TEXT NOT NULL,"
	" PRIMARY KEY (endpoint, generation))",
	"CREATE TABLE past_rules (id INTEGER PRIMARY KEY, name TEXT, origin TEXT)",
	"CREATE INDEX published_host ON published(host)",
	"CREATE INDEX endpoints_compartment ON endpoints(compartment)",
	"PRAGMA user_version = 2",
	/* Version 3: a change asks about as much with a thousand endpoints as with one. */
	"CREATE INDEX IF NOT EXISTS endpoints_network ON endpoints(network, mac)",
	"CREATE INDEX IF NOT EXISTS containers_seq ON containers(seq)",
	"CREATE INDEX IF NOT EXISTS containers_compartment ON containers(compartment)",
	"CREATE INDEX IF NOT EXISTS compartments_cookie ON compartments(cookie)",
	"DROP INDEX IF EXISTS endpoints_status",
	"DROP INDEX IF EXISTS containers_status",
	"DROP INDEX IF EXISTS compartments_status",
	"CREATE INDEX endpoints_status ON endpoints(status)",
	"CREATE INDEX containers_status ON containers(status)",
	"CREATE INDEX compartments_status ON compartments(status)",
	"CREATE INDEX IF NOT EXISTS tables_status ON tables(status)",
	/* Tables that somebody let go of: only these are looked at for whether anybody has them. */
	"CREATE TABLE loose (id INTEGER PRIMARY KEY)",
	"INSERT INTO loose SELECT id FROM tables",
	"CREATE TRIGGER endpoints_gone AFTER DELETE ON endpoints BEGIN INSERT OR IGNORE INTO loose"
	" SELECT OLD.shared WHERE OLD.shared IS NOT NULL UNION SELECT OLD.own WHERE OLD.own IS NOT NULL; END",
	"CREATE TRIGGER endpoints_changed AFTER UPDATE OF shared, own ON endpoints BEGIN INSERT OR IGNORE INTO loose"
	" SELECT OLD.shared WHERE OLD.shared IS NOT NULL UNION SELECT OLD.own WHERE OLD.own IS NOT NULL; END",
	"CREATE TRIGGER before_gone AFTER DELETE ON before BEGIN INSERT OR IGNORE INTO loose"
	" SELECT OLD.shared WHERE OLD.shared IS NOT NULL UNION SELECT OLD.own WHERE OLD.own IS NOT NULL; END",
	"ALTER TABLE tables DROP COLUMN blocks_in",
	"ALTER TABLE tables DROP COLUMN blocks_out",
	/* Containers that a reboot took, until their handlers have been told. */
	"CREATE TABLE lost (id TEXT PRIMARY KEY, seq INTEGER, name TEXT, type TEXT, policies TEXT, policy TEXT,"
	" phase TEXT)",
	"CREATE TABLE lost_properties (container TEXT NOT NULL REFERENCES lost ON DELETE CASCADE, kind TEXT,"
	" key TEXT, value TEXT)",
	"CREATE TABLE lost_published (container TEXT NOT NULL REFERENCES lost ON DELETE CASCADE, address TEXT,"
	" host INTEGER, port INTEGER, protocol TEXT)",
	"CREATE TABLE lost_endpoints (id INTEGER, container TEXT NOT NULL REFERENCES lost ON DELETE CASCADE,"
	" holder TEXT, network TEXT, driver TEXT, mac TEXT, address TEXT, phase TEXT)",
	"PRAGMA user_version = 3",
	/* Version 4. `reach`: networks that an endpoint's policy lets its own reach, beside the network's. */
	"ALTER TABLE endpoints ADD COLUMN reach TEXT NOT NULL DEFAULT ''",
	"ALTER TABLE before ADD COLUMN reach TEXT",
	"PRAGMA user_version = 4",
	/* Version 5: a table that an endpoint keeps is not let go of. */
	"DROP TRIGGER endpoints_changed",
	"CREATE TRIGGER endpoints_changed AFTER UPDATE OF shared, own ON endpoints BEGIN INSERT OR IGNORE INTO loose"
	" SELECT OLD.shared WHERE OLD.shared IS NOT NULL AND OLD.shared IS NOT NEW.shared"
	" UNION SELECT OLD.own WHERE OLD.own IS NOT NULL AND OLD.own IS NOT NEW.own; END",
	"PRAGMA user_version = 5",
};

/* The first step that a schema of this version lacks. */
static size_t first_missing(int64_t version)
{
	size_t i = 0;

	while (version && i < sizeof(steps) / sizeof(steps[0]))
		if (!strncmp(steps[i++], "PRAGMA", 6))
			version--;
	return i;
}

/* The tables of version 5, each after those that it refers to. */
static const char *const tables[] = {
	"meta", "networks", "subnets", "compartments", "containers", "properties", "published", "tables", "rules",
	"endpoints", "addresses", "before", "past_policies", "past_rules", "loose", "lost", "lost_properties",
	"lost_published", "lost_endpoints",
};

#define TABLES (sizeof(tables) / sizeof(tables[0]))

static const char *const copies[] = {
	"INSERT INTO meta SELECT key, value FROM old_meta",
	"INSERT INTO networks SELECT id, name, driver, mtu, dns, reach, status FROM old_networks",
	"INSERT INTO subnets SELECT network, prefix, gateway, last FROM old_subnets ORDER BY rowid",
	"INSERT OR REPLACE INTO compartments SELECT id, guid, description, type, adopt, cookie, status"
	" FROM old_compartments",
	"INSERT INTO containers SELECT NULL, id, name, type, compartment, policies, policy, owner, netns, phase, status"
	" FROM old_containers ORDER BY seq, rowid",
	"INSERT OR IGNORE INTO properties SELECT container, kind, key, value FROM old_properties",
	"INSERT INTO published SELECT container, rowid, address, host, port, protocol FROM old_published",
	/* A table of one endpoint had a name, not a hash. */
	"INSERT INTO tables SELECT id, iif(hash LIKE 'endpoint %', NULL, hash), network, NULL, status FROM old_tables",
	"UPDATE tables SET endpoint = b.endpoint FROM old_before b WHERE b.own = tables.id",
	"UPDATE tables SET endpoint = e.id FROM old_endpoints e WHERE e.own = tables.id",
	"INSERT INTO rules SELECT id, tbl, action, direction, protocol, local, local_port, remote, remote_port, icmp,"
	" priority, name, log, audit, origin FROM old_rules",
	"INSERT INTO endpoints SELECT id, container, network, compartment, kind, mac, interface, ipv6, shared, own,"
	" flags, timeouts, flows, origin_in, origin_out, reach, generation, attachment, phase, status"
	" FROM old_endpoints",
	"INSERT INTO addresses SELECT endpoint, network, address, length FROM old_addresses",
	"INSERT INTO before SELECT endpoint, shared, own, flags, timeouts, flows, origin_in, origin_out, generation,"
	" policies, reach FROM old_before",
	"INSERT INTO past_policies SELECT endpoint, generation, container, origin_in, origin_out FROM old_past_policies"
	" ORDER BY rowid",
	"INSERT INTO past_rules SELECT id, name, origin FROM old_past_rules",
	"INSERT INTO loose SELECT id FROM old_loose",
	"INSERT INTO lost SELECT id, seq, name, type, policies, policy, phase,"
	" (SELECT json_group_array(json_array(kind, key, value)) FROM old_lost_properties p WHERE p.container = l.id),"
	" (SELECT json_group_array(json_array(address, host, port, protocol)) FROM old_lost_published p"
	"  WHERE p.container = l.id),"
	" (SELECT json_group_array(json_array(e.id, holder, network, driver, mac, address, e.phase))"
	"  FROM old_lost_endpoints e WHERE e.container = l.id) FROM old_lost l",
	/* Ids that were given out are not given out again. */
	"DELETE FROM sqlite_sequence WHERE name NOT LIKE 'old_%'",
	"UPDATE sqlite_sequence SET name = substr(name, 5)",
};

/* Nothing of the old schema may have a name of the new one. */
static int drop_named(struct bh_store *store, const char *type, struct bh_error *err)
{
	char name[80], sql[120];
	int rc = 0;

	while (!rc) {
		BH_AUTOSTATEMENT struct bh_statement *row = NULL;

		rc = bh_store_query(store, &row, err, "SELECT name FROM sqlite_master WHERE type = ? AND sql IS NOT NULL",
		                    "s", type);
		rc = rc ? rc : bh_statement_step(row, err);
		if (rc <= 0)
			return rc;
		snprintf(name, sizeof(name), "%s", bh_statement_text(row, 0));
		bh_statement_close(&row);
		snprintf(sql, sizeof(sql), "DROP %s \"%s\"", type, name);
		rc = bh_store_run(store, err, sql, "");
	}
	return rc;
}

int bh_schema_renew(struct bh_store *store, int64_t version, struct bh_error *err)
{
	char sql[120];
	int rc = 0;

	for (size_t i = first_missing(version); !rc && i < sizeof(steps) / sizeof(steps[0]); i++)
		rc = bh_store_run(store, err, steps[i], "");
	rc = rc ? rc : drop_named(store, "trigger", err);
	rc = rc ? rc : drop_named(store, "index", err);
	for (size_t i = 0; !rc && i < TABLES; i++) {
		snprintf(sql, sizeof(sql), "ALTER TABLE %s RENAME TO old_%s", tables[i], tables[i]);
		rc = bh_store_run(store, err, sql, "");
	}
	rc = rc ? rc : bh_schema_make(store, err);
	for (size_t i = 0; !rc && i < sizeof(copies) / sizeof(copies[0]); i++)
		rc = bh_store_run(store, err, copies[i], "");
	for (size_t i = TABLES; !rc && i-- > 0;) {
		snprintf(sql, sizeof(sql), "DROP TABLE old_%s", tables[i]);
		rc = bh_store_run(store, err, sql, "");
	}
	return rc;
}

/*
 * schema.c - the tables of a state.
 *
 * `status` is the intent that makes changes safe: a row is `creating` before the kernel is touched
 * for it and `ready` after; `removing` before what it names is taken away, and then it is deleted.
 * `changing` is an endpoint whose gate is to be replaced; `rebuild` a network whose kernel objects a
 * reboot took. `before` is what a `changing` endpoint had; `past_*` what records of drops still name
 * and is gone. Ids are never reused (AUTOINCREMENT).
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "store.h"

static const char *const statements[] = {
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

/* The first statement that a schema of this version lacks. */
static size_t first_missing(int64_t version)
{
	size_t i = 0;

	while (version && i < sizeof(statements) / sizeof(statements[0]))
		if (!strncmp(statements[i++], "PRAGMA", 6))
			version--;
	return i;
}

int bh_schema_check(struct bh_store *store, struct bh_error *err)
{
	int64_t version = bh_store_number(store, 0, "PRAGMA user_version", "");

	if (!version)
		return bh_error_set(err, -ENOENT, "the store is empty");
	if (version < BH_STORE_VERSION)
		return bh_error_set(err, -EPROTO,
		                    "the store was written by an earlier version of bulkhead; `bulkhead reconcile` brings it up to date");
	return version > BH_STORE_VERSION ? bh_schema_apply(store, err) : 0;
}

int bh_schema_apply(struct bh_store *store, struct bh_error *err)
{
	int64_t version = bh_store_number(store, 0, "PRAGMA user_version", "");
	int rc;

	if (version == BH_STORE_VERSION)
		return 0;
	if (version > BH_STORE_VERSION)
		return bh_error_set(err, -EPROTO,
		                    "the store was written by a later version of bulkhead (schema %lld, this one knows %d); use that one, or `bulkhead reset` to begin anew",
		                    (long long)version, BH_STORE_VERSION);
	rc = bh_store_begin(store, err);
	if (rc)
		return rc;
	/* Once more: another process may have been first. */
	version = bh_store_number(store, 0, "PRAGMA user_version", "");
	for (size_t i = first_missing(version); !rc && i < sizeof(statements) / sizeof(statements[0]); i++)
		rc = bh_store_run(store, err, statements[i], "");
	if (!rc)
		rc = bh_store_commit(store, err);
	if (rc)
		bh_store_rollback(store);
	return rc;
}

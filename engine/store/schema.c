/*
 * schema.c - the tables of a state.
 *
 * `status` is the intent that makes changes safe: a row is `creating` before the kernel is touched
 * for it and `ready` after; `removing` before what it names is taken away, and then it is deleted.
 * `changing` is an endpoint whose gate is to be replaced; `rebuild` a network whose kernel objects a
 * reboot took. Ids are never reused (AUTOINCREMENT).
 *
 * Whoever opens the store reads all of the schema, and a change writes a page for each index of what it
 * touches: one is here only if something would otherwise take longer with each container there is. Those
 * on `status` have only rows that are not `ready`, for questions that say `status <> 'ready'` too.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>

#include "schema.h"

static const char *const statements[] = {
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
	"CREATE TABLE networks (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
	" driver TEXT NOT NULL, mtu INTEGER NOT NULL, dns TEXT NOT NULL, reach TEXT NOT NULL,"
	" status TEXT NOT NULL)",
	"CREATE TABLE subnets (network INTEGER NOT NULL REFERENCES networks ON DELETE CASCADE,"
	" prefix TEXT NOT NULL, gateway TEXT NOT NULL, last TEXT NOT NULL)",
	/* One that is not `ready` has a container that is not. */
	"CREATE TABLE compartments (id INTEGER PRIMARY KEY AUTOINCREMENT, guid TEXT NOT NULL,"
	" description TEXT NOT NULL, type TEXT NOT NULL, adopt TEXT, cookie INTEGER, status TEXT NOT NULL)",
	"CREATE INDEX compartments_cookie ON compartments(cookie)",
	/* `owner` is who takes it away: hook, cni or hand; `netns` where a runtime said its namespace is. The
	 * phase is what handlers were last told of an endpoint, or of a container that has none of its own:
	 * attached, started, stopped. */
	"CREATE TABLE containers (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,"
	" type TEXT NOT NULL, compartment INTEGER NOT NULL REFERENCES compartments, policies TEXT NOT NULL,"
	" policy TEXT NOT NULL, owner TEXT NOT NULL, netns TEXT, phase TEXT NOT NULL, status TEXT NOT NULL)",
	"CREATE INDEX containers_compartment ON containers(compartment)",
	"CREATE INDEX containers_status ON containers(status) WHERE status <> 'ready'",
	"CREATE TABLE properties (container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,"
	" kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (container, kind, key)) WITHOUT ROWID",
	"CREATE TABLE published (container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,"
	" n INTEGER NOT NULL, address TEXT, host INTEGER NOT NULL, port INTEGER NOT NULL, protocol TEXT NOT NULL,"
	" PRIMARY KEY (container, n)) WITHOUT ROWID",
	"CREATE INDEX published_host ON published(host)",
	/* Lists of rules, by hash where many endpoints may have one; or of one endpoint alone. */
	"CREATE TABLE tables (id INTEGER PRIMARY KEY AUTOINCREMENT, hash TEXT, network INTEGER NOT NULL,"
	" endpoint INTEGER, status TEXT NOT NULL)",
	"CREATE UNIQUE INDEX tables_hash ON tables(hash) WHERE hash IS NOT NULL",
	"CREATE TABLE rules (id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" tbl INTEGER NOT NULL REFERENCES tables ON DELETE CASCADE, action TEXT NOT NULL,"
	" direction TEXT NOT NULL, protocol TEXT, local TEXT, local_port TEXT, remote TEXT,"
	" remote_port TEXT, icmp TEXT, priority TEXT, name TEXT, log TEXT, audit TEXT, origin TEXT)",
	"CREATE INDEX rules_tbl ON rules(tbl)",
	/* `reach`: networks that its policy lets its network reach, beside those that the network names;
	 * `attachment` the name of the CNI configuration that asked for it. */
	"CREATE TABLE endpoints (id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" container TEXT NOT NULL REFERENCES containers(id), network INTEGER NOT NULL REFERENCES networks,"
	" compartment INTEGER NOT NULL, kind TEXT NOT NULL, mac TEXT NOT NULL, interface TEXT NOT NULL,"
	" ipv6 INTEGER NOT NULL, shared INTEGER, own INTEGER, flags INTEGER NOT NULL, timeouts TEXT NOT NULL,"
	" flows INTEGER NOT NULL, origin_in TEXT NOT NULL, origin_out TEXT NOT NULL, reach TEXT NOT NULL,"
	" generation INTEGER NOT NULL, attachment TEXT NOT NULL, phase TEXT NOT NULL, status TEXT NOT NULL)",
	"CREATE INDEX endpoints_container ON endpoints(container)",
	"CREATE INDEX endpoints_network ON endpoints(network, mac)",
	"CREATE INDEX endpoints_reach ON endpoints(network, reach) WHERE reach <> ''",
	"CREATE INDEX endpoints_compartment ON endpoints(compartment)",
	"CREATE INDEX endpoints_shared ON endpoints(shared)",
	"CREATE INDEX endpoints_status ON endpoints(status) WHERE status <> 'ready'",
	"CREATE TABLE addresses (endpoint INTEGER NOT NULL REFERENCES endpoints ON DELETE CASCADE,"
	" network INTEGER NOT NULL, address TEXT NOT NULL, length INTEGER NOT NULL,"
	" PRIMARY KEY (network, address)) WITHOUT ROWID",
	"CREATE INDEX addresses_endpoint ON addresses(endpoint)",
	/* What a `changing` endpoint had. */
	"CREATE TABLE before (endpoint INTEGER PRIMARY KEY REFERENCES endpoints ON DELETE CASCADE,"
	" shared INTEGER, own INTEGER, flags INTEGER, timeouts TEXT, flows INTEGER, origin_in TEXT,"
	" origin_out TEXT, generation INTEGER, policies TEXT, reach TEXT)",
	/* What flows and records of drops may still name and is gone. */
	"CREATE TABLE past_policies (endpoint INTEGER NOT NULL, generation INTEGER NOT NULL,"
	" container TEXT NOT NULL, origin_in TEXT NOT NULL, origin_out TEXT NOT NULL,"
	" PRIMARY KEY (endpoint, generation))",
	"CREATE TABLE past_rules (id INTEGER PRIMARY KEY, name TEXT, origin TEXT)",
	/* Tables that somebody let go of: only these are looked at for whether anybody has them. */
	"CREATE TABLE loose (id INTEGER PRIMARY KEY)",
	/* Containers that a reboot took, until their handlers have been told: lists of lists, as JSON. */
	"CREATE TABLE lost (id TEXT PRIMARY KEY, seq INTEGER, name TEXT, type TEXT, policies TEXT, policy TEXT,"
	" phase TEXT, properties TEXT, published TEXT, endpoints TEXT) WITHOUT ROWID",
	/* The default compartment is there from the start; {xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx}. */
	"INSERT INTO compartments(id, guid, description, type, status) SELECT 1, '{' || substr(r, 1, 8) || '-'"
	" || substr(r, 9, 4) || '-4' || substr(r, 13, 3) || '-8' || substr(r, 16, 3) || '-' || substr(r, 19, 12) || '}',"
	" 'Default Compartment', 'default', 'ready' FROM (SELECT lower(hex(randomblob(16))) AS r)",
};

int bh_schema_make(struct bh_store *store, struct bh_error *err)
{
	char sql[40];
	int rc = 0;

	for (size_t i = 0; !rc && i < sizeof(statements) / sizeof(statements[0]); i++)
		rc = bh_store_run(store, err, statements[i], "");
	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", BH_STORE_VERSION);
	return rc ? rc : bh_store_run(store, err, sql, "");
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
	if (!version) {
		rc = bh_schema_make(store, err);
		rc = rc ? rc : bh_store_begun(store, err);
	} else if (version < BH_STORE_VERSION)
		rc = bh_schema_renew(store, version, err);
	rc = rc ? rc : bh_store_commit(store, err);
	if (rc)
		bh_store_rollback(store);
	else if (!version) /* the database's file, too, has its room from the start */
		bh_store_run(store, NULL, "PRAGMA wal_checkpoint(PASSIVE)", "");
	return rc;
}

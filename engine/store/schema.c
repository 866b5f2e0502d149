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
	"CREATE TABLE before (endpoint INTEGER PRIMARY KEY REFERENCES endpoints ON DELETE CASCADE,"
	" shared INTEGER, own INTEGER, flags INTEGER, timeouts TEXT, flows INTEGER, origin_in TEXT,"
	" origin_out TEXT, generation INTEGER, policies TEXT)",
	"CREATE TABLE past_policies (endpoint INTEGER NOT NULL, generation INTEGER NOT NULL,"
	" container TEXT NOT NULL, origin_in TEXT NOT NULL, origin_out TEXT NOT NULL,"
	" PRIMARY KEY (endpoint, generation))",
	"CREATE TABLE past_rules (id INTEGER PRIMARY KEY, name TEXT, origin TEXT)",
	"CREATE INDEX rules_tbl ON rules(tbl)",
	"CREATE INDEX addresses_endpoint ON addresses(endpoint)",
	"CREATE INDEX endpoints_container ON endpoints(container)",
	"CREATE INDEX endpoints_shared ON endpoints(shared)",
	"CREATE INDEX endpoints_own ON endpoints(own)",
	"CREATE INDEX properties_container ON properties(container)",
	"CREATE INDEX published_container ON published(container)",
	"CREATE INDEX published_host ON published(host)",
	"CREATE INDEX endpoints_status ON endpoints(status) WHERE status <> 'ready'",
	"CREATE INDEX containers_status ON containers(status) WHERE status <> 'ready'",
	"CREATE INDEX compartments_status ON compartments(status) WHERE status <> 'ready'",
};

int bh_schema_apply(struct bh_store *store, struct bh_error *err)
{
	int64_t version = bh_store_number(store, 0, "PRAGMA user_version", "");
	int rc;

	if (version == BH_STORE_VERSION)
		return 0;
	if (version > BH_STORE_VERSION)
		return bh_error_set(err, -EPROTO,
		                    "the store was written by a later version of bulkhead (schema %lld, this one knows %d)",
		                    (long long)version, BH_STORE_VERSION);
	rc = bh_store_begin(store, err);
	if (rc)
		return rc;
	if (bh_store_number(store, 0, "PRAGMA user_version", "") == BH_STORE_VERSION) {
		bh_store_rollback(store); /* another process was first */
		return 0;
	}
	for (size_t i = 0; !rc && i < sizeof(statements) / sizeof(statements[0]); i++)
		rc = bh_store_run(store, err, statements[i], "");
	if (!rc)
		rc = bh_store_run(store, err, "PRAGMA user_version = 1", "");
	if (!rc)
		rc = bh_store_commit(store, err);
	if (rc)
		bh_store_rollback(store);
	return rc;
}

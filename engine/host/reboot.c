/*
 * reboot.c - what a reboot took, and what is done about it.
 *
 * A reboot took all kernel state (so does who unmounts the switch namespace): what containers held is
 * free, networks are made again by the next change. Who the containers were is kept until their
 * handlers have been told. A store that was lost looks the same but for what is left in the kernel,
 * which nobody knows any more.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../base/cleanup.h"
#include "../base/log.h"
#include "internal.h"

static int read_boot_id(char boot[64], struct bh_error *err)
{
	BH_AUTOFILE FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!file || !fgets(boot, 64, file))
		return bh_error_errno(err, -errno, "cannot read the boot id");
	boot[strcspn(boot, "\n")] = '\0';
	return 0;
}

static int begin_anew(struct bh_host *host, const char *boot, struct bh_error *err)
{
	static const char *const statements[] = {
		/* Of those that shared another's endpoint, that one. */
		"INSERT OR REPLACE INTO lost SELECT id, seq, name, type, policies, policy, phase,"
		" (SELECT json_group_array(json_array(kind, key, value)) FROM properties p WHERE p.container = c.id),"
		" (SELECT json_group_array(json_array(address, host, port, protocol)) FROM"
		"  (SELECT * FROM published p WHERE p.container = c.id ORDER BY n)),"
		" (SELECT json_group_array(json_array(e.id, e.container, n.name, n.driver, e.mac, (SELECT address"
		"  FROM addresses a WHERE a.endpoint = e.id ORDER BY address LIKE '%:%', address LIMIT 1),"
		"  iif(e.container = c.id, e.phase, c.phase))) FROM endpoints e JOIN networks n ON n.id = e.network"
		"  WHERE e.status IN ('ready', 'changing') AND (e.container = c.id OR (e.compartment = c.compartment"
		"  AND NOT EXISTS (SELECT 1 FROM endpoints o WHERE o.container = c.id))))"
		" FROM containers c WHERE status = 'ready'",
		"DELETE FROM endpoints", "DELETE FROM containers", "DELETE FROM compartments WHERE id <> 1",
		"DELETE FROM tables", "DELETE FROM loose", "DELETE FROM networks WHERE status IN ('creating', 'removing')",
		"UPDATE networks SET status = 'rebuild'",
	};
	int rc = host->platform->ops->clear(host->platform, err);

	rc = rc ? rc : bh_store_begin(host->store, err);
	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]) && !rc; i++)
		rc = bh_store_run(host->store, err, statements[i], "");
	if (!rc)
		rc = bh_store_run(host->store, err, "INSERT OR REPLACE INTO meta VALUES ('boot', ?)", "s", boot);
	if (!rc)
		rc = bh_store_commit(host->store, err);
	if (rc)
		bh_store_rollback(host->store);
	return rc;
}

int bh_reboot_check(struct bh_host *host, struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *row = NULL;
	char boot[64] = "";
	bool same;
	int rc = read_boot_id(boot, err);

	rc = rc ? rc : bh_store_query(host->store, &row, err,
	                              "SELECT EXISTS(SELECT 1 FROM meta WHERE key = 'boot' AND value = ?),"
	                              " EXISTS(SELECT 1 FROM networks WHERE status = 'ready')", "s", boot);
	rc = rc ? rc : bh_statement_step(row, err);
	if (rc < 0)
		return rc;
	same = bh_statement_int(row, 0) != 0;
	host->networked = bh_statement_int(row, 1) != 0;
	bh_statement_close(&row);
	if (same) {
		if (!host->networked || !host->platform->ops->switches_lost(host->platform))
			return 0;
		if (!host->discard)
			bh_log(BH_LOG_WARNING, "the switches of this state are gone, as if the host had started anew");
	}
	host->networked = false;
	return begin_anew(host, boot, err);
}

int bh_container_forget_lost(struct bh_host *host, const char *id, struct bh_error *err)
{
	int rc = bh_host_require_change(host, err);

	return rc ? rc : bh_store_run(host->store, err, "DELETE FROM lost WHERE id = ?", "s", id);
}

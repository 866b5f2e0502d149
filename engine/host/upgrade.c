/*
 * upgrade.c - takes over what an earlier version's gate enforces (see gate/upgrade.h), or one whose pins
 * somebody unmounted; and puts back what somebody took off a port or a network.
 *
 * Tables and what gates enforce are made from the store anew, in this version's layout. Flows stay, if
 * their layout did; if not, connections begin anew by the rules, as after any lost flow.
 */
#include <errno.h>
#include <string.h>

#include "../base/log.h"
#include "internal.h"

static int renew(struct bh_host *host, uint32_t id, struct bh_error *err)
{
	struct bh_conf conf;
	int rc = bh_endpoint_conf(host, id, &conf, err);

	return rc ? rc : host->platform->ops->gate_renew(host->platform, &conf, err);
}

static int take_over(struct bh_host *host, struct bh_error *err)
{
	int rc = bh_store_run(host->store, err,
	                      "UPDATE tables SET status = 'creating' WHERE id IN"
	                      " (SELECT shared FROM endpoints UNION SELECT own FROM endpoints"
	                      " UNION SELECT shared FROM before UNION SELECT own FROM before)", "");

	rc = rc ? rc : bh_realize_each(host, "SELECT id FROM tables WHERE status = 'creating'", bh_realize_publish,
	                               err);
	rc = rc ? rc : bh_realize_each(host, "SELECT id FROM endpoints", renew, err);
	return rc ? rc : host->platform->ops->gate_retire(host->platform, err);
}

int bh_upgrade_check(struct bh_host *host, struct bh_error *err)
{
	int rc = host->platform->ops->gate_outdated ? host->platform->ops->gate_outdated(host->platform, err) : 0;

	if (rc <= 0 || !bh_store_number(host->store, 0, "SELECT EXISTS(SELECT 1 FROM endpoints)", ""))
		return rc < 0 ? rc : 0;
	rc = bh_store_begin(host->store, err);
	rc = rc ? rc : take_over(host, err);
	rc = rc ? rc : bh_store_commit(host->store, err);
	if (rc) {
		bh_store_rollback(host->store);
		return bh_error_prefix(err, "the gate that is there cannot be taken over");
	}
	return 0;
}

static int mend(struct bh_host *host, uint32_t id, struct bh_error *err)
{
	int rc = host->platform->ops->gate_mend(host->platform, id, err);

	if (rc == 1)
		bh_log(BH_LOG_WARNING, "somebody took the gate off the port of endpoint %u; it is put back", id);
	if (rc == 2)
		bh_log(BH_LOG_WARNING, "somebody set the port of endpoint %u down; it is up again", id);
	if (rc == -ENODEV)
		bh_log(BH_LOG_WARNING, "endpoint %u: somebody deleted its NIC; it comes back when its container is removed"
		       " and created again", id);
	return rc < 0 && rc != -ENODEV ? rc : 0;
}

static int mend_network(struct bh_host *host, uint32_t id, struct bh_error *err)
{
	struct bh_switch network;
	int rc = bh_network_load(host, id, &network, err);

	if (rc)
		return rc;
	rc = host->platform->ops->switch_mend(host->platform, &network, err);
	if (rc < 0)
		bh_log(BH_LOG_WARNING, "%s", err->message);
	if (rc <= 0)
		return 0;
	bh_log(BH_LOG_WARNING, rc == 1 ? "somebody took the host's port off network '%s'; it is put back"
	       : "somebody set the host's port of network '%s' down; it is up again", network.name);
	return bh_realize_uplink(host, err);
}

int bh_upgrade_mend(struct bh_host *host, struct bh_error *err)
{
	const struct bh_platform_ops *ops = host->platform->ops;
	int rc = ops->switch_mend ? bh_realize_each(host, "SELECT id FROM networks WHERE status = 'ready'", mend_network, err)
	                          : 0;

	return rc || !ops->gate_mend ? rc : bh_realize_each(host, "SELECT id FROM endpoints WHERE status IN ('ready', 'changing')",
	                                                    mend, err);
}

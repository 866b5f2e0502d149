/*
 * reload.c - another policy for endpoints that are there: for all that a change names, or for none.
 *
 * A changed endpoint's row says what is wanted, and `before` keeps what was. Making it real has two
 * steps: every new table is compiled and published, and every conf staged beside the one in force,
 * while the old ones decide; then all of them are in force at once. What fails in the first step, and
 * after the second too, is taken back (bh_reload_revert). A crash in either is finished by the next
 * change: both steps may be done again. What failed is never finished: where the store does not take
 * that it is taken back (bh_store_reserve() sees to it that it does), the gates have what was under a
 * later generation than the row's, which no crash leaves, and the next change takes it back.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../base/log.h"
#include "internal.h"

#define CHANGING "status <> 'ready' AND status = 'changing'"
#define PAST_KEPT "8192" /* policies of endpoints, and of rules eight times as many */

int bh_reload_remember(struct bh_host *host, uint32_t endpoint, struct bh_error *err)
{
	int rc = bh_store_run(host->store, err,
	                      "INSERT OR IGNORE INTO before SELECT id, shared, own, flags, timeouts, flows,"
	                      " origin_in, origin_out, generation, (SELECT policies FROM containers c"
	                      " WHERE c.id = container), reach FROM endpoints WHERE id = ? AND status = 'ready'", "i",
	                      (int64_t)endpoint);

	return rc ? rc : bh_store_run(host->store, err,
	                              "INSERT OR REPLACE INTO past_policies SELECT id, generation, container,"
	                              " origin_in, origin_out FROM endpoints WHERE id = ?", "i",
	                              (int64_t)endpoint);
}

/* Tables that an endpoint is about to have no more may have nobody else. */
static int let_go(struct bh_host *host, uint32_t endpoint, struct bh_error *err)
{
	return bh_store_run(host->store, err,
	                    "INSERT OR IGNORE INTO loose SELECT shared FROM endpoints WHERE id = ?1 AND shared IS NOT NULL"
	                    " UNION SELECT own FROM endpoints WHERE id = ?1 AND own IS NOT NULL", "i", (int64_t)endpoint);
}

/* What was is not needed any more. */
static int forget(struct bh_host *host, struct bh_error *err)
{
	int rc = bh_store_run(host->store, err,
	                      "INSERT OR IGNORE INTO loose SELECT shared FROM before WHERE shared IS NOT NULL"
	                      " UNION SELECT own FROM before WHERE own IS NOT NULL", "");

	return rc ? rc : bh_store_run(host->store, err, "DELETE FROM before", "");
}

int bh_container_set_policies(struct bh_host *host, const char *id, const char *policies,
                              struct bh_error *err)
{
	int rc = bh_host_require_change(host, err);

	if (rc)
		return rc;
	if (!bh_store_number(host->store, 0,
	                     "SELECT count(*) FROM containers WHERE id = ? AND status <> 'removing'", "s", id))
		return bh_error_set(err, -ENOENT, "there is no container '%.80s'", id);
	return bh_store_run(host->store, err, "UPDATE containers SET policies = ? WHERE id = ?", "ss", policies,
	                    id);
}

int bh_endpoint_change(struct bh_host *host, uint32_t endpoint, const struct bh_endpoint_spec *spec,
                       struct bh_error *err)
{
	int64_t network;
	char timeouts[160], hash[40];
	uint32_t shared = 0;
	int rc = bh_host_require_change(host, err);

	if (rc)
		return rc;
	network = bh_store_number(host->store, 0, "SELECT network FROM endpoints WHERE id = ?"
	                          " AND status IN ('ready', 'changing')", "i", (int64_t)endpoint);
	if (!network)
		return bh_error_set(err, -ENOENT, "there is no endpoint %u whose policy could be changed", endpoint);
	if (spec->rules_count > BH_RULES_MAX)
		return bh_error_set(err, -E2BIG, "%zu rules; an endpoint may have at most %d", spec->rules_count,
		                    BH_RULES_MAX);
	rc = bh_reload_remember(host, endpoint, err);
	rc = rc ? rc : let_go(host, endpoint, err);
	if (!rc && spec->rules_count) {
		bh_rules_hash((uint32_t)network, spec->rules, spec->rules_count, hash);
		rc = bh_rules_store(host, (uint32_t)network, hash, spec->rules, spec->rules_count, &shared, err);
	}
	bh_timeouts_format(spec->timeouts, timeouts, sizeof(timeouts));
	return rc ? rc : bh_store_run(host->store, err,
	                              "UPDATE endpoints SET shared = nullif(?, 0), own = NULL, flags = ?,"
	                              " timeouts = ?, flows = ?, origin_in = ?, origin_out = ?, reach = ?,"
	                              " generation = generation + (status = 'ready'), status = 'changing'"
	                              " WHERE id = ?", "iisisssi", (int64_t)shared, (int64_t)spec->flags, timeouts,
	                              (int64_t)spec->flows_limit, spec->origin_in ? spec->origin_in : "",
	                              spec->origin_out ? spec->origin_out : "", spec->reach ? spec->reach : "",
	                              (int64_t)endpoint);
}

/*
 * By its number a flow knows the policy that allowed it. Where what is in force has a later one than the row (it
 * was taken back, and then the store did not take it), flows may carry that, and this policy is another.
 */
static int stage(struct bh_host *host, uint32_t id, struct bh_error *err)
{
	const struct bh_platform_ops *ops = host->platform->ops;
	struct bh_conf conf, now;
	int rc = bh_endpoint_conf(host, id, &conf, err);

	rc = rc ? rc : ops->gate_read(host->platform, id, &now, err);
	if (!rc && now.generation > conf.generation) {
		conf.generation = now.generation + 1;
		rc = bh_store_run(host->store, err, "UPDATE endpoints SET generation = ? WHERE id = ?", "ii",
		                  (int64_t)conf.generation, (int64_t)id);
	}
	return rc ? rc : ops->gate_stage(host->platform, &conf, err);
}

int bh_reload_realize(struct bh_host *host, const struct bh_pending *pending, struct bh_error *err)
{
	const struct bh_platform_ops *ops = host->platform->ops;
	int rc;

	if (!bh_pending_any(pending, BH_PENDING_ENDPOINT, "changing"))
		return bh_pending_any(pending, BH_PENDING_ENDPOINT, "removing") &&
		       bh_store_number(host->store, 0, BH_ANY_BEFORE, "") ? forget(host, err) : 0;
	rc = bh_realize_each(host, "SELECT id FROM tables WHERE id IN (SELECT shared FROM endpoints WHERE " CHANGING
	                     " UNION SELECT own FROM endpoints WHERE " CHANGING ") AND status = 'creating'",
	                     bh_realize_publish, err);
	rc = rc ? rc : ops->gates_begin(host->platform, err);
	rc = rc ? rc : bh_pending_each(host, pending, BH_PENDING_ENDPOINT, "changing", stage, err);
	rc = rc ? rc : ops->gates_commit(host->platform, err);
	if (!rc)
		bh_hits_follow(host);
	rc = rc ? rc : forget(host, err);
	return rc ? rc : bh_store_run(host->store, err, "UPDATE endpoints SET status = 'ready' WHERE " CHANGING, "");
}

bool bh_endpoint_has_former(struct bh_host *host, uint32_t endpoint)
{
	struct bh_conf conf;

	return !host->changing && !host->platform->ops->gate_read(host->platform, endpoint, &conf, NULL) &&
	       bh_store_number(host->store, 0, "SELECT EXISTS(SELECT 1 FROM before b JOIN endpoints e ON e.id = b.endpoint"
	                       " WHERE e.id = ? AND e.generation <> ?)", "ii", (int64_t)endpoint,
	                       (int64_t)conf.generation) != 0;
}

/* Puts back what an endpoint had; where that is no longer in force, or is to get a later number, it is staged. */
static int revert_to(struct bh_host *host, uint32_t id, bool later, struct bh_error *err)
{
	int64_t before = bh_store_number(host->store, 0, "SELECT generation FROM before WHERE endpoint = ?", "i",
	                                 (int64_t)id);
	struct bh_conf conf;
	bool replaced;
	int rc = host->platform->ops->gate_read(host->platform, id, &conf, err);

	if (rc)
		return rc;
	replaced = later || conf.generation != before;
	rc = let_go(host, id, err);
	/* Not the old number again: flows of the policy that failed carry the one in between. */
	rc = rc ? rc : bh_store_run(host->store, err,
	                  "UPDATE endpoints SET (shared, own, flags, timeouts, flows, origin_in, origin_out, reach) ="
	                  " (SELECT shared, own, flags, timeouts, flows, origin_in, origin_out, reach FROM before"
	                  " WHERE endpoint = id), generation = iif(?2, generation + 1, ?3), status = 'ready'"
	                  " WHERE id = ?1", "iii", (int64_t)id, (int64_t)replaced, before);
	rc = rc ? rc : bh_store_run(host->store, err,
	                            "UPDATE containers SET policies = (SELECT policies FROM before WHERE endpoint ="
	                            " ?1) WHERE id = (SELECT container FROM endpoints WHERE id = ?1)", "i",
	                            (int64_t)id);
	return rc || !replaced ? rc : stage(host, id, err);
}

static int revert(struct bh_host *host, uint32_t id, struct bh_error *err)
{
	return revert_to(host, id, false, err);
}

static int revert_later(struct bh_host *host, uint32_t id, struct bh_error *err)
{
	return revert_to(host, id, true, err);
}

/* In the kernel alone, so that bh_reload_recover() knows. */
static void mark_failed(struct bh_host *host, bool reaches)
{
	struct bh_error err;
	int rc = bh_store_begin(host->store, &err);

	rc = rc ? rc : host->platform->ops->gates_begin(host->platform, &err);
	rc = rc ? rc : bh_realize_each(host, "SELECT endpoint FROM before", revert_later, &err);
	rc = rc ? rc : host->platform->ops->gates_commit(host->platform, &err);
	if (!rc && reaches)
		rc = bh_realize_uplink(host, &err);
	if (rc)
		bh_log(BH_LOG_ERROR, "what failed may be done by the next change: %s", err.message);
	bh_store_rollback(host->store);
}

int bh_reload_revert(struct bh_host *host, struct bh_error *err)
{
	BH_AUTOPENDING struct bh_pending pending = {0};
	struct bh_error uplink;
	bool reaches = false;
	int rc;

	if (!bh_store_number(host->store, 0, BH_ANY_BEFORE, ""))
		return 0;
	rc = bh_store_begin(host->store, err);
	rc = rc ? rc : bh_pending_load(host, &pending, err);
	if (!rc)
		reaches = bh_realize_reaches(host, &pending);
	rc = rc ? rc : host->platform->ops->gates_begin(host->platform, err);
	rc = rc ? rc : bh_realize_each(host, "SELECT endpoint FROM before", revert, err);
	rc = rc ? rc : host->platform->ops->gates_commit(host->platform, err);
	rc = rc ? rc : forget(host, err);
	rc = rc ? rc : bh_store_commit(host->store, err);
	if (rc) {
		bh_store_rollback(host->store);
		mark_failed(host, reaches);
	} /* where this is what failed, the old one is in force */
	else if (reaches && bh_realize_uplink(host, &uplink))
		bh_log(BH_LOG_WARNING, "what networks reach after a change that was taken back: %s", uplink.message);
	return rc;
}

/* 1 ends the walk. What cannot be read says nothing. */
static int failed(struct bh_host *host, uint32_t id, struct bh_error *err)
{
	struct bh_conf conf;

	if (host->platform->ops->gate_read(host->platform, id, &conf, err))
		return 0;
	return bh_store_number(host->store, 0, "SELECT generation < ? FROM endpoints WHERE id = ?", "ii",
	                       (int64_t)conf.generation, (int64_t)id) != 0;
}

int bh_reload_recover(struct bh_host *host, struct bh_error *err)
{
	int rc = bh_realize_each(host, "SELECT endpoint FROM before", failed, err);

	if (rc <= 0)
		return rc;
	bh_log(BH_LOG_WARNING, "a change of policies that failed is taken back in the store too");
	return bh_reload_revert(host, err);
}

int bh_past_keep(struct bh_host *host, const char *unused_tables, struct bh_error *err)
{
	char sql[600];
	int rc;

	snprintf(sql, sizeof(sql), "INSERT OR IGNORE INTO past_rules SELECT id, name, origin FROM rules"
	         " WHERE tbl IN (SELECT id %s)", unused_tables);
	rc = bh_store_run(host->store, err, sql, "");
	rc = rc ? rc : bh_store_run(host->store, err, "DELETE FROM past_rules WHERE id <="
	                            " (SELECT max(id) FROM past_rules) - 8 * " PAST_KEPT, "");
	return rc ? rc : bh_store_run(host->store, err, "DELETE FROM past_policies WHERE rowid <="
	                              " (SELECT max(rowid) FROM past_policies) - " PAST_KEPT, "");
}

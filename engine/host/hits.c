/*
 * hits.c - what becomes of what rules decided once they decide no more: it is forgotten, but a change of
 * policies that makes a rule saying the same has that one go on with it, wherever it stands now and
 * whichever line made it.
 *
 * The platform counts by endpoint and rule and knows nothing of tables, and a list that differs in one
 * rule has new ids for all. To look at all that was counted takes 2 ms, however little that is.
 */
#include <stdio.h>
#include <string.h>

#include "../base/buffer.h"
#include "internal.h"

#define RULES_FEW 4096 /* of one endpoint: up to here one by one is quicker */

struct hit {
	uint32_t endpoint;
	uint32_t rule;
};

static int note_hit(uint32_t endpoint, uint32_t rule, uint64_t packets, void *arg)
{
	struct hit hit = {endpoint, rule};

	(void)packets;
	bh_buffer_append(arg, &hit, sizeof(hit));
	return 0;
}

/* Calls `visit` with each of all that was counted, collected first: it may change what is there. */
static void each_hit(struct bh_host *host, void (*visit)(struct bh_host *, const struct hit *, uint32_t),
                     uint32_t endpoint)
{
	BH_AUTOBUFFER struct bh_buffer hits = {0};

	host->platform->ops->hits_each(host->platform, note_hit, &hits, NULL);
	for (size_t at = 0; at < hits.size; at += sizeof(struct hit)) {
		struct hit hit;

		memcpy(&hit, hits.data + at, sizeof(hit));
		visit(host, &hit, endpoint);
	}
}

/* The first rule in force that says what an old one said; 0: none, or the old one is in force. */
static uint32_t successor(struct bh_host *host, const struct hit *hit)
{
	return (uint32_t)bh_store_number(host->store, 0,
		"SELECT n.id FROM endpoints e JOIN rules o ON o.id = ?2 JOIN rules n ON n.tbl IN (e.shared, e.own)"
		" WHERE e.id = ?1 AND e.status = 'changing' AND o.tbl NOT IN (coalesce(e.shared, 0), coalesce(e.own, 0))"
		" AND n.action = o.action AND n.direction = o.direction AND n.protocol IS o.protocol"
		" AND n.local IS o.local AND n.local_port IS o.local_port AND n.remote IS o.remote"
		" AND n.remote_port IS o.remote_port AND n.icmp IS o.icmp AND n.priority IS o.priority"
		" AND n.name IS o.name AND n.log IS o.log AND n.audit IS o.audit ORDER BY n.id LIMIT 1", "ii",
		(int64_t)hit->endpoint, (int64_t)hit->rule);
}

static bool is_replaced(struct bh_host *host, const struct hit *hit)
{
	return bh_store_number(host->store, 0,
	                       "SELECT count(*) FROM endpoints WHERE id = ? AND status = 'changing'"
	                       " AND NOT EXISTS (SELECT 1 FROM rules r WHERE r.id = ? AND r.tbl IN (shared, own))",
	                       "ii", (int64_t)hit->endpoint, (int64_t)hit->rule) != 0;
}

static void follow(struct bh_host *host, const struct hit *hit, uint32_t endpoint)
{
	uint32_t to = successor(host, hit);

	(void)endpoint;
	if (to)
		host->platform->ops->hit_move(host->platform, hit->endpoint, hit->rule, to, NULL);
	else if (is_replaced(host, hit))
		host->platform->ops->hit_remove(host->platform, hit->endpoint, hit->rule, NULL);
}

void bh_hits_follow(struct bh_host *host)
{
	each_hit(host, follow, 0);
}

static void forget(struct bh_host *host, const struct hit *hit, uint32_t endpoint)
{
	if (hit->endpoint == endpoint)
		host->platform->ops->hit_remove(host->platform, endpoint, hit->rule, NULL);
}

void bh_hits_forget(struct bh_host *host, uint32_t endpoint)
{
	static const char of_endpoint[] = "FROM rules r JOIN endpoints e ON r.tbl IN (e.shared, e.own) WHERE e.id = ?";
	BH_AUTOSTATEMENT struct bh_statement *rows = NULL;
	char sql[160];

	snprintf(sql, sizeof(sql), "SELECT count(*) %s", of_endpoint);
	if (bh_store_number(host->store, 0, sql, "i", (int64_t)endpoint) > RULES_FEW) {
		each_hit(host, forget, endpoint);
		return;
	}
	snprintf(sql, sizeof(sql), "SELECT r.id %s", of_endpoint);
	if (bh_store_query(host->store, &rows, NULL, sql, "i", (int64_t)endpoint))
		return;
	while (bh_statement_step(rows, NULL) == 1)
		host->platform->ops->hit_remove(host->platform, endpoint, (uint32_t)bh_statement_int(rows, 0), NULL);
}

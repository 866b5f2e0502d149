/*
 * hits.c - forgets what rules decided once they decide no more.
 *
 * The platform counts by endpoint and rule and knows nothing of tables; to look at all it has counted
 * takes 2 ms, however little that is.
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

/* Forgets those of all that was counted which `is_over` says, of `endpoint` or, with 0, of any. */
static void forget_over(struct bh_host *host, uint32_t endpoint, bool (*is_over)(struct bh_host *,
                                                                                 const struct hit *))
{
	const struct bh_platform_ops *ops = host->platform->ops;
	BH_AUTOBUFFER struct bh_buffer hits = {0};

	ops->hits_each(host->platform, note_hit, &hits, NULL);
	for (size_t at = 0; at < hits.size; at += sizeof(struct hit)) {
		struct hit hit;

		memcpy(&hit, hits.data + at, sizeof(hit));
		if (endpoint ? hit.endpoint == endpoint : is_over(host, &hit))
			ops->hit_remove(host->platform, hit.endpoint, hit.rule, NULL);
	}
}

static bool is_replaced(struct bh_host *host, const struct hit *hit)
{
	return bh_store_number(host->store, 0,
	                       "SELECT count(*) FROM endpoints WHERE id = ? AND status = 'changing'"
	                       " AND NOT EXISTS (SELECT 1 FROM rules r WHERE r.id = ? AND r.tbl IN (shared, own))",
	                       "ii", (int64_t)hit->endpoint, (int64_t)hit->rule) != 0;
}

void bh_hits_forget_replaced(struct bh_host *host)
{
	forget_over(host, 0, is_replaced);
}

void bh_hits_forget(struct bh_host *host, uint32_t endpoint)
{
	static const char of_endpoint[] = "FROM rules r JOIN endpoints e ON r.tbl IN (e.shared, e.own) WHERE e.id = ?";
	BH_AUTOSTATEMENT struct bh_statement *rows = NULL;
	char sql[160];

	snprintf(sql, sizeof(sql), "SELECT count(*) %s", of_endpoint);
	if (bh_store_number(host->store, 0, sql, "i", (int64_t)endpoint) > RULES_FEW) {
		forget_over(host, endpoint, NULL);
		return;
	}
	snprintf(sql, sizeof(sql), "SELECT r.id %s", of_endpoint);
	if (bh_store_query(host->store, &rows, NULL, sql, "i", (int64_t)endpoint))
		return;
	while (bh_statement_step(rows, NULL) == 1)
		host->platform->ops->hit_remove(host->platform, endpoint, (uint32_t)bh_statement_int(rows, 0), NULL);
}

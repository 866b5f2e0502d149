/*
 * carry.c - counters outlive a change of policies: a rule that says the same in the new list goes on
 * with what it had decided in the old one, wherever it stands now and whichever line made it.
 *
 * Rules are known to the platform by ids, and a list that differs in one rule has new ids for all.
 */
#include <string.h>

#include "../base/buffer.h"
#include "internal.h"

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

void bh_hits_carry(struct bh_host *host)
{
	const struct bh_platform_ops *ops = host->platform->ops;
	BH_AUTOBUFFER struct bh_buffer hits = {0};

	ops->hits_each(host->platform, note_hit, &hits, NULL);
	for (size_t at = 0; at < hits.size; at += sizeof(struct hit)) {
		struct hit hit;
		uint32_t to;

		memcpy(&hit, hits.data + at, sizeof(hit));
		to = successor(host, &hit);
		if (to)
			ops->hit_move(host->platform, hit.endpoint, hit.rule, to, NULL);
	}
}

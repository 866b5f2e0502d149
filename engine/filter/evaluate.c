/*
 * evaluate.c - see evaluate.h.
 */
#include "evaluate.h"

#include <string.h>

static int bh_rules_lookup(struct bh_env *env, const struct bh_conf *conf, const struct bh_key *key,
                           struct bh_entry *entry);

#include "express.h"

/* The first block of the table's direction in which a rule matches. */
static bool table_lookup(struct bh_env *env, const struct bh_table_ref *ref,
                         const struct bh_key *key, struct bh_entry *entry)
{
	uint32_t from = key->direction == BH_IN ? 0 : ref->blocks[BH_IN];

	for (uint32_t i = 0; ref->id && i < ref->blocks[key->direction]; i++) {
		const uint8_t *page = bh_page(env, ref->id, from + i);

		if (page && bh_block_lookup(page, key, entry))
			return true;
	}
	return false;
}

static int bh_rules_lookup(struct bh_env *env, const struct bh_conf *conf, const struct bh_key *key,
                           struct bh_entry *entry)
{
	struct bh_entry own;
	bool found = table_lookup(env, &conf->tables[0], key, entry);

	if (table_lookup(env, &conf->tables[1], key, &own) && (!found || bh_entry_wins(&own, entry))) {
		*entry = own;
		found = true;
	}
	return found;
}

void bh_evaluate_parse(struct bh_env *env, enum bh_direction direction, struct bh_packet *packet)
{
	memset(packet, 0, sizeof(*packet));
	packet->key.direction = (uint8_t)direction;
	bh_parse(env, packet);
}

void bh_evaluate(struct bh_env *env, const struct bh_conf *conf, enum bh_direction direction,
                 struct bh_packet *packet, struct bh_verdict *verdict)
{
	struct bh_packet parsed;

	if (!packet)
		packet = &parsed;
	bh_evaluate_parse(env, direction, packet);
	bh_judge(env, conf, packet, verdict);
}

bool bh_evaluate_express(struct bh_env *env, const struct bh_conf *conf, enum bh_direction direction,
                         struct bh_verdict *verdict)
{
	struct bh_plain plain;

	if (!bh_plain_read(env, &plain))
		return false;
	if (direction == BH_IN)
		bh_plain_turn(&plain);
	return bh_express(env, conf, &plain, direction, verdict);
}

static const void *page_of_table(void *arg, uint32_t id, uint32_t page)
{
	const struct bh_table *table = arg;

	(void)id;
	return table->pages + (size_t)page * BH_PAGE_SIZE;
}

int bh_table_lookup(const struct bh_table *table, const struct bh_key *key, struct bh_entry *entry)
{
	struct bh_env env = {.page = page_of_table, .page_arg = (void *)table};
	struct bh_table_ref ref = {1, {table->blocks[0], table->blocks[1]}};

	return table_lookup(&env, &ref, key, entry);
}

bool bh_conf_owns(const struct bh_conf *conf, const struct bh_address *address)
{
	return bh_is_own(conf, address) != 0;
}

bool bh_conf_broadcasts(const struct bh_conf *conf, const struct bh_address *address)
{
	return bh_is_broadcast(conf, address) != 0;
}

void bh_counters_add(struct bh_counters *counters, enum bh_direction direction,
                     const struct bh_verdict *verdict, uint32_t size)
{
	if (verdict->action == BH_BLOCK) {
		counters->dropped[direction][verdict->by]++;
		return;
	}
	counters->packets[direction]++;
	counters->bytes[direction] += size;
	counters->audited[direction] += verdict->audit;
}

const char *bh_by_name(enum bh_by by)
{
	static const char *const names[BH_BY_COUNT] = {
		[BH_BY_FLOW] = "flow", [BH_BY_RULE] = "rule", [BH_BY_DEFAULT] = "default",
		[BH_BY_NEIGHBOUR] = "neighbour", [BH_BY_FRAGMENT] = "fragment",
		[BH_BY_MALFORMED] = "malformed", [BH_BY_SPOOF] = "spoof", [BH_BY_QUOTA] = "quota",
	};

	return by < BH_BY_COUNT ? names[by] : "?";
}

const char *bh_action_name(enum bh_action action)
{
	return action == BH_ALLOW ? "allow" : "block";
}

const char *bh_direction_name(enum bh_direction direction)
{
	return direction == BH_IN ? "inbound" : "outbound";
}

const char *const bh_timeout_names[BH_TIMEOUT_COUNT] = {
	"syn", "established", "closing", "reset", "udp", "udp_answered", "icmp", "other",
};

void bh_conf_init(struct bh_conf *conf)
{
	static const uint32_t timeouts[BH_TIMEOUT_COUNT] = {60, 86400, 60, 10, 30, 180, 30, 60};

	memset(conf, 0, sizeof(*conf));
	conf->flags = BH_CONF_ANTISPOOF;
	memcpy(conf->timeouts, timeouts, sizeof(timeouts));
	conf->flows_guaranteed = BH_FLOWS_GUARANTEED;
	conf->flows_limit = BH_FLOWS_LIMIT;
}

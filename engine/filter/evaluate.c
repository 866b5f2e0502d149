/*
 * evaluate.c - see evaluate.h.
 */
#include "evaluate.h"

#include <string.h>

static int bh_rules_lookup(struct bh_env *env, const struct bh_conf *conf, const struct bh_key *key,
                           struct bh_entry *entry);

#include "express.h"

static int table_lookup(struct bh_env *env, const struct bh_table_ref *ref, const struct bh_key *key,
                        struct bh_entry *entry)
{
	return ref->id && env->table ? bh_table_find(env->table(env->table_arg, ref), key, entry) : 0;
}

static int bh_rules_lookup(struct bh_env *env, const struct bh_conf *conf, const struct bh_key *key,
                           struct bh_entry *entry)
{
	struct bh_entry own;
	int found = table_lookup(env, &conf->tables[0], key, entry);

	if (table_lookup(env, &conf->tables[1], key, &own) && (!found || bh_entry_wins(&own, entry))) {
		*entry = own;
		found = 1;
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
	struct bh_plain plain = {.now = env->now};

	if (!bh_plain_read(env, &plain))
		return false;
	if (direction == BH_IN)
		bh_plain_turn(&plain);
	return bh_express(env, conf, &plain, direction, verdict);
}

int bh_table_lookup(const struct bh_table *table, const struct bh_key *key, struct bh_entry *entry)
{
	return bh_table_find(table->bytes, key, entry);
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

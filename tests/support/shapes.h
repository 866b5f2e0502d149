/*
 * shapes.h - rule sets that compilers of tables find hard, and packets at the edges of their rules.
 */
#ifndef BH_TESTS_SHAPES_H
#define BH_TESTS_SHAPES_H

#include <stdlib.h>

#include "random.h"

enum shape {
	SHAPE_LITTLE,   /* random.h's little world: lists, exclusions, keywords, ties */
	SHAPE_HOSTS,    /* an address on both sides */
	SHAPE_WALL,     /* a wildcard on one side of most */
	SHAPE_WILDCARD, /* any address, ranges of ports */
	SHAPE_NESTED,   /* prefixes and port ranges inside each other */
	SHAPE_LISTS,    /* long lists in every field: far more combinations than elements */
	SHAPE_ICMP,     /* types and codes of both families, and all protocols */
	SHAPES
};

static const char *const shape_names[SHAPES] = {"little", "hosts", "wall", "wildcard", "nested", "lists", "icmp"};

static inline void shape_address(char *text, bool v6, uint32_t host, uint32_t length)
{
	if (v6)
		sprintf(text, "fd00:%x::%x:%x/%u", host >> 28, host >> 16 & 0xfff, host & 0xffff, 96 + length);
	else
		sprintf(text, "%u.%u.%u.%u/%u", host >> 24, host >> 16 & 255, host >> 8 & 255, host & 255, length);
}

/* A prefix with its host bits cleared. */
static inline void shape_prefix(char *text, bool v6, uint32_t host, uint32_t length)
{
	shape_address(text, v6, length ? host & ~0u << (32 - length) : 0, length);
}

static inline uint32_t shape_host(void)
{
	return random_below(40) * 0x1357911u + random_below(3) * 256 + random_below(5);
}

static inline void shape_ports(struct bh_rule *rule, const char *field, uint32_t first, uint32_t last)
{
	char text[40];

	sprintf(text, "%u-%u", first, last);
	bh_rule_set(rule, field, text, NULL);
}

static inline void shape_lists(struct bh_rule *rule, bool v6)
{
	static char text[4000];
	static const char *const fields[] = {"local", "remote"};

	for (int f = 0; f < 2; f++) {
		*text = '\0';
		for (int i = 0; i < 30; i++) {
			strcat(text, i ? "," : "");
			shape_prefix(text + strlen(text), v6, shape_host(), 28 + random_below(5));
		}
		bh_rule_set(rule, fields[f], text, NULL);
	}
	*text = '\0';
	for (int i = 0; i < 12; i++)
		sprintf(text + strlen(text), "%s%u", i ? "," : "", random_below(140));
	bh_rule_set(rule, "local_port", text, NULL);
}

static inline void shape_rule(struct bh_rule *rule, enum shape shape, uint32_t id)
{
	bool v6 = random_below(2);
	char text[80];

	if (shape == SHAPE_LITTLE) {
		random_rule(rule, id);
		return;
	}
	bh_rule_clear(rule);
	bh_rule_init(rule, random_below(2) ? BH_BLOCK : BH_ALLOW, random_below(2) ? BH_OUT : BH_IN);
	rule->id = id;
	rule->priority = (uint16_t)(1000 + random_below(3));
	if (shape == SHAPE_ICMP) {
		rule->protocol = random_below(3) ? (v6 ? BH_PROTO_ICMP6 : BH_PROTO_ICMP) : (int)random_below(200) - 1;
		if (rule->protocol == BH_PROTO_ICMP || rule->protocol == BH_PROTO_ICMP6) {
			sprintf(text, random_below(2) ? "%u" : "%u:%u", random_below(140), random_below(3));
			bh_rule_set(rule, "icmp", text, NULL);
		}
		return;
	}
	rule->protocol = random_below(2) ? BH_PROTO_TCP : BH_PROTO_UDP;
	if (shape == SHAPE_HOSTS || shape == SHAPE_NESTED || (shape == SHAPE_WALL && random_below(2))) {
		shape_prefix(text, v6, shape == SHAPE_NESTED ? 0x0a0b0c0d : shape_host(),
		             shape == SHAPE_NESTED ? random_below(33) : 24 + random_below(9));
		bh_rule_set(rule, "local", text, NULL);
	}
	if (shape == SHAPE_HOSTS || (shape == SHAPE_WALL && random_below(4) == 0)) {
		shape_prefix(text, v6, shape_host(), 16 + random_below(17));
		bh_rule_set(rule, "remote", text, NULL);
	}
	if (shape == SHAPE_LISTS) {
		shape_lists(rule, v6);
	} else if (shape == SHAPE_WILDCARD || shape == SHAPE_NESTED) {
		shape_ports(rule, "local_port", random_below(32768), 65535 - random_below(32768));
		shape_ports(rule, "remote_port", random_below(60000), 60000 + random_below(5535));
	} else if (random_below(2)) {
		shape_ports(rule, "local_port", random_below(100), 100 + random_below(40));
	}
}

static inline struct bh_ruleset *shape_ruleset(enum shape shape, uint32_t count)
{
	struct bh_ruleset *ruleset = NULL;
	struct bh_words words;
	struct bh_rule rule;

	if (bh_ruleset_new(&ruleset, NULL))
		abort();
	bh_rule_init(&rule, BH_ALLOW, BH_IN);
	for (uint32_t i = 0; i < count; i++) {
		shape_rule(&rule, shape, i + 1);
		if (bh_ruleset_add(ruleset, &rule, NULL))
			abort();
	}
	bh_rule_clear(&rule);
	random_words(&words);
	bh_ruleset_set_words(ruleset, &words);
	return ruleset;
}

/* At, just before or just behind an end of a range. */
static inline struct bh_address shape_edge(const struct bh_range *range)
{
	struct bh_address end = random_below(2) ? range->first : range->last;

	switch (random_below(6)) {
	case 0:
		return bh_address_next(end);
	case 1:
		return bh_address_previous(end);
	default:
		return end;
	}
}

static inline uint16_t shape_port(const struct bh_number_set *set)
{
	const struct bh_number_range *range = set->count ? &set->ranges[random_below((uint32_t)set->count)] : NULL;

	if (!range)
		return (uint16_t)random_next();
	return (uint16_t)((random_below(2) ? range->first : range->last) + random_below(3) - 1);
}

/* A packet in or near some rule of the set. */
static inline void shape_notation(struct bh_notation *packet, const struct bh_ruleset *ruleset)
{
	const struct bh_rule *rule;
	struct bh_address local, remote;
	bool out;

	random_notation(packet);
	if (!bh_ruleset_count(ruleset) || !random_below(8))
		return;
	rule = bh_ruleset_at(ruleset, random_below((uint32_t)bh_ruleset_count(ruleset)));
	packet->direction = rule->direction;
	out = rule->direction == BH_OUT;
	local = out ? packet->source : packet->target;
	remote = out ? packet->target : packet->source;
	if (rule->local.include_count)
		local = shape_edge(&rule->local.include[random_below((uint32_t)rule->local.include_count)]);
	if (rule->remote.include_count)
		remote = shape_edge(&rule->remote.include[random_below((uint32_t)rule->remote.include_count)]);
	if (bh_address_is_v4(&local) != bh_address_is_v4(&remote)) /* one family */
		*(rule->local.include_count ? &remote : &local) = rule->local.include_count ? local : remote;
	if (rule->protocol >= 0)
		packet->protocol = (uint8_t)rule->protocol;
	packet->source = out ? local : remote;
	packet->target = out ? remote : local;
	packet->source_port = out ? shape_port(&rule->local_port) : shape_port(&rule->remote_port);
	packet->target_port = out ? shape_port(&rule->remote_port) : shape_port(&rule->local_port);
	if (rule->icmp.count) {
		uint16_t icmp = shape_port(&rule->icmp);

		packet->icmp_type = (uint8_t)(icmp >> 8);
		packet->icmp_code = (uint8_t)icmp;
	}
}

#endif

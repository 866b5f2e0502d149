/*
 * rules.h - rules of many shapes at random, for tests of the classifier.
 */
#ifndef BH_TESTS_RULES_H
#define BH_TESTS_RULES_H

#include <errno.h>
#include <stdlib.h>

#include "../../engine/filter/classifier.h"
#include "random.h"

static inline void set_text(struct bh_rule *rule, const char *field, const char *text)
{
	if (bh_rule_set(rule, field, text, NULL))
		abort();
}

#define SHAPES 10

static inline uint32_t wide_address(void)
{
	return (random_below(40) * 2654435761u) << 12 | random_below(4096);
}

/* As an access list has them: hosts and networks on both sides, of a whole internet. */
static inline void wide_rule(struct bh_rule *rule)
{
	static const char *const fields[] = {"local", "remote"};
	char text[80];

	for (int side = 0; side < 2; side++) {
		uint32_t address = wide_address(), length = random_below(3) ? 32 : 16 + random_below(16);

		if (!random_below(6))
			continue;
		address &= (uint32_t)(0xffffffffULL << (32 - length));
		sprintf(text, "%u.%u.%u.%u/%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255, length);
		set_text(rule, fields[side], text);
	}
	set_text(rule, "protocol", random_below(3) ? "tcp" : "udp");
	sprintf(text, random_below(4) ? "%u" : "%u-65535", random_below(2000));
	set_text(rule, "local_port", text);
}

static inline void set_range(struct bh_rule *rule, const char *field, uint32_t first, uint32_t last)
{
	char text[24];

	sprintf(text, "%u-%u", first, last);
	set_text(rule, field, text);
}

/* As a container has them: both directions, some prefixes, some ports on either side, or none at all. */
static inline void container_rule(struct bh_rule *rule)
{
	static const char *const ports[] = {"local_port", "remote_port"};
	char text[24];

	rule->direction = random_below(2) ? BH_IN : BH_OUT;
	for (int side = 0; side < 2; side++) {
		sprintf(text, random_below(2) ? "10.0.0.0/14" : "10.%u.0.0/16", random_below(4));
		if (random_below(2))
			set_text(rule, side ? "remote" : "local", text);
	}
	if (!random_below(6))
		return;
	set_text(rule, "protocol", random_below(3) ? "tcp" : "udp");
	for (int side = 0; side < 2; side++) {
		uint32_t first = 1 + random_below(4) * 1000 + random_below(3);

		if (random_below(2))
			set_range(rule, ports[side], first, random_below(2) ? first : first + random_below(3000));
	}
}

/* Ranges that nearly all packets are in, or just not: nothing tells them apart. */
static inline void overlapping_rule(struct bh_rule *rule)
{
	uint32_t low = random_below(200), high = 255 - random_below(50);
	char text[40];

	sprintf(text, "10.%u.0.0-10.%u.255.255", random_below(2), 2 + random_below(2));
	if (random_below(8))
		set_text(rule, random_below(2) ? "remote" : "local", text);
	set_text(rule, "protocol", "tcp");
	set_range(rule, "local_port", low * 16, high * 17);
	set_range(rule, "remote_port", random_below(200) * 16, (255 - random_below(50)) * 17);
}

/* Of some networks, or with `scattered` of anywhere: then bounds differ in more bits than a number has. */
static inline struct bh_address wide_address6(bool scattered)
{
	struct bh_address address = {0xfd00000000000000 | (uint64_t)random_below(8) << 32 | (uint64_t)random_below(30) << 16,
	                             random_below(4096)};

	if (scattered && random_below(4)) {
		address.hi ^= (uint64_t)random_next() << 32 | random_next();
		address.lo ^= (uint64_t)random_below(2) << 63 | (uint64_t)random_below(2) << 40;
	}
	return address;
}

/* As an access list of IPv6 has them. */
static inline void wide_rule6(struct bh_rule *rule, bool scattered)
{
	static const char *const fields[] = {"local", "remote"};
	static const uint8_t lengths[] = {128, 128, 128, 120, 112, 64, 48, 0, 127, 10};
	char text[BH_ADDRESS_TEXT];

	for (int side = 0; side < 2; side++) {
		struct bh_prefix prefix = {wide_address6(scattered), lengths[random_below(10)]};
		struct bh_range range;

		if (!random_below(8))
			continue;
		prefix = bh_prefix_network(&prefix);
		range = bh_prefix_range(&prefix);
		if (!random_below(8) && prefix.length)
			range.last = bh_address_next(range.last);
		set_text(rule, fields[side], bh_range_format(&range, text));
	}
	set_text(rule, "protocol", random_below(3) ? "tcp" : "udp");
	sprintf(text, random_below(4) ? "%u" : "%u-65535", random_below(2000));
	set_text(rule, "local_port", text);
}

/*
 * Worst cases: everything matches; ranges in ranges; half of the rules without a remote address. Then
 * the usual cases at their usual sizes, and one for which there is nothing but trying one after the other;
 * then IPv6, and last rules of one priority, of which each that comes has to go between others and that list ports.
 */
static inline void shaped_rule(struct bh_rule *rule, uint32_t id, uint32_t shape)
{
	char text[80];

	if (shape == 0) {
		random_rule(rule, id);
		return;
	}
	bh_rule_clear(rule);
	bh_rule_init(rule, random_below(2) ? BH_BLOCK : BH_ALLOW, BH_IN);
	rule->id = id;
	sprintf(text, "%u", 900 + random_below(200));
	set_text(rule, "priority", text);
	if (shape == 1)
		return;
	if (shape == 9) {
		wide_rule(rule);
		rule->priority = BH_PRIORITY_DEFAULT;
		sprintf(text, "%u,%u,%u-65535", random_below(500), 600 + random_below(500), 1200 + random_below(800));
		set_text(rule, "local_port", text);
		return;
	}
	if (shape >= 4) {
		shape == 4 ? wide_rule(rule) : shape == 5 ? container_rule(rule) : shape == 6 ? overlapping_rule(rule) :
		wide_rule6(rule, shape == 8);
		return;
	}
	if (shape == 2 || random_below(2)) {
		uint32_t low = random_below(600), high = 1200 - random_below(600);

		sprintf(text, "10.0.%u.%u-10.0.%u.%u", low >> 8, low & 255, high >> 8, high & 255);
		set_text(rule, "remote", text);
	}
	sprintf(text, "10.%u.0.0/%u", random_below(4), 14 + random_below(3));
	if (shape == 3 && !strstr(text, "/14"))
		set_text(rule, "local", random_below(2) ? "10.0.0.0/14" : "fd00::/16");
	set_text(rule, "protocol", random_below(2) ? "tcp" : "udp");
	sprintf(text, "%u-%u", random_below(70), 70 + random_below(70));
	set_text(rule, "local_port", text);
}

/* Many addresses on both sides: more combinations than a rule is worth boxes. */
static inline void fat_rule(struct bh_rule *rule, uint32_t id)
{
	char text[3000] = "", other[3000] = "";

	bh_rule_clear(rule);
	bh_rule_init(rule, BH_BLOCK, BH_IN);
	rule->id = id;
	for (int i = 0; i < 20; i++) {
		random_address(text + strlen(text), random_below(3) == 0, false);
		random_address(other + strlen(other), random_below(3) == 0, false);
		if (i < 19) {
			strcat(text, ",");
			strcat(other, ",");
		}
	}
	sprintf(strchr(text, 0), ",10.0.0.0/17");
	set_text(rule, "remote", text);
	set_text(rule, "local", other);
	sprintf(text, "%u", 998 + random_below(5));
	set_text(rule, "priority", text);
}

static inline void new_rule(struct bh_rule *rule, uint32_t id, uint32_t shape)
{
	if (shape == 0 && !random_below(40))
		fat_rule(rule, id);
	else
		shaped_rule(rule, id, shape);
}

static inline uint32_t within(uint32_t first, uint32_t last)
{
	return first + (uint32_t)((uint64_t)random_next() * ((uint64_t)last - first + 1) >> 32);
}

/* The rule that seed and id make. */
static inline void insert(struct bh_builder *builder, uint32_t seed, uint32_t id, uint32_t shape)
{
	uint64_t state = random_state;
	struct bh_rule rule;

	bh_rule_init(&rule, BH_ALLOW, BH_IN);
	random_state = seed + id * 7919ULL;
	new_rule(&rule, id, shape);
	if (bh_builder_insert(builder, &rule, NULL) || bh_builder_insert(builder, &rule, NULL) != -EEXIST)
		abort();
	bh_rule_clear(&rule);
	random_state = state;
}

#endif

/*
 * region.h - sets of packets: a set of values for each field that rules look at.
 *
 * What a rule matches is a region: the product of six sets, each a sorted list of spans. Addresses
 * are the ordered 128-bit numbers of address.h; protocols are their numbers and two more, for ICMP
 * in the packets of the other family, which no rule can name (table.h says the same with a bit).
 * Protocols without ports leave the ports' sets unasked, so "any port" is also theirs.
 */
#ifndef BH_FILTER_REGION_H
#define BH_FILTER_REGION_H

#include "ruleset.h"

enum bh_region_field {
	BH_REGION_DIRECTION,
	BH_REGION_PROTOCOL,
	BH_REGION_LOCAL_PORT, /* ICMP: type << 8 | code */
	BH_REGION_REMOTE_PORT,
	BH_REGION_REMOTE,
	BH_REGION_LOCAL,
	BH_REGION_FIELDS
};

#define BH_REGION_ICMP_FOREIGN 256  /* protocol 1 over IPv6 */
#define BH_REGION_ICMP6_FOREIGN 257 /* protocol 58 over IPv4 */

typedef unsigned __int128 bh_value;

struct bh_span {
	bh_value first;
	bh_value last; /* inclusive */
};

/* Sorted, disjoint, not touching. Zeroed: empty. */
struct bh_set {
	size_t count;
	size_t room;
	struct bh_span *spans; /* owned */
};

struct bh_region {
	struct bh_set sets[BH_REGION_FIELDS];
};

bh_value bh_region_max(enum bh_region_field field);
bh_value bh_region_value(const struct bh_address *address);
struct bh_address bh_region_address(bh_value value);
/* What the key has in a field. */
bh_value bh_region_value_of(const struct bh_key *key, enum bh_region_field field);

/* -ENOMEM is the only error of what follows. Adding leaves a set unsorted until it is joined. */
int bh_set_add(struct bh_set *set, bh_value first, bh_value last);
int bh_set_add_set(struct bh_set *set, const struct bh_set *other);
/* A range of addresses; one of IPv6 leaves out the block that stands for IPv4. */
int bh_set_add_range(struct bh_set *set, const struct bh_range *range);
void bh_set_join(struct bh_set *set);
/* Takes the joined `holes` out of the joined `set`. */
int bh_set_subtract(struct bh_set *set, const struct bh_set *holes);
void bh_set_clear(struct bh_set *set);
bool bh_set_equal(const struct bh_set *a, const struct bh_set *b);
bool bh_set_overlaps(const struct bh_set *a, const struct bh_set *b);
bool bh_set_contains(const struct bh_set *set, bh_value value);
bool bh_set_is_all(const struct bh_set *set, enum bh_region_field field);

/* All packets. */
int bh_region_init(struct bh_region *region);
/* The field's set becomes one span. */
int bh_region_limit(struct bh_region *region, enum bh_region_field field, bh_value first, bh_value last);
/* What the rule matches; a set is empty where it can match nothing. `region` is zeroed before. */
int bh_region_of_rule(struct bh_region *region, const struct bh_rule *rule,
                      const struct bh_words *words);
void bh_region_clear(struct bh_region *region);
bool bh_region_is_empty(const struct bh_region *region);
bool bh_region_contains(const struct bh_region *region, const struct bh_key *key);

#endif

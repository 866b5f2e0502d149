/*
 * region.c - see region.h.
 */
#include "region.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const bh_value v4_first = (bh_value)BH_V4_MAPPED;
static const bh_value v4_last = (bh_value)(BH_V4_MAPPED | 0xffffffff);

bh_value bh_region_max(enum bh_region_field field)
{
	switch (field) {
	case BH_REGION_DIRECTION: return BH_OUT;
	case BH_REGION_PROTOCOL: return BH_REGION_ICMP6_FOREIGN;
	case BH_REGION_LOCAL_PORT:
	case BH_REGION_REMOTE_PORT: return 0xffff;
	default: return ~(bh_value)0;
	}
}

bh_value bh_region_value(const struct bh_address *address)
{
	return (bh_value)address->hi << 64 | address->lo;
}

struct bh_address bh_region_address(bh_value value)
{
	return (struct bh_address){(uint64_t)(value >> 64), (uint64_t)value};
}

bh_value bh_region_value_of(const struct bh_key *key, enum bh_region_field field)
{
	switch (field) {
	case BH_REGION_DIRECTION: return key->direction;
	case BH_REGION_PROTOCOL:
		if (key->protocol == BH_PROTO_ICMP && key->v6)
			return BH_REGION_ICMP_FOREIGN;
		if (key->protocol == BH_PROTO_ICMP6 && !key->v6)
			return BH_REGION_ICMP6_FOREIGN;
		return key->protocol;
	case BH_REGION_LOCAL_PORT: return key->local_port;
	case BH_REGION_REMOTE_PORT: return key->remote_port;
	case BH_REGION_REMOTE: return bh_region_value(&key->remote);
	default: return bh_region_value(&key->local);
	}
}

int bh_set_add(struct bh_set *set, bh_value first, bh_value last)
{
	size_t room = set->room ? set->room * 2 : 2;
	struct bh_span *spans;

	if (set->count == set->room) {
		spans = realloc(set->spans, room * sizeof(*spans));
		if (!spans)
			return -ENOMEM;
		set->spans = spans;
		set->room = room;
	}
	set->spans[set->count++] = (struct bh_span){first, last};
	return 0;
}

int bh_set_add_set(struct bh_set *set, const struct bh_set *other)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < other->count; i++)
		rc = bh_set_add(set, other->spans[i].first, other->spans[i].last);
	return rc;
}

int bh_set_add_range(struct bh_set *set, const struct bh_range *range)
{
	bh_value first = bh_region_value(&range->first), last = bh_region_value(&range->last);
	int rc;

	if (bh_address_is_v4(&range->first) || last < v4_first || first > v4_last)
		return bh_set_add(set, first, last);
	rc = bh_set_add(set, first, v4_first - 1);
	return rc ? rc : bh_set_add(set, v4_last + 1, last);
}

static int by_first(const void *a, const void *b)
{
	const struct bh_span *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

void bh_set_join(struct bh_set *set)
{
	size_t n = 0;

	if (set->count < 2)
		return;
	qsort(set->spans, set->count, sizeof(*set->spans), by_first);
	for (size_t i = 0; i < set->count; i++) {
		struct bh_span *last = n ? &set->spans[n - 1] : NULL, span = set->spans[i];

		if (last && (span.first <= last->last || span.first == last->last + 1)) {
			if (last->last < span.last)
				last->last = span.last;
			continue;
		}
		set->spans[n++] = span;
	}
	set->count = n;
}

int bh_set_subtract(struct bh_set *set, const struct bh_set *holes)
{
	struct bh_set result = {0};
	size_t h = 0;
	int rc = 0;

	for (size_t i = 0; !rc && i < set->count; i++) {
		bh_value first = set->spans[i].first, last = set->spans[i].last;
		bool done = false;

		while (h < holes->count && holes->spans[h].last < first)
			h++;
		for (size_t j = h; !rc && j < holes->count && !done && holes->spans[j].first <= last; j++) {
			if (first < holes->spans[j].first)
				rc = bh_set_add(&result, first, holes->spans[j].first - 1);
			done = holes->spans[j].last >= last;
			first = holes->spans[j].last + 1;
		}
		if (!rc && !done)
			rc = bh_set_add(&result, first, last);
	}
	if (rc) {
		bh_set_clear(&result);
		return rc;
	}
	bh_set_clear(set);
	*set = result;
	return 0;
}

void bh_set_clear(struct bh_set *set)
{
	free(set->spans);
	memset(set, 0, sizeof(*set));
}

bool bh_set_equal(const struct bh_set *a, const struct bh_set *b)
{
	return a->count == b->count &&
	       (!a->count || !memcmp(a->spans, b->spans, a->count * sizeof(*a->spans)));
}

bool bh_set_overlaps(const struct bh_set *a, const struct bh_set *b)
{
	size_t i = 0, j = 0;

	while (i < a->count && j < b->count) {
		if (a->spans[i].last < b->spans[j].first)
			i++;
		else if (b->spans[j].last < a->spans[i].first)
			j++;
		else
			return true;
	}
	return false;
}

bool bh_set_contains(const struct bh_set *set, bh_value value)
{
	size_t low = 0, high = set->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (set->spans[middle].last < value)
			low = middle + 1;
		else
			high = middle;
	}
	return low < set->count && set->spans[low].first <= value;
}

bool bh_set_is_all(const struct bh_set *set, enum bh_region_field field)
{
	return set->count == 1 && set->spans[0].first == 0 && set->spans[0].last == bh_region_max(field);
}

int bh_region_init(struct bh_region *region)
{
	int rc = 0;

	memset(region, 0, sizeof(*region));
	for (int f = 0; !rc && f < BH_REGION_FIELDS; f++)
		rc = bh_set_add(&region->sets[f], 0, bh_region_max(f));
	return rc;
}

int bh_region_limit(struct bh_region *region, enum bh_region_field field, bh_value first, bh_value last)
{
	region->sets[field].count = 0;
	return bh_set_add(&region->sets[field], first, last);
}

void bh_region_clear(struct bh_region *region)
{
	for (int f = 0; f < BH_REGION_FIELDS; f++)
		bh_set_clear(&region->sets[f]);
}

bool bh_region_is_empty(const struct bh_region *region)
{
	for (int f = 0; f < BH_REGION_FIELDS; f++)
		if (!region->sets[f].count)
			return true;
	return false;
}

bool bh_region_contains(const struct bh_region *region, const struct bh_key *key)
{
	for (int f = 0; f < BH_REGION_FIELDS; f++)
		if (!bh_set_contains(&region->sets[f], bh_region_value_of(key, f)))
			return false;
	return true;
}

static int add_listed(struct bh_set *set, const struct bh_range *ranges, size_t count, uint8_t mask,
                      const struct bh_words *words)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < count; i++)
		rc = bh_set_add_range(set, &ranges[i]);
	for (int w = 0; words && w < BH_WORDS; w++)
		for (size_t i = 0; !rc && mask & (1 << w) && i < words->count[w]; i++)
			rc = bh_set_add_range(set, &words->ranges[w][i]);
	bh_set_join(set);
	return rc;
}

static int set_of_addresses(struct bh_set *set, const struct bh_address_set *addresses,
                            const struct bh_words *words)
{
	struct bh_set holes = {0};
	int rc;

	if (!addresses->include_count && !addresses->include_words)
		rc = bh_set_add(set, 0, ~(bh_value)0);
	else
		rc = add_listed(set, addresses->include, addresses->include_count, addresses->include_words, words);
	if (!rc)
		rc = add_listed(&holes, addresses->exclude, addresses->exclude_count, addresses->exclude_words,
		                words);
	if (!rc && holes.count)
		rc = bh_set_subtract(set, &holes);
	bh_set_clear(&holes);
	return rc;
}

static int set_of_numbers(struct bh_set *set, const struct bh_number_set *numbers)
{
	int rc = numbers->count ? 0 : bh_set_add(set, 0, 0xffff);

	for (size_t i = 0; !rc && i < numbers->count; i++)
		rc = bh_set_add(set, numbers->ranges[i].first, numbers->ranges[i].last);
	bh_set_join(set);
	return rc;
}

static int set_of_protocols(struct bh_set *set, const struct bh_rule *rule)
{
	int rc = 0;

	if (rule->protocol >= 0)
		return bh_set_add(set, (bh_value)rule->protocol, (bh_value)rule->protocol);
	if (!rule->local_port.count && !rule->remote_port.count)
		return bh_set_add(set, 0, bh_region_max(BH_REGION_PROTOCOL));
	for (unsigned p = 0; !rc && p < 256; p++)
		if (bh_has_ports((uint8_t)p))
			rc = bh_set_add(set, p, p);
	bh_set_join(set);
	return rc;
}

int bh_region_of_rule(struct bh_region *region, const struct bh_rule *rule,
                      const struct bh_words *words)
{
	const struct bh_number_set *service = rule->icmp.count ? &rule->icmp : &rule->local_port;
	struct bh_set *sets = region->sets;
	int rc = bh_set_add(&sets[BH_REGION_DIRECTION], rule->direction, rule->direction);

	rc = rc ? rc : set_of_protocols(&sets[BH_REGION_PROTOCOL], rule);
	rc = rc ? rc : set_of_numbers(&sets[BH_REGION_LOCAL_PORT], service);
	rc = rc ? rc : set_of_numbers(&sets[BH_REGION_REMOTE_PORT], &rule->remote_port);
	rc = rc ? rc : set_of_addresses(&sets[BH_REGION_REMOTE], &rule->remote, words);
	return rc ? rc : set_of_addresses(&sets[BH_REGION_LOCAL], &rule->local, words);
}

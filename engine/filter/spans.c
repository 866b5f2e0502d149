/*
 * spans.c - see spans.h.
 */
#include "spans.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct bh_address address_max = {~0ULL, ~0ULL};

static int spans_add(struct bh_spans *spans, struct bh_address first, struct bh_address last)
{
	size_t room = spans->room ? spans->room * 2 : 4;
	struct bh_range *ranges;

	if (spans->count == spans->room) {
		ranges = realloc(spans->ranges, room * sizeof(*ranges));
		if (!ranges)
			return -ENOMEM;
		spans->ranges = ranges;
		spans->room = room;
	}
	spans->ranges[spans->count++] = (struct bh_range){first, last};
	return 0;
}

static int spans_add_numbers(struct bh_spans *spans, uint64_t first, uint64_t last)
{
	return spans_add(spans, (struct bh_address){0, first}, (struct bh_address){0, last});
}

void bh_spans_clear(struct bh_spans *spans)
{
	free(spans->ranges);
	memset(spans, 0, sizeof(*spans));
}

static int by_first(const void *a, const void *b)
{
	const struct bh_range *x = a, *y = b;

	return bh_address_below(&x->first, &y->first) ? -1 : bh_address_below(&y->first, &x->first);
}

/* Sorts, and joins what overlaps or touches. */
static void spans_join(struct bh_spans *spans)
{
	size_t n = 0;

	if (spans->count < 2)
		return;
	qsort(spans->ranges, spans->count, sizeof(*spans->ranges), by_first);
	for (size_t i = 0; i < spans->count; i++) {
		struct bh_range *last = n ? &spans->ranges[n - 1] : NULL, range = spans->ranges[i];

		if (last) {
			struct bh_address after = bh_address_next(last->last);

			if (!bh_address_below(&after, &range.first)) {
				if (bh_address_below(&last->last, &range.last))
					last->last = range.last;
				continue;
			}
		}
		spans->ranges[n++] = range;
	}
	spans->count = n;
}

/* Takes the joined `holes` out of the joined `from`. */
static int spans_subtract(struct bh_spans *result, const struct bh_spans *from, const struct bh_spans *holes)
{
	size_t h = 0;

	for (size_t i = 0; i < from->count; i++) {
		struct bh_address first = from->ranges[i].first, last = from->ranges[i].last;
		bool done = false;

		while (h < holes->count && bh_address_below(&holes->ranges[h].last, &first))
			h++;
		for (size_t j = h; j < holes->count && !done; j++) {
			const struct bh_range *hole = &holes->ranges[j];

			if (bh_address_below(&last, &hole->first))
				break;
			if (bh_address_below(&first, &hole->first) &&
			    spans_add(result, first, bh_address_previous(hole->first)))
				return -ENOMEM;
			done = !bh_address_below(&hole->last, &last);
			first = bh_address_next(hole->last);
		}
		if (!done && spans_add(result, first, last))
			return -ENOMEM;
	}
	return 0;
}

static const struct bh_address before = {0, BH_V4_MAPPED - 1}, after = {0, BH_V4_MAPPED + (1ULL << 32)};

/* Whether a range of IPv6 addresses spans the block that stands for IPv4, which it leaves out. */
static bool is_around_v4(const struct bh_range *range)
{
	return !bh_address_is_v4(&range->first) && !bh_address_below(&range->last, &after) &&
	       !bh_address_below(&before, &range->first);
}

static int spans_add_range(struct bh_spans *spans, const struct bh_range *range)
{
	if (!is_around_v4(range))
		return spans_add(spans, range->first, range->last);
	return spans_add(spans, range->first, before) ? -ENOMEM : spans_add(spans, after, range->last);
}

static int spans_add_set(struct bh_spans *spans, const struct bh_range *ranges, size_t count,
                         uint8_t mask, const struct bh_words *words)
{
	for (size_t i = 0; i < count; i++)
		if (spans_add_range(spans, &ranges[i]))
			return -ENOMEM;
	for (int w = 0; words && w < BH_WORDS; w++)
		for (size_t i = 0; mask & (1 << w) && i < words->count[w]; i++)
			if (spans_add_range(spans, &words->ranges[w][i]))
				return -ENOMEM;
	return 0;
}

static int spans_of_addresses(struct bh_spans *spans, const struct bh_address_set *set,
                              const struct bh_words *words)
{
	struct bh_spans include = {0}, holes = {0};
	int rc;

	if (!set->include_count && !set->include_words)
		rc = spans_add(&include, (struct bh_address){0, 0}, address_max);
	else
		rc = spans_add_set(&include, set->include, set->include_count, set->include_words, words);
	if (!rc)
		rc = spans_add_set(&holes, set->exclude, set->exclude_count, set->exclude_words, words);
	if (!rc) {
		spans_join(&include);
		spans_join(&holes);
		rc = spans_subtract(spans, &include, &holes);
	}
	bh_spans_clear(&include);
	bh_spans_clear(&holes);
	return rc;
}

static int spans_of_service(struct bh_spans *spans, const struct bh_rule *rule)
{
	static const uint8_t with_ports[] = {BH_PROTO_TCP, BH_PROTO_UDP, BH_PROTO_DCCP, BH_PROTO_SCTP,
	                                     BH_PROTO_UDPLITE};
	const struct bh_number_set *set = rule->icmp.count ? &rule->icmp : &rule->local_port;
	const uint8_t *protocols = with_ports;
	size_t count = sizeof(with_ports);
	uint8_t one = (uint8_t)rule->protocol;
	int rc = 0;

	if (rule->protocol >= 0) {
		protocols = &one;
		count = 1;
	} else if (!set->count && !rule->remote_port.count) {
		return spans_add_numbers(spans, 0, BH_SERVICE_MAX);
	}
	for (size_t p = 0; p < count; p++) {
		uint64_t base = (uint64_t)protocols[p] << 16;

		if (!set->count)
			rc |= spans_add_numbers(spans, base, base | 0xffff);
		for (size_t i = 0; i < set->count; i++)
			rc |= spans_add_numbers(spans, base | set->ranges[i].first, base | set->ranges[i].last);
	}
	if (!rc)
		spans_join(spans);
	return rc;
}

static int spans_of_remote_port(struct bh_spans *spans, const struct bh_number_set *set)
{
	int rc = set->count ? 0 : spans_add_numbers(spans, 0, 0xffff);

	for (size_t i = 0; i < set->count; i++)
		rc |= spans_add_numbers(spans, set->ranges[i].first, set->ranges[i].last);
	if (!rc)
		spans_join(spans);
	return rc;
}

int bh_spans_of_rule(struct bh_spans spans[BH_FIELDS], const struct bh_rule *rule,
                     const struct bh_words *words)
{
	int rc = spans_of_addresses(&spans[BH_FIELD_LOCAL], &rule->local, words);

	rc = rc ? rc : spans_of_addresses(&spans[BH_FIELD_REMOTE], &rule->remote, words);
	rc = rc ? rc : spans_of_service(&spans[BH_FIELD_SERVICE], rule);
	return rc ? rc : spans_of_remote_port(&spans[BH_FIELD_REMOTE_PORT], &rule->remote_port);
}

/*
 * pieces.c - see pieces.h.
 */
#include "pieces.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct bh_range mapped = {{0, BH_V4_MAPPED}, {0, BH_V4_MAPPED | 0xffffffff}};

/* The part of a range in a family; IPv6 never has the addresses that stand for IPv4. */
static bool clip(struct bh_range *to, const struct bh_range *range, bool v6)
{
	*to = *range;
	if (v6)
		return !bh_range_contains(&mapped, &range->first) || !bh_range_contains(&mapped, &range->last);
	if (bh_address_below(&to->first, &mapped.first))
		to->first = mapped.first;
	if (bh_address_below(&mapped.last, &to->last))
		to->last = mapped.last;
	return !bh_address_below(&to->last, &to->first);
}

/* Protocol and local port of a service; false where the family has no such protocol. */
static bool unpack_service(struct bh_piece *piece, const struct bh_range *service, bool v6)
{
	uint32_t first = (uint32_t)service->first.lo, last = (uint32_t)service->last.lo;

	piece->port_first[0] = (uint16_t)first;
	piece->port_last[0] = (uint16_t)last;
	piece->port_first[2] = first >> 16 & 0xff;
	piece->port_last[2] = last >> 16 & 0xff;
	return first >> 16 != last >> 16 || first >> 16 != (v6 ? BH_PROTO_ICMP : BH_PROTO_ICMP6);
}

static bool piece_make(struct bh_piece *piece, const struct bh_range *const ranges[BH_FIELDS], bool v6,
                       uint32_t direction)
{
	piece->space = bh_space_of(v6, direction);
	piece->port_first[1] = (uint16_t)ranges[BH_FIELD_REMOTE_PORT]->first.lo;
	piece->port_last[1] = (uint16_t)ranges[BH_FIELD_REMOTE_PORT]->last.lo;
	return clip(&piece->ranges[0], ranges[BH_FIELD_LOCAL], v6) &&
	       clip(&piece->ranges[1], ranges[BH_FIELD_REMOTE], v6) &&
	       unpack_service(piece, ranges[BH_FIELD_SERVICE], v6);
}

/* The pieces of one combination, at `to`, which has room for two. */
static uint32_t make_both(struct bh_piece *to, const struct bh_range *const ranges[BH_FIELDS], uint32_t direction)
{
	uint32_t n = piece_make(&to[0], ranges, false, direction);

	return n + piece_make(&to[n], ranges, true, direction);
}

static uint32_t combine(struct bh_piece *pieces, const struct bh_spans spans[BH_FIELDS],
                        uint32_t direction)
{
	const struct bh_range *at[BH_FIELDS];
	uint32_t n = 0;

	for (size_t l = 0; l < spans[BH_FIELD_LOCAL].count; l++)
		for (size_t r = 0; r < spans[BH_FIELD_REMOTE].count; r++)
			for (size_t s = 0; s < spans[BH_FIELD_SERVICE].count; s++)
				for (size_t p = 0; p < spans[BH_FIELD_REMOTE_PORT].count; p++) {
					at[BH_FIELD_LOCAL] = &spans[BH_FIELD_LOCAL].ranges[l];
					at[BH_FIELD_REMOTE] = &spans[BH_FIELD_REMOTE].ranges[r];
					at[BH_FIELD_SERVICE] = &spans[BH_FIELD_SERVICE].ranges[s];
					at[BH_FIELD_REMOTE_PORT] = &spans[BH_FIELD_REMOTE_PORT].ranges[p];
					n += make_both(&pieces[n], at, direction);
				}
	return n;
}

/* Lists of the rule, as pieces if there are not too many. */
static int of_lists(struct bh_pieces *pieces, const struct bh_rule *rule, struct bh_spans spans[BH_FIELDS])
{
	uint64_t product = 1, listed = 0;

	for (int f = 0; f < BH_FIELDS; f++) {
		product *= spans[f].count;
		listed += spans[f].count;
	}
	if (product > 2 * listed + 16) {
		pieces->fat = malloc(sizeof(*pieces->fat));
		if (!pieces->fat)
			return -ENOMEM;
		pieces->fat->direction = rule->direction;
		memcpy(pieces->fat->spans, spans, sizeof(pieces->fat->spans));
		memset(spans, 0, sizeof(pieces->fat->spans));
	} else if (product) {
		pieces->list = malloc((2 * product + 1) * sizeof(*pieces->list));
		if (!pieces->list)
			return -ENOMEM;
		pieces->count = combine(pieces->list, spans, rule->direction);
	}
	return 0;
}

int bh_pieces_of_rule(struct bh_pieces *pieces, const struct bh_rule *rule, const struct bh_words *words)
{
	struct bh_spans spans[BH_FIELDS] = {{0}};
	int rc;

	*pieces = (struct bh_pieces){0};
	rc = bh_spans_of_rule(spans, rule, words);
	rc = rc ? rc : of_lists(pieces, rule, spans);
	for (int f = 0; f < BH_FIELDS; f++)
		bh_spans_clear(&spans[f]);
	return rc;
}

void bh_pieces_clear(struct bh_pieces *pieces)
{
	for (int f = 0; pieces->fat && f < BH_FIELDS; f++)
		bh_spans_clear(&pieces->fat->spans[f]);
	free(pieces->fat);
	free(pieces->list);
	*pieces = (struct bh_pieces){0};
}

const struct bh_range bh_anywhere[2] = {{{0, 0}, {~0ULL, ~0ULL}}, {{0, 0}, {~0ULL, ~0ULL}}};

enum { PLAIN_V4 = 1, PLAIN_V6 = 2 };

/* One side of a plain rule, in the families that are returned; 0: it is not plain. */
static int plain_side(struct bh_plain *plain, int side, const struct bh_address_set *set)
{
	const struct bh_range *range = set->include;

	if (set->exclude_count || set->exclude_words || set->include_words || set->include_count > 1)
		return 0;
	if (!set->include_count) {
		plain->first[side] = 0;
		plain->last[side] = ~0u;
		if (!plain->anywhere)
			plain->ranges[side] = bh_anywhere[side];
		return PLAIN_V4 | PLAIN_V6;
	}
	if (bh_address_is_v4(&range->first) && bh_address_is_v4(&range->last)) {
		plain->first[side] = (uint32_t)range->first.lo;
		plain->last[side] = (uint32_t)range->last.lo;
		return PLAIN_V4;
	}
	/* Those that have an address of IPv4 as well are none of its own. */
	if (!bh_address_below(&mapped.last, &range->first) && !bh_address_below(&range->last, &mapped.first))
		return 0;
	plain->ranges[side] = *range;
	return PLAIN_V6;
}

bool bh_plain_of_rule(struct bh_plain *plain, const struct bh_rule *rule)
{
	const struct bh_number_set *service = rule->icmp.count ? &rule->icmp : &rule->local_port;
	const struct bh_number_set *remote = &rule->remote_port;
	bool any = rule->protocol < 0;
	uint8_t protocol = (uint8_t)rule->protocol;
	int local_side, remote_side, sides;

	if (service->count > 1 || remote->count > 1 || (any && service->count + remote->count))
		return false;
	plain->anywhere = !rule->local.include_count && !rule->remote.include_count;
	local_side = plain_side(plain, 0, &rule->local);
	remote_side = plain_side(plain, 1, &rule->remote);
	if (!local_side || !remote_side)
		return false;
	plain->port_first[0] = service->count ? service->ranges->first : 0;
	plain->port_last[0] = service->count ? service->ranges->last : 0xffff;
	plain->port_first[1] = remote->count ? remote->ranges->first : 0;
	plain->port_last[1] = remote->count ? remote->ranges->last : 0xffff;
	plain->port_first[2] = any ? 0 : protocol;
	plain->port_last[2] = any ? 0xff : protocol;
	/* A family has no packets of the other's ICMP. */
	sides = local_side & remote_side;
	if (!any && protocol == BH_PROTO_ICMP6)
		sides &= ~PLAIN_V4;
	if (!any && protocol == BH_PROTO_ICMP)
		sides &= ~PLAIN_V6;
	plain->spaces = (uint8_t)((sides & PLAIN_V4 ? 1 << bh_space_of(0, rule->direction) : 0) |
	                          (sides & PLAIN_V6 ? 1 << bh_space_of(1, rule->direction) : 0));
	return true;
}

static bool spans_contain(const struct bh_spans *spans, const struct bh_address *value)
{
	size_t low = 0, high = spans->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (bh_address_below(value, &spans->ranges[middle].first))
			high = middle;
		else
			low = middle + 1;
	}
	return low && !bh_address_below(&spans->ranges[low - 1].last, value);
}

bool bh_fat_matches(const struct bh_fat *fat, const struct bh_key *key)
{
	struct bh_address service = {0, bh_service(key)}, port = {0, key->remote_port};

	return fat->direction == key->direction &&
	       spans_contain(&fat->spans[BH_FIELD_SERVICE], &service) &&
	       spans_contain(&fat->spans[BH_FIELD_REMOTE], &key->remote) &&
	       spans_contain(&fat->spans[BH_FIELD_LOCAL], &key->local) &&
	       spans_contain(&fat->spans[BH_FIELD_REMOTE_PORT], &port);
}

/*
 * pieces.h - a rule as boxes: one range in each field. Inside filter/ only.
 *
 * A rule is a piece for each combination of what it lists. One of which there would be far more
 * combinations than it lists elements is `fat` instead: it stays as lists and is tried by itself. So
 * everything made of pieces is linear in what rules list.
 */
#ifndef BH_FILTER_PIECES_H
#define BH_FILTER_PIECES_H

#include "spans.h"

#define BH_SPACES 4 /* direction and family of a packet */

struct bh_piece {
	struct bh_range ranges[2];            /* local, remote: of one family */
	uint16_t port_first[3], port_last[3]; /* local port, remote port, protocol */
	uint32_t space;
};

struct bh_fat {
	uint32_t label;
	uint32_t direction;
	struct bh_spans spans[BH_FIELDS]; /* owned */
};

static inline uint32_t bh_space_of(uint32_t v6, uint32_t direction)
{
	return (v6 & 1) << 1 | (direction & 1);
}

/*
 * A rule that is at most one piece in either family, as most are. IPv6 comes last: where there is none of it, it is
 * not touched.
 */
struct bh_plain {
	uint32_t first[2], last[2];           /* IPv4: local, remote */
	uint16_t port_first[3], port_last[3]; /* as in a piece */
	uint8_t spaces;                       /* bit per space that it has a piece in */
	bool anywhere;                        /* in IPv6 both sides are all addresses, and not written down */
	struct bh_range ranges[2];            /* IPv6 */
};

extern const struct bh_range bh_anywhere[2];

/* Its ranges of IPv6. */
static inline const struct bh_range *bh_plain_ranges(const struct bh_plain *plain)
{
	return plain->anywhere ? bh_anywhere : plain->ranges;
}

/* False, and nothing is said of `plain`, where a rule needs bh_pieces_of_rule(). */
bool bh_plain_of_rule(struct bh_plain *plain, const struct bh_rule *rule);

/* Either pieces or lists in `fat`; neither: it matches nothing. */
struct bh_pieces {
	uint32_t count;
	struct bh_piece *list; /* owned */
	struct bh_fat *fat;    /* owned, or NULL */
};

int bh_pieces_of_rule(struct bh_pieces *pieces, const struct bh_rule *rule, const struct bh_words *words); /* -ENOMEM */
void bh_pieces_clear(struct bh_pieces *pieces);
bool bh_fat_matches(const struct bh_fat *fat, const struct bh_key *key);

#endif

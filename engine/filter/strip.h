/*
 * strip.h - boxes one after the other, sixteen compared at once: the form for rules that no bit of a
 * packet tells apart, and for few: what is left of a linear scan. Inside filter/.
 */
#ifndef BH_FILTER_STRIP_H
#define BH_FILTER_STRIP_H

#include "forest.h"

#define BH_STRIP_BOXES 16

/* Ranges as first and span, as in a leaf, but field by field. Unused places match nothing. */
struct bh_strip {
	uint32_t first[2][BH_STRIP_BOXES], span[2][BH_STRIP_BOXES];
	uint16_t port_first[3][BH_STRIP_BOXES], port_span[3][BH_STRIP_BOXES];
	uint32_t labels[BH_STRIP_BOXES];
} __attribute__((aligned(64)));

struct bh_strips {
	uint32_t count;
	bool names[2], names_remote_port; /* whether boxes have less than all local, remote addresses; ports */
	struct bh_strip *strips;
};

/* Of boxes sorted by label; -ENOMEM. */
int bh_strips_build(struct bh_strips *strips, const struct bh_box *boxes, uint32_t count);
void bh_strips_clear(struct bh_strips *strips);
/* Roughly the cycles of a lookup, over packets that the rules speak of; more than `most` if it is more. */
double bh_strips_cost(const struct bh_strips *strips, const struct bh_box *boxes, uint32_t count, double most);

#endif

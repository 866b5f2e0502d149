/*
 * ranks.h - the order of an IPv6 domain's bounds, as a compiled table has it (table.h). Inside filter/
 * only.
 */
#ifndef BH_FILTER_RANKS_H
#define BH_FILTER_RANKS_H

#include "trees.h"

/*
 * Sorts bounds, each once, the first of which is ::, and adds the first address of each network that has one, for which
 * there must be room: returns how many there are.
 */
uint32_t bh_ranks_sort(struct bh_address *bounds, uint32_t count);
/* The ranks of sorted bounds. */
void bh_ranks_number(const struct bh_address *bounds, uint32_t count, uint32_t *ranks);
/* The index of the last of sorted bounds that is not above the address. */
uint32_t bh_ranks_find(const struct bh_address *bounds, uint32_t count, const struct bh_address *address);
/* Appends what finds a rank among sorted bounds. Returns how many steps that takes at most. */
uint32_t bh_ranks_put(struct bh_trees *trees, struct bh_ranking *side, const struct bh_address *bounds,
                      const uint32_t *ranks, uint32_t count);

#endif

/*
 * covers.h - boxes that no packet can end in. Inside filter/ only.
 */
#ifndef BH_FILTER_COVERS_H
#define BH_FILTER_COVERS_H

#include "trees.h"

/*
 * Drops boxes, sorted by label, that lie inside one of the largest of those before them; the others keep
 * their order. Returns how many are left.
 */
uint32_t bh_covers_drop(struct bh_lanes_box *boxes, uint32_t count);

#endif

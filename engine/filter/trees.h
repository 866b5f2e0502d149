/*
 * trees.h - grows the trees of a compiled table (table.h). Inside filter/ only.
 */
#ifndef BH_FILTER_TREES_H
#define BH_FILTER_TREES_H

#include "../base/buffer.h"
#include "table.h"

/* Fields of a box in the order of their lanes. */
enum bh_lane { BH_LOCAL, BH_LOCAL_PORT, BH_PROTOCOL, BH_REMOTE, BH_REMOTE_PORT, BH_LANES };

struct bh_lanes_box {
	uint32_t first[BH_LANES], last[BH_LANES];
	uint32_t label;
};

/* A table being made. Everything is appended to `bytes`, which begins with the head. */
struct bh_trees {
	struct bh_buffer bytes;
	const struct bh_entry *entries; /* by label */
	uint32_t *leaves; /* hash table of offsets of leaves, to share equal ones */
	uint32_t leaves_count, leaves_room;
	uint32_t roots[BH_TREES]; /* of the domain at hand: child words */
	uint64_t work; /* boxes that may still be looked at before fewer ways to split are tried */
	uint32_t most_nodes, most_cubes;
	uint32_t cubes, nodes; /* made so far */
	bool failed;
};

/* Room of `size` bytes, zeroed, at a multiple of `align`: its offset. */
uint32_t bh_trees_room(struct bh_trees *trees, size_t size, size_t align);
/*
 * Fills roots and best of the domain with trees of the boxes, sorted by label. They take at most
 * `room` bytes, which must be 64 a box; the less room, the longer are leaves.
 */
void bh_trees_grow(struct bh_trees *trees, struct bh_domain *domain, const struct bh_lanes_box *boxes,
                   uint32_t count, bool v6, size_t room);
/*
 * Rows in the place of trees, where boxes, sorted by label, are few enough and many enough for these to be the
 * faster and have `room` bytes: 1, or 0. `entries` are by label. -ENOMEM.
 */
int bh_table_rows_put(struct bh_trees *trees, struct bh_domain *domain, const struct bh_lanes_box *boxes,
                      uint32_t count, const struct bh_entry *entries, size_t room);
void bh_trees_clear(struct bh_trees *trees);

#endif

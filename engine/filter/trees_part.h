/*
 * trees_part.h - what the files that grow trees share: boxes inside a node, and ways to split them.
 */
#ifndef BH_FILTER_TREES_PART_H
#define BH_FILTER_TREES_PART_H

#include "trees.h"

#define VALUES_MAX 64                /* of one word: a box with more goes to all children */
#define CELLS_MAX (VALUES_MAX * 4)   /* children that a box is said to reach one by one */
#define SAMPLE 128                   /* boxes of a node that candidates are tried on, to twice as many */
#define FORK_BITS 17                 /* of `fork_bits`, at most */
#define EVERYWHERE UINT32_MAX

static const uint8_t bh_lane_bits[BH_LANES] = {32, 16, 8, 32, 16};
static const uint8_t bh_lane_shift[BH_LANES] = {0, BH_LANE_PORT, BH_LANE_PROTOCOL, 0, BH_LANE_PORT};
static const uint64_t bh_factors[2] = {0x9e3779b97f4a7c15ULL, 0xc2b2ae3d27d4eb4fULL};

/* Adds bits to what is found with a cube, which has none of them. */
static inline void bh_cube_add(struct bh_cube *cube, uint32_t found)
{
	cube->first[1] |= (uint64_t)(found & ((1u << BH_FOUND_BITS) - 1)) << BH_FOUND_AT;
	cube->above[1] |= (uint64_t)(found >> BH_FOUND_BITS) << BH_FOUND_AT;
}

/* A box in a node: what of it is inside the node's hull. */
struct part {
	uint32_t first[BH_LANES], last[BH_LANES];
	uint32_t box;
};

struct hull {
	uint32_t first[BH_LANES], last[BH_LANES];
};

struct choice {
	uint32_t mask[BH_LANES];
	uint64_t factor[2];
	uint32_t bits;
	bool exact; /* at most one window in each word: the child's index tells their values */
};

struct growing {
	struct bh_trees *trees;
	const struct bh_lanes_box *boxes;
	uint32_t (*cells)[CELLS_MAX]; /* of a candidate, by box of the sample */
	uint32_t *loads;  /* of a candidate's cells */
	uint32_t *stamps; /* of cells that a box was seen to reach, with the number of the asking */
	uint32_t stamp;
	uint32_t fork_bits; /* children of a node at most, as a power of 2 */
	uint32_t most_nodes, most_cubes; /* on a way through the tree */
	uint32_t all_nodes, all_cubes;   /* sums over the trees so far */
};

/* The best way to split the boxes; false if a leaf is better. */
bool bh_trees_choose(struct growing *growing, const struct part *parts, uint32_t count,
                     const struct hull *hull, size_t room, struct choice *choice);
/* The children a packet of the part may reach, each once; EVERYWHERE where that is the cheaper. */
uint32_t bh_trees_cells(struct growing *growing, const struct choice *choice, const struct part *part,
                        uint32_t cells[CELLS_MAX]);
/* Says in each cube which of the trees that follow may have a better one. */
void bh_trees_mark(struct growing *growing, const struct bh_domain *domain);

#endif

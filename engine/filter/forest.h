/*
 * forest.h - boxes in bit-select trees: the form in which the classifier looks things up. Inside filter/.
 *
 * A box is a rule, or a part of one, as one range in each of five small fields. A forest is at most
 * four trees. A node picks a few bits of the packet's two words (addresses; ports and protocol) with
 * PEXT and jumps to a child; a leaf is a run of blocks, each of which holds eight boxes side by side,
 * compared at once, best first. The answer is the lowest label of all trees.
 *
 * Everything is an index into three flat arrays, so a forest is copied with three memcpy.
 */
#ifndef BH_FILTER_FOREST_H
#define BH_FILTER_FOREST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/shelf.h"

#define BH_LABEL_NONE 0x7fffffffu /* above every label; BH_PLACE_NONE */
#define BH_FOREST_TREES 4
#define BH_FOREST_DEPTH 8 /* nodes on a way down, at most */
#define BH_STAGED_LEAVES 6000 /* from here (1.5 MB) leaves are fetched ahead: they are not in L2 */
#define BH_CHILD_LEAF 0x80000000u /* the rest is the index of its first block; else of a node */

struct bh_box {
	uint32_t first[2], last[2];           /* local, remote: IPv4, or a rank among IPv6 bounds */
	uint16_t port_first[3], port_last[3]; /* local port, remote port, protocol */
	uint32_t label;                       /* lower takes precedence */
};

/* Ranges as first and span, since key - first <= span tests both ends; interleaved as the key is. */
struct bh_leaf {
	uint32_t first[8][2], span[8][2];
	uint16_t port_first[8][4]; /* [3] is the label's low half */
	uint16_t port_span[8][4];  /* [3] is its high half; of the last box, bit 15 = another block follows */
} __attribute__((aligned(64)));

#define BH_LEAF_MORE 0x8000u
#define BH_LEAF_SHIFT 8 /* sizeof(struct bh_leaf) = 1 << 8 */
#define BH_RUNS 48
#define BH_LEAVES_MAX (1u << (32 - BH_LEAF_SHIFT))

static inline uint32_t bh_leaf_label_at(const struct bh_leaf *leaf, uint32_t i)
{
	return leaf->port_first[i][3] | (uint32_t)(leaf->port_span[i][3] & 0x7fff) << 16;
}

/* The label of the first box that has the packet, or BH_LABEL_NONE: the plain way. */
static inline uint32_t bh_leaf_label(const struct bh_leaf *leaf, uint64_t w0, uint64_t w1)
{
	for (int i = 0; i < 8; i++) {
		bool in = (uint32_t)w0 - leaf->first[i][0] <= leaf->span[i][0] &&
		          (uint32_t)(w0 >> 32) - leaf->first[i][1] <= leaf->span[i][1];

		for (int p = 0; p < 3 && in; p++)
			in = (uint16_t)((uint16_t)(w1 >> 16 * p) - leaf->port_first[i][p]) <= leaf->port_span[i][p];
		if (in)
			return bh_leaf_label_at(leaf, (uint32_t)i);
	}
	return BH_LABEL_NONE;
}

/* The bits of the two words that index the children. */
struct bh_node {
	uint64_t mask[2];
	uint32_t children; /* index of the first */
	uint32_t shift;    /* bits of mask[0] */
};

struct bh_tree {
	struct bh_node root;
	uint32_t depth; /* nodes on the longest way down */
	uint32_t usual; /* nodes that nearly every packet meets at most */
	uint32_t best;  /* no label in it is lower; 0 in a forest that changes */
	uint32_t width; /* 4 or 8 = no leaf in it has more boxes and all ways are of `depth` nodes; else 0 */
	uint32_t skip;  /* the same, or 0 where asking whether it can win costs more than trying it */
};

struct bh_forest {
	struct bh_tree trees[BH_FOREST_TREES]; /* by best */
	uint32_t count;
	bool staged; /* a batch better goes through it step by step */
	uint32_t nodes_count, children_count, leaves_count;
	struct bh_node *nodes; /* [0] is a dummy with one child */
	uint32_t *children;
	struct bh_leaf *leaves; /* [0] is empty */
};

/*
 * A forest being made. Trees and leaves may be changed in place; what is published is a copy. One
 * that is `fixed` shares equal leaves, drops boxes that another hides, and takes no changes.
 */
struct bh_planting {
	struct bh_forest forest;
	struct bh_shelf *shelf; /* of the forest's arrays; NULL = the heap */
	uint32_t nodes_room, children_room, leaves_room;
	size_t max_bytes;
	uint64_t work; /* references looked at by the last build, which ends with long leaves beyond its budget */
	bool fixed;
	uint32_t wide[2];       /* a local or remote range of at least so many addresses is not specific */
	uint32_t tree_of[4];    /* of each kind: bit 0 local not specific, bit 1 remote */
	uint32_t *shared;       /* fixed: hash table of leaves */
	uint32_t shared_count, shared_room;
	struct bh_unused {
		uint32_t *leaves; /* where runs begin */
		uint32_t count, room;
	} unused[BH_RUNS]; /* runs of leaves, by their length: see run_blocks() */
};

#define BH_PLANTING_WORK 1000 /* references looked at, a box, at most; and so much for a start */
#define BH_PLANTING_START ((uint64_t)1 << 20)

/*
 * Makes the forest of the boxes, sorted by label. -ENOMEM. Beyond `max_bytes` (at least 4096 and 48 a box), or
 * after BH_PLANTING_WORK, nodes are not split any further: a forest degrades towards a linear scan and
 * never fails for its size.
 */
int bh_planting_build(struct bh_planting *planting, const struct bh_box *boxes, uint32_t count,
                      bool fixed, size_t max_bytes);
/* Roughly the cycles of a lookup, over packets that the rules speak of; sets how to look up. */
double bh_planting_cost(struct bh_planting *planting, const struct bh_box *boxes, uint32_t count);
void bh_planting_clear(struct bh_planting *planting);
size_t bh_forest_bytes(const struct bh_forest *forest);
/* How many places in leaves a box has, on average: so many a change of it touches. */
double bh_forest_places(const struct bh_forest *forest, uint32_t count);
/* How many boxes are in the leaf of one, on average: half of them a change of it moves. */
double bh_forest_crowd(const struct bh_forest *forest);

/* A box that comes, goes or has another label. */
struct bh_change {
	struct bh_box box;
	uint32_t label; /* of BH_RELABEL */
	enum { BH_INSERT, BH_REMOVE, BH_RELABEL } what;
};

#define BH_CHANGES_MOST 32

/*
 * Makes at most BH_CHANGES_MOST changes, one after the other, in a forest that is not fixed: the more at once, the
 * less each waits for memory. A box that comes has a label that is in no other box that overlaps it, but those
 * of the same rule. -ENOMEM, also if it has become larger than `max_bytes`: the forest is to be made anew.
 */
int bh_planting_change(struct bh_planting *planting, const struct bh_change *changes, uint32_t count, size_t max_bytes);

#endif

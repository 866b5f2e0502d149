/*
 * table.h - a compiled table as the evaluator reads it, natively and in the kernel: one run of bytes.
 *
 * A packet's direction and family choose a domain. One of few IPv4 rules is rows of bits (table_rows.h). In
 * any other, a packet's fields are packed into two words of lanes; in an IPv6 domain an address is its rank
 * among the bounds of the rules, found by a tree of its own. There are up to four trees of cubes (a rule is
 * a cube for each combination of what it lists) and, for rules whose lists would make too many cubes, a run
 * of bit-vector blocks (block.h). The lowest label wins; a label is a rule's place in the order of precedence.
 *
 * A node picks bits of both words with masks, gathers or hashes them by two multiplications, and the
 * top bits of the sum index its children. A child is a node or a leaf: a run of cubes in the order
 * of their labels. A cube is four words, compared lane by lane at once: above each lane is a guard bit,
 * into which a sum carries where the lane is outside. The bits between the lanes are a cube's label and
 * which of the trees that follow may have a better cube for some packet in this one. Most cubes of
 * specific rules have none, and a lookup ends with them. Behind the words is the rule's entry.
 *
 * All is offsets from the start, in units of 32 bytes where a child word says so. A table is immutable
 * once published. What the builder declares in the head (nodes and cubes on the longest way) bounds
 * every lookup.
 *
 * Where a table stands is said by `struct bh_place`. In the kernel a table is in a chunk, which is a
 * map's value of a constant size: offsets are masked by it, so the verifier sees no read outside it,
 * whatever a table's bytes are.
 */
#ifndef BH_FILTER_TABLE_H
#define BH_FILTER_TABLE_H

#include "block.h"

#define BH_UNIT 32 /* where nodes and leaves begin */
#define BH_TREES 4
#define BH_DOMAINS 4 /* direction and family of a packet */
#define BH_DEPTH_MAX 8
#define BH_LABEL_BITS 20
#define BH_NO_LABEL ((1u << BH_LABEL_BITS) - 1)
#define BH_TABLE_MAGIC 0x62680008u
#define BH_TABLE_TAIL (68u << 10) /* bytes at the end of a chunk that are of no table: a lookup may read there */

/* Lanes: an address, a guard, a port, a guard; and in the first word a protocol and a guard. */
#define BH_LANE_PORT 33
#define BH_LANE_PROTOCOL 55
#define BH_GUARDS (1ULL << 32 | 1ULL << 49 | 1ULL << 63)
#define BH_LANES_LOCAL (0xffffffffULL | 0xffffULL << BH_LANE_PORT | 0xffULL << BH_LANE_PROTOCOL)
#define BH_LANES_REMOTE (0xffffffffULL | 0xffffULL << BH_LANE_PORT)

/* A child: a leaf has bit 31, cubes in 10 bits (or more of them, see BH_COUNT_MANY), and the unit. */
#define BH_CHILD_LEAF 0x80000000u
#define BH_CHILD_UNITS 0x1fffffu
#define BH_CHILD_COUNT 21
#define BH_COUNT_MANY 0x3ffu /* the unit starts with the number of cubes; they begin at the next */
/* A leaf without cubes is one of a cube that has no packet: the second half of the head. */
#define BH_LEAF_EMPTY (BH_CHILD_LEAF | 1u << BH_CHILD_COUNT | 1u)

/*
 * A packet's words, and their complements: word + (most - last) carries where it is above a cube's last,
 * complement + first where it is below its first.
 */
struct bh_lanes {
	uint64_t local, remote, not_local, not_remote;
};

static inline struct bh_lanes bh_lanes_of(uint64_t local, uint64_t remote)
{
	struct bh_lanes lanes = {local, remote, ~local & BH_LANES_LOCAL, ~remote & BH_LANES_REMOTE};

	return lanes;
}

struct bh_cube {
	uint64_t first[2];
	uint64_t above[2]; /* most - last */
	struct bh_entry entry;
};

/*
 * What a cube says: its label and, from BH_FOUND_TREES on, a bit for each tree that follows. Both of the
 * remote words have as many bits of it between their guards.
 */
#define BH_FOUND_TREES 22
#define BH_FOUND_AT 50
#define BH_FOUND_BITS 13

struct bh_fork {
	uint64_t mask[2];
	uint64_t factor[2];
	uint32_t children; /* offset of uint32_t[1 << BH_FORK_BITS] */
	uint32_t shift;    /* that makes the offset of a child of the sum, but for its two low bits */
	uint32_t only;     /* the child of a root that has no other */
	uint32_t reserved[5];
};

#define BH_FORK_BITS(fork) (62 - (fork)->shift)

/*
 * The rank of an address is that of the last bound that is not above it. Bounds of one high half are a network,
 * of which 0 always is the first low half. Their ranks follow one another from a multiple of a power of two on
 * that has room for them, so the high bits of a rank tell the network, as a node of a tree wants it.
 *
 * A network of more than one bound has a node of its low halves, found by a hash of the high one. Where it is not,
 * and for other networks, nodes find the last high half that is not above an address's.
 *
 * A node cuts most of its values into cells by two windows of bits. The bits above the
 * windows and between them are the same in all of them. A cell is the offset of a node or, with BH_RANK_DONE, the
 * index of the value before it or at its first and, from bit BH_RANK_MORE on, how many more are in it.
 */
struct bh_rank_node {
	uint64_t high;         /* of a network's first node, and the rank of its first bound */
	uint64_t first, last;  /* of the values */
	uint64_t fixed;        /* bits in which they are the same */
	uint32_t rank;
	uint32_t cells;        /* offset of uint32_t[] */
	uint32_t values;       /* offset of uint64_t[]: each less 1, and then BH_RANK_SPARE that are above all */
	uint32_t below, above; /* indices of what is before the first, and of the last */
	uint16_t masks[2];     /* what of a value, shifted, the index of a cell has of either window */
	uint8_t shifts[2];
	uint16_t lower, upper; /* values before the first and behind the last that are in no cell */
	uint16_t reserved;
};
_Static_assert(sizeof(struct bh_rank_node) == 64, "a node is one line of the cache");

struct bh_rank_network {
	uint64_t high;
	uint32_t node; /* offset; 0 = there is one bound */
	uint32_t last; /* rank of the last bound */
};

struct bh_rank_slot {
	uint64_t high[2];
	uint32_t nodes[2]; /* offsets */
	uint32_t reserved[2];
};

#define BH_RANK_FACTOR 0x9e3779b97f4a7c15ULL
#define BH_RANK_LEVELS 3 /* nodes on a way */
#define BH_RANK_DONE 0x80000000u
#define BH_RANK_MORE 22
#define BH_RANK_MOST 0x1ffu /* so many values in a cell or more: all of the node are searched */
#define BH_RANK_NEAR 3u     /* more values in a cell are searched by halves */
#define BH_RANK_SPARE 2u

/* Two lines of the cache have all that most lookups need beside the trees: this and the first root. */
struct bh_domain {
	uint32_t best[BH_TREES]; /* no label in the tree is lower; BH_NO_LABEL: no tree */
	uint32_t entries, rules; /* as in the head */
	struct bh_ranking {
		uint32_t node;     /* offset of struct bh_rank_node, of high halves */
		uint32_t networks; /* offset of struct bh_rank_network[] */
		uint32_t slots;    /* offset of struct bh_rank_slot[], a multiple of 64, and how far a hash is shifted */
	} ranks[2];            /* local, remote; IPv6 only, where there is a tree */
	uint32_t blocks;     /* offset of the pages */
	uint32_t blocks_count;
	uint32_t blocks_best;
	uint32_t rows;       /* see table_rows.h; 0 = trees */
	struct bh_fork roots[BH_TREES]; /* of a tree that is a leaf: one that has a single child */
};

struct bh_table_head {
	uint32_t magic;
	uint32_t size;    /* bytes, a multiple of 64 */
	uint32_t entries; /* offset of struct bh_entry[rules], by label */
	uint32_t rules;
	/* No lookup in any domain passes more of these. */
	uint32_t most_nodes, most_cubes, most_blocks, most_rank_steps;
	uint32_t nobody[2]; /* 0, 1: a first that no packet reaches, see BH_LEAF_EMPTY */
	uint32_t cubes, nodes; /* in all */
	uint32_t reserved[4];
}; /* then struct bh_domain[BH_DOMAINS] */

static inline uint32_t bh_domain_of(uint32_t v6, uint32_t direction)
{
	return (v6 & 1) << 1 | (direction & 1);
}

/* Called once for each node, cube, block and step of a search; tests count. */
#ifndef BH_STEP
#define BH_STEP(what)
#endif

/* Long runs go through bh_loop, whose steps an includer names for each size of chunk. */
typedef long bh_loop_step(uint32_t index, void *arg);
/* The rare rest of a lookup is in functions of their own, which eBPF verifies by themselves. */
typedef uint32_t bh_far_scan(const void *chunk, uint32_t leaf, uint32_t at, uint64_t local, uint64_t remote);
typedef uint64_t bh_rank_both(const void *chunk, uint32_t at, uint32_t domain, const struct bh_key *key);
typedef uint32_t bh_run_lookup(const void *chunk, uint32_t blocks, uint32_t count, const struct bh_key *key);

/* A table in a chunk of (`mask` + 64) bytes, a power of two; natively a chunk is the table alone. */
struct bh_place {
	const uint8_t *chunk;
	uint32_t at;
};

/*
 * What stands at an offset: up to 64 bytes, aligned by their size. And a run of as many cubes as are
 * compared in line, or NULL: no table ends with a leaf.
 */
#define BH_OFFSETS 0x3fffff8u /* of cubes: the verifier sees that one is as good as another */
#define BH_RUN (BH_SCAN_NEAR * sizeof(struct bh_cube))
#ifdef __bpf__
#define BH_UNROLL _Pragma("clang loop unroll(full)")
#define BH_AT(place, offset, size, mask) \
	((const void *)((place)->chunk + (((place)->at + (offset)) & ((mask) | (64 - (size))))))
#define BH_DOMAIN_AT(place, offset, mask)                                    \
	((((place)->at + (offset)) & (mask)) > (mask) + 64 - sizeof(struct bh_domain) \
	     ? 0                                                                     \
	     : (const void *)((place)->chunk + (((place)->at + (offset)) & (mask))))
#define BH_CUBE_AT(place, offset, mask)                                                          \
	((((place)->at + (offset)) & ((mask) | 56)) > (mask) + 64 - sizeof(struct bh_cube)           \
	     ? 0                                                                                     \
	     : (const void *)((place)->chunk + (((place)->at + (offset)) & ((mask) | 56))))
#define BH_CHILD_AT(place, children, scaled, mask) BH_AT(place, (children) + (uint32_t)(scaled), 4, mask)
#define BH_HIDE(variable) __asm__("" : "+r"(variable)) /* what is read through it later is not read before */
#define BH_ROWS_AT(place, rows, mask)                                 \
	((((place)->at + (rows)) & (mask)) > (mask) + 64 - BH_ROWS_ROOM   \
	     ? 0                                                          \
	     : (place)->chunk + (((place)->at + (rows)) & (mask)))
#define BH_PAGE_AT(place, offset, mask)                             \
	((((place)->at + (offset)) & (mask)) > (mask) + 64 - BH_PAGE_ROOM ? 0 : (place)->chunk + (((place)->at + (offset)) & (mask)))
#define BH_RUN_OFFSET(place, offset, mask) (((place)->at + (offset)) & ((mask) | BH_UNIT))
#define BH_RUN_AT(place, offset, mask)                                   \
	(BH_RUN_OFFSET(place, offset, mask) > (mask) + 64 - BH_RUN           \
	     ? 0                                                             \
	     : (const void *)((place)->chunk + BH_RUN_OFFSET(place, offset, mask)))
#else
#define BH_UNROLL
#define BH_HIDE(variable)
#define BH_CUBE_AT(place, offset, mask) BH_AT(place, offset, sizeof(struct bh_cube), mask)
#define BH_CHILD_AT(place, children, scaled, mask) BH_AT(place, (children) + ((uint32_t)(scaled) & ~3u), 4, mask)
#define BH_DOMAIN_AT(place, offset, mask) BH_AT(place, offset, sizeof(struct bh_domain), mask)
#define BH_RUN_AT(place, offset, mask) ((void)(mask), (const void *)((place)->chunk + (place)->at + (size_t)(offset)))
#define BH_AT(place, offset, size, mask) ((void)(mask), (const void *)((place)->chunk + (place)->at + (size_t)(offset)))
#define BH_ROWS_AT(place, rows, mask) ((void)(mask), (place)->chunk + (place)->at + (size_t)((rows) & ~63u))
#define BH_PAGE_AT(place, offset, mask) ((void)(mask), (place)->chunk + (place)->at + (size_t)(offset))
#endif

#include "table_rows.h"

/* 1 where a < b, without a branch that would be mispredicted. */
BH_INLINE uint64_t bh_less(uint64_t a, uint64_t b)
{
	return ((~a & b) | ((~a | b) & (a - b))) >> 63;
}

#define BH_RANK_STEPS 22

/* 1 if the value at an index is not above the one that is looked for. */
BH_INLINE uint32_t bh_rank_reaches(const struct bh_place *table, uint32_t values, uint32_t index, uint64_t value,
                                   uint32_t mask)
{
	return (uint32_t)bh_less(*(const uint64_t *)BH_AT(table, values + index * 8, 8, mask), value);
}

/* The index of the last of `more` values behind one, or that one, that is not above `value`. */
BH_INLINE uint32_t bh_rank_search(const struct bh_place *table, uint32_t values, uint32_t index, uint32_t more,
                                  uint64_t value, uint32_t mask)
{
	if (more <= BH_RANK_NEAR) {
		BH_STEP(rank);
		index += bh_rank_reaches(table, values, index + 2, value, mask) << 1;
		return index + bh_rank_reaches(table, values, index + 1, value, mask);
	}
	more++;
	for (int i = 0; i < BH_RANK_STEPS && more > 1; i++) {
		uint32_t half = more >> 1;

		BH_STEP(rank);
		index += half & (0 - bh_rank_reaches(table, values, index + half, value, mask));
		more -= half;
	}
	return index;
}

/* The index of the last value of a node that is not above `value`. */
BH_INLINE uint32_t bh_rank_among(const struct bh_place *table, const struct bh_rank_node *node, uint64_t value,
                                 uint32_t mask)
{
	uint32_t values = node->values, index = 0, more = 0;

	for (int i = 0; i < BH_RANK_LEVELS; i++) {
		uint32_t cell;
		uint64_t at;

		BH_STEP(rank);
		index = node->below;
		more = node->above - index;
		if ((value ^ node->first) & node->fixed) {
			if (value < node->first) {
				more = node->lower;
				index -= more;
			} else if (value > node->last) {
				more = node->upper;
				index = node->above;
			} /* or it is in a hole */
			break;
		}
		at = (value >> (node->shifts[0] & 63) & node->masks[0]) | (value >> (node->shifts[1] & 63) & node->masks[1]);
		cell = *(const uint32_t *)BH_AT(table, node->cells + (uint32_t)at * 4, 4, mask);
		if (cell & BH_RANK_DONE) {
			if ((cell >> BH_RANK_MORE & BH_RANK_MOST) == BH_RANK_MOST)
				break;
			more = cell >> BH_RANK_MORE & BH_RANK_MOST;
			index = cell & ((1u << BH_RANK_MORE) - 1);
			break;
		}
		node = BH_AT(table, cell, 64, mask);
	}
	return bh_rank_search(table, values, index, more, value, mask);
}

/* The rank of an address. */
BH_INLINE uint32_t bh_rank_of(const struct bh_place *table, const struct bh_ranking *side,
                              const struct bh_address *address, uint32_t mask)
{
	uint64_t high = address->hi;
	uint32_t at = (uint32_t)(high * BH_RANK_FACTOR >> (side->slots & 63)) * (uint32_t)sizeof(struct bh_rank_slot);
	const struct bh_rank_slot *slot = BH_AT(table, (side->slots & ~63u) + at, 32, mask);
	const struct bh_rank_network *network;
	const struct bh_rank_node *node;

	if (slot->high[0] == high) {
		at = slot->nodes[0];
	} else if (slot->high[1] == high) {
		at = slot->nodes[1];
	} else {
		at = bh_rank_among(table, BH_AT(table, side->node, 64, mask), high, mask) * (uint32_t)sizeof(*network);
		network = BH_AT(table, side->networks + at, 16, mask);
		at = network->node;
		if (network->high != high || !at)
			return network->last;
	}
	node = BH_AT(table, at, 64, mask);
	return node->rank + bh_rank_among(table, node, address->lo, mask);
}

/* The ranks of a packet's addresses, the remote one's above the local one's. */
BH_INLINE uint64_t bh_ranks_of(const struct bh_place *table, uint32_t at, const struct bh_key *key,
                               uint32_t mask)
{
	const struct bh_domain *domain = BH_AT(table, at, 64, mask);

	return bh_rank_of(table, &domain->ranks[0], &key->local, mask) |
	       (uint64_t)bh_rank_of(table, &domain->ranks[1], &key->remote, mask) << 32;
}

/* Whether the packet is outside of the cube. */
BH_INLINE bool bh_cube_lacks(const struct bh_cube *cube, const struct bh_lanes *packet)
{
	return ((cube->first[0] + packet->not_local) | (cube->first[1] + packet->not_remote) |
	        (cube->above[0] + packet->local) | (cube->above[1] + packet->remote)) & BH_GUARDS;
}

BH_INLINE uint32_t bh_cube_found(const struct bh_cube *cube)
{
	return (uint32_t)(cube->first[1] >> BH_FOUND_AT | cube->above[1] >> BH_FOUND_AT << BH_FOUND_BITS);
}

#define BH_SCAN_NEAR 8 /* cubes of a leaf that are compared in line */

struct bh_scan {
	struct bh_place table;
	struct bh_lanes packet;
	uint32_t at, hit;
};

/* One more cube of a long leaf; 1 ends the loop. */
BH_INLINE long bh_scan_step(struct bh_scan *scan, uint32_t mask)
{
	const struct bh_cube *cube = BH_CUBE_AT(&scan->table, scan->at, mask);

	BH_STEP(cube);
	if (cube && !bh_cube_lacks(cube, &scan->packet)) {
		scan->hit = scan->at;
		return 1;
	}
	scan->at += sizeof(*cube);
	return 0;
}

/* Where the first cube of a long leaf is that has the packet, from the first not near on; 0 if none has. */
BH_INLINE uint32_t bh_scan_far(const struct bh_place *table, uint32_t leaf, uint64_t local, uint64_t remote,
                               bh_loop_step *step, uint32_t mask)
{
	uint32_t count = leaf >> BH_CHILD_COUNT & BH_COUNT_MANY, at = (leaf & BH_CHILD_UNITS) * BH_UNIT;
	struct bh_scan scan = {*table, bh_lanes_of(local, remote), at + BH_RUN, 0};

	if (count == BH_COUNT_MANY) {
		count = *(const uint32_t *)BH_AT(table, at, 4, mask) + 1;
	}
	bh_loop(count - BH_SCAN_NEAR, step, &scan);
	return scan.hit;
}

/* Where the first cube of a leaf is that has the packet, and what it says; 0 if none has. */
BH_INLINE uint32_t bh_leaf_lookup(const struct bh_place *table, uint32_t leaf, const struct bh_lanes *packet,
                                  uint32_t *found, bh_far_scan *far, uint32_t mask)
{
	uint32_t count = leaf >> BH_CHILD_COUNT & BH_COUNT_MANY, at = (leaf & BH_CHILD_UNITS) * BH_UNIT;
	const struct bh_cube *cubes = BH_RUN_AT(table, at, mask);

	if (!cubes)
		return 0;
	BH_UNROLL
	for (uint32_t i = 0; i < BH_SCAN_NEAR; i++) {
		BH_STEP(cube);
		if (!bh_cube_lacks(&cubes[i], packet)) {
			cubes += i;
			BH_HIDE(cubes);
			*found = bh_cube_found(cubes);
			return (at + i * (uint32_t)sizeof(*cubes)) & BH_OFFSETS;
		}
		if (count == i + 1)
			return 0;
	}
	at = far(table->chunk, leaf, table->at, packet->local, packet->remote);
	cubes = BH_CUBE_AT(table, at, mask);
	if (!at || !cubes)
		return 0;
	*found = bh_cube_found(cubes);
	return at & BH_OFFSETS;
}

/* The child of a node to which the packet goes. */
BH_INLINE uint32_t bh_fork_child(const struct bh_place *table, const struct bh_fork *fork,
                                 const struct bh_lanes *packet, uint32_t mask)
{
	uint64_t scaled = ((packet->local & fork->mask[0]) * fork->factor[0] +
	                   (packet->remote & fork->mask[1]) * fork->factor[1]) >> (fork->shift & 63);

	BH_STEP(node);
	return *(const uint32_t *)BH_CHILD_AT(table, fork->children, scaled, mask);
}

/* The leaf in which the packet ends, of a tree. */
BH_INLINE uint32_t bh_tree_leaf(const struct bh_place *table, const struct bh_fork *root,
                                const struct bh_lanes *packet, uint32_t mask)
{
	uint32_t child = bh_fork_child(table, root, packet, mask);

	for (int i = 1; i < BH_DEPTH_MAX && !(child & BH_CHILD_LEAF); i++)
		child = bh_fork_child(table, BH_AT(table, child * BH_UNIT, 64, mask), packet, mask);
	return child;
}

/* What is found so far, and bit i: the tree behind the next i may have better. */
struct bh_asked {
	uint32_t at; /* of a cube */
	uint32_t best, trees;
};

BH_INLINE void bh_tree_ask(struct bh_asked *asked, const struct bh_place *table, const struct bh_domain *domain, int tree,
                           const struct bh_lanes *packet, bh_far_scan *far, uint32_t mask)
{
	uint32_t asks = asked->trees & 1, at, found;

	asked->trees >>= 1;
	if (!asks || domain->best[tree] >= asked->best)
		return;
	at = bh_leaf_lookup(table, bh_tree_leaf(table, &domain->roots[tree], packet, mask), packet, &found, far, mask);
	if (!at)
		return;
	asked->trees &= found >> BH_FOUND_TREES;
	if ((found & BH_NO_LABEL) >= asked->best)
		return;
	asked->best = found & BH_NO_LABEL;
	asked->at = at;
}

/* The first word of a packet whose local address is `local`, in its family's 32 bits; and the second. */
BH_INLINE uint64_t bh_word_local(const struct bh_key *key, uint64_t local)
{
	return local | (uint64_t)key->local_port << BH_LANE_PORT | (uint64_t)key->protocol << BH_LANE_PROTOCOL;
}

BH_INLINE uint64_t bh_word_remote(const struct bh_key *key, uint64_t remote)
{
	return remote | (uint64_t)key->remote_port << BH_LANE_PORT;
}

struct bh_run {
	struct bh_place table;
	const struct bh_key *key;
	uint32_t at;
	uint32_t label;
};

/* One more block; 1 ends the loop. */
BH_INLINE long bh_run_step(struct bh_run *run, uint32_t mask)
{
	const uint8_t *page = BH_PAGE_AT(&run->table, run->at, mask);
	struct bh_entry entry;

	run->at += BH_PAGE_ROOM;
	BH_STEP(block);
	if (!page || !bh_block_lookup(page, run->key, &entry))
		return 0;
	run->label = entry.rule;
	return 1;
}

/* The label in a run of blocks, the first of which is at place->at. */
BH_INLINE uint32_t bh_run_first(const struct bh_place *place, uint32_t count, const struct bh_key *key,
                                bh_loop_step *step)
{
	struct bh_run run = {*place, key, 0, BH_NO_LABEL};

	bh_loop(count, step, &run);
	return run.label;
}

/*
 * The winning entry, in the table, or NULL if no rule of it matches. `ranks` calls bh_ranks_of, `far`
 * bh_scan_far and `blocks` bh_run_first, with the mask.
 */
BH_INLINE const struct bh_entry *bh_place_lookup(const struct bh_place *table, const struct bh_key *key,
                                                 bh_rank_both *ranks, bh_far_scan *far, bh_run_lookup *blocks,
                                                 uint32_t mask)
{
	uint32_t at = (uint32_t)sizeof(struct bh_table_head) +
	              bh_domain_of(key->v6, key->direction) * (uint32_t)sizeof(struct bh_domain);
	const struct bh_domain *domain = BH_DOMAIN_AT(table, at, mask);
	struct bh_asked asked = {0, BH_NO_LABEL, ~0u};
	const struct bh_cube *cube;
	uint32_t found;
	uint64_t local, remote;
	struct bh_lanes packet;

	if (!domain)
		return 0;
	if (domain->rows)
		return bh_rows_lookup(table, &domain->rows, key, mask);
	local = key->local.lo & 0xffffffff;
	remote = key->remote.lo & 0xffffffff;
	if (key->v6 && domain->best[0] != BH_NO_LABEL) {
		remote = ranks(table->chunk, table->at, at, key);
		local = remote & 0xffffffff;
		remote >>= 32;
	}
	packet = bh_lanes_of(bh_word_local(key, local), bh_word_remote(key, remote));
	bh_tree_ask(&asked, table, domain, 0, &packet, far, mask);
	if (asked.trees) {
		bh_tree_ask(&asked, table, domain, 1, &packet, far, mask);
		bh_tree_ask(&asked, table, domain, 2, &packet, far, mask);
		bh_tree_ask(&asked, table, domain, 3, &packet, far, mask);
	}
	if (domain->blocks_best < asked.best) {
		found = blocks(table->chunk, table->at + domain->blocks, domain->blocks_count, key);
		if (found < asked.best && found < domain->rules)
			return BH_AT(table, domain->entries + found * 8, 8, mask);
	}
	cube = asked.at ? BH_CUBE_AT(table, asked.at, mask) : 0;
	return cube ? &cube->entry : 0;
}

/* Whether entry `a` takes precedence over `b`: lower priority, then block before allow. */
static inline bool bh_entry_wins(const struct bh_entry *a, const struct bh_entry *b)
{
	if (a->priority != b->priority)
		return a->priority < b->priority;
	return (a->flags & BH_ENTRY_BLOCK) && !(b->flags & BH_ENTRY_BLOCK);
}

#ifndef __bpf__

#include "ruleset.h"

#define BH_TABLE_MAX ((64u << 20) - BH_TABLE_TAIL) /* bytes */

/* An immutable compiled table. */
struct bh_table {
	uint8_t *bytes; /* begins with the head */
	uint32_t size;
};

/* The same bytes for the same rules. -E2BIG, naming the limit, if they would be more than `max_bytes`. */
int bh_table_compile(struct bh_table **out, const struct bh_ruleset *ruleset, size_t max_bytes,
                     struct bh_error *err);
void bh_table_free(struct bh_table **table);

/* The winning entry in a table's bytes: 1, or 0 if none matches. NULL has none. */
int bh_table_find(const void *bytes, const struct bh_key *key, struct bh_entry *entry);

#endif
#endif

/*
 * forest_leaf.h - what growing a forest and changing it share: boxes as bits, and the memory of
 * leaves. Inside filter/ only.
 */
#ifndef BH_FILTER_FOREST_LEAF_H
#define BH_FILTER_FOREST_LEAF_H

#include "forest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEAF_BOXES 8
#define BITS 104        /* 64 of addresses, 40 of ports and protocol */
#define BYTES (BITS / 8)
#define SAMPLE 4096     /* boxes that choose a node's bits */
#define NODE_BITS 12
#define COST_SAMPLES 1000
#define USUALLY 3 /* one packet of so many may meet more nodes than is usual */
#define TRIALS_MAX 20000 /* boxes up to which every partition is tried */

#define STRIP_SAMPLE 500 /* strips after which nobody asks how much more it costs */

/* Cycles, roughly, from measuring: a lookup; a jump that goes the unexpected way. */
enum { COST_BASE = 8, COST_JUMP = 40, COST_STRIP = 7 };

/* Which bits of the two words are fixed in a box, and to what. */
struct form {
	uint64_t care[2], value[2];
};

/* The values that the packets of a node's cell can have. */
struct region {
	uint64_t known[2], value[2];
};

struct growing {
	struct bh_planting *planting;
	const struct bh_box *boxes;
	struct form *forms;
	uint32_t leaf_max; /* boxes of a leaf that is not worth another node */
	float fill;        /* boxes that a packet may as well be compared with as with one */
	double growth;     /* references a node may make of one */
	uint64_t work_max; /* of the planting's work */
	bool failed;
};

static uint64_t spread[256]; /* bit i of the index in byte i */

static inline void spread_init(void)
{
	if (spread[1])
		return;
	for (int i = 255; i >= 0; i--) {
		uint64_t word = 0;

		for (int b = 0; b < 8; b++)
			word |= (uint64_t)(i >> b & 1) << (8 * b);
		spread[i] = word;
	}
}

static inline uint64_t care_of(uint32_t first, uint32_t last, uint32_t all)
{
	return first == last ? all : all & ~((2u << (31 - __builtin_clz(first ^ last))) - 1);
}

static inline void form_of(struct form *form, const struct bh_box *box)
{
	form->care[0] = care_of(box->first[0], box->last[0], ~0u) |
	                care_of(box->first[1], box->last[1], ~0u) << 32;
	form->value[0] = (box->first[0] | (uint64_t)box->first[1] << 32) & form->care[0];
	form->care[1] = form->value[1] = 0;
	for (int p = 0; p < 3; p++) {
		form->care[1] |= care_of(box->port_first[p], box->port_last[p], p == 2 ? 0xff : 0xffff) << (16 * p);
		form->value[1] |= (uint64_t)box->port_first[p] << (16 * p);
	}
	form->value[1] &= form->care[1];
}

/* The bits of `word` in `mask`, packed. */
static inline uint32_t extract(uint64_t word, uint64_t mask)
{
	uint32_t bits = 0;

#ifdef __x86_64__
	if (__builtin_cpu_supports("bmi2")) {
		uint64_t packed;

		__asm__("pext %2, %1, %0" : "=r"(packed) : "r"(word), "r"(mask));
		return (uint32_t)packed;
	}
#endif

	for (uint32_t i = 0; mask; i++, mask &= mask - 1)
		bits |= (uint32_t)(word >> __builtin_ctzll(mask) & 1) << i;
	return bits;
}

/* An array of a forest. */
static inline int grow(struct bh_planting *planting, void *array, uint32_t *room, uint32_t need, size_t size)
{
	uint32_t wanted = *room ? *room : 64;
	void *new;

	if (need <= *room)
		return 0;
	while (wanted < need)
		wanted += wanted / 2;
	new = bh_shelf_resize(planting->shelf, *(void **)array, wanted * size);
	if (!new)
		return -ENOMEM;
	*(void **)array = new;
	*room = wanted;
	return 0;
}

/* Leaves. */

static inline void leaf_clear(struct bh_leaf *leaf)
{
	memset(leaf, 0, sizeof(*leaf));
	for (int i = 0; i < LEAF_BOXES; i++)
		leaf->port_first[i][2] = 0xffff; /* no protocol */
}

static inline void leaf_set(struct bh_leaf *leaf, uint32_t i, const struct bh_box *box)
{
	for (int a = 0; a < 2; a++) {
		leaf->first[i][a] = box->first[a];
		leaf->span[i][a] = box->last[a] - box->first[a];
	}
	for (int p = 0; p < 3; p++) {
		leaf->port_first[i][p] = box->port_first[p];
		leaf->port_span[i][p] = (uint16_t)(box->port_last[p] - box->port_first[p]);
	}
	leaf->port_first[i][3] = (uint16_t)box->label;
	leaf->port_span[i][3] = (uint16_t)(box->label >> 16 | (leaf->port_span[i][3] & BH_LEAF_MORE));
}

static inline bool leaf_get(const struct bh_leaf *leaf, uint32_t i, struct bh_box *box)
{
	if (leaf->port_first[i][2] == 0xffff)
		return false;
	for (int a = 0; a < 2; a++) {
		box->first[a] = leaf->first[i][a];
		box->last[a] = leaf->first[i][a] + leaf->span[i][a];
	}
	for (int p = 0; p < 3; p++) {
		box->port_first[p] = leaf->port_first[i][p];
		box->port_last[p] = (uint16_t)(leaf->port_first[i][p] + leaf->port_span[i][p]);
	}
	box->label = bh_leaf_label_at(leaf, i);
	return true;
}

/* Copies a box to another place. */
static inline void leaf_move(struct bh_leaf *to, uint32_t i, const struct bh_leaf *from, uint32_t j)
{
	uint16_t more = to->port_span[i][3] & BH_LEAF_MORE;

	memcpy(to->first[i], from->first[j], sizeof(to->first[i]));
	memcpy(to->span[i], from->span[j], sizeof(to->span[i]));
	memcpy(to->port_first[i], from->port_first[j], sizeof(to->port_first[i]));
	memcpy(to->port_span[i], from->port_span[j], sizeof(to->port_span[i]));
	to->port_span[i][3] = (uint16_t)((to->port_span[i][3] & ~BH_LEAF_MORE) | more);
}

static inline uint32_t leaf_run(const struct bh_forest *forest, uint32_t leaf)
{
	uint32_t run = 1;

	while (forest->leaves[leaf + run - 1].port_span[7][3] & BH_LEAF_MORE)
		run++;
	return run;
}

static inline uint32_t leaf_count(const struct bh_forest *forest, uint32_t leaf)
{
	uint32_t run = leaf_run(forest, leaf), count = 8 * run;

	while (count > 8 * (run - 1) && forest->leaves[leaf + (count - 1) / 8].port_first[(count - 1) % 8][2] == 0xffff)
		count--;
	return count;
}

/*
 * Where boxes went, a leaf keeps the block behind its run, which lookups do not go to: boxes come again. A
 * block that is kept has no box, and this where the last one would be.
 */
#define LEAF_KEPT 1u

static inline bool leaf_is_kept(const struct bh_forest *forest, uint32_t leaf)
{
	return leaf < forest->leaves_count && forest->leaves[leaf].port_first[0][2] == 0xffff &&
	       forest->leaves[leaf].first[7][0] == LEAF_KEPT;
}

static inline void leaf_keep(struct bh_leaf *leaf)
{
	leaf_clear(leaf);
	leaf->first[7][0] = LEAF_KEPT;
}

/* Lengths of unused runs: 1, 2, 3, 4, 6, 8, 12, 16, … And which is the longest that is not longer. */
static inline uint32_t run_blocks(uint32_t which)
{
	return which % 2 ? 1u << (which + 1) / 2 : (3u << which / 2) / 2;
}

static inline uint32_t run_within(uint32_t blocks)
{
	uint32_t log = 31 - (uint32_t)__builtin_clz(blocks);

	return log ? 2 * log - 1 + (blocks >> (log - 1) & 1) : 0;
}

static inline uint32_t run_above(uint32_t blocks)
{
	uint32_t which = run_within(blocks);

	return which + (run_blocks(which) < blocks);
}

/* A run of unused, cleared leaves, of which some are kept; 0 and the growing fails if there is no memory. */
static inline uint32_t leaves_take(struct growing *growing, uint32_t run, uint32_t kept)
{
	struct bh_planting *planting = growing->planting;
	struct bh_forest *forest = &planting->forest;
	struct bh_unused *unused = &planting->unused[run_above(run + kept)];
	uint32_t at, blocks = run + kept;

	if (unused->count) {
		at = unused->leaves[--unused->count];
		blocks = run_blocks(run_above(blocks));
	} else {
		if (forest->leaves_count + blocks > BH_LEAVES_MAX ||
		    grow(planting, &forest->leaves, &planting->leaves_room, forest->leaves_count + blocks,
		         sizeof(struct bh_leaf))) {
			growing->failed = true;
			return 0;
		}
		at = forest->leaves_count;
		forest->leaves_count += blocks;
	}
	for (uint32_t i = 0; i < run; i++) {
		leaf_clear(&forest->leaves[at + i]);
		if (i + 1 < run)
			forest->leaves[at + i].port_span[7][3] = BH_LEAF_MORE;
	}
	for (uint32_t i = run; i < blocks; i++)
		leaf_keep(&forest->leaves[at + i]);
	return at;
}

static inline void leaves_give(struct bh_planting *planting, uint32_t at)
{
	uint32_t blocks = leaf_run(&planting->forest, at);
	struct bh_unused *unused;

	while (leaf_is_kept(&planting->forest, at + blocks))
		blocks++;
	unused = &planting->unused[run_within(blocks)];
	if (at && !grow(planting, &unused->leaves, &unused->room, unused->count + 1, sizeof(uint32_t)))
		unused->leaves[unused->count++] = at;
}

static inline bool leaf_equals(const struct growing *growing, uint32_t leaf, const uint32_t *list,
                        uint32_t count)
{
	const struct bh_forest *forest = &growing->planting->forest;
	struct bh_box box;

	if (leaf_run(forest, leaf) != (count + LEAF_BOXES - 1) / LEAF_BOXES)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		const struct bh_box *want = &growing->boxes[list[i]];

		if (!leaf_get(&forest->leaves[leaf + i / 8], i % 8, &box) || memcmp(&box, want, sizeof(box)))
			return false;
	}
	return count % 8 == 0 || !leaf_get(&forest->leaves[leaf + count / 8], count % 8, &box);
}

static inline uint32_t list_hash(const uint32_t *list, uint32_t count)
{
	uint64_t hash = count;

	for (uint32_t i = 0; i < count; i++)
		hash = (hash ^ list[i]) * 0x9e3779b97f4a7c15ULL, hash ^= hash >> 29;
	return (uint32_t)(hash >> 16);
}

/* The place of an equal leaf, or of none yet, in the table of shared ones. */
static inline uint32_t *shared_find(struct growing *growing, const uint32_t *list, uint32_t count)
{
	struct bh_planting *planting = growing->planting;
	uint32_t at;

	if (planting->shared_count * 2 >= planting->shared_room) {
		uint32_t room = planting->shared_room ? planting->shared_room * 4 : 1024;
		uint32_t *table = calloc(room, 2 * sizeof(*table));

		if (!table) {
			growing->failed = true;
			return NULL;
		}
		for (uint32_t i = 0; i < planting->shared_room; i++) {
			const uint32_t *old = &planting->shared[2 * i];

			for (at = old[1] & (room - 1); old[0] && table[2 * at]; at = (at + 1) & (room - 1))
				;
			if (old[0])
				memcpy(&table[2 * at], old, 2 * sizeof(*old));
		}
		free(planting->shared);
		planting->shared = table;
		planting->shared_room = room;
	}
	at = list_hash(list, count);
	for (uint32_t hash = at;; at++) {
		uint32_t *entry = &planting->shared[2 * (at & (planting->shared_room - 1))];

		if (!entry[0]) {
			entry[1] = hash;
			return entry;
		}
		if (entry[1] == hash && leaf_equals(growing, entry[0], list, count))
			return entry;
	}
}

static inline uint32_t make_leaf(struct growing *growing, const uint32_t *list, uint32_t count)
{
	struct bh_forest *forest = &growing->planting->forest;
	uint32_t *shared = NULL, at;

	if (!count)
		return BH_CHILD_LEAF;
	if (growing->planting->fixed) {
		shared = shared_find(growing, list, count);
		if (!shared || *shared)
			return BH_CHILD_LEAF | (shared ? *shared : 0);
	}
	at = leaves_take(growing, (count + LEAF_BOXES - 1) / LEAF_BOXES, 0);
	if (growing->failed)
		return BH_CHILD_LEAF;
	for (uint32_t i = 0; i < count; i++)
		leaf_set(&forest->leaves[at + i / 8], i % 8, &growing->boxes[list[i]]);
	if (shared) {
		*shared = at;
		growing->planting->shared_count++;
	}
	return BH_CHILD_LEAF | at;
}

/* Some packet of the box: corners and inner points alike. */
static inline void packet_of(const struct bh_box *box, uint32_t seed, uint64_t words[2])
{
	uint32_t at[2], port[3];

	for (int a = 0; a < 2; a++)
		at[a] = box->first[a] + (uint32_t)((uint64_t)(seed *= 2654435761u) *
		        ((uint64_t)(box->last[a] - box->first[a]) + 1) >> 32);
	for (int p = 0; p < 3; p++)
		port[p] = box->port_first[p] + (uint32_t)((uint64_t)(seed *= 2654435761u) *
		          (uint32_t)(box->port_last[p] - box->port_first[p] + 1) >> 32);
	words[0] = at[0] | (uint64_t)at[1] << 32;
	words[1] = port[0] | port[1] << 16 | (uint64_t)port[2] << 32;
}

struct span {
	uint32_t fixed, open; /* the index's bits that the box gives, and those it leaves open */
};

static inline struct span span_of(const struct bh_node *node, const struct form *form)
{
	struct span span;

	span.fixed = extract(form->value[0], node->mask[0]) |
	             extract(form->value[1], node->mask[1]) << node->shift;
	span.open = extract(~form->care[0], node->mask[0]) |
	            extract(~form->care[1], node->mask[1]) << node->shift;
	return span;
}

static inline uint32_t node_bits(const struct bh_node *node)
{
	return (uint32_t)(__builtin_popcountll(node->mask[0]) + __builtin_popcountll(node->mask[1]));
}

static inline uint32_t kind_of(const struct bh_planting *planting, const struct bh_box *box)
{
	return (uint32_t)(box->last[0] - box->first[0] >= planting->wide[0]) |
	       (uint32_t)(box->last[1] - box->first[1] >= planting->wide[1]) << 1;
}

/* forest.c: the tree of the listed boxes, at `root` or as the child that is returned. */
uint32_t bh_forest_make_tree(struct growing *growing, struct bh_node *root, uint32_t *list,
                             uint32_t count, struct region region, uint32_t level, uint32_t *depth);

#endif

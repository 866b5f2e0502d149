/*
 * lookup.h - the way of a packet through a space. Included once per instruction set, which defines
 *
 *   BH_SELECT(word, mask)        the bits of `word` in `mask`, packed (PEXT)
 *   BH_PACK(word, mask, moves)   the same, by moves that were made for the mask (scale.h)
 *   BH_COMPARE(leaf, w0, w1)     bit i: box i of the leaf matches
 *   BH_COMPARE4(leaf, w0, w1)    the same of its first four boxes
 *   BH_COMPARE16(strips, strip, key)  BH_COMPARE16_BITS bits for each box of the strip, set if it matches
 *   BH_NAME(name)                the variant's name for a function
 *
 * lookup_few.h, lookup_rows.h and lookup_scale.h are parts of it. The functions of a form take a space; those
 * for the usual packets (space.h) take the classifier, as bh_classifier_lookup() calls them.
 *
 * In a forest there is no branch on data but "no match, and more blocks follow", "not a leaf yet" and
 * "a later tree cannot win", which are nearly always the same; nodes on a way are a constant of the tree, finished ways
 * go on through a dummy. Out of order, a processor then works on several packets at once.
 */
#include <string.h>

#include "classifier.h"
#include "space.h"

/* All bits if none of these is set, which are at most 31; and the lower label: without branches. */
static inline uint32_t BH_NAME(if_none)(uint32_t match)
{
	return (uint32_t)((int32_t)(match - 1) >> 31);
}

static inline uint32_t BH_NAME(lower)(uint32_t a, uint32_t b)
{
	int32_t over = (int32_t)(b - a); /* both are below 2^31 */

	return a + (uint32_t)(over & over >> 31);
}

static inline uint32_t BH_NAME(select)(const struct bh_node *node, uint64_t w0, uint64_t w1)
{
	return node->children +
	       (uint32_t)(BH_SELECT(w0, node->mask[0]) | BH_SELECT(w1, node->mask[1]) << node->shift);
}

static inline const struct bh_leaf *BH_NAME(leaf)(const struct bh_forest *forest, uint32_t child)
{
	return (const struct bh_leaf *)((const char *)forest->leaves + (uint32_t)(child << BH_LEAF_SHIFT));
}

/* The first block of the leaf in which this packet ends; `usual` nodes are gone through anyway. */
static inline __attribute__((always_inline)) const struct bh_leaf *
BH_NAME(descend)(const struct bh_forest *forest, const struct bh_tree *tree, uint32_t usual, uint64_t w0,
                 uint64_t w1)
{
	uint32_t child = forest->children[BH_NAME(select)(&tree->root, w0, w1)];

	for (uint32_t d = 1; d < usual; d++) {
		uint32_t done = (uint32_t)((int32_t)child >> 31);
		uint32_t next = forest->children[BH_NAME(select)(&forest->nodes[child & ~done], w0, w1)];

		child = (child & done) | (next & ~done);
	}
	while (__builtin_expect(!(child & BH_CHILD_LEAF), 0))
		child = forest->children[BH_NAME(select)(&forest->nodes[child], w0, w1)];
	return BH_NAME(leaf)(forest, child);
}

/* The lowest label in a leaf's run of blocks. */
static inline uint32_t BH_NAME(scan)(const struct bh_leaf *leaf, uint64_t w0, uint64_t w1)
{
	for (;; leaf++) {
		uint32_t match = BH_COMPARE(leaf, w0, w1), none = BH_NAME(if_none)(match);

		if (__builtin_expect(leaf->port_span[7][3] >> 15 & none, 0))
			continue;
		return bh_leaf_label_at(leaf, (uint32_t)__builtin_ctz(match | 0x80)) | (none & BH_LABEL_NONE);
	}
}

/* `usual` and `width` as in the tree, but constants where there is a function for them. */
static inline __attribute__((always_inline)) uint32_t
BH_NAME(tree)(const struct bh_forest *forest, const struct bh_tree *tree, uint32_t usual, uint32_t width,
              uint64_t w0, uint64_t w1)
{
	const struct bh_leaf *leaf;
	uint32_t match;

	if (!width)
		return BH_NAME(scan)(BH_NAME(descend)(forest, tree, usual, w0, w1), w0, w1);
	leaf = BH_NAME(leaf)(forest, forest->children[BH_NAME(select)(&tree->root, w0, w1)]);
	match = width == 4 ? BH_COMPARE4(leaf, w0, w1) : BH_COMPARE(leaf, w0, w1);
	return bh_leaf_label_at(leaf, (uint32_t)__builtin_ctz(match | 0x80)) |
	       (BH_NAME(if_none)(match) & BH_LABEL_NONE);
}

/* The packet's addresses, and its ports and protocol. */
static inline __attribute__((always_inline)) void BH_NAME(words)(const struct bh_key *key, uint64_t words[2])
{
	words[0] = (uint32_t)key->local.lo | key->remote.lo << 32;
	if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) {
		memcpy(&words[1], &key->local_port, sizeof(words[1]));
		words[1] &= ~0ULL >> 24;
	} else {
		words[1] = (uint64_t)key->local_port | (uint64_t)key->remote_port << 16 | (uint64_t)key->protocol << 32;
	}
}

/* The label of the first box, strip after strip. */
static inline uint32_t BH_NAME(strips)(const struct bh_strips *strips, const struct bh_key *key)
{
	const struct bh_strip *strip = strips->strips, *end = strip + strips->count;

	for (; strip < end; strip++) {
		uint32_t match = BH_COMPARE16(strips, strip, key);

		if (match)
			return strip->labels[(uint32_t)__builtin_ctz(match) / BH_COMPARE16_BITS];
	}
	return BH_LABEL_NONE;
}

static inline uint32_t BH_NAME(trees)(const struct bh_space *space, uint64_t w0, uint64_t w1)
{
	const struct bh_forest *forest = &space->forest;
	uint32_t best = BH_LABEL_NONE;

	for (uint32_t t = 0; t < forest->count; t++) {
		const struct bh_tree *tree = &forest->trees[t];

		if (best < tree->skip)
			break;
		best = BH_NAME(lower)(best, BH_NAME(tree)(forest, tree, tree->usual, 0, w0, w1));
	}
	return best;
}

/* Where packets of a batch are; those still on the way are in a list. */
struct BH_NAME(batch) {
	uint32_t at[BH_CHUNK];   /* a child word, then a leaf */
	uint32_t list[BH_CHUNK]; /* packets */
};

/* Takes every packet in the list down to its leaf. */
static inline void BH_NAME(descend_all)(struct BH_NAME(batch) *batch, const struct bh_forest *forest,
                                        const struct bh_tree *tree, const uint64_t (*words)[2],
                                        uint32_t count)
{
	uint32_t way[BH_CHUNK], left = 0;

	for (uint32_t k = 0; k < count; k++) {
		uint32_t i = batch->list[k];
		uint32_t child = forest->children[BH_NAME(select)(&tree->root, words[i][0], words[i][1])];

		batch->at[i] = child;
		way[left] = i;
		left += !(child >> 31);
	}
	while (left) {
		uint32_t n = left;

		left = 0;
		for (uint32_t k = 0; k < n; k++) {
			uint32_t i = way[k];
			const struct bh_node *node = &forest->nodes[batch->at[i]];
			uint32_t child = forest->children[BH_NAME(select)(node, words[i][0], words[i][1])];

			batch->at[i] = child;
			way[left] = i;
			left += !(child >> 31);
		}
	}
}

/* Compares the packets in the list with their leaves, block by block, and lowers their labels. */
static inline void BH_NAME(scan_all)(struct BH_NAME(batch) *batch, const struct bh_forest *forest,
                                     const uint64_t (*words)[2], uint32_t count, uint32_t *labels)
{
	while (count) {
		uint32_t n = count;

		count = 0;
		for (uint32_t k = 0; k < n; k++) {
			uint32_t at = batch->list[k];
			const struct bh_leaf *leaf = &forest->leaves[batch->at[at] & ~BH_CHILD_LEAF];
			uint32_t match = BH_COMPARE(leaf, words[at][0], words[at][1]);
			uint32_t i = (uint32_t)__builtin_ctz(match | 0x80);
			uint32_t label = bh_leaf_label_at(leaf, i);

			labels[at] = BH_NAME(lower)(labels[at], label | (BH_NAME(if_none)(match) & BH_LABEL_NONE));
			batch->at[at]++;
			batch->list[count] = at;
			count += (match == 0) & leaf->port_span[7][3] >> 15;
		}
	}
}

/*
 * Labels of `count` packets (at most BH_CHUNK) of one forest. Packets go through a step together;
 * those that need another step are packed into a list without a branch, so nothing is mispredicted
 * but the ends of loops.
 */
static void BH_NAME(staged)(const struct bh_space *space, const struct bh_key *keys, uint32_t count,
                            uint32_t *labels)
{
	const struct bh_forest *forest = &space->forest;
	struct BH_NAME(batch) batch;
	uint64_t words[BH_CHUNK][2];

	for (uint32_t i = 0; i < count; i++) {
		BH_NAME(words)(&keys[i], words[i]);
		labels[i] = BH_LABEL_NONE;
	}
	for (uint32_t t = 0; t < forest->count; t++) {
		const struct bh_tree *tree = &forest->trees[t];
		uint32_t n = 0;

		for (uint32_t i = 0; i < count; i++) {
			batch.list[n] = i;
			n += labels[i] > tree->best;
		}
		BH_NAME(descend_all)(&batch, forest, tree, (const uint64_t (*)[2])words, n);
		if (forest->leaves_count >= BH_STAGED_LEAVES)
			for (uint32_t k = 0; k < n; k++)
				for (uint32_t line = 0; line < sizeof(struct bh_leaf); line += 64)
					__builtin_prefetch((const char *)&forest->leaves[batch.at[batch.list[k]] & ~BH_CHILD_LEAF] + line);
		BH_NAME(scan_all)(&batch, forest, (const uint64_t (*)[2])words, n, labels);
	}
}

#define BH_BIND(name)                                                                                \
	(space->one = BH_NAME(name##_one), space->usual = BH_NAME(name##_usual), space->all = BH_NAME(name##_all))

#define BH_USUAL(name)                                                                               \
	static uint32_t BH_NAME(name##_usual)(const struct bh_classifier *classifier, const struct bh_key *key) \
	{                                                                                                \
		if (__builtin_expect(bh_kind_of(key) != classifier->usual_kind, 0))                          \
			return bh_lookup_further(classifier, key);                                               \
		return BH_NAME(name##_one)(&classifier->usual, key);                                         \
	}

/* The functions of a form: for a packet, for the usual one, for many. */
#define BH_ONE_AND_ALL(name, lookup)                                                                 \
	static inline __attribute__((always_inline)) uint32_t                                            \
	BH_NAME(name##_one)(const struct bh_space *space, const struct bh_key *key)                      \
	{                                                                                                \
		uint64_t words[2];                                                                           \
                                                                                                     \
		BH_NAME(words)(key, words);                                                                  \
		return lookup;                                                                               \
	}                                                                                                \
	BH_USUAL(name)                                                                                   \
	static void BH_NAME(name##_all)(const struct bh_space *space, const struct bh_key *keys,         \
	                                uint32_t count, uint32_t *labels)                                \
	{                                                                                                \
		for (uint32_t i = 0; i < count; i++)                                                         \
			labels[i] = BH_NAME(name##_one)(space, &keys[i]);                                        \
	}

BH_ONE_AND_ALL(none, ((void)space, (void)words, BH_LABEL_NONE))
BH_ONE_AND_ALL(strips, ((void)words, BH_NAME(strips)(&space->strips, key)))
BH_ONE_AND_ALL(narrow, BH_NAME(tree)(&space->forest, &space->forest.trees[0], 1, 4, words[0], words[1]))
BH_ONE_AND_ALL(block, BH_NAME(tree)(&space->forest, &space->forest.trees[0], 1, 8, words[0], words[1]))
BH_ONE_AND_ALL(tree1, BH_NAME(tree)(&space->forest, &space->forest.trees[0], 1, 0, words[0], words[1]))
BH_ONE_AND_ALL(tree2, BH_NAME(tree)(&space->forest, &space->forest.trees[0], 2, 0, words[0], words[1]))
BH_ONE_AND_ALL(tree, BH_NAME(tree)(&space->forest, &space->forest.trees[0], space->forest.trees[0].usual, 0, words[0], words[1]))
BH_ONE_AND_ALL(trees, BH_NAME(trees)(space, words[0], words[1]))

#include "lookup_few.h"
#include "lookup_rows.h"
#include "lookup_scale.h"

#undef BH_ONE_AND_ALL

/* Gives the space the functions for its form. */
void BH_NAME(bind)(struct bh_space *space)
{
	const struct bh_tree *tree = &space->forest.trees[0];

	if (space->few)
		BH_NAME(bind_few)(space);
	else if (space->rows.words)
		space->rows.words == 1 ? BH_BIND(rows64) : space->rows.words == 4 ? BH_BIND(rows256) :
		space->rows.words == 8 ? BH_BIND(rows512) : space->rows.words == 12 ? BH_BIND(rows768) : BH_BIND(rows1024);
	else if (space->strips.count)
		BH_BIND(strips);
	else if (space->forest.count > 1)
		BH_BIND(trees);
	else if (space->forest.count && tree->width)
		tree->width == 4 ? BH_BIND(narrow) : BH_BIND(block);
	else if (space->forest.count && tree->usual == 1)
		BH_BIND(tree1);
	else if (space->forest.count && tree->usual == 2)
		BH_BIND(tree2);
	else if (space->forest.count)
		BH_BIND(tree);
	else
		BH_BIND(none);
	if (space->forest.count && space->forest.staged)
		space->all = BH_NAME(staged);
	if (space->scales) {
		space->scaled_one = space->one;
		space->scaled_all = space->all;
		BH_BIND(scaled);
	}
#undef BH_BIND
}

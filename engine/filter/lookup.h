/*
 * lookup.h - the way of a packet through a forest. Included once per instruction set, which defines
 *
 *   BH_SELECT(word, mask)        the bits of `word` in `mask`, packed (PEXT)
 *   BH_COMPARE(leaf, w0, w1)     bit i: box i of the leaf matches
 *   BH_NAME(name)                the variant's name for a function
 *
 * There is no branch on data but "no match, and more blocks follow" and "a later tree cannot win",
 * both of which are nearly always the same; nodes on a way are a constant of the tree, finished ways
 * go on through a dummy. Out of order, a processor then works on several packets at once.
 */
#include "classifier.h"
#include "forest.h"
#include "variant.h"

static inline uint32_t BH_NAME(select)(const struct bh_node *node, uint64_t w0, uint64_t w1)
{
	return node->children +
	       (uint32_t)(BH_SELECT(w0, node->mask[0]) | BH_SELECT(w1, node->mask[1]) << node->shift);
}

/* The first block of the leaf in which this packet ends. */
static inline const struct bh_leaf *BH_NAME(descend)(const struct bh_forest *forest,
                                                     const struct bh_tree *tree, uint64_t w0,
                                                     uint64_t w1)
{
	uint32_t child = forest->children[BH_NAME(select)(&tree->root, w0, w1)];

	for (uint32_t d = 1; d < tree->depth; d++) {
		uint32_t done = (uint32_t)((int32_t)child >> 31);
		uint32_t next = forest->children[BH_NAME(select)(&forest->nodes[child & ~done], w0, w1)];

		child = (child & done) | (next & ~done);
	}
	return &forest->leaves[child & ~BH_CHILD_LEAF];
}

/* The lowest label in a leaf's run of blocks. */
static inline uint32_t BH_NAME(scan)(const struct bh_leaf *leaf, uint64_t w0, uint64_t w1)
{
	for (;; leaf++) {
		uint32_t match = BH_COMPARE(leaf, w0, w1), i = (uint32_t)__builtin_ctz(match | 0x80) & 7;
		uint32_t label = leaf->port_first[i][3] | (uint32_t)(leaf->port_span[i][3] & 0x7fff) << 16;

		label = match ? label : BH_LABEL_NONE;
		if (__builtin_expect(match || !(leaf->port_span[7][3] & BH_LEAF_MORE), 1))
			return label;
	}
}

static inline uint32_t BH_NAME(one)(const struct bh_forest *forest, uint64_t w0, uint64_t w1)
{
	uint32_t best = BH_LABEL_NONE;

	for (uint32_t t = 0; t < forest->count; t++) {
		const struct bh_tree *tree = &forest->trees[t];
		uint32_t label;

		if (best < tree->best)
			break;
		label = BH_NAME(scan)(BH_NAME(descend)(forest, tree, w0, w1), w0, w1);
		best = label < best ? label : best;
	}
	return best;
}

static uint32_t BH_NAME(label)(const struct bh_forest *forest, uint64_t w0, uint64_t w1)
{
	return BH_NAME(one)(forest, w0, w1);
}

/* Labels of `count` packets (at most BH_CHUNK) of one forest. */
static void BH_NAME(labels)(const struct bh_forest *forest, const uint64_t (*words)[2],
                            uint32_t count, uint32_t *labels)
{
	const struct bh_leaf *leaves[BH_CHUNK];

	if (forest->leaves_count < BH_STAGED_LEAVES) {
		for (uint32_t i = 0; i < count; i++)
			labels[i] = BH_NAME(one)(forest, words[i][0], words[i][1]);
		return;
	}
	for (uint32_t i = 0; i < count; i++)
		labels[i] = BH_LABEL_NONE;
	for (uint32_t t = 0; t < forest->count; t++) {
		const struct bh_tree *tree = &forest->trees[t];

		for (uint32_t i = 0; i < count; i++) {
			leaves[i] = BH_NAME(descend)(forest, tree, words[i][0], words[i][1]);
			__builtin_prefetch(leaves[i]);
			__builtin_prefetch((const char *)leaves[i] + 64);
			__builtin_prefetch((const char *)leaves[i] + 128);
			__builtin_prefetch((const char *)leaves[i] + 192);
		}
		for (uint32_t i = 0; i < count; i++) {
			uint32_t label = BH_NAME(scan)(leaves[i], words[i][0], words[i][1]);

			labels[i] = label < labels[i] ? label : labels[i];
		}
	}
}

const struct bh_variant BH_NAME(variant) = {BH_NAME(label), BH_NAME(labels)};

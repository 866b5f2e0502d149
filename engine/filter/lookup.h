/*
 * lookup.h - the way of a packet through a space. Included once per instruction set, which defines
 *
 *   BH_SELECT(word, mask)        the bits of `word` in `mask`, packed (PEXT)
 *   BH_COMPARE(leaf, w0, w1)     bit i: box i of the leaf matches
 *   BH_BELOW(keys, value)        how many of 16 ascending keys are below the value
 *   BH_MEET(rows, n, words)      the first bit of the AND of n rows, or 64 * words; words is 4, 8 or 16
 *   BH_NAME(name)                the variant's name for a function
 *
 * In a matrix there is no branch on data. In a forest there is none but "no match, and more blocks follow" and "a later tree cannot win",
 * both of which are nearly always the same; nodes on a way are a constant of the tree, finished ways
 * go on through a dummy. Out of order, a processor then works on several packets at once.
 */
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

static inline uint32_t BH_NAME(flat)(const struct bh_space *space, uint64_t w0, uint64_t w1)
{
	return BH_NAME(scan)(&space->forest.leaves[space->forest.flat], w0, w1);
}

static inline __attribute__((always_inline)) uint32_t
BH_NAME(tree)(const struct bh_space *space, uint32_t usual, uint64_t w0, uint64_t w1)
{
	const struct bh_tree *tree = &space->forest.trees[0];

	return BH_NAME(scan)(BH_NAME(descend)(&space->forest, tree, usual, w0, w1), w0, w1);
}

static inline uint32_t BH_NAME(trees)(const struct bh_space *space, uint64_t w0, uint64_t w1)
{
	const struct bh_forest *forest = &space->forest;
	uint32_t best = BH_LABEL_NONE;

	for (uint32_t t = 0; t < forest->count; t++) {
		const struct bh_tree *tree = &forest->trees[t];

		if (best < tree->skip)
			break;
		best = BH_NAME(lower)(best, BH_NAME(scan)(BH_NAME(descend)(forest, tree, tree->usual, w0, w1), w0, w1));
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
static void BH_NAME(staged)(const struct bh_space *space, const uint64_t (*words)[2], uint32_t count,
                            uint32_t *labels)
{
	const struct bh_forest *forest = &space->forest;
	struct BH_NAME(batch) batch;

	for (uint32_t i = 0; i < count; i++)
		labels[i] = BH_LABEL_NONE;
	for (uint32_t t = 0; t < forest->count; t++) {
		const struct bh_tree *tree = &forest->trees[t];
		uint32_t n = 0;

		for (uint32_t i = 0; i < count; i++) {
			batch.list[n] = i;
			n += labels[i] > tree->best;
		}
		BH_NAME(descend_all)(&batch, forest, tree, words, n);
		if (forest->leaves_count >= BH_STAGED_LEAVES)
			for (uint32_t k = 0; k < n; k++)
				for (uint32_t line = 0; line < sizeof(struct bh_leaf); line += 64)
					__builtin_prefetch((const char *)&forest->leaves[batch.at[batch.list[k]] & ~BH_CHILD_LEAF] + line);
		BH_NAME(scan_all)(&batch, forest, words, n, labels);
	}
}

/* The row of a field's interval that has the value. */
static inline const uint64_t *BH_NAME(row)(const struct bh_matrix *matrix, const struct bh_axis *axis,
                                           uint32_t value)
{
	uint32_t at = axis->levels ? 0 : value;

	for (uint32_t l = 0; l < axis->levels; l++)
		at = at * (BH_AXIS_KEYS + 1) + BH_BELOW(matrix->keys + axis->at[l] + at * BH_AXIS_KEYS, value);
	return matrix->rows + matrix->map[axis->map + at];
}

/* The rows of the fields that count; returns how many. */
static inline uint32_t BH_NAME(rows)(const struct bh_matrix *matrix, uint64_t w0, uint64_t w1,
                                     const uint64_t *rows[BH_MATRIX_FIELDS])
{
	const uint32_t values[BH_MATRIX_FIELDS] = {(uint32_t)w0, (uint32_t)(w0 >> 32), (uint16_t)w1,
	                                           (uint16_t)(w1 >> 16), (uint16_t)(w1 >> 32)};
	uint32_t n = 0;

#pragma GCC unroll 5
	for (int f = 0; f < BH_MATRIX_FIELDS; f++)
		if (matrix->fields >> f & 1)
			rows[n++] = BH_NAME(row)(matrix, &matrix->axes[f], values[f]);
	return n;
}

static inline __attribute__((always_inline)) uint32_t
BH_NAME(matrix)(const struct bh_matrix *matrix, uint32_t words, uint64_t w0, uint64_t w1)
{
	const uint64_t *rows[BH_MATRIX_FIELDS];
	uint32_t n = BH_NAME(rows)(matrix, w0, w1, rows), bit = 0;

	if (words == 1) {
		uint64_t all = *rows[0];

		for (uint32_t r = 1; r < n; r++)
			all &= *rows[r];
		bit = all ? (uint32_t)__builtin_ctzll(all) : 64;
	} else if (words) {
		bit = BH_MEET(rows, n, words);
	} else {
		for (uint32_t w = 0; w < matrix->words; w += 16) {
			uint32_t first = BH_MEET(rows, n, 16);

			bit += first;
			if (first < 64 * 16)
				break;
			for (uint32_t r = 0; r < n; r++)
				rows[r] += 16;
		}
	}
	return matrix->labels[bit];
}

#define BH_ONE_AND_ALL(name, lookup)                                                                \
	static uint32_t BH_NAME(name##_one)(const struct bh_space *space, uint64_t w0, uint64_t w1)      \
	{                                                                                                \
		return lookup;                                                                               \
	}                                                                                                \
	static void BH_NAME(name##_all)(const struct bh_space *space, const uint64_t (*words)[2],        \
	                                uint32_t count, uint32_t *labels)                                \
	{                                                                                                \
		for (uint32_t i = 0; i < count; i++) {                                                       \
			uint64_t w0 = words[i][0], w1 = words[i][1];                                             \
                                                                                                     \
			labels[i] = lookup;                                                                      \
		}                                                                                            \
	}

BH_ONE_AND_ALL(none, ((void)space, (void)w0, (void)w1, BH_LABEL_NONE))
BH_ONE_AND_ALL(flat, BH_NAME(flat)(space, w0, w1))
BH_ONE_AND_ALL(tree1, BH_NAME(tree)(space, 1, w0, w1))
BH_ONE_AND_ALL(tree2, BH_NAME(tree)(space, 2, w0, w1))
BH_ONE_AND_ALL(tree, BH_NAME(tree)(space, space->forest.trees[0].usual, w0, w1))
BH_ONE_AND_ALL(trees, BH_NAME(trees)(space, w0, w1))
BH_ONE_AND_ALL(matrix1, BH_NAME(matrix)(&space->matrix, 1, w0, w1))
BH_ONE_AND_ALL(matrix4, BH_NAME(matrix)(&space->matrix, 4, w0, w1))
BH_ONE_AND_ALL(matrix8, BH_NAME(matrix)(&space->matrix, 8, w0, w1))
BH_ONE_AND_ALL(matrix16, BH_NAME(matrix)(&space->matrix, 16, w0, w1))
BH_ONE_AND_ALL(matrix, BH_NAME(matrix)(&space->matrix, 0, w0, w1))

#undef BH_ONE_AND_ALL

/* Gives the space the functions for its form. */
void BH_NAME(bind)(struct bh_space *space)
{
#define BH_BIND(name) space->one = BH_NAME(name##_one), space->all = BH_NAME(name##_all)
	if (space->matrix.words == 1)
		BH_BIND(matrix1);
	else if (space->matrix.words == 4)
		BH_BIND(matrix4);
	else if (space->matrix.words == 8)
		BH_BIND(matrix8);
	else if (space->matrix.words == 16)
		BH_BIND(matrix16);
	else if (space->matrix.words)
		BH_BIND(matrix);
	else if (space->forest.flat)
		BH_BIND(flat);
	else if (space->forest.count == 1 && space->forest.trees[0].usual == 1)
		BH_BIND(tree1);
	else if (space->forest.count == 1 && space->forest.trees[0].usual == 2)
		BH_BIND(tree2);
	else if (space->forest.count == 1)
		BH_BIND(tree);
	else if (space->forest.count)
		BH_BIND(trees);
	else
		BH_BIND(none);
	if (space->staged)
		space->all = BH_NAME(staged);
#undef BH_BIND
}

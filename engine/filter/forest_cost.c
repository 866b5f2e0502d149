/*
 * forest_cost.c - what a forest costs: those who look up in it, and those who change it.
 */
#include "forest_leaf.h"

/*
 * Cycles, roughly, from measuring: a tree, a node, a block; what is worth going step by step. Beyond
 * BLOCKS_MOST nobody asks how much it is.
 */
enum { COST_TREE = 3, COST_NODE = 5, COST_BLOCK = 8, COST_STAGED = 36, BLOCKS_MOST = 500 };

static const struct bh_node *child_of(const struct bh_forest *forest, const struct bh_node *node,
                                      const uint64_t words[2], uint32_t *child)
{
	*child = forest->children[node->children + (extract(words[0], node->mask[0]) |
	                                            extract(words[1], node->mask[1]) << node->shift)];
	return *child & BH_CHILD_LEAF ? NULL : &forest->nodes[*child];
}

/* What a packet meets in a tree. */
struct way {
	uint32_t nodes, blocks, label;
};

static struct way way_of(const struct bh_forest *forest, const struct bh_tree *tree, const uint64_t words[2])
{
	struct way way = {0, 0, BH_LABEL_NONE};
	const struct bh_leaf *leaf;
	uint32_t child;

	for (const struct bh_node *node = &tree->root; node; way.nodes++)
		node = child_of(forest, node, words, &child);
	for (leaf = &forest->leaves[child & ~BH_CHILD_LEAF];; leaf++) {
		way.blocks++;
		way.label = bh_leaf_label(leaf, words[0], words[1]);
		if (way.label != BH_LABEL_NONE || !(leaf->port_span[7][3] & BH_LEAF_MORE) || way.blocks == BLOCKS_MOST)
			return way;
	}
}

/* What a tree costs those packets that try it. `best` has what the trees before it gave. */
static double tree_cost(const struct bh_forest *forest, struct bh_tree *tree, const struct bh_box *boxes,
                        uint32_t count, uint32_t step, uint32_t *best)
{
	uint32_t nodes[BH_FOREST_DEPTH + 1] = {0}, blocks[9] = {0}, tried = 0, all_nodes = 0, all_blocks = 0;
	uint32_t ended = 0, deeper = 0, longer, skipped = 0, k = 0, usual_blocks = 0;

	for (uint32_t i = 0; i < count; i += step, k++) {
		uint64_t words[2];
		struct way way;

		if (best[k] < tree->skip) {
			skipped++;
			continue;
		}
		packet_of(&boxes[i], i + 1, words);
		way = way_of(forest, tree, words);
		best[k] = way.label < best[k] ? way.label : best[k];
		tried++;
		nodes[way.nodes]++;
		blocks[way.blocks < 9 ? way.blocks - 1 : 8]++;
		all_blocks += way.blocks;
	}
	for (tree->usual = 0; (tried - ended) * USUALLY > tried || !tree->usual;)
		ended += nodes[++tree->usual];
	for (uint32_t d = 1; d <= BH_FOREST_DEPTH; d++) {
		all_nodes += (d < tree->usual ? tree->usual : d) * nodes[d];
		deeper += d > tree->usual ? nodes[d] : 0;
	}
	for (int i = 0; i < 9; i++)
		usual_blocks = blocks[i] > usual_blocks ? blocks[i] : usual_blocks;
	longer = tried - usual_blocks;
	skipped = skipped < tried ? skipped : tried;
	return COST_TREE * k + COST_NODE * all_nodes + (tree->width == 4 ? COST_BLOCK / 2 : COST_BLOCK) * all_blocks +
	       COST_JUMP * (deeper + longer + skipped);
}

/* The width of a tree whose root has all leaves, if no leaf has more than a block. */
static uint32_t tree_width(const struct bh_forest *forest, const struct bh_tree *tree)
{
	uint32_t most = 0, cells = 1u << node_bits(&tree->root);

	for (uint32_t c = 0; c < cells && most <= 8; c++) {
		uint32_t leaf = forest->children[tree->root.children + c], n;

		if (!(leaf & BH_CHILD_LEAF))
			return 0;
		n = leaf_count(forest, leaf & ~BH_CHILD_LEAF);
		most = n > most ? n : most;
	}
	return most <= 4 ? 4 : most <= 8 ? 8 : 0;
}

double bh_planting_cost(struct bh_planting *planting, const struct bh_box *boxes, uint32_t count)
{
	struct bh_forest *forest = &planting->forest;
	uint32_t step = count / COST_SAMPLES + 1, best[COST_SAMPLES], packets = (count + step - 1) / step;
	double cost = 0;

	for (uint32_t i = 0; i < packets; i++)
		best[i] = BH_LABEL_NONE;
	for (uint32_t t = 0; t < forest->count; t++) {
		struct bh_tree *tree = &forest->trees[t];

		/* A question answered "no" about half of the time costs more than it saves. */
		tree->skip = count && tree->best > boxes[count - 1].label / 8 * 7 ? tree->best : 0;
		tree->width = planting->fixed ? tree_width(forest, tree) : 0;
		cost += tree_cost(forest, tree, boxes, count, step, best);
	}
	cost = COST_BASE + cost / (packets ? packets : 1);
	forest->staged = cost > COST_STAGED || forest->leaves_count >= BH_STAGED_LEAVES;
	/* Larger forests miss caches more often. */
	return cost * (1 + (double)bh_forest_bytes(forest) / (2 << 20));
}

double bh_forest_places(const struct bh_forest *forest, uint32_t count)
{
	uint64_t places = 0;

	for (uint32_t l = 0; l < forest->leaves_count; l++)
		for (int i = 0; i < LEAF_BOXES; i++)
			places += forest->leaves[l].port_first[i][2] != 0xffff;
	return (double)places / (count ? count : 1);
}

double bh_forest_crowd(const struct bh_forest *forest)
{
	uint64_t boxes = 0, others = 0;

	for (uint32_t c = 0; c < forest->children_count; c++) {
		uint32_t leaf = forest->children[c] & ~BH_CHILD_LEAF, count;

		if (!(forest->children[c] & BH_CHILD_LEAF) || !leaf)
			continue;
		count = leaf_count(forest, leaf);
		boxes += count;
		others += (uint64_t)count * count;
	}
	return (double)others / (double)(boxes ? boxes : 1);
}

size_t bh_forest_bytes(const struct bh_forest *forest)
{
	return forest->nodes_count * sizeof(struct bh_node) + forest->children_count * sizeof(uint32_t) +
	       forest->leaves_count * sizeof(struct bh_leaf);
}

/*
 * forest.c - grows the trees of forest.h.
 *
 * After PextCuts and ByteCuts (Daly et al., "ByteCuts: Fast Packet Classification by Interior Bit
 * Extraction", INFOCOM 2018) and CutSplit's partition by which addresses are specific (Li et al.,
 * INFOCOM 2018): firewall rules with a wildcard on one side would otherwise be copied below every
 * bit of that side. A node's bits are chosen one after the other; the next is the one that leaves
 * the boxes in the cheapest cells, where a cell of n boxes costs n * max(n, 8): boxes looked at by
 * the packets that look for them. Counting which bits are 0, 1 or free in a cell adds bytes, 13
 * words of eight counters for 104 bits.
 *
 * The box a range becomes in a node is its common prefix, so a range that is not a prefix may land
 * in cells it does not touch. That costs, but is never wrong: leaves compare whole ranges.
 */
#include "forest_leaf.h"

/* Choosing bits. */

struct tally {
	uint16_t zero[BITS], one[BITS];
};

static void tally_add(uint16_t counts[BITS], const uint64_t bytes[BYTES])
{
	for (int b = 0; b < BYTES; b++)
		for (int i = 0; i < 8; i++)
			counts[8 * b + i] = (uint16_t)(counts[8 * b + i] + (bytes[b] >> (8 * i) & 0xff));
}

static void tally_cell(struct tally *tally, const struct form *forms, const uint32_t *cell,
                       uint32_t count)
{
	memset(tally, 0, sizeof(*tally));
	for (uint32_t from = 0; from < count; from += 255) {
		uint64_t zero[BYTES] = {0}, one[BYTES] = {0};

		for (uint32_t i = from; i < count && i < from + 255; i++) {
			const struct form *form = &forms[cell[i]];
			uint64_t ones[2] = {form->value[0], form->value[1]};
			uint64_t zeros[2] = {form->care[0] & ~ones[0], form->care[1] & ~ones[1]};

			for (int b = 0; b < BYTES; b++) {
				zero[b] += spread[zeros[b / 8] >> (8 * (b % 8)) & 0xff];
				one[b] += spread[ones[b / 8] >> (8 * (b % 8)) & 0xff];
			}
		}
		tally_add(tally->zero, zero);
		tally_add(tally->one, one);
	}
}

/* Boxes looked at on behalf of a cell's boxes, if each box of it stands for `scale`. */
static inline float cell_cost(float count, float scale, float fill)
{
	float all = count * scale;

	return count * (all > fill ? all : fill);
}

struct cells {
	uint32_t *refs;   /* grouped by cell */
	uint32_t *starts; /* count + 1 */
	uint32_t count;
};

/* The bit that leaves the cheapest cells, and their cost. */
static int best_bit(struct growing *growing, const struct cells *cells, float scale, float *cost)
{
	float costs[BITS] = {0};
	struct tally tally;
	int best = 0;

	for (uint32_t c = 0; c < cells->count; c++) {
		uint32_t count = cells->starts[c + 1] - cells->starts[c];
		float n = (float)count;

		if (!count)
			continue;
		growing->planting->work += count;
		tally_cell(&tally, growing->forms, cells->refs + cells->starts[c], count);
		for (int b = 0; b < BITS; b++)
			costs[b] += cell_cost(n - tally.one[b], scale, growing->fill) +
			            cell_cost(n - tally.zero[b], scale, growing->fill);
	}
	for (int b = 1; b < BITS; b++)
		if (costs[b] < costs[best])
			best = b;
	*cost = costs[best];
	return best;
}

/* Splits every cell by a bit; false if that makes more than `room` references. */
static bool cells_split(const struct growing *growing, struct cells *to, const struct cells *from,
                        int bit, uint32_t room)
{
	uint64_t mask = 1ULL << (bit & 63);
	uint32_t n = 0;

	to->count = 0;
	for (uint32_t c = 0; c < from->count; c++) {
		for (int side = 0; side < 2; side++) {
			to->starts[to->count++] = n;
			for (uint32_t i = from->starts[c]; i < from->starts[c + 1]; i++) {
				const struct form *form = &growing->forms[from->refs[i]];

				if (form->care[bit >> 6] & mask &&
				    (form->value[bit >> 6] & mask ? 0 : 1) == side)
					continue;
				if (n == room)
					return false;
				to->refs[n++] = from->refs[i];
			}
		}
	}
	to->starts[to->count] = n;
	return true;
}

static float cells_cost(const struct cells *cells, float scale, float fill, uint32_t *largest)
{
	float cost = 0;

	*largest = 0;
	for (uint32_t c = 0; c < cells->count; c++) {
		uint32_t count = cells->starts[c + 1] - cells->starts[c];

		cost += cell_cost((float)count, scale, fill);
		*largest = count > *largest ? count : *largest;
	}
	return cost;
}

/* The bits of a node for these boxes, in `node`; false if none is worth it. */
static bool choose_bits(struct growing *growing, const uint32_t *list, uint32_t count,
                        struct bh_node *node)
{
	uint32_t step = count > SAMPLE ? count / SAMPLE : 1, n = (count + step - 1) / step;
	uint32_t room = (uint32_t)((double)n * growing->growth) + 16, largest, bits = 0;
	struct cells cells[2] = {{0}};
	float scale = (float)step, cost, next;
	int now = 0;

	for (int i = 0; i < 2; i++) {
		cells[i].refs = malloc(room * sizeof(uint32_t));
		cells[i].starts = malloc(((1u << NODE_BITS) + 1) * sizeof(uint32_t));
		if (!cells[i].refs || !cells[i].starts)
			growing->failed = true;
	}
	node->mask[0] = node->mask[1] = 0;
	if (!growing->failed) {
		for (uint32_t i = 0; i < n; i++)
			cells[0].refs[i] = list[i * step];
		cells[0].starts[0] = 0;
		cells[0].starts[1] = n;
		cells[0].count = 1;
		cost = cells_cost(&cells[0], scale, growing->fill, &largest);
		while (bits < NODE_BITS && (float)largest * scale > growing->fill && (1u << bits) < 4 * count) {
			int bit = best_bit(growing, &cells[now], scale, &next);

			if (next > cost * 0.97f || !cells_split(growing, &cells[!now], &cells[now], bit, room))
				break;
			now = !now;
			node->mask[bit >> 6] |= 1ULL << (bit & 63);
			cost = cells_cost(&cells[now], scale, growing->fill, &largest);
			bits++;
		}
	}
	for (int i = 0; i < 2; i++) {
		free(cells[i].refs);
		free(cells[i].starts);
	}
	node->shift = (uint32_t)__builtin_popcountll(node->mask[0]);
	return bits && !growing->failed;
}

/* Nodes. */

/* Whether every packet of the region is in the box: what comes after it in a list cannot win. */
static bool box_covers(const struct bh_box *box, const struct region *region)
{
	uint64_t low[2], high[2];

	for (int w = 0; w < 2; w++) {
		low[w] = region->value[w];
		high[w] = region->value[w] | ~region->known[w];
	}
	for (int a = 0; a < 2; a++)
		if (box->first[a] > (uint32_t)(low[0] >> 32 * a) || box->last[a] < (uint32_t)(high[0] >> 32 * a))
			return false;
	for (int p = 0; p < 3; p++) {
		uint16_t top = p == 2 ? 0xff : 0xffff;

		if (box->port_first[p] > (uint16_t)(low[1] >> 16 * p) ||
		    box->port_last[p] < ((uint16_t)(high[1] >> 16 * p) & top))
			return false;
	}
	return true;
}

static uint64_t deposit(uint32_t bits, uint64_t mask)
{
	uint64_t word = 0;

	for (; mask; mask &= mask - 1, bits >>= 1)
		word |= (uint64_t)(bits & 1) << __builtin_ctzll(mask);
	return word;
}

/* Whether the boxes have more places in the node's cells than it may make. */
static bool node_bursts(const struct growing *growing, const struct bh_node *node, const uint32_t *list,
                        uint32_t count)
{
	uint64_t total = 0, most = 2 * (uint64_t)(growing->growth * count) + 64;

	for (uint32_t i = 0; i < count && total <= most; i++)
		total += 1ULL << __builtin_popcount(span_of(node, &growing->forms[list[i]]).open);
	growing->planting->work += total;
	return total > most ||
	       bh_forest_bytes(&growing->planting->forest) + total * sizeof(struct bh_leaf) / LEAF_BOXES +
	               (sizeof(uint32_t) << node_bits(node)) > growing->planting->max_bytes;
}

/* Makes the children of a chosen node, which are at forest->children[node->children]. */
static void make_children(struct growing *growing, const struct bh_node *node, const uint32_t *list,
                          uint32_t count, const struct region *region, uint32_t level, uint32_t *depth)
{
	uint32_t cells = 1u << node_bits(node), total = 0;
	uint32_t *starts = calloc(cells + 1, sizeof(*starts)), *refs;
	struct span *spans = malloc(count * sizeof(*spans));

	for (uint32_t i = 0; spans && starts && i < count; i++) {
		spans[i] = span_of(node, &growing->forms[list[i]]);
		for (uint32_t open = spans[i].open;; open = (open - 1) & spans[i].open) {
			starts[(spans[i].fixed | open) + 1]++;
			total++;
			if (!open)
				break;
		}
	}
	refs = malloc((total + 1) * sizeof(*refs));
	if (!starts || !spans || !refs) {
		growing->failed = true;
		goto out;
	}
	for (uint32_t c = 0; c < cells; c++)
		starts[c + 1] += starts[c];
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t open = spans[i].open;; open = (open - 1) & spans[i].open) {
			refs[starts[spans[i].fixed | open]++] = list[i];
			if (!open)
				break;
		}
	for (uint32_t c = 0; c < cells && !growing->failed; c++) {
		uint32_t from = c ? starts[c - 1] : 0, child;
		struct region inner = *region;

		inner.known[0] |= node->mask[0];
		inner.known[1] |= node->mask[1];
		inner.value[0] |= deposit(c, node->mask[0]);
		inner.value[1] |= deposit(c >> node->shift, node->mask[1]);
		child = bh_forest_make_tree(growing, NULL, refs + from, starts[c] - from, inner, level + 1, depth);
		growing->planting->forest.children[node->children + c] = child;
	}
out:
	free(starts);
	free(spans);
	free(refs);
}

/*
 * A leaf or a node for these boxes. The root of a tree is always a node, stored in `root`. `depth`
 * is raised to the nodes on the longest way.
 */
uint32_t bh_forest_make_tree(struct growing *growing, struct bh_node *root, uint32_t *list, uint32_t count,
                          struct region region, uint32_t level, uint32_t *depth)
{
	struct bh_planting *planting = growing->planting;
	struct bh_forest *forest = &planting->forest;
	struct bh_node node = {{0}};
	uint32_t index = 0, cells;

	for (uint32_t i = 0; planting->fixed && i < count; i++)
		if (box_covers(&growing->boxes[list[i]], &region))
			count = i + 1;
	if (count > (root ? LEAF_BOXES : growing->leaf_max) && level < BH_FOREST_DEPTH &&
	    bh_forest_bytes(forest) < planting->max_bytes && planting->work < growing->work_max &&
	    (!choose_bits(growing, list, count, &node) || node_bursts(growing, &node, list, count)))
		node = (struct bh_node){{0}};
	cells = 1u << node_bits(&node);
	if (growing->failed || (cells == 1 && !root))
		return make_leaf(growing, list, count);
	if (grow(planting, &forest->children, &planting->children_room, forest->children_count + cells, sizeof(uint32_t)) ||
	    grow(planting, &forest->nodes, &planting->nodes_room, forest->nodes_count + 1, sizeof(node))) {
		growing->failed = true;
		return BH_CHILD_LEAF;
	}
	node.children = forest->children_count;
	forest->children_count += cells;
	if (root)
		*root = node;
	else
		forest->nodes[index = forest->nodes_count++] = node;
	*depth = level + 1 > *depth ? level + 1 : *depth;
	if (cells == 1)
		forest->children[node.children] = make_leaf(growing, list, count);
	else
		make_children(growing, &node, list, count, &region, level, depth);
	return index;
}

static int by_best(const void *a, const void *b)
{
	const struct bh_tree *x = a, *y = b;

	return x->best < y->best ? -1 : x->best > y->best;
}

/* Empties the arrays down to the dummies. */
static int planting_reset(struct bh_planting *planting)
{
	struct bh_forest *forest = &planting->forest;

	if (grow(planting, &forest->nodes, &planting->nodes_room, 1, sizeof(struct bh_node)) ||
	    grow(planting, &forest->children, &planting->children_room, 1, sizeof(uint32_t)) ||
	    grow(planting, &forest->leaves, &planting->leaves_room, 1, sizeof(struct bh_leaf)))
		return -ENOMEM;
	memset(&forest->nodes[0], 0, sizeof(forest->nodes[0]));
	forest->children[0] = BH_CHILD_LEAF;
	leaf_clear(&forest->leaves[0]);
	forest->nodes_count = forest->children_count = forest->leaves_count = 1;
	forest->count = 0;
	for (int i = 0; i < BH_RUNS; i++)
		planting->unused[i].count = 0;
	if (planting->shared)
		memset(planting->shared, 0, planting->shared_room * 2 * sizeof(uint32_t));
	planting->shared_count = 0;
	return 0;
}

/* One tree of the boxes whose kind is in `kinds`. */
static void make_kinds(struct growing *growing, uint32_t *list, uint32_t count, uint32_t kinds)
{
	struct bh_planting *planting = growing->planting;
	struct bh_forest *forest = &planting->forest;
	struct bh_tree *tree = &forest->trees[forest->count];
	struct region all = {{0, ~0ULL << 40}, {0, 0}};
	uint32_t n = 0;

	for (uint32_t i = 0; i < count; i++)
		if (kinds >> kind_of(planting, &growing->boxes[i]) & 1)
			list[n++] = i;
	for (int k = 0; k < 4; k++)
		if (kinds >> k & 1)
			planting->tree_of[k] = forest->count;
	if (!n && planting->fixed)
		return;
	tree->depth = tree->usual = 1;
	tree->best = n ? growing->boxes[list[0]].label : 0;
	if (!planting->fixed)
		tree->best = 0;
	bh_forest_make_tree(growing, &tree->root, list, n, all, 0, &tree->depth);
	forest->count++;
}

/* Which kinds of boxes share a tree: bit k of an element is kind k. */
static const uint32_t partitions[][BH_FOREST_TREES] = {
	{1, 2, 4, 8}, {15}, {5, 10}, {3, 12},
};

#define PARTITIONS (sizeof(partitions) / sizeof(*partitions))

static void make_partition(struct growing *growing, uint32_t *list, uint32_t count, const uint32_t *kinds)
{
	struct bh_forest *forest = &growing->planting->forest;

	if (planting_reset(growing->planting)) {
		growing->failed = true;
		return;
	}
	for (int t = 0; t < BH_FOREST_TREES && kinds[t]; t++)
		make_kinds(growing, list, count, kinds[t]);
	if (growing->planting->fixed)
		qsort(forest->trees, forest->count, sizeof(struct bh_tree), by_best);
}

/* How trees may be grown: few boxes can have leaves of four. */
static const struct {
	uint32_t leaf_max, boxes_max;
	float fill;
} manners[] = {{16, ~0u, 8}, {8, 5000, 8}, {4, 300, 4}};

#define MANNERS (sizeof(manners) / sizeof(*manners))
/* Places of a box in a forest that changes, at most, if there is a choice: where many boxes are not in L2 they are dear. */
#define CHANGES_CHEAP 2500
#define PLACES_CHEAP 2.2
#define PLACES_DEAR 1.65

static void make_one(struct growing *growing, uint32_t *list, uint32_t count, uint32_t trial)
{
	growing->leaf_max = manners[trial / PARTITIONS].leaf_max;
	growing->fill = manners[trial / PARTITIONS].fill;
	make_partition(growing, list, count, partitions[trial % PARTITIONS]);
}

/* The partition of a forest that changes: of those that don't make changes dear, the one that costs lookups least. */
static void make_changing(struct growing *growing, uint32_t *list, uint32_t count)
{
	double most = count <= CHANGES_CHEAP ? PLACES_CHEAP : PLACES_DEAR, lowest = 0, cost;
	uint32_t best = 0, last = 0;

	for (uint32_t p = 0; p < PARTITIONS && !growing->failed; p++) {
		if (p && (count > TRIALS_MAX || growing->planting->work > growing->work_max / 2))
			break;
		make_one(growing, list, count, last = p);
		cost = bh_planting_cost(growing->planting, growing->boxes, count);
		if (!p || (cost < lowest && bh_forest_places(&growing->planting->forest, count) <= most)) {
			lowest = cost;
			best = p;
		}
	}
	if (best != last && !growing->failed)
		make_one(growing, list, count, best);
}

int bh_planting_build(struct bh_planting *planting, const struct bh_box *boxes, uint32_t count,
                      bool fixed, size_t max_bytes)
{
	struct growing growing = {.planting = planting, .boxes = boxes, .growth = 4};
	uint32_t *list = malloc((count + 1) * sizeof(*list)), best = 0, last = 0;
	double cost, lowest = 0;

	spread_init();
	growing.forms = malloc((count + 1) * sizeof(*growing.forms));
	planting->fixed = fixed;
	planting->max_bytes = max_bytes;
	planting->work = 0;
	growing.work_max = BH_PLANTING_START + (uint64_t)count * BH_PLANTING_WORK;
	planting->wide[0] = planting->wide[1] = 1u << 24;
	growing.failed = !list || !growing.forms;
	for (uint32_t i = 0; i < count && !growing.failed; i++)
		form_of(&growing.forms[i], &boxes[i]);
	if (!growing.failed && fixed)
		make_one(&growing, list, count, 0);
	else if (!growing.failed)
		make_changing(&growing, list, count);
	/* The first suits any rules; where there is time for it, others are tried. */
	for (uint32_t t = 0; fixed && count <= TRIALS_MAX && t < PARTITIONS * MANNERS && !growing.failed; t++) {
		if (count > manners[t / PARTITIONS].boxes_max || planting->work > growing.work_max / 4)
			break;
		if (t)
			make_one(&growing, list, count, last = t);
		cost = bh_planting_cost(planting, boxes, count);
		if (bh_forest_bytes(&planting->forest) > max_bytes)
			cost *= 1000;
		if (!t || cost < lowest) {
			lowest = cost;
			best = t;
		}
	}
	if (best != last && !growing.failed)
		make_one(&growing, list, count, best);
	/* Copies below many leaves can still be too much: then one leaf a tree. */
	if (bh_forest_bytes(&planting->forest) > max_bytes && !growing.failed) {
		growing.work_max = 0;
		make_one(&growing, list, count, last = PARTITIONS);
	}
	if ((best != last || !last) && !growing.failed)
		bh_planting_cost(planting, boxes, count); /* for what is usual */
	free(list);
	free(growing.forms);
	return growing.failed ? -ENOMEM : 0;
}

void bh_planting_clear(struct bh_planting *planting)
{
	bh_shelf_free(planting->shelf, planting->forest.nodes);
	bh_shelf_free(planting->shelf, planting->forest.children);
	bh_shelf_free(planting->shelf, planting->forest.leaves);
	free(planting->shared);
	for (int i = 0; i < BH_RUNS; i++)
		bh_shelf_free(planting->shelf, planting->unused[i].leaves);
	memset(planting, 0, sizeof(*planting));
}

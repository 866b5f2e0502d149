/*
 * forest_change.c - boxes that go into a grown forest and out of it again, in place.
 *
 * What a change touches was seldom touched lately. So of several, what all will touch is asked for
 * first: a step of the way down for each, then the next.
 */
#include "forest_leaf.h"

/* A change in place, which only leaves that are not shared take. */
struct change {
	struct bh_planting *planting;
	struct bh_tree *tree;
	const struct bh_box *box;
	const struct bh_change *asked;
	struct form form;
	bool failed;
};

static uint32_t leaf_label_at(const struct bh_forest *forest, uint32_t leaf, uint32_t i)
{
	return bh_leaf_label_at(&forest->leaves[leaf + i / 8], i % 8);
}

/* Boxes of a leaf into a node of their own, when it has become long. */
static uint32_t leaf_split(struct change *change, uint32_t leaf, uint32_t count, uint32_t level)
{
	struct bh_planting *planting = change->planting;
	struct growing growing = {.planting = planting, .leaf_max = 16, .fill = 8, .growth = 4, .work_max = ~0ULL};
	struct region all = {{0, ~0ULL << 40}, {0, 0}};
	struct bh_box *boxes = malloc(count * sizeof(*boxes));
	uint32_t *list = malloc(count * sizeof(*list)), child = BH_CHILD_LEAF | leaf;

	growing.boxes = boxes;
	growing.forms = malloc(count * sizeof(*growing.forms));
	if (boxes && list && growing.forms) {
		for (uint32_t i = 0; i < count; i++) {
			leaf_get(&planting->forest.leaves[leaf + i / 8], i % 8, &boxes[i]);
			form_of(&growing.forms[i], &boxes[i]);
			list[i] = i;
		}
		child = bh_forest_make_tree(&growing, NULL, list, count, all, level, &change->tree->depth);
		if (growing.failed)
			change->failed = true;
		else
			leaves_give(planting, leaf);
	}
	free(boxes);
	free(list);
	free(growing.forms);
	return child;
}

/* Makes room for another box in a leaf that is full: the block that it kept, or a longer run; 0 if there is none. */
static uint32_t leaf_lengthen(struct change *change, uint32_t leaf, uint32_t count)
{
	struct bh_forest *forest = &change->planting->forest;
	struct growing growing = {.planting = change->planting};
	uint32_t run = leaf_run(forest, leaf), longer;

	if (leaf && leaf_is_kept(forest, leaf + run)) {
		leaf_clear(&forest->leaves[leaf + run]);
		forest->leaves[leaf + run - 1].port_span[7][3] |= BH_LEAF_MORE;
		return leaf;
	}
	run = leaf ? run + 1 : 1;
	longer = leaves_take(&growing, run, run_blocks(run_above(run)) - run);
	if (!longer)
		return 0;
	for (uint32_t i = 0; i < count; i++)
		leaf_move(&forest->leaves[longer + i / 8], i % 8, &forest->leaves[leaf + i / 8], i % 8);
	leaves_give(change->planting, leaf);
	return longer;
}

/* The first of a leaf's boxes with a label that is not lower. No step depends on a guess. */
static uint32_t leaf_find(const struct bh_leaf *leaf, uint32_t count, uint32_t label)
{
	uint32_t at = 0;

	for (uint32_t n = count; n;) {
		uint32_t half = (n + 1) / 2, middle = at + half - 1;
		bool lower = bh_leaf_label_at(&leaf[middle / 8], middle % 8) < label;

		at = __builtin_expect_with_probability(lower, 1, 0.5) ? at + half : at;
		n = __builtin_expect_with_probability(lower, 1, 0.5) ? n - half : half - 1;
	}
	return at;
}

/* Moves seven boxes of a block by one place; what the block says of the next one stays. */
static void block_shift(struct bh_leaf *block, bool up)
{
	uint16_t more = block->port_span[7][3] & BH_LEAF_MORE;

	memmove(block->first[up], block->first[!up], 7 * sizeof(*block->first));
	memmove(block->span[up], block->span[!up], 7 * sizeof(*block->span));
	memmove(block->port_first[up], block->port_first[!up], 7 * sizeof(*block->port_first));
	block->port_span[7][3] &= (uint16_t)~BH_LEAF_MORE;
	memmove(block->port_span[up], block->port_span[!up], 7 * sizeof(*block->port_span));
	block->port_span[7][3] |= more;
}

/* Makes a place free by moving all from there on by one, a block at a time where that is possible. */
static void leaf_open(struct bh_leaf *leaf, uint32_t at, uint32_t count)
{
	for (uint32_t i = count; i > at;) {
		leaf_move(&leaf[i / 8], i % 8, &leaf[(i - 1) / 8], (i - 1) % 8);
		if (i % 8 == 0 && i - at >= 8) {
			block_shift(&leaf[i / 8 - 1], true);
			i -= 8;
		} else {
			i--;
		}
	}
}

/* The reverse: the last place becomes free. */
static void leaf_close(struct bh_leaf *leaf, uint32_t at, uint32_t count)
{
	while (at + 1 < count) {
		if (at % 8 == 0 && at + 8 < count) {
			block_shift(&leaf[at / 8], false);
			at += 7;
		}
		leaf_move(&leaf[at / 8], at % 8, &leaf[(at + 1) / 8], (at + 1) % 8);
		at++;
	}
}

static void leaf_insert(struct change *change, uint32_t child_index, uint32_t level)
{
	struct bh_forest *forest = &change->planting->forest;
	uint32_t leaf = forest->children[child_index] & ~BH_CHILD_LEAF;
	uint32_t count = leaf_count(forest, leaf), at;

	if (!leaf || count == 8 * leaf_run(forest, leaf)) {
		leaf = leaf_lengthen(change, leaf, count);
		if (!leaf) {
			change->failed = true;
			return;
		}
	}
	at = leaf_find(&forest->leaves[leaf], count, change->box->label + 1);
	leaf_open(&forest->leaves[leaf], at, count);
	leaf_set(&forest->leaves[leaf + at / 8], at % 8, change->box);
	count++;
	forest->children[child_index] = BH_CHILD_LEAF | leaf;
	/* Not at every insertion: boxes that no bit tells apart stay a long leaf. */
	if (count > 16 && (count & (count - 1)) == 1) {
		uint32_t child = leaf_split(change, leaf, count, level);

		forest->children[child_index] = child;
	}
}

static void leaf_clear_at(struct bh_leaf *block, uint32_t i)
{
	uint16_t more = block->port_span[i][3] & BH_LEAF_MORE;

	memset(block->first[i], 0, sizeof(block->first[i]));
	memset(block->span[i], 0, sizeof(block->span[i]));
	memset(block->port_first[i], 0, sizeof(block->port_first[i]));
	memset(block->port_span[i], 0, sizeof(block->port_span[i]));
	block->port_first[i][2] = 0xffff;
	block->port_span[i][3] = more;
}

static void leaf_remove(struct change *change, uint32_t leaf, uint32_t at, uint32_t count)
{
	struct bh_leaf *leaves = &change->planting->forest.leaves[leaf];
	uint32_t last = count - 1;

	leaf_close(leaves, at, count);
	leaf_clear_at(&leaves[last / 8], last % 8);
	if (last && last % 8 == 0) {
		leaves[last / 8 - 1].port_span[7][3] &= (uint16_t)~BH_LEAF_MORE;
		leaf_keep(&leaves[last / 8]);
	}
}

static void leaf_change(struct change *change, uint32_t child_index, uint32_t level)
{
	struct bh_forest *forest = &change->planting->forest;
	uint32_t leaf = forest->children[child_index] & ~BH_CHILD_LEAF, count, at;
	uint32_t low = change->box->label, high = low;
	struct bh_box box = {0};

	if (change->asked->what == BH_INSERT) {
		leaf_insert(change, child_index, level);
		return;
	}
	/* Boxes of one rule have one label; of those that are to have another, some may have it already. */
	if (change->asked->what == BH_RELABEL) {
		low = change->asked->label < low ? change->asked->label : low;
		high = change->asked->label > high ? change->asked->label : high;
	}
	count = leaf_count(forest, leaf);
	at = leaf_find(&forest->leaves[leaf], count, low);
	for (; at < count && leaf_label_at(forest, leaf, at) <= high; at++) {
		leaf_get(&forest->leaves[leaf + at / 8], at % 8, &box);
		if (memcmp(&box, change->box, sizeof(box)))
			continue;
		if (change->asked->what == BH_REMOVE) {
			leaf_remove(change, leaf, at, count);
		} else {
			box.label = change->asked->label;
			leaf_set(&forest->leaves[leaf + at / 8], at % 8, &box);
		}
		return;
	}
}

static void change_below(struct change *change, const struct bh_node *at, uint32_t level)
{
	struct bh_node node = *at; /* nodes may move */
	struct span span = span_of(&node, &change->form);

	for (uint32_t open = span.open;; open = (open - 1) & span.open) {
		uint32_t index = node.children + (span.fixed | open);
		uint32_t child = change->planting->forest.children[index];

		if (child & BH_CHILD_LEAF)
			leaf_change(change, index, level + 1);
		else
			change_below(change, &change->planting->forest.nodes[child], level + 1);
		if (!open)
			return;
	}
}

static void change_begin(struct change *change, struct bh_planting *planting, const struct bh_change *asked)
{
	change->planting = planting;
	change->asked = asked;
	change->box = &asked->box;
	change->failed = false;
	form_of(&change->form, change->box);
	change->tree = &planting->forest.trees[planting->tree_of[kind_of(planting, change->box)]];
}

#define PLACES_MOST (4 * BH_CHANGES_MOST)

/* Children that changes come to, of which the first few are asked for. */
struct places {
	uint32_t count;
	struct place {
		const struct change *change;
		uint32_t index; /* of the child */
	} list[PLACES_MOST];
};

/* Those of a node, and asks for the children. */
static void add_places(struct places *places, const struct bh_node *node, const struct change *change)
{
	struct span span = span_of(node, &change->form);

	for (uint32_t open = span.open; places->count < PLACES_MOST; open = (open - 1) & span.open) {
		uint32_t index = node->children + (span.fixed | open);

		__builtin_prefetch(&change->planting->forest.children[index]);
		places->list[places->count++] = (struct place){change, index};
		if (!open)
			return;
	}
}

/* Asks for the nodes and leaves that there are. */
static void approach_children(const struct bh_forest *forest, const struct places *places)
{
	for (uint32_t i = 0; i < places->count; i++) {
		uint32_t child = forest->children[places->list[i].index];
		const struct bh_leaf *leaf = &forest->leaves[child & ~BH_CHILD_LEAF];

		if (!(child & BH_CHILD_LEAF))
			__builtin_prefetch(&forest->nodes[child]);
		for (uint32_t line = 0; child & BH_CHILD_LEAF && line < sizeof(*leaf); line += 64)
			__builtin_prefetch((const char *)leaf + line, 1);
	}
}

#define NODES_AHEAD 3 /* few ways are longer */

/* Asks for what is so many nodes deep. */
static void approach(const struct bh_forest *forest, const struct change *changes, uint32_t count)
{
	struct places lists[2], *places = &lists[0], *below = &lists[1], *last;

	places->count = 0;
	for (uint32_t i = 0; i < count; i++)
		add_places(places, &changes[i].tree->root, &changes[i]);
	for (uint32_t level = 0; level < NODES_AHEAD && places->count; level++) {
		approach_children(forest, places);
		below->count = 0;
		for (uint32_t i = 0; i < places->count; i++) {
			uint32_t child = forest->children[places->list[i].index];

			if (!(child & BH_CHILD_LEAF))
				add_places(below, &forest->nodes[child], places->list[i].change);
		}
		last = places;
		places = below;
		below = last;
	}
}

int bh_planting_change(struct bh_planting *planting, const struct bh_change *changes, uint32_t count, size_t max_bytes)
{
	struct change ready[BH_CHANGES_MOST];

	spread_init();
	for (uint32_t i = 0; i < count; i++)
		change_begin(&ready[i], planting, &changes[i]);
	approach(&planting->forest, ready, count);
	for (uint32_t i = 0; i < count; i++) {
		change_below(&ready[i], &ready[i].tree->root, 0);
		if (ready[i].failed || bh_forest_bytes(&planting->forest) > max_bytes)
			return -ENOMEM;
	}
	return 0;
}

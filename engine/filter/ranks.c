/*
 * ranks.c - see ranks.h.
 *
 * A node has twice to four times as many cells as its bounds have different halves, so most cells have
 * one bound or none. What is denser somewhere gets nodes of its own there; hosts of one network differ
 * in their low halves only, and take two or three nodes. Bounds that thwart all levels are searched
 * by halves, as many as there may be.
 */
#include "ranks.h"

#include <stdlib.h>
#include <string.h>

#define CELLS_BITS 16 /* cells of a node at most, as a power of 2 */

struct ranking {
	struct bh_trees *trees;
	const struct bh_address *bounds;
	uint32_t count;
};

/* Bounds that a node cuts, by their low halves or by their high ones. */
struct cut {
	uint32_t from, to;
	bool low;
};

static int by_address(const void *a, const void *b)
{
	const struct bh_address *x = a, *y = b;

	return bh_address_below(x, y) ? -1 : bh_address_below(y, x);
}

uint32_t bh_ranks_sort(struct bh_address *bounds, uint32_t count)
{
	uint32_t kept = 1;

	qsort(bounds, count, sizeof(*bounds), by_address);
	for (uint32_t i = 1; i < count; i++)
		if (!bh_address_equal(&bounds[i], &bounds[kept - 1]))
			bounds[kept++] = bounds[i];
	return kept;
}

uint32_t bh_ranks_find(const struct bh_address *bounds, uint32_t count, const struct bh_address *address)
{
	struct bh_place place = {(const uint8_t *)bounds, 0};

	return bh_bound_below(&place, count, address, 0);
}

static uint64_t half_of(const struct ranking *ranking, const struct cut *cut, uint32_t i)
{
	return cut->low ? ranking->bounds[i].lo : ranking->bounds[i].hi;
}

/* Steps of a search among bounds by halves. */
static uint32_t steps_of(uint32_t count)
{
	uint32_t steps = 0;

	for (; count > 1; count -= count / 2)
		steps++;
	return steps;
}

/* Low bits of halves that a cell does not tell apart. */
static uint32_t shift_of(const struct ranking *ranking, const struct cut *cut, uint64_t span)
{
	uint32_t different = 1, bits, shift = 0;

	for (uint32_t i = cut->from + 1; i < cut->to; i++)
		different += half_of(ranking, cut, i) != half_of(ranking, cut, i - 1);
	bits = 33 - (uint32_t)__builtin_clz(different);
	bits = bits > CELLS_BITS ? CELLS_BITS : bits;
	while (span >> shift >> bits)
		shift++;
	return shift;
}

static uint32_t put_node(struct ranking *ranking, uint32_t from, uint32_t to, uint32_t level, uint32_t *at);

/* The cell of the bounds from..to - 1, whose first address may be the first of them. Its steps. */
static uint32_t put_cell(struct ranking *ranking, uint32_t from, uint32_t to, uint32_t level, uint32_t *cell)
{
	uint32_t more = to - from;

	if (more > BH_RANK_NEAR && level + 1 < BH_RANK_LEVELS)
		return put_node(ranking, from, to, level + 1, cell);
	if (more >= BH_RANK_MOST) {
		*cell = BH_RANK_DONE | BH_RANK_MOST << BH_RANK_MORE;
		return steps_of(ranking->count);
	}
	*cell = BH_RANK_DONE | more << BH_RANK_MORE | (from - 1);
	return more > BH_RANK_NEAR ? steps_of(more + 1) : more;
}

/* A node of the bounds from..to - 1, at least one, before which there is another. Its steps. */
static uint32_t put_node(struct ranking *ranking, uint32_t from, uint32_t to, uint32_t level, uint32_t *at)
{
	const struct bh_address *bounds = ranking->bounds;
	struct cut cut = {from, to, bounds[from].hi == bounds[to - 1].hi};
	struct bh_rank_node node = {.high = bounds[from].hi, .first = half_of(ranking, &cut, from),
	                            .low = cut.low ? ~0ULL : 0, .below = from - 1, .above = to - 1};
	uint32_t i = from, most = 0, count;

	node.span = half_of(ranking, &cut, to - 1) - node.first;
	node.shift = shift_of(ranking, &cut, node.span);
	count = (uint32_t)(node.span >> node.shift) + 1;
	*at = bh_trees_room(ranking->trees, sizeof(node), 64);
	node.cells = bh_trees_room(ranking->trees, count * sizeof(uint32_t), 4);
	for (uint32_t c = 0; c < count && !ranking->trees->failed; c++) {
		uint64_t start = node.first + ((uint64_t)c << node.shift);
		uint32_t end, steps, cell;

		if (i < to && half_of(ranking, &cut, i) == start && (cut.low || !bounds[i].lo))
			i++; /* no address of the cell is below it */
		for (end = i; end < to && (half_of(ranking, &cut, end) - node.first) >> node.shift == c; end++)
			;
		steps = put_cell(ranking, i, end, level, &cell);
		most = steps > most ? steps : most;
		i = end;
		if (!ranking->trees->failed)
			((uint32_t *)(ranking->trees->bytes.data + node.cells))[c] = cell;
	}
	if (!ranking->trees->failed)
		memcpy(ranking->trees->bytes.data + *at, &node, sizeof(node));
	return most + 1;
}

/* The node where :: is the only bound. */
static uint32_t put_nothing(struct bh_trees *trees, uint32_t *at)
{
	struct bh_rank_node node = {.span = ~0ULL, .shift = 63};

	*at = bh_trees_room(trees, sizeof(node), 64);
	node.cells = bh_trees_room(trees, 2 * sizeof(uint32_t), 4);
	if (!trees->failed) {
		memcpy(trees->bytes.data + *at, &node, sizeof(node));
		for (int c = 0; c < 2; c++)
			((uint32_t *)(trees->bytes.data + node.cells))[c] = BH_RANK_DONE;
	}
	return 1;
}

uint32_t bh_ranks_put(struct bh_trees *trees, struct bh_ranking *side, const struct bh_address *bounds,
                      uint32_t count)
{
	struct ranking ranking = {trees, bounds, count};
	uint32_t at = bh_trees_room(trees, count * sizeof(*bounds), 64), node = 0, steps;

	if (!trees->failed)
		memcpy(trees->bytes.data + at, bounds, count * sizeof(*bounds));
	steps = count > 1 ? put_node(&ranking, 1, count, 0, &node) : put_nothing(trees, &node);
	*side = (struct bh_ranking){node, at, count};
	return steps;
}

/*
 * ranks.c - see ranks.h.
 *
 * A node has once or twice as many cells as its bounds have different halves, the first one as it has
 * bounds, so most cells have few. Its two windows leave out a hole of bits that are the same in all of them, as
 * addresses numbered by hand have them: fd00:1:20::7. What is denser somewhere gets nodes of its own
 * there; hosts of one network differ in their low halves only. Bounds that thwart all levels are
 * searched by halves, as many as there may be.
 */
#include "ranks.h"

#include <stdlib.h>
#include <string.h>

#define CELL_MANY 7   /* more bounds in a cell are worth a node */
#define CELLS_BITS 16 /* cells of a node at most, as a power of 2 */

struct ranking {
	struct bh_trees *trees;
	const struct bh_address *bounds;
	uint32_t count;
};

/*
 * Bounds that a node cuts, by their low halves or by their high ones. A network's end, the first address
 * of the next, is among them by no more than a node's `beyond`.
 */
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

	return bh_bound_below(&place, 0, count, address, 0);
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

/* The lowest bits, `count` of them. */
static uint64_t lowest(uint32_t count)
{
	return count < 64 ? (1ULL << count) - 1 : ~0ULL;
}

#define HOLE 2 /* bits that are worth a second window */

/* Chooses the windows: from the highest bit that varies on, as many bits as are wanted. */
static void choose_windows(const struct ranking *ranking, const struct cut *cut, bool root,
                           struct bh_rank_node *node)
{
	uint32_t different = 1, want, top, size = 0, hole = 0, low, second = 0;
	uint64_t vary = 0;

	for (uint32_t i = cut->from + 1; i < cut->to; i++) {
		vary |= half_of(ranking, cut, i) ^ node->first;
		different += half_of(ranking, cut, i) != half_of(ranking, cut, i - 1);
	}
	if (root)
		different = cut->to - cut->from;
	want = 32 - (uint32_t)__builtin_clz(different);
	want = want > CELLS_BITS ? CELLS_BITS : want;
	top = vary ? 64 - (uint32_t)__builtin_clzll(vary) : 0; /* bits from the highest that varies down */
	while (size < want && vary & lowest(top - size) &&
	       (!size || top - size < HOLE || vary & lowest(top - size) & ~lowest(top - size - HOLE)))
		size++;
	low = top - size;
	if (size < want && vary & lowest(low)) {
		hole = low - (64 - (uint32_t)__builtin_clzll(vary & lowest(low)));
		second = want - size < low - hole ? want - size : low - hole;
	}
	node->shifts[0] = (uint8_t)(low - second);
	node->masks[0] = (uint16_t)(lowest(size) << second);
	if (second) {
		node->shifts[1] = (uint8_t)(low - hole - second);
		node->masks[1] = (uint16_t)lowest(second);
	}
	node->fixed = ~lowest(top) | (lowest(low) & ~lowest(low - hole));
}

/* The first half of a cell. */
static uint64_t start_of(const struct bh_rank_node *node, uint32_t cell)
{
	return (node->first & node->fixed) | (uint64_t)(cell & node->masks[0]) << node->shifts[0] |
	       (uint64_t)(cell & node->masks[1]) << node->shifts[1];
}

static uint32_t cell_of(const struct bh_rank_node *node, uint64_t half)
{
	return (uint32_t)((half >> node->shifts[0] & node->masks[0]) | (half >> node->shifts[1] & node->masks[1]));
}

static uint32_t put_node(struct ranking *ranking, uint32_t from, uint32_t to, uint32_t level, uint32_t *at);

/* The cell of the bounds from..to - 1, whose first address may be the first of them. Its steps. */
static uint32_t put_cell(struct ranking *ranking, uint32_t from, uint32_t to, uint32_t level, uint32_t *cell)
{
	uint32_t more = to - from;

	if (more > CELL_MANY && level + 1 < BH_RANK_LEVELS)
		return put_node(ranking, from, to, level + 1, cell);
	if (more >= BH_RANK_MOST) {
		*cell = BH_RANK_DONE | BH_RANK_MOST << BH_RANK_MORE;
		return steps_of(ranking->count);
	}
	*cell = BH_RANK_DONE | more << BH_RANK_MORE | (from - 1);
	return steps_of(more + 1);
}

/* Whether all of the bounds but the last are in one network, and that is where it ends. */
static bool ends_network(const struct bh_address *bounds, uint32_t from, uint32_t to)
{
	const struct bh_address *last = &bounds[to - 1];

	return to - from > 1 && bounds[to - 2].hi == bounds[from].hi && last->hi == bounds[from].hi + 1 && !last->lo;
}

/* A node of the bounds from..to - 1, at least one, before which there is another. Its steps. */
static uint32_t put_node(struct ranking *ranking, uint32_t from, uint32_t to, uint32_t level, uint32_t *at)
{
	const struct bh_address *bounds = ranking->bounds;
	bool end = ends_network(bounds, from, to);
	struct cut cut = {from, to - end, end || bounds[from].hi == bounds[to - 1].hi};
	struct bh_rank_node node = {.high = bounds[from].hi, .first = half_of(ranking, &cut, from),
	                            .last = half_of(ranking, &cut, cut.to - 1), .low = cut.low ? ~0ULL : 0,
	                            .below = from - 1, .above = cut.to - 1, .beyond = to - 1};
	uint32_t i = from, most, count;

	choose_windows(ranking, &cut, !level, &node);
	count = (uint32_t)(node.masks[0] | node.masks[1]) + 1;
	most = node.masks[1] ? steps_of(ranking->count) : 0;
	*at = bh_trees_room(ranking->trees, sizeof(node), 64);
	node.cells = bh_trees_room(ranking->trees, count * sizeof(uint32_t), 4);
	for (uint32_t c = 0; c < count && !ranking->trees->failed; c++) {
		uint32_t last, steps, cell;

		if (i < cut.to && half_of(ranking, &cut, i) == start_of(&node, c) && (cut.low || !bounds[i].lo))
			i++; /* no address of the cell is below it */
		for (last = i; last < cut.to && cell_of(&node, half_of(ranking, &cut, last)) == c; last++)
			;
		steps = put_cell(ranking, i, last, level, &cell);
		most = steps > most ? steps : most;
		i = last;
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
	struct bh_rank_node node = {0};

	*at = bh_trees_room(trees, sizeof(node), 64);
	node.cells = bh_trees_room(trees, sizeof(uint32_t), 4);
	if (!trees->failed) {
		memcpy(trees->bytes.data + *at, &node, sizeof(node));
		*(uint32_t *)(trees->bytes.data + node.cells) = BH_RANK_DONE;
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

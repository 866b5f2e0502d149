/*
 * ranks.c - see ranks.h.
 *
 * A node cuts the smallest block that has most of its values, for a few that are far off, as the ends of the large
 * prefixes in a network of hosts are, would leave all others in few cells. It has two to four times as many cells
 * as values, so most cells have few. Its two windows leave out a hole of bits that are the same in all of them,
 * as addresses numbered by hand have them: fd00:1:20::7. What is denser somewhere gets nodes of its own there.
 * Values that thwart all levels are searched by halves, as many as there may be.
 */
#include "ranks.h"

#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"

#define CELL_MANY 7   /* more values in a cell are worth a node */
#define CELLS_BITS 16 /* cells of a node at most, as a power of 2 */
#define HOLE 2        /* bits that are worth a second window */
#define FAR_SHARE 8   /* one of so many values may be far from the others … */
#define FAR_BITS 2    /* … if that leaves a block smaller by so many bits */
#define SLOTS_BITS 17 /* of networks at most, as a power of 2 */

/* A network: bounds of one high half. */
struct network {
	uint32_t from, to;
	uint32_t node; /* 0: there is one bound */
};

struct ranking {
	struct bh_trees *trees;
	const struct bh_address *bounds;
	const uint32_t *ranks;
	struct network *networks;
	uint32_t count;
};

/* Values in ascending order, of which the first is 0, and where they are in the table. */
struct values {
	const uint64_t *all;
	uint32_t at;
};

/* ---- order ---- */

static int by_address(const void *a, const void *b)
{
	const struct bh_address *x = a, *y = b;

	return bh_address_below(x, y) ? -1 : bh_address_below(y, x);
}

static bool begins_network(const struct bh_address *bounds, uint32_t i)
{
	return !i || bounds[i].hi != bounds[i - 1].hi;
}

uint32_t bh_ranks_sort(struct bh_address *bounds, uint32_t count)
{
	uint32_t kept = 1, more = 0;

	qsort(bounds, count, sizeof(*bounds), by_address);
	for (uint32_t i = 1; i < count; i++)
		if (!bh_address_equal(&bounds[i], &bounds[kept - 1]))
			bounds[kept++] = bounds[i];
	for (uint32_t i = 0; i < kept; i++)
		more += begins_network(bounds, i) && bounds[i].lo;
	count = kept + more;
	for (uint32_t i = kept; more; i--) {
		struct bh_address bound = bounds[i - 1];
		bool begins = begins_network(bounds, i - 1) && bound.lo;

		bounds[i - 1 + more] = bound;
		if (begins)
			bounds[i - 1 + --more] = (struct bh_address){bound.hi, 0};
	}
	return count;
}

void bh_ranks_number(const struct bh_address *bounds, uint32_t count, uint32_t *ranks)
{
	uint32_t next = 0;

	for (uint32_t i = 0, end; i < count; i = end) {
		uint32_t size = 1;

		for (end = i + 1; end < count && !begins_network(bounds, end); end++)
			;
		while (size < end - i)
			size *= 2;
		next = (next + size - 1) & ~(size - 1);
		for (uint32_t b = i; b < end; b++)
			ranks[b] = next++;
	}
}

uint32_t bh_ranks_find(const struct bh_address *bounds, uint32_t count, const struct bh_address *address)
{
	uint32_t low = 0;

	while (count > 1) {
		uint32_t half = count / 2;

		low += bh_address_below(address, &bounds[low + half]) ? 0 : half;
		count -= half;
	}
	return low;
}

/* ---- nodes ---- */

/* Steps of a search among what is in a cell. */
static uint32_t steps_of(uint32_t more)
{
	uint32_t steps = 0;

	if (more <= BH_RANK_NEAR)
		return 1;
	for (uint32_t count = more + 1; count > 1; count -= count / 2)
		steps++;
	return steps;
}

/* The lowest bits, `count` of them. */
static uint64_t lowest(uint32_t count)
{
	return count < 64 ? (1ULL << count) - 1 : ~0ULL;
}

/* Chooses the windows: from the highest bit that varies on, as many bits as are wanted. */
static void choose_windows(const uint64_t *values, uint32_t count, struct bh_rank_node *node)
{
	uint32_t want, top, size = 0, hole = 0, low, second = 0;
	uint64_t vary = 0;

	for (uint32_t i = 1; i < count; i++)
		vary |= values[i] ^ values[0];
	want = 33 - (uint32_t)__builtin_clz(count);
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

/* The first value of a cell. */
static uint64_t start_of(const struct bh_rank_node *node, uint32_t cell)
{
	return (node->first & node->fixed) | (uint64_t)(cell & node->masks[0]) << node->shifts[0] |
	       (uint64_t)(cell & node->masks[1]) << node->shifts[1];
}

static uint32_t cell_of(const struct bh_rank_node *node, uint64_t value)
{
	return (uint32_t)((value >> node->shifts[0] & node->masks[0]) | (value >> node->shifts[1] & node->masks[1]));
}

/* Leaves a few values out at both ends, if the others are in a block that is much smaller for that. */
static void leave_far(const uint64_t *values, uint32_t *from, uint32_t *to)
{
	uint32_t count = *to - *from, best = *from, most = 0;
	uint64_t vary = count ? values[*from] ^ values[*to - 1] : 0;
	uint32_t top = vary ? 64 - (uint32_t)__builtin_clzll(vary) : 0;

	for (uint32_t bits = 0; bits + FAR_BITS <= top && most < count - count / FAR_SHARE; bits++) {
		most = 0;
		for (uint32_t i = *from, first = i; i < *to; i++) {
			first = values[i] >> bits == values[first] >> bits ? first : i;
			if (i - first >= most) {
				most = i - first + 1;
				best = first;
			}
		}
	}
	if (most < count - count / FAR_SHARE || count - most > UINT16_MAX)
		return;
	*from = best;
	*to = best + most;
}

static uint32_t put_node(struct bh_trees *trees, const struct values *values, uint32_t from, uint32_t to,
                         uint32_t level, struct bh_rank_node *node);

/* A node where there is room. Its steps. */
static uint32_t put_node_anew(struct bh_trees *trees, const struct values *values, uint32_t from, uint32_t to,
                              uint32_t level, uint32_t *at)
{
	struct bh_rank_node node = {0};
	uint32_t steps;

	*at = bh_trees_room(trees, sizeof(node), 64);
	steps = put_node(trees, values, from, to, level, &node);
	if (!trees->failed)
		memcpy(trees->bytes.data + *at, &node, sizeof(node));
	return steps;
}

/* The cell of the values from..to - 1, whose first value may be the first of them. Its steps. */
static uint32_t put_cell(struct bh_trees *trees, const struct values *values, uint32_t from, uint32_t to,
                         uint32_t level, uint32_t *cell)
{
	uint32_t more = to - from;

	if (more > CELL_MANY && level + 1 < BH_RANK_LEVELS)
		return put_node_anew(trees, values, from, to, level + 1, cell);
	*cell = BH_RANK_DONE | (more < BH_RANK_MOST ? more << BH_RANK_MORE | (from - 1) : BH_RANK_MOST << BH_RANK_MORE);
	return more < BH_RANK_MOST ? steps_of(more) : 0; /* or those of the whole node */
}

/* A node of the values from..to - 1, before which there is another; of none, if to is from. Its steps. */
static uint32_t put_node(struct bh_trees *trees, const struct values *values, uint32_t from, uint32_t to,
                         uint32_t level, struct bh_rank_node *node)
{
	uint32_t first = from, end = to, i, most, count;

	leave_far(values->all, &from, &to);
	i = from;
	most = steps_of(end - first);
	node->values = values->at;
	node->lower = (uint16_t)(from - first);
	node->upper = (uint16_t)(end - to);
	node->below = from - 1;
	node->above = to - 1;
	if (from < to) {
		node->first = values->all[from];
		node->last = values->all[to - 1];
		choose_windows(values->all + from, to - from, node);
	}
	count = (uint32_t)(node->masks[0] | node->masks[1]) + 1;
	node->cells = bh_trees_room(trees, count * sizeof(uint32_t), 4);
	for (uint32_t c = 0; c < count && !trees->failed; c++) {
		uint32_t last, steps, cell;

		if (i < to && values->all[i] == start_of(node, c))
			i++; /* no value of the cell is below it */
		for (last = i; last < to && cell_of(node, values->all[last]) == c; last++)
			;
		steps = put_cell(trees, values, i, last, level, &cell);
		most = steps > most ? steps : most;
		i = last;
		if (!trees->failed)
			((uint32_t *)(trees->bytes.data + node->cells))[c] = cell;
	}
	return most + 1;
}

/* ---- networks ---- */

static uint64_t high_of(const struct ranking *ranking, uint32_t network)
{
	return ranking->bounds[ranking->networks[network].from].hi;
}

static bool find_networks(struct ranking *ranking, uint32_t bounds)
{
	ranking->networks = malloc(bounds * sizeof(*ranking->networks));
	for (uint32_t i = 0; ranking->networks && i < bounds; i++) {
		if (begins_network(ranking->bounds, i))
			ranking->networks[ranking->count++].from = i;
		ranking->networks[ranking->count - 1].to = i + 1;
		ranking->networks[ranking->count - 1].node = 0;
	}
	return ranking->networks;
}

/*
 * Values as they are searched: the first is never compared with, from the others 1 is taken, and what follows is above
 * all. So the last of one run may be the first of the next.
 */
static uint32_t put_values(struct bh_trees *trees, const uint64_t *values, uint32_t count)
{
	uint32_t size = (count + BH_RANK_SPARE) * (uint32_t)sizeof(uint64_t), at = bh_trees_room(trees, size, 8);

	for (uint32_t i = 0; !trees->failed && i < count + BH_RANK_SPARE; i++)
		((uint64_t *)(trees->bytes.data + at))[i] = i && i < count ? values[i] - 1 : ~0ULL;
	return at;
}

/* The node of a network of more than one bound. Its steps. */
static uint32_t put_network(struct ranking *ranking, struct network *network, uint64_t *lows)
{
	struct bh_trees *trees = ranking->trees;
	uint32_t count = network->to - network->from, steps;
	struct values values = {lows, 0};
	struct bh_rank_node node = {.high = ranking->bounds[network->from].hi, .rank = ranking->ranks[network->from]};

	for (uint32_t i = 0; i < count; i++)
		lows[i] = ranking->bounds[network->from + i].lo;
	network->node = bh_trees_room(trees, sizeof(node), 64);
	values.at = put_values(trees, lows, count);
	steps = put_node(trees, &values, 1, count, 0, &node);
	if (!trees->failed)
		memcpy(trees->bytes.data + network->node, &node, sizeof(node));
	return steps;
}

/* All networks in order, by what finds one there. Its steps. */
static uint32_t put_order(struct ranking *ranking, struct bh_ranking *side, uint64_t *highs)
{
	struct bh_trees *trees = ranking->trees;
	struct values values = {highs, 0};

	for (uint32_t n = 0; n < ranking->count; n++)
		highs[n] = high_of(ranking, n);
	values.at = put_values(trees, highs, ranking->count);
	side->networks = bh_trees_room(trees, ranking->count * sizeof(struct bh_rank_network), 64);
	for (uint32_t n = 0; !trees->failed && n < ranking->count; n++)
		((struct bh_rank_network *)(trees->bytes.data + side->networks))[n] =
			(struct bh_rank_network){highs[n], ranking->networks[n].node, ranking->ranks[ranking->networks[n].to - 1]};
	return put_node_anew(trees, &values, 1, ranking->count, 0, &side->node);
}

/* Puts a network into its slot; false if that is full. */
static bool put_slot(struct bh_rank_slot *slot, uint64_t high, uint32_t node)
{
	for (int i = 0; i < 2; i++)
		if (!slot->nodes[i]) {
			slot->high[i] = high;
			slot->nodes[i] = node;
			return true;
		}
	return false;
}

/* What is in no other slot; it has no node. */
static void fill_slots(struct bh_rank_slot *slots, uint32_t count)
{
	for (uint32_t s = 0; s < count; s++)
		for (int i = 0; i < 2; i++)
			if (!slots[s].nodes[i])
				slots[s].high[i] = !s;
}

/* Networks by the hash of their high halves: those of many bounds first, and not those for which there is no place. */
static void put_slots(struct ranking *ranking, struct bh_ranking *side)
{
	struct bh_trees *trees = ranking->trees;
	uint32_t bits = 1, many = 0;
	struct bh_rank_slot *slots;

	for (uint32_t n = 0; n < ranking->count; n++)
		many += ranking->networks[n].node != 0;
	while (bits < SLOTS_BITS && 1u << bits < 2 * many)
		bits++;
	side->slots = bh_trees_room(trees, sizeof(*slots) << bits, 64);
	if (trees->failed)
		return;
	slots = (struct bh_rank_slot *)(trees->bytes.data + side->slots);
	side->slots |= 64 - bits;
	for (uint32_t least = 16; least; least /= 8)
		for (uint32_t n = 0; n < ranking->count; n++) {
			const struct network *network = &ranking->networks[n];
			uint64_t high = high_of(ranking, n);

			if (network->node && (network->to - network->from >= least) &&
			    (least == 16 || network->to - network->from < least * 8))
				put_slot(&slots[high * BH_RANK_FACTOR >> (64 - bits)], high, network->node);
		}
	fill_slots(slots, 1u << bits);
}

uint32_t bh_ranks_put(struct bh_trees *trees, struct bh_ranking *side, const struct bh_address *bounds,
                      const uint32_t *ranks, uint32_t count)
{
	struct ranking ranking = {.trees = trees, .bounds = bounds, .ranks = ranks};
	BH_AUTOFREE uint64_t *values = calloc(count, sizeof(*values)); /* of one network, then of all */
	uint32_t most = 0;

	if (!values || !find_networks(&ranking, count)) {
		trees->failed = true;
		return 0;
	}
	for (uint32_t n = 0; n < ranking.count; n++) {
		struct network *network = &ranking.networks[n];
		uint32_t steps = network->to - network->from > 1 ? put_network(&ranking, network, values) : 0;

		most = steps > most ? steps : most;
	}
	most += put_order(&ranking, side, values);
	put_slots(&ranking, side);
	free(ranking.networks);
	return most;
}

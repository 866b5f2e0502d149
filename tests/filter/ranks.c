/*
 * ranks.c - in a compiled table an address has the rank of the last bound that is not above it, in no more steps
 * than are declared: whatever bits bounds have in common, however they crowd and however many networks there are.
 *
 *   ranks SETS [SEED]
 */
#include <stdlib.h>

static unsigned steps;

#define BH_STEP(what) (steps++)

#include "../../engine/filter/ranks.h"
#include "../support/random.h"
#include "../support/report.h"

#define BOUNDS 4000
#define KINDS 4

static uint64_t random_word(void)
{
	return (uint64_t)random_next() << 32 | random_next();
}

/* Bits of a word that may be set: a run of up to so many, anywhere, and few others. */
static uint64_t random_bits(uint32_t most)
{
	uint64_t run = (1ULL << (1 + random_below(most))) - 1;

	return run << random_below(64) | (random_below(2) ? 0 : 1ULL << random_below(64));
}

/*
 * Bounds of a kind: of a few networks, hosts that crowd and prefixes around them; of many networks; of one
 * network only; and anything.
 */
static uint32_t make_bounds(struct bh_address *bounds, uint32_t kind)
{
	uint32_t most = 1 + random_below(random_below(2) ? 60 : BOUNDS / 2), networks = 1 + random_below(kind ? 400 : 12);
	uint64_t highs = kind == 3 ? ~0ULL : random_bits(14), lows = kind == 3 ? ~0ULL : random_bits(16), like = random_word();
	uint64_t some[400];

	for (uint32_t n = 0; n < networks; n++)
		some[n] = kind == 2 ? like : (like & ~highs) | (random_word() & highs);
	bounds[0] = (struct bh_address){0, 0};
	for (uint32_t i = 1; i < most; i++) {
		bounds[i].hi = some[random_below(networks)];
		bounds[i].lo = kind == 1 && random_below(50) ? 0 : (like & ~lows) | (random_word() & lows);
		if (random_below(20) == 0)
			bounds[i].lo &= ~0ULL << random_below(64);
		else if (random_below(2) && i > 1)
			bounds[i] = bh_address_next(bounds[i - 1]);
	}
	return bh_ranks_sort(bounds, most);
}

/* A bound, what is beside it, what differs from it in a few bits, or anything. */
static struct bh_address some_address(const struct bh_address *bounds, uint32_t count)
{
	struct bh_address address = bounds[random_below(count)];

	switch (random_below(8)) {
	case 0:
		return bh_address_previous(address);
	case 1:
		return (struct bh_address){random_word(), random_word()};
	case 2:
		return (struct bh_address){address.hi, random_word()};
	case 3:
		return (struct bh_address){random_below(2) ? address.hi : ~0ULL, ~0ULL};
	case 4:
		return address;
	default:
		for (uint32_t n = random_below(3); n; n--)
			*(random_below(3) ? &address.lo : &address.hi) ^= 1ULL << random_below(64);
		return random_below(2) ? bh_address_next(address) : address;
	}
}

static uint32_t linear(const struct bh_address *bounds, uint32_t count, const struct bh_address *address)
{
	uint32_t last = 0;

	while (last + 1 < count && !bh_address_below(address, &bounds[last + 1]))
		last++;
	return last;
}

/* Whether bounds ascend, each network begins with its first address, and high bits of ranks tell networks apart. */
static bool in_order(const struct bh_address *bounds, const uint32_t *ranks, uint32_t count)
{
	bool ok = true;

	for (uint32_t i = 0, from = 0; i < count; i++) {
		bool begins = !i || bounds[i].hi != bounds[i - 1].hi;
		uint32_t size = 1;

		from = begins ? i : from;
		while (size < i - from + 1)
			size *= 2;
		ok = ok && (!i || (bh_address_below(&bounds[i - 1], &bounds[i]) && ranks[i - 1] < ranks[i]));
		ok = ok && (!begins || !bounds[i].lo) && ranks[from] % size == 0 && ranks[i] == ranks[from] + i - from;
	}
	return ok;
}

static void compare(uint32_t kind, const char *name, uint32_t sets)
{
	static struct bh_address bounds[BOUNDS + 1];
	static uint32_t ranks[BOUNDS + 1];
	uint32_t wrong = 0, late = 0, disordered = 0, asked = 0, most = 0;
	char detail[160];

	for (uint32_t s = 0; s < sets; s++) {
		struct bh_trees trees = {.leaves = NULL};
		struct bh_ranking side;
		uint32_t count = make_bounds(bounds, kind), declared;
		struct bh_place place;

		bh_ranks_number(bounds, count, ranks);
		disordered += !in_order(bounds, ranks, count);
		bh_trees_room(&trees, sizeof(struct bh_table_head), 64);
		declared = bh_ranks_put(&trees, &side, bounds, ranks, count);
		if (trees.failed)
			abort();
		most = declared > most ? declared : most;
		place = (struct bh_place){(const uint8_t *)trees.bytes.data, 0};
		for (int i = 0; i < 300; i++, asked++) {
			struct bh_address address = some_address(bounds, count);
			uint32_t index = linear(bounds, count, &address);

			steps = 0;
			wrong += bh_rank_of(&place, &side, &address, 0) != ranks[index] ||
			         bh_ranks_find(bounds, count, &address) != index;
			late += steps > declared;
		}
		bh_trees_clear(&trees);
	}
	snprintf(detail, sizeof(detail), "%u addresses, %u wrong, %u in more steps than declared (%u at most); %u of %u out of order",
	         asked, wrong, late, most, disordered, sets);
	report(name, !wrong && !late && !disordered, detail);
}

/* What crowds beyond all nodes is searched as a whole. */
static void crowd(void)
{
	static struct bh_address bounds[BOUNDS + 1];
	static uint32_t ranks[BOUNDS + 1];
	struct bh_trees trees = {.leaves = NULL};
	struct bh_ranking side;
	uint32_t n = 1, wrong = 0;
	struct bh_place place;

	/* Each level's block has most of what is left in its first cell. */
	bounds[0] = (struct bh_address){0, 0};
	for (uint32_t bit = 0; bit < 60; bit++)
		for (uint32_t i = 0; i < (bit < 11 ? 60 : 1u); i++)
			bounds[n++] = (struct bh_address){7, (1ULL << bit) + random_below(1 + bit)};
	for (uint32_t i = 0; i < 1000; i++)
		bounds[n++] = (struct bh_address){7, (uint64_t)i << (i % 50)};
	n = bh_ranks_sort(bounds, n);
	bh_ranks_number(bounds, n, ranks);
	bh_trees_room(&trees, sizeof(struct bh_table_head), 64);
	bh_ranks_put(&trees, &side, bounds, ranks, n);
	place = (struct bh_place){(const uint8_t *)trees.bytes.data, 0};
	for (uint32_t i = 0; !trees.failed && i < n; i++) {
		struct bh_address before = bh_address_previous(bounds[i]);

		wrong += bh_rank_of(&place, &side, &bounds[i], 0) != ranks[i];
		wrong += i && bh_rank_of(&place, &side, &before, 0) != ranks[i - 1];
	}
	report("bounds at every scale", !trees.failed && !wrong, "");
	bh_trees_clear(&trees);
}

int main(int argc, char **argv)
{
	static const char *const kinds[KINDS] = {"ranks among hosts that crowd in a few networks", "ranks among many networks",
	                                         "ranks in one network", "ranks among anything"};
	uint32_t sets = argc > 1 ? (uint32_t)atol(argv[1]) : 400;

	random_state = argc > 2 ? (uint64_t)atol(argv[2]) : 20261128;
	for (uint32_t k = 0; k < KINDS; k++)
		compare(k, kinds[k], sets);
	crowd();
	return report_counts();
}

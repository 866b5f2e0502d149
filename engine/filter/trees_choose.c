/*
 * trees_choose.c - how a node's boxes are split: which bits, and which children a box then reaches.
 * See trees.c.
 */
#include "trees_part.h"

#include <string.h>

/* ---- which children a box reaches ---- */

/* The values of a lane's masked bits among [first, last]; 0 if more than `room`. */
static uint32_t lane_values(uint32_t mask, uint32_t first, uint32_t last, uint32_t *values, uint32_t room)
{
	uint32_t low, open, fixed, n = 0, d = first ^ last;

	if (!mask) {
		values[0] = 0;
		return 1;
	}
	low = (uint32_t)__builtin_ctz(mask);
	if (!((mask >> low) & ((mask >> low) + 1))) {
		uint32_t top = mask >> low, a = first >> low;
		uint64_t count = (uint64_t)(last >> low) - a + 1;

		if (count > top) {
			count = (uint64_t)top + 1;
			a = 0;
		}
		for (; n < count && n < room; n++)
			values[n] = ((a + n) & top) << low;
		return n < count ? 0 : n;
	}
	open = d ? (uint32_t)((2ULL << (31 - __builtin_clz(d))) - 1) : 0;
	fixed = first & mask & ~open;
	open &= mask;
	for (uint32_t bits = open;; bits = (bits - 1) & open) {
		if (n == room)
			return 0;
		values[n++] = fixed | bits;
		if (!bits)
			return n;
	}
}

/* The values of a word's masked lanes. */
static uint32_t word_values(const struct choice *choice, const struct part *part, int from, int to,
                            uint64_t *values)
{
	uint32_t n = 1, lane[VALUES_MAX];

	values[0] = 0;
	for (int l = from; l < to; l++) {
		uint32_t count = lane_values(choice->mask[l], part->first[l], part->last[l], lane, VALUES_MAX), m = n;

		if (!count || count * n > VALUES_MAX)
			return 0;
		for (uint32_t c = count; c-- > 0;)
			for (uint32_t i = 0; i < m; i++)
				values[c * m + i] = values[i] | (uint64_t)lane[c] << bh_lane_shift[l];
		n = count * m;
	}
	return n;
}

/* Whether the part has one value of the masked bits; the words of it. */
static bool part_fixed(const struct choice *choice, const struct part *part, uint64_t words[2])
{
	words[0] = words[1] = 0;
	for (int l = 0; l < BH_LANES; l++) {
		uint32_t mask = choice->mask[l], d = part->first[l] ^ part->last[l];

		/* No masked bit below the highest in which its ends differ. */
		if (d && mask & (uint32_t)((2ULL << (31 - __builtin_clz(d))) - 1))
			return false;
		words[l >= BH_REMOTE] |= (uint64_t)(part->first[l] & mask) << bh_lane_shift[l];
	}
	return true;
}


/* The children a packet of the part may reach, each once; EVERYWHERE where that is the cheaper. */
uint32_t bh_trees_cells(struct growing *growing, const struct choice *choice, const struct part *part,
                        uint32_t cells[CELLS_MAX])
{
	uint64_t local[VALUES_MAX], remote[VALUES_MAX];
	uint32_t a, b, n = 0, kept = 0;

	if (part_fixed(choice, part, local)) {
		cells[0] = (uint32_t)((local[0] * choice->factor[0] + local[1] * choice->factor[1]) >>
		                      (64 - choice->bits));
		return 1;
	}
	a = word_values(choice, part, 0, BH_REMOTE, local);
	b = a ? word_values(choice, part, BH_REMOTE, BH_LANES, remote) : 0;

	if (!b || a * b > CELLS_MAX || a * b >= 1u << choice->bits)
		return a * b == 1 ? (cells[0] = 0, 1) : EVERYWHERE;
	for (uint32_t i = 0; i < a; i++)
		for (uint32_t j = 0; j < b; j++)
			cells[n++] = (uint32_t)((local[i] * choice->factor[0] + remote[j] * choice->factor[1]) >>
			                        (64 - choice->bits));
	if (choice->exact)
		return n;
	growing->stamp++;
	for (uint32_t i = 0; i < n; i++)
		if (growing->stamps[cells[i]] != growing->stamp) {
			growing->stamps[cells[i]] = growing->stamp;
			cells[kept++] = cells[i];
		}
	return kept;
}

/* ---- choosing ---- */

/* Boxes that a packet of these boxes meets in its child, on average; and references made of one box. */
static double try_choice(struct growing *growing, const struct choice *choice, const struct part *parts,
                         uint32_t count, double *copies)
{
	uint32_t step = count > SAMPLE ? count / SAMPLE : 1, n = 0, everywhere = 0, total = 0;
	double sum = 0, width = (double)(1u << choice->bits);
	uint32_t (*cells)[CELLS_MAX] = growing->cells, counts[SAMPLE * 2];

	for (uint32_t i = 0; i < count; i += step, n++) {
		counts[n] = bh_trees_cells(growing, choice, &parts[i], cells[n]);
		if (counts[n] == EVERYWHERE) {
			everywhere++;
			continue;
		}
		total += counts[n];
		for (uint32_t c = 0; c < counts[n]; c++)
			growing->loads[cells[n][c]]++;
	}
	for (uint32_t i = 0; i < n; i++) {
		double load = 0;

		if (counts[i] == EVERYWHERE) {
			sum += everywhere + total / width;
			continue;
		}
		for (uint32_t c = 0; c < counts[i]; c++)
			load += growing->loads[cells[i][c]];
		sum += everywhere + load / counts[i];
	}
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t c = 0; counts[i] != EVERYWHERE && c < counts[i]; c++)
			growing->loads[cells[i][c]] = 0;
	growing->trees->work -= n + total < growing->trees->work ? n + total : growing->trees->work;
	*copies = (everywhere * width + total) / n;
	return 1 + (sum / n - 1) * step;
}

static bool same_masks(const uint32_t a[BH_LANES], const uint32_t b[BH_LANES])
{
	return !memcmp(a, b, BH_LANES * sizeof(*a));
}

#define CANDIDATES 40 /* of hashes */

struct contest {
	struct growing *growing;
	const struct part *parts;
	uint32_t count;
	size_t room;
	struct choice best;
	double score, load;
	uint32_t tried[CANDIDATES][BH_LANES], tried_count; /* masks that were hashed */
};

static uint32_t log2_of(uint32_t n)
{
	return n > 1 ? 32 - (uint32_t)__builtin_clz(n - 1) : 0;
}

/* Takes the candidate if it is the best so far and fits the room. */
static void enter(struct contest *contest, struct choice *choice)
{
	double load, copies, score, bytes;

	load = try_choice(contest->growing, choice, contest->parts, contest->count, &copies);
	bytes = 4.0 * (1u << choice->bits) + copies * contest->count * 64 + 128;
	score = (load + 2) * (0.85 + 0.15 * (copies > 1 ? copies : 1));
	if (score >= contest->score || bytes * 1.05 > (double)contest->room)
		return;
	contest->best = *choice;
	contest->score = score;
	contest->load = load;
}

static void enter_hash(struct contest *contest, const uint32_t mask[BH_LANES])
{
	struct choice choice = {.factor = {bh_factors[0], bh_factors[1]}};
	uint32_t bits = 0, want = log2_of(contest->count) + 1;

	for (int l = 0; l < BH_LANES; l++) {
		choice.mask[l] = mask[l];
		bits += (uint32_t)__builtin_popcount(mask[l]);
	}
	for (uint32_t i = 0; i < contest->tried_count; i++)
		if (same_masks(contest->tried[i], mask))
			return;
	if (!bits || contest->tried_count == CANDIDATES)
		return;
	memcpy(contest->tried[contest->tried_count++], mask, sizeof(choice.mask));
	choice.bits = bits + 1 < want ? bits + 1 : want;
	choice.bits = choice.bits > contest->growing->fork_bits ? contest->growing->fork_bits : choice.bits;
	enter(contest, &choice);
}

/* Windows of bits, at most one in each word. */
static void enter_windows(struct contest *contest, const uint32_t mask[BH_LANES])
{
	struct choice choice = {.exact = true};
	uint32_t end = 64;

	for (int l = 0; l < BH_LANES; l++) {
		choice.mask[l] = mask[l];
		choice.bits += (uint32_t)__builtin_popcount(mask[l]);
	}
	for (int l = 0; l < BH_LANES; l++)
		if (mask[l]) {
			uint32_t bits = (uint32_t)__builtin_popcount(mask[l]);
			uint32_t low = bh_lane_shift[l] + (uint32_t)__builtin_ctz(mask[l]);

			if (end - bits < low)
				return;
			choice.factor[l >= BH_REMOTE] = 1ULL << (end - bits - low);
			end -= bits;
		}
	if (choice.bits && choice.bits <= contest->growing->fork_bits)
		enter(contest, &choice);
}

/* For each lane and bit, how many boxes fix it, and how often as 1. */
struct census {
	uint32_t fixed[BH_LANES][32], ones[BH_LANES][32], count;
};

static void take_census(struct census *census, const struct part *parts, uint32_t count)
{
	uint32_t step = count > SAMPLE ? count / SAMPLE : 1;

	memset(census, 0, sizeof(*census));
	for (uint32_t i = 0; i < count; i += step, census->count++)
		for (int l = 0; l < BH_LANES; l++) {
			uint32_t d = parts[i].first[l] ^ parts[i].last[l];

			for (int b = d ? 32 - __builtin_clz(d) : 0; b < bh_lane_bits[l]; b++) {
				census->fixed[l][b]++;
				census->ones[l][b] += parts[i].first[l] >> b & 1;
			}
		}
}

/* The bits that vary and are fixed by a share of the boxes. */
static uint32_t bits_fixed(const struct census *census, int lane, uint32_t percent)
{
	uint32_t mask = 0;

	for (int b = 0; b < bh_lane_bits[lane]; b++)
		if (census->fixed[lane][b] * 100 >= census->count * percent && census->ones[lane][b] &&
		    census->ones[lane][b] < census->fixed[lane][b])
			mask |= 1u << b;
	return mask;
}

/* `bits` bits from the first on in which the hull's ends differ; 0 if there are none. */
static uint32_t window(const struct hull *hull, int lane, uint32_t bits)
{
	uint32_t d = hull->first[lane] ^ hull->last[lane], top = d ? 32 - (uint32_t)__builtin_clz(d) : 0;

	bits = bits < top ? bits : top;
	return bits ? (uint32_t)((1ULL << bits) - 1) << (top - bits) : 0;
}

/* The best way to split the boxes; false if a leaf is better. */
bool bh_trees_choose(struct growing *growing, const struct part *parts, uint32_t count,
                     const struct hull *hull, size_t room, struct choice *choice)
{
	static const uint8_t sets[] = {0x1f, 0x09, 0x01, 0x08, 0x02, 0x10, 0x06, 0x0b, 0x03, 0x0a, 0x12, 0x1b, 0x0f};
	static const uint8_t shares[] = {100, 95, 80, 60, 40};
	static const uint8_t pairs[][2] = {{BH_LOCAL, BH_REMOTE}, {BH_LOCAL_PORT, BH_REMOTE_PORT},
	                                   {BH_LOCAL, BH_REMOTE_PORT}, {BH_LOCAL_PORT, BH_REMOTE}};
	struct contest contest = {.growing = growing, .parts = parts, .count = count, .room = room,
	                          .score = count + 2.0, .load = count};
	uint32_t mask[BH_LANES];
	struct census census;

	bool hurry = !growing->trees->work;

	take_census(&census, parts, count);
	for (size_t s = 0; s < (hurry ? 4 : sizeof(sets)); s++) {
		for (size_t p = 0; p < sizeof(shares); p++) {
			for (int l = 0; l < BH_LANES; l++)
				mask[l] = sets[s] >> l & 1 ? bits_fixed(&census, l, shares[p]) : 0;
			enter_hash(&contest, mask);
		}
	}
	for (int l = 0; l < BH_LANES && !hurry; l++)
		for (uint32_t bits = 1; bits <= 8 && bits <= log2_of(count) + 2; bits += bits > 1 ? 2 : 1) {
			memset(mask, 0, sizeof(mask));
			mask[l] = window(hull, l, bits);
			enter_windows(&contest, mask);
		}
	for (size_t p = 0; p < sizeof(pairs) / sizeof(*pairs); p++)
		for (uint32_t bits = hurry ? 4 : 2; bits <= 4; bits++) {
			memset(mask, 0, sizeof(mask));
			mask[pairs[p][0]] = window(hull, pairs[p][0], bits);
			mask[pairs[p][1]] = window(hull, pairs[p][1], bits);
			enter_windows(&contest, mask);
		}
	*choice = contest.best;
	return contest.load + 2 < count; /* a node costs about as much as three boxes */
}

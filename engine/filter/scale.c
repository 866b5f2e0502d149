/*
 * scale.c - makes the scales of scale.h.
 */
#include "scale.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The moves that pack the bits of a mask: each by 1, 2, 4 … places as it has to go. */
static void moves_of(uint64_t moves[BH_SCALE_MOVES], uint64_t mask)
{
	uint64_t gaps = ~mask << 1; /* to the right of each bit */

	for (uint32_t i = 0; i < BH_SCALE_MOVES; i++) {
		uint64_t odd = gaps;

		for (uint32_t s = 1; s < 64; s *= 2)
			odd ^= odd << s;
		moves[i] = odd & mask;
		mask = (mask ^ moves[i]) | moves[i] >> (1u << i);
		gaps &= ~odd;
	}
}

/* Which bits tell bounds apart. :: does not count: what is below all others has its label. */
static void choose_bits(struct bh_scale *scale, const struct bh_address *bounds, uint32_t count, bool *all)
{
	uint32_t drop;

	scale->vary[0] = scale->vary[1] = 0;
	for (uint32_t i = 2; i < count; i++) {
		scale->vary[0] |= bounds[i].hi ^ bounds[1].hi;
		scale->vary[1] |= bounds[i].lo ^ bounds[1].lo;
	}
	scale->same[0] = ~scale->vary[0];
	scale->same[1] = ~scale->vary[1];
	drop = (uint32_t)(__builtin_popcountll(scale->vary[0]) + __builtin_popcountll(scale->vary[1]));
	drop = drop > BH_SCALE_BITS ? drop - BH_SCALE_BITS : 0;
	*all = !drop;
	for (; drop; drop--) {
		uint64_t *from = scale->vary[1] ? &scale->vary[1] : &scale->vary[0];

		*from &= *from - 1;
	}
	/* Below the last bit that is marked, what bounds have in common tells nothing if there they also differ. */
	if (!*all && scale->vary[1])
		scale->same[1] &= ~0ULL << __builtin_ctzll(scale->vary[1]);
	if (!*all && !scale->vary[1]) {
		scale->same[1] = 0;
		scale->same[0] &= ~0ULL << __builtin_ctzll(scale->vary[0]);
	}
	if (count < 2)
		scale->same[0] = scale->same[1] = 0;
	for (int half = 0; half < 2; half++) {
		scale->fixed[half] = count < 2 ? 0 : scale->same[half] & (half ? bounds[1].lo : bounds[1].hi);
		moves_of(scale->moves[half], scale->vary[half]);
	}
	scale->low = (uint32_t)__builtin_popcountll(scale->vary[1]);
}

static uint64_t pack(uint64_t word, uint64_t mask, const uint64_t moves[BH_SCALE_MOVES])
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("bmi2")) {
		uint64_t packed;

		__asm__("pext %2, %1, %0" : "=r"(packed) : "r"(word), "r"(mask));
		return packed;
	}
#endif
	return bh_scale_pack(word, mask, moves);
}

static int64_t mark_of(const struct bh_scale *scale, const struct bh_address *address)
{
	uint64_t words[2];
	int64_t under = bh_scale_clamp(scale, address, words);

	return (int64_t)(pack(words[0], scale->vary[0], scale->moves[0]) << scale->low |
	                 pack(words[1], scale->vary[1], scale->moves[1])) + 1 - under;
}

/* Where levels begin, and how many marks there are in all. */
static uint32_t choose_levels(struct bh_scale *scale)
{
	uint32_t n = scale->count, all = 0;

	scale->levels = 0;
	if (n <= BH_SCALE_FEW)
		return 0;
	do {
		uint32_t room = (n + BH_SCALE_WAYS - 1) / BH_SCALE_WAYS;

		scale->starts[scale->levels++] = all;
		all += room * BH_SCALE_WAYS;
		n = room;
	} while (n > 1 && scale->levels < BH_SCALE_LEVELS);
	return all;
}

static void make_marks(struct bh_scale *scale, const struct bh_address *bounds)
{
	int64_t *marks = scale->marks;

	for (uint32_t i = 0; i < scale->marks_count; i++)
		marks[i] = INT64_MAX;
	marks[0] = 0;
	for (uint32_t i = 1; i < scale->count; i++)
		marks[i] = mark_of(scale, &bounds[i]);
	for (uint32_t l = 1; l < scale->levels; l++) {
		uint32_t n = (scale->starts[l] - scale->starts[l - 1]) / BH_SCALE_WAYS;

		for (uint32_t i = 0; i < n; i++)
			marks[scale->starts[l] + i] = marks[scale->starts[l - 1] + i * BH_SCALE_WAYS];
	}
}

int bh_scale_build(struct bh_scale *scale, const struct bh_address *bounds, const uint32_t *labels, uint32_t count)
{
	bool all;

	bh_scale_clear(scale);
	choose_bits(scale, bounds, count, &all);
	scale->count = count;
	scale->marks_count = choose_levels(scale);
	scale->marks = scale->levels ? aligned_alloc(64, scale->marks_count * sizeof(*scale->marks)) : NULL;
	scale->labels = labels ? malloc(count * sizeof(*labels)) : NULL;
	all = all && scale->levels;
	scale->bounds = all ? NULL : malloc(count * sizeof(*bounds));
	if ((scale->levels && !scale->marks) || (labels && !scale->labels) || (!all && !scale->bounds)) {
		bh_scale_clear(scale);
		return -ENOMEM;
	}
	if (labels)
		memcpy(scale->labels, labels, count * sizeof(*labels));
	if (!all)
		memcpy(scale->bounds, bounds, count * sizeof(*bounds));
	if (scale->levels)
		make_marks(scale, bounds);
	return 0;
}

void bh_scale_clear(struct bh_scale *scale)
{
	free(scale->marks);
	free(scale->labels);
	free(scale->bounds);
	memset(scale, 0, sizeof(*scale));
}

/* The last of sorted marks that is not above one. */
static uint32_t last_of(const int64_t *marks, uint32_t count, int64_t mark)
{
	uint32_t at = 0;

	for (uint32_t n = count, half; n > 1; n -= half)
		at += marks[at + (half = n / 2)] <= mark ? half : 0;
	return at;
}

uint32_t bh_scale_among(const struct bh_scale *scale, const struct bh_address *address, uint32_t last)
{
	uint32_t at = last, step = 1;

	for (; bh_address_below(address, &scale->bounds[at]); step *= 2)
		at -= step < at ? step : at;
	for (uint32_t n = last - at, half; n > 1; n -= half)
		at += bh_address_below(address, &scale->bounds[at + (half = n / 2)]) ? 0 : half;
	return at;
}

uint32_t bh_scale_find(const struct bh_scale *scale, const struct bh_address *address)
{
	uint32_t at = scale->levels ? last_of(scale->marks, scale->count, mark_of(scale, address)) : bh_scale_few(scale, address);

	if (scale->bounds && bh_address_below(address, &scale->bounds[at]))
		at = bh_scale_among(scale, address, at);
	return scale->labels ? scale->labels[at] : at;
}

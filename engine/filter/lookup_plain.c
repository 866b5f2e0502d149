/*
 * lookup_plain.c - the lookup in portable C: see lookup.h.
 */
#define BH_NAME(name) bh_plain_##name

#include <stdint.h>

#include "space.h"

static inline uint64_t plain_select(uint64_t word, uint64_t mask)
{
	uint64_t bits = 0;

	for (uint32_t i = 0; mask; i++, mask &= mask - 1)
		bits |= (word >> __builtin_ctzll(mask) & 1) << i;
	return bits;
}

static inline uint32_t plain_compare(const struct bh_leaf *leaf, uint64_t w0, uint64_t w1)
{
	uint32_t local = (uint32_t)w0, remote = (uint32_t)(w0 >> 32), match = 0;
	uint16_t ports[3] = {(uint16_t)w1, (uint16_t)(w1 >> 16), (uint16_t)(w1 >> 32)};

	for (int i = 0; i < 8; i++) {
		uint32_t in = (uint32_t)(local - leaf->first[i][0] <= leaf->span[i][0]) &
		              (uint32_t)(remote - leaf->first[i][1] <= leaf->span[i][1]);

		for (int p = 0; p < 3; p++)
			in &= (uint32_t)((uint16_t)(ports[p] - leaf->port_first[i][p]) <= leaf->port_span[i][p]);
		match |= in << i;
	}
	return match;
}

static inline uint32_t plain_below(const int32_t *keys, uint32_t value)
{
	int32_t biased = (int32_t)(value ^ BH_AXIS_BIAS);
	uint32_t n = 0;

	for (uint32_t half = 8; half; half /= 2)
		n += keys[n + half - 1] < biased ? half : 0;
	return n + (keys[n] < biased);
}

static inline uint32_t plain_meet(const uint64_t *const *rows, uint32_t n, uint32_t words)
{
	for (uint32_t w = 0; w < words; w++) {
		uint64_t all = rows[0][w];

		for (uint32_t r = 1; r < n; r++)
			all &= rows[r][w];
		if (all)
			return 64 * w + (uint32_t)__builtin_ctzll(all);
	}
	return 64 * words;
}

#define BH_BELOW plain_below
#define BH_MEET plain_meet
#define BH_SELECT plain_select
#define BH_COMPARE plain_compare

#include "lookup.h"

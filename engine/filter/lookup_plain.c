/*
 * lookup_plain.c - the lookup in portable C: see lookup.h.
 */
#define BH_NAME(name) bh_plain_##name

#include <stdint.h>

#include "classifier.h"
#include "strip.h"

static inline uint64_t plain_select(uint64_t word, uint64_t mask)
{
	uint64_t bits = 0;

	for (uint32_t i = 0; mask; i++, mask &= mask - 1)
		bits |= (word >> __builtin_ctzll(mask) & 1) << i;
	return bits;
}

static inline uint32_t plain_some(const struct bh_leaf *leaf, int count, uint64_t w0, uint64_t w1)
{
	uint32_t local = (uint32_t)w0, remote = (uint32_t)(w0 >> 32), match = 0;
	uint16_t ports[3] = {(uint16_t)w1, (uint16_t)(w1 >> 16), (uint16_t)(w1 >> 32)};

	for (int i = 0; i < count; i++) {
		uint32_t in = (uint32_t)(local - leaf->first[i][0] <= leaf->span[i][0]) &
		              (uint32_t)(remote - leaf->first[i][1] <= leaf->span[i][1]);

		for (int p = 0; p < 3; p++)
			in &= (uint32_t)((uint16_t)(ports[p] - leaf->port_first[i][p]) <= leaf->port_span[i][p]);
		match |= in << i;
	}
	return match;
}

static inline uint32_t plain_compare(const struct bh_leaf *leaf, uint64_t w0, uint64_t w1)
{
	return plain_some(leaf, 8, w0, w1);
}

static inline uint32_t plain_compare4(const struct bh_leaf *leaf, uint64_t w0, uint64_t w1)
{
	return plain_some(leaf, 4, w0, w1);
}

/* Compilers make vectors of these loops. */
static inline uint32_t plain_compare16(const struct bh_strips *strips, const struct bh_strip *strip,
                                       const struct bh_key *key)
{
	const uint16_t ports[3] = {key->local_port, key->remote_port, key->protocol};
	uint32_t local = (uint32_t)key->local.lo, remote = (uint32_t)key->remote.lo, match = 0;

	(void)strips;
	for (int i = 0; i < BH_STRIP_BOXES; i++) {
		uint32_t in = (uint32_t)(local - strip->first[0][i] <= strip->span[0][i]) &
		              (uint32_t)(remote - strip->first[1][i] <= strip->span[1][i]);

		for (int p = 0; p < 3; p++)
			in &= (uint32_t)((uint16_t)(ports[p] - strip->port_first[p][i]) <= strip->port_span[p][i]);
		match |= in << i;
	}
	return match;
}

#define BH_SELECT plain_select
#define BH_PACK bh_scale_pack
#define BH_COMPARE plain_compare
#define BH_COMPARE4 plain_compare4
#define BH_COMPARE16 plain_compare16
#define BH_COMPARE16_BITS 1

#include "lookup.h"

/*
 * scale.h - IPv6 addresses as coordinates of 32 bits: where they stand among the bounds of a space's rules.
 * Inside filter/ only.
 *
 * A box's range of addresses begins at one bound and ends before another; which of two bounds an address is
 * between is all that boxes ask. So an address has the label of the last bound that is not above it; labels
 * ascend as bounds do.
 *
 * Bounds differ in few of their bits. These, packed, are a bound's mark, and an address is looked for by its
 * own among marks of 64 bits. An address that differs from all bounds in a bit that they have in common is
 * beyond all bounds that are like it above that bit, on one side or the other: there its mark is put. Marks
 * are searched sixteen at a time, from those of every 4,096th, 256th, 16th bound down; no step is a guess.
 * Few bounds are searched themselves.
 */
#ifndef BH_FILTER_SCALE_H
#define BH_FILTER_SCALE_H

#include "address.h"

#define BH_SCALE_FEW 64
#define BH_SCALE_WAYS 16
#define BH_SCALE_LEVELS 7 /* 16^7 bounds */
#define BH_SCALE_MOVES 6
#define BH_SCALE_BITS 62 /* of a mark, at most */

struct bh_scale {
	uint64_t vary[2];  /* bits of the high and of the low half that marks have */
	uint64_t same[2];  /* bits that all bounds have in common; those below all marked ones only if these are all */
	uint64_t fixed[2]; /* what they are */
	uint64_t moves[2][BH_SCALE_MOVES]; /* how to pack bits without an instruction for it */
	uint32_t low;      /* bits of the low half in a mark */
	uint32_t count, levels; /* 0 = few bounds, which have no marks */
	uint32_t starts[BH_SCALE_LEVELS]; /* of a level's marks; [0] is all bounds' */
	uint32_t marks_count;
	int64_t *marks;    /* 64-byte aligned; the first is ::, 0 */
	uint32_t *labels;  /* of each bound; NULL = the index */
	struct bh_address *bounds; /* where there are no marks, or these don't tell them all apart; else NULL */
};

/* Of bounds in ascending order, each once, the first is ::, and their labels or NULL. What there was is cleared. -ENOMEM. */
int bh_scale_build(struct bh_scale *scale, const struct bh_address *bounds, const uint32_t *labels, uint32_t count);
void bh_scale_clear(struct bh_scale *scale);
/* The label that an address has. */
uint32_t bh_scale_find(const struct bh_scale *scale, const struct bh_address *address);

/* The bits of a word in a mask, packed, by the moves that were made for the mask (Hacker's Delight, 7-4). */
static inline uint64_t bh_scale_pack(uint64_t word, uint64_t mask, const uint64_t moves[BH_SCALE_MOVES])
{
	word &= mask;
	for (uint32_t i = 0; i < BH_SCALE_MOVES; i++) {
		uint64_t some = word & moves[i];

		word = (word ^ some) | some >> (1u << i);
	}
	return word;
}

/*
 * An address as it is packed into a mark; and 1 if it is below all bounds of that mark, for that is one less. The
 * usual traffic is all like the bounds, or all unlike them.
 */
static inline __attribute__((always_inline)) int64_t
bh_scale_clamp(const struct bh_scale *scale, const struct bh_address *address, uint64_t words[2])
{
	uint64_t high = (address->hi & scale->same[0]) ^ scale->fixed[0];
	uint64_t low = (address->lo & scale->same[1]) ^ scale->fixed[1], below, over;

	words[0] = address->hi;
	words[1] = address->lo;
	if (!(high | low))
		return 0;
	below = ~0ULL >> 1 >> __builtin_clzll(high ? high : low);
	/* All ones or zeros: the highest bit that is unlike is 1 in the address. */
	over = 0 - (uint64_t)((words[!high] & (below + 1)) != 0);
	words[!high] = (words[!high] & ~below) | (below & over);
	words[1] = high ? over : words[1];
	return (int64_t)(over + 1);
}

/* Among few bounds: the last that is not above the address. No step depends on a guess, and each is short. */
static inline uint32_t bh_scale_few(const struct bh_scale *scale, const struct bh_address *address)
{
	unsigned __int128 value = (unsigned __int128)address->hi << 64 | address->lo;
	const struct bh_address *at = scale->bounds;

	for (uint32_t n = scale->count, half; n > 1; n -= half) {
		const struct bh_address *bound = at + (half = n / 2);
		bool reached = value >= ((unsigned __int128)bound->hi << 64 | bound->lo);

		at = __builtin_expect_with_probability(reached, 1, 0.5) ? bound : at;
	}
	return (uint32_t)(at - scale->bounds);
}

/* The last bound before one that is above the address, which happens to those of one mark, that itself is not. */
uint32_t bh_scale_among(const struct bh_scale *scale, const struct bh_address *address, uint32_t last);

#endif

/*
 * variant.h - the same lookup for several instruction sets. Inside filter/ only.
 */
#ifndef BH_FILTER_VARIANT_H
#define BH_FILTER_VARIANT_H

#include <stdint.h>

#define BH_CHUNK 128          /* packets of a batch that are under way together */
#define BH_STAGED_LEAVES 6000 /* from here (1.5 MB) leaves are fetched ahead: they are not in L2 */

struct bh_space;

struct bh_variant {
	uint32_t (*label)(const struct bh_space *space, uint64_t w0, uint64_t w1);
	/* At most BH_CHUNK packets. */
	void (*labels)(const struct bh_space *space, const uint64_t (*words)[2], uint32_t count,
	               uint32_t *labels);
};

extern const struct bh_variant bh_plain_variant;
#ifdef __x86_64__
extern const struct bh_variant bh_avx2_variant, bh_avx512_variant;
#endif

#endif

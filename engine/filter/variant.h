/*
 * variant.h - the same lookup for several instruction sets. Inside filter/ only.
 */
#ifndef BH_FILTER_VARIANT_H
#define BH_FILTER_VARIANT_H

#include <stdint.h>

#define BH_CHUNK 128          /* packets of a batch that are under way together */

struct bh_space;

/* Each gives a space the functions of its instruction set that suit the space's form. */
void bh_plain_bind(struct bh_space *space);
#ifdef __x86_64__
void bh_avx2_bind(struct bh_space *space);
void bh_avx512_bind(struct bh_space *space);
#endif

#endif

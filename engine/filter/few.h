/*
 * few.h - at most sixteen boxes, compared at once: the form for the rules of one small container. IPv4,
 * and addresses as prefixes, only. Inside filter/.
 *
 * What no box names is not compared. Which protocols a box has is a table of bits; the rest is in
 * vectors, address by address and port by port, in the order in which the comparisons of addresses,
 * which are twice as wide as those of ports, are packed together.
 */
#ifndef BH_FILTER_FEW_H
#define BH_FILTER_FEW_H

#include "forest.h"

#define BH_FEW_BOXES 16

/* Unused places match nothing. */
struct bh_few {
	uint32_t mask[2][BH_FEW_BOXES], value[2][BH_FEW_BOXES]; /* local, remote: at bh_few_at() */
	uint16_t port_first[2][BH_FEW_BOXES], port_span[2][BH_FEW_BOXES];
	uint32_t protocols[256];           /* bits 2i and 2i + 1: box i has it */
	uint32_t labels[BH_FEW_BOXES + 1]; /* the last is BH_LABEL_NONE */
	bool local, remote_ports;          /* whether boxes name them */
} __attribute__((aligned(64)));

/* Where the addresses of box i are: packing goes by halves of a vector. */
static inline uint32_t bh_few_at(uint32_t i)
{
	return (i & 3) | (i & 8) >> 1 | (i & 4) << 1;
}

/* NULL in *few if these boxes cannot have this form; -ENOMEM. Of boxes sorted by label. */
int bh_few_build(struct bh_few **few, const struct bh_box *boxes, uint32_t count);

#endif

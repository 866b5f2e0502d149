/*
 * identity.h - regions that a gate decides before it asks rules. Inside filter/ only, for
 * difference.c; verdict.h is what they restate.
 */
#ifndef BH_FILTER_IDENTITY_H
#define BH_FILTER_IDENTITY_H

#include "region.h"

enum bh_identity_part {
	BH_PART_FORM,   /* what no well-formed packet is, and neighbour discovery */
	BH_PART_ROUTER, /* advertisements and redirects by who may not send them */
	BH_PART_DHCP,   /* answers, likewise */
	BH_PART_OWN,    /* addresses that are not the endpoint's */
	BH_PARTS
};

/* Whether the gate has the part. */
bool bh_identity_has(const struct bh_conf *conf, enum bh_identity_part part);

/* Calls `f` with each region of the part; what it returns if not 0 ends it and is returned. */
int bh_identity_each(const struct bh_conf *conf, enum bh_identity_part part,
                     int (*f)(const struct bh_region *region, void *arg), void *arg);

#endif

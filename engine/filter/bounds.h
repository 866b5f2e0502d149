/*
 * bounds.h - the bounds of a space's IPv6 rules while rules come and go. Inside filter/ only.
 *
 * A forest that is changed in place has labels in its boxes (scale.h), so a bound keeps its label for as long
 * as it is there; one that comes has a label between its neighbours'. Which of a gap's labels it takes goes by
 * where it is among the addresses between them, on a curve that keeps room where many may follow: hosts that
 * are numbered one after the other take little of what is left, and so do networks cut in halves again and again. Where a
 * gap has no label left, all bounds are to be labelled anew, evenly, and what was made with labels with them.
 *
 * Bounds that no rule has any more stay until they are half of all, since rules come again.
 */
#ifndef BH_FILTER_BOUNDS_H
#define BH_FILTER_BOUNDS_H

#include "../base/shelf.h"
#include "address.h"

#define BH_BOUND_NONE 0xffffffffu

struct bh_bounds {
	struct bh_shelf *shelf; /* of all these; NULL = the heap */
	struct bh_bound {
		struct bh_address address;
		uint32_t label;
		uint32_t uses;
	} *all; /* by number; the first is :: */
	uint32_t count, room, idle; /* of which have no use */
	uint32_t *slots;      /* hash table of numbers, and one more; 0 = none */
	uint32_t slots_bits;
	/* In ascending order, with their labels and numbers: the first `placed` of all. */
	struct bh_address *sorted;
	uint32_t *labels, *numbers;
	uint32_t placed, sorted_room;
};

/* Ask for what the next two look for and at, in this order, a while before it is needed. */
void bh_bounds_approach(const struct bh_bounds *bounds, const struct bh_address *address);
void bh_bounds_approach_bound(const struct bh_bounds *bounds, const struct bh_address *address);
/* The number of a bound, which is added if there is none yet and is used once more; BH_BOUND_NONE if there is no memory. */
uint32_t bh_bounds_use(struct bh_bounds *bounds, const struct bh_address *address);
/* Takes a use back; the bound's number, which it keeps until bh_bounds_tidy(). */
uint32_t bh_bounds_leave(struct bh_bounds *bounds, const struct bh_address *address);
uint32_t bh_bounds_label(const struct bh_bounds *bounds, const struct bh_address *address); /* of one that is placed */
/* Gives labels to the bounds that have none yet; or to all, evenly. -ENOMEM; -ERANGE: there is no room for one. */
int bh_bounds_place(struct bh_bounds *bounds, bool evenly);
/* Drops bounds without use, if they are most: true. Numbers change. */
bool bh_bounds_tidy(struct bh_bounds *bounds);
void bh_bounds_clear(struct bh_bounds *bounds);

#endif

/*
 * diagram.h - for which packets two lists of decisions differ, as a decision diagram.
 *
 * A list is read like a ruleset: the first region a packet is in decides, else the list's default.
 * Both lists are cut field by field, in the order of enum bh_region_field; wherever what is left of
 * them is the same, nothing more is cut. So two large lists that differ in a few lines cost what those
 * lines reach. Equal subproblems are solved once and equal nodes are one node, as in a BDD.
 *
 * Packets of the ignored regions may count as either: a set is told in its simplest form that is
 * right for all others.
 */
#ifndef BH_FILTER_DIAGRAM_H
#define BH_FILTER_DIAGRAM_H

#include "region.h"

struct bh_diagram;

/* Where two lists differ: what the second does that the first does not. */
enum bh_change { BH_SAME, BH_NEWLY_ALLOWED, BH_NEWLY_BLOCKED, BH_IGNORED, BH_CHANGES };

/* Sets are kept once; 0 is the whole field in every field. */
struct bh_box {
	uint32_t sets[BH_REGION_FIELDS];
	uint32_t change; /* enum bh_change */
};

/* `budget` is in steps, of which a machine does some 10^8 a second, and in bytes at 4 to a step. */
int bh_diagram_new(struct bh_diagram **out, uint64_t budget, struct bh_error *err);
void bh_diagram_free(struct bh_diagram **diagram);

/* Appends to list 0 or 1, or with action BH_CHANGES to what is ignored. Copies the region. */
int bh_diagram_add(struct bh_diagram *diagram, int list, int action, const struct bh_region *region,
                   struct bh_error *err);
/* Compares the lists with these defaults. -E2BIG: over the budget. */
int bh_diagram_compare(struct bh_diagram *diagram, const uint8_t defaults[2], uint32_t *root,
                       struct bh_error *err);

/* The boxes of a root, which are disjoint and together all that differs; owned by the diagram. */
int bh_diagram_boxes(struct bh_diagram *diagram, uint32_t root, struct bh_box **boxes, size_t *count,
                     struct bh_error *err);
/* The set of that number, and the number of a set. */
const struct bh_set *bh_diagram_set(const struct bh_diagram *diagram, enum bh_region_field field,
                                    uint32_t number);
int bh_diagram_number(struct bh_diagram *diagram, enum bh_region_field field, const struct bh_set *set,
                      uint32_t *number);

#endif

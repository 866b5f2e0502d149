/*
 * boxes.h - the boxes of a difference made into what people read. Inside filter/ only, for
 * difference.c.
 */
#ifndef BH_FILTER_BOXES_H
#define BH_FILTER_BOXES_H

#include "diagram.h"

struct bh_boxes {
	size_t count;
	struct bh_box *boxes; /* owned; free() */
	struct bh_diagram *diagram;
	int field; /* that may differ, when boxes are compared */
};

/*
 * Copies boxes so that each has one direction, ports or types of ICMP but not both, and no ports where
 * its protocols have none.
 */
int bh_boxes_clean(struct bh_boxes *boxes, const struct bh_box *from, size_t count);
/* Joins boxes that differ in one field only, until there are none; directions stay apart. */
int bh_boxes_merge(struct bh_boxes *boxes);

#endif

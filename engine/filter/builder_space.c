/*
 * builder_space.c - what the rules of a builder are looked up in, one space at a time.
 *
 * What few rules have is made anew for each publication, in microseconds: forms in which every rule is
 * compared at once. So is what IPv6 rules have, since the ranks of addresses all change with a new bound.
 * The forest of more IPv4 rules is changed in place: from then on, also while they are few. What is never
 * to be changed is what it costs least to look up in.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "builder_part.h"

#define ROWS_SURE 4 /* words of rows that nothing else is faster than */

/* The pieces of a space, by label. */
struct members {
	uint32_t count;
	struct member {
		uint32_t label;
		const struct bh_piece *piece;
	} *list;
};

/* Behind it there is no bound. */
static bool is_last(const struct bh_address *address)
{
	return !~(address->hi & address->lo);
}

static void box_of(const struct bh_builder *builder, struct bh_box *box, const struct bh_piece *piece,
                   uint32_t label)
{
	const struct bh_scale *scales = builder->scales[piece->space];

	for (int a = 0; a < 2; a++) {
		const struct bh_range *range = &piece->ranges[a];
		bool v6 = bh_is_v6(piece->space);

		box->first[a] = v6 ? bh_scale_find(&scales[a], &range->first) : (uint32_t)range->first.lo;
		box->last[a] = v6 ? bh_scale_find(&scales[a], &range->last) : (uint32_t)range->last.lo;
		if (v6 && is_last(&range->last))
			box->last[a] = ~0u; /* so that all addresses are all labels */
	}
	memcpy(box->port_first, piece->port_first, sizeof(box->port_first));
	memcpy(box->port_last, piece->port_last, sizeof(box->port_last));
	box->label = label;
}

/* Eight labels are asked at once whether a record of theirs has a piece in the space. */
static int collect(const struct bh_builder *builder, uint32_t space, struct members *members)
{
	uint64_t mask = 0x0101010101010101ULL << space, eight;
	uint32_t n = 0;

	members->count = builder->boxes[space];
	members->list = malloc((members->count + 1) * sizeof(*members->list));
	if (!members->list)
		return -ENOMEM;
	for (uint32_t label = 0; label < builder->labels; label++) {
		if (label % 8 == 0 && label + 8 <= builder->labels) {
			memcpy(&eight, &builder->spaces[label], sizeof(eight));
			if (!(eight & mask)) {
				label += 7;
				continue;
			}
		}
		if (builder->spaces[label] >> space & 1)
			for (uint32_t p = 0; p < builder->order[label]->pieces.count; p++)
				if (builder->order[label]->pieces.list[p].space == space)
					members->list[n++] = (struct member){label, &builder->order[label]->pieces.list[p]};
	}
	return 0;
}

static int by_address(const void *a, const void *b)
{
	return bh_address_below(a, b) ? -1 : bh_address_below(b, a);
}

/* The scale of the bounds of a space's pieces. */
static int scale_make(struct bh_scale *scale, int which, const struct members *members)
{
	struct bh_address *bounds = malloc((2 * (size_t)members->count + 1) * sizeof(*bounds));
	uint32_t n = 0, unique = 1;
	int rc;

	if (!bounds)
		return -ENOMEM;
	bounds[n++] = (struct bh_address){0, 0};
	for (uint32_t i = 0; i < members->count; i++) {
		const struct bh_range *range = &members->list[i].piece->ranges[which];

		bounds[n++] = range->first;
		if (!is_last(&range->last))
			bounds[n++] = bh_address_next(range->last);
	}
	qsort(bounds, n, sizeof(*bounds), by_address);
	for (uint32_t i = 1; i < n; i++)
		if (!bh_address_equal(&bounds[i], &bounds[unique - 1]))
			bounds[unique++] = bounds[i];
	rc = bh_scale_build(scale, bounds, NULL, unique);
	free(bounds);
	return rc;
}

/* So much a box, and room for one node of many children. */
static size_t limit_of(const struct bh_builder *builder, uint32_t space)
{
	uint32_t boxes = builder->boxes[space];

	return ((size_t)1 << 18) + (size_t)boxes * (boxes > 50000 ? 90 : 256);
}

/* Of boxes that stay as they are: a forest, or strips, or rows that are wide, whichever costs least. */
static int fixed_make(struct bh_builder *builder, uint32_t space, const struct bh_box *boxes, uint32_t count)
{
	struct bh_planting *planting = &builder->plantings[space];
	struct bh_strips *strips = &builder->strips[space];
	struct bh_rows *rows = &builder->rows[space];
	int rc = bh_planting_build(planting, boxes, count, true, limit_of(builder, space));
	double cost;

	if (rc || !count)
		return rc;
	cost = bh_planting_cost(planting, boxes, count);
	if (rows->words && bh_rows_cost(rows) >= cost)
		bh_rows_clear(rows);
	cost = rows->words ? bh_rows_cost(rows) : cost;
	rc = bh_strips_build(strips, boxes, count);
	if (rc || bh_strips_cost(strips, boxes, count) >= cost)
		bh_strips_clear(strips);
	else
		bh_rows_clear(rows);
	return rc;
}

static void forms_clear(struct bh_builder *builder, uint32_t space)
{
	bh_strips_clear(&builder->strips[space]);
	free(builder->few[space]);
	builder->few[space] = NULL;
	bh_rows_clear(&builder->rows[space]);
}

/* What there was before is cleared. */
static int make(struct bh_builder *builder, uint32_t space, const struct bh_box *boxes, uint32_t count)
{
	bool for_ever = builder->fixed || bh_is_v6(space);
	int rc = 0;

	if (!bh_is_v6(space))
		rc = bh_few_build(&builder->few[space], boxes, count);
	if (rc || builder->few[space])
		return rc;
	rc = bh_rows_build(&builder->rows[space], boxes, count, BH_ROWS_PARTS / 64);
	if (rc || (builder->rows[space].words && (!for_ever || builder->rows[space].words <= ROWS_SURE)))
		return rc;
	builder->refused[space] = count;
	if (for_ever)
		return fixed_make(builder, space, boxes, count);
	if (!builder->planted[space])
		rc = bh_planting_build(&builder->plantings[space], boxes, count, false, limit_of(builder, space));
	builder->planted[space] = !rc;
	return rc;
}

/* Makes the changes that wait. A forest that grew too large in place, or has failed, is made anew. */
static void make_changes(struct bh_builder *builder, uint32_t space)
{
	struct pending *pending = &builder->pending[space];

	if (pending->count && bh_planting_change(&builder->plantings[space], pending->changes, pending->count,
	                                         2 * limit_of(builder, space)))
		builder->planted[space] = false;
	pending->count = 0;
}

void bh_builder_change(struct bh_builder *builder, const struct bh_piece *piece, uint32_t label, int what, uint32_t to)
{
	uint32_t space = piece->space;
	struct pending *pending = &builder->pending[space];
	struct bh_change *change = &pending->changes[pending->count];

	builder->changed[space] = true;
	if (!builder->planted[space])
		return;
	box_of(builder, &change->box, piece, label);
	change->what = what;
	change->label = to;
	if (++pending->count == BH_CHANGES_MOST)
		make_changes(builder, space);
}

/* Whether rows need not be tried: about so many boxes were too many for them. */
static bool is_too_many(const struct bh_builder *builder, uint32_t space)
{
	uint32_t boxes = builder->boxes[space], refused = builder->refused[space];

	return boxes >= BH_ROWS_PARTS || (refused && boxes >= refused - refused / 8);
}

int bh_builder_settle(struct bh_builder *builder, uint32_t space)
{
	struct members members = {0};
	struct bh_box *boxes = NULL;
	int rc;

	make_changes(builder, space);
	if (!builder->changed[space])
		return 0;
	forms_clear(builder, space);
	if (builder->planted[space] && is_too_many(builder, space)) {
		builder->changed[space] = false;
		return 0;
	}
	rc = collect(builder, space, &members);
	if (!rc)
		boxes = malloc((members.count + 1) * sizeof(*boxes));
	rc = boxes ? rc : -ENOMEM;
	for (int a = 0; a < 2 && bh_is_v6(space) && !rc; a++)
		rc = scale_make(&builder->scales[space][a], a, &members);
	for (uint32_t i = 0; i < members.count && !rc; i++)
		box_of(builder, &boxes[i], members.list[i].piece, members.list[i].label);
	rc = rc ? rc : make(builder, space, boxes, members.count);
	builder->changed[space] = rc != 0;
	free(members.list);
	free(boxes);
	return rc;
}

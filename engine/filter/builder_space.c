/*
 * builder_space.c - what the rules of a builder are looked up in, one space at a time.
 *
 * What few rules have is made anew for each publication, in microseconds: forms in which every rule is
 * compared at once. The forest of more rules is changed in place: from then on, also while they are few.
 * What is never to be changed is what it costs least to look up in.
 *
 * In IPv6 a box has labels of bounds (bounds.h). Changes of a forest wait until there are many of them or they
 * are published, so that bounds that come get their labels in one go through all that there are.
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

/* The rest of a box, beside addresses. */
static void box_set(struct bh_box *box, const uint16_t port_first[3], const uint16_t port_last[3], uint32_t label)
{
	memcpy(box->port_first, port_first, sizeof(box->port_first));
	memcpy(box->port_last, port_last, sizeof(box->port_last));
	box->label = label;
}

/* On scales, which are of IPv6, or NULL. */
static void box_of(struct bh_box *box, const struct bh_piece *piece, const struct bh_scale scales[2], uint32_t label)
{
	for (int a = 0; a < 2; a++) {
		const struct bh_range *range = &piece->ranges[a];

		box->first[a] = scales ? bh_scale_find(&scales[a], &range->first) : (uint32_t)range->first.lo;
		box->last[a] = scales ? bh_scale_find(&scales[a], &range->last) : (uint32_t)range->last.lo;
		if (scales && is_last(&range->last))
			box->last[a] = ~0u; /* so that all addresses are all labels */
	}
	box_set(box, piece->port_first, piece->port_last, label);
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
	if (rc || bh_strips_cost(strips, boxes, count, cost) >= cost)
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

/* Boxes with labels that may stay while bounds come and go. */
static int label_boxes(struct bh_builder *builder, uint32_t space, const struct members *members, struct bh_box *boxes)
{
	int rc = 0;

	for (int a = 0; a < 2 && !rc; a++) {
		struct bh_bounds *bounds = &builder->bounds[space][a];

		bh_bounds_clear(bounds);
		for (uint32_t i = 0; i < members->count && !rc; i++) {
			const struct bh_range *range = &members->list[i].piece->ranges[a];
			struct bh_address end = bh_address_next(range->last);

			if (bh_bounds_use(bounds, &range->first) == BH_BOUND_NONE ||
			    (!is_last(&range->last) && bh_bounds_use(bounds, &end) == BH_BOUND_NONE))
				rc = -ENOMEM;
		}
		rc = rc ? rc : bh_bounds_place(bounds, true);
		for (uint32_t i = 0; i < members->count && !rc; i++) {
			const struct bh_range *range = &members->list[i].piece->ranges[a];
			struct bh_address end = bh_address_next(range->last);

			boxes[i].first[a] = bh_bounds_label(bounds, &range->first);
			boxes[i].last[a] = is_last(&range->last) ? ~0u : bh_bounds_label(bounds, &end) - 1;
		}
	}
	builder->on_bounds[space] = false;
	return rc;
}

#define STRIPPED_ROUNDS 16 /* changes of a box after which all may be others */

/* Whether about so many boxes were found to be better in strips, which cost no more than a copy to change. */
static bool is_stripped(const struct bh_builder *builder, uint32_t space, uint32_t count)
{
	return builder->stripped_left[space] && count / 2 <= builder->stripped[space] && builder->stripped[space] / 2 <= count;
}

/* Of boxes that change: strips if these are found to be no slower, else a forest, which is planted. */
static int changing_make(struct bh_builder *builder, uint32_t space, const struct members *members, struct bh_box *boxes)
{
	struct bh_planting *planting = &builder->plantings[space];
	struct bh_strips *strips = &builder->strips[space];
	uint32_t count = members->count;
	int rc = bh_strips_build(strips, boxes, count);
	double cost;

	if (rc || is_stripped(builder, space, count))
		return rc;
	if (bh_is_v6(space))
		rc = label_boxes(builder, space, members, boxes);
	rc = rc ? rc : bh_planting_build(planting, boxes, count, false, limit_of(builder, space));
	cost = rc ? 0 : bh_planting_cost(planting, boxes, count);
	builder->stripped[space] = 0;
	builder->made[space]++;
	if (!rc && bh_strips_cost(strips, boxes, count, cost) <= cost) {
		builder->stripped[space] = count;
		builder->stripped_left[space] = STRIPPED_ROUNDS * count;
		return 0;
	}
	bh_strips_clear(strips);
	builder->planted[space] = !rc;
	builder->planted_boxes[space] = count;
	return rc;
}

/* Whether rows need not be tried: about so many boxes were too many for them. */
static bool is_too_many(const struct bh_builder *builder, uint32_t space)
{
	uint32_t boxes = builder->boxes[space], refused = builder->refused[space];

	return boxes >= BH_ROWS_PARTS || (refused && boxes >= refused - refused / 8);
}

/* What there was before is cleared. */
static int make(struct bh_builder *builder, uint32_t space, const struct members *members, struct bh_box *boxes)
{
	uint32_t count = members->count;
	int rc = 0;

	if (!bh_is_v6(space))
		rc = bh_few_build(&builder->few[space], boxes, count);
	if (rc || builder->few[space])
		return rc;
	if (!is_too_many(builder, space))
		rc = bh_rows_build(&builder->rows[space], boxes, count, BH_ROWS_PARTS / 64);
	if (rc || (builder->rows[space].words && (!builder->fixed || builder->rows[space].words <= ROWS_SURE)))
		return rc;
	if (!is_too_many(builder, space))
		builder->refused[space] = count;
	if (builder->fixed)
		return fixed_make(builder, space, boxes, count);
	return builder->planted[space] || !count ? 0 : changing_make(builder, space, members, boxes);
}

/* Makes the changes that wait. A forest that grew too large in place, or has failed, is made anew. */
static void make_changes(struct bh_builder *builder, uint32_t space)
{
	struct pending *pending = &builder->pending[space];

	if (pending->count && builder->planted[space] &&
	    bh_planting_change(&builder->plantings[space], pending->changes, pending->count, 2 * limit_of(builder, space)))
		builder->planted[space] = false;
	pending->count = 0;
}

/* The room for another change. */
static struct bh_change *next_change(struct bh_builder *builder, uint32_t space)
{
	struct pending *pending = &builder->pending[space];

	if (pending->count == BH_CHANGES_MOST)
		make_changes(builder, space);
	return &pending->changes[pending->count++];
}

/* Finds the bounds of a few changes, after having asked for all of them. False: there is no memory. */
static bool find_bounds(struct bh_bounds bounds[2], struct late_change *late, uint32_t count)
{
	bool found = true;

	for (int step = 0; step < 3; step++)
		for (uint32_t i = 0; i < count; i++)
			for (int b = 0; b < 4; b++) {
				const struct bh_address *bound = &late[i].bounds[b / 2][b % 2];
				struct bh_bounds *side = &bounds[b / 2];

				if (b % 2 && !late[i].ends[b / 2])
					continue;
				if (step < 2) {
					(step ? bh_bounds_approach_bound : bh_bounds_approach)(side, bound);
					continue;
				}
				/* A box that gets another label keeps its bounds. */
				late[i].numbers[b / 2][b % 2] = late[i].what == BH_REMOVE ? bh_bounds_leave(side, bound)
				                                                          : bh_bounds_use(side, bound);
				found = found && late[i].numbers[b / 2][b % 2] != BH_BOUND_NONE;
				if (found && late[i].what == BH_RELABEL)
					bh_bounds_leave(side, bound);
			}
	return found;
}

/* Labels for the bounds that came. */
static void place_bounds(struct bh_builder *builder, uint32_t space)
{
	struct bh_bounds *bounds = builder->bounds[space];

	for (int a = 0; a < 2 && builder->planted[space]; a++) {
		if (bounds[a].placed < bounds[a].count)
			builder->on_bounds[space] = false;
		if (bh_bounds_place(&bounds[a], false))
			builder->planted[space] = false;
	}
}

/* Those of IPv6: all bounds that came have their labels, then their boxes. */
static void make_waiting(struct bh_builder *builder, uint32_t space)
{
	struct waiting *waiting = &builder->waiting[space];
	struct bh_bounds *bounds = builder->bounds[space];

	for (uint32_t i = 0; i < waiting->count && builder->planted[space]; i += BH_CHANGES_MOST)
		if (!find_bounds(bounds, &waiting->list[i],
		                 waiting->count - i < BH_CHANGES_MOST ? waiting->count - i : BH_CHANGES_MOST))
			builder->planted[space] = false;
	place_bounds(builder, space);
	for (uint32_t i = 0; i < waiting->count && builder->planted[space]; i++) {
		const struct late_change *late = &waiting->list[i];
		struct bh_change *change = next_change(builder, space);

		for (int a = 0; a < 2; a++) {
			change->box.first[a] = bounds[a].all[late->numbers[a][0]].label;
			change->box.last[a] = late->ends[a] ? bounds[a].all[late->numbers[a][1]].label - 1 : ~0u;
		}
		box_set(&change->box, late->port_first, late->port_last, late->label);
		change->what = late->what;
		change->label = late->to;
	}
	make_changes(builder, space);
	waiting->count = 0;
	for (int a = 0; a < 2 && builder->planted[space]; a++)
		if (bh_bounds_tidy(&bounds[a]))
			builder->on_bounds[space] = false;
}

#define WAITING_MOST 8192

/* Notes a change of IPv6; -ENOMEM. */
static int wait_with(struct bh_builder *builder, const struct bh_piece *piece, uint32_t label, int what, uint32_t to)
{
	struct waiting *waiting = &builder->waiting[piece->space];
	struct late_change *late;

	if (waiting->count == waiting->room) {
		uint32_t room = waiting->room ? 2 * waiting->room : 64;
		struct late_change *list = realloc(waiting->list, room * sizeof(*list));

		if (!list)
			return -ENOMEM;
		waiting->list = list;
		waiting->room = room;
	}
	late = &waiting->list[waiting->count++];
	for (int a = 0; a < 2; a++) {
		late->bounds[a][0] = piece->ranges[a].first;
		late->bounds[a][1] = bh_address_next(piece->ranges[a].last);
		late->ends[a] = !is_last(&piece->ranges[a].last);
	}
	memcpy(late->port_first, piece->port_first, sizeof(late->port_first));
	memcpy(late->port_last, piece->port_last, sizeof(late->port_last));
	late->label = label;
	late->to = to;
	late->what = what;
	return 0;
}

void bh_builder_change(struct bh_builder *builder, const struct bh_piece *piece, uint32_t label, int what, uint32_t to)
{
	uint32_t space = piece->space;
	struct bh_change *change;

	builder->changed[space] = true;
	builder->stripped_left[space] -= builder->stripped_left[space] != 0;
	if (!builder->planted[space])
		return;
	if (bh_is_v6(space)) {
		if (wait_with(builder, piece, label, what, to)) {
			builder->planted[space] = false;
			builder->waiting[space].count = 0;
		} else if (builder->waiting[space].count == WAITING_MOST) {
			make_waiting(builder, space);
		}
		return;
	}
	change = next_change(builder, space);
	box_of(&change->box, piece, NULL, label);
	change->what = what;
	change->label = to;
}

/* The forms of a space, from all its pieces. */
static int make_all(struct bh_builder *builder, uint32_t space)
{
	const struct bh_scale *scales = bh_is_v6(space) ? builder->scales[space] : NULL;
	struct members members = {0};
	struct bh_box *boxes = NULL;
	int rc = collect(builder, space, &members);

	if (!rc)
		boxes = malloc((members.count + 1) * sizeof(*boxes));
	rc = boxes ? rc : -ENOMEM;
	builder->on_bounds[space] = false;
	for (int a = 0; a < 2 && scales && !rc; a++)
		rc = scale_make(&builder->scales[space][a], a, &members);
	for (uint32_t i = 0; i < members.count && !rc; i++)
		box_of(&boxes[i], members.list[i].piece, scales, members.list[i].label);
	rc = rc ? rc : make(builder, space, &members, boxes);
	free(members.list);
	free(boxes);
	return rc;
}

/* The scales of a planted forest, where it is what is looked up in. */
static int scale_bounds(struct bh_builder *builder, uint32_t space)
{
	int rc = 0;

	if (!bh_is_v6(space) || !builder->planted[space] || builder->rows[space].words || builder->on_bounds[space])
		return 0;
	for (int a = 0; a < 2 && !rc; a++) {
		const struct bh_bounds *bounds = &builder->bounds[space][a];

		rc = bh_scale_build(&builder->scales[space][a], bounds->sorted, bounds->labels, bounds->placed);
	}
	builder->on_bounds[space] = !rc;
	return rc;
}

int bh_builder_settle(struct bh_builder *builder, uint32_t space)
{
	int rc = 0;

	if (bh_is_v6(space))
		make_waiting(builder, space);
	make_changes(builder, space);
	if (!builder->changed[space])
		return 0;
	/* Trees were grown for fewer boxes. */
	if (builder->boxes[space] / 4 > builder->planted_boxes[space])
		builder->planted[space] = false;
	forms_clear(builder, space);
	if (!builder->planted[space] || !is_too_many(builder, space))
		rc = make_all(builder, space);
	rc = rc ? rc : scale_bounds(builder, space);
	builder->changed[space] = rc != 0;
	return rc;
}

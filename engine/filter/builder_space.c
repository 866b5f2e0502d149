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

/* The boxes of a space, by label; of IPv6 their addresses as ranges, which are to become coordinates. */
struct members {
	uint32_t count;
	struct bh_box *boxes;
	const struct bh_range **ranges; /* [2] of each box; IPv6 only */
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

/* The box of IPv4 of a plain rule. */
static void box_of_plain(struct bh_box *box, const struct record *record)
{
	memcpy(box->first, record->plain.first, sizeof(box->first));
	memcpy(box->last, record->plain.last, sizeof(box->last));
	box_set(box, record->plain.port_first, record->plain.port_last, record->label);
}

/* That of a piece of IPv4. */
static void box_of_piece(struct bh_box *box, const struct bh_piece *piece, uint32_t label)
{
	for (int a = 0; a < 2; a++) {
		box->first[a] = (uint32_t)piece->ranges[a].first.lo;
		box->last[a] = (uint32_t)piece->ranges[a].last.lo;
	}
	box_set(box, piece->port_first, piece->port_last, label);
}

/* On scales. */
static void box_scale(struct bh_box *box, const struct bh_range ranges[2], const struct bh_scale scales[2])
{
	for (int a = 0; a < 2; a++) {
		box->first[a] = ranges[a].first.hi | ranges[a].first.lo ? bh_scale_find(&scales[a], &ranges[a].first) : 0;
		/* So that all addresses are all labels. */
		box->last[a] = is_last(&ranges[a].last) ? ~0u : bh_scale_find(&scales[a], &ranges[a].last);
	}
}

static void add_members(struct members *members, const struct record *record, uint32_t space)
{
	const struct bh_pieces *lists = record->lists;

	if (!lists) {
		if (bh_is_v6(space)) {
			box_set(&members->boxes[members->count], record->plain.port_first, record->plain.port_last, record->label);
			members->ranges[members->count++] = bh_plain_ranges(&record->plain);
		} else {
			box_of_plain(&members->boxes[members->count++], record);
		}
		return;
	}
	for (uint32_t p = 0; p < lists->count; p++) {
		const struct bh_piece *piece = &lists->list[p];

		if (piece->space != space)
			continue;
		if (bh_is_v6(space))
			members->ranges[members->count] = piece->ranges;
		box_of_piece(&members->boxes[members->count++], piece, record->label);
	}
}

#define COLLECT_AHEAD 4 /* times eight labels, whose records are asked for */

/* Which of eight labels' records have a piece in the space: its bit in their bytes. */
static uint64_t eight_at(const struct bh_builder *builder, uint32_t space, uint32_t label)
{
	uint64_t eight = 0;

	if (label < builder->labels)
		memcpy(&eight, &builder->spaces[label], builder->labels - label < 8 ? builder->labels - label : 8);
	return eight & 0x0101010101010101ULL << space;
}

static const struct record *eight_record(const struct bh_builder *builder, uint32_t label, uint64_t eight)
{
	bool little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
	uint32_t bits = (uint32_t)(little ? __builtin_ctzll(eight) : __builtin_clzll(eight));

	return bh_record_at(&builder->records, builder->order[label + bits / 8]);
}

/* Without the first of its records. */
static uint64_t eight_next(uint64_t eight)
{
	bool little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;

	return little ? eight & (eight - 1) : eight & ~(1ULL << (63 - __builtin_clzll(eight)));
}

static int collect(const struct bh_builder *builder, uint32_t space, struct members *members)
{
	uint32_t room = builder->boxes[space] + 1;

	members->boxes = malloc(room * sizeof(*members->boxes));
	members->ranges = bh_is_v6(space) ? malloc(room * sizeof(*members->ranges)) : NULL;
	if (!members->boxes || (bh_is_v6(space) && !members->ranges))
		return -ENOMEM;
	for (uint32_t label = 0; label < builder->labels; label += 8) {
		uint32_t far = label + 8 * COLLECT_AHEAD;

		for (uint64_t eight = eight_at(builder, space, far); eight; eight = eight_next(eight))
			__builtin_prefetch(eight_record(builder, far, eight));
		for (uint64_t eight = eight_at(builder, space, label); eight; eight = eight_next(eight))
			add_members(members, eight_record(builder, label, eight), space);
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
		const struct bh_range *range = &members->ranges[i][which];

		if (range->first.hi | range->first.lo)
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
static int label_boxes(struct bh_builder *builder, uint32_t space, struct members *members)
{
	int rc = 0;

	for (int a = 0; a < 2 && !rc; a++) {
		struct bh_bounds *bounds = &builder->bounds[space][a];

		bh_bounds_clear(bounds);
		for (uint32_t i = 0; i < members->count && !rc; i++) {
			const struct bh_range *range = &members->ranges[i][a];
			struct bh_address end = bh_address_next(range->last);

			if (bh_bounds_use(bounds, &range->first) == BH_BOUND_NONE ||
			    (!is_last(&range->last) && bh_bounds_use(bounds, &end) == BH_BOUND_NONE))
				rc = -ENOMEM;
		}
		rc = rc ? rc : bh_bounds_place(bounds, true);
		for (uint32_t i = 0; i < members->count && !rc; i++) {
			const struct bh_range *range = &members->ranges[i][a];
			struct bh_address end = bh_address_next(range->last);

			members->boxes[i].first[a] = bh_bounds_label(bounds, &range->first);
			members->boxes[i].last[a] = is_last(&range->last) ? ~0u : bh_bounds_label(bounds, &end) - 1;
		}
	}
	builder->on_bounds[space] = false;
	return rc;
}

/* Where leaves have more boxes, changes are dear: strips may cost lookups somewhat more. */
#define CROWD_MOST 128
#define CROWD_COST 1.3
#define STRIPPED_ROUNDS 16 /* changes of a box after which all may be others */

/* Whether about so many boxes were found to be better in strips, which cost no more than a copy to change. */
static bool is_stripped(const struct bh_builder *builder, uint32_t space, uint32_t count)
{
	return builder->stripped_left[space] && count / 2 <= builder->stripped[space] && builder->stripped[space] / 2 <= count;
}

/* Of boxes that change: strips if these are found to be no slower, else a forest, which is planted. */
static int changing_make(struct bh_builder *builder, uint32_t space, struct members *members)
{
	struct bh_planting *planting = &builder->plantings[space];
	struct bh_strips *strips = &builder->strips[space];
	uint32_t count = members->count;
	int rc = bh_strips_build(strips, members->boxes, count);
	double cost;

	if (rc || is_stripped(builder, space, count))
		return rc;
	if (bh_is_v6(space))
		rc = label_boxes(builder, space, members);
	rc = rc ? rc : bh_planting_build(planting, members->boxes, count, false, limit_of(builder, space));
	cost = rc ? 0 : bh_planting_cost(planting, members->boxes, count);
	if (!rc && bh_forest_crowd(&planting->forest) > CROWD_MOST)
		cost *= CROWD_COST;
	builder->stripped[space] = 0;
	builder->made[space]++;
	if (!rc && bh_strips_cost(strips, members->boxes, count, cost) <= cost) {
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
static int make(struct bh_builder *builder, uint32_t space, struct members *members)
{
	const struct bh_box *boxes = members->boxes;
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
	return builder->planted[space] || !count ? 0 : changing_make(builder, space, members);
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

/* Finds the bounds of the changes that came last, after having asked for all of them. False: there is no memory. */
static bool find_bounds(struct bh_bounds bounds[2], struct waiting *waiting)
{
	bool found = true;

	for (int step = 0; step < 3; step++)
		for (uint32_t i = 0; i < waiting->fresh_count; i++)
			for (int b = 0; b < 4; b++) {
				const struct bh_address *bound = &waiting->fresh[i].bounds[b / 2][b % 2];
				struct late_change *late = &waiting->list[waiting->fresh[i].at];
				struct bh_bounds *side = &bounds[b / 2];

				if (b % 2 && !late->ends[b / 2])
					continue;
				if (step < 2) {
					(step ? bh_bounds_approach_bound : bh_bounds_approach)(side, bound);
					continue;
				}
				/* A box that gets another label keeps its bounds. */
				late->numbers[b / 2][b % 2] = late->what == BH_REMOVE ? bh_bounds_leave(side, bound)
				                                                      : bh_bounds_use(side, bound);
				found = found && late->numbers[b / 2][b % 2] != BH_BOUND_NONE;
				if (found && late->what == BH_RELABEL)
					bh_bounds_leave(side, bound);
			}
	waiting->fresh_count = 0;
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

	if (builder->planted[space] && !find_bounds(bounds, waiting))
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
	waiting->count = waiting->fresh_count = 0;
	for (int a = 0; a < 2 && builder->planted[space]; a++)
		if (bh_bounds_tidy(&bounds[a]))
			builder->on_bounds[space] = false;
}

#define WAITING_MOST 8192

/* Notes a change of IPv6; -ENOMEM. */
static int wait_with(struct bh_builder *builder, uint32_t space, const struct bh_range ranges[2],
                     const struct late_change *change)
{
	struct waiting *waiting = &builder->waiting[space];
	struct fresh_change *fresh;
	struct late_change *late;

	if (waiting->fresh_count == BH_CHANGES_MOST && !find_bounds(builder->bounds[space], waiting))
		return -ENOMEM;
	if (waiting->count == waiting->room) {
		uint32_t room = waiting->room ? 2 * waiting->room : 64;
		struct late_change *list = realloc(waiting->list, room * sizeof(*list));

		if (!list)
			return -ENOMEM;
		waiting->list = list;
		waiting->room = room;
	}
	fresh = &waiting->fresh[waiting->fresh_count++];
	fresh->at = waiting->count;
	late = &waiting->list[waiting->count++];
	*late = *change;
	for (int a = 0; a < 2; a++) {
		fresh->bounds[a][0] = ranges[a].first;
		fresh->bounds[a][1] = bh_address_next(ranges[a].last);
		late->ends[a] = !is_last(&ranges[a].last);
	}
	return 0;
}

static void change_v6(struct bh_builder *builder, uint32_t space, const struct bh_range ranges[2],
                      const struct late_change *change)
{
	if (wait_with(builder, space, ranges, change)) {
		builder->planted[space] = false;
		builder->waiting[space].count = builder->waiting[space].fresh_count = 0;
	} else if (builder->waiting[space].count == WAITING_MOST) {
		make_waiting(builder, space);
	}
}

/* Of a box: whether there is a forest to change. */
static bool is_to_change(struct bh_builder *builder, uint32_t space)
{
	builder->changed[space] = true;
	builder->stripped_left[space] -= builder->stripped_left[space] != 0;
	return builder->planted[space];
}

static void change_plain(struct bh_builder *builder, const struct record *record, int what, uint32_t to)
{
	const struct bh_plain *plain = &record->plain;

	for (uint32_t spaces = plain->spaces, space; spaces; spaces &= spaces - 1) {
		space = (uint32_t)__builtin_ctz(spaces);
		if (!is_to_change(builder, space))
			continue;
		if (bh_is_v6(space)) {
			struct late_change late = {.label = record->label, .to = to, .what = what};

			memcpy(late.port_first, plain->port_first, sizeof(late.port_first));
			memcpy(late.port_last, plain->port_last, sizeof(late.port_last));
			change_v6(builder, space, bh_plain_ranges(plain), &late);
		} else {
			struct bh_change *change = next_change(builder, space);

			box_of_plain(&change->box, record);
			change->what = what;
			change->label = to;
		}
	}
}

static void change_piece(struct bh_builder *builder, const struct record *record, const struct bh_piece *piece,
                         int what, uint32_t to)
{
	if (!is_to_change(builder, piece->space))
		return;
	if (bh_is_v6(piece->space)) {
		struct late_change late = {.label = record->label, .to = to, .what = what};

		memcpy(late.port_first, piece->port_first, sizeof(late.port_first));
		memcpy(late.port_last, piece->port_last, sizeof(late.port_last));
		change_v6(builder, piece->space, piece->ranges, &late);
	} else {
		struct bh_change *change = next_change(builder, piece->space);

		box_of_piece(&change->box, piece, record->label);
		change->what = what;
		change->label = to;
	}
}

void bh_builder_change(struct bh_builder *builder, const struct record *record, int what, uint32_t to)
{
	if (!record->lists)
		change_plain(builder, record, what, to);
	for (uint32_t p = 0; record->lists && p < record->lists->count; p++)
		change_piece(builder, record, &record->lists->list[p], what, to);
}

/* The forms of a space, from all its pieces. */
static int make_all(struct bh_builder *builder, uint32_t space)
{
	struct bh_scale *scales = bh_is_v6(space) ? builder->scales[space] : NULL;
	struct members members = {0};
	int rc = collect(builder, space, &members);

	builder->on_bounds[space] = false;
	for (int a = 0; a < 2 && scales && !rc; a++)
		rc = scale_make(&scales[a], a, &members);
	for (uint32_t i = 0; scales && i < members.count && !rc; i++)
		box_scale(&members.boxes[i], members.ranges[i], scales);
	rc = rc ? rc : make(builder, space, &members);
	free(members.boxes);
	free(members.ranges);
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

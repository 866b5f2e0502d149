/*
 * bounds.c - see bounds.h.
 */
#include "bounds.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOP 0xffffffffu /* above all labels */
#define IDLE_FEW 64     /* bounds without use that nobody minds */

typedef unsigned __int128 number128;

static number128 value_of(const struct bh_address *address)
{
	return (number128)address->hi << 64 | address->lo;
}

/* Where a bound is best in the hash table. */
static uint32_t best_slot(const struct bh_bounds *bounds, const struct bh_address *address)
{
	number128 product = (number128)(address->hi ^ 0x9e3779b97f4a7c15ULL) * (address->lo ^ 0xc2b2ae3d27d4eb4fULL);

	return (uint32_t)((uint64_t)product ^ (uint64_t)(product >> 64)) & ((1u << bounds->slots_bits) - 1);
}

/* Where it is, or would be. */
static uint32_t *slot_of(const struct bh_bounds *bounds, const struct bh_address *address)
{
	uint32_t mask = (1u << bounds->slots_bits) - 1, at = best_slot(bounds, address);

	while (bounds->slots[at] && !bh_address_equal(&bounds->all[bounds->slots[at] - 1].address, address))
		at = (at + 1) & mask;
	return &bounds->slots[at];
}

void bh_bounds_approach(const struct bh_bounds *bounds, const struct bh_address *address)
{
	if (bounds->slots)
		__builtin_prefetch(&bounds->slots[best_slot(bounds, address)]);
}

void bh_bounds_approach_bound(const struct bh_bounds *bounds, const struct bh_address *address)
{
	if (bounds->slots)
		__builtin_prefetch(&bounds->all[bounds->slots[best_slot(bounds, address)] - 1], 1);
}

/* A hash table that is at most half full with one more. */
static int grow_slots(struct bh_bounds *bounds)
{
	uint32_t bits = bounds->slots_bits ? bounds->slots_bits : 7, *slots;

	if (bounds->slots && 2 * (bounds->count + 1) <= 1u << bounds->slots_bits)
		return 0;
	while (2 * (bounds->count + 1) > 1u << bits)
		bits++;
	slots = bh_shelf_resize(bounds->shelf, NULL, sizeof(*slots) << bits);
	if (!slots)
		return -ENOMEM;
	memset(slots, 0, sizeof(*slots) << bits);
	bh_shelf_free(bounds->shelf, bounds->slots);
	bounds->slots = slots;
	bounds->slots_bits = bits;
	for (uint32_t i = 0; i < bounds->count; i++)
		*slot_of(bounds, &bounds->all[i].address) = i + 1;
	return 0;
}

static uint32_t add(struct bh_bounds *bounds, const struct bh_address *address)
{
	if (bounds->count == bounds->room) {
		uint32_t room = bounds->room ? 2 * bounds->room : 64;
		struct bh_bound *all = bh_shelf_resize(bounds->shelf, bounds->all, room * sizeof(*all));

		if (!all)
			return BH_BOUND_NONE;
		bounds->all = all;
		bounds->room = room;
	}
	if (grow_slots(bounds))
		return BH_BOUND_NONE;
	bounds->all[bounds->count] = (struct bh_bound){.address = *address, .uses = 0};
	bounds->idle++;
	*slot_of(bounds, address) = bounds->count + 1;
	return bounds->count++;
}

uint32_t bh_bounds_use(struct bh_bounds *bounds, const struct bh_address *address)
{
	static const struct bh_address none = {0, 0};
	uint32_t number;

	/* :: is always there, and never without use. */
	if (!bounds->count) {
		if (add(bounds, &none) == BH_BOUND_NONE)
			return BH_BOUND_NONE;
		bounds->all[0].uses = 1;
		bounds->idle--;
	}
	number = *slot_of(bounds, address) - 1;
	if (number == BH_BOUND_NONE)
		number = add(bounds, address);
	if (number != BH_BOUND_NONE)
		bounds->idle -= !bounds->all[number].uses++;
	return number;
}

uint32_t bh_bounds_leave(struct bh_bounds *bounds, const struct bh_address *address)
{
	uint32_t number = *slot_of(bounds, address) - 1;

	bounds->idle += !--bounds->all[number].uses;
	return number;
}

uint32_t bh_bounds_label(const struct bh_bounds *bounds, const struct bh_address *address)
{
	return bounds->all[*slot_of(bounds, address) - 1].label;
}

/* A bound and its number, to be sorted. */
struct fresh {
	struct bh_address address;
	uint32_t number;
};

static int by_address(const void *a, const void *b)
{
	return bh_address_below(a, b) ? -1 : bh_address_below(b, a);
}

static int reserve(struct bh_bounds *bounds)
{
	uint32_t room = bounds->sorted_room ? bounds->sorted_room : 64;
	void *sorted, *labels, *numbers;

	if (bounds->count <= bounds->sorted_room)
		return 0;
	while (room < bounds->count)
		room *= 2;
	sorted = bh_shelf_resize(bounds->shelf, bounds->sorted, room * sizeof(*bounds->sorted));
	if (sorted)
		bounds->sorted = sorted;
	labels = bh_shelf_resize(bounds->shelf, bounds->labels, room * sizeof(*bounds->labels));
	if (labels)
		bounds->labels = labels;
	numbers = bh_shelf_resize(bounds->shelf, bounds->numbers, room * sizeof(*bounds->numbers));
	if (numbers)
		bounds->numbers = numbers;
	if (!sorted || !labels || !numbers)
		return -ENOMEM;
	bounds->sorted_room = room;
	return 0;
}

/* How much of a gap's labels a distance between bounds is worth: nothing if nothing fits. */
static double worth(number128 distance)
{
	return sqrt(sqrt((double)(distance - 1)));
}

/* Labels of the bounds from..to - 1, which have none, between those of the one before and the one behind. */
static int label_gap(struct bh_bounds *bounds, uint32_t from, uint32_t to)
{
	bool last = to == bounds->count;
	number128 end = last ? ~(number128)0 : value_of(&bounds->sorted[to]);
	uint32_t low = bounds->labels[from - 1], high = last ? TOP : bounds->labels[to], count = to - from;
	double all = 0, before = 0;

	if (high - low - 1 < count)
		return -ERANGE;
	for (uint32_t i = from; i <= to; i++)
		all += worth((i < to ? value_of(&bounds->sorted[i]) : end) - value_of(&bounds->sorted[i - 1]));
	for (uint32_t i = from; i < to; i++) {
		double part;

		before += worth(value_of(&bounds->sorted[i]) - value_of(&bounds->sorted[i - 1]));
		part = all > 0 ? before / all : 0;
		bounds->labels[i] = low + 1 + (i - from) + (uint32_t)((part < 1 ? part : 1) * (high - low - 1 - count));
		bounds->all[bounds->numbers[i]].label = bounds->labels[i];
	}
	return 0;
}

static void label_evenly(struct bh_bounds *bounds)
{
	uint32_t shift = 0;

	while (shift < 31 && (uint64_t)bounds->count << (shift + 1) < TOP)
		shift++;
	for (uint32_t i = 0; i < bounds->count; i++)
		bounds->all[bounds->numbers[i]].label = bounds->labels[i] = i << shift;
}

/* Puts fresh bounds, sorted, among the others, from the last on; which are those is told by their numbers. */
static void merge(struct bh_bounds *bounds, const struct fresh *fresh)
{
	uint32_t old = bounds->placed, new = bounds->count - bounds->placed;

	for (uint32_t at = bounds->count; new;) {
		bool is_new = !old || bh_address_below(&bounds->sorted[old - 1], &fresh[new - 1].address);

		at--;
		bounds->sorted[at] = is_new ? fresh[new - 1].address : bounds->sorted[old - 1];
		bounds->labels[at] = is_new ? TOP : bounds->labels[old - 1];
		bounds->numbers[at] = is_new ? fresh[new - 1].number : bounds->numbers[old - 1];
		new -= is_new;
		old -= !is_new;
	}
}

int bh_bounds_place(struct bh_bounds *bounds, bool evenly)
{
	uint32_t count = bounds->count - bounds->placed, old = bounds->placed;
	struct fresh *fresh = malloc((count + 1) * sizeof(*fresh));
	int rc = fresh ? reserve(bounds) : -ENOMEM;

	for (uint32_t i = 0; i < count && !rc; i++)
		fresh[i] = (struct fresh){bounds->all[old + i].address, old + i};
	if (!rc) {
		qsort(fresh, count, sizeof(*fresh), by_address);
		merge(bounds, fresh);
		bounds->placed = bounds->count;
	}
	free(fresh);
	if (!rc && (evenly || !old)) {
		label_evenly(bounds);
		return 0;
	}
	for (uint32_t i = 0, to; i < bounds->count && count && !rc; i = to + 1) {
		for (; i < bounds->count && bounds->labels[i] != TOP; i++)
			;
		for (to = i; to < bounds->count && bounds->labels[to] == TOP; to++)
			;
		rc = i < bounds->count ? label_gap(bounds, i, to) : 0;
	}
	return rc;
}

bool bh_bounds_tidy(struct bh_bounds *bounds)
{
	uint32_t kept = 0, at = 0;

	if (bounds->idle <= IDLE_FEW || 2 * bounds->idle <= bounds->count || bounds->placed < bounds->count)
		return false;
	/* Those that stay take the numbers of their order. */
	for (uint32_t i = 0; i < bounds->count; i++)
		if (bounds->all[bounds->numbers[i]].uses) {
			bounds->sorted[kept] = bounds->sorted[i];
			bounds->labels[kept] = bounds->labels[i];
			bounds->numbers[kept++] = bounds->all[bounds->numbers[i]].uses;
		}
	for (; at < kept; at++) {
		bounds->all[at] = (struct bh_bound){bounds->sorted[at], bounds->labels[at], bounds->numbers[at]};
		bounds->numbers[at] = at;
	}
	bounds->count = bounds->placed = kept;
	bounds->idle = 0;
	memset(bounds->slots, 0, sizeof(*bounds->slots) << bounds->slots_bits);
	for (uint32_t i = 0; i < kept; i++)
		*slot_of(bounds, &bounds->all[i].address) = i + 1;
	return true;
}

void bh_bounds_clear(struct bh_bounds *bounds)
{
	bh_shelf_free(bounds->shelf, bounds->all);
	bh_shelf_free(bounds->shelf, bounds->slots);
	bh_shelf_free(bounds->shelf, bounds->sorted);
	bh_shelf_free(bounds->shelf, bounds->labels);
	bh_shelf_free(bounds->shelf, bounds->numbers);
	*bounds = (struct bh_bounds){.shelf = bounds->shelf};
}

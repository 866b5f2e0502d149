/*
 * builder_labels.c - the order of a builder's rules, as labels that leave room for more.
 *
 * A rule that comes takes a free label where it belongs. Where there is none, a few neighbours make room, and where
 * they have none, all in a window do: the smallest around that place that has a quarter of its labels free.
 * What is free is spread between them; but where it happens again most of it comes to that place, for where rules
 * come more will (all of one priority, each behind the former). So a rule that comes moves few others on average,
 * wherever rules come. (After Itai, Konheim, Rodeh: "A Sparse Table Implementation of Priority Queues", ICALP 1981,
 * and Bender, Hu: "An Adaptive Packed-Memory Array", PODS 2006.)
 *
 * To be found by bisection, a free label has a rank too: that of what precedes it or of what follows it. In the room
 * that is made at a place one half has the former, one half the latter, so that rules may come from either side.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "builder_part.h"

#define GAP 2        /* labels a rule */
#define APPENDED 4   /* the same, at most, by rules that come last */
#define NEAR 8       /* rules that move to a free label at most, before others are looked at */
#define WINDOW 32    /* labels on either side, at first */
#define SPARE 64     /* labels, however few rules there are */

/* A number that is lower the earlier an entry comes: see bh_entry_wins(). */
static inline uint32_t rank_of(const struct bh_entry *entry)
{
	return (uint32_t)entry->priority << 1 | !(entry->flags & BH_ENTRY_BLOCK);
}

static void set_entry(struct bh_builder *builder, uint32_t label, const struct bh_entry *entry)
{
	builder->entries[label] = *entry;
	if (label % BH_STRIDE == 0)
		builder->stride[label / BH_STRIDE] = rank_of(entry);
}

/* A free label with the rank of an entry. */
static void set_gap(struct bh_builder *builder, uint32_t label, const struct bh_entry *entry)
{
	struct bh_entry gap = {.priority = entry->priority, .flags = entry->flags};

	builder->order[label] = 0;
	builder->spaces[label] = 0;
	set_entry(builder, label, &gap);
}

static int reserve(struct bh_builder *builder, uint32_t labels)
{
	uint32_t room = builder->room ? builder->room : 256;
	void *order, *entries, *spaces, *stride;

	if (labels <= builder->room)
		return 0;
	if (labels >= BH_LABEL_NONE)
		return -ENOMEM;
	while (room < labels)
		room *= 2;
	order = bh_shelf_resize(&builder->shelf, builder->order, room * sizeof(*builder->order));
	if (order)
		builder->order = order;
	entries = bh_shelf_resize(&builder->shelf, builder->entries, room * sizeof(*builder->entries));
	if (entries)
		builder->entries = entries;
	spaces = bh_shelf_resize(&builder->shelf, builder->spaces, room);
	if (spaces)
		builder->spaces = spaces;
	stride = bh_shelf_resize(&builder->shelf, builder->stride, room / BH_STRIDE * sizeof(*builder->stride));
	if (stride)
		builder->stride = stride;
	if (!order || !entries || !spaces || !stride)
		return -ENOMEM;
	builder->room = room;
	return 0;
}

/* Labels of all, if these are given anew when there are so many rules. */
static uint32_t labels_for(uint32_t taken)
{
	return GAP * taken + SPARE;
}

int bh_labels_reserve(struct bh_builder *builder)
{
	uint32_t anew = labels_for(builder->taken + BH_LATE_MOST);

	return reserve(builder, (anew > builder->labels ? anew : builder->labels) + BH_LATE_MOST);
}

static int by_key(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int bh_labels_load(struct bh_builder *builder)
{
	uint32_t count = 0, gap = builder->fixed ? 1 : GAP, *numbers;
	uint64_t *keys; /* ranks, and which of those of a rank came first */

	numbers = malloc((builder->taken + 1) * sizeof(*numbers));
	keys = malloc((builder->taken + 1) * sizeof(*keys));
	if (!numbers || !keys || reserve(builder, builder->taken * gap)) {
		free(numbers);
		free(keys);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < builder->labels; i++)
		if (builder->order[i]) {
			const struct record *record = bh_record_at(&builder->records, builder->order[i]);

			numbers[count] = builder->order[i];
			keys[count] = (uint64_t)rank_of(&record->entry) << 32 | count;
			count++;
		}
	qsort(keys, count, sizeof(*keys), by_key);
	for (uint32_t i = 0; i < count; i++) {
		struct record *record = bh_record_at(&builder->records, numbers[(uint32_t)keys[i]]);

		for (uint32_t g = 1; g < gap; g++)
			set_gap(builder, i * gap + g, &record->entry);
		builder->order[i * gap] = record->number;
		builder->spaces[i * gap] = BH_LABEL_TAKEN | record->plain.spaces;
		set_entry(builder, i * gap, &record->entry);
		record->label = i * gap;
	}
	free(numbers);
	free(keys);
	builder->labels = count * gap;
	builder->loaded = true;
	for (int s = 0; s < BH_SPACES; s++)
		builder->changed[s] = true;
	return 0;
}

/* Which stride of entries the first that comes after a rank is in, or follows. No step depends on a guess. */
static uint32_t stride_after(const struct bh_builder *builder, uint32_t rank)
{
	const uint32_t *at = builder->stride;

	for (uint32_t n = (builder->labels + BH_STRIDE - 1) / BH_STRIDE, half; n > 1; n -= half) {
		bool reached = at[half = n / 2] <= rank;

		at = __builtin_expect_with_probability(reached, 1, 0.5) ? at + half : at;
	}
	return (uint32_t)(at - builder->stride);
}

/* The first label whose entry comes after a rank. */
static uint32_t label_after(const struct bh_builder *builder, uint32_t rank)
{
	uint32_t from = stride_after(builder, rank) * BH_STRIDE, left = builder->labels - from, after = 0;

	for (uint32_t i = 0; i < BH_STRIDE && i < left; i++)
		after += rank_of(&builder->entries[from + i]) <= rank;
	return from + after;
}

void bh_labels_approach(const struct bh_builder *builder, const struct bh_entry *entry)
{
	uint32_t from;

	if (!builder->labels)
		return;
	from = stride_after(builder, rank_of(entry)) * BH_STRIDE;
	__builtin_prefetch(&builder->spaces[from], 1);
	__builtin_prefetch(&builder->order[from], 1);
	__builtin_prefetch(&builder->entries[from], 1);
}

/* Moves a rule to a free label, between which and its own there are only free ones. */
static void move(struct bh_builder *builder, uint32_t from, uint32_t to)
{
	struct record *record = bh_record_at(&builder->records, builder->order[from]);

	builder->order[to] = record->number;
	builder->spaces[to] = builder->spaces[from];
	builder->order[from] = 0;
	builder->spaces[from] = 0;
	set_entry(builder, to, &record->entry);
	bh_builder_change(builder, record, BH_RELABEL, to);
	record->label = to;
	builder->moves++;
}

/* How the rules in a window are to lie, of which `below` come before the place where room is made. */
struct spread {
	uint32_t from, width, taken, below;
	uint32_t room, between; /* free labels at the place, and between rules */
};

static uint32_t label_of(const struct spread *spread, uint32_t i)
{
	return spread->from + i + (i < spread->below ? 0 : spread->room) +
	       (uint32_t)((uint64_t)i * spread->between / spread->taken);
}

/* Moves all to their labels: first those that go up, the last first, then those that go down. None passes another. */
static void move_all(struct bh_builder *builder, const struct spread *spread, uint32_t to)
{
	for (uint32_t l = to, i = spread->taken; l-- > spread->from;)
		if (builder->spaces[l] && label_of(spread, --i) > l)
			move(builder, l, label_of(spread, i));
	for (uint32_t l = spread->from, i = 0; l < to; l++)
		if (builder->spaces[l] && label_of(spread, i++) < l)
			move(builder, l, label_of(spread, i - 1));
}

/* Gives free labels of the window their ranks; the first that has the rank of what follows the place. */
static uint32_t rank_gaps(struct bh_builder *builder, const struct spread *spread)
{
	static const struct bh_entry first = {.flags = BH_ENTRY_BLOCK}, end = {.priority = 0xffff};
	const struct bh_entry *last = spread->from ? &builder->entries[spread->from - 1] : &first, *next;
	uint32_t to = spread->from + spread->width, begins, ends, middle;

	begins = spread->below ? label_of(spread, spread->below - 1) + 1 : spread->from;
	ends = spread->below < spread->taken ? label_of(spread, spread->below) : to;
	next = ends < builder->labels ? &builder->entries[ends] : &end;
	middle = begins + (ends - begins) / 2;
	for (uint32_t l = spread->from; l < to; l++) {
		if (builder->spaces[l])
			last = &builder->entries[l];
		else
			set_gap(builder, l, l >= middle && l < ends ? next : last);
	}
	return middle;
}

/* Whether room was made about there lately. */
static bool is_frequent(const struct bh_builder *builder, uint32_t low)
{
	bool is = false;

	for (uint32_t i = 0; i < BH_ROOMY && i < builder->roomy_count; i++)
		is = is || (low + WINDOW >= builder->roomy[i].from && low <= builder->roomy[i].to + WINDOW);
	return is;
}

/*
 * A free label before `low` and behind what precedes it, where there is none and none is near. All get more labels
 * before windows with a quarter of them free are rare.
 */
static uint32_t make_room(struct bh_builder *builder, uint32_t low)
{
	bool whole = 3 * (uint64_t)builder->taken > 2 * (uint64_t)builder->labels;
	uint32_t to, free, label, half = whole ? builder->labels : WINDOW;
	struct spread spread;

	for (;; half *= 2) {
		spread = (struct spread){.from = low > half ? low - half : 0};
		to = builder->labels - low > half ? low + half : builder->labels;
		for (uint32_t l = spread.from; l < to; l++) {
			spread.taken += builder->spaces[l] != 0;
			spread.below += builder->spaces[l] && l < low;
		}
		spread.width = to - spread.from;
		whole = !spread.from && to == builder->labels;
		if (whole || (spread.width - spread.taken) >= spread.width / 4)
			break;
	}
	if (whole) {
		spread.width = labels_for(spread.taken);
		for (; builder->labels < spread.width; builder->labels++)
			builder->order[builder->labels] = builder->spaces[builder->labels] = 0;
	}
	free = spread.width - spread.taken;
	spread.between = is_frequent(builder, low) ? free / 4 : free - free / 8 - 1;
	spread.room = free - spread.between;
	move_all(builder, &spread, to);
	if (whole)
		builder->labels = spread.width;
	label = rank_gaps(builder, &spread);
	builder->roomy[builder->roomy_count++ % BH_ROOMY] = (struct roomy){label - spread.room / 2, label + spread.room / 2};
	return label;
}

/* A free label for what has the rank. */
static uint32_t free_label(struct bh_builder *builder, uint32_t rank)
{
	uint32_t low = label_after(builder, rank);

	if (low < builder->labels && !builder->spaces[low])
		return low;
	if (low && !builder->spaces[low - 1])
		return low - 1;
	if (low == builder->labels && low < APPENDED * builder->taken + SPARE) {
		builder->order[low] = builder->spaces[low] = 0;
		return builder->labels++;
	}
	for (uint32_t far = 1; far <= NEAR; far++) {
		if (low > far && !builder->spaces[low - 1 - far]) {
			for (uint32_t l = low - far; l < low; l++)
				move(builder, l, l - 1);
			return low - 1;
		}
		if (low < builder->labels - far && far < builder->labels && !builder->spaces[low + far]) {
			for (uint32_t l = low + far; l > low; l--)
				move(builder, l - 1, l);
			return low;
		}
	}
	return make_room(builder, low);
}

void bh_labels_take(struct bh_builder *builder, struct record *record)
{
	uint32_t label = free_label(builder, rank_of(&record->entry));

	record->label = label;
	builder->order[label] = record->number;
	builder->spaces[label] = BH_LABEL_TAKEN | record->plain.spaces;
	set_entry(builder, label, &record->entry);
	builder->taken++;
}

void bh_labels_give(struct bh_builder *builder, const struct record *record)
{
	builder->order[record->label] = 0;
	builder->spaces[record->label] = 0;
	builder->entries[record->label].rule = 0;
	builder->taken--;
}

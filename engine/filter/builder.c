/*
 * builder.c - rules in and out, classifiers out: the changing half of classifier.h.
 *
 * A rule has a label, which is its place in the order of precedence and its index in the entries.
 * Labels are handed out when the first classifier is published, with gaps between them; a later rule
 * takes a free label between its neighbours', and where there is none, neighbours up to the nearest
 * gap move by one. Until the first publication rules are only collected.
 *
 * IPv4 forests are changed in place. The ranks of IPv6 addresses all change with a new bound, so
 * those forests are made anew, once a publication. A classifier is a copy in one block of memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "builder_part.h"

#define GAP 4 /* labels a rule */

static int no_memory(struct bh_error *err)
{
	return bh_error_set(err, -ENOMEM, "not enough memory for a classifier");
}

int bh_builder_new(struct bh_builder **out, const struct bh_words *words, struct bh_error *err)
{
	struct bh_builder *builder = calloc(1, sizeof(*builder));

	if (builder) {
		builder->records = bh_hash_new(sizeof(uint32_t), sizeof(struct record *));
		builder->spare = calloc(1, sizeof(*builder->spare));
	}
	if (!builder || !builder->records || !builder->spare) {
		if (builder)
			bh_hash_free(&builder->records);
		free(builder);
		return no_memory(err);
	}
	atomic_init(&builder->spare->references, 1);
	if (words) {
		builder->words = *words;
		builder->has_words = true;
	}
	*out = builder;
	return 0;
}

static void record_free(struct record *record)
{
	bh_fat_free(&record->fat);
	free(record->pieces);
	free(record);
}

void bh_builder_free(struct bh_builder **builder)
{
	struct bh_builder *gone = *builder;

	*builder = NULL;
	if (!gone)
		return;
	for (uint32_t i = 0; i < gone->labels; i++)
		if (gone->order[i])
			record_free(gone->order[i]);
	for (int s = 0; s < BH_SPACES; s++) {
		bh_planting_clear(&gone->plantings[s]);
		bh_strips_clear(&gone->strips[s]);
		free(gone->few[s]);
		bh_rows_clear(&gone->rows[s]);
		free(gone->ranks[s][0].bounds);
		free(gone->ranks[s][1].bounds);
	}
	bh_hash_free(&gone->records);
	bh_spare_drop(gone->spare);
	free(gone->order);
	free(gone->entries);
	free(gone->spaces);
	free(gone);
}

static int reserve(struct bh_builder *builder, uint32_t labels)
{
	uint32_t room = builder->room ? builder->room : 256;
	void *order, *entries, *spaces;

	if (labels <= builder->room)
		return 0;
	while (room < labels)
		room *= 2;
	order = realloc(builder->order, room * sizeof(*builder->order));
	if (order)
		builder->order = order;
	entries = realloc(builder->entries, room * sizeof(*builder->entries));
	if (entries)
		builder->entries = entries;
	spaces = realloc(builder->spaces, room);
	if (spaces)
		builder->spaces = spaces;
	if (!order || !entries || !spaces)
		return -ENOMEM;
	builder->room = room;
	return 0;
}

/* Makes a record; -ENOMEM. */
static int record_new(struct record **out, const struct bh_builder *builder,
                      const struct bh_rule *rule)
{
	struct record *record = calloc(1, sizeof(*record));

	if (!record || bh_pieces_of_rule(&record->pieces, &record->count, &record->fat, rule,
	                                 builder->has_words ? &builder->words : NULL)) {
		free(record);
		return -ENOMEM;
	}
	for (uint32_t p = 0; p < record->count; p++)
		record->spaces |= (uint8_t)(1 << record->pieces[p].space);
	record->entry.rule = rule->id;
	record->entry.priority = rule->priority;
	record->entry.flags = (uint16_t)((rule->action == BH_BLOCK ? BH_ENTRY_BLOCK : 0) |
	                                 (rule->audit ? BH_ENTRY_AUDIT : 0) |
	                                 (rule->log ? BH_ENTRY_LOG : 0));
	*out = record;
	return 0;
}

/* Forests. */

static bool is_v6(uint32_t space)
{
	return space & 2;
}

static void box_of(const struct bh_builder *builder, struct bh_box *box, const struct bh_piece *piece,
                   uint32_t label)
{
	const struct bh_ranks *ranks = builder->ranks[piece->space];

	for (int a = 0; a < 2; a++) {
		const struct bh_range *range = &piece->ranges[a];

		box->first[a] = is_v6(piece->space) ? bh_rank(&ranks[a], &range->first) : (uint32_t)range->first.lo;
		box->last[a] = is_v6(piece->space) ? bh_rank(&ranks[a], &range->last) : (uint32_t)range->last.lo;
		if (is_v6(piece->space) && box->last[a] + 1 == ranks[a].count)
			box->last[a] = ~0u; /* so that all addresses are all ranks */
	}
	memcpy(box->port_first, piece->port_first, sizeof(box->port_first));
	memcpy(box->port_last, piece->port_last, sizeof(box->port_last));
	box->label = label;
}

static int by_address(const void *a, const void *b)
{
	return bh_address_below(a, b) ? -1 : bh_address_below(b, a);
}

/* The record with a label if it has a piece in the space. */
static const struct record *record_in(const struct bh_builder *builder, uint32_t label, uint32_t space)
{
	return builder->spaces[label] >> space & 1 ? builder->order[label] : NULL;
}

/* Collects the bounds of a space's pieces. */
static int ranks_make(struct bh_builder *builder, uint32_t space, int which, uint32_t pieces)
{
	struct bh_ranks *ranks = &builder->ranks[space][which];
	struct bh_address *bounds = malloc((2 * (size_t)pieces + 1) * sizeof(*bounds));
	uint32_t n = 0, unique = 1;

	if (!bounds)
		return -ENOMEM;
	bounds[n++] = (struct bh_address){0, 0};
	for (uint32_t i = 0; i < builder->labels; i++) {
		const struct record *record = record_in(builder, i, space);

		for (uint32_t p = 0; record && p < record->count; p++) {
			const struct bh_piece *piece = &record->pieces[p];

			if (piece->space != space)
				continue;
			bounds[n++] = piece->ranges[which].first;
			bounds[n++] = bh_address_next(piece->ranges[which].last);
		}
	}
	qsort(bounds, n, sizeof(*bounds), by_address);
	for (uint32_t i = 1; i < n; i++)
		if (!bh_address_equal(&bounds[i], &bounds[unique - 1]))
			bounds[unique++] = bounds[i];
	free(ranks->bounds);
	ranks->bounds = bounds;
	ranks->count = unique;
	return 0;
}

/* Bytes that a forest may use: so much a box, and room for one node of many children. */
static size_t forest_limit(uint32_t boxes)
{
	return ((size_t)1 << 18) + (size_t)boxes * (boxes > 50000 ? 90 : 256);
}

/*
 * Makes what is to be looked up in, of boxes that stay as they are: as a few, or in rows, if they can be; else
 * a forest, or strips if they cost less.
 */
static int fixed_make(struct bh_builder *builder, uint32_t space, const struct bh_box *boxes, uint32_t count)
{
	struct bh_planting *planting = &builder->plantings[space];
	struct bh_strips *strips = &builder->strips[space];
	int rc;

	bh_strips_clear(strips);
	free(builder->few[space]);
	bh_rows_clear(&builder->rows[space]);
	rc = is_v6(space) ? 0 : bh_few_build(&builder->few[space], boxes, count);
	if (!rc && !builder->few[space])
		rc = bh_rows_build(&builder->rows[space], boxes, count);
	if (rc || builder->few[space] || builder->rows[space].words)
		return rc ? rc : bh_planting_build(planting, NULL, 0, true, 0);
	rc = bh_planting_build(planting, boxes, count, true, forest_limit(count));
	if (rc || !count)
		return rc;
	rc = bh_strips_build(strips, boxes, count);
	if (!rc && bh_strips_cost(strips, boxes, count) < bh_planting_cost(planting, boxes, count))
		return bh_planting_build(planting, NULL, 0, true, 0);
	bh_strips_clear(strips);
	return rc;
}

/* Makes the forest of a space from the records. */
static int space_make(struct bh_builder *builder, uint32_t space)
{
	struct bh_box *boxes;
	uint32_t count = 0, n = 0;
	int rc = 0;

	for (uint32_t i = 0; i < builder->labels; i++) {
		const struct record *record = record_in(builder, i, space);

		for (uint32_t p = 0; record && p < record->count; p++)
			count += record->pieces[p].space == space;
	}
	boxes = malloc((count + 1) * sizeof(*boxes));
	if (!boxes)
		return -ENOMEM;
	for (int a = 0; a < 2 && is_v6(space) && !rc; a++)
		rc = ranks_make(builder, space, a, count);
	for (uint32_t i = 0; i < builder->labels && !rc; i++) {
		const struct record *record = record_in(builder, i, space);

		for (uint32_t p = 0; record && p < record->count; p++)
			if (record->pieces[p].space == space)
				box_of(builder, &boxes[n++], &record->pieces[p], i);
	}
	if (!rc && (builder->fixed || is_v6(space)))
		rc = fixed_make(builder, space, boxes, count);
	else if (!rc)
		rc = bh_planting_build(&builder->plantings[space], boxes, count, false, forest_limit(count));
	free(boxes);
	builder->stale[space] = rc != 0;
	return rc;
}

static int by_precedence(const void *a, const void *b)
{
	const struct record *x = *(struct record *const *)a, *y = *(struct record *const *)b;

	if (bh_entry_wins(&x->entry, &y->entry))
		return -1;
	if (bh_entry_wins(&y->entry, &x->entry))
		return 1;
	return x->label < y->label ? -1 : x->label > y->label;
}

/* Gives every collected rule its label. */
static int load(struct bh_builder *builder)
{
	uint32_t count = builder->labels, gap = builder->fixed ? 1 : GAP;

	for (uint32_t i = 0; i < count; i++)
		builder->order[i]->label = i;
	if (count)
		qsort(builder->order, count, sizeof(*builder->order), by_precedence);
	if (reserve(builder, count * gap))
		return -ENOMEM;
	for (uint32_t i = count; i-- > 0;) {
		struct record *record = builder->order[i];

		builder->order[i] = NULL;
		for (uint32_t g = 1; g < gap; g++)
			builder->order[i * gap + g] = NULL;
		builder->order[i * gap] = record;
		builder->spaces[i * gap] = record->spaces;
		record->label = i * gap;
		for (uint32_t g = 0; g < gap; g++) {
			builder->entries[i * gap + g] = record->entry;
			builder->entries[i * gap + g].rule = g ? 0 : record->entry.rule;
		}
	}
	builder->labels = count * gap;
	builder->loaded = true;
	for (int s = 0; s < BH_SPACES; s++)
		builder->stale[s] = true;
	return 0;
}

static int plant(struct bh_builder *builder, const struct record *record)
{
	int rc = 0;

	for (uint32_t p = 0; p < record->count && !rc; p++) {
		uint32_t space = record->pieces[p].space;
		struct bh_box box;

		builder->stale[space] |= is_v6(space);
		if (builder->stale[space])
			continue;
		box_of(builder, &box, &record->pieces[p], record->label);
		rc = bh_planting_insert(&builder->plantings[space], &box);
		/* What grew too large in place is made anew when published. */
		if (rc || bh_forest_bytes(&builder->plantings[space].forest) > 2 * forest_limit(builder->boxes[space]))
			builder->stale[space] = true;
	}
	return rc;
}

static void uproot(struct bh_builder *builder, const struct record *record)
{
	for (uint32_t p = 0; p < record->count; p++) {
		uint32_t space = record->pieces[p].space;
		struct bh_box box;

		builder->stale[space] |= is_v6(space);
		if (builder->stale[space])
			continue;
		box_of(builder, &box, &record->pieces[p], record->label);
		bh_planting_remove(&builder->plantings[space], &box);
	}
}

/* Moves a rule to a free label next to its own. */
static void move(struct bh_builder *builder, uint32_t from, uint32_t to)
{
	struct record *record = builder->order[from];

	builder->order[to] = record;
	builder->spaces[to] = record->spaces;
	builder->order[from] = NULL;
	builder->entries[to] = builder->entries[from];
	for (uint32_t p = 0; p < record->count; p++) {
		uint32_t space = record->pieces[p].space;
		struct bh_box box;

		builder->stale[space] |= is_v6(space);
		if (builder->stale[space])
			continue;
		box_of(builder, &box, &record->pieces[p], from);
		bh_planting_relabel(&builder->plantings[space], &box, to);
	}
	record->label = to;
}

/* A free label for the entry, after all that do not come after it; -ENOMEM. */
static int64_t take_label(struct bh_builder *builder, const struct bh_entry *entry)
{
	uint32_t low = 0, high = builder->labels, down, up;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (bh_entry_wins(entry, &builder->entries[middle]))
			high = middle;
		else
			low = middle + 1;
	}
	/* It belongs before `low`; gaps just below are free. */
	for (down = low; down > 0 && builder->order[down - 1]; down--)
		;
	for (up = low; up < builder->labels && builder->order[up]; up++)
		;
	if (down && (up == builder->labels || low - down < up - low)) {
		uint32_t free_label = down - 1;

		for (; free_label + 1 < low; free_label++)
			move(builder, free_label + 1, free_label);
		return free_label;
	}
	if (up == builder->labels) {
		if (builder->labels >= BH_LABEL_NONE - 1 || reserve(builder, builder->labels + 1))
			return -ENOMEM;
		builder->order[builder->labels] = NULL;
		builder->labels++;
	}
	for (; up > low; up--)
		move(builder, up - 1, up);
	return low;
}

int bh_builder_insert(struct bh_builder *builder, const struct bh_rule *rule, struct bh_error *err)
{
	struct record *record;
	int64_t label;
	int rc;

	if (bh_hash_find(builder->records, &rule->id))
		return bh_error_set(err, -EEXIST, "there is a rule %u already", rule->id);
	if (record_new(&record, builder, rule))
		return no_memory(err);
	rc = builder->loaded ? 0 : reserve(builder, builder->labels + 1);
	rc = rc ? rc : bh_hash_insert(builder->records, &rule->id, &record);
	if (rc) {
		record_free(record);
		return no_memory(err);
	}
	label = builder->loaded ? take_label(builder, &record->entry) : builder->labels++;
	if (label < 0) {
		bh_hash_remove(builder->records, &rule->id);
		record_free(record);
		return no_memory(err);
	}
	record->label = (uint32_t)label;
	builder->order[label] = record;
	builder->spaces[label] = record->spaces;
	builder->fat_count += record->fat != NULL;
	for (uint32_t p = 0; p < record->count; p++)
		builder->boxes[record->pieces[p].space]++;
	if (!builder->loaded)
		return 0;
	builder->entries[label] = record->entry;
	plant(builder, record); /* what fails is made anew when published */
	return 0;
}

int bh_builder_delete(struct bh_builder *builder, uint32_t id, struct bh_error *err)
{
	struct record **found = bh_hash_find(builder->records, &id), *record;

	if (!found)
		return bh_error_set(err, -ENOENT, "there is no rule %u", id);
	record = *found;
	bh_hash_remove(builder->records, &id);
	builder->fat_count -= record->fat != NULL;
	for (uint32_t p = 0; p < record->count; p++)
		builder->boxes[record->pieces[p].space]--;
	if (builder->loaded) {
		uproot(builder, record);
		builder->order[record->label] = NULL;
		builder->entries[record->label].rule = 0;
	} else {
		uint32_t at = 0;

		while (builder->order[at] != record)
			at++;
		memmove(&builder->order[at], &builder->order[at + 1],
		        (--builder->labels - at) * sizeof(*builder->order));
	}
	record_free(record);
	return 0;
}

/* Publication. */

int bh_builder_publish(struct bh_builder *builder, struct bh_classifier **out, struct bh_error *err)
{
	struct bh_classifier *classifier;
	int rc = builder->loaded ? 0 : load(builder);

	for (uint32_t s = 0; s < BH_SPACES && !rc; s++)
		if (builder->stale[s])
			rc = space_make(builder, s);
	classifier = rc ? NULL : bh_builder_copy(builder);
	if (!classifier)
		return no_memory(err);
	classifier->spare = builder->spare;
	atomic_fetch_add_explicit(&builder->spare->references, 1, memory_order_relaxed);
	bh_classifier_bind(classifier);
	atomic_init(&classifier->references, 1);
	*out = classifier;
	return 0;
}

int bh_classifier_build(struct bh_classifier **out, const struct bh_ruleset *ruleset,
                        struct bh_error *err)
{
	struct bh_builder *builder = NULL;
	int rc = bh_builder_new(&builder, bh_ruleset_words(ruleset), err);

	if (rc)
		return rc;
	builder->fixed = true;
	for (size_t i = 0; i < bh_ruleset_count(ruleset) && !rc; i++)
		rc = bh_builder_insert(builder, bh_ruleset_at(ruleset, i), err);
	rc = rc ? rc : bh_builder_publish(builder, out, err);
	bh_builder_free(&builder);
	return rc;
}

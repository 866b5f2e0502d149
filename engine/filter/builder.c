/*
 * builder.c - rules in and out, classifiers out: the changing half of classifier.h.
 *
 * A rule has a label, which is its place in the order of precedence and its index in the entries.
 * Labels are handed out when the first classifier is published, with gaps between them; a later rule
 * takes a free label between its neighbours', and where there is none, neighbours up to the nearest
 * gap move by one. Until the first publication rules are only collected.
 *
 * Forests are changed in place; all else is made anew, once a publication: see builder_space.c. A classifier is a copy in one block of memory.
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

	if (builder)
		builder->spare = calloc(1, sizeof(*builder->spare));
	if (!builder || !builder->spare) {
		free(builder);
		return no_memory(err);
	}
	atomic_init(&builder->spare->references, 1);
	builder->records.shelf = &builder->shelf;
	for (int s = 0; s < BH_SPACES; s++)
		builder->plantings[s].shelf = builder->bounds[s][0].shelf = builder->bounds[s][1].shelf = &builder->shelf;
	if (words) {
		builder->words = *words;
		builder->has_words = true;
	}
	*out = builder;
	return 0;
}

void bh_builder_free(struct bh_builder **builder)
{
	struct bh_builder *gone = *builder;

	*builder = NULL;
	if (!gone)
		return;
	for (int s = 0; s < BH_SPACES; s++) {
		bh_planting_clear(&gone->plantings[s]);
		bh_strips_clear(&gone->strips[s]);
		free(gone->few[s]);
		bh_rows_clear(&gone->rows[s]);
		for (int a = 0; a < 2; a++) {
			bh_scale_clear(&gone->scales[s][a]);
			bh_bounds_clear(&gone->bounds[s][a]);
		}
		free(gone->waiting[s].list);
	}
	bh_records_clear(&gone->records);
	bh_spare_drop(gone->spare);
	bh_shelf_free(&gone->shelf, gone->order);
	bh_shelf_free(&gone->shelf, gone->entries);
	bh_shelf_free(&gone->shelf, gone->spaces);
	bh_shelf_free(&gone->shelf, gone->stride);
	bh_shelf_clear(&gone->shelf);
	free(gone);
}

static int reserve(struct bh_builder *builder, uint32_t labels)
{
	uint32_t room = builder->room ? builder->room : 256;
	void *order, *entries, *spaces, *stride;

	if (labels <= builder->room)
		return 0;
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

/* A record that is not yet among the others; NULL. */
static struct record *record_new(struct bh_builder *builder, const struct bh_rule *rule)
{
	struct record *record = bh_records_take(&builder->records);

	if (!record)
		return NULL;
	if (bh_pieces_of_rule(&record->pieces, rule, builder->has_words ? &builder->words : NULL)) {
		bh_records_give(&builder->records, record);
		return NULL;
	}
	record->spaces = 0;
	for (uint32_t p = 0; p < record->pieces.count; p++)
		record->spaces |= (uint8_t)(1 << record->pieces.list[p].space);
	record->entry.rule = rule->id;
	record->entry.priority = rule->priority;
	record->entry.flags = (uint16_t)((rule->action == BH_BLOCK ? BH_ENTRY_BLOCK : 0) |
	                                 (rule->audit ? BH_ENTRY_AUDIT : 0) |
	                                 (rule->log ? BH_ENTRY_LOG : 0));
	return record;
}

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

/* Asks for all that a rule that is to be put in is about, and that seldom was touched lately. */
static void approach(const struct bh_builder *builder, const struct bh_rule *rule)
{
	uint32_t from;

	for (uint32_t line = 0; line < sizeof(*rule); line += 64)
		__builtin_prefetch((const char *)rule + line);
	bh_records_approach(&builder->records, rule->id);
	__builtin_prefetch(rule->local.include);
	__builtin_prefetch(rule->remote.include);
	__builtin_prefetch(rule->local_port.ranges);
	__builtin_prefetch(rule->remote_port.ranges);
	if (!builder->loaded || !builder->labels)
		return;
	from = stride_after(builder, (uint32_t)rule->priority << 1 | (rule->action != BH_BLOCK)) * BH_STRIDE;
	__builtin_prefetch(&builder->spaces[from], 1);
	for (uint32_t i = 0; i < BH_STRIDE; i += 64 / sizeof(struct bh_entry))
		__builtin_prefetch(&builder->entries[from + i], 1);
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
		for (uint32_t g = 1; g < gap; g++) {
			builder->order[i * gap + g] = NULL;
			builder->spaces[i * gap + g] = 0;
		}
		builder->order[i * gap] = record;
		builder->spaces[i * gap] = BH_LABEL_TAKEN | record->spaces;
		record->label = i * gap;
		for (uint32_t g = 0; g < gap; g++) {
			set_entry(builder, i * gap + g, &record->entry);
			builder->entries[i * gap + g].rule = g ? 0 : record->entry.rule;
		}
	}
	builder->labels = count * gap;
	builder->loaded = true;
	for (int s = 0; s < BH_SPACES; s++)
		builder->changed[s] = true;
	return 0;
}

static void change_all(struct bh_builder *builder, const struct record *record, int what, uint32_t to)
{
	for (uint32_t p = 0; p < record->pieces.count; p++)
		bh_builder_change(builder, &record->pieces.list[p], record->label, what, to);
}

/* Moves a rule to a free label next to its own. */
static void move(struct bh_builder *builder, uint32_t from, uint32_t to)
{
	struct record *record = builder->order[from];

	builder->order[to] = record;
	builder->spaces[to] = builder->spaces[from];
	builder->order[from] = NULL;
	builder->spaces[from] = 0;
	set_entry(builder, to, &builder->entries[from]);
	change_all(builder, record, BH_RELABEL, to);
	record->label = to;
}

/* A free label for the entry, after all that do not come after it; -ENOMEM. */
static int64_t take_label(struct bh_builder *builder, const struct bh_entry *entry)
{
	uint32_t low = label_after(builder, rank_of(entry)), down, up;

	/* It belongs before `low`; gaps just below are free. */
	for (down = low; down > 0 && builder->spaces[down - 1]; down--)
		;
	for (up = low; up < builder->labels && builder->spaces[up]; up++)
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
		builder->spaces[builder->labels] = 0;
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

	approach(builder, rule);
	if (bh_records_find(&builder->records, rule->id))
		return bh_error_set(err, -EEXIST, "there is a rule %u already", rule->id);
	record = record_new(builder, rule);
	if (!record)
		return no_memory(err);
	if ((!builder->loaded && reserve(builder, builder->labels + 1)) || bh_records_put(&builder->records, record)) {
		bh_records_give(&builder->records, record);
		return no_memory(err);
	}
	label = builder->loaded ? take_label(builder, &record->entry) : builder->labels++;
	if (label < 0) {
		bh_records_remove(&builder->records, rule->id);
		bh_records_give(&builder->records, record);
		return no_memory(err);
	}
	record->label = (uint32_t)label;
	builder->order[label] = record;
	builder->spaces[label] = BH_LABEL_TAKEN | record->spaces;
	builder->fat_count += record->pieces.fat != NULL;
	for (uint32_t p = 0; p < record->pieces.count; p++)
		builder->boxes[record->pieces.list[p].space]++;
	if (!builder->loaded)
		return 0;
	set_entry(builder, (uint32_t)label, &record->entry);
	change_all(builder, record, BH_INSERT, 0);
	return 0;
}

int bh_builder_delete(struct bh_builder *builder, uint32_t id, struct bh_error *err)
{
	struct record *record = bh_records_find(&builder->records, id);

	if (!record)
		return bh_error_set(err, -ENOENT, "there is no rule %u", id);
	bh_records_remove(&builder->records, id);
	builder->fat_count -= record->pieces.fat != NULL;
	for (uint32_t p = 0; p < record->pieces.count; p++)
		builder->boxes[record->pieces.list[p].space]--;
	if (builder->loaded) {
		change_all(builder, record, BH_REMOVE, 0);
		builder->order[record->label] = NULL;
		builder->spaces[record->label] = 0;
		builder->entries[record->label].rule = 0;
	} else {
		uint32_t at = 0;

		while (builder->order[at] != record)
			at++;
		memmove(&builder->order[at], &builder->order[at + 1],
		        (--builder->labels - at) * sizeof(*builder->order));
	}
	bh_records_give(&builder->records, record);
	return 0;
}

/* Publication. */

int bh_builder_publish(struct bh_builder *builder, struct bh_classifier **out, struct bh_error *err)
{
	struct bh_classifier *classifier;
	int rc = builder->loaded ? 0 : load(builder);

	for (uint32_t s = 0; s < BH_SPACES && !rc; s++)
		rc = bh_builder_settle(builder, s);
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

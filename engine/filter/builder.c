/*
 * builder.c - rules in and out, classifiers out: the changing half of classifier.h.
 *
 * A rule has a label, which is its place in the order of precedence and its index in the entries: see
 * builder_labels.c. Until the first publication rules are only collected. Later what comes waits until there is
 * more of it or it is published: what it touches was seldom touched lately, and to ask for all of it at once is to
 * wait once.
 *
 * Forests are changed in place; all else is made anew, once a publication: see builder_space.c. A classifier is a
 * copy in one block of memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "builder_part.h"

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
	/* Those that are to go are not among the records any more. */
	for (uint32_t i = 0; i < gone->late_count; i++)
		if (gone->late[i].remove)
			bh_records_give(&gone->records, bh_record_at(&gone->records, gone->late[i].number));
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

/* Boxes of a rule by space, which come or go. */
static void count_boxes(struct bh_builder *builder, const struct record *record, int step)
{
	const struct bh_pieces *lists = record->lists;

	for (uint32_t p = 0; lists && p < lists->count; p++)
		builder->boxes[lists->list[p].space] += (uint32_t)step;
	for (uint32_t s = 0; !lists && s < BH_SPACES; s++)
		builder->boxes[s] += record->plain.spaces >> s & 1 ? (uint32_t)step : 0;
	builder->fat_count += lists && lists->fat ? (uint32_t)step : 0;
}

static int set_lists(struct bh_builder *builder, struct record *record, const struct bh_rule *rule)
{
	struct bh_pieces *lists = malloc(sizeof(*lists));

	if (!lists)
		return -ENOMEM;
	if (bh_pieces_of_rule(lists, rule, builder->has_words ? &builder->words : NULL)) {
		bh_pieces_clear(lists);
		free(lists);
		return -ENOMEM;
	}
	record->lists = lists;
	record->plain.spaces = 0;
	for (uint32_t p = 0; p < lists->count; p++)
		record->plain.spaces |= (uint8_t)(1 << lists->list[p].space);
	return 0;
}

/* A record that is not yet among the others; NULL. */
static struct record *record_new(struct bh_builder *builder, const struct bh_rule *rule)
{
	struct record *record = bh_records_take(&builder->records);

	if (!record)
		return NULL;
	record->lists = NULL;
	record->label = 0;
	if (!bh_plain_of_rule(&record->plain, rule) && set_lists(builder, record, rule)) {
		bh_records_give(&builder->records, record);
		return NULL;
	}
	record->entry.rule = rule->id;
	record->entry.priority = rule->priority;
	record->entry.flags = (uint16_t)((rule->action == BH_BLOCK ? BH_ENTRY_BLOCK : 0) |
	                                 (rule->audit ? BH_ENTRY_AUDIT : 0) |
	                                 (rule->log ? BH_ENTRY_LOG : 0));
	return record;
}

/* Asks for all of a rule that is to be put in, which seldom was touched lately. */
static void approach(const struct bh_rule *rule)
{
	for (uint32_t line = 0; line < sizeof(*rule); line += 64)
		__builtin_prefetch((const char *)rule + line);
	__builtin_prefetch(rule->local.include);
	__builtin_prefetch(rule->remote.include);
	__builtin_prefetch(rule->local_port.ranges);
	__builtin_prefetch(rule->remote_port.ranges);
}

static void put_in(struct bh_builder *builder, struct record *record)
{
	count_boxes(builder, record, 1);
	bh_labels_take(builder, record);
	bh_builder_change(builder, record, BH_INSERT, 0);
}

static void take_out(struct bh_builder *builder, struct record *record)
{
	count_boxes(builder, record, -1);
	bh_builder_change(builder, record, BH_REMOVE, 0);
	bh_labels_give(builder, record);
	bh_records_give(&builder->records, record);
}

/* Does what came lately, after having asked for all that it will touch. */
static void do_late(struct bh_builder *builder)
{
	struct record *records[BH_LATE_MOST];
	bool v6 = builder->boxes[bh_space_of(1, BH_IN)] || builder->boxes[bh_space_of(1, BH_OUT)];

	for (uint32_t i = 0; i < builder->late_count; i++) {
		records[i] = bh_record_at(&builder->records, builder->late[i].number);
		__builtin_prefetch(records[i], 1);
		if (v6)
			__builtin_prefetch(records[i]->plain.ranges);
	}
	for (uint32_t i = 0; i < builder->late_count; i++) {
		uint32_t label = records[i]->label;

		if (!builder->late[i].remove) {
			bh_labels_approach(builder, &records[i]->entry);
			continue;
		}
		__builtin_prefetch(&builder->order[label], 1);
		__builtin_prefetch(&builder->spaces[label], 1);
		__builtin_prefetch(&builder->entries[label], 1);
	}
	for (uint32_t i = 0; i < builder->late_count; i++)
		builder->late[i].remove ? take_out(builder, records[i]) : put_in(builder, records[i]);
	builder->late_count = 0;
}

static void do_later(struct bh_builder *builder, uint32_t number, bool remove)
{
	builder->late[builder->late_count++] = (struct late){number, remove};
	if (builder->late_count == BH_LATE_MOST)
		do_late(builder);
}

/* Those that came before the first publication are numbered as they came; closes up where some went again. */
static void close_up(struct bh_builder *builder)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < builder->labels; i++)
		if (builder->order[i]) {
			bh_record_at(&builder->records, builder->order[i])->label = kept;
			builder->order[kept++] = builder->order[i];
		}
	builder->labels = kept;
}

static void collect(struct bh_builder *builder, struct record *record)
{
	if (builder->labels >= 2 * builder->taken + BH_LATE_MOST)
		close_up(builder);
	record->label = builder->labels++;
	builder->order[record->label] = record->number;
	builder->taken++;
	count_boxes(builder, record, 1);
}

int bh_builder_insert(struct bh_builder *builder, const struct bh_rule *rule, struct bh_error *err)
{
	struct record *record;

	approach(rule);
	if (bh_records_find(&builder->records, rule->id))
		return bh_error_set(err, -EEXIST, "there is a rule %u already", rule->id);
	record = bh_labels_reserve(builder) ? NULL : record_new(builder, rule);
	if (!record)
		return no_memory(err);
	if (bh_records_put(&builder->records, record)) {
		bh_records_give(&builder->records, record);
		return no_memory(err);
	}
	if (builder->loaded)
		do_later(builder, record->number, false);
	else
		collect(builder, record);
	return 0;
}

int bh_builder_delete(struct bh_builder *builder, uint32_t id, struct bh_error *err)
{
	uint32_t number = bh_records_find(&builder->records, id);
	struct record *record;

	if (!number)
		return bh_error_set(err, -ENOENT, "there is no rule %u", id);
	record = bh_record_at(&builder->records, number);
	bh_records_remove(&builder->records, id);
	/* What is in the record is not looked at before it is there. */
	if (builder->loaded) {
		__builtin_prefetch(record, 1);
		do_later(builder, number, true);
		return 0;
	}
	builder->order[record->label] = 0;
	builder->taken--;
	count_boxes(builder, record, -1);
	bh_records_give(&builder->records, record);
	return 0;
}

/* Publication. */

int bh_builder_publish(struct bh_builder *builder, struct bh_classifier **out, struct bh_error *err)
{
	struct bh_classifier *classifier;
	int rc = builder->loaded ? 0 : bh_labels_load(builder);

	do_late(builder);
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

/*
 * table.c - rules to blocks of bit vectors, one page each. The layout is in table.h.
 *
 * A rule becomes, per field, a sorted list of disjoint ranges (addresses with exclusions taken
 * out; protocol and local port as one number). Blocks are filled in the order of precedence until
 * a page, 64 rules or 256 intervals of a field are full. A rule whose lists alone overflow a page is
 * split into pieces that carry the same id, so a table's size is linear in what the rules list,
 * whatever they are.
 */
#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../base/buffer.h"
#include "../base/cleanup.h"
#include "spans.h"

#define INTERVALS_MAX 256 /* 2^BH_SEARCH_STEPS */

/* A rule, or a piece of one: a view of its ranges in each field. */
struct piece {
	struct bh_entry entry;
	struct {
		const struct bh_range *ranges;
		size_t count;
	} fields[BH_FIELDS];
};

/* The page being filled. */
struct filling {
	struct bh_buffer *pages;
	uint32_t blocks;
	size_t rules;
	struct piece pieces[BH_BLOCK_RULES];
	size_t counts[BH_FIELDS];
	struct bh_address starts[BH_FIELDS][INTERVALS_MAX];
};

static const struct bh_address address_max = {~0ULL, ~0ULL};

/* Puts a boundary into a field's sorted starts. False if there is no room. */
static bool add_start(struct filling *filling, enum bh_field field, struct bh_address value)
{
	struct bh_address *starts = filling->starts[field];
	size_t *count = &filling->counts[field], low = 0, high = *count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (bh_address_below(&starts[middle], &value))
			low = middle + 1;
		else
			high = middle;
	}
	if (low < *count && bh_address_equal(&starts[low], &value))
		return true;
	if (*count == INTERVALS_MAX)
		return false;
	memmove(&starts[low + 1], &starts[low], (*count - low) * sizeof(*starts));
	starts[low] = value;
	(*count)++;
	return true;
}

static bool is_address(size_t field)
{
	return field == BH_FIELD_LOCAL || field == BH_FIELD_REMOTE;
}

static size_t starts_size(const struct filling *filling, size_t field)
{
	size_t size = filling->counts[field] * (is_address(field) ? sizeof(struct bh_address) : 4);

	return (size + 7) & ~(size_t)7;
}

static size_t page_size(const struct filling *filling)
{
	size_t size = ((sizeof(struct bh_block) + 7) & ~(size_t)7) +
	              filling->rules * sizeof(struct bh_entry);

	for (size_t f = 0; f < BH_FIELDS; f++)
		size += starts_size(filling, f) + filling->counts[f] * sizeof(uint64_t);
	return size;
}

/* Empties the page: one interval, from 0 on, in each field. */
static void filling_reset(struct filling *filling)
{
	filling->rules = 0;
	for (size_t f = 0; f < BH_FIELDS; f++) {
		filling->counts[f] = 1;
		filling->starts[f][0] = (struct bh_address){0, 0};
	}
}

/* Takes the piece into the page if it fits. */
static bool filling_add(struct filling *filling, const struct piece *piece)
{
	bool fits = filling->rules < BH_BLOCK_RULES;
	size_t counts[BH_FIELDS];
	struct bh_address starts[BH_FIELDS][INTERVALS_MAX];

	memcpy(counts, filling->counts, sizeof(counts));
	for (size_t f = 0; f < BH_FIELDS; f++)
		memcpy(starts[f], filling->starts[f], counts[f] * sizeof(starts[f][0]));
	for (size_t f = 0; fits && f < BH_FIELDS; f++) {
		struct bh_address top = is_address(f) ? address_max
		                        : (struct bh_address){0, f == BH_FIELD_SERVICE ? BH_SERVICE_MAX : 0xffff};

		for (size_t i = 0; fits && i < piece->fields[f].count; i++) {
			const struct bh_range *range = &piece->fields[f].ranges[i];

			fits = add_start(filling, f, range->first) &&
			       (bh_address_equal(&range->last, &top) ||
			        add_start(filling, f, bh_address_next(range->last)));
		}
	}
	if (fits) {
		filling->pieces[filling->rules++] = *piece;
		fits = page_size(filling) <= BH_PAGE_SIZE;
		if (!fits)
			filling->rules--;
	}
	if (!fits) {
		memcpy(filling->counts, counts, sizeof(counts));
		for (size_t f = 0; f < BH_FIELDS; f++)
			memcpy(filling->starts[f], starts[f], counts[f] * sizeof(starts[f][0]));
	}
	return fits;
}

/* Sets the rule's bit in the row of every interval inside its ranges. */
static void fill_rows(const struct filling *filling, size_t field, uint64_t *rows)
{
	for (size_t r = 0; r < filling->rules; r++) {
		const struct piece *piece = &filling->pieces[r];
		size_t at = 0;

		for (size_t i = 0; i < piece->fields[field].count; i++) {
			const struct bh_range *range = &piece->fields[field].ranges[i];

			while (bh_address_below(&filling->starts[field][at], &range->first))
				at++;
			for (; at < filling->counts[field] &&
			       bh_range_contains(range, &filling->starts[field][at]); at++)
				rows[at] |= 1ULL << r;
		}
	}
}

/* Writes the page out and starts the next one. */
static void filling_flush(struct filling *filling)
{
	_Alignas(8) uint8_t page[BH_PAGE_SIZE] = {0};
	struct bh_block *block = (struct bh_block *)page;
	size_t at = (sizeof(*block) + 7) & ~(size_t)7;
	struct bh_entry *entries = (struct bh_entry *)(page + at);

	if (!filling->rules)
		return;
	block->rules = (uint16_t)filling->rules;
	block->entries = (uint16_t)at;
	for (size_t r = 0; r < filling->rules; r++)
		entries[r] = filling->pieces[r].entry;
	at += filling->rules * sizeof(struct bh_entry);
	for (size_t f = 0; f < BH_FIELDS; f++) {
		block->fields[f].count = (uint16_t)filling->counts[f];
		block->fields[f].starts = (uint16_t)at;
		for (size_t i = 0; i < filling->counts[f]; i++) {
			if (is_address(f))
				((struct bh_address *)(page + at))[i] = filling->starts[f][i];
			else
				((uint32_t *)(page + at))[i] = (uint32_t)filling->starts[f][i].lo;
		}
		at += starts_size(filling, f);
		block->fields[f].rows = (uint16_t)at;
		fill_rows(filling, f, (uint64_t *)(page + at));
		at += filling->counts[f] * sizeof(uint64_t);
	}
	bh_buffer_append(filling->pages, page, sizeof(page));
	filling->blocks++;
	filling_reset(filling);
}

/* Adds the piece: to this page, to a fresh one, or in two halves. */
static void filling_put(struct filling *filling, const struct piece *piece)
{
	struct piece half = *piece;
	size_t widest = 0;

	if (filling_add(filling, piece))
		return;
	filling_flush(filling);
	if (filling_add(filling, piece))
		return;
	for (size_t f = 1; f < BH_FIELDS; f++)
		if (piece->fields[f].count > piece->fields[widest].count)
			widest = f;
	half.fields[widest].count = piece->fields[widest].count / 2;
	filling_put(filling, &half);
	half.fields[widest].ranges += half.fields[widest].count;
	half.fields[widest].count = piece->fields[widest].count - half.fields[widest].count;
	filling_put(filling, &half);
}

static void piece_of(struct piece *piece, const struct bh_rule *rule, const struct bh_spans *spans)
{
	piece->entry.rule = rule->id;
	piece->entry.priority = rule->priority;
	piece->entry.flags = (uint16_t)((rule->action == BH_BLOCK ? BH_ENTRY_BLOCK : 0) |
	                                (rule->audit ? BH_ENTRY_AUDIT : 0) |
	                                (rule->log ? BH_ENTRY_LOG : 0));
	for (size_t f = 0; f < BH_FIELDS; f++) {
		piece->fields[f].ranges = spans[f].ranges;
		piece->fields[f].count = spans[f].count;
	}
}

struct compiling {
	struct bh_spans (*spans)[BH_FIELDS]; /* per rule; pieces point into them until the page is out */
	size_t count;
};

static int compile_rule(struct filling *filling, struct bh_spans *spans, const struct bh_rule *rule,
                        const struct bh_words *words)
{
	struct piece piece;
	int rc = bh_spans_of_rule(spans, rule, words);

	if (rc)
		return rc;
	for (size_t f = 0; f < BH_FIELDS; f++)
		if (!spans[f].count)
			return 0; /* it can match nothing */
	piece_of(&piece, rule, spans);
	filling_put(filling, &piece);
	return 0;
}

static int compile_direction(struct filling *filling, const struct bh_ruleset *ruleset,
                             struct compiling *compiling, enum bh_direction direction,
                             size_t max_bytes, struct bh_error *err)
{
	const struct bh_words *words = bh_ruleset_words(ruleset);

	filling->blocks = 0;
	filling_reset(filling);
	for (size_t i = 0; i < bh_ruleset_count(ruleset); i++) {
		const struct bh_rule *rule = bh_ruleset_at(ruleset, i);

		if (rule->direction != direction)
			continue;
		if (compile_rule(filling, compiling->spans[compiling->count++], rule, words))
			return bh_error_set(err, -ENOMEM, "not enough memory to compile %zu rules",
			                    bh_ruleset_count(ruleset));
		if (filling->pages->size > max_bytes)
			return bh_error_set(err, -E2BIG, "the compiled table is larger than its limit of %zu bytes",
			                    max_bytes);
	}
	filling_flush(filling);
	return 0;
}

int bh_table_compile(struct bh_table **out, const struct bh_ruleset *ruleset, size_t max_bytes,
                     struct bh_error *err)
{
	size_t count = bh_ruleset_count(ruleset);
	struct compiling compiling = {.spans = calloc(count ? count : 1, sizeof(*compiling.spans))};
	BH_AUTOFREE struct filling *filling = malloc(sizeof(*filling));
	BH_AUTOBUFFER struct bh_buffer pages = {0};
	struct bh_table *table = calloc(1, sizeof(*table));
	int rc = 0;

	if (!compiling.spans || !filling || !table) {
		rc = bh_error_set(err, -ENOMEM, "not enough memory to compile %zu rules", count);
	} else {
		filling->pages = &pages;
		for (int d = BH_IN; !rc && d <= BH_OUT; d++) {
			rc = compile_direction(filling, ruleset, &compiling, d, max_bytes, err);
			table->blocks[d] = filling->blocks;
		}
		if (!rc && (pages.failed || pages.size > max_bytes))
			rc = bh_error_set(err, pages.failed ? -ENOMEM : -E2BIG,
			                  "the compiled table is larger than its limit of %zu bytes", max_bytes);
	}
	for (size_t i = 0; compiling.spans && i < count; i++)
		for (size_t f = 0; f < BH_FIELDS; f++)
			bh_spans_clear(&compiling.spans[i][f]);
	free(compiling.spans);
	if (rc) {
		free(table);
		return rc;
	}
	table->pages = (uint8_t *)bh_buffer_take(&pages);
	*out = table;
	return 0;
}

void bh_table_free(struct bh_table **table)
{
	if (*table)
		free((*table)->pages);
	free(*table);
	*table = NULL;
}

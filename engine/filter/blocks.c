/*
 * blocks.c - see blocks.h.
 *
 * Blocks are filled in the order of precedence until a page, 64 rules or 256 intervals of a field
 * are full. A rule one of whose lists overflows a page is split into pieces that carry the same id. Where
 * several of its lists do, there is a piece for each combination of their parts: so pages are counted, and
 * no more made than there may be.
 */
#include "blocks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>


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
struct bh_filling {
	struct bh_blocks *blocks;
	size_t rules;
	bool overflows;
	struct piece pieces[BH_BLOCK_RULES];
	size_t counts[BH_FIELDS];
	struct bh_address starts[BH_FIELDS][INTERVALS_MAX];
};

static const struct bh_address address_max = {~0ULL, ~0ULL};

/* Puts a boundary into a field's sorted starts. False if there is no room. */
static bool add_start(struct bh_filling *filling, enum bh_field field, struct bh_address value)
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

static size_t starts_size(const struct bh_filling *filling, size_t field)
{
	size_t size = filling->counts[field] * (is_address(field) ? sizeof(struct bh_address) : 4);

	return (size + 7) & ~(size_t)7;
}

static size_t page_size(const struct bh_filling *filling)
{
	size_t size = ((sizeof(struct bh_block) + 7) & ~(size_t)7) +
	              filling->rules * sizeof(struct bh_entry);

	for (size_t f = 0; f < BH_FIELDS; f++)
		size += starts_size(filling, f) + filling->counts[f] * sizeof(uint64_t);
	return size;
}

/* Empties the page: one interval, from 0 on, in each field. */
static void filling_reset(struct bh_filling *filling)
{
	filling->rules = 0;
	for (size_t f = 0; f < BH_FIELDS; f++) {
		filling->counts[f] = 1;
		filling->starts[f][0] = (struct bh_address){0, 0};
	}
}

/* Takes the piece into the page if it fits. */
static bool filling_add(struct bh_filling *filling, const struct piece *piece)
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
static void fill_rows(const struct bh_filling *filling, size_t field, uint64_t *rows)
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
static void filling_flush(struct bh_filling *filling)
{
	_Alignas(8) uint8_t page[BH_PAGE_ROOM] = {0};
	struct bh_block *block = (struct bh_block *)page;
	size_t at = (sizeof(*block) + 7) & ~(size_t)7;
	struct bh_entry *entries = (struct bh_entry *)(page + at);

	if (!filling->rules)
		return;
	if (filling->blocks->count == filling->blocks->most) {
		filling->overflows = true;
		filling_reset(filling);
		return;
	}
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
	bh_buffer_append(&filling->blocks->pages, page, sizeof(page));
	filling->blocks->count++;
	filling_reset(filling);
}

/* Adds the piece: to this page, to a fresh one, or in two halves. */
static void filling_put(struct bh_filling *filling, const struct piece *piece)
{
	struct piece half = *piece;
	size_t widest = 0;

	if (filling->overflows || filling_add(filling, piece))
		return;
	filling_flush(filling);
	if (filling->overflows || filling_add(filling, piece))
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

int bh_blocks_init(struct bh_blocks *blocks, uint32_t most)
{
	memset(blocks, 0, sizeof(*blocks));
	blocks->most = most;
	blocks->filling = malloc(sizeof(*blocks->filling));
	if (!blocks->filling)
		return -ENOMEM;
	blocks->filling->blocks = blocks;
	blocks->filling->overflows = false;
	filling_reset(blocks->filling);
	return 0;
}

void bh_blocks_add(struct bh_blocks *blocks, const struct bh_entry *entry,
                   const struct bh_spans spans[BH_FIELDS])
{
	struct piece piece = {.entry = *entry};

	for (size_t f = 0; f < BH_FIELDS; f++) {
		piece.fields[f].ranges = spans[f].ranges;
		piece.fields[f].count = spans[f].count;
		if (!spans[f].count)
			return; /* it can match nothing */
	}
	filling_put(blocks->filling, &piece);
}

int bh_blocks_finish(struct bh_blocks *blocks)
{
	filling_flush(blocks->filling);
	return blocks->filling->overflows ? -E2BIG : 0;
}

void bh_blocks_clear(struct bh_blocks *blocks)
{
	bh_buffer_clear(&blocks->pages);
	free(blocks->filling);
	blocks->filling = NULL;
}

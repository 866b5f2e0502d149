/*
 * table_rows.c - makes the rows of table_rows.h.
 */
#include "trees.h"

#include <errno.h>
#include <string.h>

#include "../base/cleanup.h"
#include "rows.h"

#define BOXES_LEAST 8 /* fewer are as fast in trees, and smaller */
#define WORDS_MOST 4u
#define PARTS_MOST (WORDS_MOST * 64)

/* A box as rows.c wants it. */
static void box_of(struct bh_box *box, const struct bh_lanes_box *from)
{
	static const enum bh_lane ports[] = {BH_LOCAL_PORT, BH_REMOTE_PORT, BH_PROTOCOL};

	for (int a = 0; a < 2; a++) {
		enum bh_lane lane = a ? BH_REMOTE : BH_LOCAL;

		box->first[a] = from->first[lane];
		box->last[a] = from->last[lane];
	}
	for (int p = 0; p < 3; p++) {
		box->port_first[p] = (uint16_t)from->first[ports[p]];
		box->port_last[p] = (uint16_t)from->last[ports[p]];
	}
	box->label = from->label;
}

static void put_entries(struct bh_entry *to, const struct bh_rows *rows, const struct bh_entry *entries)
{
	static const struct bh_entry none = {.flags = BH_ENTRY_NONE};

	for (uint32_t i = 0; i < rows->labels_count; i++)
		to[i / 64 * 64 + bh_bit_place(1ULL << i % 64)] = rows->labels[i] == BH_LABEL_NONE ? none
		                                                                                  : entries[rows->labels[i]];
}

/* The number of the row of a byte's value. */
static uint32_t row_of(const struct bh_rows *rows, uint32_t byte, uint32_t value)
{
	return rows->near ? rows->near[byte][value] : rows->far[byte][value] / rows->words;
}

static void put_rows(uint8_t *places, const struct bh_rows *rows, uint32_t words)
{
	uint32_t first = rows->tables * 512;

	for (uint32_t b = 0; b < rows->tables; b++)
		for (uint32_t v = 0; v < 256; v++)
			((uint16_t *)places)[b * 256 + v] = (uint16_t)(first + words * 8 * row_of(rows, b, v));
	for (uint32_t r = 0; r < rows->rows_count; r++)
		memcpy(places + first + r * words * 8, &rows->rows[r * rows->words], words * 8);
}

static int put(struct bh_trees *trees, struct bh_domain *domain, const struct bh_rows *rows,
               const struct bh_entry *entries, size_t room)
{
	uint32_t words = rows->labels_count <= 64 ? 1 : rows->labels_count <= 128 ? 2 : 4, at;
	size_t first = words * 64 * sizeof(*entries), size = rows->tables * 512 + (size_t)rows->rows_count * words * 8;

	if (!rows->words || size > BH_ROWS_PLACES || first + size > room)
		return 0;
	at = bh_trees_room(trees, first + size, 64);
	if (trees->failed)
		return -ENOMEM;
	put_entries((struct bh_entry *)(trees->bytes.data + at), rows, entries);
	put_rows((uint8_t *)trees->bytes.data + at + first, rows, words);
	domain->rows = at | words | (rows->remote ? BH_ROWS_REMOTE : 0) | (rows->local ? BH_ROWS_LOCAL : 0) |
	               (rows->remote_ports ? BH_ROWS_REMOTE_PORTS : 0);
	return 1;
}

int bh_table_rows_put(struct bh_trees *trees, struct bh_domain *domain, const struct bh_lanes_box *boxes,
                      uint32_t count, const struct bh_entry *entries, size_t room)
{
	struct bh_box plain[PARTS_MOST];
	struct bh_rows rows = {0};
	int rc;

	if (count < BOXES_LEAST || count >= PARTS_MOST)
		return 0;
	for (uint32_t i = 0; i < count; i++)
		box_of(&plain[i], &boxes[i]);
	rc = bh_rows_build(&rows, plain, count, WORDS_MOST);
	rc = rc ? rc : put(trees, domain, &rows, entries, room);
	bh_rows_clear(&rows);
	return rc;
}

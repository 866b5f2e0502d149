/*
 * rows.c - makes the rows of rows.h.
 */
#include "rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Ranges of bytes. */
struct part {
	uint8_t first[BH_BYTES], last[BH_BYTES];
	uint32_t label;
};

static const struct {
	uint32_t byte, bytes;
} fields[] = {{BH_BYTE_LOCAL, 4}, {BH_BYTE_REMOTE, 4}, {BH_BYTE_LOCAL_PORT, 2}, {BH_BYTE_REMOTE_PORT, 2},
              {BH_BYTE_PROTOCOL, 1}};

#define FIELDS (sizeof(fields) / sizeof(*fields))
#define CUTS_MAX 7 /* of a range of four bytes */
#define KNOWN_MAX 8192 /* > twice the rows there can be: 256 a byte */

static uint32_t range_of(const struct bh_box *box, uint32_t field, bool last)
{
	if (field < 2)
		return last ? box->last[field] : box->first[field];
	return last ? box->port_last[field - 2] : box->port_first[field - 2];
}

/*
 * Cuts a range so that in each piece all bytes above one are the same, and all below it are any. A piece is
 * as large as can begin where it does. The number of pieces.
 */
static uint32_t cut(uint64_t first, uint64_t last, struct part pieces[CUTS_MAX], uint32_t byte, uint32_t bytes)
{
	uint32_t n = 0;

	for (; first <= last; n++) {
		struct part *piece = &pieces[n];
		uint32_t level = 0, most;
		uint64_t count;

		while (level + 1 < bytes && !(first & ((256ULL << 8 * level) - 1)) &&
		       first + (256ULL << 8 * level) - 1 <= last)
			level++;
		most = 256 - (uint32_t)(first >> 8 * level & 0xff);
		count = (last - first + 1) >> 8 * level;
		count = count < most ? count : most;
		for (uint32_t b = 0; b < bytes; b++) {
			piece->first[byte + b] = b < level ? 0 : (uint8_t)(first >> 8 * b);
			piece->last[byte + b] = b < level ? 0xff : piece->first[byte + b];
		}
		piece->last[byte + level] = (uint8_t)(piece->first[byte + level] + count - 1);
		first += count << 8 * level;
	}
	return n;
}

/* Appends the parts of a box. False: there are too many. */
static bool add_box(struct part *parts, uint32_t *count, const struct bh_box *box)
{
	uint32_t from = *count, n = 1;

	parts[from].label = box->label;
	for (uint32_t f = 0; f < FIELDS; f++) {
		uint32_t byte = fields[f].byte, bytes = fields[f].bytes;
		struct part pieces[CUTS_MAX];
		uint32_t cuts = cut(range_of(box, f, false), range_of(box, f, true), pieces, byte, bytes);

		if (from + n * cuts >= BH_ROWS_PARTS)
			return false;
		for (uint32_t i = n * cuts; i-- > 0;) {
			parts[from + i] = parts[from + i % n];
			memcpy(&parts[from + i].first[byte], &pieces[i / n].first[byte], bytes);
			memcpy(&parts[from + i].last[byte], &pieces[i / n].last[byte], bytes);
		}
		n *= cuts;
	}
	*count = from + n;
	return true;
}

/* Rows that there are, by their bits: where to look for one. */
struct known {
	uint16_t places[KNOWN_MAX]; /* counted from 1; 0 = none */
};

static uint32_t hash_of(const uint64_t *row, uint32_t words)
{
	uint64_t hash = 0;

	for (uint32_t w = 0; w < words; w++)
		hash = (hash ^ row[w]) * 0x9e3779b97f4a7c15ULL, hash ^= hash >> 32;
	return (uint32_t)(hash >> 8) % KNOWN_MAX;
}

/* The place of a row, which is added if there is no such row yet. */
static uint32_t place_of(struct bh_rows *rows, struct known *known, const uint64_t *row)
{
	uint32_t words = rows->words, at = hash_of(row, words);

	for (; known->places[at]; at = (at + 1) % KNOWN_MAX)
		if (!memcmp(&rows->rows[(known->places[at] - 1) * words], row, words * sizeof(*row)))
			return known->places[at] - 1u;
	memcpy(&rows->rows[rows->rows_count * words], row, words * sizeof(*row));
	known->places[at] = (uint16_t)++rows->rows_count;
	return rows->rows_count - 1;
}

/* From one value to the next, a row changes by the parts that begin with the next and that ended with the last. */
static void make_table(struct bh_rows *rows, struct known *known, const struct part *parts, uint32_t count,
                       uint32_t byte)
{
	uint16_t begins[256] = {0}, ends[257] = {0}, after_begins[BH_ROWS_PARTS], after_ends[BH_ROWS_PARTS];
	uint64_t row[BH_ROWS_PARTS / 64] = {0};
	uint32_t place = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t first = parts[i].first[byte], end = parts[i].last[byte] + 1u;

		after_begins[i] = begins[first];
		begins[first] = (uint16_t)(i + 1);
		after_ends[i] = ends[end];
		ends[end] = (uint16_t)(i + 1);
	}
	for (uint32_t value = 0; value < 256; value++) {
		for (uint32_t i = ends[value]; i; i = after_ends[i - 1])
			row[(i - 1) / 64] &= ~(1ULL << (i - 1) % 64);
		for (uint32_t i = begins[value]; i; i = after_begins[i - 1])
			row[(i - 1) / 64] |= 1ULL << (i - 1) % 64;
		if (begins[value] || ends[value])
			place = place_of(rows, known, row);
		if (rows->words == 1)
			rows->near[byte][value] = (uint8_t)place;
		else
			rows->far[byte][value] = (uint16_t)place;
	}
}

/* Whether a part has less than all values of a field. */
static bool names(const struct part *parts, uint32_t count, uint32_t byte, uint32_t bytes)
{
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t b = byte; b < byte + bytes; b++)
			if (parts[i].first[b] || parts[i].last[b] != 0xff)
				return true;
	return false;
}

/* Rows of a table, at most: one where a part begins and one behind its end. */
static uint32_t rows_most(uint32_t count)
{
	return 2 * count < 256 ? 2 * count : 256;
}

static int make(struct bh_rows *rows, const struct part *parts, uint32_t count, uint32_t words)
{
	struct known known = {{0}};
	size_t room;

	memset(rows, 0, sizeof(*rows));
	rows->words = words;
	rows->remote = names(parts, count, BH_BYTE_REMOTE, 4);
	rows->local = names(parts, count, BH_BYTE_LOCAL, 4);
	rows->remote_ports = names(parts, count, BH_BYTE_REMOTE_PORT, 2);
	rows->tables = rows->remote_ports ? BH_BYTES : rows->local ? BH_BYTE_REMOTE_PORT :
	               rows->remote ? BH_BYTE_LOCAL : BH_BYTE_REMOTE;
	room = rows->tables * rows_most(count) * words * sizeof(uint64_t);
	rows->near = words == 1 ? malloc(rows->tables * sizeof(*rows->near)) : NULL;
	rows->far = words == 4 ? malloc(rows->tables * sizeof(*rows->far)) : NULL;
	rows->rows = aligned_alloc(64, (room + 63) & ~(size_t)63);
	rows->labels_count = count;
	rows->labels = malloc(count * sizeof(*rows->labels));
	if ((!rows->near && !rows->far) || !rows->rows || !rows->labels)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		rows->labels[i] = parts[i].label;
	for (uint32_t b = 0; b < rows->tables; b++)
		make_table(rows, &known, parts, count, b);
	return 0;
}

int bh_rows_build(struct bh_rows *rows, const struct bh_box *boxes, uint32_t count)
{
	struct part parts[BH_ROWS_PARTS];
	uint32_t n = 0;
	int rc;

	memset(rows, 0, sizeof(*rows));
	for (uint32_t i = 0; i < count; i++)
		if (!add_box(parts, &n, &boxes[i]))
			return 0;
	if (!count)
		return 0;
	memset(parts[n].first, 0, BH_BYTES);
	memset(parts[n].last, 0xff, BH_BYTES);
	parts[n++].label = BH_LABEL_NONE;
	rc = make(rows, parts, n, n <= 64 ? 1 : 4);
	if (!rc && rows->words == 1 && rows->rows_count > 256) {
		bh_rows_clear(rows);
		rc = make(rows, parts, n, 4);
	}
	if (rc)
		bh_rows_clear(rows);
	return rc;
}

void bh_rows_clear(struct bh_rows *rows)
{
	free(rows->near);
	free(rows->far);
	free(rows->rows);
	free(rows->labels);
	memset(rows, 0, sizeof(*rows));
}

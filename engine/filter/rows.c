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

_Static_assert(256 * BH_BYTES * BH_ROWS_PARTS / 64 < 65536, "where a row begins fits 16 bits");

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

	if (first == last) {
		for (uint32_t b = 0; b < bytes; b++)
			pieces->first[byte + b] = pieces->last[byte + b] = (uint8_t)(first >> 8 * b);
		return 1;
	}
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

/* Appends the parts of a box. False: then there are more than fit below `most`. */
static bool add_box(struct part *parts, uint32_t *count, uint32_t most, const struct bh_box *box)
{
	uint32_t from = *count, n = 1;

	parts[from].label = box->label;
	for (uint32_t f = 0; f < FIELDS; f++) {
		uint32_t byte = fields[f].byte, bytes = fields[f].bytes;
		struct part pieces[CUTS_MAX];
		uint32_t cuts = cut(range_of(box, f, false), range_of(box, f, true), pieces, byte, bytes);

		if (from + n * cuts >= most)
			return false;
		for (uint32_t c = cuts; c-- > 0;)
			for (uint32_t i = 0; i < n; i++) {
				struct part *part = &parts[from + c * n + i];

				if (c)
					*part = parts[from + i];
				memcpy(&part->first[byte], &pieces[c].first[byte], bytes);
				memcpy(&part->last[byte], &pieces[c].last[byte], bytes);
			}
		n *= cuts;
	}
	*count = from + n;
	return true;
}

/* Rows that there are, by their bits: where to look for one. */
struct known {
	uint16_t places[KNOWN_MAX]; /* in words, and one more; 0 = none */
};

/* The place of a row, which is added if there is no such row yet. */
static uint32_t place_of(struct bh_rows *rows, struct known *known, const uint64_t *row, uint64_t hash)
{
	uint32_t words = rows->words, at = (uint32_t)(hash >> 32) % KNOWN_MAX;

	for (; known->places[at]; at = (at + 1) % KNOWN_MAX)
		if (!memcmp(&rows->rows[known->places[at] - 1], row, words * sizeof(*row)))
			return known->places[at] - 1u;
	memcpy(&rows->rows[rows->rows_count * words], row, words * sizeof(*row));
	known->places[at] = (uint16_t)(rows->rows_count * words + 1);
	return rows->rows_count++ * words;
}

/* From one value to the next, a row changes by the parts that begin with the next and that ended with the last. */
struct turns {
	uint16_t begins[256], ends[257]; /* the last such part, counted from 1 */
	uint16_t begins_before[BH_ROWS_PARTS], ends_before[BH_ROWS_PARTS]; /* the one before it */
	uint64_t some[5]; /* bit by value: there are such parts */
};

static void turns_of(struct turns *turns, const struct part *parts, uint32_t count, uint32_t byte)
{
	memset(turns->begins, 0, sizeof(turns->begins));
	memset(turns->ends, 0, sizeof(turns->ends));
	memset(turns->some, 0, sizeof(turns->some));
	for (uint32_t i = 0; i < count; i++) {
		uint32_t first = parts[i].first[byte], end = parts[i].last[byte] + 1u;

		turns->begins_before[i] = turns->begins[first];
		turns->begins[first] = (uint16_t)(i + 1);
		turns->ends_before[i] = turns->ends[end];
		turns->ends[end] = (uint16_t)(i + 1);
		turns->some[first / 64] |= 1ULL << first % 64;
		turns->some[end / 64] |= 1ULL << end % 64;
	}
}

/* Of a row: that of each part with a bit in it, joined. */
static inline uint64_t hash_of(uint32_t part)
{
	return part * 0x9e3779b97f4a7c15ULL;
}

static void turn(const struct turns *turns, uint64_t *row, uint64_t *hash, uint32_t value)
{
	for (uint32_t i = turns->ends[value]; i; i = turns->ends_before[i - 1]) {
		row[(i - 1) / 64] &= ~(1ULL << (i - 1) % 64);
		*hash ^= hash_of(i);
	}
	for (uint32_t i = turns->begins[value]; i; i = turns->begins_before[i - 1]) {
		row[(i - 1) / 64] |= 1ULL << (i - 1) % 64;
		*hash ^= hash_of(i);
	}
}

static void make_table(struct bh_rows *rows, struct known *known, const struct part *parts, uint32_t count,
                       uint32_t byte)
{
	uint64_t row[BH_ROWS_PARTS / 64] = {0}, hash = 0;
	struct turns turns;

	turns_of(&turns, parts, count, byte);
	for (uint32_t value = 0, next; value < 256; value = next) {
		uint32_t place;

		turn(&turns, row, &hash, value);
		place = place_of(rows, known, row, hash);
		/* The next turn, which there is at 256 if not before: what is of all packets ends there. */
		for (next = value + 1; !(turns.some[next / 64] >> next % 64); next = (next / 64 + 1) * 64)
			;
		next += (uint32_t)__builtin_ctzll(turns.some[next / 64] >> next % 64);
		if (rows->words == 1)
			memset(&rows->near[byte][value], (int)place, next - value);
		else
			for (uint32_t v = value; v < next; v++)
				rows->far[byte][v] = (uint16_t)place;
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
	rows->far = words > 1 ? malloc(rows->tables * sizeof(*rows->far)) : NULL;
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

int bh_rows_build(struct bh_rows *rows, const struct bh_box *boxes, uint32_t count, uint32_t words_most)
{
	struct part parts[BH_ROWS_PARTS];
	uint32_t n = 0, words = 1;
	int rc;

	memset(rows, 0, sizeof(*rows));
	for (uint32_t i = 0; i < count; i++)
		if (!add_box(parts, &n, 64 * words_most, &boxes[i]))
			return 0;
	if (!count)
		return 0;
	memset(parts[n].first, 0, BH_BYTES);
	memset(parts[n].last, 0xff, BH_BYTES);
	parts[n++].label = BH_LABEL_NONE;
	while (64 * words < n)
		words = words == 1 ? 4 : words + 4;
	rc = make(rows, parts, n, words);
	if (!rc && words == 1 && rows->rows_count > 256) {
		bh_rows_clear(rows);
		rc = make(rows, parts, n, 4);
	}
	if (rc)
		bh_rows_clear(rows);
	return rc;
}

/* Of a byte, from measuring, by the vectors of a row. */
static const double table_costs[] = {2.3, 2.75, 3.6, 4.3};

double bh_rows_cost(const struct bh_rows *rows)
{
	return rows->tables * table_costs[(rows->words - 1) / 4];
}

void bh_rows_clear(struct bh_rows *rows)
{
	free(rows->near);
	free(rows->far);
	free(rows->rows);
	free(rows->labels);
	memset(rows, 0, sizeof(*rows));
}

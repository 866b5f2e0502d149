/*
 * matrix.c - makes the matrix of matrix.h.
 *
 * A field at a time: where boxes begin and end are events, in ascending order; the row of an interval
 * is that of the one before with the events' bits turned. A row is looked up among those there are.
 */
#include "matrix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct making {
	struct bh_matrix *matrix;
	const struct bh_box *boxes;
	uint32_t count;
	size_t max_bytes;
	uint32_t keys_room, map_room, rows_room; /* rows: in rows */
	uint64_t *events;  /* value << 12 | box << 1 | begins */
	uint32_t *starts;  /* of intervals */
	uint64_t *row;     /* the current one */
	uint32_t *shared;  /* hash table: row's index + 1 */
	uint32_t shared_room;
};

static uint32_t value_of(const struct bh_box *box, int field, bool last)
{
	if (field < 2)
		return last ? box->last[field] : box->first[field];
	return last ? box->port_last[field - 2] : box->port_first[field - 2];
}

static int by_number(const void *a, const void *b)
{
	return *(const uint64_t *)a < *(const uint64_t *)b ? -1 : *(const uint64_t *)a > *(const uint64_t *)b;
}

static int reserve(void *array, uint32_t *room, uint32_t need, size_t size)
{
	uint32_t wanted = *room ? *room : 64;
	void *new;

	if (need <= *room)
		return 0;
	while (wanted < need)
		wanted *= 2;
	new = realloc(*(void **)array, wanted * size);
	if (!new)
		return -ENOMEM;
	*(void **)array = new;
	*room = wanted;
	return 0;
}

/* The first word of a row equal to the current one, which is added if there is none. */
static int row_place(struct making *making, uint32_t *place)
{
	struct bh_matrix *matrix = making->matrix;
	size_t size = matrix->words * sizeof(uint64_t);
	uint64_t hash = 0;
	uint32_t at;

	for (uint32_t w = 0; w < matrix->words; w++)
		hash = (hash ^ making->row[w]) * 0x9e3779b97f4a7c15ULL, hash ^= hash >> 29;
	for (at = (uint32_t)hash & (making->shared_room - 1); making->shared[at];
	     at = (at + 1) & (making->shared_room - 1)) {
		*place = (making->shared[at] - 1) * matrix->words;
		if (!memcmp(matrix->rows + *place, making->row, size))
			return 0;
	}
	if (bh_matrix_bytes(matrix) + size > making->max_bytes)
		return -E2BIG;
	if (reserve(&matrix->rows, &making->rows_room, matrix->rows_count + 1, size))
		return -ENOMEM;
	*place = matrix->rows_count * matrix->words;
	memcpy(matrix->rows + *place, making->row, size);
	making->shared[at] = ++matrix->rows_count;
	return 0;
}

/* Where boxes begin and end in a field of values up to `top`; a box that ends there does not end. */
static uint32_t events_make(struct making *making, int field, uint32_t top)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < making->count; i++) {
		uint32_t last = value_of(&making->boxes[i], field, true);

		making->events[n++] = (uint64_t)value_of(&making->boxes[i], field, false) << 12 | i << 1 | 1;
		if (last < top)
			making->events[n++] = ((uint64_t)last + 1) << 12 | i << 1;
	}
	qsort(making->events, n, sizeof(*making->events), by_number);
	return n;
}

/* The levels of nodes above a field's intervals. */
static int axis_make(struct making *making, struct bh_axis *axis, uint32_t intervals)
{
	struct bh_matrix *matrix = making->matrix;
	uint32_t width[BH_AXIS_LEVELS], units = 1, fan = BH_AXIS_KEYS + 1;

	axis->levels = 0;
	for (uint32_t n = intervals; !axis->levels || n > 1; n = (n + fan - 1) / fan)
		width[axis->levels++] = (n + fan - 1) / fan; /* nodes, from below */
	for (uint32_t l = 0; l < axis->levels; l++, units *= fan) {
		uint32_t keys = width[l] * BH_AXIS_KEYS;

		if (reserve(&matrix->keys, &making->keys_room, matrix->keys_count + keys, sizeof(int32_t)))
			return -ENOMEM;
		axis->at[axis->levels - 1 - l] = matrix->keys_count;
		for (uint32_t k = 0; k < keys; k++) {
			uint32_t child = k / BH_AXIS_KEYS * fan + k % BH_AXIS_KEYS;
			uint32_t next = (child + 1) * units; /* the first interval after that child */
			uint32_t last = next < intervals ? making->starts[next] - 1 : ~0u;

			matrix->keys[matrix->keys_count + k] = (int32_t)(last ^ BH_AXIS_BIAS);
		}
		matrix->keys_count += keys;
	}
	return 0;
}

/* A place in the map for each interval, or for each of `values` values. */
static int field_make(struct making *making, int field, uint32_t values, bool needed)
{
	struct bh_matrix *matrix = making->matrix;
	struct bh_axis *axis = &matrix->axes[field];
	uint32_t events = events_make(making, field, values ? values - 1 : field < 2 ? ~0u : 0xffff);
	uint32_t intervals = 0, place, e = 0;
	int rc;

	if (!needed && (!events || making->events[events - 1] >> 12 == 0))
		return 0;
	matrix->fields |= 1u << field;
	axis->map = matrix->map_count;
	memset(making->row, 0, matrix->words * sizeof(uint64_t));
	for (uint64_t start = 0;;) {
		uint64_t next;

		for (; e < events && making->events[e] >> 12 == start; e++)
			making->row[making->events[e] >> 7 & 31] ^= 1ULL << (making->events[e] >> 1 & 63);
		next = e < events ? making->events[e] >> 12 : values;
		rc = row_place(making, &place);
		rc = rc ? rc : reserve(&matrix->map, &making->map_room,
		                       matrix->map_count + (values ? (uint32_t)(next - start) : 1), sizeof(uint32_t));
		if (rc)
			return rc;
		making->starts[intervals++] = (uint32_t)start;
		do
			matrix->map[matrix->map_count++] = place;
		while (values && ++start < next);
		if (e == events)
			break;
		start = next;
	}
	return values ? 0 : axis_make(making, axis, intervals);
}

static int making_start(struct making *making)
{
	struct bh_matrix *matrix = making->matrix;
	uint32_t count = making->count;

	if (!count || count > BH_MATRIX_BOXES)
		return -E2BIG;
	matrix->words = count <= 64 ? 1 : count <= 256 ? 4 : count <= 512 ? 8 : (count + 1023) / 1024 * 16;
	matrix->labels_count = 64 * matrix->words + 1;
	matrix->labels = malloc(matrix->labels_count * sizeof(uint32_t));
	making->events = malloc(2 * (size_t)count * sizeof(*making->events));
	making->starts = malloc((2 * (size_t)count + 1) * sizeof(*making->starts));
	making->row = calloc(matrix->words, sizeof(uint64_t));
	/* Rows are at most 2 * count + 1 a field. */
	for (making->shared_room = 64; making->shared_room < 16 * count + 16;)
		making->shared_room *= 2;
	making->shared = calloc(making->shared_room, sizeof(*making->shared));
	if (!matrix->labels || !making->events || !making->starts || !making->row || !making->shared)
		return -ENOMEM;
	for (uint32_t i = 0; i < matrix->labels_count; i++)
		matrix->labels[i] = i < count ? making->boxes[i].label : BH_LABEL_NONE;
	return 0;
}

int bh_matrix_build(struct bh_matrix *matrix, const struct bh_box *boxes, uint32_t count,
                    const uint32_t values[2], size_t max_bytes)
{
	struct making making = {.matrix = matrix, .boxes = boxes, .count = count, .max_bytes = max_bytes};
	int rc;

	memset(matrix, 0, sizeof(*matrix));
	rc = making_start(&making);
	for (int f = 0; f < BH_MATRIX_FIELDS && !rc; f++)
		rc = field_make(&making, f, f < 2 ? values[f] : f == 4 ? 256 : 0, f == 4 && !matrix->fields);
	if (!rc && bh_matrix_bytes(matrix) > max_bytes)
		rc = -E2BIG;
	free(making.events);
	free(making.starts);
	free(making.row);
	free(making.shared);
	if (rc)
		bh_matrix_clear(matrix);
	return rc;
}

void bh_matrix_clear(struct bh_matrix *matrix)
{
	free(matrix->keys);
	free(matrix->map);
	free(matrix->rows);
	free(matrix->labels);
	memset(matrix, 0, sizeof(*matrix));
}

size_t bh_matrix_bytes(const struct bh_matrix *matrix)
{
	return matrix->keys_count * sizeof(int32_t) + matrix->map_count * sizeof(uint32_t) +
	       (size_t)matrix->rows_count * matrix->words * sizeof(uint64_t) +
	       matrix->labels_count * sizeof(uint32_t);
}

/* Cycles, roughly, from measuring: a lookup, a field, a node of keys, four words of a row. */
enum { COST_MATRIX = 12, COST_FIELD = 2, COST_KEYS = 3, COST_WORDS = 1 };

double bh_matrix_cost(const struct bh_matrix *matrix)
{
	double cost = COST_MATRIX;

	for (int f = 0; f < BH_MATRIX_FIELDS; f++)
		if (matrix->fields >> f & 1)
			cost += COST_FIELD + COST_KEYS * matrix->axes[f].levels + COST_WORDS * matrix->words / 4.0;
	return cost * (1 + (double)bh_matrix_bytes(matrix) / (2 << 20));
}

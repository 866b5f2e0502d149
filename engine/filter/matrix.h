/*
 * matrix.h - boxes as columns of bits: the form for up to some thousand boxes. Inside filter/.
 *
 * Each field is cut into elementary intervals, in which no box begins or ends; an interval has a row
 * with one bit per box. The AND of the rows a packet falls in are the boxes that have it, and the
 * first bit wins. After Lakshman and Stiliadis, SIGCOMM 1998. It takes no branch on data and does not
 * care for the shape of rules, but its size grows with the square of their number.
 *
 * A field's interval is found in a tree of nodes of 16 keys, the last values of its children's
 * intervals; how many of them are below the value is the way down. Small fields are looked up in the
 * map at once. Equal rows are kept once. Everything is an index, so a matrix is copied by memcpy.
 */
#ifndef BH_FILTER_MATRIX_H
#define BH_FILTER_MATRIX_H

#include "forest.h"

#define BH_MATRIX_BOXES 2048
#define BH_MATRIX_FIELDS 5 /* local, remote, local port, remote port, protocol */
#define BH_AXIS_KEYS 16
#define BH_AXIS_LEVELS 3 /* 17^3 intervals, more than 2 * 2048 + 1 */
#define BH_AXIS_BIAS 0x80000000u /* keys are stored so that they compare as signed */

struct bh_axis {
	uint32_t levels; /* of nodes; 0 = the value itself is the place in the map */
	uint32_t at[BH_AXIS_LEVELS]; /* first key of each level, root first */
	uint32_t map;                /* first interval's place in the map */
};

struct bh_matrix {
	uint32_t words;  /* of 64 bits a row: 1, 4, 8 or a multiple of 16; 0 = there is no matrix */
	uint32_t fields; /* bit per field that tells boxes apart, at least one */
	struct bh_axis axes[BH_MATRIX_FIELDS];
	uint32_t keys_count, map_count, rows_count, labels_count;
	int32_t *keys;
	uint32_t *map;    /* interval → first word of its row */
	uint64_t *rows;
	uint32_t *labels; /* by bit; after the last, BH_LABEL_NONE */
};

/*
 * Makes the matrix of the boxes, sorted by label. `values` are how many values the addresses have
 * where these are ranks, else 0. 0, -ENOMEM, or -E2BIG beyond `max_bytes` or BH_MATRIX_BOXES.
 */
int bh_matrix_build(struct bh_matrix *matrix, const struct bh_box *boxes, uint32_t count,
                    const uint32_t values[2], size_t max_bytes);
void bh_matrix_clear(struct bh_matrix *matrix);
size_t bh_matrix_bytes(const struct bh_matrix *matrix);
/* Roughly the cycles of a lookup, comparable with bh_planting_cost(). */
double bh_matrix_cost(const struct bh_matrix *matrix);

#endif

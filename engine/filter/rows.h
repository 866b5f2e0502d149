/*
 * rows.h - up to 1,023 boxes as rows of bits: the form for the rules of one container. Inside filter/.
 *
 * After Lakshman and Stiliadis ("High-Speed Policy-based Packet Forwarding Using Efficient
 * Multi-dimensional Range Matching", SIGCOMM 1998), byte by byte: each byte of a packet by itself says
 * which boxes it may be of, as a row of a bit a box; the first bit that all rows have is the answer.
 * For that, a box is cut into parts that have one range in each byte. Nothing in it depends on how
 * boxes overlap, and no step is a guess. A part of all packets comes last, whose label is BH_LABEL_NONE,
 * so there always is a first bit.
 */
#ifndef BH_FILTER_ROWS_H
#define BH_FILTER_ROWS_H

#include "forest.h"
#include "table.h" /* the bytes */

#define BH_ROWS_PARTS 1024

struct bh_rows {
	uint32_t words; /* of 64 bits, in a row: 1, 4, 8, 12 or 16; 0 = there are no rows */
	uint32_t tables, rows_count, labels_count;
	bool remote, local, remote_ports; /* whether boxes name them */
	/* For each byte, by its value, where its row begins, in words. Rows of one word are at most 256, to be near. */
	uint8_t (*near)[256];
	uint16_t (*far)[256];
	uint64_t *rows;
	uint32_t *labels; /* of each part */
};

/* Of boxes sorted by label; without rows if that needs more than so many words. -ENOMEM. */
int bh_rows_build(struct bh_rows *rows, const struct bh_box *boxes, uint32_t count, uint32_t words_most);
double bh_rows_cost(const struct bh_rows *rows); /* roughly the cycles of a lookup */
void bh_rows_clear(struct bh_rows *rows);

#endif

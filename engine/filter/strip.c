/*
 * strip.c - makes the strips of strip.h.
 */
#include "strip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "forest_leaf.h"

static void strip_set(struct bh_strip *strip, uint32_t i, const struct bh_box *box)
{
	for (int a = 0; a < 2; a++) {
		strip->first[a][i] = box->first[a];
		strip->span[a][i] = box->last[a] - box->first[a];
	}
	for (int p = 0; p < 3; p++) {
		strip->port_first[p][i] = box->port_first[p];
		strip->port_span[p][i] = (uint16_t)(box->port_last[p] - box->port_first[p]);
	}
	strip->labels[i] = box->label;
}

int bh_strips_build(struct bh_strips *strips, const struct bh_box *boxes, uint32_t count)
{
	uint32_t blocks = (count + BH_STRIP_BOXES - 1) / BH_STRIP_BOXES;
	struct bh_strip *new = aligned_alloc(64, (blocks + 1) * sizeof(*new));

	if (!new)
		return -ENOMEM;
	memset(new, 0, (blocks + 1) * sizeof(*new));
	for (uint32_t i = 0; i < blocks * BH_STRIP_BOXES; i++)
		new[i / BH_STRIP_BOXES].port_first[2][i % BH_STRIP_BOXES] = 0xffff; /* no protocol */
	for (uint32_t i = 0; i < count; i++)
		strip_set(&new[i / BH_STRIP_BOXES], i % BH_STRIP_BOXES, &boxes[i]);
	memset(strips, 0, sizeof(*strips));
	for (uint32_t i = 0; i < count; i++) {
		for (int a = 0; a < 2; a++)
			strips->names[a] |= boxes[i].first[a] || boxes[i].last[a] != ~0u;
		strips->names_remote_port |= boxes[i].port_first[1] || boxes[i].port_last[1] != 0xffff;
	}
	strips->strips = new;
	strips->count = blocks;
	return 0;
}

void bh_strips_clear(struct bh_strips *strips)
{
	free(strips->strips);
	memset(strips, 0, sizeof(*strips));
}

static bool box_has(const struct bh_box *box, const uint64_t words[2])
{
	bool in = true;

	for (int a = 0; a < 2; a++)
		in &= (uint32_t)(words[0] >> 32 * a) - box->first[a] <= box->last[a] - box->first[a];
	for (int p = 0; p < 3; p++)
		in &= (uint16_t)((uint16_t)(words[1] >> 16 * p) - box->port_first[p]) <=
		      (uint16_t)(box->port_last[p] - box->port_first[p]);
	return in;
}

double bh_strips_cost(const struct bh_strips *strips, const struct bh_box *boxes, uint32_t count, double most)
{
	uint32_t step = count / COST_SAMPLES + 1, packets = 0, ended[9] = {0}, usual = 0;
	uint64_t blocks = 0;

	for (uint32_t i = 0; i < count; i += step, packets++) {
		uint32_t at = 0;
		uint64_t words[2];

		if (COST_STRIP * (double)blocks > most * (count / step + 1))
			return 2 * most;

		packet_of(&boxes[i], i + 1, words);
		while (!box_has(&boxes[at], words) && at < STRIP_SAMPLE * BH_STRIP_BOXES)
			at++; /* the box it is of, at last */
		at = at / BH_STRIP_BOXES + 1;
		blocks += at;
		ended[at < 9 ? at - 1 : 8]++;
	}
	for (int i = 0; i < 9; i++)
		usual = ended[i] > usual ? ended[i] : usual;
	if (!packets)
		return 0;
	return COST_BASE + (COST_STRIP * (double)blocks + (strips->count > 1 ? COST_JUMP : 0) * (double)(packets - usual)) / packets;
}

/*
 * few.c - makes the form of few.h.
 */
#include "few.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_prefix(uint32_t first, uint32_t last)
{
	return !((first ^ last) & ((first ^ last) + 1)) && !(first & (first ^ last));
}

static bool fits(const struct bh_box *boxes, uint32_t count)
{
	bool fit = count && count <= BH_FEW_BOXES;

	for (uint32_t i = 0; fit && i < count; i++)
		for (int a = 0; a < 2; a++)
			fit = fit && is_prefix(boxes[i].first[a], boxes[i].last[a]);
	return fit;
}

static void set_box(struct bh_few *few, uint32_t i, const struct bh_box *box)
{
	for (int a = 0; a < 2; a++) {
		few->mask[a][bh_few_at(i)] = ~(box->first[a] ^ box->last[a]);
		few->value[a][bh_few_at(i)] = box->first[a];
	}
	for (int p = 0; p < 2; p++) {
		few->port_first[p][i] = box->port_first[p];
		few->port_span[p][i] = (uint16_t)(box->port_last[p] - box->port_first[p]);
	}
	for (uint32_t p = box->port_first[2]; p <= box->port_last[2]; p++)
		few->protocols[p] |= 3u << 2 * i;
	few->labels[i] = box->label;
	few->local |= few->mask[0][bh_few_at(i)] != 0;
	few->remote_ports |= few->port_span[1][i] != 0xffff;
}

int bh_few_build(struct bh_few **few, const struct bh_box *boxes, uint32_t count)
{
	*few = NULL;
	if (!fits(boxes, count))
		return 0;
	*few = aligned_alloc(64, sizeof(**few));
	if (!*few)
		return -ENOMEM;
	memset(*few, 0, sizeof(**few));
	for (uint32_t i = 0; i < count; i++)
		set_box(*few, i, &boxes[i]);
	for (uint32_t i = count; i <= BH_FEW_BOXES; i++)
		(*few)->labels[i] = BH_LABEL_NONE;
	return 0;
}

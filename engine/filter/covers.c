/*
 * covers.c - see covers.h.
 *
 * One rule of all addresses hides whatever comes after it, in each of the trees (trees.h), which see only
 * what is hidden by a box of their own. A lookup in trees of what can win misses fewer caches, and meets
 * fewer cubes. Only the largest boxes are looked at as covers: what few others hide costs little.
 */
#include "covers.h"

#define COVERS 24

struct covers {
	struct bh_lanes_box boxes[COVERS];
	double volumes[COVERS];
	uint32_t count;
};

static bool covered(const struct covers *covers, const struct bh_lanes_box *box)
{
	for (uint32_t c = 0; c < covers->count; c++) {
		const struct bh_lanes_box *cover = &covers->boxes[c];
		uint32_t outside = 0;

		for (int l = 0; l < BH_LANES; l++)
			outside |= (uint32_t)(cover->first[l] > box->first[l]) | (uint32_t)(cover->last[l] < box->last[l]);
		if (!outside)
			return true;
	}
	return false;
}

/* In the place of a smaller one, if need be. */
static void take(struct covers *covers, const struct bh_lanes_box *box)
{
	double volume = 1;
	uint32_t at = 0;

	for (int l = 0; l < BH_LANES; l++)
		volume *= (double)box->last[l] - box->first[l] + 1;
	if (covers->count < COVERS)
		covers->volumes[at = covers->count++] = 0;
	else
		for (uint32_t c = 1; c < COVERS; c++)
			at = covers->volumes[c] < covers->volumes[at] ? c : at;
	if (covers->volumes[at] < volume) {
		covers->boxes[at] = *box;
		covers->volumes[at] = volume;
	}
}

uint32_t bh_covers_drop(struct bh_lanes_box *boxes, uint32_t count)
{
	struct covers covers = {.count = 0};
	uint32_t kept = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (covered(&covers, &boxes[i]))
			continue;
		take(&covers, &boxes[i]);
		boxes[kept++] = boxes[i];
	}
	return kept;
}

/*
 * trees_mark.c - which trees need not be asked once a cube has the packet.
 *
 * A cube of a later tree is better if its label is lower and some packet is in both. The trees are
 * asked for such cubes as a packet asks them, only for all the children that the cube reaches. One that
 * reaches too many to look at is taken to have a better one everywhere: that costs time, not truth.
 */
#include "trees_part.h"

#define LOOKS 120 /* children and cubes that are looked at for one cube in one tree */
#define MARKED (1u << (BH_FOUND_TREES + BH_TREES - 1)) /* no tree's bit: a cube that has been here */

struct asking {
	struct growing *growing;
	struct part part;
	uint32_t label;
	uint32_t left;
};

static void *at_unit(struct growing *growing, uint32_t unit)
{
	return growing->trees->bytes.data + (size_t)unit * BH_UNIT;
}

/* The cubes of a leaf. */
static struct bh_cube *cubes_of(struct growing *growing, uint32_t leaf, uint32_t *count)
{
	struct bh_cube *cubes = at_unit(growing, leaf & BH_CHILD_UNITS);

	*count = leaf >> BH_CHILD_COUNT & BH_COUNT_MANY;
	if (leaf == BH_LEAF_EMPTY)
		*count = 0;
	if (*count != BH_COUNT_MANY)
		return cubes;
	*count = (uint32_t)cubes[0].first[0];
	return cubes + 1;
}

static void part_of(struct part *part, const struct bh_cube *cube)
{
	for (int l = 0; l < BH_LANES; l++) {
		uint32_t most = (uint32_t)((1ULL << bh_lane_bits[l]) - 1);

		part->first[l] = (uint32_t)(cube->first[l >= BH_REMOTE] >> bh_lane_shift[l]) & most;
		part->last[l] = most - ((uint32_t)(cube->above[l >= BH_REMOTE] >> bh_lane_shift[l]) & most);
	}
}

static bool overlap(const struct part *a, const struct part *b)
{
	for (int l = 0; l < BH_LANES; l++)
		if (a->first[l] > b->last[l] || b->first[l] > a->last[l])
			return false;
	return true;
}

static bool leaf_betters(struct asking *asking, uint32_t leaf)
{
	uint32_t count;
	const struct bh_cube *cubes = cubes_of(asking->growing, leaf, &count);

	for (uint32_t i = 0; i < count && (bh_cube_found(&cubes[i]) & BH_NO_LABEL) < asking->label; i++) {
		struct part part;

		part_of(&part, &cubes[i]);
		if (!asking->left || overlap(&part, &asking->part))
			return true;
		asking->left--;
	}
	return false;
}

/* Whether a better cube may be below a child. */
static bool child_betters(struct asking *asking, uint32_t child)
{
	const struct bh_fork *fork = at_unit(asking->growing, child);
	uint32_t cells[CELLS_MAX], count, before = BH_LEAF_EMPTY;
	const uint32_t *children;
	struct choice choice;

	if (child & BH_CHILD_LEAF)
		return leaf_betters(asking, child);
	for (int l = 0; l < BH_LANES; l++)
		choice.mask[l] = (uint32_t)(fork->mask[l >= BH_REMOTE] >> bh_lane_shift[l]) &
		                 (uint32_t)((1ULL << bh_lane_bits[l]) - 1);
	choice.factor[0] = fork->factor[0];
	choice.factor[1] = fork->factor[1];
	choice.bits = BH_FORK_BITS(fork);
	choice.exact = false;
	children = (const uint32_t *)(asking->growing->trees->bytes.data + fork->children);
	count = bh_trees_cells(asking->growing, &choice, &asking->part, cells);
	for (uint32_t c = 0; c < (count == EVERYWHERE ? 1u << choice.bits : count); c++) {
		uint32_t next = children[count == EVERYWHERE ? c : cells[c]];

		if (next == before)
			continue;
		before = next;
		if (!asking->left)
			return true;
		asking->left--;
		if (child_betters(asking, next))
			return true;
	}
	return false;
}

static void mark_cube(struct growing *growing, const struct bh_domain *domain, int tree, struct bh_cube *cube)
{
	struct asking asking = {.growing = growing, .label = bh_cube_found(cube) & BH_NO_LABEL};
	uint32_t found = MARKED;

	part_of(&asking.part, cube);
	for (int t = tree + 1; t < BH_TREES; t++) {
		asking.left = LOOKS;
		if (domain->best[t] < asking.label && child_betters(&asking, growing->trees->roots[t]))
			found |= 1u << (BH_FOUND_TREES + t - tree - 1);
	}
	bh_cube_add(cube, found);
}

static void mark_child(struct growing *growing, const struct bh_domain *domain, int tree, uint32_t child)
{
	uint32_t count, before = BH_LEAF_EMPTY;

	if (child & BH_CHILD_LEAF) {
		struct bh_cube *cubes = cubes_of(growing, child, &count);

		if (count && bh_cube_found(cubes) & MARKED)
			return;
		for (uint32_t i = 0; i < count; i++)
			mark_cube(growing, domain, tree, &cubes[i]);
	} else {
		const struct bh_fork *fork = at_unit(growing, child);
		const uint32_t *children = (const uint32_t *)(growing->trees->bytes.data + fork->children);

		for (uint32_t c = 0; c < 1u << BH_FORK_BITS(fork); c++) {
			if (children[c] != before)
				mark_child(growing, domain, tree, children[c]);
			before = children[c];
		}
	}
}

void bh_trees_mark(struct growing *growing, const struct bh_domain *domain)
{
	for (int t = 0; t < BH_TREES && !growing->trees->failed; t++)
		mark_child(growing, domain, t, growing->trees->roots[t]);
}

/*
 * trees.c - see trees.h.
 *
 * A node's bits are the best of some dozens of candidates, tried on a sample of its boxes: for sets of
 * fields, the bits that all, most, or half of the boxes fix, hashed; and windows of few bits below
 * the first that varies, gathered exactly. A box is referred to from every child that a packet in it
 * may reach. Hashing the bits that all boxes fix separates most access lists in one step, however
 * their addresses cluster; windows cut port ranges.
 *
 * Boxes with a wildcard on one side would be copied below every bit of that side, so boxes are split
 * by which addresses are specific into up to four trees (CutSplit, Li et al., INFOCOM 2018); which
 * partition is the fastest is tried out for sets that are not large.
 *
 * A list is pruned to what can win where it is: what lies outside the hull goes, what stands behind a
 * box that covers the hull too, and what one before it hides. The hull is what all packets of the
 * node that match anything at all share.
 *
 * Sizes are bounded by construction: a node is given room, takes no candidate that would not leave
 * 64 bytes for each reference, and shares the rest among its children.
 */
#include "trees_part.h"

#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"

#define PRUNE_PAIRS 48  /* boxes among which hidden ones are looked for */
#define WIDE 65536      /* a range of so many IPv4 addresses is not specific */
#define TRIALS_MAX 4096 /* boxes of a set for which all partitions are tried */

uint32_t bh_trees_room(struct bh_trees *trees, size_t size, size_t align)
{
	static const char zeros[4096];
	size_t at = (trees->bytes.size + align - 1) / align * align, end = at + size;

	while (trees->bytes.size < end && !trees->bytes.failed) {
		size_t more = end - trees->bytes.size;

		bh_buffer_append(&trees->bytes, zeros, more < sizeof(zeros) ? more : sizeof(zeros));
	}
	trees->failed = trees->failed || trees->bytes.failed || end > UINT32_MAX;
	return (uint32_t)at;
}

void bh_trees_clear(struct bh_trees *trees)
{
	bh_buffer_clear(&trees->bytes);
	free(trees->leaves);
	memset(trees, 0, sizeof(*trees));
}

/* ---- leaves ---- */

static void cube_of(struct bh_cube *cube, const struct bh_lanes_box *box, const struct bh_entry *entries)
{
	memset(cube, 0, sizeof(*cube));
	cube->entry = entries[box->label];
	for (int l = 0; l < BH_LANES; l++) {
		uint32_t most = (uint32_t)((1ULL << bh_lane_bits[l]) - 1);

		cube->first[l >= BH_REMOTE] |= (uint64_t)box->first[l] << bh_lane_shift[l];
		cube->above[l >= BH_REMOTE] |= (uint64_t)(most - box->last[l]) << bh_lane_shift[l];
	}
	bh_cube_add(cube, box->label);
}

static uint64_t hash_bytes(const void *bytes, size_t words)
{
	const uint64_t *at = bytes;
	uint64_t hash = words;

	for (size_t i = 0; i < words; i++)
		hash = (hash ^ at[i]) * bh_factors[0] ^ (hash >> 29);
	return hash ^ hash >> 32;
}

static void *bytes_at(struct bh_trees *trees, uint32_t offset)
{
	return trees->bytes.data + offset;
}

/* The slot of a leaf of equal bytes, or a free one. */
static uint32_t *leaf_slot(struct bh_trees *trees, const void *bytes, size_t size)
{
	uint32_t mask = trees->leaves_room - 1, i = (uint32_t)hash_bytes(bytes, size / 8) & mask;

	for (; trees->leaves[i]; i = (i + 1) & mask)
		if (trees->leaves[i] + size <= trees->bytes.size &&
		    !memcmp(bytes_at(trees, trees->leaves[i]), bytes, size))
			break;
	return &trees->leaves[i];
}

static void leaves_grow(struct bh_trees *trees)
{
	uint32_t room = trees->leaves_room ? trees->leaves_room * 4 : 1024, *old = trees->leaves;

	if (trees->leaves_count * 2 < trees->leaves_room)
		return;
	/* What is forgotten is only shared no more. */
	trees->leaves = calloc(room, sizeof(*trees->leaves));
	free(old);
	trees->leaves_room = room;
	trees->leaves_count = 0;
	trees->failed = trees->failed || !trees->leaves;
}

static uint32_t make_leaf(struct growing *growing, const struct part *parts, uint32_t count)
{
	struct bh_trees *trees = growing->trees;
	bool many = count >= BH_COUNT_MANY;
	size_t size = (count + many) * sizeof(struct bh_cube);
	BH_AUTOFREE struct bh_cube *cubes = malloc(size + 1);
	uint32_t *slot, at;

	growing->most_cubes = count > growing->most_cubes ? count : growing->most_cubes;
	growing->most_cubes += !growing->most_cubes; /* that of an empty leaf */
	if (!count)
		return BH_LEAF_EMPTY;
	leaves_grow(trees);
	if (!cubes || trees->failed) {
		trees->failed = true;
		return BH_LEAF_EMPTY;
	}
	if (many)
		cubes[0] = (struct bh_cube){.first = {1ULL << 32 | count}}; /* as `nobody` in the head */
	for (uint32_t i = 0; i < count; i++)
		cube_of(&cubes[i + many], &growing->boxes[parts[i].box], trees->entries);
	slot = leaf_slot(trees, cubes, size);
	if (!*slot) {
		/* In as few lines of the cache as can be. */
		at = bh_trees_room(trees, size, (size - 1) % 64 < BH_UNIT ? BH_UNIT : 64);
		if (trees->failed)
			return BH_LEAF_EMPTY;
		memcpy(bytes_at(trees, at), cubes, size);
		*slot = at;
		trees->leaves_count++;
		trees->cubes += count;
	}
	return BH_CHILD_LEAF | *slot / BH_UNIT | (many ? BH_COUNT_MANY : count) << BH_CHILD_COUNT;
}

/* ---- pruning ---- */

static bool inside(const struct part *part, const uint32_t first[BH_LANES], const uint32_t last[BH_LANES])
{
	for (int l = 0; l < BH_LANES; l++)
		if (part->first[l] > first[l] || part->last[l] < last[l])
			return false;
	return true;
}

/* Clips parts to the hull, the hull to the parts; keeps those that can win. Returns how many. */
static uint32_t prune(struct part *parts, uint32_t count, struct hull *hull)
{
	struct hull around;
	uint32_t kept = 0;

	memset(around.first, 0xff, sizeof(around.first));
	memset(around.last, 0, sizeof(around.last));
	for (uint32_t i = 0; i < count; i++) {
		struct part part = parts[i];
		bool empty = false;

		for (int l = 0; l < BH_LANES; l++) {
			part.first[l] = part.first[l] > hull->first[l] ? part.first[l] : hull->first[l];
			part.last[l] = part.last[l] < hull->last[l] ? part.last[l] : hull->last[l];
			empty = empty || part.first[l] > part.last[l];
		}
		if (empty)
			continue;
		for (int l = 0; l < BH_LANES; l++) {
			around.first[l] = part.first[l] < around.first[l] ? part.first[l] : around.first[l];
			around.last[l] = part.last[l] > around.last[l] ? part.last[l] : around.last[l];
		}
		parts[kept++] = part;
	}
	*hull = around;
	count = kept;
	kept = 0;
	for (uint32_t i = 0; i < count; i++) {
		bool hidden = false;

		for (uint32_t j = 0; j < kept && count <= PRUNE_PAIRS && !hidden; j++)
			hidden = inside(&parts[j], parts[i].first, parts[i].last);
		if (hidden)
			continue;
		parts[kept++] = parts[i];
		if (inside(&parts[kept - 1], hull->first, hull->last))
			break;
	}
	return kept;
}

/* ---- nodes ---- */

/* What the hull is in child `index` of an exact choice; false if no packet gets there. */
static bool hull_of_child(const struct choice *choice, uint32_t index, struct hull *hull)
{
	uint32_t end = choice->bits;

	for (int l = 0; choice->exact && l < BH_LANES; l++) {
		uint32_t mask = choice->mask[l], bits, low, top, first, last;

		if (!mask)
			continue;
		bits = (uint32_t)__builtin_popcount(mask);
		low = (uint32_t)__builtin_ctz(mask);
		end -= bits;
		top = (uint32_t)~((1ULL << (low + bits)) - 1);
		if ((hull->first[l] & top) != (hull->last[l] & top))
			continue;
		first = (hull->first[l] & top) | (index >> end & ((1u << bits) - 1)) << low;
		last = first | ((1u << low) - 1);
		hull->first[l] = first > hull->first[l] ? first : hull->first[l];
		hull->last[l] = last < hull->last[l] ? last : hull->last[l];
		if (hull->first[l] > hull->last[l])
			return false;
	}
	return true;
}

/* References to parts by child: those of child c are refs[starts[c]] to refs[starts[c + 1] - 1]. */
struct cells {
	uint32_t *starts, *refs;
	uint32_t total;
};

static void cells_clear(struct cells *cells)
{
	free(cells->starts);
	free(cells->refs);
}

/* False if there are more than fit the room. */
static bool cells_make(struct cells *cells, struct growing *growing, const struct choice *choice,
                       const struct part *parts, uint32_t count, size_t room)
{
	uint32_t width = 1u << choice->bits, reached[CELLS_MAX];
	uint64_t total = 0;

	cells->starts = calloc(width + 2, sizeof(*cells->starts));
	for (uint32_t i = 0; cells->starts && i < count; i++) {
		uint32_t n = bh_trees_cells(growing, choice, &parts[i], reached);

		total += n == EVERYWHERE ? width : n;
		for (uint32_t c = 0; c < (n == EVERYWHERE ? width : n); c++)
			cells->starts[(n == EVERYWHERE ? c : reached[c]) + 2]++;
		if (total * 64 + 4 * width + 128 > room)
			return false;
	}
	cells->refs = malloc((total + 1) * sizeof(*cells->refs));
	growing->trees->failed = growing->trees->failed || !cells->starts || !cells->refs;
	if (growing->trees->failed)
		return false;
	cells->total = (uint32_t)total;
	for (uint32_t c = 0; c < width; c++)
		cells->starts[c + 2] += cells->starts[c + 1];
	for (uint32_t i = 0; i < count; i++) {
		uint32_t n = bh_trees_cells(growing, choice, &parts[i], reached);

		for (uint32_t c = 0; c < (n == EVERYWHERE ? width : n); c++)
			cells->refs[cells->starts[(n == EVERYWHERE ? c : reached[c]) + 1]++] = i;
	}
	return true;
}

static uint32_t grow_node(struct growing *growing, struct part *parts, uint32_t count, struct hull hull,
                          uint32_t level, size_t room);

/* The child of one cell. */
static uint32_t grow_child(struct growing *growing, const struct part *parts, const uint32_t *refs,
                           uint32_t count, const struct hull *hull, uint32_t level, size_t room)
{
	BH_AUTOFREE struct part *inner = malloc((count + 1) * sizeof(*inner));

	if (!inner) {
		growing->trees->failed = true;
		return BH_LEAF_EMPTY;
	}
	for (uint32_t i = 0; i < count; i++)
		inner[i] = parts[refs[i]];
	return grow_node(growing, inner, count, *hull, level, room);
}

/* A child with the same references as an earlier one of a hashed node is the same child. */
struct twins {
	uint32_t *cells; /* by hash of references: cell + 1 */
	uint32_t mask;
};

static uint32_t *twin_of(struct twins *twins, const struct cells *cells, uint32_t cell)
{
	uint32_t from = cells->starts[cell], count = cells->starts[cell + 1] - from, i = count;

	for (uint32_t r = 0; r < count; r++)
		i = (i ^ cells->refs[from + r]) * 0x9e3779b1u;
	for (i = (i ^ i >> 15) & twins->mask; twins->cells[i]; i = (i + 1) & twins->mask) {
		uint32_t other = twins->cells[i] - 1;

		if (cells->starts[other + 1] - cells->starts[other] == count &&
		    !memcmp(cells->refs + cells->starts[other], cells->refs + from, count * sizeof(uint32_t)))
			break;
	}
	return &twins->cells[i];
}

static void grow_children(struct growing *growing, const struct choice *choice, const struct cells *cells,
                          const struct part *parts, const struct hull *hull, uint32_t children,
                          uint32_t level, size_t room)
{
	uint32_t width = 1u << choice->bits;
	struct twins twins = {calloc((size_t)width * 2, sizeof(uint32_t)), width * 2 - 1};

	growing->trees->failed = growing->trees->failed || !twins.cells;
	for (uint32_t c = 0; c < width && !growing->trees->failed; c++) {
		uint32_t from = cells->starts[c], count = cells->starts[c + 1] - from, child = BH_LEAF_EMPTY;
		size_t share = cells->total ? (size_t)((double)room * count / cells->total) : 0;
		uint32_t *twin = choice->exact ? NULL : twin_of(&twins, cells, c);
		struct hull inner = *hull;

		if (twin && *twin)
			child = ((uint32_t *)bytes_at(growing->trees, children))[*twin - 1];
		else if (count && hull_of_child(choice, c, &inner))
			child = grow_child(growing, parts, cells->refs + from, count, &inner, level, share);
		if (twin && !*twin)
			*twin = c + 1;
		if (!growing->trees->failed)
			((uint32_t *)bytes_at(growing->trees, children))[c] = child;
	}
	free(twins.cells);
}

static uint32_t grow_node(struct growing *growing, struct part *parts, uint32_t count, struct hull hull,
                          uint32_t level, size_t room)
{
	struct bh_trees *trees = growing->trees;
	struct cells cells = {0};
	struct choice choice;
	struct bh_fork *fork;
	uint32_t at, children;

	count = prune(parts, count, &hull);
	if (trees->failed || count <= 2 || level == BH_DEPTH_MAX ||
	    !bh_trees_choose(growing, parts, count, &hull, room, &choice) ||
	    !cells_make(&cells, growing, &choice, parts, count, room)) {
		cells_clear(&cells);
		if (growing->most_nodes < level || !growing->most_nodes) /* a root is there, if only for a leaf */
			growing->most_nodes = level ? level : 1;
		return make_leaf(growing, parts, count);
	}
	at = bh_trees_room(trees, sizeof(*fork), 64);
	children = bh_trees_room(trees, sizeof(uint32_t) << choice.bits, 64);
	trees->nodes++;
	if (!trees->failed) {
		fork = bytes_at(trees, at);
		for (int l = 0; l < BH_LANES; l++)
			fork->mask[l >= BH_REMOTE] |= (uint64_t)choice.mask[l] << bh_lane_shift[l];
		fork->factor[0] = choice.factor[0];
		fork->factor[1] = choice.factor[1];
		fork->children = children;
		fork->shift = 62 - choice.bits;
		grow_children(growing, &choice, &cells, parts, &hull, children, level + 1,
		              room - 128 - (sizeof(uint32_t) << choice.bits));
	}
	cells_clear(&cells);
	return at / BH_UNIT;
}

/* ---- trees ---- */

/* Which kinds of boxes share a tree: bit k of an element is kind k. */
static const uint8_t partitions[][BH_TREES] = {{1, 2, 4, 8}, {15}, {5, 10}, {3, 12}};

#define PARTITIONS (sizeof(partitions) / sizeof(*partitions))

/* Bit 0: its local addresses are not specific; bit 1: its remote ones. */
static uint32_t kind_of(const struct bh_lanes_box *box, const uint32_t wide[2])
{
	return (box->last[BH_LOCAL] - box->first[BH_LOCAL] >= wide[0]) |
	       (uint32_t)(box->last[BH_REMOTE] - box->first[BH_REMOTE] >= wide[1]) << 1;
}

/* The boxes of some kinds. */
static uint32_t parts_of(struct growing *growing, struct part *parts, uint32_t count, const uint32_t wide[2],
                         uint8_t kinds)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (!(kinds >> kind_of(&growing->boxes[i], wide) & 1))
			continue;
		memcpy(parts[n].first, growing->boxes[i].first, sizeof(parts->first));
		memcpy(parts[n].last, growing->boxes[i].last, sizeof(parts->last));
		parts[n++].box = i;
	}
	return n;
}

/* The tree of most boxes is the first: it is the likeliest to have a packet, and to end its lookup. */
static void grow_kinds(struct growing *growing, struct bh_domain *domain, struct part *parts,
                       uint32_t count, const uint32_t wide[2], const uint8_t kinds[BH_TREES], size_t room)
{
	uint32_t sizes[BH_TREES];

	for (int t = 0; t < BH_TREES; t++) {
		uint32_t n = sizes[t] = parts_of(growing, parts, count, wide, kinds[t]), root = BH_LEAF_EMPTY, best = BH_NO_LABEL;
		struct hull all;
		int at = t;

		memset(all.first, 0, sizeof(all.first));
		for (int l = 0; l < BH_LANES; l++)
			all.last[l] = (uint32_t)((1ULL << bh_lane_bits[l]) - 1);
		growing->most_nodes = growing->most_cubes = 0;
		if (n) {
			best = growing->boxes[parts[0].box].label;
			root = grow_node(growing, parts, n, all, 0, (size_t)((double)room * n / count));
		}
		for (; at > 0 && sizes[at - 1] < n; at--) {
			sizes[at] = sizes[at - 1];
			domain->best[at] = domain->best[at - 1];
			growing->trees->roots[at] = growing->trees->roots[at - 1];
		}
		sizes[at] = n;
		domain->best[at] = best;
		growing->trees->roots[at] = root;
		growing->all_nodes += growing->most_nodes;
		growing->all_cubes += growing->most_cubes;
	}
}

/* Some packet of the box. */
static struct bh_lanes packet_of(const struct bh_lanes_box *box, uint32_t seed)
{
	uint64_t words[2] = {0, 0};

	for (int l = 0; l < BH_LANES; l++) {
		uint64_t size = (uint64_t)box->last[l] - box->first[l] + 1;

		seed = seed * 2654435761u + 1;
		words[l >= BH_REMOTE] |= (box->first[l] + (seed * size >> 32)) << bh_lane_shift[l];
	}
	return bh_lanes_of(words[0], words[1]);
}

/* What a lookup takes in these trees: in the gate, where each cube that is not near is compared in a call. */
enum { COST_TREE = 30, COST_NODE = 40, COST_CUBE = 14, COST_FAR = 80, COST_CUBE_FAR = 54 };

static uint32_t cost_of(const struct bh_trees *trees, const struct bh_domain *domain, const struct bh_lanes *packet)
{
	struct bh_place place = {(const uint8_t *)trees->bytes.data, 0};
	uint32_t best = BH_NO_LABEL, cost = 0, left = (1u << BH_TREES) - 1;

	for (int t = 0; t < BH_TREES && left; t++, left >>= 1) {
		uint32_t child = trees->roots[t], count, at, i = 0;

		if (!(left & 1) || domain->best[t] >= best)
			continue;
		for (cost += COST_TREE; !(child & BH_CHILD_LEAF); cost += COST_NODE) {
			const struct bh_fork *fork = BH_AT(&place, child * BH_UNIT, 64, 0);
			uint64_t index = (packet->local & fork->mask[0]) * fork->factor[0] +
			                 (packet->remote & fork->mask[1]) * fork->factor[1];

			child = *(const uint32_t *)BH_CHILD_AT(&place, fork->children, index >> fork->shift, 0);
		}
		count = child >> BH_CHILD_COUNT & BH_COUNT_MANY;
		at = (child & BH_CHILD_UNITS) * BH_UNIT + (count == BH_COUNT_MANY) * sizeof(struct bh_cube);
		for (; i < count; i++, at += sizeof(struct bh_cube)) {
			const struct bh_cube *cube = BH_CUBE_AT(&place, at, 0);
			uint32_t found = bh_cube_found(cube);

			cost += i < BH_SCAN_NEAR ? COST_CUBE : COST_CUBE_FAR + (i == BH_SCAN_NEAR) * COST_FAR;
			if (bh_cube_lacks(cube, packet))
				continue;
			best = (found & BH_NO_LABEL) < best ? found & BH_NO_LABEL : best;
			left &= found >> (BH_FOUND_TREES - 1);
			break;
		}
	}
	return cost;
}

/* Over packets that the rules speak of; large trees miss caches more often. */
static double cost_average(const struct growing *growing, const struct bh_domain *domain, uint32_t count,
                           size_t bytes)
{
	uint32_t step = count / 2048 + 1, packets = 0;
	double total = 0;

	for (uint32_t i = 0; i < count; i += step, packets++) {
		struct bh_lanes packet = packet_of(&growing->boxes[i], i);

		total += cost_of(growing->trees, domain, &packet);
	}
	return total / packets * (1 + (double)bytes / (1 << 20));
}

/* Roots stand in the domain, so that a lookup begins with a node it need not look for. */
static void put_roots(struct bh_trees *trees, struct bh_domain *domain)
{
	for (int t = 0; t < BH_TREES && !trees->failed; t++) {
		struct bh_fork *root = &domain->roots[t];

		if (trees->roots[t] & BH_CHILD_LEAF)
			*root = (struct bh_fork){.shift = 62, .only = trees->roots[t]};
		else
			memcpy(root, bytes_at(trees, trees->roots[t] * BH_UNIT), sizeof(*root));
	}
}

/* Forgets what was appended from `size` on. */
static void truncate_to(struct bh_trees *trees, size_t size)
{
	trees->bytes.size = size;
	if (trees->leaves)
		memset(trees->leaves, 0, trees->leaves_room * sizeof(*trees->leaves));
	trees->leaves_count = 0;
}

/* Twice as many children as there are boxes, within what windows of bits want. */
static uint32_t fork_bits(uint32_t count)
{
	uint32_t bits = 8;

	while (bits < FORK_BITS && 1u << bits < 2 * count)
		bits++;
	return bits;
}

void bh_trees_grow(struct bh_trees *trees, struct bh_domain *domain, const struct bh_lanes_box *boxes,
                   uint32_t count, bool v6, size_t room)
{
	struct growing growing = {.trees = trees, .boxes = boxes};
	BH_AUTOFREE struct part *parts = malloc((count + 1) * sizeof(*parts));
	size_t from = bh_trees_room(trees, 0, 64), trials = count <= TRIALS_MAX ? PARTITIONS : 1, best = 0;
	uint32_t top[2] = {0, 0}, cubes = trees->cubes, nodes = trees->nodes;
	uint64_t work = trees->work;
	double cost, lowest = 0;

	for (int t = 0; t < BH_TREES; t++) {
		trees->roots[t] = BH_LEAF_EMPTY;
		domain->best[t] = BH_NO_LABEL;
	}
	if (!count) {
		put_roots(trees, domain);
		return;
	}
	for (uint32_t i = 0; i < count; i++)
		for (int a = 0; a < 2; a++) {
			uint32_t first = boxes[i].first[a ? BH_REMOTE : BH_LOCAL];

			top[a] = first > top[a] ? first : top[a];
		}
	growing.cells = malloc(2 * SAMPLE * sizeof(*growing.cells));
	growing.fork_bits = fork_bits(count);
	growing.loads = calloc(1u << growing.fork_bits, sizeof(*growing.loads));
	growing.stamps = calloc(1u << growing.fork_bits, sizeof(*growing.stamps));
	trees->failed = trees->failed || !growing.cells || !growing.loads || !growing.stamps || !parts;
	for (size_t p = 0; p <= trials && !trees->failed; p++) {
		size_t which = p < trials ? p : best;
		uint32_t wide[2] = {WIDE, WIDE};

		if (p == trials && best == trials - 1)
			break;
		for (int a = 0; v6 && a < 2; a++)
			wide[a] = top[a] / 16 + 1;
		truncate_to(trees, from);
		trees->cubes = cubes;
		trees->nodes = nodes;
		trees->work = work;
		growing.all_nodes = growing.all_cubes = 0;
		grow_kinds(&growing, domain, parts, count, wide, partitions[which], room);
		bh_trees_mark(&growing, domain);
		if (trials == 1)
			break;
		cost = p < trials && !trees->failed ? cost_average(&growing, domain, count, trees->bytes.size - from)
		                                     : 0;
		if (p < trials && (!p || cost < lowest)) {
			lowest = cost;
			best = p;
		}
	}
	trees->most_nodes = growing.all_nodes > trees->most_nodes ? growing.all_nodes : trees->most_nodes;
	trees->most_cubes = growing.all_cubes > trees->most_cubes ? growing.all_cubes : trees->most_cubes;
	put_roots(trees, domain);
	free(growing.cells);
	free(growing.loads);
	free(growing.stamps);
}

/*
 * builder_copy.c - what a builder has as a classifier: a copy in one block of memory.
 */
#include <stdlib.h>
#include <string.h>

#include "builder_part.h"

/* A part of the one block, or of its size if there is none yet. */
static void *carve(char *memory, size_t *at, size_t size)
{
	void *part = memory ? memory + *at : NULL;

	*at += (size + 63) & ~(size_t)63;
	return part;
}

static void *copy(char *memory, size_t *at, const void *from, size_t size)
{
	void *part = carve(memory, at, size);

	if (part && size)
		memcpy(part, from, size);
	return part;
}

static int by_best(const void *a, const void *b)
{
	const struct bh_tree *x = a, *y = b;

	return x->best < y->best ? -1 : x->best > y->best;
}

/* The space of the most usual packets: with most rules, and of two with as many the one of IPv4, then inbound. */
static uint32_t usual_of(const struct bh_builder *builder)
{
	uint32_t usual = bh_space_of(0, BH_IN);

	for (uint32_t v6 = 0; v6 < 2; v6++)
		for (uint32_t out = 0; out < 2; out++) {
			uint32_t space = bh_space_of(v6, out ? BH_OUT : BH_IN);

			usual = builder->boxes[space] > builder->boxes[usual] ? space : usual;
		}
	return usual;
}

static struct bh_scale *copy_scales(char *memory, size_t *at, const struct bh_scale from[2])
{
	struct bh_scale *to = carve(memory, at, 2 * sizeof(*to));

	for (int a = 0; a < 2; a++) {
		struct bh_scale scale = from[a];

		scale.marks = copy(memory, at, scale.marks, scale.marks_count * sizeof(*scale.marks));
		if (scale.labels)
			scale.labels = copy(memory, at, scale.labels, scale.count * sizeof(*scale.labels));
		if (scale.bounds)
			scale.bounds = copy(memory, at, scale.bounds, scale.count * sizeof(*scale.bounds));
		if (to)
			to[a] = scale;
	}
	return to;
}

/* Trees that have boxes, by the best of these. */
static void pick_trees(struct bh_forest *forest)
{
	uint32_t kept = 0;

	for (uint32_t t = 0; t < forest->count; t++) {
		const struct bh_node *root = &forest->trees[t].root;

		if (root->mask[0] || root->mask[1] || forest->children[root->children] != BH_CHILD_LEAF)
			forest->trees[kept++] = forest->trees[t];
	}
	forest->count = kept;
	qsort(forest->trees, kept, sizeof(*forest->trees), by_best);
}

static void copy_space(char *memory, size_t *at, struct bh_space *to, const struct bh_builder *builder,
                       uint32_t space)
{
	const struct bh_forest *forest = &builder->plantings[space].forest;

	to->direction = space == bh_space_of(0, BH_OUT) || space == bh_space_of(1, BH_OUT) ? BH_OUT : BH_IN;
	if (builder->few[space] && space != usual_of(builder))
		to->few = copy(memory, at, builder->few[space], sizeof(*to->few));
	to->rows = builder->rows[space];
	if (to->rows.near)
		to->rows.near = copy(memory, at, to->rows.near, to->rows.tables * sizeof(*to->rows.near));
	if (to->rows.far)
		to->rows.far = copy(memory, at, to->rows.far, to->rows.tables * sizeof(*to->rows.far));
	to->rows.rows = copy(memory, at, to->rows.rows, (size_t)to->rows.rows_count * to->rows.words * sizeof(*to->rows.rows));
	to->rows.labels = copy(memory, at, to->rows.labels, to->rows.labels_count * sizeof(*to->rows.labels));
	to->strips = builder->strips[space];
	to->strips.strips = copy(memory, at, to->strips.strips, to->strips.count * sizeof(struct bh_strip));
	/* What is found in the other forms is not looked for in a forest, which may be there for later. */
	if (!builder->few[space] && !to->rows.words && !to->strips.count && (builder->planted[space] || builder->fixed))
		to->forest = *forest;
	forest = &to->forest;
	pick_trees(&to->forest);
	to->forest.leaves = copy(memory, at, forest->leaves, forest->leaves_count * sizeof(struct bh_leaf));
	to->forest.nodes = copy(memory, at, forest->nodes, forest->nodes_count * sizeof(struct bh_node));
	to->forest.children = copy(memory, at, forest->children, forest->children_count * sizeof(uint32_t));
	if (bh_is_v6(space))
		to->scales = copy_scales(memory, at, builder->scales[space]);
}

static void copy_fat(char *memory, size_t *at, struct bh_classifier *to, const struct bh_builder *builder)
{
	struct bh_fat *all = carve(memory, at, builder->fat_count * sizeof(*all));
	uint32_t n = 0;

	for (uint32_t i = 0; builder->fat_count && i < builder->labels; i++) {
		const struct record *record = builder->order[i] ? bh_record_at(&builder->records, builder->order[i]) : NULL;
		const struct bh_fat *fat = record && record->lists ? record->lists->fat : NULL;
		struct bh_fat one;

		if (!fat)
			continue;
		one = *fat;
		one.label = i;
		for (int f = 0; f < BH_FIELDS; f++)
			one.spans[f].ranges = copy(memory, at, fat->spans[f].ranges,
			                           fat->spans[f].count * sizeof(struct bh_range));
		if (all)
			all[n++] = one;
	}
	to->fat = all;
	to->fat_count = builder->fat_count;
}

static size_t copy_all(char *memory, struct bh_classifier *to, const struct bh_builder *builder)
{
	size_t at = 0;

	for (uint32_t s = 0; s < BH_SPACES; s++)
		copy_space(memory, &at, &to->spaces[s], builder, s);
	if (builder->few[usual_of(builder)]) {
		to->few[0] = *builder->few[usual_of(builder)];
		to->spaces[usual_of(builder)].few = to->few;
	}
	to->usual = to->spaces[usual_of(builder)];
	to->usual_kind = BH_KIND((uint32_t)bh_is_v6(usual_of(builder)), to->usual.direction);
	to->entries = copy(memory, &at, builder->entries, builder->labels * sizeof(*builder->entries));
	to->entries_count = builder->labels;
	copy_fat(memory, &at, to, builder);
	return at;
}

struct bh_classifier *bh_builder_copy(const struct bh_builder *builder)
{
	size_t size = sizeof(struct bh_classifier) + (builder->few[usual_of(builder)] ? sizeof(struct bh_few) : 0);
	struct bh_classifier *classifier = aligned_alloc(64, size);

	if (!classifier)
		return NULL;
	memset(classifier, 0, size);
	classifier->bytes = copy_all(NULL, classifier, builder);
	classifier->memory = bh_spare_take(builder->spare, classifier->bytes);
	if (!classifier->memory) {
		free(classifier);
		return NULL;
	}
	copy_all(classifier->memory, classifier, builder);
	classifier->bytes += size;
	return classifier;
}

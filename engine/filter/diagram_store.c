/*
 * diagram_store.c - see diagram_store.h.
 */
#include "diagram_store.h"

#include <stdlib.h>
#include <string.h>

#define NONE 0xffffffffu
#define STEP_BYTES 4

/* FNV-1a, word by word, and a finish that spreads the high bits. */
static uint64_t hash_of(uint64_t hash, const void *data, size_t size)
{
	const uint8_t *p = data;
	uint64_t word;

	for (; size >= 8; p += 8, size -= 8) {
		memcpy(&word, p, 8);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 29;
	}
	for (; size; p++, size--)
		hash = (hash ^ *p) * 0x100000001b3ULL;
	return hash ^ hash >> 32;
}

/* Room for `more` elements of `size` bytes; what grows is charged. */
static int reserve(struct bh_diagram *diagram, void **array, size_t count, size_t *room, size_t more,
                   size_t size)
{
	size_t wanted = *room ? *room : 64;
	void *grown;

	if (count + more <= *room)
		return 0;
	while (wanted < count + more)
		wanted *= 2;
	if (bh_diagram_spend(diagram, (wanted - *room) * size / STEP_BYTES))
		return -E2BIG;
	grown = realloc(*array, wanted * size);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	*room = wanted;
	return 0;
}

#define RESERVE(diagram, name, more)                                                                  \
	reserve(diagram, (void **)&(diagram)->name##s, (diagram)->name##_count, &(diagram)->name##_room, more, \
	        sizeof(*(diagram)->name##s))

/* Doubles a table of heads that has become full, hanging its `count` elements in anew. */
#define REHASH(diagram, name)                                                                         \
	do {                                                                                              \
		struct bh_heads *table_ = &(diagram)->name##_heads;                                           \
		if ((diagram)->name##_count >= table_->count) {                                               \
			if (heads_grow(table_))                                                                   \
				return -ENOMEM;                                                                       \
			for (uint32_t i_ = 0; i_ < (diagram)->name##_count; i_++) {                               \
				uint32_t *head_ = &table_->heads[(diagram)->name##s[i_].hash & (table_->count - 1)];  \
				(diagram)->name##s[i_].next = *head_;                                                 \
				*head_ = i_;                                                                          \
			}                                                                                         \
		}                                                                                             \
	} while (0)

/* Hangs the next element in. */
#define HANG(diagram, name, index)                                                                    \
	do {                                                                                              \
		struct bh_heads *table_ = &(diagram)->name##_heads;                                           \
		uint32_t *head_ = &table_->heads[(diagram)->name##s[index].hash & (table_->count - 1)];       \
		(diagram)->name##s[index].next = *head_;                                                      \
		*head_ = (index);                                                                             \
	} while (0)

static int heads_grow(struct bh_heads *table)
{
	uint32_t count = table->count ? table->count * 2 : 256;
	uint32_t *heads = malloc(count * sizeof(*heads));

	if (!heads)
		return -ENOMEM;
	memset(heads, 0xff, count * sizeof(*heads));
	free(table->heads);
	table->heads = heads;
	table->count = count;
	return 0;
}

static uint32_t first_of(const struct bh_heads *table, uint64_t hash)
{
	return table->count ? table->heads[hash & (table->count - 1)] : NONE;
}

int bh_diagram_new(struct bh_diagram **out, uint64_t budget, struct bh_error *err)
{
	struct bh_diagram *diagram = calloc(1, sizeof(*diagram));
	int rc;

	if (!diagram)
		return bh_error_set(err, -ENOMEM, "not enough memory to compare policies");
	diagram->budget = budget;
	rc = RESERVE(diagram, set, 1);
	rc = rc ? rc : RESERVE(diagram, node, BH_CHANGES);
	if (rc) {
		rc = bh_diagram_error(diagram, rc, err);
		bh_diagram_free(&diagram);
		return rc;
	}
	/* The whole field, which no set is compared with; and the answers, which no node is. */
	memset(&diagram->sets[0], 0, sizeof(diagram->sets[0]));
	diagram->sets[0].field = BH_REGION_FIELDS;
	diagram->set_count = 1;
	memset(diagram->nodes, 0, BH_CHANGES * sizeof(*diagram->nodes));
	for (int n = 0; n < BH_CHANGES; n++)
		diagram->nodes[n].field = BH_REGION_FIELDS;
	diagram->node_count = BH_CHANGES;
	*out = diagram;
	return 0;
}

void bh_diagram_free(struct bh_diagram **out)
{
	struct bh_diagram *diagram = *out;

	if (!diagram)
		return;
	for (size_t i = 0; i < diagram->set_count; i++)
		bh_set_clear(&diagram->sets[i].set);
	for (int l = 0; l < 3; l++)
		free(diagram->lists[l].items);
	free(diagram->sets);
	free(diagram->patterns);
	free(diagram->nodes);
	free(diagram->edges);
	free(diagram->memos);
	free(diagram->keys);
	free(diagram->set_heads.heads);
	free(diagram->pattern_heads.heads);
	free(diagram->node_heads.heads);
	free(diagram->memo_heads.heads);
	free(diagram->boxes);
	free(diagram);
	*out = NULL;
}

int bh_diagram_error(const struct bh_diagram *diagram, int rc, struct bh_error *err)
{
	if (rc == -E2BIG)
		return bh_error_set(err, rc, "the comparison is over its budget of %llu million steps; nothing is "
		                    "said about what it would have found",
		                    (unsigned long long)(diagram->budget / 1000000));
	return bh_error_set(err, rc, "not enough memory to compare policies");
}

const struct bh_set *bh_diagram_set(const struct bh_diagram *diagram, enum bh_region_field field,
                                    uint32_t number)
{
	static struct bh_span spans[BH_REGION_FIELDS];
	static struct bh_set wholes[BH_REGION_FIELDS];

	if (number)
		return &diagram->sets[number].set;
	spans[field] = (struct bh_span){0, bh_region_max(field)};
	wholes[field] = (struct bh_set){.count = 1, .spans = &spans[field]};
	return &wholes[field];
}

int bh_diagram_number(struct bh_diagram *diagram, enum bh_region_field field, const struct bh_set *set,
                      uint32_t *number)
{
	uint64_t hash = hash_of(field + 1, set->spans, set->count * sizeof(*set->spans));
	struct bh_set copy = {0};
	int rc;

	if (bh_set_is_all(set, field)) {
		*number = 0;
		return 0;
	}
	for (uint32_t i = first_of(&diagram->set_heads, hash); i != NONE; i = diagram->sets[i].next)
		if (diagram->sets[i].hash == hash && diagram->sets[i].field == field &&
		    bh_set_equal(&diagram->sets[i].set, set)) {
			*number = i;
			return 0;
		}
	rc = RESERVE(diagram, set, 1);
	rc = rc ? rc : bh_diagram_spend(diagram, set->count * sizeof(*set->spans) / STEP_BYTES);
	if (rc)
		return rc;
	REHASH(diagram, set);
	rc = bh_set_add_set(&copy, set);
	if (rc) {
		bh_set_clear(&copy);
		return rc;
	}
	*number = (uint32_t)diagram->set_count++;
	diagram->sets[*number] = (struct bh_kept_set){.field = (uint8_t)field, .hash = hash, .set = copy};
	HANG(diagram, set, *number);
	return 0;
}

static int pattern_of(struct bh_diagram *diagram, const struct bh_region *region, uint32_t *number)
{
	struct bh_pattern pattern = {0};
	int rc = 0;

	for (int f = 0; !rc && f < BH_REGION_FIELDS; f++) {
		rc = bh_diagram_number(diagram, f, &region->sets[f], &pattern.sets[f]);
		if (!rc && pattern.sets[f])
			pattern.depth = (uint8_t)(f + 1);
	}
	if (rc)
		return rc;
	pattern.hash = hash_of(1, pattern.sets, sizeof(pattern.sets));
	for (uint32_t i = first_of(&diagram->pattern_heads, pattern.hash); i != NONE; i = diagram->patterns[i].next)
		if (diagram->patterns[i].hash == pattern.hash &&
		    !memcmp(diagram->patterns[i].sets, pattern.sets, sizeof(pattern.sets))) {
			*number = i;
			return 0;
		}
	rc = RESERVE(diagram, pattern, 1);
	if (rc)
		return rc;
	REHASH(diagram, pattern);
	*number = (uint32_t)diagram->pattern_count++;
	diagram->patterns[*number] = pattern;
	HANG(diagram, pattern, *number);
	return 0;
}

int bh_diagram_add(struct bh_diagram *diagram, int list, int action, const struct bh_region *region,
                   struct bh_error *err)
{
	struct bh_items *items = &diagram->lists[action == BH_CHANGES ? 2 : list];
	uint32_t pattern;
	int rc;

	if (bh_region_is_empty(region))
		return 0;
	rc = pattern_of(diagram, region, &pattern);
	rc = rc ? rc : reserve(diagram, (void **)&items->items, items->count, &items->room, 1, sizeof(pattern));
	if (rc)
		return bh_diagram_error(diagram, rc, err);
	items->items[items->count++] = BH_ITEM(pattern, action == BH_CHANGES ? 0 : action);
	return 0;
}

int bh_diagram_intern_node(struct bh_diagram *diagram, int field, const struct bh_edge *edges,
                           uint32_t count, bool hole, uint32_t *node)
{
	uint64_t hash = (uint64_t)field + 1;
	int rc;

	for (uint32_t i = 0; i < count; i++) {
		hash = hash_of(hash, &edges[i].start, sizeof(edges[i].start));
		hash = hash_of(hash, &edges[i].node, sizeof(edges[i].node));
	}
	for (uint32_t i = first_of(&diagram->node_heads, hash); i != NONE; i = diagram->nodes[i].next) {
		const struct bh_node *old = &diagram->nodes[i];
		bool same = old->hash == hash && old->field == field && old->count == count;

		for (uint32_t e = 0; same && e < count; e++)
			same = diagram->edges[old->edges + e].start == edges[e].start &&
			       diagram->edges[old->edges + e].node == edges[e].node;
		if (same) {
			*node = i;
			return 0;
		}
	}
	rc = RESERVE(diagram, node, 1);
	rc = rc ? rc : RESERVE(diagram, edge, count);
	if (rc)
		return rc;
	REHASH(diagram, node);
	*node = (uint32_t)diagram->node_count++;
	diagram->nodes[*node] = (struct bh_node){.edges = (uint32_t)diagram->edge_count, .count = count,
	                                         .field = (uint8_t)field, .hole = hole, .hash = hash};
	memcpy(diagram->edges + diagram->edge_count, edges, count * sizeof(*edges));
	diagram->edge_count += count;
	HANG(diagram, node, *node);
	return 0;
}

int bh_diagram_recall(struct bh_diagram *diagram, uint32_t field, const uint32_t counts[3],
                      const uint8_t defaults[2], const uint32_t *items, uint32_t *memo, uint32_t *node)
{
	uint32_t head[4] = {field | (uint32_t)defaults[0] << 8 | (uint32_t)defaults[1] << 9, counts[0],
	                    counts[1], counts[2]};
	uint32_t size = counts[0] + counts[1] + counts[2];
	uint64_t hash = hash_of(hash_of(1, head, sizeof(head)), items, size * sizeof(*items));
	int rc;

	for (uint32_t i = first_of(&diagram->memo_heads, hash); i != NONE; i = diagram->memos[i].next) {
		const uint32_t *key = diagram->keys + diagram->memos[i].key;

		if (diagram->memos[i].hash == hash && diagram->memos[i].size == size &&
		    !memcmp(key, head, sizeof(head)) && !memcmp(key + 4, items, size * sizeof(*items))) {
			*node = diagram->memos[i].node;
			return 1;
		}
	}
	rc = RESERVE(diagram, memo, 1);
	rc = rc ? rc : RESERVE(diagram, key, 4 + (size_t)size);
	if (rc)
		return rc;
	REHASH(diagram, memo);
	*memo = (uint32_t)diagram->memo_count++;
	diagram->memos[*memo] = (struct bh_memo){.key = diagram->key_count, .size = size, .hash = hash};
	memcpy(diagram->keys + diagram->key_count, head, sizeof(head));
	memcpy(diagram->keys + diagram->key_count + 4, items, size * sizeof(*items));
	diagram->key_count += 4 + (size_t)size;
	HANG(diagram, memo, *memo);
	return 0;
}

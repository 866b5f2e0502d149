/*
 * diagram_store.h - what a diagram holds: sets, patterns, nodes and solved problems, each kept once.
 *
 * Inside filter/ only, for diagram.c. Everything grows and is freed with the diagram; every growth is
 * charged to the budget, so that memory is bounded by it.
 */
#ifndef BH_FILTER_DIAGRAM_STORE_H
#define BH_FILTER_DIAGRAM_STORE_H

#include <errno.h>

#include "diagram.h"

struct bh_kept_set {
	uint32_t next; /* of the same hash */
	uint8_t field;
	uint64_t hash;
	struct bh_set set;
};

/* A region, by the numbers of its sets. */
struct bh_pattern {
	uint32_t next;
	uint32_t stamp;
	uint8_t depth; /* fields from here on are not limited */
	uint64_t hash;
	uint32_t sets[BH_REGION_FIELDS];
};

/* A pattern and what is done with it, in one number. */
#define BH_ITEM(pattern, action) ((uint32_t)(pattern) << 2 | (uint32_t)(action))
#define BH_ITEM_PATTERN(item) ((item) >> 2)
#define BH_ITEM_ACTION(item) ((item) & 3)

struct bh_edge {
	bh_value start; /* of the values that lead to the node; they end where the next edge's start */
	uint32_t node;
};

/* Nodes below BH_CHANGES are the answers themselves. */
struct bh_node {
	uint32_t next;
	uint32_t edges; /* index */
	uint32_t count;
	uint8_t field;
	bool hole; /* BH_IGNORED is below it */
	uint64_t hash;
};

struct bh_memo {
	uint32_t next;
	uint32_t node;
	size_t key; /* index in keys */
	uint32_t size;
	uint64_t hash;
};

/* Heads of chains by hash. */
struct bh_heads {
	uint32_t *heads;
	uint32_t count; /* a power of two */
};

struct bh_items {
	uint32_t *items;
	size_t count, room;
};

struct bh_diagram {
	uint64_t budget, spent;
	uint32_t stamp;
	struct bh_items lists[3]; /* the third is what is ignored */
	struct bh_kept_set *sets;
	struct bh_pattern *patterns;
	struct bh_node *nodes;
	struct bh_edge *edges;
	struct bh_memo *memos;
	uint32_t *keys;
	size_t set_count, pattern_count, node_count, edge_count, memo_count, key_count;
	size_t set_room, pattern_room, node_room, edge_room, memo_room, key_room;
	struct bh_heads set_heads, pattern_heads, node_heads, memo_heads;
	struct bh_box *boxes;
};

/* Counts steps; -E2BIG over the budget. */
static inline int bh_diagram_spend(struct bh_diagram *diagram, uint64_t steps)
{
	diagram->spent += steps;
	return diagram->spent > diagram->budget ? -E2BIG : 0;
}

/* Says what `rc` means, and returns it. */
int bh_diagram_error(const struct bh_diagram *diagram, int rc, struct bh_error *err);

/* diagram.c: the node with these edges, which are changed; one of its children if it needs none. */
int bh_diagram_node(struct bh_diagram *diagram, int field, struct bh_edge *edges, uint32_t count,
                    uint32_t *node);
int bh_diagram_intern_node(struct bh_diagram *diagram, int field, const struct bh_edge *edges,
                           uint32_t count, bool hole, uint32_t *node);
/* 1 and the answer, if the problem was solved before; else 0 and the memo to put it into; or -errno. */
int bh_diagram_recall(struct bh_diagram *diagram, uint32_t field, const uint32_t counts[3],
                      const uint8_t defaults[2], const uint32_t *items, uint32_t *memo, uint32_t *node);

#endif

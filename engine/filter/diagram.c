/*
 * diagram.c - see diagram.h.
 *
 * A subproblem is a field and what is left of the two lists and of the ignored regions. It is put
 * into a normal form first (trim_list), so that lists that mean the same tend to be the same:
 * what stands behind a decision that takes all is dropped, so is a region named before, what says no
 * other than the default at the end, and neighbours that agree are sorted.
 */
#include "diagram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../base/buffer.h"
#include "../base/cleanup.h"
#include "diagram_store.h"

#define REPRESENTATIVES_MAX 256 /* children of a node that are tried for agreement */

/* What is left of the lists: first list 0, then list 1, then what is ignored. */
struct problem {
	uint32_t *items;
	uint32_t counts[3];
	uint8_t defaults[2];
};

struct event {
	bh_value at;
	uint32_t position; /* of an item that begins or stops to match */
};

/* One field of a problem being cut. */
struct sweep {
	const struct problem *problem;
	struct event *events;
	size_t event_count;
	uint64_t *alive; /* bit per item: patterns at this value */
	uint32_t total;
	struct bh_edge *edges;
	uint32_t edge_count;
	uint32_t *items; /* of the next problem */
};

static int solve(struct bh_diagram *diagram, struct problem *problem, int field, uint32_t *node,
                 struct bh_error *err);

static uint32_t first_limited(const struct bh_diagram *diagram, uint32_t item, int from)
{
	const struct bh_pattern *pattern = &diagram->patterns[BH_ITEM_PATTERN(item)];

	while (from < BH_REGION_FIELDS && !pattern->sets[from])
		from++;
	return (uint32_t)from;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Sorts runs of equal action. */
static void sort_runs(uint32_t *items, uint32_t count)
{
	uint32_t start = 0;

	for (uint32_t i = 1; i <= count; i++) {
		if (i < count && BH_ITEM_ACTION(items[i]) == BH_ITEM_ACTION(items[start]))
			continue;
		if (i - start > 1)
			qsort(items + start, i - start, sizeof(*items), by_number);
		start = i;
	}
}

static void trim_list(struct bh_diagram *diagram, uint32_t *items, uint32_t *count, uint8_t *otherwise,
                      int field)
{
	uint32_t kept = 0;

	diagram->stamp++;
	for (uint32_t i = 0; i < *count; i++) {
		struct bh_pattern *pattern = &diagram->patterns[BH_ITEM_PATTERN(items[i])];

		if (pattern->depth <= field) {
			*otherwise = (uint8_t)BH_ITEM_ACTION(items[i]);
			break;
		}
		if (pattern->stamp == diagram->stamp)
			continue;
		pattern->stamp = diagram->stamp;
		items[kept++] = items[i];
	}
	while (kept && BH_ITEM_ACTION(items[kept - 1]) == *otherwise)
		kept--;
	*count = kept;
}

/* Brings the problem to its normal form. True and the answer if that is enough. */
static bool trim(struct bh_diagram *diagram, struct problem *problem, int field, uint32_t *answer)
{
	uint32_t *items[3] = {problem->items, problem->items + problem->counts[0],
	                      problem->items + problem->counts[0] + problem->counts[1]};
	uint32_t *a = problem->items, *counts = problem->counts;

	for (uint32_t i = 0; i < counts[2]; i++) {
		if (diagram->patterns[BH_ITEM_PATTERN(items[2][i])].depth <= field) {
			*answer = BH_IGNORED;
			return true;
		}
	}
	for (int l = 0; l < 2; l++)
		trim_list(diagram, items[l], &counts[l], &problem->defaults[l], field);
	if (!counts[0] && !counts[1]) {
		*answer = problem->defaults[0] == problem->defaults[1] ? BH_SAME
		          : problem->defaults[1] == BH_ALLOW           ? BH_NEWLY_ALLOWED
		                                                       : BH_NEWLY_BLOCKED;
		return true;
	}
	for (int l = 0; l < 2; l++)
		sort_runs(items[l], counts[l]);
	if (problem->defaults[0] == problem->defaults[1] && counts[0] == counts[1] &&
	    !memcmp(items[0], items[1], counts[0] * sizeof(*a))) {
		*answer = BH_SAME;
		return true;
	}
	memmove(a + counts[0], items[1], counts[1] * sizeof(*a));
	memmove(a + counts[0] + counts[1], items[2], counts[2] * sizeof(*a));
	return false;
}

static int by_value(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

/* Where the items begin and stop to match in the field. */
static int sweep_events(struct bh_diagram *diagram, struct sweep *sweep, int field)
{
	size_t n = 0;

	for (uint32_t i = 0; i < sweep->total; i++) {
		uint32_t set = diagram->patterns[BH_ITEM_PATTERN(sweep->problem->items[i])].sets[field];

		n += set ? 2 * diagram->sets[set].set.count : 0;
	}
	sweep->events = malloc((n ? n : 1) * sizeof(*sweep->events));
	sweep->edges = malloc((n + 1) * sizeof(*sweep->edges));
	sweep->alive = calloc(sweep->total / 64 + 1, sizeof(*sweep->alive));
	sweep->items = malloc((sweep->total ? sweep->total : 1) * sizeof(*sweep->items));
	if (!sweep->events || !sweep->edges || !sweep->alive || !sweep->items)
		return -ENOMEM;
	for (uint32_t i = 0; i < sweep->total; i++) {
		uint32_t number = diagram->patterns[BH_ITEM_PATTERN(sweep->problem->items[i])].sets[field];
		const struct bh_set *set = &diagram->sets[number].set;

		if (!number)
			sweep->alive[i / 64] |= 1ULL << i % 64;
		for (size_t s = 0; number && s < set->count; s++) {
			sweep->events[sweep->event_count++] = (struct event){set->spans[s].first, i};
			if (set->spans[s].last != bh_region_max(field))
				sweep->events[sweep->event_count++] = (struct event){set->spans[s].last + 1, i};
		}
	}
	qsort(sweep->events, sweep->event_count, sizeof(*sweep->events), by_value);
	return bh_diagram_spend(diagram, n + sweep->total);
}

/* The problem of the items that are alive. */
static void sweep_problem(const struct sweep *sweep, struct problem *next)
{
	const uint32_t *counts = sweep->problem->counts;
	uint32_t n = 0, bounds[2] = {counts[0], counts[0] + counts[1]};

	*next = *sweep->problem;
	next->items = sweep->items;
	memset(next->counts, 0, sizeof(next->counts));
	for (uint32_t w = 0; w <= sweep->total / 64; w++) {
		for (uint64_t bits = sweep->alive[w]; bits; bits &= bits - 1) {
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(bits);

			next->items[n++] = sweep->problem->items[i];
			next->counts[i < bounds[0] ? 0 : i < bounds[1] ? 1 : 2]++;
		}
	}
}

static int sweep_run(struct bh_diagram *diagram, struct sweep *sweep, int field, uint32_t *node,
                     struct bh_error *err)
{
	size_t e = 0;
	bh_value at = 0;

	for (;;) {
		struct problem next;
		uint32_t child;
		int rc;

		for (; e < sweep->event_count && sweep->events[e].at == at; e++)
			sweep->alive[sweep->events[e].position / 64] ^= 1ULL << sweep->events[e].position % 64;
		sweep_problem(sweep, &next);
		rc = bh_diagram_spend(diagram, 1 + sweep->total / 64 + next.counts[0] + next.counts[1]);
		rc = rc ? rc : solve(diagram, &next, field + 1, &child, err);
		if (rc)
			return rc;
		if (!sweep->edge_count || sweep->edges[sweep->edge_count - 1].node != child)
			sweep->edges[sweep->edge_count++] = (struct bh_edge){at, child};
		if (e == sweep->event_count)
			break;
		at = sweep->events[e].at;
	}
	return bh_diagram_node(diagram, field, sweep->edges, sweep->edge_count, node);
}

static int solve(struct bh_diagram *diagram, struct problem *problem, int field, uint32_t *node,
                 struct bh_error *err)
{
	struct sweep sweep = {.problem = problem};
	uint32_t memo, next = BH_REGION_FIELDS;
	int rc;

	if (trim(diagram, problem, field, node))
		return 0;
	sweep.total = problem->counts[0] + problem->counts[1] + problem->counts[2];
	for (uint32_t i = 0; i < sweep.total && next > (uint32_t)field; i++) {
		uint32_t limited = first_limited(diagram, problem->items[i], field);

		next = limited < next ? limited : next;
	}
	rc = bh_diagram_recall(diagram, next, problem->counts, problem->defaults, problem->items, &memo, node);
	if (rc)
		return rc < 0 ? rc : 0;
	rc = sweep_events(diagram, &sweep, (int)next);
	rc = rc ? rc : sweep_run(diagram, &sweep, (int)next, node, err);
	if (!rc)
		diagram->memos[memo].node = *node;
	free(sweep.events);
	free(sweep.edges);
	free(sweep.alive);
	free(sweep.items);
	return rc;
}

int bh_diagram_compare(struct bh_diagram *diagram, const uint8_t defaults[2], uint32_t *root,
                       struct bh_error *err)
{
	struct problem problem = {.defaults = {defaults[0], defaults[1]}};
	BH_AUTOFREE uint32_t *items = NULL;
	size_t total = 0, n = 0;
	int rc;

	for (int l = 0; l < 3; l++)
		total += diagram->lists[l].count;
	items = malloc((total ? total : 1) * sizeof(*items));
	if (!items)
		return bh_diagram_error(diagram, -ENOMEM, err);
	for (int l = 0; l < 3; l++) {
		if (diagram->lists[l].count)
			memcpy(items + n, diagram->lists[l].items, diagram->lists[l].count * sizeof(*items));
		problem.counts[l] = (uint32_t)diagram->lists[l].count;
		n += diagram->lists[l].count;
	}
	problem.items = items;
	rc = solve(diagram, &problem, 0, root, err);
	return rc ? bh_diagram_error(diagram, rc, err) : 0;
}

/* ---- nodes ---- */

static bool has_hole(const struct bh_diagram *diagram, uint32_t node)
{
	return node == BH_IGNORED || (node >= BH_CHANGES && diagram->nodes[node].hole);
}

/* The edges of a node at a field it may not look at. */
static const struct bh_edge *edges_at(const struct bh_diagram *diagram, uint32_t node, int field,
                                      struct bh_edge *whole, uint32_t *count)
{
	const struct bh_node *n = node < BH_CHANGES ? NULL : &diagram->nodes[node];

	if (n && n->field == field) {
		*count = n->count;
		return diagram->edges + n->edges;
	}
	*whole = (struct bh_edge){0, node};
	*count = 1;
	return whole;
}

static int field_of(const struct bh_diagram *diagram, uint32_t node)
{
	return node < BH_CHANGES ? BH_REGION_FIELDS : diagram->nodes[node].field;
}

/* The node that agrees with both wherever they say something: 1; 0 if they disagree; or -errno. */
static int agree(struct bh_diagram *diagram, uint32_t x, uint32_t y, uint32_t *node)
{
	int field = field_of(diagram, x), other = field_of(diagram, y), rc = 1;
	uint32_t nx, ny, i = 0, j = 0, n = 0, child;
	BH_AUTOFREE struct bh_edge *edges = NULL;
	const struct bh_edge *ex, *ey;
	struct bh_edge wx, wy;
	bh_value at = 0;

	if (x == y || x == BH_IGNORED || y == BH_IGNORED) {
		*node = x == BH_IGNORED ? y : x;
		return 1;
	}
	if (!has_hole(diagram, x) && !has_hole(diagram, y))
		return 0;
	if (x < BH_CHANGES && y < BH_CHANGES)
		return 0;
	field = field < other ? field : other;
	edges_at(diagram, x, field, &wx, &nx);
	edges_at(diagram, y, field, &wy, &ny);
	if (bh_diagram_spend(diagram, nx + ny))
		return -E2BIG;
	edges = malloc((nx + ny) * sizeof(*edges));
	if (!edges)
		return -ENOMEM;
	for (;;) {
		/* Looked up anew each time: nodes made below may move the others. */
		ex = edges_at(diagram, x, field, &wx, &nx);
		ey = edges_at(diagram, y, field, &wy, &ny);
		rc = agree(diagram, ex[i].node, ey[j].node, &child);
		if (rc <= 0)
			return rc;
		ex = edges_at(diagram, x, field, &wx, &nx);
		ey = edges_at(diagram, y, field, &wy, &ny);
		edges[n++] = (struct bh_edge){at, child};
		if (i + 1 == nx && j + 1 == ny)
			break;
		if (j + 1 == ny || (i + 1 < nx && ex[i + 1].start < ey[j + 1].start)) {
			at = ex[++i].start;
		} else {
			if (i + 1 < nx && ex[i + 1].start == ey[j + 1].start)
				i++;
			at = ey[++j].start;
		}
	}
	rc = bh_diagram_node(diagram, field, edges, n, node);
	return rc ? rc : 1;
}

/* Replaces children that agree by one that agrees with all of them. */
static int unify(struct bh_diagram *diagram, struct bh_edge *edges, uint32_t count)
{
	uint32_t kinds[REPRESENTATIVES_MAX], now[REPRESENTATIVES_MAX], n = 0, k;
	bool holes = false;

	for (uint32_t i = 0; i < count; i++)
		holes = holes || (edges[i].node != BH_IGNORED && has_hole(diagram, edges[i].node));
	for (uint32_t i = 0; holes && i < count; i++) {
		for (k = 0; k < n && kinds[k] != edges[i].node; k++)
			;
		if (k < n || edges[i].node == BH_IGNORED)
			continue;
		if (n == REPRESENTATIVES_MAX)
			return 0;
		kinds[n++] = edges[i].node;
	}
	memcpy(now, kinds, n * sizeof(*now));
	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t j = 0; j < i; j++) {
			uint32_t node, old = now[j];
			int rc = agree(diagram, old, now[i], &node);

			if (rc < 0)
				return rc;
			if (!rc)
				continue;
			for (k = 0; k < i; k++)
				if (now[k] == old)
					now[k] = node;
			now[i] = node;
			break;
		}
	}
	for (uint32_t i = 0; i < count; i++)
		for (k = 0; k < n; k++)
			if (edges[i].node == kinds[k]) {
				edges[i].node = now[k];
				break;
			}
	return 0;
}

int bh_diagram_node(struct bh_diagram *diagram, int field, struct bh_edge *edges, uint32_t count,
                    uint32_t *node)
{
	uint32_t only = BH_IGNORED, kept = 0;
	bool hole = false;
	int rc = unify(diagram, edges, count);

	if (rc)
		return rc;
	for (uint32_t i = 0; i < count; i++) {
		if (kept && edges[kept - 1].node == edges[i].node)
			continue;
		edges[kept++] = edges[i];
		hole = hole || has_hole(diagram, edges[i].node);
	}
	for (uint32_t i = 0; i < kept; i++) {
		if (edges[i].node == BH_IGNORED)
			continue;
		if (only != BH_IGNORED && only != edges[i].node)
			return bh_diagram_intern_node(diagram, field, edges, kept, hole, node);
		only = edges[i].node;
	}
	*node = only;
	return 0;
}

/* ---- boxes ---- */

struct walk {
	struct bh_buffer boxes; /* struct bh_box */
	struct bh_box box;
};

static int walk_node(struct bh_diagram *diagram, struct walk *walk, uint32_t node)
{
	struct bh_node n;
	int rc = 0;

	if (node < BH_CHANGES) {
		walk->box.change = node;
		if (node == BH_NEWLY_ALLOWED || node == BH_NEWLY_BLOCKED)
			bh_buffer_append(&walk->boxes, &walk->box, sizeof(walk->box));
		return walk->boxes.failed ? -ENOMEM : bh_diagram_spend(diagram, 32);
	}
	n = diagram->nodes[node];
	for (uint32_t i = 0; !rc && i < n.count; i++) {
		const struct bh_edge *edges = diagram->edges + n.edges;
		uint32_t child = edges[i].node, j = 0;
		struct bh_set set = {0};

		while (edges[j].node != child)
			j++;
		if (j < i || child == BH_SAME || child == BH_IGNORED)
			continue; /* seen; nothing there */
		for (j = i; !rc && j < n.count; j++)
			if (edges[j].node == child)
				rc = bh_set_add(&set, edges[j].start,
				                j + 1 < n.count ? edges[j + 1].start - 1 : bh_region_max(n.field));
		rc = rc ? rc : bh_diagram_spend(diagram, n.count);
		rc = rc ? rc : bh_diagram_number(diagram, n.field, &set, &walk->box.sets[n.field]);
		bh_set_clear(&set);
		rc = rc ? rc : walk_node(diagram, walk, child);
		walk->box.sets[n.field] = 0;
	}
	return rc;
}

int bh_diagram_boxes(struct bh_diagram *diagram, uint32_t root, struct bh_box **boxes, size_t *count,
                     struct bh_error *err)
{
	struct walk walk = {.box = {.change = BH_SAME}};
	int rc;

	bh_buffer_init(&walk.boxes);
	rc = walk_node(diagram, &walk, root);
	if (rc) {
		bh_buffer_clear(&walk.boxes);
		return bh_diagram_error(diagram, rc, err);
	}
	free(diagram->boxes);
	*count = walk.boxes.size / sizeof(**boxes);
	diagram->boxes = (struct bh_box *)bh_buffer_take(&walk.boxes);
	*boxes = diagram->boxes;
	return 0;
}

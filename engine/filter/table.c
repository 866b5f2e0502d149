/*
 * table.c - rules to a table's bytes (table.h).
 *
 * A rule is a box for each combination of what it lists, in the domain of each family. One of which
 * there would be far more combinations than elements, or for whose boxes there is no room, goes to
 * the direction's run of blocks instead, which has an end, too: so no table takes more than it may.
 */
#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"
#include "blocks.h"
#include "covers.h"
#include "ranks.h"
#include "trees.h"

#define BOXES_FREE 131072  /* boxes that rules of many combinations may make altogether */
#define BOXES_OF_ONE 4096  /* and one of them */
#define BOX_BYTES 96       /* of room for trees a box … */
#define BOX_BYTES_MORE 400 /* … and for so many of the first */
#define BOXES_MORE 4096
#define WORK 200000   /* boxes looked at for the best trees … */
#define WORK_BOX 1000 /* … and as many more a box */

/* A box before addresses are ranked. */
struct raw_box {
	struct bh_range addresses[2];
	struct bh_lanes_box lanes;
};

struct raw_boxes {
	struct raw_box *boxes;
	uint32_t count, room;
};

struct compiling {
	struct raw_boxes domains[BH_DOMAINS];
	struct bh_blocks blocks[2];
	uint32_t blocks_best[2];
	struct bh_spans (*spans)[BH_FIELDS]; /* of rules in blocks; pieces point into them */
	uint32_t spans_count;
	struct bh_entry *entries; /* by label */
	uint64_t boxes, boxes_free, boxes_most;
	struct bh_trees trees;
	struct bh_table_head head;
	struct bh_domain made[BH_DOMAINS];
};

static const struct bh_range mapped = {{0, BH_V4_MAPPED}, {0, BH_V4_MAPPED | 0xffffffff}};

static int no_memory(struct bh_error *err)
{
	return bh_error_set(err, -ENOMEM, "not enough memory to compile a table");
}

static int too_large(size_t max_bytes, struct bh_error *err)
{
	return bh_error_set(err, -E2BIG, "the compiled table is larger than its limit of %zu bytes", max_bytes);
}

/* ---- boxes ---- */

/* The part of a range in a family; IPv6 never has the addresses that stand for IPv4. */
static bool clip(struct bh_range *to, const struct bh_range *range, bool v6)
{
	*to = *range;
	if (v6)
		return !bh_range_contains(&mapped, &range->first) || !bh_range_contains(&mapped, &range->last);
	if (bh_address_below(&to->first, &mapped.first))
		to->first = mapped.first;
	if (bh_address_below(&mapped.last, &to->last))
		to->last = mapped.last;
	return !bh_address_below(&to->last, &to->first);
}

/* The lanes of a service; false where the family has no such protocol. */
static bool set_service(struct bh_lanes_box *box, const struct bh_range *service, bool v6)
{
	uint32_t first = (uint32_t)service->first.lo, last = (uint32_t)service->last.lo;

	box->first[BH_LOCAL_PORT] = first & 0xffff;
	box->last[BH_LOCAL_PORT] = last & 0xffff;
	box->first[BH_PROTOCOL] = first >> 16 & 0xff;
	box->last[BH_PROTOCOL] = last >> 16 & 0xff;
	return first >> 16 != last >> 16 || first >> 16 != (v6 ? BH_PROTO_ICMP : BH_PROTO_ICMP6);
}

static int add_box(struct compiling *compiling, const struct bh_range *const at[BH_FIELDS],
                   enum bh_direction direction, bool v6, uint32_t label)
{
	struct raw_boxes *boxes = &compiling->domains[bh_domain_of(v6, direction)];
	struct raw_box box = {.lanes.label = label};

	if (!clip(&box.addresses[0], at[BH_FIELD_LOCAL], v6) ||
	    !clip(&box.addresses[1], at[BH_FIELD_REMOTE], v6) ||
	    !set_service(&box.lanes, at[BH_FIELD_SERVICE], v6))
		return 0;
	box.lanes.first[BH_REMOTE_PORT] = (uint32_t)at[BH_FIELD_REMOTE_PORT]->first.lo;
	box.lanes.last[BH_REMOTE_PORT] = (uint32_t)at[BH_FIELD_REMOTE_PORT]->last.lo;
	for (int a = 0; a < 2; a++) {
		box.lanes.first[a ? BH_REMOTE : BH_LOCAL] = (uint32_t)box.addresses[a].first.lo;
		box.lanes.last[a ? BH_REMOTE : BH_LOCAL] = (uint32_t)box.addresses[a].last.lo;
	}
	if (boxes->count == boxes->room) {
		uint32_t room = boxes->room ? boxes->room * 2 : 64;
		struct raw_box *more = realloc(boxes->boxes, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		boxes->boxes = more;
		boxes->room = room;
	}
	boxes->boxes[boxes->count++] = box;
	return 0;
}

static int add_boxes(struct compiling *compiling, const struct bh_spans spans[BH_FIELDS],
                     enum bh_direction direction, uint32_t label)
{
	size_t at[BH_FIELDS] = {0};
	int rc = 0, f;

	do {
		const struct bh_range *ranges[BH_FIELDS];

		for (f = 0; f < BH_FIELDS; f++)
			ranges[f] = &spans[f].ranges[at[f]];
		rc = add_box(compiling, ranges, direction, false, label);
		rc = rc ? rc : add_box(compiling, ranges, direction, true, label);
		for (f = BH_FIELDS - 1; f >= 0 && ++at[f] == spans[f].count; f--)
			at[f] = 0;
	} while (!rc && f >= 0);
	return rc;
}

/* Whether a rule of so many combinations is to be boxes. */
static bool take_boxes(struct compiling *compiling, uint64_t combinations, uint64_t listed)
{
	uint64_t boxes = compiling->boxes + combinations;

	if (boxes > compiling->boxes_most)
		return false;
	if (combinations > 2 * listed + 16) {
		if (combinations > BOXES_OF_ONE || combinations > compiling->boxes_free)
			return false;
		compiling->boxes_free -= combinations;
	}
	compiling->boxes = boxes;
	return true;
}

static int add_rule(struct compiling *compiling, const struct bh_rule *rule, const struct bh_words *words,
                    uint32_t label)
{
	struct bh_spans *spans = compiling->spans[compiling->spans_count];
	struct bh_entry entry = {.rule = label};
	uint64_t combinations = 1, listed = 0;
	int rc = bh_spans_of_rule(spans, rule, words);

	for (int f = 0; f < BH_FIELDS; f++) {
		combinations = combinations > UINT32_MAX ? combinations : combinations * spans[f].count;
		listed += spans[f].count;
	}
	if (!rc && combinations && !take_boxes(compiling, combinations, listed)) {
		bh_blocks_add(&compiling->blocks[rule->direction], &entry, spans);
		if (label < compiling->blocks_best[rule->direction])
			compiling->blocks_best[rule->direction] = label;
		compiling->spans_count++; /* kept */
		return 0;
	}
	if (!rc && combinations)
		rc = add_boxes(compiling, spans, rule->direction, label);
	for (int f = 0; f < BH_FIELDS; f++)
		bh_spans_clear(&spans[f]);
	return rc;
}

static void entry_of(struct bh_entry *entry, const struct bh_rule *rule)
{
	entry->rule = rule->id;
	entry->priority = rule->priority;
	entry->flags = (uint16_t)((rule->action == BH_BLOCK ? BH_ENTRY_BLOCK : 0) |
	                          (rule->audit ? BH_ENTRY_AUDIT : 0) | (rule->log ? BH_ENTRY_LOG : 0));
}

/* Behind all leaves, so that a run of cubes read at once ends inside the table. Only blocks look entries up. */
static int add_entries(struct compiling *compiling, uint32_t count)
{
	bool asked = compiling->blocks[BH_IN].count || compiling->blocks[BH_OUT].count;
	uint32_t size = asked ? count * (uint32_t)sizeof(struct bh_entry) : 0;
	uint32_t entries = bh_trees_room(&compiling->trees, size < BH_RUN ? BH_RUN : size, 64);

	if (compiling->trees.failed)
		return -ENOMEM;
	compiling->head.entries = entries;
	compiling->head.rules = count;
	if (size)
		memcpy(compiling->trees.bytes.data + entries, compiling->entries, size);
	return 0;
}

static int add_rules(struct compiling *compiling, const struct bh_ruleset *ruleset)
{
	uint32_t count = (uint32_t)bh_ruleset_count(ruleset);
	int rc = 0;

	compiling->trees.entries = compiling->entries;
	bh_trees_room(&compiling->trees, sizeof(struct bh_table_head) + sizeof(compiling->made), 64);
	for (uint32_t i = 0; i < count; i++)
		entry_of(&compiling->entries[i], bh_ruleset_at(ruleset, i));
	for (uint32_t i = 0; !rc && i < count; i++)
		rc = add_rule(compiling, bh_ruleset_at(ruleset, i), bh_ruleset_words(ruleset), i);
	for (int d = BH_IN; d <= BH_OUT; d++) {
		int full = bh_blocks_finish(&compiling->blocks[d]);

		rc = rc ? rc : full;
	}
	return rc ? rc : compiling->trees.failed ? -ENOMEM : 0;
}

/* ---- ranks ---- */

static bool is_last(const struct bh_address *address)
{
	return address->hi == ~0ULL && address->lo == ~0ULL;
}

/* The bounds of one side's addresses, sorted, and their ranks. */
struct scale {
	struct bh_address *bounds;
	uint32_t *ranks;
	uint32_t count;
};

static void scale_clear(struct scale *scale)
{
	free(scale->bounds);
	free(scale->ranks);
	memset(scale, 0, sizeof(*scale));
}

/* Puts ranks in the place of one side's addresses. */
static int rank_side(struct scale *scale, struct raw_boxes *boxes, int side)
{
	size_t room = 4 * (size_t)boxes->count + 1; /* for bounds and the first of their networks */
	uint32_t n = 0, lane = side ? BH_REMOTE : BH_LOCAL;

	scale_clear(scale);
	scale->bounds = malloc(room * sizeof(*scale->bounds));
	scale->ranks = malloc(room * sizeof(*scale->ranks));
	if (!scale->bounds || !scale->ranks)
		return -ENOMEM;
	scale->bounds[n++] = (struct bh_address){0, 0};
	for (uint32_t i = 0; i < boxes->count; i++) {
		const struct bh_range *range = &boxes->boxes[i].addresses[side];

		scale->bounds[n++] = range->first;
		if (!is_last(&range->last))
			scale->bounds[n++] = bh_address_next(range->last);
	}
	scale->count = n = bh_ranks_sort(scale->bounds, n);
	bh_ranks_number(scale->bounds, n, scale->ranks);
	for (uint32_t i = 0; i < boxes->count; i++) {
		const struct bh_range *range = &boxes->boxes[i].addresses[side];
		struct bh_lanes_box *lanes = &boxes->boxes[i].lanes;
		struct bh_address after = bh_address_next(range->last);

		lanes->first[lane] = scale->ranks[bh_ranks_find(scale->bounds, n, &range->first)];
		lanes->last[lane] = is_last(&range->last) ? 0xffffffff
		                                          : scale->ranks[bh_ranks_find(scale->bounds, n, &after)] - 1;
	}
	return 0;
}

/* Leaves out boxes that cannot win; the others as lanes. How many. */
static uint32_t take_lanes(struct raw_boxes *raw, struct bh_lanes_box *boxes)
{
	uint32_t kept;

	for (uint32_t i = 0; i < raw->count; i++) {
		boxes[i] = raw->boxes[i].lanes;
		boxes[i].label = i;
	}
	kept = bh_covers_drop(boxes, raw->count);
	for (uint32_t i = 0; i < kept; i++) {
		raw->boxes[i] = raw->boxes[boxes[i].label];
		boxes[i] = raw->boxes[i].lanes;
	}
	return kept;
}

/*
 * The boxes of an IPv6 domain as lanes, and what finds ranks. Those that cannot win are left out before, with the
 * bounds that only they have. Adds to `steps` what finding both ranks of a packet may take.
 */
static int rank_boxes(struct compiling *compiling, uint32_t which, struct bh_lanes_box *boxes, uint32_t *steps)
{
	struct raw_boxes *raw = &compiling->domains[which];
	struct scale scales[2] = {{NULL, NULL, 0}, {NULL, NULL, 0}};
	uint32_t before = 0;
	int rc = 0;

	while (!rc && raw->count != before) {
		before = raw->count;
		for (int side = 0; !rc && side < 2; side++)
			rc = rank_side(&scales[side], raw, side);
		raw->count = rc ? before : take_lanes(raw, boxes);
	}
	for (int side = 0; side < 2 && raw->count; side++) {
		if (!rc)
			*steps += bh_ranks_put(&compiling->trees, &compiling->made[which].ranks[side], scales[side].bounds,
			                       scales[side].ranks, scales[side].count);
		scale_clear(&scales[side]);
	}
	return rc ? rc : compiling->trees.failed ? -ENOMEM : 0;
}

/* ---- the whole ---- */

static int make_domain(struct compiling *compiling, uint32_t which, size_t max_bytes)
{
	struct raw_boxes *raw = &compiling->domains[which];
	struct bh_domain *domain = &compiling->made[which];
	BH_AUTOFREE struct bh_lanes_box *boxes = malloc((raw->count + 1) * sizeof(*boxes));
	uint32_t count, steps = 0;
	size_t room, most;
	int rc = boxes ? 0 : -ENOMEM;

	if (!rc && which >= 2)
		rc = rank_boxes(compiling, which, boxes, &steps);
	if (rc)
		return rc;
	if (which < 2)
		raw->count = take_lanes(raw, boxes);
	count = raw->count;
	room = (size_t)count * BOX_BYTES + (size_t)(count < BOXES_MORE ? count : BOXES_MORE) * BOX_BYTES_MORE + 4096;
	most = max_bytes / BH_DOMAINS + (size_t)count * 64;
	if (which < 2 && !compiling->blocks[which].count)
		rc = bh_table_rows_put(&compiling->trees, domain, boxes, count, compiling->entries,
		                       max_bytes / BH_DOMAINS);
	if (rc < 0)
		return rc;
	compiling->trees.work = WORK + (uint64_t)count * WORK_BOX;
	bh_trees_grow(&compiling->trees, domain, boxes, rc ? 0 : count, which >= 2, room < most ? room : most);
	domain->blocks_best = compiling->blocks_best[which & 1];
	domain->blocks_count = compiling->blocks[which & 1].count;
	if (steps > compiling->head.most_rank_steps)
		compiling->head.most_rank_steps = steps;
	if (domain->blocks_count > compiling->head.most_blocks)
		compiling->head.most_blocks = domain->blocks_count;
	return compiling->trees.failed ? -ENOMEM : 0;
}

static int add_blocks(struct compiling *compiling)
{
	for (uint32_t d = 0; d < 2; d++) {
		const struct bh_buffer *pages = &compiling->blocks[d].pages;
		uint32_t at = bh_trees_room(&compiling->trees, pages->size, 64);

		if (pages->failed || compiling->trees.failed)
			return -ENOMEM;
		if (pages->size)
			memcpy(compiling->trees.bytes.data + at, pages->data, pages->size);
		for (uint32_t v6 = 0; v6 < 2; v6++)
			compiling->made[bh_domain_of(v6, d)].blocks = at;
	}
	return 0;
}

/* What only the whole table knows: where the entries are, and where a root's only child is. */
static void finish_domain(const struct bh_table_head *head, struct bh_domain *domain, uint32_t d)
{
	domain->entries = head->entries;
	domain->rules = head->rules;
	for (uint32_t t = 0; t < BH_TREES; t++)
		if (!domain->roots[t].children)
			domain->roots[t].children = (uint32_t)(sizeof(*head) + d * sizeof(*domain) +
			                                       offsetof(struct bh_domain, roots[t].only));
}

static int compile(struct compiling *compiling, const struct bh_ruleset *ruleset, size_t max_bytes)
{
	struct bh_table_head *head = &compiling->head;
	int rc = add_rules(compiling, ruleset);

	for (uint32_t d = 0; !rc && d < BH_DOMAINS; d++)
		rc = make_domain(compiling, d, max_bytes);
	rc = rc ? rc : add_blocks(compiling);
	rc = rc ? rc : add_entries(compiling, (uint32_t)bh_ruleset_count(ruleset));
	if (rc)
		return rc;
	head->size = bh_trees_room(&compiling->trees, 0, 64);
	if (compiling->trees.failed)
		return -ENOMEM;
	head->magic = BH_TABLE_MAGIC;
	head->most_nodes = compiling->trees.most_nodes;
	head->most_cubes = compiling->trees.most_cubes;
	head->nobody[1] = 1;
	head->cubes = compiling->trees.cubes;
	head->nodes = compiling->trees.nodes;
	for (uint32_t d = 0; d < BH_DOMAINS; d++)
		finish_domain(head, &compiling->made[d], d);
	memcpy(compiling->trees.bytes.data, head, sizeof(*head));
	memcpy(compiling->trees.bytes.data + sizeof(*head), compiling->made, sizeof(compiling->made));
	return head->size > max_bytes ? -E2BIG : 0;
}

static void compiling_clear(struct compiling *compiling)
{
	for (uint32_t i = 0; compiling->spans && i < compiling->spans_count; i++)
		for (size_t f = 0; f < BH_FIELDS; f++)
			bh_spans_clear(&compiling->spans[i][f]);
	for (int d = 0; d < BH_DOMAINS; d++)
		free(compiling->domains[d].boxes);
	for (int d = 0; d < 2; d++)
		bh_blocks_clear(&compiling->blocks[d]);
	free(compiling->spans);
	free(compiling->entries);
	bh_trees_clear(&compiling->trees);
}

int bh_table_compile(struct bh_table **out, const struct bh_ruleset *ruleset, size_t max_bytes,
                     struct bh_error *err)
{
	size_t count = bh_ruleset_count(ruleset);
	struct compiling compiling = {
		.spans = calloc(count + 1, sizeof(*compiling.spans)),
		.entries = calloc(count + 1, sizeof(*compiling.entries)),
		.blocks_best = {BH_NO_LABEL, BH_NO_LABEL},
		.boxes_free = BOXES_FREE,
		.boxes_most = max_bytes / (5 * 64),
	};
	struct bh_table *table = calloc(1, sizeof(*table));
	int rc = 0;

	max_bytes = max_bytes < BH_TABLE_MAX ? max_bytes : BH_TABLE_MAX;
	for (int d = 0; d < 2; d++)
		rc = rc ? rc : bh_blocks_init(&compiling.blocks[d], (uint32_t)(max_bytes / BH_PAGE_ROOM));
	if (!rc && (!compiling.spans || !compiling.entries || !table))
		rc = -ENOMEM;
	if (!rc)
		rc = count >= BH_NO_LABEL ? -E2BIG : compile(&compiling, ruleset, max_bytes);
	if (!rc) {
		table->size = compiling.head.size;
		bh_trees_room(&compiling.trees, 0, 64);
		table->bytes = (uint8_t *)bh_buffer_take(&compiling.trees.bytes);
		rc = table->bytes ? 0 : -ENOMEM;
	}
	compiling_clear(&compiling);
	if (rc) {
		free(table);
		return rc == -E2BIG ? too_large(max_bytes, err) : no_memory(err);
	}
	*out = table;
	return 0;
}

void bh_table_free(struct bh_table **table)
{
	if (*table)
		free((*table)->bytes);
	free(*table);
	*table = NULL;
}

/* ---- lookups ---- */

static uint64_t ranks(const void *chunk, uint32_t at, uint32_t domain, const struct bh_key *key)
{
	struct bh_place place = {chunk, at};

	return bh_ranks_of(&place, domain, key, 0);
}

static long scan_step(uint32_t index, void *arg)
{
	(void)index;
	return bh_scan_step(arg, 0);
}

static uint32_t far(const void *chunk, uint32_t leaf, uint32_t at, uint64_t local,
                    uint64_t remote)
{
	struct bh_place place = {chunk, at};

	return bh_scan_far(&place, leaf, local, remote, scan_step, 0);
}

static long run_step(uint32_t index, void *arg)
{
	(void)index;
	return bh_run_step(arg, 0);
}

static uint32_t run_blocks(const void *chunk, uint32_t blocks, uint32_t count, const struct bh_key *key)
{
	struct bh_place place = {chunk, blocks};

	return bh_run_first(&place, count, key, run_step);
}

int bh_table_find(const void *bytes, const struct bh_key *key, struct bh_entry *entry)
{
	struct bh_place place = {bytes, 0};
	const struct bh_entry *found = bytes ? bh_place_lookup(&place, key, ranks, far, run_blocks, 0) : NULL;

	if (found)
		*entry = *found;
	return found != NULL;
}

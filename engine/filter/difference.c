/*
 * difference.c - see difference.h. The diagram finds the boxes; here they are merged to classes, put
 * in order and given examples, each of which the plain rulesets are asked about.
 */
#include "difference.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boxes.h"
#include "identity.h"

#define V4_OF(a, b, c, d) ((bh_value)(BH_V4_MAPPED | (uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d)))

/* The ignored regions, for finding examples outside of them. */
struct ignored {
	size_t count, room;
	struct bh_region *regions; /* owned */
};

/* What is being put together. */
struct work {
	struct bh_diagram *diagram;
	const struct bh_side *sides;
	struct ignored ignored;
	struct bh_error *err;
	int list; /* whose block the region is; 2 = ignored */
};

/* ---- sides ---- */

static const struct bh_words *side_words(const struct bh_side *side)
{
	const struct bh_words *words = side->rulesets[0] ? bh_ruleset_words(side->rulesets[0]) : NULL;

	return words || !side->rulesets[1] ? words : bh_ruleset_words(side->rulesets[1]);
}

const struct bh_rule *bh_side_next(const struct bh_side *side, size_t at[2])
{
	const struct bh_rule *found[2] = {NULL, NULL};
	int which;

	for (int i = 0; i < 2; i++)
		if (side->rulesets[i] && at[i] < bh_ruleset_count(side->rulesets[i]))
			found[i] = bh_ruleset_at(side->rulesets[i], at[i]);
	if (!found[0] && !found[1])
		return NULL;
	which = !found[0] || (found[1] && bh_rule_precedes(found[1], found[0]));
	at[which]++;
	return found[which];
}

static uint8_t side_action(const struct bh_side *side, const struct bh_rule *rule)
{
	if (side->only)
		return rule == side->only ? BH_ALLOW : BH_BLOCK;
	return rule->action == BH_BLOCK && !rule->audit ? BH_BLOCK : BH_ALLOW;
}

static uint8_t side_default(const struct bh_side *side, uint8_t direction)
{
	if (side->only || side->nothing)
		return BH_BLOCK;
	return side->conf->flags & (direction == BH_IN ? BH_CONF_BLOCK_IN : BH_CONF_BLOCK_OUT) ? BH_BLOCK
	                                                                                       : BH_ALLOW;
}

struct spoofing {
	const struct bh_key *key;
};

static int find_spoof(const struct bh_region *region, void *arg)
{
	const struct spoofing *spoofing = arg;

	return bh_region_contains(region, spoofing->key);
}

void bh_side_decide(const struct bh_side *side, const struct bh_key *key, struct bh_decider *decider)
{
	const struct bh_words *words = side_words(side);
	struct spoofing spoofing = {key};
	const struct bh_rule *rule;
	size_t at[2] = {0, 0};

	*decider = (struct bh_decider){BH_BLOCK, BH_BY_SPOOF, NULL};
	for (int part = BH_PART_ROUTER; part < BH_PARTS; part++)
		if (bh_identity_has(side->conf, part) && bh_identity_each(side->conf, part, find_spoof, &spoofing) > 0)
			return;
	decider->by = BH_BY_RULE;
	if (side->first && bh_rule_matches(side->first, words, key)) {
		decider->action = side_action(side, side->first);
		decider->rule = side->first;
		return;
	}
	while (!side->nothing && (rule = bh_side_next(side, at))) {
		if (rule == side->without || !bh_rule_matches(rule, words, key))
			continue;
		decider->action = side_action(side, rule);
		decider->rule = rule;
		return;
	}
	decider->action = side_default(side, key->direction);
	decider->by = BH_BY_DEFAULT;
}

/* ---- the lists of the diagram ---- */

static int ignore_region(struct work *work, const struct bh_region *region)
{
	struct ignored *ignored = &work->ignored;
	size_t room = ignored->room ? ignored->room * 2 : 16;
	struct bh_region *regions, *copy;
	int rc = 0;

	if (ignored->count == ignored->room) {
		regions = realloc(ignored->regions, room * sizeof(*regions));
		if (!regions)
			return -ENOMEM;
		ignored->regions = regions;
		ignored->room = room;
	}
	copy = &ignored->regions[ignored->count++];
	memset(copy, 0, sizeof(*copy));
	for (int f = 0; !rc && f < BH_REGION_FIELDS; f++)
		rc = bh_set_add_set(&copy->sets[f], &region->sets[f]);
	return rc ? rc : bh_diagram_add(work->diagram, 0, BH_CHANGES, region, work->err);
}

static int add_identity(const struct bh_region *region, void *arg)
{
	struct work *work = arg;

	if (work->list == 2)
		return ignore_region(work, region);
	return bh_diagram_add(work->diagram, work->list, BH_BLOCK, region, work->err);
}

static int add_identities(struct work *work)
{
	const struct bh_conf *a = work->sides[0].conf, *b = work->sides[1].conf;
	int rc = 0;

	for (int part = 0; !rc && part < BH_PARTS; part++) {
		bool in_a = bh_identity_has(a, part), in_b = bh_identity_has(b, part);

		if (!in_a && !in_b)
			continue;
		work->list = in_a && in_b ? 2 : in_a ? 0 : 1;
		rc = bh_identity_each(in_a ? a : b, part, add_identity, work);
	}
	return rc;
}

static int add_rule(struct work *work, int list, const struct bh_rule *rule)
{
	const struct bh_side *side = &work->sides[list];
	struct bh_region region = {0};
	int rc = bh_region_of_rule(&region, rule, side_words(side));

	rc = rc ? rc : bh_diagram_add(work->diagram, list, side_action(side, rule), &region, work->err);
	bh_region_clear(&region);
	return rc;
}

/* A default is a region like any other: one of a direction. */
static int add_side(struct work *work, int list)
{
	const struct bh_side *side = &work->sides[list];
	const struct bh_rule *rule;
	size_t at[2] = {0, 0};
	struct bh_region region;
	int rc = side->first ? add_rule(work, list, side->first) : 0;

	while (!rc && !side->nothing && (rule = bh_side_next(side, at)))
		if (rule != side->without)
			rc = add_rule(work, list, rule);
	for (uint8_t direction = BH_IN; !rc && direction <= BH_OUT; direction++) {
		rc = bh_region_init(&region);
		rc = rc ? rc : bh_region_limit(&region, BH_REGION_DIRECTION, direction, direction);
		rc = rc ? rc : bh_diagram_add(work->diagram, list, side_default(side, direction), &region, work->err);
		bh_region_clear(&region);
	}
	return rc;
}

/* ---- examples ---- */

/* Values people know, tried first. */
static size_t preferred(const struct bh_conf *conf, int field, const bh_value chosen[], bh_value *values)
{
	static const uint64_t docs = 0x20010db800000000ULL, own6 = 0xfd00001600000000ULL,
	                      all_nodes = 0xff02000000000000ULL;
	bool in = chosen[BH_REGION_DIRECTION] == BH_IN;
	bh_value protocol = field > BH_REGION_PROTOCOL ? chosen[BH_REGION_PROTOCOL] : 0;
	size_t n = 0;

	switch (field) {
	case BH_REGION_PROTOCOL:
		memcpy(values, (bh_value[]){6, 17, 1, 58}, 4 * sizeof(*values));
		return 4;
	case BH_REGION_LOCAL_PORT:
		values[0] = protocol == 1 ? 8 << 8 : protocol == 58 ? 128 << 8 : in ? 80 : 40000;
		values[1] = in ? 8080 : 50000;
		return 2;
	case BH_REGION_REMOTE_PORT:
		memcpy(values, in ? (bh_value[]){51000, 50000} : (bh_value[]){80, 443}, 2 * sizeof(*values));
		return 2;
	case BH_REGION_REMOTE:
		values[0] = V4_OF(10, 0, 0, 9);
		values[1] = V4_OF(192, 0, 2, 9);
		values[2] = (bh_value)docs << 64 | 9;
		return 3;
	case BH_REGION_LOCAL:
		for (; n < conf->addresses_count; n++)
			values[n] = bh_region_value(&conf->addresses[n]);
		values[n++] = V4_OF(172, 16, 0, 2);
		values[n++] = (bh_value)own6 << 64 | 2;
		/* What may be sent to whoever has no address of the family. */
		values[n++] = V4_OF(224, 0, 0, 1);
		values[n++] = (bh_value)all_nodes << 64 | 1;
		return n;
	default:
		return 0;
	}
}

struct search {
	const struct work *work;
	const struct bh_box *box;
	bh_value chosen[BH_REGION_FIELDS];
};

static bool search_field(struct search *search, int field);

/* Takes the value if the set has it and the rest can be found too. */
static bool search_value(struct search *search, int field, bh_value value)
{
	const struct bh_set *set = bh_diagram_set(search->work->diagram, field, search->box->sets[field]);

	if (!bh_set_contains(set, value))
		return false;
	search->chosen[field] = value;
	return search_field(search, field + 1);
}

/* Whether the values chosen so far are in the region and the rest of it is not limited. */
static bool is_ignored(const struct search *search, const struct bh_region *region, int fields)
{
	for (int f = 0; f < BH_REGION_FIELDS; f++)
		if (f < fields ? !bh_set_contains(&region->sets[f], search->chosen[f])
		               : !bh_set_is_all(&region->sets[f], f))
			return false;
	return true;
}

static bool search_field(struct search *search, int field)
{
	const struct ignored *ignored = &search->work->ignored;
	bh_value values[BH_ADDRESSES_MAX + 4];
	const struct bh_set *set;
	size_t n;

	for (size_t i = 0; i < ignored->count; i++)
		if (is_ignored(search, &ignored->regions[i], field))
			return false;
	if (field == BH_REGION_FIELDS)
		return true;
	n = preferred(search->work->sides[0].conf, field, search->chosen, values);
	for (size_t i = 0; i < n; i++)
		if (search_value(search, field, values[i]))
			return true;
	set = bh_diagram_set(search->work->diagram, field, search->box->sets[field]);
	for (size_t s = 0; s < set->count; s++)
		if ((field >= BH_REGION_REMOTE && search_value(search, field, set->spans[s].first + 1)) ||
		    search_value(search, field, set->spans[s].first))
			return true;
	for (size_t i = 0; i < ignored->count; i++)
		for (size_t s = 0; s < ignored->regions[i].sets[field].count; s++)
			if (search_value(search, field, ignored->regions[i].sets[field].spans[s].last + 1))
				return true;
	return false;
}

/* The packet with the values chosen. */
static void key_from(const bh_value chosen[], struct bh_key *key)
{
	bh_value protocol = chosen[BH_REGION_PROTOCOL];

	memset(key, 0, sizeof(*key));
	key->direction = (uint8_t)chosen[BH_REGION_DIRECTION];
	key->protocol = (uint8_t)(protocol == BH_REGION_ICMP_FOREIGN    ? BH_PROTO_ICMP
	                          : protocol == BH_REGION_ICMP6_FOREIGN ? BH_PROTO_ICMP6
	                                                                : protocol);
	key->remote = bh_region_address(chosen[BH_REGION_REMOTE]);
	key->local = bh_region_address(chosen[BH_REGION_LOCAL]);
	key->v6 = !bh_address_is_v4(&key->remote);
	if (bh_has_ports(key->protocol) || bh_is_icmp(key))
		key->local_port = (uint16_t)chosen[BH_REGION_LOCAL_PORT];
	if (bh_has_ports(key->protocol))
		key->remote_port = (uint16_t)chosen[BH_REGION_REMOTE_PORT];
}

static int class_of(struct work *work, const struct bh_box *box, struct bh_difference_class *class)
{
	struct search search = {.work = work, .box = box};

	class->box = *box;
	class->change = box->change;
	if (!search_field(&search, 0))
		return bh_error_set(work->err, -EIO, "no example was found of a difference; please report this");
	key_from(search.chosen, &class->example);
	for (int i = 0; i < 2; i++)
		bh_side_decide(&work->sides[i], &class->example, &class->deciders[i]);
	if (class->deciders[0].action == class->deciders[1].action)
		return bh_error_set(work->err, -EIO, "an example does not differ; please report this");
	return 0;
}

/* Forgets what splitting left of boxes that has nothing but ignored packets in it. */
static void drop_ignored(const struct work *work, struct bh_boxes *boxes)
{
	size_t kept = 0;

	for (size_t i = 0; i < boxes->count; i++) {
		struct search search = {.work = work, .box = &boxes->boxes[i]};

		if (search_field(&search, 0))
			boxes->boxes[kept++] = boxes->boxes[i];
	}
	boxes->count = kept;
}

static int by_place(const void *a, const void *b, void *arg)
{
	const struct bh_diagram *diagram = arg;
	const struct bh_box *x = a, *y = b;

	if (x->change != y->change)
		return x->change < y->change ? -1 : 1;
	for (int f = 0; f < BH_REGION_FIELDS; f++) {
		const struct bh_set *s = bh_diagram_set(diagram, f, x->sets[f]), *t = bh_diagram_set(diagram, f, y->sets[f]);

		for (size_t i = 0; i < s->count && i < t->count; i++) {
			if (s->spans[i].first != t->spans[i].first)
				return s->spans[i].first < t->spans[i].first ? -1 : 1;
			if (s->spans[i].last != t->spans[i].last)
				return s->spans[i].last < t->spans[i].last ? -1 : 1;
		}
		if (s->count != t->count)
			return s->count < t->count ? -1 : 1;
	}
	return 0;
}

static int find_classes(struct work *work, struct bh_difference *difference)
{
	static const uint8_t defaults[2] = {BH_BLOCK, BH_BLOCK}; /* never asked: add_side() adds its own */
	struct bh_boxes boxes = {.diagram = work->diagram};
	struct bh_box *found;
	size_t count;
	uint32_t root;
	int rc = bh_diagram_compare(work->diagram, defaults, &root, work->err);

	rc = rc ? rc : bh_diagram_boxes(work->diagram, root, &found, &count, work->err);
	if (rc)
		return rc;
	rc = bh_boxes_clean(&boxes, found, count);
	if (!rc)
		drop_ignored(work, &boxes);
	rc = rc ? rc : bh_boxes_merge(&boxes);
	difference->classes = rc ? NULL : calloc(boxes.count ? boxes.count : 1, sizeof(*difference->classes));
	if (!rc && !difference->classes)
		rc = -ENOMEM;
	if (!rc && boxes.count)
		qsort_r(boxes.boxes, boxes.count, sizeof(*boxes.boxes), by_place, work->diagram);
	for (size_t i = 0; !rc && i < boxes.count; i++) {
		rc = class_of(work, &boxes.boxes[i], &difference->classes[i]);
		difference->count += !rc;
	}
	free(boxes.boxes);
	return rc;
}

int bh_difference_init(struct bh_difference *difference, const struct bh_side sides[2], uint64_t budget,
                       struct bh_error *err)
{
	struct work work = {.sides = sides};
	struct bh_error error = {0};
	int rc;

	work.err = &error;
	rc = bh_diagram_new(&work.diagram, budget, &error);
	if (rc)
		return bh_error_set(err, rc, "%s", error.message);
	difference->diagram = work.diagram;
	difference->words = side_words(&sides[0]);
	rc = add_identities(&work);
	for (int list = 0; !rc && list < 2; list++)
		rc = add_side(&work, list);
	rc = rc ? rc : find_classes(&work, difference);
	for (size_t i = 0; i < work.ignored.count; i++)
		bh_region_clear(&work.ignored.regions[i]);
	free(work.ignored.regions);
	if (!rc)
		return 0;
	bh_difference_clear(difference);
	return bh_error_set(err, rc, "%s", *error.message ? error.message
	                    : rc == -E2BIG ? "the comparison is over its budget; nothing is said about what it would have found"
	                                   : "not enough memory to compare policies");
}

void bh_difference_clear(struct bh_difference *difference)
{
	bh_diagram_free(&difference->diagram);
	free(difference->classes);
	memset(difference, 0, sizeof(*difference));
}

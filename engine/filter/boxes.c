/*
 * boxes.c - see boxes.h.
 */
#include "boxes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "diagram_store.h"

static bool is_icmp_set(const struct bh_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		for (bh_value p = set->spans[i].first; p <= set->spans[i].last; p++)
			if (p != BH_PROTO_ICMP && p != BH_PROTO_ICMP6)
				return false;
	return true;
}

/* What field 2 of the box speaks of: 0 nothing, 1 types of ICMP, 2 ports. */
static int service_kind(const struct bh_diagram *diagram, const struct bh_box *box)
{
	if (!box->sets[BH_REGION_LOCAL_PORT])
		return 0;
	return is_icmp_set(bh_diagram_set(diagram, BH_REGION_PROTOCOL, box->sets[BH_REGION_PROTOCOL])) ? 1 : 2;
}

/* Gives half of the box to `other`: what has `inside` in the field; true if both have something. */
static int split_box(struct bh_diagram *diagram, struct bh_box *box, struct bh_box *other, int field,
                     const struct bh_set *inside)
{
	struct bh_set in = {0}, out = {0};
	int rc = bh_set_add_set(&in, bh_diagram_set(diagram, field, box->sets[field]));

	rc = rc ? rc : bh_set_add_set(&out, &in);
	rc = rc ? rc : bh_set_subtract(&out, inside);
	rc = rc ? rc : bh_set_subtract(&in, &out);
	*other = *box;
	if (!rc && in.count && out.count) {
		rc = bh_diagram_number(diagram, field, &in, &other->sets[field]);
		rc = rc ? rc : bh_diagram_number(diagram, field, &out, &box->sets[field]);
		rc = rc ? rc : 1;
	}
	bh_set_clear(&in);
	bh_set_clear(&out);
	return rc;
}

/* Splits boxes at a field of which one half is `inside`. */
static int split_boxes(struct bh_boxes *boxes, int field, const struct bh_set *inside)
{
	struct bh_box *grown;
	size_t n = boxes->count;

	grown = realloc(boxes->boxes, (2 * n + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	boxes->boxes = grown;
	for (size_t i = 0; i < n; i++) {
		struct bh_box *box = &boxes->boxes[i];
		int rc;

		if (field == BH_REGION_PROTOCOL && !box->sets[BH_REGION_LOCAL_PORT] &&
		    !box->sets[BH_REGION_REMOTE_PORT])
			continue;
		rc = split_box(boxes->diagram, box, &boxes->boxes[boxes->count], field, inside);
		if (rc < 0)
			return rc;
		boxes->count += (size_t)rc;
	}
	return 0;
}

/* Ports mean nothing to protocols without: such boxes are kept once, for port 0, and freed of them. */
static void free_ports(struct bh_boxes *boxes, const struct bh_set *icmp, const struct bh_set *ports)
{
	size_t kept = 0;

	for (size_t i = 0; i < boxes->count; i++) {
		struct bh_box box = boxes->boxes[i];
		const struct bh_set *protocols = bh_diagram_set(boxes->diagram, BH_REGION_PROTOCOL,
		                                                box.sets[BH_REGION_PROTOCOL]);
		bool types = bh_set_overlaps(protocols, icmp), keep = true;

		if (!bh_set_overlaps(protocols, ports)) {
			for (int f = types ? BH_REGION_REMOTE_PORT : BH_REGION_LOCAL_PORT; f <= BH_REGION_REMOTE_PORT; f++) {
				keep = keep && bh_set_contains(bh_diagram_set(boxes->diagram, f, box.sets[f]), 0);
				box.sets[f] = 0;
			}
		}
		if (keep)
			boxes->boxes[kept++] = box;
	}
	boxes->count = kept;
}

/* Whether all addresses of the set are IPv4's (4) or IPv6's (6); else 0. */
static int family_of(const struct bh_set *set)
{
	struct bh_span v4 = {BH_V4_MAPPED, BH_V4_MAPPED | 0xffffffff};
	bool inside = set->count > 0, outside = true;

	for (size_t i = 0; i < set->count; i++) {
		inside = inside && set->spans[i].first >= v4.first && set->spans[i].last <= v4.last;
		outside = outside && (set->spans[i].last < v4.first || set->spans[i].first > v4.last);
	}
	return inside ? 4 : outside ? 6 : 0;
}

/* "Any protocol" and "any but" take in those that packets of the box's family cannot have. */
static int free_protocols(struct bh_boxes *boxes)
{
	static const uint16_t of_v4[] = {BH_PROTO_ICMP, BH_REGION_ICMP6_FOREIGN, 0, 43, 44, 51, 60, 135, 139, 140};
	static const uint16_t of_v6[] = {BH_PROTO_ICMP6, BH_REGION_ICMP_FOREIGN};
	int rc = 0;

	for (size_t i = 0; !rc && i < boxes->count; i++) {
		struct bh_box *box = &boxes->boxes[i];
		int remote = family_of(bh_diagram_set(boxes->diagram, BH_REGION_REMOTE, box->sets[BH_REGION_REMOTE]));
		int local = family_of(bh_diagram_set(boxes->diagram, BH_REGION_LOCAL, box->sets[BH_REGION_LOCAL]));
		int family = remote ? remote : local;
		const struct bh_set *set = bh_diagram_set(boxes->diagram, BH_REGION_PROTOCOL,
		                                          box->sets[BH_REGION_PROTOCOL]);
		size_t n = family == 4 ? 2 : 10, total = 0;
		struct bh_set more = {0};

		for (size_t s = 0; s < set->count; s++)
			total += (size_t)(set->spans[s].last - set->spans[s].first) + 1;
		if (!family || total <= 128)
			continue;
		rc = bh_set_add_set(&more, set);
		for (size_t p = 0; !rc && p < n; p++)
			rc = bh_set_add(&more, family == 4 ? of_v6[p] : of_v4[p], family == 4 ? of_v6[p] : of_v4[p]);
		bh_set_join(&more);
		rc = rc ? rc : bh_diagram_number(boxes->diagram, BH_REGION_PROTOCOL, &more,
		                                 &box->sets[BH_REGION_PROTOCOL]);
		bh_set_clear(&more);
	}
	return rc;
}

/* Makes boxes of one direction each, whose field 2 means either ports or types. */
int bh_boxes_clean(struct bh_boxes *boxes, const struct bh_box *from, size_t count)
{
	struct bh_span icmp_spans[] = {{BH_PROTO_ICMP, BH_PROTO_ICMP}, {BH_PROTO_ICMP6, BH_PROTO_ICMP6}};
	struct bh_span in_span = {BH_IN, BH_IN};
	const struct bh_set in = {.count = 1, .spans = &in_span}, icmp = {.count = 2, .spans = icmp_spans};
	struct bh_set ports = {0};
	int rc = 0;

	for (unsigned p = 0; !rc && p < 256; p++)
		if (bh_has_ports((uint8_t)p))
			rc = bh_set_add(&ports, p, p);
	boxes->boxes = malloc((count + 1) * sizeof(*boxes->boxes));
	if (rc || !boxes->boxes) {
		bh_set_clear(&ports);
		return -ENOMEM;
	}
	if (count)
		memcpy(boxes->boxes, from, count * sizeof(*from));
	boxes->count = count;
	rc = split_boxes(boxes, BH_REGION_DIRECTION, &in);
	rc = rc ? rc : split_boxes(boxes, BH_REGION_PROTOCOL, &icmp);
	rc = rc ? rc : split_boxes(boxes, BH_REGION_PROTOCOL, &ports);
	if (!rc)
		free_ports(boxes, &icmp, &ports);
	bh_set_clear(&ports);
	return rc ? rc : free_protocols(boxes);
}

/* Orders boxes by all but the field that may differ. */
static int by_others(const void *a, const void *b, void *arg)
{
	const struct bh_boxes *boxes = arg;
	const struct bh_box *x = a, *y = b;
	int kx = service_kind(boxes->diagram, x), ky = service_kind(boxes->diagram, y);

	if (x->change != y->change)
		return x->change < y->change ? -1 : 1;
	if (kx != ky)
		return kx < ky ? -1 : 1;
	for (int f = 0; f < BH_REGION_FIELDS; f++)
		if (f != boxes->field && x->sets[f] != y->sets[f])
			return x->sets[f] < y->sets[f] ? -1 : 1;
	return 0;
}

/* Joins boxes that differ in the field only. True (1) if there were any. */
static int merge_field(struct bh_boxes *boxes, int field)
{
	size_t kept = 0, end;
	int merged = 0, rc = bh_diagram_spend(boxes->diagram, boxes->count * 16);

	boxes->field = field;
	if (!rc && boxes->count)
		qsort_r(boxes->boxes, boxes->count, sizeof(*boxes->boxes), by_others, boxes);
	for (size_t i = 0; !rc && i < boxes->count; i = end) {
		struct bh_box box = boxes->boxes[i];
		struct bh_set set = {0};

		for (end = i; !rc && end < boxes->count && !by_others(&boxes->boxes[i], &boxes->boxes[end], boxes); end++)
			rc = bh_set_add_set(&set, bh_diagram_set(boxes->diagram, field, boxes->boxes[end].sets[field]));
		if (!rc && end > i + 1) {
			bh_set_join(&set);
			rc = bh_diagram_number(boxes->diagram, field, &set, &box.sets[field]);
			merged = 1;
		}
		bh_set_clear(&set);
		boxes->boxes[kept++] = box;
	}
	boxes->count = rc ? boxes->count : kept;
	return rc ? rc : merged;
}

int bh_boxes_merge(struct bh_boxes *boxes)
{
	static const int order[] = {BH_REGION_LOCAL, BH_REGION_REMOTE, BH_REGION_REMOTE_PORT,
	                            BH_REGION_LOCAL_PORT, BH_REGION_PROTOCOL};
	bool merged = true;

	while (merged) {
		merged = false;
		for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
			int rc = merge_field(boxes, order[i]);

			if (rc < 0)
				return rc;
			merged = merged || rc;
		}
	}
	return 0;
}

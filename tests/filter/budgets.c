/*
 * budgets.c - no rules make a classifier larger, or longer to build, than it may be, however they come
 * and go.
 */
#include <stdlib.h>

#include "../../engine/filter/builder_part.h"
#include "../support/report.h"
#include "../support/rules.h"

/* Boxes made up to be hard: each field a range of any size, or a value, or everything. */
static void hard_box(struct bh_box *box, uint32_t label, uint32_t shape)
{
	memset(box, 0, sizeof(*box));
	box->label = label;
	for (int f = 0; f < 5; f++) {
		uint32_t top = f < 2 ? ~0u : f == 4 ? 255 : 65535, a = within(0, top), b = within(0, top);
		bool any = shape == 0 || (shape == 1 && f != (int)(label % 5)) || (shape == 2 && random_below(2));
		uint32_t first = any ? 0 : a < b ? a : b, last = any ? top : a < b ? b : a;

		if (shape == 3)
			first = last = f < 2 ? a : first; /* hosts, and ranges of ports */
		if (shape == 4)
			first = top / 2 - label % (top / 2), last = top / 2 + 1 + label % (top / 2); /* nested */
		if (f < 2) {
			box->first[f] = first;
			box->last[f] = last;
		} else {
			box->port_first[f - 2] = (uint16_t)first;
			box->port_last[f - 2] = (uint16_t)last;
		}
	}
}

/* Bytes and work stay below what they are said to, whatever the boxes and however little there is. */
static void hold_budgets(void)
{
	static const uint32_t sizes[] = {10, 300, 3000, 30000};
	static const uint32_t each[] = {48, 96, 256};
	struct bh_box *boxes = calloc(30000, sizeof(*boxes));
	uint32_t over = 0, built = 0;
	char detail[80];

	for (int s = 0; s < 4; s++)
		for (uint32_t shape = 0; shape < 6; shape++)
			for (int e = 0; e < 3; e++) {
				struct bh_planting planting = {0};
				size_t most = 4096 + (size_t)sizes[s] * each[e];

				for (uint32_t i = 0; i < sizes[s]; i++)
					hard_box(&boxes[i], i, shape);
				if (bh_planting_build(&planting, boxes, sizes[s], (shape + (uint32_t)e) & 1, most))
					abort();
				over += bh_forest_bytes(&planting.forest) > most;
				over += planting.work > 2 * (BH_PLANTING_START + (uint64_t)sizes[s] * BH_PLANTING_WORK);
				built++;
				bh_planting_clear(&planting);
			}
	free(boxes);
	snprintf(detail, sizeof(detail), "%u forests, %u over", built, over);
	report("any boxes keep to the budgets of memory and work", !over, detail);
}

/* A builder whose rules are the worst for the forest there is stays as small. */
static void hold_builder(void)
{
	struct bh_classifier *classifier = NULL;
	struct bh_builder *builder = NULL;
	struct bh_rule rule;
	size_t most = 0, bytes;
	char detail[80];

	bh_rule_init(&rule, BH_ALLOW, BH_IN);
	if (bh_builder_new(&builder, NULL, NULL))
		abort();
	for (uint32_t id = 1; id <= 4000; id++) {
		shaped_rule(&rule, id, id <= 1000 ? 4 : 2);
		if (id > 1000) {
			set_text(&rule, "remote", "0.0.0.0-223.255.255.255");
			set_text(&rule, "local", "1.0.0.0-239.255.255.255");
		}
		if (bh_builder_insert(builder, &rule, NULL))
			abort();
		if (id % 1000)
			continue;
		if (bh_builder_publish(builder, &classifier, NULL))
			abort();
		bytes = bh_classifier_bytes(classifier) / id;
		most = bytes > most ? bytes : most;
		bh_classifier_free(&classifier);
	}
	bh_rule_clear(&rule);
	bh_builder_free(&builder);
	snprintf(detail, sizeof(detail), "%zu bytes a rule at most", most);
	report("a builder keeps to its budget while rules change", most <= 1024, detail);
}

/* Rules that go and come again, a few or half of them at a time, leave no more behind than they took. */
static void hold_rounds(uint32_t shape)
{
	uint32_t seed = random_next();
	struct bh_classifier *classifier = NULL;
	struct bh_builder *builder = NULL;
	size_t first = 0, most = 0;
	char detail[80];

	if (bh_builder_new(&builder, NULL, NULL))
		abort();
	for (uint32_t id = 1; id <= 1000; id++)
		insert(builder, seed, id, shape);
	for (uint32_t round = 0; round < 200; round++) {
		uint32_t from = 1 + random_below(500), count = round % 2 ? 500 : 1 + random_below(50);

		for (uint32_t id = from; round && id < from + count; id++)
			bh_builder_delete(builder, id, NULL);
		for (uint32_t id = from; round && id < from + count; id++)
			insert(builder, seed, id, shape);
		if (bh_builder_publish(builder, &classifier, NULL))
			abort();
		most = bh_classifier_bytes(classifier);
		first = first ? first : most;
		bh_classifier_free(&classifier);
	}
	/* What goes last is not published any more. */
	for (uint32_t id = 1; id <= 20; id++)
		bh_builder_delete(builder, id, NULL);
	bh_builder_free(&builder);
	snprintf(detail, sizeof(detail), "%zu bytes at first, %zu at last", first, most);
	report("rules that go and come leave nothing behind", most <= first + first / 2, detail);
}

/* Versions of many rules that differ in a few are made of what there was: the forest is not made from nothing. */
static void hold_versions(const char *what, uint32_t shape)
{
	uint32_t seed = random_next(), made = 0;
	struct bh_classifier *classifier = NULL;
	struct bh_builder *builder = NULL;
	char detail[80];

	if (bh_builder_new(&builder, NULL, NULL))
		abort();
	for (uint32_t id = 1; id <= 3000; id++)
		insert(builder, seed, id, shape);
	for (uint32_t version = 0; version < 100; version++) {
		for (uint32_t i = 0; version && i < 30; i++) {
			uint32_t id = (version * 30 + i) * 7 % 3000 + 1;

			/* Half of them as they were, half of them others. */
			bh_builder_delete(builder, id, NULL);
			insert(builder, i % 2 ? seed : seed + version, id, shape);
		}
		if (bh_builder_publish(builder, &classifier, NULL))
			abort();
		bh_classifier_free(&classifier);
	}
	for (uint32_t s = 0; s < BH_SPACES; s++)
		made = builder->made[s] > made ? builder->made[s] : made;
	bh_builder_free(&builder);
	snprintf(detail, sizeof(detail), "%u times in 100 versions", made);
	report(what, made && made <= 4, detail);
}

/* Where rules that nothing tells apart give way to as many that differ, these get a forest in time. */
static void hold_turn(void)
{
	uint32_t seed = random_next(), rounds = 0, space = bh_space_of(0, BH_IN);
	struct bh_classifier *classifier = NULL;
	struct bh_builder *builder = NULL;
	bool was_planted = true;
	char detail[80];

	if (bh_builder_new(&builder, NULL, NULL))
		abort();
	for (; rounds < 40 && (!rounds || !builder->planted[space]); rounds++) {
		for (uint32_t id = 1; id <= 1500; id++) {
			if (rounds)
				bh_builder_delete(builder, id, NULL);
			insert(builder, seed, id, rounds ? 4 : 1);
		}
		if (bh_builder_publish(builder, &classifier, NULL))
			abort();
		was_planted = rounds ? was_planted : builder->planted[space];
		bh_classifier_free(&classifier);
	}
	snprintf(detail, sizeof(detail), "%u rounds", rounds);
	report("rules that differ get a forest in time", !was_planted && builder->planted[space], detail);
	bh_builder_free(&builder);
}

/* Whether a classifier has as many rules as were put in, in their order: those of one precedence as they came. */
static bool is_ordered(const struct bh_classifier *classifier, uint32_t count)
{
	const struct bh_entry *last = NULL, *entry;
	bool ordered = true;
	uint32_t n = 0;

	for (uint32_t place = 0; (entry = bh_classifier_at(classifier, place)); place++) {
		if (!entry->rule)
			continue;
		if (last)
			ordered = ordered && !bh_entry_wins(entry, last) && (bh_entry_wins(last, entry) || last->rule < entry->rule);
		last = entry;
		n++;
	}
	return ordered && n == count;
}

enum { LAST, TWO_PLACES, FIRST, ASCENDING, ANYWHERE, AMONG, IN_AND_OUT, ORDERS };

/* One more rule, with the priority that an order gives it. */
static void add_ordered(struct bh_builder *builder, uint32_t id, int order)
{
	struct bh_rule rule;

	bh_rule_init(&rule, order == TWO_PLACES && id % 2 ? BH_BLOCK : BH_ALLOW, BH_IN);
	rule.id = id;
	rule.priority = (uint16_t)(order == FIRST ? 40000 - id : order == ASCENDING ? id :
	                           order == ANYWHERE ? random_below(60000) : 1000);
	if (order == AMONG && id <= 1000)
		rule.priority = (uint16_t)(2 * id);
	rule.protocol = BH_PROTO_TCP;
	if (bh_builder_insert(builder, &rule, NULL))
		abort();
	bh_rule_clear(&rule);
}

/* Wherever rules come, they find a place at which few others have to move, and there are not many more labels than rules. */
static void hold_order(const char *what, int order)
{
	struct bh_classifier *classifier = NULL;
	struct bh_builder *builder = NULL;
	uint32_t next = 1, out = 0, wrong = 0, labels = 0;
	char detail[80];

	if (bh_builder_new(&builder, NULL, NULL))
		abort();
	for (uint32_t version = 0; version < 40; version++) {
		for (uint32_t i = 0; i < (version ? 500 : 1000); i++) {
			add_ordered(builder, next++, order);
			if (order == IN_AND_OUT && version && bh_builder_delete(builder, ++out, NULL))
				abort();
		}
		if (bh_builder_publish(builder, &classifier, NULL))
			abort();
		wrong += !is_ordered(classifier, next - 1 - out);
		labels = builder->labels / (next - 1 - out) > labels ? builder->labels / (next - 1 - out) : labels;
		bh_classifier_free(&classifier);
	}
	snprintf(detail, sizeof(detail), "%u wrong, %.1f moves a rule, %u labels", wrong, (double)builder->moves / next, labels);
	report(what, !wrong && builder->moves <= 8 * (uint64_t)next && labels <= 5, detail);
	bh_builder_free(&builder);
}

int main(int argc, char **argv)
{
	random_state = argc > 1 ? (uint64_t)atol(argv[1]) : 20250102;
	hold_budgets();
	hold_builder();
	for (uint32_t shape = 0; shape < SHAPES; shape++)
		hold_rounds(shape);
	hold_versions("IPv4 forests are changed in place", 4);
	hold_versions("IPv6 forests are changed in place", 7);
	hold_versions("and where bounds are of anywhere", 8);
	hold_versions("no forest is made again of rules that nothing tells apart", 1);
	hold_turn();
	hold_order("rules that come last move few others", LAST);
	hold_order("rules that come at two places in turn move few others", TWO_PLACES);
	hold_order("rules that come first move few others", FIRST);
	hold_order("rules that come in order move few others", ASCENDING);
	hold_order("rules that come anywhere move few others", ANYWHERE);
	hold_order("rules that come at one place among many move few others", AMONG);
	hold_order("rules that come as others go move few others", IN_AND_OUT);
	return report_counts();
}

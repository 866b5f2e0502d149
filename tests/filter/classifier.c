/*
 * classifier.c - linear = classifier: the same rule, in every variant that runs here, one at a time
 * and in batches, built whole and while rules go in and out of a builder.
 *
 *   classifier LOOKUPS [SEED]
 */
#include <errno.h>
#include <stdlib.h>

#include "../../engine/filter/classifier.h"
#include "../support/random.h"

#define KEYS 300

static int passed, failed;

static void report(const char *property, bool ok, const char *detail)
{
	printf("%s %s%s%s\n", ok ? "ok" : "FAILED", property, *detail ? ": " : "", detail);
	*(ok ? &passed : &failed) += 1;
}

static void set_text(struct bh_rule *rule, const char *field, const char *text)
{
	if (bh_rule_set(rule, field, text, NULL))
		abort();
}

/* Worst cases: everything matches; ranges in ranges; half of the rules without a remote address. */
static void shaped_rule(struct bh_rule *rule, uint32_t id, uint32_t shape)
{
	char text[80];

	if (shape == 0) {
		random_rule(rule, id);
		return;
	}
	bh_rule_clear(rule);
	bh_rule_init(rule, random_below(2) ? BH_BLOCK : BH_ALLOW, BH_IN);
	rule->id = id;
	sprintf(text, "%u", 900 + random_below(200));
	set_text(rule, "priority", text);
	if (shape == 1)
		return;
	if (shape == 2 || random_below(2)) {
		uint32_t low = random_below(600), high = 1200 - random_below(600);

		sprintf(text, "10.0.%u.%u-10.0.%u.%u", low >> 8, low & 255, high >> 8, high & 255);
		set_text(rule, "remote", text);
	}
	sprintf(text, "10.%u.0.0/%u", random_below(4), 14 + random_below(3));
	if (shape == 3 && !strstr(text, "/14"))
		set_text(rule, "local", random_below(2) ? "10.0.0.0/14" : "fd00::/16");
	set_text(rule, "protocol", random_below(2) ? "tcp" : "udp");
	sprintf(text, "%u-%u", random_below(70), 70 + random_below(70));
	set_text(rule, "local_port", text);
}

/* Many addresses on both sides: more combinations than a rule is worth boxes. */
static void fat_rule(struct bh_rule *rule, uint32_t id)
{
	char text[3000] = "", other[3000] = "";

	bh_rule_clear(rule);
	bh_rule_init(rule, BH_BLOCK, BH_IN);
	rule->id = id;
	for (int i = 0; i < 20; i++) {
		random_address(text + strlen(text), random_below(3) == 0, false);
		random_address(other + strlen(other), random_below(3) == 0, false);
		if (i < 19) {
			strcat(text, ",");
			strcat(other, ",");
		}
	}
	sprintf(strchr(text, 0), ",10.0.0.0/17");
	set_text(rule, "remote", text);
	set_text(rule, "local", other);
	sprintf(text, "%u", 998 + random_below(5));
	set_text(rule, "priority", text);
}

static void new_rule(struct bh_rule *rule, uint32_t id, uint32_t shape)
{
	if (shape == 0 && !random_below(40))
		fat_rule(rule, id);
	else
		shaped_rule(rule, id, shape);
}

static uint32_t rule_at(const struct bh_classifier *classifier, uint32_t place)
{
	return place == BH_PLACE_NONE ? 0 : bh_classifier_at(classifier, place)->rule;
}

/* Lookups that differ from the ruleset's, over all variants. */
static uint32_t compare(struct bh_classifier *classifier, const struct bh_ruleset *ruleset, uint32_t *done)
{
	static struct bh_key keys[KEYS];
	static uint32_t want[KEYS], places[KEYS];
	uint32_t wrong = 0;

	for (uint32_t i = 0; i < KEYS; i++) {
		struct bh_notation packet;
		const struct bh_rule *rule;

		random_notation(&packet);
		key_of(&keys[i], &packet);
		rule = bh_ruleset_lookup(ruleset, &keys[i]);
		want[i] = rule ? rule->id : 0;
	}
	for (int v = 0; bh_classifier_variants[v]; v++) {
		uint32_t count = 1 + random_below(KEYS);

		if (bh_classifier_set_variant(classifier, bh_classifier_variants[v]))
			continue;
		bh_classifier_lookup_batch(classifier, keys, count, places);
		for (uint32_t i = 0; i < count; i++)
			wrong += rule_at(classifier, places[i]) != want[i];
		for (uint32_t i = 0; i < KEYS; i++)
			wrong += rule_at(classifier, bh_classifier_lookup(classifier, &keys[i])) != want[i];
		*done += KEYS + count;
	}
	return wrong;
}

static void compare_built(uint32_t lookups)
{
	static const uint32_t sizes[] = {0, 1, 5, 20, 64, 65, 200, 700};
	uint32_t done = 0, wrong = 0;
	char detail[80];

	while (done < lookups) {
		uint32_t count = sizes[random_below(8)], shape = random_below(4);
		struct bh_classifier *classifier = NULL;
		struct bh_ruleset *ruleset = NULL;
		struct bh_words words;
		struct bh_rule rule;

		if (bh_ruleset_new(&ruleset, NULL))
			abort();
		bh_rule_init(&rule, BH_ALLOW, BH_IN);
		for (uint32_t i = 0; i < count; i++) {
			new_rule(&rule, i + 1, shape);
			if (bh_ruleset_add(ruleset, &rule, NULL))
				abort();
		}
		bh_rule_clear(&rule);
		random_words(&words);
		bh_ruleset_set_words(ruleset, &words);
		if (bh_classifier_build(&classifier, ruleset, NULL))
			abort();
		for (int i = 0; i < 3; i++)
			wrong += compare(classifier, ruleset, &done);
		bh_classifier_free(&classifier);
		bh_ruleset_free(&ruleset);
	}
	snprintf(detail, sizeof(detail), "%u lookups, %u wrong", done, wrong);
	report("linear = classifier, every variant", !wrong, detail);
}

/* A ruleset of the rules that are in, in the order in which they came. */
static struct bh_ruleset *ruleset_of(uint32_t seed, const uint32_t *in, uint32_t count,
                                     const struct bh_words *words, uint32_t shape)
{
	struct bh_ruleset *ruleset = NULL;
	uint64_t state = random_state;
	struct bh_rule rule;

	if (bh_ruleset_new(&ruleset, NULL))
		abort();
	bh_rule_init(&rule, BH_ALLOW, BH_IN);
	for (uint32_t i = 0; i < count; i++) {
		random_state = seed + in[i] * 7919ULL;
		new_rule(&rule, in[i], shape);
		if (bh_ruleset_add(ruleset, &rule, NULL))
			abort();
	}
	bh_rule_clear(&rule);
	bh_ruleset_set_words(ruleset, words);
	random_state = state;
	return ruleset;
}

static void insert(struct bh_builder *builder, uint32_t seed, uint32_t id, uint32_t shape)
{
	uint64_t state = random_state;
	struct bh_rule rule;

	bh_rule_init(&rule, BH_ALLOW, BH_IN);
	random_state = seed + id * 7919ULL;
	new_rule(&rule, id, shape);
	if (bh_builder_insert(builder, &rule, NULL) || bh_builder_insert(builder, &rule, NULL) != -EEXIST)
		abort();
	bh_rule_clear(&rule);
	random_state = state;
}

/* Rules in and out at random; after each publication the old version still gives its old answers. */
static void compare_changing(uint32_t lookups)
{
	uint32_t done = 0, wrong = 0;
	char detail[80];

	while (done < lookups) {
		uint32_t in[400], count = 0, id = 1, seed = random_next(), shape = random_below(4);
		uint32_t most = 20 + random_below(380);
		struct bh_classifier *now = NULL, *before = NULL;
		struct bh_ruleset *ruleset, *old = NULL;
		struct bh_builder *builder = NULL;
		struct bh_words words;

		random_words(&words);
		if (bh_builder_new(&builder, &words, NULL))
			abort();
		for (int version = 0; version < 8; version++) {
			for (uint32_t i = random_below(200); i; i--) {
				if (count < most && (!count || random_below(5) > 1)) {
					insert(builder, seed, id, shape);
					in[count++] = id++;
				} else {
					uint32_t at = random_below(count);

					if (bh_builder_delete(builder, in[at], NULL))
						abort();
					memmove(&in[at], &in[at + 1], (--count - at) * sizeof(*in));
				}
			}
			if (bh_builder_publish(builder, &now, NULL))
				abort();
			ruleset = ruleset_of(seed, in, count, &words, shape);
			wrong += compare(now, ruleset, &done);
			if (before)
				wrong += compare(before, old, &done);
			bh_classifier_free(&before);
			bh_ruleset_free(&old);
			before = bh_classifier_ref(now);
			bh_classifier_free(&now);
			old = ruleset;
		}
		bh_builder_free(&builder);
		bh_classifier_free(&before);
		bh_ruleset_free(&old);
	}
	snprintf(detail, sizeof(detail), "%u lookups, %u wrong", done, wrong);
	report("linear = classifier while rules change", !wrong, detail);
}

int main(int argc, char **argv)
{
	uint32_t lookups = argc > 1 ? (uint32_t)atol(argv[1]) : 1000000;

	random_state = argc > 2 ? (uint64_t)atol(argv[2]) : 20250102;
	compare_built(lookups);
	compare_changing(lookups / 2);
	printf("%d passed, %d failed, 0 skipped\n", passed, failed);
	return failed != 0;
}

/*
 * classifier.c - linear = classifier: the same rule, in every variant that runs here, one at a time
 * and in batches, built whole, while rules go in and out of a builder, and while a thread looks up.
 *
 *   classifier LOOKUPS [SEED]
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "../support/report.h"
#include "../support/rules.h"

#define KEYS 300

static uint32_t rule_at(const struct bh_classifier *classifier, uint32_t place)
{
	return place == BH_PLACE_NONE ? 0 : bh_classifier_at(classifier, place)->rule;
}

/* The first address of a rule's, the last, one just outside, or another. */
static struct bh_address near(const struct bh_address_set *set)
{
	const struct bh_range *range = set->include;
	uint32_t which = random_below(6);

	if (!set->include_count || !which)
		return wide_address6(random_below(2));
	if (which > 3)
		return which == 4 ? bh_address_previous(range->first) : bh_address_next(range->last);
	return which == 1 ? range->last : range->first;
}

/* A packet that some rule of shape 4 or later has, or nearly. */
static void wide_key(struct bh_key *key, const struct bh_ruleset *ruleset, uint32_t shape)
{
	const struct bh_rule *rule = bh_ruleset_at(ruleset, random_below((uint32_t)bh_ruleset_count(ruleset)));
	const struct bh_address_set *sets[] = {&rule->local, &rule->remote};
	uint32_t address[2];

	for (int side = 0; side < 2; side++) {
		const struct bh_range *range = sets[side]->include;

		address[side] = sets[side]->include_count && random_below(8)
		                ? within((uint32_t)range->first.lo, (uint32_t)range->last.lo) : wide_address();
	}
	memset(key, 0, sizeof(*key));
	key->v6 = shape == 7 || shape == 8;
	key->local = key->v6 ? near(&rule->local) : bh_address_v4(address[0]);
	key->remote = key->v6 ? near(&rule->remote) : bh_address_v4(address[1]);
	key->direction = random_below(8) ? rule->direction : BH_OUT;
	key->protocol = (uint8_t)(rule->protocol < 0 ? 6 : rule->protocol);
	if (rule->local_port.count) {
		const struct bh_number_range *range = &rule->local_port.ranges[random_below((uint32_t)rule->local_port.count)];

		key->local_port = (uint16_t)within(range->first, range->last);
	}
	key->remote_port = (uint16_t)random_next();
	if (rule->remote_port.count && random_below(8))
		key->remote_port = (uint16_t)within(rule->remote_port.ranges[0].first, rule->remote_port.ranges[0].last);
}

static void some_key(struct bh_key *key, const struct bh_ruleset *ruleset, uint32_t shape)
{
	struct bh_notation packet;

	if (shape >= 4 && bh_ruleset_count(ruleset)) {
		wide_key(key, ruleset, shape);
		return;
	}
	random_notation(&packet);
	key_of(key, &packet);
}

/* Lookups that differ from the ruleset's, over all variants. */
static uint32_t compare(struct bh_classifier *classifier, const struct bh_ruleset *ruleset, uint32_t shape,
                        uint32_t *done)
{
	static struct bh_key keys[KEYS];
	static uint32_t want[KEYS], places[KEYS];
	uint32_t wrong = 0;

	for (uint32_t i = 0; i < KEYS; i++) {
		const struct bh_rule *rule;

		some_key(&keys[i], ruleset, shape);
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
	static const uint32_t sizes[] = {0, 1, 5, 12, 16, 25, 50, 65, 130, 250, 400, 600, 950, 2500};
	uint32_t done = 0, wrong = 0;
	char detail[80];

	while (done < lookups) {
		uint32_t shape = random_below(SHAPES), count = sizes[random_below(shape == 4 || shape > 6 ? 14 : 13)];
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
		for (int i = 0; i < 6; i++)
			wrong += compare(classifier, ruleset, shape, &done);
		bh_classifier_free(&classifier);
		bh_ruleset_free(&ruleset);
	}
	snprintf(detail, sizeof(detail), "%u lookups, %u wrong", done, wrong);
	report("linear = classifier, every variant", !wrong, detail);
}

#define POPULATION 1500 /* few and many: what they are looked up in differs */

/* The rules that are in a builder, by ids in the order in which they came; seed and id make the rule. */
struct population {
	uint32_t in[POPULATION], count, next;
	uint32_t seed, shape;
};

static struct bh_ruleset *ruleset_of(const struct population *rules, const struct bh_words *words)
{
	struct bh_ruleset *ruleset = NULL;
	uint64_t state = random_state;
	struct bh_rule rule;

	if (bh_ruleset_new(&ruleset, NULL))
		abort();
	bh_rule_init(&rule, BH_ALLOW, BH_IN);
	for (uint32_t i = 0; i < rules->count; i++) {
		random_state = rules->seed + rules->in[i] * 7919ULL;
		new_rule(&rule, rules->in[i], rules->shape);
		if (bh_ruleset_add(ruleset, &rule, NULL))
			abort();
	}
	bh_rule_clear(&rule);
	bh_ruleset_set_words(ruleset, words);
	random_state = state;
	return ruleset;
}

static void grow(struct bh_builder *builder, struct population *rules, uint32_t count)
{
	while (rules->count < count) {
		insert(builder, rules->seed, rules->next, rules->shape);
		rules->in[rules->count++] = rules->next++;
	}
}

/* Puts rules in and takes rules out at random, `steps` of them; at most `most` are in. */
static void change(struct bh_builder *builder, struct population *rules, uint32_t most, uint32_t steps)
{
	for (; steps; steps--) {
		if (rules->count < most && (!rules->count || random_below(5) > 1)) {
			insert(builder, rules->seed, rules->next, rules->shape);
			rules->in[rules->count++] = rules->next++;
		} else {
			uint32_t at = random_below(rules->count);

			if (bh_builder_delete(builder, rules->in[at], NULL))
				abort();
			memmove(&rules->in[at], &rules->in[at + 1], (--rules->count - at) * sizeof(*rules->in));
		}
	}
}

/* Rules in and out at random; after each publication the old version still gives its old answers. */
static void compare_changing(uint32_t lookups)
{
	uint32_t done = 0, wrong = 0;
	char detail[80];

	while (done < lookups) {
		uint32_t seed = random_next(), shape = random_below(SHAPES);
		uint32_t most = 20 + random_below(random_below(3) ? POPULATION / 4 : POPULATION - 20);
		struct population rules = {.next = 1, .seed = seed, .shape = shape};
		struct bh_classifier *now = NULL, *before = NULL;
		struct bh_ruleset *ruleset, *old = NULL;
		struct bh_builder *builder = NULL;
		struct bh_words words;

		random_words(&words);
		if (bh_builder_new(&builder, &words, NULL))
			abort();
		grow(builder, &rules, most);
		for (int version = 0; version < 8; version++) {
			change(builder, &rules, most, random_below(most));
			if (bh_builder_publish(builder, &now, NULL))
				abort();
			ruleset = ruleset_of(&rules, &words);
			wrong += compare(now, ruleset, shape, &done);
			if (before)
				wrong += compare(before, old, shape, &done);
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

/* What a reader sees: a version and the rules that its keys must be given. */
struct version {
	struct bh_classifier *classifier;
	struct bh_key keys[KEYS];
	uint32_t want[KEYS];
	atomic_uint references;
};

struct stand {
	pthread_mutex_t lock;
	struct version *current;
	bool over;
	uint32_t done, wrong;
	atomic_uint versions;
};

static void version_drop(struct version *version)
{
	if (!version || atomic_fetch_sub(&version->references, 1) != 1)
		return;
	bh_classifier_free(&version->classifier);
	free(version);
}

/* Takes whatever version is there, looks up, leaves it: the writer does not wait for it. */
static void *read_versions(void *arg)
{
	struct stand *stand = arg;
	uint32_t places[KEYS];
	const struct version *last = NULL;
	struct version *version;

	for (;;) {
		pthread_mutex_lock(&stand->lock);
		version = stand->over ? NULL : stand->current;
		if (version)
			atomic_fetch_add(&version->references, 1);
		pthread_mutex_unlock(&stand->lock);
		if (!version)
			return NULL;
		stand->versions += version != last;
		last = version;
		bh_classifier_lookup_batch(version->classifier, version->keys, KEYS, places);
		for (uint32_t i = 0; i < KEYS; i++) {
			uint32_t one = bh_classifier_lookup(version->classifier, &version->keys[i]);

			stand->wrong += rule_at(version->classifier, places[i]) != version->want[i] || one != places[i];
		}
		stand->done += 2 * KEYS;
		version_drop(version);
	}
}

static void show(struct stand *stand, struct bh_classifier *classifier, const struct bh_ruleset *ruleset,
                 uint32_t shape)
{
	struct version *version = calloc(1, sizeof(*version)), *old;

	version->classifier = classifier;
	atomic_init(&version->references, 1);
	for (uint32_t i = 0; i < KEYS; i++) {
		const struct bh_rule *rule;

		some_key(&version->keys[i], ruleset, shape);
		rule = bh_ruleset_lookup(ruleset, &version->keys[i]);
		version->want[i] = rule ? rule->id : 0;
	}
	pthread_mutex_lock(&stand->lock);
	old = stand->current;
	stand->current = version;
	pthread_mutex_unlock(&stand->lock);
	version_drop(old);
}

/* The writer waits for nothing but that the thread had the first version, and a later one: it may be slow to start. */
static void wait_for_versions(struct stand *stand, uint32_t versions)
{
	while (atomic_load(&stand->versions) < versions)
		sched_yield();
}

/* A thread looks up in what is current while rules change and versions follow each other. */
static void compare_reading(uint32_t versions, uint32_t shape)
{
	struct stand stand = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct population rules = {.next = 1, .seed = random_next(), .shape = shape};
	struct bh_classifier *now = NULL;
	struct bh_builder *builder = NULL;
	struct bh_words words;
	pthread_t reader;
	char detail[120];

	random_words(&words);
	if (bh_builder_new(&builder, &words, NULL))
		abort();
	for (uint32_t v = 0; v < versions; v++) {
		struct bh_ruleset *ruleset;

		change(builder, &rules, 400, 1 + random_below(100));
		if (bh_builder_publish(builder, &now, NULL))
			abort();
		ruleset = ruleset_of(&rules, &words);
		show(&stand, now, ruleset, shape);
		bh_ruleset_free(&ruleset);
		if (!v && pthread_create(&reader, NULL, read_versions, &stand))
			abort();
		if (!v || v + 1 == versions)
			wait_for_versions(&stand, v ? 2 : 1);
	}
	pthread_mutex_lock(&stand.lock);
	stand.over = true;
	pthread_mutex_unlock(&stand.lock);
	pthread_join(reader, NULL);
	version_drop(stand.current);
	bh_builder_free(&builder);
	snprintf(detail, sizeof(detail), "%u lookups in %u of %u versions, %u wrong", stand.done,
	         atomic_load(&stand.versions), versions, stand.wrong);
	report("a thread looks up while rules change", !stand.wrong && stand.done, detail);
}

int main(int argc, char **argv)
{
	uint32_t lookups = argc > 1 ? (uint32_t)atol(argv[1]) : 7500000;

	random_state = argc > 2 ? (uint64_t)atol(argv[2]) : 20250102;
	compare_built(lookups);
	compare_changing(lookups / 2);
	for (uint32_t shape = 0; shape < SHAPES; shape++)
		compare_reading(lookups / 50000 + 10, shape);
	return report_counts();
}

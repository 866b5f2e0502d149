/*
 * classifier.c - linear = classifier: the same rule, in every variant that runs here, one at a time
 * and in batches, built whole, while rules go in and out of a builder, and while a thread looks up.
 * And that no rules make it larger, or longer to build, than it may be.
 *
 *   classifier LOOKUPS [SEED]
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "../../engine/filter/classifier.h"
#include "../../engine/filter/forest.h"
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

#define SHAPES 7

static uint32_t wide_address(void)
{
	return (random_below(40) * 2654435761u) << 12 | random_below(4096);
}

/* As an access list has them: hosts and networks on both sides, of a whole internet. */
static void wide_rule(struct bh_rule *rule)
{
	static const char *const fields[] = {"local", "remote"};
	char text[80];

	for (int side = 0; side < 2; side++) {
		uint32_t address = wide_address(), length = random_below(3) ? 32 : 16 + random_below(16);

		if (!random_below(6))
			continue;
		address &= (uint32_t)(0xffffffffULL << (32 - length));
		sprintf(text, "%u.%u.%u.%u/%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255, length);
		set_text(rule, fields[side], text);
	}
	set_text(rule, "protocol", random_below(3) ? "tcp" : "udp");
	sprintf(text, random_below(4) ? "%u" : "%u-65535", random_below(2000));
	set_text(rule, "local_port", text);
}

static void set_range(struct bh_rule *rule, const char *field, uint32_t first, uint32_t last)
{
	char text[24];

	sprintf(text, "%u-%u", first, last);
	set_text(rule, field, text);
}

/* As a container has them: both directions, some prefixes, some ports on either side, or none at all. */
static void container_rule(struct bh_rule *rule)
{
	static const char *const ports[] = {"local_port", "remote_port"};
	char text[24];

	rule->direction = random_below(2) ? BH_IN : BH_OUT;
	for (int side = 0; side < 2; side++) {
		sprintf(text, random_below(2) ? "10.0.0.0/14" : "10.%u.0.0/16", random_below(4));
		if (random_below(2))
			set_text(rule, side ? "remote" : "local", text);
	}
	if (!random_below(6))
		return;
	set_text(rule, "protocol", random_below(3) ? "tcp" : "udp");
	for (int side = 0; side < 2; side++) {
		uint32_t first = 1 + random_below(4) * 1000 + random_below(3);

		if (random_below(2))
			set_range(rule, ports[side], first, random_below(2) ? first : first + random_below(3000));
	}
}

/* Ranges that nearly all packets are in, or just not: nothing tells them apart. */
static void overlapping_rule(struct bh_rule *rule)
{
	uint32_t low = random_below(200), high = 255 - random_below(50);
	char text[40];

	sprintf(text, "10.%u.0.0-10.%u.255.255", random_below(2), 2 + random_below(2));
	if (random_below(8))
		set_text(rule, random_below(2) ? "remote" : "local", text);
	set_text(rule, "protocol", "tcp");
	set_range(rule, "local_port", low * 16, high * 17);
	set_range(rule, "remote_port", random_below(200) * 16, (255 - random_below(50)) * 17);
}

/*
 * Worst cases: everything matches; ranges in ranges; half of the rules without a remote address. Then
 * the usual cases at their usual sizes, and one for which there is nothing but trying one after the other.
 */
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
	if (shape >= 4) {
		shape == 4 ? wide_rule(rule) : shape == 5 ? container_rule(rule) : overlapping_rule(rule);
		return;
	}
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

static uint32_t within(uint32_t first, uint32_t last)
{
	return first + (uint32_t)((uint64_t)random_next() * ((uint64_t)last - first + 1) >> 32);
}

/* A packet that some rule of shape 4 or later has, or nearly. */
static void wide_key(struct bh_key *key, const struct bh_ruleset *ruleset)
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
	key->local = bh_address_v4(address[0]);
	key->remote = bh_address_v4(address[1]);
	key->direction = random_below(8) ? rule->direction : BH_OUT;
	key->protocol = (uint8_t)(rule->protocol < 0 ? 6 : rule->protocol);
	if (rule->local_port.count)
		key->local_port = (uint16_t)within(rule->local_port.ranges[0].first, rule->local_port.ranges[0].last);
	key->remote_port = (uint16_t)random_next();
	if (rule->remote_port.count && random_below(8))
		key->remote_port = (uint16_t)within(rule->remote_port.ranges[0].first, rule->remote_port.ranges[0].last);
}

static void some_key(struct bh_key *key, const struct bh_ruleset *ruleset, uint32_t shape)
{
	struct bh_notation packet;

	if (shape >= 4 && bh_ruleset_count(ruleset)) {
		wide_key(key, ruleset);
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
	static const uint32_t sizes[] = {0, 1, 5, 12, 16, 25, 50, 65, 130, 250, 700, 2500};
	uint32_t done = 0, wrong = 0;
	char detail[80];

	while (done < lookups) {
		uint32_t shape = random_below(SHAPES), count = sizes[random_below(shape == 4 ? 12 : 11)];
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
	struct population rules = {.next = 1, .seed = random_next(), .shape = shape};
	struct bh_classifier *classifier = NULL;
	struct bh_builder *builder = NULL;
	size_t first = 0, most = 0;
	char detail[80];

	if (bh_builder_new(&builder, NULL, NULL))
		abort();
	for (uint32_t id = 1; id <= 1000; id++)
		insert(builder, rules.seed, id, shape);
	for (uint32_t round = 0; round < 200; round++) {
		uint32_t from = 1 + random_below(500), count = round % 2 ? 500 : 1 + random_below(50);

		for (uint32_t id = from; round && id < from + count; id++)
			bh_builder_delete(builder, id, NULL);
		for (uint32_t id = from; round && id < from + count; id++)
			insert(builder, rules.seed, id, shape);
		if (bh_builder_publish(builder, &classifier, NULL))
			abort();
		most = bh_classifier_bytes(classifier);
		first = first ? first : most;
		bh_classifier_free(&classifier);
	}
	bh_builder_free(&builder);
	snprintf(detail, sizeof(detail), "%zu bytes at first, %zu at last", first, most);
	report("rules that go and come leave nothing behind", most <= first + first / 2, detail);
}

int main(int argc, char **argv)
{
	uint32_t lookups = argc > 1 ? (uint32_t)atol(argv[1]) : 7500000;

	random_state = argc > 2 ? (uint64_t)atol(argv[2]) : 20250102;
	compare_built(lookups);
	compare_changing(lookups / 2);
	for (uint32_t shape = 0; shape < SHAPES; shape++)
		compare_reading(lookups / 50000 + 10, shape);
	hold_budgets();
	hold_builder();
	for (uint32_t shape = 0; shape < SHAPES; shape++)
		hold_rounds(shape);
	printf("%d passed, %d failed, 0 skipped\n", passed, failed);
	return failed != 0;
}

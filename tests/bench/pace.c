/*
 * pace.c - how fast rules go in and out of a builder that publishes after every 1,000 changes, while
 * another thread looks up in what is current. All rounds have the same versions. In the first and the last
 * each is compared with a linear scan of the rules that are in just then; these are not timed, since a
 * scan takes all caches.
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "../../engine/filter/classifier.h"
#include "bench.h"

#define CHANGES 1000 /* between publications */
#define CHECKS 32    /* packets of each version that are compared */
#define BATCH 256
#define ROUNDS_MOST 400
#define SECONDS 2.0

/* What the reader sees. */
struct stand {
	const struct bench_set *set;
	pthread_mutex_t lock;
	struct bh_classifier *current;
	bool over;
	uint64_t lookups;
};

struct pacing {
	const struct bench_set *set;
	struct bench_pace *pace;
	struct stand stand;
	struct bh_builder *builder;
	struct bh_rule *rules;
	bool *in;        /* by line */
	uint32_t *order; /* in which lines go, and come again */
	uint32_t count, packet, done;
	void *linear;
};

/* On the other processors, if there are some. */
static void *look_up(void *arg)
{
	struct stand *stand = arg;
	uint32_t places[BATCH], at = 0;
	int here = sched_getcpu();
	cpu_set_t others;

	CPU_ZERO(&others);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (cpu != here)
			CPU_SET(cpu, &others);
	if (stand->set->packets_count < BATCH || sched_setaffinity(0, sizeof(others), &others))
		return NULL;
	for (;;) {
		struct bh_classifier *classifier;

		pthread_mutex_lock(&stand->lock);
		classifier = stand->over ? NULL : bh_classifier_ref(stand->current);
		pthread_mutex_unlock(&stand->lock);
		if (!classifier)
			return NULL;
		at = at + BATCH > stand->set->packets_count ? 0 : at;
		bh_classifier_lookup_batch(classifier, stand->set->keys + at, BATCH, places);
		at += BATCH;
		stand->lookups += BATCH;
		bh_classifier_free(&classifier);
	}
}

static void publish(struct pacing *pacing)
{
	struct bh_classifier *next, *old;

	if (bh_builder_publish(pacing->builder, &next, NULL))
		abort();
	pthread_mutex_lock(&pacing->stand.lock);
	old = pacing->stand.current;
	pacing->stand.current = next;
	pthread_mutex_unlock(&pacing->stand.lock);
	bh_classifier_free(&old);
	pacing->pace->versions++;
}

static int32_t line_of(const struct bh_classifier *classifier, uint32_t place)
{
	return place == BH_PLACE_NONE ? -1 : (int32_t)bh_classifier_at(classifier, place)->rule - 1;
}

/* Some packets in the version that is current. */
static void check(struct pacing *pacing)
{
	const struct bench_set *set = pacing->set;

	for (uint32_t i = 0; i < CHECKS && pacing->count == set->rules_count; i++) {
		uint32_t at = pacing->packet++ % set->packets_count;
		uint32_t place = bh_classifier_lookup(pacing->stand.current, &set->keys[at]);

		pacing->pace->wrong += line_of(pacing->stand.current, place) != bench_linear_among(pacing->linear, at, pacing->in);
	}
}

/* Takes half of the rules out, or puts them back; how long it took. */
static double go(struct pacing *pacing, bool insert, bool checked)
{
	double began = bench_now();

	for (uint32_t i = 0; i < pacing->count / 2; i++) {
		uint32_t line = pacing->order[i];

		if (insert ? bh_builder_insert(pacing->builder, &pacing->rules[line], NULL)
		           : bh_builder_delete(pacing->builder, line + 1, NULL))
			abort();
		pacing->in[line] = insert;
		if (++pacing->done % CHANGES)
			continue;
		publish(pacing);
		if (checked)
			check(pacing);
	}
	return bench_now() - began;
}

/* The current version, with all rules in: each packet, and how fast. */
static void measure(struct pacing *pacing)
{
	const struct bench_set *set = pacing->set;
	const struct bh_classifier *classifier = pacing->stand.current;
	uint32_t *places = malloc((set->packets_count + 1) * sizeof(*places));
	double best[2] = {1e9, 1e9};

	for (int round = 0; round < 5; round++) {
		double began = bench_now(), middle;

		for (uint32_t i = 0; i < set->packets_count; i++)
			places[i] = bh_classifier_lookup(classifier, &set->keys[i]);
		middle = bench_now();
		best[0] = middle - began < best[0] ? middle - began : best[0];
		for (uint32_t i = 0; i < set->packets_count; i += BATCH)
			bh_classifier_lookup_batch(classifier, set->keys + i,
			                           set->packets_count - i < BATCH ? set->packets_count - i : BATCH, places + i);
		best[1] = bench_now() - middle < best[1] ? bench_now() - middle : best[1];
	}
	for (uint32_t i = 0; i < set->packets_count && pacing->count == set->rules_count; i++)
		pacing->pace->wrong += line_of(classifier, places[i]) != set->first[i];
	pacing->pace->bytes = bh_classifier_bytes(classifier);
	pacing->pace->single = set->packets_count / best[0] / 1e6;
	pacing->pace->batch = set->packets_count / best[1] / 1e6;
	free(places);
}

static void run(struct pacing *pacing)
{
	struct bench_pace *pace = pacing->pace;
	double spent[2] = {0};
	pthread_t reader;

	publish(pacing);
	if (pthread_create(&reader, NULL, look_up, &pacing->stand))
		abort();
	go(pacing, false, true);
	go(pacing, true, true);
	for (int round = 0; round < ROUNDS_MOST && spent[0] + spent[1] < SECONDS; round++)
		for (int way = 0; way < 2; way++) {
			spent[way] += go(pacing, way, false);
			*(way ? &pace->inserts : &pace->deletes) += pacing->count / 2;
		}
	go(pacing, false, true);
	go(pacing, true, true);
	publish(pacing);
	pthread_mutex_lock(&pacing->stand.lock);
	pacing->stand.over = true;
	pthread_mutex_unlock(&pacing->stand.lock);
	pthread_join(reader, NULL);
	pace->lookups = pacing->stand.lookups;
	pace->inserts /= spent[1];
	pace->deletes /= spent[0];
	measure(pacing);
}

void bench_pace(const struct bench_set *set, struct bench_pace *pace)
{
	struct pacing pacing = {.set = set, .pace = pace, .stand = {.set = set, .lock = PTHREAD_MUTEX_INITIALIZER}};
	uint32_t n = pacing.count = set->rules_count < 65536 ? set->rules_count : 65536, seed = 1;
	size_t bytes;

	pacing.rules = calloc(n + 1, sizeof(*pacing.rules));
	pacing.order = malloc((n + 1) * sizeof(*pacing.order));
	pacing.in = malloc(n + 1);
	pacing.linear = bench_linear.build(set, &bytes);
	if (bh_builder_new(&pacing.builder, NULL, NULL))
		abort();
	for (uint32_t i = 0; i < n; i++) {
		uint32_t j = (uint32_t)((uint64_t)(seed = seed * 1664525 + 1013904223) * (i + 1) >> 32);

		bench_rule(&pacing.rules[i], set, i, true);
		bh_builder_insert(pacing.builder, &pacing.rules[i], NULL);
		pacing.in[i] = true;
		pacing.order[i] = pacing.order[j];
		pacing.order[j] = i;
	}
	run(&pacing);
	bh_classifier_free(&pacing.stand.current);
	bh_builder_free(&pacing.builder);
	for (uint32_t i = 0; i < n; i++)
		bh_rule_clear(&pacing.rules[i]);
	bench_linear.free(pacing.linear);
	free(pacing.rules);
	free(pacing.order);
	free(pacing.in);
}

/*
 * classifier.c - bench-classifier RULES TRACE [--json]: our classifier beside its peers, in one go.
 *
 * Every contender is built from the same rules and must give the same rule for every packet: the
 * trace's first match where it names one, and a linear scan's. Then rounds: each contender in turn,
 * one packet at a time and in batches, over the whole trace; the median of the rounds counts. Last,
 * rules go in and out of a builder: pace.c.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../engine/filter/classifier.h"
#include "bench.h"

#define ROUNDS 7
#define ROUND_SECONDS 0.04
#define CONTENDERS 4

struct score {
	bool present;
	void *self;
	uint32_t wrong;
	double build_ms;
	size_t bytes;
	double single[ROUNDS], batch[ROUNDS]; /* million lookups/s */
};

struct ours {
	const struct bench_set *set;
	struct bh_classifier *classifier;
};

static struct bh_ruleset *the_ruleset;

static void *ours_build(const struct bench_set *set, size_t *bytes)
{
	struct ours *ours = calloc(1, sizeof(*ours));

	ours->set = set;
	if (bh_classifier_build(&ours->classifier, the_ruleset, NULL))
		abort();
	*bytes = bh_classifier_bytes(ours->classifier);
	return ours;
}

/* Built without gaps, a place is the rule's index in the ruleset: its line. */
static void ours_single(void *self, uint32_t from, uint32_t count, int32_t *answers)
{
	const struct ours *ours = self;
	const struct bh_classifier *classifier = ours->classifier;
	const struct bh_key *keys = ours->set->keys + from;

	for (uint32_t i = 0; i < count; i++)
		answers[i] = (int32_t)bh_classifier_lookup(classifier, &keys[i]);
}

static void ours_batch(void *self, uint32_t from, uint32_t count, int32_t *answers)
{
	const struct ours *ours = self;

	for (uint32_t i = 0; i < count; i += 256)
		bh_classifier_lookup_batch(ours->classifier, ours->set->keys + from + i, count - i < 256 ? count - i : 256,
		                           (uint32_t *)answers + i);
}

static void ours_free(void *self)
{
	struct ours *ours = self;

	bh_classifier_free(&ours->classifier);
	free(ours);
}

static const struct contender ours_contender = {
	"bulkhead", 0, BH_PLACE_NONE, ours_build, ours_single, ours_batch, NULL, ours_free,
};

static const struct contender *const contenders[CONTENDERS] = {
	&ours_contender, &bench_linear, &bench_rte_acl, &bench_linear_simd,
};

static uint32_t count_wrong(const struct contender *contender, const struct bench_set *set, const int32_t *answers)
{
	uint32_t wrong = 0;

	for (uint32_t i = 0; i < set->packets_count; i++)
		wrong += answers[i] != (set->first[i] < 0 ? contender->none : set->first[i] + contender->base);
	return wrong;
}

static void build(struct score *score, const struct contender *contender, const struct bench_set *set)
{
	int32_t *answers = malloc(set->packets_count * sizeof(*answers));
	double began = bench_now();

	score->self = contender->build(set, &score->bytes);
	score->build_ms = (bench_now() - began) * 1e3;
	score->present = score->self != NULL;
	if (score->present && contender->tune)
		contender->tune(score->self, set);
	if (score->present) {
		contender->single(score->self, 0, set->packets_count, answers);
		score->wrong = count_wrong(contender, set, answers);
		if (contender->batch) {
			contender->batch(score->self, 0, set->packets_count, answers);
			score->wrong += count_wrong(contender, set, answers);
		}
	}
	free(answers);
}

/* Million lookups a second of one contender over the trace, again and again for a while. */
static double speed(void (*lookup)(void *, uint32_t, uint32_t, int32_t *), void *self,
                    const struct bench_set *set, int32_t *answers)
{
	uint32_t part = set->packets_count < 4096 ? set->packets_count : 4096, at = 0;
	double began = bench_now(), took = 0;
	uint64_t done = 0;

	while (took < ROUND_SECONDS) {
		if (at + part > set->packets_count)
			at = 0;
		lookup(self, at, part, answers);
		at += part;
		done += part;
		took = bench_now() - began;
	}
	return (double)done / took / 1e6;
}

static int by_value(const void *a, const void *b)
{
	return *(const double *)a < *(const double *)b ? -1 : *(const double *)a > *(const double *)b;
}

static double median(double values[ROUNDS])
{
	qsort(values, ROUNDS, sizeof(*values), by_value);
	return values[ROUNDS / 2];
}

static void race(struct score scores[CONTENDERS], const struct bench_set *set)
{
	int32_t *answers = malloc(4096 * sizeof(*answers));

	for (int round = 0; round < ROUNDS; round++)
		for (int c = 0; c < CONTENDERS; c++) {
			if (!scores[c].present)
				continue;
			scores[c].single[round] = speed(contenders[c]->single, scores[c].self, set, answers);
			scores[c].batch[round] = contenders[c]->batch
			                         ? speed(contenders[c]->batch, scores[c].self, set, answers)
			                         : scores[c].single[round];
		}
	free(answers);
}

/* Truth where the trace has none; where it has one, the two must agree. */
static void settle_truth(struct bench_set *set)
{
	size_t bytes;
	void *linear = bench_linear.build(set, &bytes);
	int32_t answer;

	for (uint32_t i = 0; i < set->packets_count; i++) {
		if (set->first[i] >= -1)
			continue;
		bench_linear.single(linear, i, 1, &answer);
		set->first[i] = answer;
	}
	bench_linear.free(linear);
}

/* The last processor this process may use: interrupts tend to be on the first. */
static void pin(void)
{
	cpu_set_t all, one;
	int cpu = CPU_SETSIZE - 1;

	if (sched_getaffinity(0, sizeof(all), &all))
		return;
	while (cpu && !CPU_ISSET(cpu, &all))
		cpu--;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void print_score(struct score *score)
{
	printf("\"wrong\": %u, \"build_ms\": %.3f, \"bytes\": %zu, \"single_mlps\": %.2f, \"batch_mlps\": %.2f",
	       score->wrong, score->build_ms, score->bytes, median(score->single), median(score->batch));
}

static void print_json(struct score scores[CONTENDERS], const struct bench_set *set, const struct bench_pace *pace)
{
	const char *comma = "";

	printf("{\"rules\": %u, \"packets\": %u, ", set->rules_count, set->packets_count);
	scores[0].wrong += pace->wrong;
	print_score(&scores[0]);
	printf(", \"inserts_per_s\": %.0f, \"deletes_per_s\": %.0f, \"versions\": %u, \"lookups_meanwhile\": %llu, ",
	       pace->inserts, pace->deletes, pace->versions, (unsigned long long)pace->lookups);
	printf("\"builder\": {\"bytes\": %zu, \"single_mlps\": %.2f, \"batch_mlps\": %.2f}, \"peers\": {", pace->bytes,
	       pace->single, pace->batch);
	for (int c = 1; c < CONTENDERS; c++) {
		if (!scores[c].present)
			continue;
		printf("%s\"%s\": {", comma, contenders[c]->name);
		print_score(&scores[c]);
		printf("}");
		comma = ", ";
	}
	printf("}}\n");
}

static void print_text(struct score scores[CONTENDERS], const struct bench_set *set, const struct bench_pace *pace)
{
	printf("%u rules, %u packets\n%-12s %6s %10s %11s %9s %9s\n", set->rules_count, set->packets_count, "",
	       "wrong", "build ms", "bytes", "single", "batch");
	for (int c = 0; c < CONTENDERS; c++)
		if (scores[c].present)
			printf("%-12s %6u %10.2f %11zu %9.2f %9.2f\n", contenders[c]->name, scores[c].wrong, scores[c].build_ms,
			       scores[c].bytes, median(scores[c].single), median(scores[c].batch));
	printf("(million lookups/s)  inserts %.2f M/s, deletes %.2f M/s; in %u versions %u wrong; %.1f M lookups meanwhile\n",
	       pace->inserts / 1e6, pace->deletes / 1e6, pace->versions, pace->wrong, (double)pace->lookups / 1e6);
	printf("as published by a builder: %zu bytes, %.2f single, %.2f batch\n", pace->bytes, pace->single, pace->batch);
}

int main(int argc, char **argv)
{
	struct score scores[CONTENDERS] = {{0}};
	struct bench_set set;
	struct bench_pace pace = {0};
	uint32_t wrong = 0;
	bool json = argc == 4 && !strcmp(argv[3], "--json");

	if (argc != 3 && !json) {
		fprintf(stderr, "usage: bench-classifier RULES TRACE [--json]\n");
		return 2;
	}
	bench_read(&set, argv[1], argv[2]);
	the_ruleset = bench_ruleset(&set);
	settle_truth(&set);
	for (int c = 0; c < CONTENDERS; c++) {
		build(&scores[c], contenders[c], &set);
		pin();
	}
	race(scores, &set);
	bench_pace(&set, &pace);
	(json ? print_json : print_text)(scores, &set, &pace);
	for (int c = 0; c < CONTENDERS; c++) {
		wrong += c ? 0 : scores[c].wrong;
		if (scores[c].present)
			contenders[c]->free(scores[c].self);
	}
	bh_ruleset_free(&the_ruleset);
	free(set.rules);
	free(set.packets);
	free(set.keys);
	free(set.first);
	return wrong + pace.wrong != 0;
}

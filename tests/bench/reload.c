/*
 * reload.c - a thousand endpoints get another policy, in the kernel: all at once.
 *
 *   bench-reload [ENDPOINTS] [--json FILE]       default 1000
 *
 * Every endpoint has a table shared by all and one of its own. Each gets a new conf staged, which no
 * packet may meet yet; then one word is flipped, after which every packet must meet it. Times are of
 * publishing the tables, of staging, and of the flip; the median of five changes. Exit status 1 if a
 * packet met the wrong policy.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../engine/filter/evaluate.h"
#include "../../engine/filter/notation.h"
#include "pinned.h"

#define FIRST 1000u
#define CHANGES 5
#define SHARED_RULES 1000

static struct bh_gate_kernel *gate;
static uint32_t endpoints;

static void must(int rc, const struct bh_error *err)
{
	if (!rc)
		return;
	fprintf(stderr, "bench-reload: %s\n", err->message);
	exit(2);
}

static double ms_since(uint64_t start)
{
	return (double)(bh_gate_now() - start) / 1e6;
}

/* `count` rules for other ports, and before them one that blocks all and has `id`. */
static struct bh_table *make_table(uint32_t id, uint32_t count)
{
	struct bh_ruleset *ruleset = NULL;
	struct bh_table *table = NULL;
	struct bh_error err;

	must(bh_ruleset_new(&ruleset, &err), &err);
	for (uint32_t i = 0; i <= count; i++) {
		struct bh_rule rule;
		char port[8];

		snprintf(port, sizeof(port), "%u", 1000 + i);
		bh_rule_init(&rule, i ? BH_ALLOW : BH_BLOCK, BH_IN);
		rule.id = id + i;
		rule.protocol = i ? BH_PROTO_TCP : -1;
		must(i ? bh_rule_set(&rule, "local_port", port, &err) : 0, &err);
		must(bh_ruleset_add(ruleset, &rule, &err), &err);
		bh_rule_clear(&rule);
	}
	must(bh_table_compile(&table, ruleset, BH_TABLE_MAX, &err), &err);
	bh_ruleset_free(&ruleset);
	return table;
}

/* Ids of change `change`'s tables: the shared one, then the endpoints' own. */
static uint32_t table_id(uint32_t change, uint32_t own)
{
	return 1 + change * (endpoints + 1) + own;
}

static void publish(uint32_t change)
{
	struct bh_error err;

	for (uint32_t i = 0; i <= endpoints; i++) {
		struct bh_table *table = make_table(1 + change * 100000, i ? 1 : SHARED_RULES);

		must(bh_gate_table_put(gate, table_id(change, i), table, &err), &err);
		bh_table_free(&table);
	}
}

static struct bh_conf conf_of(uint32_t change, uint32_t i)
{
	struct bh_conf conf;

	bh_conf_init(&conf);
	conf.endpoint = conf.compartment = FIRST + i;
	conf.generation = 1 + change;
	conf.flags = 0;
	conf.tables[0].id = table_id(change, 0);
	conf.tables[1].id = table_id(change, 1 + i);
	return conf;
}

/* How many endpoints' packets meet another policy than that of the change. */
static uint32_t count_wrong(uint32_t change)
{
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x02};
	struct bh_notation packet = {.direction = BH_IN, .protocol = BH_PROTO_UDP, .target_port = 53};
	uint8_t frame[BH_FRAME_MAX];
	struct bh_verdict verdict;
	struct bh_error err;
	uint32_t size, wrong = 0;

	packet.source = bh_address_v4(0x0a000001);
	packet.target = bh_address_v4(0x0b000001);
	size = bh_notation_frame(&packet, mac, mac, frame);
	for (uint32_t i = 0; i < endpoints; i++) {
		must(bh_gate_test_run(gate, FIRST + i, BH_IN, frame, size, &verdict, &err), &err);
		wrong += verdict.rule != 1 + change * 100000;
	}
	return wrong;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static int bench(struct bh_gate_kernel *opened, uint32_t number, FILE *json)
{
	double publishing[CHANGES], staging[CHANGES], flipping[CHANGES];
	uint32_t wrong = 0;
	struct bh_error err;

	gate = opened;
	endpoints = number;
	publish(0);
	for (uint32_t i = 0; i < endpoints; i++) {
		struct bh_conf conf = conf_of(0, i);

		must(bh_gate_share_put(gate, FIRST + i, &err), &err);
		must(bh_gate_conf_put(gate, FIRST + i, &conf, &err), &err);
	}
	for (uint32_t change = 1; change <= CHANGES; change++) {
		uint64_t start = bh_gate_now();

		publish(change);
		publishing[change - 1] = ms_since(start);
		start = bh_gate_now();
		must(bh_gate_conf_unstage(gate, &err), &err);
		for (uint32_t i = 0; i < endpoints; i++) {
			struct bh_conf conf = conf_of(change, i);

			must(bh_gate_conf_stage(gate, FIRST + i, &conf, &err), &err);
		}
		staging[change - 1] = ms_since(start);
		wrong += count_wrong(change - 1);
		start = bh_gate_now();
		bh_gate_conf_commit(gate);
		flipping[change - 1] = ms_since(start);
		wrong += count_wrong(change);
	}
	qsort(publishing, CHANGES, sizeof(double), by_value);
	qsort(staging, CHANGES, sizeof(double), by_value);
	qsort(flipping, CHANGES, sizeof(double), by_value);
	printf("%u endpoints get another policy: %u packets met the wrong one; compiling and publishing a table "
	       "each %.1f ms, staging %.2f ms, the flip %.4f ms  (target: 500 ms)\n", endpoints, wrong,
	       publishing[CHANGES / 2], staging[CHANGES / 2], flipping[CHANGES / 2]);
	if (json)
		fprintf(json, "{\"endpoints\":%u,\"wrong\":%u,\"tables_ms\":%.2f,\"stage_ms\":%.2f,\"flip_ms\":%.4f}\n",
		        endpoints, wrong, publishing[CHANGES / 2], staging[CHANGES / 2], flipping[CHANGES / 2]);
	return wrong != 0;
}

int main(int argc, char **argv)
{
	return bench_pinned(argc, argv, 1000, bench);
}

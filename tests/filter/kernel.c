/*
 * kernel.c - what a gate in the kernel keeps whatever races: quotas, its accounts of flows, counters, and that
 * a policy is replaced at once or not at all.
 *
 *   kernel [PACKETS]     so many that race
 *
 * Packets are the program's own, by BPF_PROG_TEST_RUN. Prints one line a property and the counts.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../engine/filter/evaluate.h"
#include "../../engine/gate/maps.h"
#include "../support/pinned.h"
#include "../support/shapes.h"
#include "../support/talk.h"

struct counting {
	uint32_t endpoint;
	uint32_t count;
};

static int count_flow(const struct bh_flow_key *key, const struct bh_flow *flow, void *arg)
{
	struct counting *counting = arg;

	(void)flow;
	counting->count += key->endpoint == counting->endpoint;
	return 0;
}

static uint32_t flows_of(struct bh_gate_kernel *gate, uint32_t endpoint)
{
	struct counting counting = {endpoint, 0};

	bh_gate_flow_each(gate, count_flow, &counting, NULL);
	return counting.count;
}

/* `count` UDP packets out of an endpoint, each a flow of its own; how many were let through. */
static uint32_t flood(struct bh_gate_kernel *gate, uint32_t endpoint, uint32_t count)
{
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x02};
	struct bh_notation packet = {.direction = BH_OUT, .protocol = BH_PROTO_UDP};
	uint32_t passed_packets = 0;

	packet.source = bh_address_v4(0x0a000001);
	for (uint32_t i = 0; i < count; i++) {
		uint8_t frame[BH_FRAME_MAX];
		struct bh_verdict verdict = {0};

		packet.target = bh_address_v4(0x0b000000 + i / 50000);
		packet.source_port = (uint16_t)(1 + i % 50000);
		packet.target_port = 53;
		if (bh_gate_test_run(gate, endpoint, BH_OUT, frame, bh_notation_frame(&packet, mac, mac, frame), &verdict,
		                     NULL))
			break;
		passed_packets += verdict.action == BH_ALLOW;
	}
	return passed_packets;
}

/* One compartment's flood costs no other a flow; what is removed is given back. */
static void keep_quotas(struct bh_gate_kernel *gate)
{
	struct bh_conf conf[2];
	char detail[120];
	uint32_t quiet, flooding, let_through, after;

	for (uint32_t i = 0; i < 2; i++) {
		bh_conf_init(&conf[i]);
		conf[i].endpoint = conf[i].compartment = 900001 + i;
		conf[i].flags = 0;
		conf[i].flows_limit = i ? 3000 : 500;
		conf[i].flows_guaranteed = i ? 1024 : 500;
		if (bh_gate_share_put(gate, 900001 + i, NULL) || bh_gate_conf_put(gate, 900001 + i, &conf[i], NULL))
			abort();
	}
	flood(gate, 900001, 400);
	let_through = flood(gate, 900002, 20000);
	quiet = flows_of(gate, 900001);
	flooding = flows_of(gate, 900002);
	bh_gate_conf_remove(gate, 900002, NULL);
	after = flows_of(gate, 900002) + flows_of(gate, 900001);
	bh_gate_conf_remove(gate, 900001, NULL);
	bh_gate_share_remove(gate, 900001, NULL);
	bh_gate_share_remove(gate, 900002, NULL);
	snprintf(detail, sizeof(detail), "%u of 20000 packets passed; %u flows beside %u undisturbed ones, then %u",
	         let_through, flooding, quiet, after);
	report("a flood costs no other compartment a flow",
	       let_through == 20000 && quiet == 400 && flooding == 3000 && after == 400, detail);
}

/* Questions and answers of many conversations, as fast as it goes. */
static void stress(struct bh_gate_kernel *gate, uint32_t endpoint, uint32_t packets, uint64_t seed)
{
	random_state = seed;
	for (uint32_t i = 0; i < packets; i++)
		talk(gate, endpoint, 0x0c000001, (uint16_t)(1 + random_below(400)), random_below(2));
}

static int count_stressed(const struct bh_flow_key *key, const struct bh_flow *flow, void *arg)
{
	(void)flow;
	*(uint32_t *)arg += key->remote.lo == (BH_V4_MAPPED | 0x0c000001);
	return 0;
}

/*
 * Two processors open, answer and replace the same conversations at once. Whatever races there were,
 * no row may be left that cannot be replaced: as many answered conversations replace them all.
 */
static void race(struct bh_gate_kernel *gate, uint32_t packets)
{
	enum { ENDPOINT = 900010, LIMIT = 256, PROCESSES = 4 };
	uint32_t left = 0, passed_packets = 0;
	struct bh_conf conf;
	char detail[120];

	bh_conf_init(&conf);
	conf.endpoint = conf.compartment = ENDPOINT;
	conf.flags = BH_CONF_BLOCK_IN;
	conf.flows_limit = conf.flows_guaranteed = LIMIT;
	if (bh_gate_share_put(gate, ENDPOINT, NULL) || bh_gate_conf_put(gate, ENDPOINT, &conf, NULL))
		abort();
	fflush(stdout);
	for (int i = 0; i < PROCESSES; i++)
		if (fork() == 0) {
			stress(gate, ENDPOINT, packets / PROCESSES, 77 + (uint64_t)i);
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	for (uint16_t port = 1; port <= 3 * LIMIT; port++)
		passed_packets += talk(gate, ENDPOINT, 0x0c000002, port, BH_OUT) &&
		                  talk(gate, ENDPOINT, 0x0c000002, port, BH_IN);
	bh_gate_flow_each(gate, count_stressed, &left, NULL);
	bh_gate_conf_remove(gate, ENDPOINT, NULL);
	bh_gate_share_remove(gate, ENDPOINT, NULL);
	snprintf(detail, sizeof(detail), "%u of %d packets passed after %u that raced, %u of their rows left",
	         passed_packets, 3 * LIMIT, packets, left);
	report("rows that raced can be replaced", passed_packets == 3 * LIMIT && !left, detail);
}

/* Packets of endpoint `id` by the processor: each after the first is its flow's. */
static void send_on(struct bh_gate_kernel *gate, uint32_t id, int processor, uint32_t packets)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)processor, &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (uint32_t i = 0; i < packets; i++)
		talk(gate, id, 0x0c000003, 80, BH_OUT);
}

/*
 * Endpoints that share a row of what is not in their counters yet take turns on every processor there
 * is: read while it goes on, their counters never go back, and afterwards they are exact.
 */
static void count(struct bh_gate_kernel *gate)
{
	enum { ENDPOINT = 900030, SHARING = 3, ROUNDS = 300, MORE = 2 };
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x02};
	struct bh_counters counters = {0}, before = {0};
	uint32_t wrong = 0, back = 0;
	pid_t child;
	char detail[120];

	for (uint32_t i = 0; i < SHARING; i++) {
		uint32_t id = ENDPOINT + i * BH_PENDING;
		struct bh_conf conf;

		bh_conf_init(&conf);
		conf.endpoint = conf.compartment = id;
		memcpy(conf.mac, mac, 6);
		conf.addresses[0] = conf.broadcasts[0] = bh_address_v4(0x0a000001);
		conf.addresses_count = 1;
		if (bh_gate_share_put(gate, id, NULL) || bh_gate_conf_put(gate, id, &conf, NULL))
			abort();
	}
	fflush(stdout);
	child = fork();
	if (!child) {
		for (uint32_t round = 0; round < ROUNDS; round++)
			for (uint32_t i = 0; i < SHARING; i++)
				send_on(gate, ENDPOINT + i * BH_PENDING, (int)(round % 2), i + MORE);
		_exit(0);
	}
	while (!waitpid(child, NULL, WNOHANG)) {
		wrong += bh_gate_counters_read(gate, ENDPOINT, &counters, NULL) != 0;
		back += counters.packets[BH_OUT] < before.packets[BH_OUT] || counters.bytes[BH_OUT] < before.bytes[BH_OUT];
		before = counters;
	}
	for (uint32_t i = 0; i < SHARING; i++) {
		uint32_t id = ENDPOINT + i * BH_PENDING;

		if (bh_gate_counters_read(gate, id, &counters, NULL) ||
		    counters.packets[BH_OUT] != ROUNDS * (i + MORE) || counters.packets[BH_IN] ||
		    counters.bytes[BH_OUT] % (ROUNDS * (i + MORE)) || !counters.bytes[BH_OUT])
			wrong++;
		bh_gate_conf_remove(gate, id, NULL);
		bh_gate_share_remove(gate, id, NULL);
	}
	snprintf(detail, sizeof(detail), "%u wrong, %u times less than before", wrong, back);
	report("counters are exact", !wrong && !back, detail);
}

/* A table whose first rule blocks all of an endpoint's packets and has the version as its id. */
static void put_version(struct bh_gate_kernel *gate, uint32_t table, uint32_t version)
{
	struct bh_ruleset *ruleset = shape_ruleset(SHAPE_HOSTS, 50 + random_below(400));
	struct bh_table *compiled;
	struct bh_rule rule;

	bh_rule_init(&rule, BH_BLOCK, BH_IN);
	rule.id = 100000 + version;
	rule.priority = 0;
	if (bh_ruleset_add(ruleset, &rule, NULL) || bh_table_compile(&compiled, ruleset, 64u << 20, NULL) ||
	    bh_gate_table_put(gate, table, compiled, NULL))
		abort();
	bh_table_free(&compiled);
	bh_ruleset_free(&ruleset);
}

/* The version that a packet to the endpoint meets. */
static uint32_t version_met(struct bh_gate_kernel *gate, uint32_t endpoint)
{
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x02};
	struct bh_notation packet = {.direction = BH_IN, .protocol = BH_PROTO_TCP, .tcp_flags = BH_TCP_SYN};
	struct bh_verdict verdict = {0};
	uint8_t frame[BH_FRAME_MAX];

	packet.source = bh_address_v4(0x0a000001);
	packet.target = bh_address_v4(0x0a000002);
	if (bh_gate_test_run(gate, endpoint, BH_IN, frame, bh_notation_frame(&packet, mac, mac, frame), &verdict, NULL))
		return 0;
	return verdict.by == BH_BY_RULE && verdict.rule > 100000 ? verdict.rule - 100000 : 0;
}

enum { REPLACED = 900020, REPLACED_COUNT = 40, VERSIONS = 400 };

static void replaced_conf(struct bh_conf *conf, uint32_t i, uint32_t version)
{
	bh_conf_init(conf);
	conf->endpoint = conf->compartment = REPLACED + i;
	conf->generation = version;
	conf->flags = 0;
	conf->tables[0].id = REPLACED + 100 + version; /* one table for all */
}

/* Goes round the endpoints as long as they have a policy: versions may only grow. Exit status 0, 1. */
static int watch(struct bh_gate_kernel *gate)
{
	uint32_t last = 1, seen = 0;

	while (last < VERSIONS) {
		uint32_t version = version_met(gate, REPLACED + seen++ % REPLACED_COUNT);

		if (version < last)
			return 1;
		last = version;
	}
	return 0;
}

/*
 * Forty endpoints get a new policy 400 times while packets go round them: each packet meets a whole
 * table, and once one endpoint has the new policy all have. Every tenth is staged, then never put in force.
 */
static void replace(struct bh_gate_kernel *gate)
{
	uint32_t stale = 0, refused = 0;
	struct bh_conf conf;
	char detail[120];
	int status[2] = {0};

	put_version(gate, REPLACED + 101, 1);
	for (uint32_t i = 0; i < REPLACED_COUNT; i++) {
		replaced_conf(&conf, i, 1);
		if (bh_gate_share_put(gate, REPLACED + i, NULL) || bh_gate_conf_put(gate, REPLACED + i, &conf, NULL))
			abort();
	}
	fflush(stdout);
	for (int i = 0; i < 2; i++)
		if (fork() == 0)
			_exit(watch(gate));
	for (uint32_t version = 2; version <= VERSIONS; version++) {
		bool never = version % 10 == 0 && version < VERSIONS;

		put_version(gate, REPLACED + 100 + version, version);
		refused += bh_gate_conf_unstage(gate, NULL) != 0;
		for (uint32_t i = 0; i < REPLACED_COUNT; i++) {
			replaced_conf(&conf, i, version);
			refused += bh_gate_conf_stage(gate, REPLACED + i, &conf, NULL) != 0;
		}
		if (!never)
			bh_gate_conf_commit(gate);
		for (uint32_t i = 0; i < REPLACED_COUNT; i++)
			stale += version_met(gate, REPLACED + i) != version - never;
		refused += bh_gate_table_remove(gate, REPLACED + 100 + version - !never, NULL) != 0;
		if (never) /* its table is gone: the next is on top of the last that was in force */
			put_version(gate, REPLACED + 100 + version, version);
		if (version > 2 && (version - 1) % 10 == 0)
			refused += bh_gate_table_remove(gate, REPLACED + 100 + version - 2, NULL) != 0;
	}
	for (int i = 0; i < 2; i++)
		wait(&status[i]);
	for (uint32_t i = 0; i < REPLACED_COUNT; i++) {
		bh_gate_conf_remove(gate, REPLACED + i, NULL);
		bh_gate_share_remove(gate, REPLACED + i, NULL);
	}
	bh_gate_table_remove(gate, REPLACED + 100 + VERSIONS, NULL);
	snprintf(detail, sizeof(detail), "%u of %u packets met another policy than the one in force, %u operations failed%s",
	         stale, (VERSIONS - 1) * REPLACED_COUNT, refused, status[0] || status[1] ? ", half of one was seen" : "");
	report("policies are replaced at once or not at all", !stale && !refused && !status[0] && !status[1], detail);
}

/* Pins of a later layout are named, and nothing is loaded beside them. */
static void refuse_layout(const char *directory)
{
	struct bh_gate_kernel *gate = NULL;
	struct bh_error err = {0};
	char path[64];
	int rc;

	snprintf(path, sizeof(path), "%s/bh_gate_out-%d", directory, BH_ABI + 1);
	if (mkdir(path, 0700))
		abort();
	rc = bh_gate_open(&gate, directory, true, &err);
	rmdir(path);
	snprintf(path, sizeof(path), "(layout %d, this one knows %d)", BH_ABI + 1, BH_ABI);
	report("pins of a later layout are refused and named", rc == -EPROTO && !gate && strstr(err.message, path),
	       err.message);
}

static void keep_all(struct bh_gate_kernel *gate, const char *directory, void *arg)
{
	(void)directory;
	replace(gate);
	keep_quotas(gate);
	race(gate, *(uint32_t *)arg);
	count(gate);
}

int main(int argc, char **argv)
{
	uint32_t packets = argc > 1 ? (uint32_t)atol(argv[1]) : 200000;

	random_state = 20250101;
	with_pinned("what a gate keeps", &(struct pinned){refuse_layout, keep_all, &packets});
	return report_counts();
}

/*
 * property.c - linear = compiled = in the kernel: the same verdict and the same rule.
 *
 *   property NATIVE KERNEL [SEED]     so many lookups natively, so many packets in the kernel
 *
 * Natively: random rulesets of many sizes and shapes, random keys. In the kernel, where it may be
 * used: whole verdicts of random packets, flows and all, by the program itself (BPF_PROG_TEST_RUN)
 * against the same text in this process. Prints one line a property and the counts.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../engine/filter/evaluate.h"
#include "../../engine/gate/gate.h"
#include "../../engine/gate/maps.h"
#include "../support/shapes.h"
#include "../support/talk.h"

static int passed, failed, skipped;

static void report(const char *property, bool ok, const char *detail)
{
	printf("%s %s%s%s\n", ok ? "ok" : "FAILED", property, *detail ? ": " : "", detail);
	*(ok ? &passed : &failed) += 1;
}

static struct bh_ruleset *random_ruleset(uint32_t count)
{
	struct bh_ruleset *ruleset = NULL;
	struct bh_words words;
	struct bh_rule rule;

	if (bh_ruleset_new(&ruleset, NULL))
		abort();
	bh_rule_init(&rule, BH_ALLOW, BH_IN);
	for (uint32_t i = 0; i < count; i++) {
		random_rule(&rule, i + 1);
		if (bh_ruleset_add(ruleset, &rule, NULL))
			abort();
	}
	bh_rule_clear(&rule);
	random_words(&words);
	bh_ruleset_set_words(ruleset, &words);
	return ruleset;
}

static void compare_native(uint32_t lookups)
{
	uint32_t done = 0, wrong = 0;
	char detail[200] = "";

	while (done < lookups) {
		uint32_t sizes[] = {0, 1, 5, 20, 64, 65, 200, 700};
		struct bh_ruleset *ruleset = random_ruleset(sizes[random_below(8)]);
		struct bh_table *table = NULL;

		if (bh_table_compile(&table, ruleset, 64u << 20, NULL))
			abort();
		for (int i = 0; i < 500; i++, done++) {
			struct bh_notation packet;
			struct bh_entry entry = {0};
			struct bh_key key;
			const struct bh_rule *rule;
			bool found;

			random_notation(&packet);
			key_of(&key, &packet);
			rule = bh_ruleset_lookup(ruleset, &key);
			found = bh_table_lookup(table, &key, &entry);
			if (found != (rule != NULL) || (rule && entry.rule != rule->id)) {
				char text[BH_NOTATION_TEXT];

				snprintf(detail, sizeof(detail), "%s: linear says rule %u, compiled %u of %zu",
				         bh_notation_format(&packet, text), rule ? rule->id : 0, found ? entry.rule : 0,
				         bh_ruleset_count(ruleset));
				wrong++;
			}
		}
		bh_table_free(&table);
		bh_ruleset_free(&ruleset);
	}
	if (!wrong)
		snprintf(detail, sizeof(detail), "%u lookups", done);
	report("linear = compiled", !wrong, detail);
}

/* One rule whose lists alone overflow a page, beside others. */
static void compare_wide(void)
{
	static char text[BH_LIST_MAX * 20];
	struct bh_ruleset *ruleset = random_ruleset(30);
	struct bh_table *table = NULL;
	struct bh_rule rule;
	uint32_t wrong = 0;

	bh_rule_init(&rule, BH_BLOCK, BH_IN);
	rule.id = 1000;
	rule.priority = 1;
	for (int i = 0; i < BH_LIST_MAX; i++)
		sprintf(text + strlen(text), "%s10.%d.%d.%d", i ? "," : "", i % 4, i / 4 % 256, i * 7 % 256);
	if (bh_rule_set(&rule, "remote", text, NULL) || bh_ruleset_add(ruleset, &rule, NULL) ||
	    bh_table_compile(&table, ruleset, 64u << 20, NULL))
		abort();
	for (int i = 0; i < 20000; i++) {
		struct bh_notation packet;
		struct bh_entry entry = {0};
		struct bh_key key;
		const struct bh_rule *want;

		random_notation(&packet);
		key_of(&key, &packet);
		if (!key.v6)
			key.remote = bh_address_v4(0x0a000000 | random_below(4) << 16 | random_below(256) << 8 | random_below(256));
		want = bh_ruleset_lookup(ruleset, &key);
		wrong += bh_table_lookup(table, &key, &entry) != (want != NULL) || (want && want->id != entry.rule);
	}
	bh_table_free(&table);
	bh_ruleset_free(&ruleset);
	report("a rule larger than a page", !wrong, "");
}

static const void *table_of(void *arg, const struct bh_table_ref *ref)
{
	struct bh_table **tables = arg;

	return tables[ref->id & 1]->bytes;
}

/* A gate of random rules in both places, for table ids `id` and `id` + 1. */
static void make_conf(struct bh_conf *conf, struct bh_ruleset *rulesets[2], struct bh_table *tables[2],
                      enum shape shape, uint32_t id)
{
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x02};

	bh_conf_init(conf);
	conf->endpoint = conf->compartment = id;
	conf->generation = id;
	conf->flags = (shape ? 0 : random_below(4)) | (random_below(4) << 3);
	if (random_below(2)) {
		conf->flows_limit = 4 + random_below(20);
		conf->flows_guaranteed = random_below(conf->flows_limit);
	}
	memcpy(conf->mac, mac, 6);
	for (int i = 0; i < 2; i++) {
		rulesets[i] = shape_ruleset(shape, random_below(shape ? 400 : 120));
		if (bh_table_compile(&tables[i], rulesets[i], 64u << 20, NULL))
			abort();
		conf->tables[i].id = id + (uint32_t)i;
	}
	/* Half of the little world is the endpoint's own, in one order or the other. */
	for (uint32_t i = 0; i < 4; i++) {
		uint32_t n = id / 2 % 2 ? i : 3 - i;
		char text[80];

		sprintf(text, n < 3 ? "10.0.%u.%u" : "fd00::%u", n, n);
		bh_address_parse(&conf->addresses[conf->addresses_count], text, NULL);
		conf->broadcasts[conf->addresses_count] = conf->addresses[conf->addresses_count];
		conf->addresses_count++;
	}
	conf->link_local = bh_address_link_local(mac);
}

/* Damages a frame a little: lengths, flags, fragments, headers. */
static uint32_t mangle(uint8_t *frame, uint32_t size)
{
	switch (random_below(8)) {
	case 0:
		return 14 + random_below(size - 13);
	case 1:
		frame[12 + random_below(size - 12)] ^= (uint8_t)(1 << random_below(8));
		return size;
	case 2: /* a fragment, IPv4's */
		frame[18] = 0;
		frame[19] = (uint8_t)random_below(2);
		frame[20] = (uint8_t)(random_below(3) ? 0x20 : random_below(64));
		frame[21] = (uint8_t)(random_below(2) ? 0 : random_below(8));
		return size;
	default:
		return size;
	}
}

/* Whether the linear evaluator, asked about both sets, gives the same rule. */
static bool agrees(struct bh_ruleset *const rulesets[2], const struct bh_conf *conf,
                   const struct bh_packet *packet, const struct bh_verdict *verdict)
{
	const struct bh_rule *shared = bh_ruleset_lookup(rulesets[0], &packet->key);
	const struct bh_rule *own = bh_ruleset_lookup(rulesets[1], &packet->key);

	/* What is not an endpoint's own, or not IP, meets the default without rules. */
	if (verdict->by != BH_BY_RULE && (verdict->by != BH_BY_DEFAULT || conf->flags & BH_CONF_ANTISPOOF ||
	                                  packet->form != BH_FORM_IP))
		return true;
	if (own && (!shared || bh_rule_precedes(own, shared)))
		shared = own;
	return shared ? verdict->by == BH_BY_RULE && verdict->rule == shared->id : verdict->by == BH_BY_DEFAULT;
}

/* One of the endpoint's addresses, of the family. */
static uint32_t own_address(const struct bh_conf *conf, bool v4)
{
	uint32_t i = random_below(4);

	while (bh_address_is_v4(&conf->addresses[i]) != v4)
		i = (i + 1) % 4;
	return i;
}

/* A new packet or, half of the time, an earlier one again, its answer, or its neighbour. */
static void next_packet(struct bh_notation *packet, const struct bh_conf *conf)
{
	static struct bh_notation earlier[16];
	struct bh_notation *slot = &earlier[random_below(16)];
	struct bh_address address;
	uint16_t port;

	if (slot->protocol && random_below(2)) {
		*packet = *slot;
		if (random_below(3) == 0)
			packet->tcp_flags = (uint8_t)random_below(32);
		if (random_below(3)) {
			packet->direction = !packet->direction;
			address = packet->source;
			packet->source = packet->target;
			packet->target = address;
			port = packet->source_port;
			packet->source_port = packet->target_port;
			packet->target_port = port;
			if (packet->protocol == BH_PROTO_ICMP && packet->icmp_type == 8)
				packet->icmp_type = 0;
			else if (packet->protocol == BH_PROTO_ICMP6 && packet->icmp_type == 128)
				packet->icmp_type = 129;
		}
		return;
	}
	random_notation(packet);
	if (packet->protocol == BH_PROTO_ICMP6 && !random_below(4))
		packet->icmp_type = (uint8_t)(130 + random_below(8));
	if (random_below(4)) /* mostly our own */
		*(packet->direction == BH_OUT ? &packet->source : &packet->target) =
			conf->addresses[own_address(conf, bh_address_is_v4(&packet->source))];
	*slot = *packet;
}

static void compare_kernel(struct bh_gate_kernel *gate, uint32_t packets)
{
	/* Half of the gates are of the little world, where identity is checked too. */
	static const enum shape shapes[] = {SHAPE_LITTLE, SHAPE_HOSTS, SHAPE_LITTLE, SHAPE_WALL, SHAPE_LITTLE,
	                                    SHAPE_WILDCARD, SHAPE_LITTLE, SHAPE_NESTED, SHAPE_LITTLE, SHAPE_LISTS,
	                                    SHAPE_LITTLE, SHAPE_ICMP};
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x02}, peer[6] = {0x02, 0, 0, 0, 0, 0x01};
	uint32_t wrong = 0, by[BH_BY_COUNT] = {0};
	char detail[300] = "";
	struct bh_error err = {0};

	for (uint32_t done = 0, id = 2; done < packets; id += 2) {
		struct bh_flow_table *flows = NULL;
		enum shape shape = shapes[id / 2 % 12];
		struct bh_ruleset *rulesets[2];
		struct bh_table *tables[2];
		struct bh_conf conf;

		make_conf(&conf, rulesets, tables, shape, id);
		if (bh_flow_table_new(&flows, 1 << 19, NULL) || bh_flow_table_add_share(flows, id, NULL) ||
		    bh_gate_share_put(gate, id, &err) || bh_gate_table_put(gate, id, tables[0], &err) ||
		    bh_gate_table_put(gate, id + 1, tables[1], &err) || bh_gate_conf_put(gate, id, &conf, &err)) {
			report("linear = compiled = in the kernel", false, err.message);
			return;
		}
		for (int i = 0; i < 400; i++, done++) {
			struct bh_env env = {.table = table_of, .table_arg = tables, .flows = flows, .now = bh_gate_now()};
			struct bh_verdict here, there;
			uint8_t frame[BH_FRAME_MAX];
			struct bh_notation packet;
			struct bh_packet parsed;
			bool out;
			int rc;

			if (shape)
				shape_notation(&packet, rulesets[i & 1]);
			else
				next_packet(&packet, &conf);
			out = packet.direction == BH_OUT;
			env.size = mangle(frame, bh_notation_frame(&packet, out ? mac : peer, out ? peer : mac, frame));
			env.frame = frame;
			bh_evaluate(&env, &conf, packet.direction, &parsed, &here);
			rc = bh_gate_test_run(gate, id, packet.direction, frame, env.size, &there, &err);
			if (rc == -EINVAL && env.size < 54 && here.by == BH_BY_MALFORMED)
				continue; /* less than an IP header: some kernels do not run that */
			if (rc) {
				report("linear = compiled = in the kernel", false, err.message);
				return;
			}
			by[here.by]++;
			if (memcmp(&here, &there, sizeof(here)) || !agrees(rulesets, &conf, &parsed, &here)) {
				char text[BH_NOTATION_TEXT];

				snprintf(detail, sizeof(detail), "%s (%u bytes): here %s by %s rule %u, in the kernel %s by %s rule %u",
				         bh_notation_format(&packet, text), env.size, bh_action_name(here.action),
				         bh_by_name(here.by), here.rule, bh_action_name(there.action), bh_by_name(there.by),
				         there.rule);
				wrong++;
			}
		}
		bh_gate_conf_remove(gate, id, NULL);
		bh_gate_table_remove(gate, id, NULL);
		bh_gate_table_remove(gate, id + 1, NULL);
		bh_gate_share_remove(gate, id, NULL);
		bh_flow_table_free(&flows);
		for (int i = 0; i < 2; i++) {
			bh_table_free(&tables[i]);
			bh_ruleset_free(&rulesets[i]);
		}
	}
	if (!wrong)
		for (int b = 0; b < BH_BY_COUNT; b++)
			snprintf(detail + strlen(detail), sizeof(detail) - strlen(detail), "%s%u by %s", b ? ", " : "",
			         by[b], bh_by_name(b));
	report("linear = compiled = in the kernel", !wrong, detail);
}

static int differs(const struct bh_flow_key *key, const struct bh_flow *flow, void *arg)
{
	const struct bh_flow *other = bh_flow_find(arg, key);

	return !other || memcmp(flow, other, sizeof(*flow));
}

/* Whether two flow tables are the same, and so are the accounts of a compartment. */
static bool same_flows(struct bh_flow_table *one, struct bh_flow_table *other, uint32_t compartment)
{
	struct bh_env there = {.flows = other}, here = {.flows = one};
	struct bh_share shares[2];
	struct bh_room rooms[2];

	return !bh_flow_table_each(one, differs, &there) && !bh_flow_table_each(other, differs, &here) &&
	       !bh_flow_table_share(one, compartment, &shares[0], &rooms[0]) &&
	       !bh_flow_table_share(other, compartment, &shares[1], &rooms[1]) &&
	       !memcmp(&shares[0], &shares[1], sizeof(shares[0])) && !memcmp(&rooms[0], &rooms[1], sizeof(rooms[0]));
}

/* What is judged in one go is judged as by all steps, and leaves the same flows in the same state. */
static void compare_express(uint32_t packets)
{
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x02}, peer[6] = {0x02, 0, 0, 0, 0, 0x01};
	uint32_t wrong = 0, expressed = 0, by_flow = 0, id = 2;
	char detail[BH_NOTATION_TEXT + 80] = "";

	for (uint32_t done = 0; done < packets; id += 2) {
		struct bh_flow_table *flows[2] = {NULL, NULL};
		struct bh_ruleset *rulesets[2];
		struct bh_table *tables[2];
		struct bh_conf conf;

		make_conf(&conf, rulesets, tables, SHAPE_LITTLE, id);
		conf.flags |= BH_CONF_ANTISPOOF;
		for (int i = 0; i < 2; i++)
			if (bh_flow_table_new(&flows[i], 1 << 16, NULL) || bh_flow_table_add_share(flows[i], id, NULL))
				abort();
		for (int i = 0; i < 400; i++, done++) {
			struct bh_env env = {.table = table_of, .table_arg = tables, .flows = flows[0],
			                     .now = (1000 + (uint64_t)i * (1 + id % 3)) * BH_NS};
			struct bh_verdict quick, full;
			struct bh_env whole;
			uint8_t frame[BH_FRAME_MAX];
			struct bh_notation packet;
			bool out, did;

			if (i % 100 == 99)
				conf.generation++;
			next_packet(&packet, &conf);
			out = packet.direction == BH_OUT;
			env.size = bh_notation_frame(&packet, out ? mac : peer, out ? peer : mac, frame);
			if (i % 2)
				env.size = mangle(frame, env.size);
			env.frame = frame;
			env.gso = random_below(8) == 0;
			env.tagged = random_below(50) == 0;
			whole = env;
			whole.flows = flows[1];
			did = bh_evaluate_express(&env, &conf, packet.direction, &quick);
			if (!did)
				bh_evaluate(&env, &conf, packet.direction, NULL, &quick);
			bh_evaluate(&whole, &conf, packet.direction, NULL, &full);
			expressed += did;
			by_flow += full.by == BH_BY_FLOW;
			if (memcmp(&quick, &full, sizeof(full)) || (i % 50 == 49 && !same_flows(flows[0], flows[1], id))) {
				bh_notation_format(&packet, detail);
				wrong++;
			}
		}
		for (int i = 0; i < 2; i++) {
			bh_flow_table_free(&flows[i]);
			bh_table_free(&tables[i]);
			bh_ruleset_free(&rulesets[i]);
		}
	}
	if (!wrong)
		snprintf(detail, sizeof(detail), "%u of %u by flow, of %u packets", expressed, by_flow, packets);
	report("in one go = by all steps", !wrong && expressed >= packets / 200, detail);
}

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

static uint32_t kernel_flows(struct bh_gate_kernel *gate, uint32_t endpoint)
{
	struct counting counting = {endpoint, 0};

	bh_gate_flow_each(gate, count_flow, &counting, NULL);
	return counting.count;
}

/* `count` UDP packets out of an endpoint, each a flow of its own; how many were let through. */
static uint32_t kernel_flood(struct bh_gate_kernel *gate, uint32_t endpoint, uint32_t count)
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
static void quota_kernel(struct bh_gate_kernel *gate)
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
	kernel_flood(gate, 900001, 400);
	let_through = kernel_flood(gate, 900002, 20000);
	quiet = kernel_flows(gate, 900001);
	flooding = kernel_flows(gate, 900002);
	bh_gate_conf_remove(gate, 900002, NULL);
	after = kernel_flows(gate, 900002) + kernel_flows(gate, 900001);
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
static void race_kernel(struct bh_gate_kernel *gate, uint32_t packets)
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
static void count_kernel(struct bh_gate_kernel *gate)
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
static void replace_kernel(struct bh_gate_kernel *gate)
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

/* Pins go to a bpffs in a mount namespace of this process: nothing is left behind. */
static void kernel_properties(uint32_t packets)
{
	struct bh_gate_kernel *gate = NULL;
	char directory[] = "/tmp/bulkhead-test-XXXXXX";
	struct bh_error err;

	if (geteuid() || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    !mkdtemp(directory)) {
		printf("skipped linear = compiled = in the kernel: needs root\n");
		skipped++;
		return;
	}
	if (!mount("bpf", directory, "bpf", 0, NULL))
		refuse_layout(directory);
	if (bh_gate_open(&gate, directory, true, &err)) {
		report("linear = compiled = in the kernel", false, err.message);
	} else {
		compare_kernel(gate, packets);
		replace_kernel(gate);
		quota_kernel(gate);
		race_kernel(gate, 2 * packets);
		count_kernel(gate);
	}
	bh_gate_close(&gate);
	umount2(directory, MNT_DETACH);
	rmdir(directory);
}

int main(int argc, char **argv)
{
	uint32_t native = argc > 1 ? (uint32_t)atol(argv[1]) : 1000000;
	uint32_t kernel = argc > 2 ? (uint32_t)atol(argv[2]) : 100000;

	random_state = argc > 3 ? (uint64_t)atol(argv[3]) : 20250101;
	compare_native(native);
	compare_wide();
	compare_express(native / 2);
	kernel_properties(kernel);
	printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
	return failed != 0;
}

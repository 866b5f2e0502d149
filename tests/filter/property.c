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
#include <stdlib.h>

#include "../../engine/filter/evaluate.h"
#include "../support/pinned.h"
#include "../support/shapes.h"

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

static const char in_kernel[] = "linear = compiled = in the kernel";

/* What is compared with the kernel, and what came of it. */
struct comparison {
	struct bh_gate_kernel *gate;
	uint32_t done, wrong, by[BH_BY_COUNT];
	const char *failed; /* why no more can be compared */
	struct bh_error err;
	char detail[300];
};

/* A port of the gate, and here the same. */
struct port {
	uint32_t id;
	enum shape shape;
	struct bh_conf conf;
	struct bh_ruleset *rulesets[2];
	struct bh_table *tables[2];
	struct bh_flow_table *flows;
};

static void port_open(struct comparison *all, struct port *port)
{
	struct bh_gate_kernel *gate = all->gate;
	uint32_t id = port->id;

	make_conf(&port->conf, port->rulesets, port->tables, port->shape, id);
	if (bh_flow_table_new(&port->flows, 1 << 19, NULL) || bh_flow_table_add_share(port->flows, id, NULL) ||
	    bh_gate_share_put(gate, id, &all->err) || bh_gate_table_put(gate, id, port->tables[0], &all->err) ||
	    bh_gate_table_put(gate, id + 1, port->tables[1], &all->err) ||
	    bh_gate_conf_put(gate, id, &port->conf, &all->err))
		all->failed = all->err.message;
}

static void port_close(struct comparison *all, struct port *port)
{
	bh_gate_conf_remove(all->gate, port->id, NULL);
	bh_gate_table_remove(all->gate, port->id, NULL);
	bh_gate_table_remove(all->gate, port->id + 1, NULL);
	bh_gate_share_remove(all->gate, port->id, NULL);
	bh_flow_table_free(&port->flows);
	for (int i = 0; i < 2; i++) {
		bh_table_free(&port->tables[i]);
		bh_ruleset_free(&port->rulesets[i]);
	}
}

static void compare_packet(struct comparison *all, struct port *port, const struct bh_notation *packet)
{
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x02}, peer[6] = {0x02, 0, 0, 0, 0, 0x01};
	struct bh_env env = {.table = table_of, .table_arg = port->tables, .flows = port->flows, .now = bh_gate_now()};
	struct bh_verdict here, there;
	uint8_t frame[BH_FRAME_MAX];
	struct bh_packet parsed;
	bool out = packet->direction == BH_OUT;
	char text[BH_NOTATION_TEXT];
	int rc;

	env.size = mangle(frame, bh_notation_frame(packet, out ? mac : peer, out ? peer : mac, frame));
	env.frame = frame;
	bh_evaluate(&env, &port->conf, packet->direction, &parsed, &here);
	rc = bh_gate_test_run(all->gate, port->id, packet->direction, frame, env.size, &there, &all->err);
	if (rc == -EINVAL && env.size < 54 && here.by == BH_BY_MALFORMED)
		return; /* less than an IP header: some kernels do not run that */
	if (rc) {
		all->failed = all->err.message;
		return;
	}
	all->by[here.by]++;
	if (!memcmp(&here, &there, sizeof(here)) && agrees(port->rulesets, &port->conf, &parsed, &here))
		return;
	snprintf(all->detail, sizeof(all->detail), "%s (%u bytes): here %s by %s rule %u, in the kernel %s by %s rule %u",
	         bh_notation_format(packet, text), env.size, bh_action_name(here.action), bh_by_name(here.by), here.rule,
	         bh_action_name(there.action), bh_by_name(there.by), there.rule);
	all->wrong++;
}

static void compare_kernel(struct bh_gate_kernel *gate, const char *directory, void *arg)
{
	/* Half of the gates are of the little world, where identity is checked too. */
	static const enum shape shapes[] = {SHAPE_LITTLE, SHAPE_HOSTS, SHAPE_LITTLE, SHAPE_WALL, SHAPE_LITTLE,
	                                    SHAPE_WILDCARD, SHAPE_LITTLE, SHAPE_NESTED, SHAPE_LITTLE, SHAPE_LISTS,
	                                    SHAPE_LITTLE, SHAPE_ICMP};
	uint32_t packets = *(uint32_t *)arg;
	struct comparison all = {.gate = gate};

	(void)directory;
	for (uint32_t id = 2; all.done < packets && !all.failed; id += 2) {
		struct port port = {.id = id, .shape = shapes[id / 2 % 12]};
		struct bh_notation packet;

		port_open(&all, &port);
		for (int i = 0; i < 400 && !all.failed; i++, all.done++) {
			if (port.shape)
				shape_notation(&packet, port.rulesets[i & 1]);
			else
				next_packet(&packet, &port.conf);
			compare_packet(&all, &port, &packet);
		}
		port_close(&all, &port);
	}
	if (!all.wrong)
		for (int b = 0; b < BH_BY_COUNT; b++)
			snprintf(all.detail + strlen(all.detail), sizeof(all.detail) - strlen(all.detail), "%s%u by %s",
			         b ? ", " : "", all.by[b], bh_by_name(b));
	report(in_kernel, !all.wrong && !all.failed, all.failed ? all.failed : all.detail);
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

int main(int argc, char **argv)
{
	uint32_t native = argc > 1 ? (uint32_t)atol(argv[1]) : 1000000;
	uint32_t kernel = argc > 2 ? (uint32_t)atol(argv[2]) : 100000;

	random_state = argc > 3 ? (uint64_t)atol(argv[3]) : 20250101;
	compare_native(native);
	compare_wide();
	compare_express(native / 2);
	with_pinned(in_kernel, &(struct pinned){.gate = compare_kernel, .arg = &kernel});
	return report_counts();
}

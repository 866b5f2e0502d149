/*
 * memo.c - what a processor remembers (engine/gate/memo.h, flow_memo.h) never decides otherwise than what
 * stands in the maps, and what passes by it is counted.
 *
 * Packets are the program's own, by BPF_PROG_TEST_RUN. Prints one line a property and the counts.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../engine/filter/evaluate.h"
#include "../../engine/filter/notation.h"
#include "../../engine/gate/maps.h"
#include "../support/pinned.h"
#include "../support/talk.h"

static void stay_on(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)processor, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* An endpoint whose default blocks what it sends, or does not. */
static struct bh_conf open_or_shut(uint32_t id, bool shut)
{
	struct bh_conf conf;

	bh_conf_init(&conf);
	conf.endpoint = conf.compartment = id;
	conf.generation = 1 + shut;
	conf.flags = shut ? BH_CONF_BLOCK_OUT : 0;
	return conf;
}

/*
 * Ports that processors remember in one place take turns, each with its own conf; a change is met by the
 * next packet, and so is one that a kill cut short after it was made, and before it was told.
 */
static void ports(struct bh_gate_kernel *gate, const char *directory)
{
	enum { ENDPOINT = 900040, SHARING = 4, ROUNDS = 50, APART = 256 };
	uint32_t wrong = 0, zero = 0, id = ENDPOINT;
	struct bh_slots slots = {.since = {1, 0}};
	struct bh_state state;
	char path[128], detail[80];
	int map, rows;

	for (uint32_t round = 0; round < ROUNDS; round++)
		for (uint32_t i = 0; i < SHARING; i++) {
			struct bh_conf conf = open_or_shut(ENDPOINT + i * APART, (round ^ i) & 1);

			if ((!round && bh_gate_share_put(gate, conf.endpoint, NULL)) ||
			    bh_gate_conf_put(gate, conf.endpoint, &conf, NULL))
				abort();
			for (uint32_t k = 0; round && k < SHARING; k++) /* those after the i-th are a round behind */
				wrong += talk(gate, ENDPOINT + k * APART, 0x0c000004, 80, BH_OUT) ==
				         (((round - (k > i)) ^ k) & 1);
		}
	for (uint32_t i = 1; i < SHARING; i++) {
		bh_gate_conf_remove(gate, ENDPOINT + i * APART, NULL);
		wrong += talk(gate, ENDPOINT + i * APART, 0x0c000004, 80, BH_OUT);
	}
	snprintf(path, sizeof(path), "%s/bh_state-%d", directory, BH_ABI);
	map = bpf_obj_get(path);
	snprintf(path, sizeof(path), "%s/bh_ports-%d", directory, BH_ABI);
	rows = bpf_obj_get(path);
	for (uint32_t i = 0; i < 2; i++) { /* by hand: begun, made, and not told */
		wrong += bpf_map_lookup_elem(map, &zero, &state) != 0;
		state.changes |= 1;
		slots.confs[0] = open_or_shut(id, i);
		wrong += bpf_map_update_elem(map, &zero, &state, BPF_ANY) != 0;
		wrong += bpf_map_update_elem(rows, &id, &slots, BPF_ANY) != 0;
		wrong += talk(gate, id, 0x0c000004, 80, BH_OUT) == i;
	}
	wrong += bh_gate_conf_put(gate, id, &slots.confs[0], NULL) != 0;
	wrong += bpf_map_lookup_elem(map, &zero, &state) != 0 || state.changes & 1;
	for (uint32_t i = 0; i < SHARING; i++) {
		bh_gate_conf_remove(gate, ENDPOINT + i * APART, NULL);
		bh_gate_share_remove(gate, ENDPOINT + i * APART, NULL);
	}
	/* A removal, made and not told, ends when it is made again: else nothing would be remembered from here on. */
	wrong += bpf_map_lookup_elem(map, &zero, &state) != 0;
	state.changes |= 1;
	wrong += bpf_map_update_elem(map, &zero, &state, BPF_ANY) != 0;
	wrong += bh_gate_conf_remove(gate, id, NULL) != 0;
	wrong += bpf_map_lookup_elem(map, &zero, &state) != 0 || state.changes & 1;
	close(map);
	close(rows);
	snprintf(detail, sizeof(detail), "%u wrong", wrong);
	report("what is remembered is what stands", !wrong, detail);
}

static int add_packets(const struct bh_flow_key *key, const struct bh_flow *flow, void *arg)
{
	if (key->remote.lo == (BH_V4_MAPPED | 0x0c000005))
		for (int d = 0; d < 2; d++)
			((uint64_t *)arg)[d] += flow->packets[d];
	return 0;
}

/*
 * Flows that processors remember: the packets of each are counted whoever let them through, though there be
 * more flows than places; and none is let through by a flow that was given up in the same tick.
 */
static void flows(struct bh_gate_kernel *gate)
{
	enum { ENDPOINT = 900050, FLOWS = 700, ROUNDS = 3, EACH = 4, LIMIT = 4, PLACES = 300 };
	uint64_t packets[2] = {0};
	uint32_t wrong = 0, late = 0;
	struct bh_conf conf = open_or_shut(ENDPOINT, false);
	char detail[120];

	conf.flags = BH_CONF_ANTISPOOF | BH_CONF_BLOCK_IN;
	memcpy(conf.mac, (const uint8_t[6]){0x02, 0, 0, 0, 0, 0x02}, 6);
	conf.addresses_count = 1;
	conf.addresses[0] = conf.broadcasts[0] = bh_address_v4(0x0a000001);
	if (bh_gate_share_put(gate, ENDPOINT, NULL) || bh_gate_conf_put(gate, ENDPOINT, &conf, NULL))
		abort();
	for (uint32_t round = 0; round < ROUNDS; round++)
		for (uint16_t port = 1; port <= FLOWS; port++) {
			stay_on((int)((round + port) % 2));
			for (uint32_t i = 0; i < EACH; i++)
				wrong += !talk(gate, ENDPOINT, 0x0c000005, port, BH_OUT) ||
				         !talk(gate, ENDPOINT, 0x0c000005, port, BH_IN);
		}
	wrong += bh_gate_flow_each(gate, add_packets, packets, NULL) != 0;
	wrong += packets[BH_OUT] != FLOWS * ROUNDS * EACH || packets[BH_IN] != FLOWS * ROUNDS * EACH;
	bh_gate_conf_remove(gate, ENDPOINT, NULL);
	bh_gate_share_remove(gate, ENDPOINT, NULL); /* with the gaps that so many flows leave in its lists */
	conf.flows_limit = conf.flows_guaranteed = LIMIT;
	wrong += bh_gate_share_put(gate, ENDPOINT, NULL) != 0;
	wrong += bh_gate_conf_put(gate, ENDPOINT, &conf, NULL) != 0;
	for (uint16_t port = 1; port <= PLACES; port++) {
		for (uint32_t i = 0; i < EACH; i++)
			wrong += !talk(gate, ENDPOINT, 0x0c000006, port, BH_OUT) || !talk(gate, ENDPOINT, 0x0c000006, port, BH_IN);
		late += port > LIMIT && talk(gate, ENDPOINT, 0x0c000006, (uint16_t)(port - LIMIT), BH_IN);
	}
	bh_gate_conf_remove(gate, ENDPOINT, NULL);
	bh_gate_share_remove(gate, ENDPOINT, NULL);
	snprintf(detail, sizeof(detail), "%u wrong, %llu and %llu packets, %u let through by a flow that was gone", wrong,
	         (unsigned long long)packets[BH_OUT], (unsigned long long)packets[BH_IN], late);
	report("flows that are remembered are those that stand", !wrong && !late, detail);
}

/*
 * A packet that is judged for both its ends at once meets the conf of each, though they be remembered in
 * rows alike. A test run comes in by port 1, the loopback's.
 */
static void both_ends(struct bh_gate_kernel *gate, const char *directory)
{
	enum { SENDER = 1, RECEIVER = 257, ROUNDS = 4 };
	static const uint8_t macs[2][6] = {{0x02, 0, 0, 0, 0, 0x01}, {0x02, 0, 0, 0, 0, 0x02}};
	struct bh_notation packet = {.direction = BH_OUT, .protocol = BH_PROTO_UDP, .source_port = 7, .target_port = 7};
	uint32_t ports[2] = {SENDER, RECEIVER}, wrong = 0;
	uint8_t frame[BH_FRAME_MAX];
	char path[128], detail[80];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .repeat = 1);
	int program;

	snprintf(path, sizeof(path), "%s/bh_gate_out-%d", directory, BH_ABI);
	program = bpf_obj_get(path);
	for (uint32_t i = 0; i < 2; i++)
		wrong += bh_gate_share_put(gate, ports[i], NULL) != 0;
	for (uint32_t shut = 0; shut < 4; shut++)
		for (uint32_t round = 0; round < ROUNDS; round++) {
			for (uint32_t i = 0; !round && i < 2; i++) {
				struct bh_conf conf;

				bh_conf_init(&conf);
				conf.endpoint = conf.compartment = ports[i];
				conf.generation = 1 + shut;
				conf.network = 1;
				conf.flags |= !(shut >> i & 1) ? 0 : i ? BH_CONF_BLOCK_IN : BH_CONF_BLOCK_OUT;
				memcpy(conf.mac, macs[i], 6);
				conf.addresses_count = 1;
				conf.addresses[0] = conf.broadcasts[0] = bh_address_v4(0x0a000001 + i);
				wrong += bh_gate_conf_put(gate, ports[i], &conf, NULL) != 0;
				wrong += bh_gate_forward_put(gate, ports[i], 1500, NULL) != 0;
			}
			packet.source = bh_address_v4(0x0a000001);
			packet.target = bh_address_v4(0x0a000002);
			opts.data_size_in = bh_notation_frame(&packet, macs[0], macs[1], frame);
			wrong += bpf_prog_test_run_opts(program, &opts) ||
			         opts.retval != (shut ? TC_ACT_SHOT : TC_ACT_REDIRECT);
		}
	for (uint32_t i = 0; i < 2; i++) {
		bh_gate_conf_remove(gate, ports[i], NULL);
		bh_gate_share_remove(gate, ports[i], NULL);
	}
	close(program);
	snprintf(detail, sizeof(detail), "%u wrong", wrong);
	report("both ends of a packet are judged, each as its own", !wrong, detail);
}

/* A map that is not pinned, by the program that has it. */
static int map_of(struct bh_gate_kernel *gate, const char *name, struct bpf_map_info *info)
{
	uint32_t ids[64], length = sizeof(struct bpf_prog_info);
	struct bpf_prog_info program = {.nr_map_ids = 64, .map_ids = (uintptr_t)ids};

	if (bpf_obj_get_info_by_fd(bh_gate_program(gate, BH_IN), &program, &length))
		return -1;
	for (uint32_t i = 0; i < program.nr_map_ids; i++) {
		int map = bpf_map_get_fd_by_id(ids[i]);

		length = sizeof(*info);
		memset(info, 0, sizeof(*info));
		if (!bpf_obj_get_info_by_fd(map, info, &length) && !strcmp(info->name, name))
			return map;
		close(map);
	}
	return -1;
}

/*
 * A test run, which kernels before 6.10 let be interrupted, leaves alone what a packet works with: to forget the
 * flows of one endpoint must not become to forget another's.
 */
static void apart(struct bh_gate_kernel *gate)
{
	enum { ENDPOINT = 900060 };
	struct bh_conf conf = open_or_shut(ENDPOINT, false);
	uint32_t wrong = 0;
	uint64_t let_through = 0;
	struct bpf_map_info info;
	int map = map_of(gate, "bh_scratch", &info);
	uint8_t before[4096], after[4096];

	memset(before, 0xa5, sizeof(before));
	wrong += map < 0 || info.value_size > sizeof(before) || info.max_entries < 2;
	for (uint32_t row = 0; !wrong && row < info.max_entries; row += 2) /* of each processor: packets', test runs' */
		wrong += bpf_map_update_elem(map, &row, before, BPF_ANY) != 0;
	wrong += bh_gate_share_put(gate, ENDPOINT, NULL) != 0 || bh_gate_conf_put(gate, ENDPOINT, &conf, NULL) != 0;
	for (uint16_t port = 1; port <= 20; port++)
		let_through += talk(gate, ENDPOINT, 0x0c000007, port, BH_OUT);
	wrong += bh_gate_conf_remove(gate, ENDPOINT, NULL) != 0; /* with its flows */
	bh_gate_share_remove(gate, ENDPOINT, NULL);
	for (uint32_t row = 0; !wrong && row < info.max_entries; row += 2)
		wrong += bpf_map_lookup_elem(map, &row, after) || memcmp(before, after, info.value_size);
	report("a test run leaves alone what a packet works with", !wrong && let_through == 20, "");
	close(map);
}

static void remember(struct bh_gate_kernel *gate, const char *directory, void *arg)
{
	(void)arg;
	apart(gate);
	ports(gate, directory);
	flows(gate);
	both_ends(gate, directory);
}

int main(void)
{
	with_pinned("what is remembered is what stands", &(struct pinned){.gate = remember});
	return report_counts();
}

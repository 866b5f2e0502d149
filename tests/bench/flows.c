/*
 * flows.c - half a million live flows in one instance beside a flood of flows of one packet each.
 *
 *   bench-flows [FLOOD] [--json FILE]       FLOOD packets, default 10,000,000
 *
 * 16 compartments hold 32,768 flows each. Another sends FLOOD packets, each the first of a flow. Then
 * every one of the 524,288 is asked for by a packet of its own, which must be let through as that
 * flow's, and a compartment that comes last must get what is guaranteed to it. The packets are the
 * gate's own program's, by BPF_PROG_TEST_RUN, whose call is in the rates. Exit status 1 if one is lost.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../engine/filter/evaluate.h"
#include "../../engine/filter/notation.h"
#include "pinned.h"

#define QUIET 16
#define EACH 32768u
#define FIRST 1000u
#define FLOODING (FIRST + QUIET)
#define LATE (FLOODING + 1)

static struct bh_gate_kernel *gate;

/* A frame whose numbers are put in where they stand: UDP, IPv4, no options, checksums unused. */
static uint8_t frame[BH_FRAME_MAX];
static uint32_t frame_size;

static void make_frame(void)
{
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x02};
	struct bh_notation packet = {.direction = BH_OUT, .protocol = BH_PROTO_UDP, .target_port = 53};

	packet.source = bh_address_v4(0x0a000001);
	packet.target = bh_address_v4(0x0b000001);
	frame_size = bh_notation_frame(&packet, mac, mac, frame);
}

/* The verdict on the first packet of flow `number` of an endpoint, or the next. */
static struct bh_verdict send(uint32_t endpoint, uint32_t number)
{
	struct bh_verdict verdict = {.action = BH_BLOCK};
	struct bh_error err;
	uint32_t target = 0x0b000000 + number / 60000;
	uint16_t port = (uint16_t)(1 + number % 60000);

	for (int i = 0; i < 4; i++)
		frame[30 + i] = (uint8_t)(target >> (24 - 8 * i));
	frame[34] = (uint8_t)(port >> 8);
	frame[35] = (uint8_t)port;
	if (bh_gate_test_run(gate, endpoint, BH_OUT, frame, frame_size, &verdict, &err)) {
		fprintf(stderr, "bench-flows: %s\n", err.message);
		exit(2);
	}
	return verdict;
}

static void make_endpoint(uint32_t id)
{
	struct bh_error err;
	struct bh_conf conf;

	bh_conf_init(&conf);
	conf.endpoint = conf.compartment = id;
	conf.flags = 0;
	for (int i = 0; i < BH_TIMEOUT_COUNT; i++)
		conf.timeouts[i] = 86400;
	if (bh_gate_share_put(gate, id, &err) || bh_gate_conf_put(gate, id, &conf, &err)) {
		fprintf(stderr, "bench-flows: %s\n", err.message);
		exit(2);
	}
}

static double seconds_since(uint64_t start)
{
	return (double)(bh_gate_now() - start) / 1e9;
}

static int count_flow(const struct bh_flow_key *key, const struct bh_flow *flow, void *arg)
{
	(void)flow;
	((uint64_t *)arg)[key->endpoint == FLOODING ? 1 : key->endpoint == LATE ? 2 : 0]++;
	return 0;
}

static int bench(struct bh_gate_kernel *opened, uint32_t flood, FILE *json)
{
	uint64_t rows[3] = {0}, lost = 0, refused = 0, late = 0, start = bh_gate_now();
	double opening, flooding, asking;

	gate = opened;
	make_frame();
	for (uint32_t i = 0; i < QUIET; i++) {
		make_endpoint(FIRST + i);
		for (uint32_t n = 0; n < EACH; n++)
			lost += send(FIRST + i, n).action != BH_ALLOW;
	}
	opening = seconds_since(start);
	make_endpoint(FLOODING);
	start = bh_gate_now();
	for (uint32_t n = 0; n < flood; n++)
		refused += send(FLOODING, n).action != BH_ALLOW;
	flooding = seconds_since(start);
	make_endpoint(LATE);
	for (uint32_t n = 0; n < BH_FLOWS_GUARANTEED; n++)
		late += send(LATE, n).action == BH_ALLOW;
	start = bh_gate_now();
	for (uint32_t i = 0; i < QUIET; i++)
		for (uint32_t n = 0; n < EACH; n++)
			lost += send(FIRST + i, n).by != BH_BY_FLOW;
	asking = seconds_since(start);
	if (bh_gate_flow_each(gate, count_flow, rows, NULL))
		return 2;
	lost += rows[0] != QUIET * EACH || rows[2] != BH_FLOWS_GUARANTEED;
	printf("%llu live flows beside a flood of %u: %llu lost; of the flood %llu packets refused, %llu flows "
	       "left; a latecomer's %llu flows.\nOpened %.0f a second, the flood %.0f, found %.0f.\n",
	       (unsigned long long)rows[0], flood, (unsigned long long)lost, (unsigned long long)refused,
	       (unsigned long long)rows[1], (unsigned long long)late, QUIET * EACH / opening, flood / flooding,
	       QUIET * EACH / asking);
	if (json)
		fprintf(json, "{\"live\":%llu,\"flood\":%u,\"lost\":%llu,\"flood_refused\":%llu,\"flood_rows\":%llu,"
		              "\"latecomer\":%llu,\"opened_per_s\":%.0f,\"flood_per_s\":%.0f,\"found_per_s\":%.0f}\n",
		        (unsigned long long)rows[0], flood, (unsigned long long)lost, (unsigned long long)refused,
		        (unsigned long long)rows[1], (unsigned long long)late, QUIET * EACH / opening, flood / flooding,
		        QUIET * EACH / asking);
	return lost || late != BH_FLOWS_GUARANTEED;
}

int main(int argc, char **argv)
{
	return bench_pinned(argc, argv, 10000000, bench);
}

/*
 * talk.h - conversations with a gate in the kernel, packet by packet, as test programs hold them.
 */
#ifndef TESTS_SUPPORT_TALK_H
#define TESTS_SUPPORT_TALK_H

#include "../../engine/filter/notation.h"
#include "../../engine/gate/gate.h"

/* A UDP question out of an endpoint, or its answer; whether it passed. */
static inline bool talk(struct bh_gate_kernel *gate, uint32_t endpoint, uint32_t remote, uint16_t port,
                        enum bh_direction direction)
{
	static const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 0x02};
	struct bh_notation packet = {.direction = (uint8_t)direction, .protocol = BH_PROTO_UDP};
	struct bh_verdict verdict = {.action = BH_BLOCK};
	uint8_t frame[BH_FRAME_MAX];
	bool out = direction == BH_OUT;

	packet.source = bh_address_v4(out ? 0x0a000001 : remote);
	packet.target = bh_address_v4(out ? remote : 0x0a000001);
	packet.source_port = out ? port : 7;
	packet.target_port = out ? 7 : port;
	return !bh_gate_test_run(gate, endpoint, (uint8_t)direction, frame,
	                         bh_notation_frame(&packet, mac, mac, frame), &verdict, NULL) &&
	       verdict.action == BH_ALLOW;
}

#endif

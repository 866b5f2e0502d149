/*
 * answer.c - see answer.h.
 *
 * An open TCP port answers a SYN with SYN-ACK, the prober confirms it; what belongs to nothing
 * gets an RST. A UDP port echoes, a closed one is reported unreachable. An echo request is
 * replied to. No data, no retransmission, no reassembly.
 */
#include "answer.h"

#include <string.h>

#include "../../base/hash.h"
#include "memory.h"

static bool is_listening(const struct bh_stack *stack, uint8_t protocol, uint16_t port)
{
	struct bh_listener key = {protocol, port};

	return bh_hash_find(stack->listeners, &key);
}

/* The same frame on its way back, from `source`. */
static struct bh_frame *turned(const struct bh_frame *frame, const struct bh_packet *packet,
                               const struct bh_address *source)
{
	struct bh_frame *back = bh_frame_copy(frame);

	if (!back)
		return NULL;
	back->tag = 0;
	back->answer = true;
	bh_frame_set_address(back, true, source);
	bh_frame_set_address(back, false, &packet->key.remote);
	back->bytes[packet->key.v6 ? 21 : 22] = 64;
	return back;
}

static void send_tcp(struct bh_stack *stack, const struct bh_packet *packet, uint8_t flags)
{
	struct bh_notation answer = {
		.protocol = BH_PROTO_TCP,
		.tcp_flags = flags,
		.source = packet->key.local,
		.target = packet->key.remote,
		.source_port = packet->key.local_port,
		.target_port = packet->key.remote_port,
	};

	bh_stack_output(stack, bh_frame_of(&answer));
}

/* The watched probe, if this packet is what its sender waits for. */
static struct bh_watch *watch_of(struct bh_stack *stack, const struct bh_packet *packet,
                                 enum bh_probe_kind kind)
{
	struct bh_watch *watch = &stack->memory->watch;
	bool ports = kind == BH_PROBE_PING ? packet->id == watch->local_port
	             : packet->key.local_port == watch->local_port &&
	               packet->key.remote_port == watch->remote_port;

	if (!watch->tag || watch->from != stack || watch->kind != kind || !ports)
		return NULL;
	/* A group is answered by its members. */
	return bh_address_is_multicast(&watch->remote) ||
	       bh_address_equal(&watch->remote, &packet->key.remote) ? watch : NULL;
}

static void answer_tcp(struct bh_stack *stack, const struct bh_packet *packet)
{
	const struct bh_key *key = &packet->key;
	struct bh_conversation talk = {key->local, key->remote, key->local_port, key->remote_port};
	uint32_t *state = bh_hash_find(stack->conversations, &talk), fresh = BH_TALK_SYN_RECEIVED;
	uint8_t flags = packet->tcp_flags & (BH_TCP_SYN | BH_TCP_ACK | BH_TCP_RST);
	struct bh_watch *watch = watch_of(stack, packet, BH_PROBE_TCP);

	if (flags & BH_TCP_RST) {
		if (state && *state == BH_TALK_SYN_SENT && watch)
			watch->result.refused = true;
		bh_hash_remove(stack->conversations, &talk);
	} else if (flags == BH_TCP_SYN) {
		if (!is_listening(stack, BH_PROTO_TCP, key->local_port)) {
			send_tcp(stack, packet, BH_TCP_RST | BH_TCP_ACK);
			return;
		}
		bh_hash_remove(stack->conversations, &talk);
		bh_hash_insert(stack->conversations, &talk, &fresh);
		send_tcp(stack, packet, BH_TCP_SYN | BH_TCP_ACK);
	} else if (!state) {
		send_tcp(stack, packet, flags & BH_TCP_ACK ? BH_TCP_RST : BH_TCP_RST | BH_TCP_ACK);
	} else if (flags == (BH_TCP_SYN | BH_TCP_ACK) && *state == BH_TALK_SYN_SENT) {
		*state = BH_TALK_ESTABLISHED;
		if (watch)
			watch->result.answered = true;
		send_tcp(stack, packet, BH_TCP_ACK);
	} else if (packet->tcp_flags & BH_TCP_FIN) {
		bh_hash_remove(stack->conversations, &talk);
	} else if (*state == BH_TALK_SYN_RECEIVED && flags == BH_TCP_ACK) {
		*state = BH_TALK_ESTABLISHED;
	}
}

/* ICMP 3:3 or ICMPv6 1:4, with the header of what it is about (RFC 792; RFC 4443, 3.1). */
static void send_unreachable(struct bh_stack *stack, const struct bh_frame *frame,
                             const struct bh_packet *packet)
{
	struct bh_notation error = {
		.protocol = packet->key.v6 ? BH_PROTO_ICMP6 : BH_PROTO_ICMP,
		.icmp_type = packet->key.v6 ? 1 : 3,
		.icmp_code = packet->key.v6 ? 4 : 3,
		.source = packet->key.local,
		.target = packet->key.remote,
	};
	struct bh_frame *answer = bh_frame_of(&error);
	uint32_t transport = bh_frame_transport(frame), inner;

	if (!answer)
		return;
	/* The notation's example of an inner packet has a plain header and 8 bytes, as ours must. */
	inner = packet->key.v6 ? 40 : 20;
	memcpy(answer->bytes + 14 + inner + 8, frame->bytes + 14, inner);
	memcpy(answer->bytes + 14 + inner + 8 + inner, frame->bytes + transport, 8);
	if (packet->key.v6)
		answer->bytes[14 + inner + 8 + 6] = BH_PROTO_UDP;
	else
		answer->bytes[14 + inner + 8] = 0x45;
	bh_frame_sum(answer);
	bh_stack_output(stack, answer);
}

static void answer_udp(struct bh_stack *stack, const struct bh_frame *frame,
                       const struct bh_packet *packet, bool group)
{
	struct bh_watch *watch = watch_of(stack, packet, BH_PROBE_UDP);
	struct bh_address source = packet->key.local;
	struct bh_frame *echo;
	uint8_t *udp;

	if (watch) {
		watch->result.answered = true;
		return;
	}
	if (frame->answer || bh_address_is_unspecified(&packet->key.remote))
		return;
	if (!is_listening(stack, BH_PROTO_UDP, packet->key.local_port)) {
		if (!group)
			send_unreachable(stack, frame, packet);
		return;
	}
	if (group && !bh_stack_source(stack, &packet->key.remote, &source))
		return;
	echo = turned(frame, packet, &source);
	if (!echo)
		return;
	udp = echo->bytes + bh_frame_transport(echo);
	bh_put16(udp, packet->key.local_port);
	bh_put16(udp + 2, packet->key.remote_port);
	bh_frame_sum(echo);
	bh_stack_output(stack, echo);
}

static void answer_icmp(struct bh_stack *stack, const struct bh_frame *frame,
                        const struct bh_packet *packet, bool group)
{
	uint8_t type = bh_icmp_type(&packet->key);
	struct bh_address source = packet->key.local;
	struct bh_frame *reply;

	if (type == (packet->key.v6 ? 129 : 0)) {
		struct bh_watch *watch = watch_of(stack, packet, BH_PROBE_PING);

		if (watch)
			watch->result.answered = true;
		return;
	}
	if (type != (packet->key.v6 ? 128 : 8) || bh_address_is_unspecified(&packet->key.remote))
		return;
	/* As Linux: a group is answered in IPv6 only. */
	if (group && (!packet->key.v6 || !bh_stack_source(stack, &packet->key.remote, &source)))
		return;
	reply = turned(frame, packet, &source);
	if (!reply)
		return;
	reply->bytes[bh_frame_transport(reply)] = packet->key.v6 ? 129 : 0;
	bh_frame_sum(reply);
	bh_stack_output(stack, reply);
}

void bh_answer(struct bh_stack *stack, const struct bh_frame *frame, const struct bh_packet *packet,
               bool group)
{
	if (packet->fragment != BH_WHOLE)
		return;
	if (packet->key.protocol == BH_PROTO_TCP && !group)
		answer_tcp(stack, packet);
	else if (packet->key.protocol == BH_PROTO_UDP)
		answer_udp(stack, frame, packet, group);
	else if (bh_is_icmp(&packet->key))
		answer_icmp(stack, frame, packet, group);
}

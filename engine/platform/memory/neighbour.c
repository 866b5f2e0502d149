/*
 * neighbour.c - see neighbour.h. Nothing ages: what is learnt is replaced when it is said anew, as
 * a test has no time to wait for it.
 */
#include "neighbour.h"

#include <stdlib.h>
#include <string.h>

#include "../../base/hash.h"
#include "memory.h"

#define ND_TARGET (14 + 40 + 8) /* offset in the frame of a solicitation or advertisement */

static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void send_arp(struct bh_port *port, uint8_t op, const uint8_t to[6],
                     const struct bh_address *source, const struct bh_address *target)
{
	uint8_t arp[42] = {0};
	struct bh_frame *frame;

	memcpy(arp, to, 6);
	memcpy(arp + 6, port->nic.mac, 6);
	bh_put16(arp + 12, BH_ETH_ARP);
	bh_put16(arp + 14, 1);
	bh_put16(arp + 16, BH_ETH_IP);
	arp[18] = 6;
	arp[19] = 4;
	arp[21] = op;
	memcpy(arp + 22, port->nic.mac, 6);
	bh_address_to_bytes(source, arp + 28);
	if (op == 2)
		memcpy(arp + 32, to, 6);
	bh_address_to_bytes(target, arp + 38);
	frame = bh_frame_new(arp, sizeof(arp));
	if (frame)
		bh_port_send(port, frame);
}

static void send_nd(struct bh_port *port, uint8_t type, const uint8_t to[6],
                    const struct bh_address *source, const struct bh_address *destination,
                    const struct bh_address *target)
{
	struct bh_notation notation = {
		.protocol = BH_PROTO_ICMP6,
		.icmp_type = type,
		.source = *source,
		.target = *destination,
	};
	uint8_t bytes[BH_FRAME_MAX];
	uint32_t size = bh_notation_frame(&notation, port->nic.mac, to, bytes);
	struct bh_frame *frame = bh_frame_new(bytes, size);

	if (!frame)
		return;
	bh_address_to_bytes(target, frame->bytes + ND_TARGET);
	if (type == 136) /* override; solicited, but for an answer to everybody (RFC 4861, 7.2.4) */
		frame->bytes[ND_TARGET - 4] = bh_address_is_multicast(destination) ? 0x20 : 0x60;
	bh_frame_sum(frame);
	bh_port_send(port, frame);
}

static void solicit(struct bh_port *port, const struct bh_address *hop,
                    const struct bh_address *preferred)
{
	struct bh_address source = bh_address_v4(0), group;
	uint8_t mac[6] = {0x33, 0x33, 0xff};

	if (bh_port_owns(port, preferred))
		source = *preferred;
	else
		bh_port_source(port, hop, &source);
	if (bh_address_is_v4(hop)) {
		send_arp(port, 1, everybody, &source, hop);
		return;
	}
	group.hi = 0xff02ULL << 48; /* solicited-node multicast (RFC 4291, 2.7.1) */
	group.lo = 0x1ff000000ULL | (hop->lo & 0xffffff);
	mac[3] = (uint8_t)(hop->lo >> 16);
	mac[4] = (uint8_t)(hop->lo >> 8);
	mac[5] = (uint8_t)hop->lo;
	if (!bh_address_is_v4(&source))
		send_nd(port, 135, mac, &source, &group, hop);
}

static const uint8_t *known_mac(const struct bh_port *port, const struct bh_address *address)
{
	struct bh_neighbour key = {*address, port->number};

	return bh_hash_find(port->stack->neighbours, &key);
}

void bh_neighbour_send(struct bh_port *port, const struct bh_address *hop, struct bh_frame *frame)
{
	const uint8_t *mac = known_mac(port, hop);
	struct bh_frame **end = &port->stack->waiting;
	struct bh_address source = bh_frame_address(frame, true);

	if (mac) {
		memcpy(frame->bytes, mac, 6);
		bh_port_send(port, frame);
		return;
	}
	while (*end)
		end = &(*end)->next;
	frame->port = port;
	frame->hop = *hop;
	frame->next = NULL;
	*end = frame;
	solicit(port, hop, &source);
}

/* `address` is at `mac`: learns it, or with `known` only corrects it, and sends what waited. */
static void learn(struct bh_port *port, const struct bh_address *address, const uint8_t mac[6],
                  bool known)
{
	struct bh_stack *stack = port->stack;
	struct bh_neighbour key = {*address, port->number};
	struct bh_frame **at = &stack->waiting;
	bool waited = false;

	for (struct bh_frame *frame = stack->waiting; frame; frame = frame->next)
		waited |= frame->port == port && bh_address_equal(&frame->hop, address);
	if (known && !waited && !bh_hash_find(stack->neighbours, &key))
		return;
	bh_hash_remove(stack->neighbours, &key);
	bh_hash_insert(stack->neighbours, &key, mac);
	while (*at) {
		struct bh_frame *frame = *at;

		if (frame->port != port || !bh_address_equal(&frame->hop, address)) {
			at = &frame->next;
			continue;
		}
		*at = frame->next;
		memcpy(frame->bytes, mac, 6);
		bh_port_send(port, frame);
	}
}

void bh_neighbour_arp(struct bh_port *port, const struct bh_packet *packet)
{
	const struct bh_address *sender = &packet->key.remote, *target = &packet->key.local;
	bool ours = bh_port_owns(port, target);

	if (bh_port_owns(port, sender))
		return;
	if (!bh_address_is_unspecified(sender))
		learn(port, sender, packet->lladdr, !ours);
	if (ours && packet->arp_op == 1)
		send_arp(port, 2, packet->lladdr, target, sender);
}

bool bh_neighbour_is(const struct bh_packet *packet)
{
	uint8_t type = bh_icmp_type(&packet->key);

	return packet->key.v6 && packet->key.protocol == BH_PROTO_ICMP6 &&
	       packet->fragment == BH_WHOLE && (type == 135 || type == 136);
}

void bh_neighbour_nd(struct bh_port *port, const struct bh_packet *packet)
{
	static const uint8_t all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
	struct bh_address all_nodes = {0xff02ULL << 48, 1};
	const struct bh_address *sender = &packet->key.remote;

	if (bh_icmp_type(&packet->key) == 136) {
		if (packet->lladdr_option == 2)
			learn(port, &packet->target, packet->lladdr, true);
		return;
	}
	if (!bh_port_owns(port, &packet->target) || bh_port_owns(port, sender))
		return;
	if (bh_address_is_unspecified(sender)) {
		send_nd(port, 136, all_nodes_mac, &packet->target, &all_nodes, &packet->target);
		return;
	}
	if (packet->lladdr_option == 1)
		learn(port, sender, packet->lladdr, false);
	send_nd(port, 136, packet->source_mac, &packet->target, sender, &packet->target);
}

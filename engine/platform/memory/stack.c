/*
 * stack.c - see stack.h. What is sent and received; what is answered is in answer.c.
 */
#include "stack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../base/hash.h"
#include "answer.h"
#include "memory.h"
#include "neighbour.h"

#define LOOPBACK_V4 ((struct bh_address){0, BH_V4_MAPPED | 0x7f000001})
#define LOOPBACK_V6 ((struct bh_address){0, 1})

int bh_stack_new(struct bh_memory *memory, struct bh_stack **out, struct bh_error *err)
{
	struct bh_stack *stack = calloc(1, sizeof(*stack));

	if (stack) {
		stack->memory = memory;
		stack->cookie = ++memory->numbers;
		stack->references = 1;
		/* Apart from each other, so that a masquerade seldom has to choose another port. */
		stack->ephemeral = (uint16_t)(33000 + stack->cookie * 250 % 27000);
		stack->listeners = bh_hash_new(sizeof(struct bh_listener), 1);
		stack->conversations = bh_hash_new(sizeof(struct bh_conversation), sizeof(uint32_t));
		stack->neighbours = bh_hash_new(sizeof(struct bh_neighbour), 6);
	}
	if (!stack || !stack->listeners || !stack->conversations || !stack->neighbours) {
		bh_stack_free(&stack);
		return bh_error_set(err, -ENOMEM, "There is not enough memory for a network stack.");
	}
	if (memory->host) {
		stack->next = memory->host->next;
		memory->host->next = stack;
	}
	*out = stack;
	return 0;
}

void bh_stack_free(struct bh_stack **stack)
{
	struct bh_stack *it = *stack, *before = it ? it->memory->host : NULL;

	if (!it)
		return;
	while (before && before->next != it)
		before = before->next;
	if (before)
		before->next = it->next;
	bh_stack_give_up(it);
	bh_hash_free(&it->listeners);
	bh_hash_free(&it->conversations);
	bh_hash_free(&it->neighbours);
	free(it);
	*stack = NULL;
}

struct neighbour_search {
	uint64_t port;
	struct bh_neighbour key;
};

static int is_neighbour_at(const void *key, void *value, void *arg)
{
	struct neighbour_search *search = arg;

	(void)value;
	search->key = *(const struct bh_neighbour *)key;
	return search->key.port == search->port;
}

void bh_stack_forget_port(struct bh_stack *stack, struct bh_port *port)
{
	struct neighbour_search search = {.port = port->number};

	while (bh_hash_each(stack->neighbours, is_neighbour_at, &search))
		bh_hash_remove(stack->neighbours, &search.key);
}

void bh_stack_give_up(struct bh_stack *stack)
{
	while (stack->waiting) {
		struct bh_frame *frame = stack->waiting;

		stack->waiting = frame->next;
		free(frame);
	}
}

bool bh_address_is_loopback(const struct bh_address *address)
{
	if (bh_address_is_v4(address))
		return (address->lo >> 24 & 0xff) == 127;
	return address->hi == 0 && address->lo == 1;
}

static bool is_usable(const struct bh_port *port, const struct bh_address *address)
{
	return port->nic.ipv6 || bh_address_is_v4(address);
}

bool bh_port_owns(const struct bh_port *port, const struct bh_address *address)
{
	struct bh_address fe80 = bh_address_link_local(port->nic.mac);

	if (!is_usable(port, address))
		return false;
	if (bh_address_equal(address, &fe80))
		return true;
	for (size_t i = 0; i < port->nic.addresses_count; i++)
		if (bh_address_equal(address, &port->nic.addresses[i].address))
			return true;
	return false;
}

bool bh_stack_owns(const struct bh_stack *stack, const struct bh_address *address)
{
	if (bh_address_is_loopback(address))
		return true;
	for (struct bh_port *port = bh_port_next(stack, NULL); port; port = bh_port_next(stack, port))
		if (bh_port_owns(port, address))
			return true;
	return false;
}

bool bh_port_is_broadcast(const struct bh_port *port, const struct bh_address *address)
{
	if (!bh_address_is_v4(address))
		return false;
	if (address->lo == (BH_V4_MAPPED | 0xffffffff))
		return true;
	for (size_t i = 0; i < port->nic.addresses_count; i++) {
		const struct bh_prefix *prefix = &port->nic.addresses[i];
		struct bh_range range = bh_prefix_range(prefix);

		if (bh_address_is_v4(&prefix->address) && prefix->length < 31 &&
		    bh_address_equal(&range.last, address))
			return true;
	}
	return false;
}

static bool is_on_link(const struct bh_prefix *prefix, const struct bh_address *target)
{
	return bh_address_is_v4(&prefix->address) == bh_address_is_v4(target) &&
	       bh_prefix_contains(prefix, target);
}

bool bh_port_source(const struct bh_port *port, const struct bh_address *target,
                    struct bh_address *source)
{
	bool v4 = bh_address_is_v4(target), found = false;

	if (!is_usable(port, target))
		return false;
	if (bh_address_is_link_local6(target) || (!v4 && bh_address_is_multicast(target))) {
		*source = bh_address_link_local(port->nic.mac);
		return true;
	}
	for (size_t i = 0; i < port->nic.addresses_count; i++) {
		const struct bh_prefix *prefix = &port->nic.addresses[i];
		bool on_link = is_on_link(prefix, target);

		if (bh_address_is_v4(&prefix->address) != v4 || (found && !on_link))
			continue;
		*source = prefix->address;
		found = true;
		if (on_link)
			return true;
	}
	return found;
}

/* A route that is at least as good as the best yet: longest prefix, the first of equals. */
struct choice {
	int length;
	struct bh_port *port;
	struct bh_address hop;
};

static void offer(struct choice *choice, int length, struct bh_port *port,
                  const struct bh_address *hop)
{
	if (length <= choice->length)
		return;
	choice->length = length;
	choice->port = port;
	choice->hop = *hop;
}

static struct bh_port *port_towards(const struct bh_stack *stack, const struct bh_address *gateway)
{
	for (struct bh_port *port = bh_port_next(stack, NULL); port; port = bh_port_next(stack, port))
		for (size_t i = 0; i < port->nic.addresses_count; i++)
			if (is_on_link(&port->nic.addresses[i], gateway))
				return port;
	return bh_port_next(stack, NULL);
}

struct bh_port *bh_stack_route(const struct bh_stack *stack, const struct bh_address *target,
                               struct bh_address *hop)
{
	struct choice choice = {.length = -1};
	bool v4 = bh_address_is_v4(target);

	for (struct bh_port *port = bh_port_next(stack, NULL); port; port = bh_port_next(stack, port)) {
		const struct bh_nic *nic = &port->nic;

		if (!is_usable(port, target))
			continue;
		if (bh_address_is_link_local6(target))
			offer(&choice, 10, port, target);
		for (size_t i = 0; i < nic->addresses_count; i++)
			if (is_on_link(&nic->addresses[i], target))
				offer(&choice, nic->addresses[i].length, port, target);
		for (size_t i = 0; nic->default_route && i < nic->gateways_count; i++)
			if (bh_address_is_v4(&nic->gateways[i]) == v4)
				offer(&choice, 0, port, &nic->gateways[i]);
	}
	for (size_t i = 0; i < stack->routes_count; i++)
		if (is_on_link(&stack->routes[i].prefix, target))
			offer(&choice, stack->routes[i].prefix.length,
			      port_towards(stack, &stack->routes[i].gateway), &stack->routes[i].gateway);
	if (choice.port)
		*hop = choice.hop;
	return choice.port;
}

/* The NIC of a multicast or broadcast: the one with that subnet, else the first. */
static struct bh_port *group_port(const struct bh_stack *stack, const struct bh_address *target)
{
	struct bh_port *first = NULL;

	for (struct bh_port *port = bh_port_next(stack, NULL); port; port = bh_port_next(stack, port)) {
		if (!is_usable(port, target))
			continue;
		if (target->lo != (BH_V4_MAPPED | 0xffffffff) && bh_port_is_broadcast(port, target))
			return port;
		if (!first)
			first = port;
	}
	return first;
}

static bool is_group(const struct bh_stack *stack, const struct bh_address *target)
{
	if (bh_address_is_multicast(target))
		return true;
	for (struct bh_port *port = bh_port_next(stack, NULL); port; port = bh_port_next(stack, port))
		if (bh_port_is_broadcast(port, target))
			return true;
	return bh_address_is_v4(target) && target->lo == (BH_V4_MAPPED | 0xffffffff);
}

bool bh_stack_source(const struct bh_stack *stack, const struct bh_address *target,
                     struct bh_address *source)
{
	struct bh_address hop, from;
	struct bh_port *port;

	if (bh_stack_owns(stack, target)) {
		*source = !bh_address_is_loopback(target) ? *target
		          : bh_address_is_v4(target) ? LOOPBACK_V4 : LOOPBACK_V6;
		return true;
	}
	port = is_group(stack, target) ? group_port(stack, target)
	                               : bh_stack_route(stack, target, &hop);
	if (!port || !bh_port_source(port, target, &from))
		return false;
	*source = from;
	return true;
}

/* RFC 1112, 6.4 and RFC 2464, 7. */
static void group_mac(uint8_t mac[6], const struct bh_address *target)
{
	memset(mac, 0xff, 6);
	if (!bh_address_is_multicast(target))
		return;
	if (bh_address_is_v4(target)) {
		mac[0] = 1;
		mac[1] = 0;
		mac[2] = 0x5e;
		mac[3] = (uint8_t)(target->lo >> 16 & 0x7f);
	} else {
		mac[0] = mac[1] = 0x33;
		mac[2] = (uint8_t)(target->lo >> 24);
		mac[3] = (uint8_t)(target->lo >> 16);
	}
	mac[4] = (uint8_t)(target->lo >> 8);
	mac[5] = (uint8_t)target->lo;
}

void bh_stack_output(struct bh_stack *stack, struct bh_frame *frame)
{
	struct bh_address target, hop;
	struct bh_port *port;

	if (!frame)
		return;
	target = bh_frame_address(frame, false);
	if (bh_stack_owns(stack, &target)) {
		if (stack == stack->memory->host && bh_router_output(stack->memory, frame)) {
			free(frame);
			return;
		}
		memset(frame->bytes, 0, 12);
		frame->port = NULL;
		frame->stack = stack;
		bh_segment_queue(stack->memory, frame);
		return;
	}
	if (is_group(stack, &target)) {
		port = group_port(stack, &target);
		if (!port) {
			free(frame);
			return;
		}
		group_mac(frame->bytes, &target);
		memcpy(frame->bytes + 6, port->nic.mac, 6);
		bh_port_send(port, frame);
		return;
	}
	port = bh_stack_route(stack, &target, &hop);
	if (!port) {
		free(frame);
		return;
	}
	memcpy(frame->bytes + 6, port->nic.mac, 6);
	bh_neighbour_send(port, &hop, frame);
}

/* Addresses that never cross a wire (RFC 1122, 3.2.1.3). */
static bool is_martian(const struct bh_address *source, const struct bh_address *target)
{
	return bh_address_is_loopback(source) || bh_address_is_loopback(target) ||
	       bh_address_is_multicast(source);
}

void bh_stack_receive(struct bh_stack *stack, struct bh_port *port, const struct bh_frame *frame)
{
	struct bh_memory *memory = stack->memory;
	struct bh_packet packet;
	bool group;

	if (!bh_frame_parse(frame, &packet))
		return;
	if (packet.form == BH_FORM_ARP && port)
		bh_neighbour_arp(port, &packet);
	if (packet.form != BH_FORM_IP || (port && packet.key.v6 && !port->nic.ipv6))
		return;
	if (port && is_martian(&packet.key.remote, &packet.key.local))
		return;
	if (!port && frame->tag && frame->tag == memory->watch.tag && stack == memory->watch.to)
		bh_memory_arrived(memory, frame);
	if (port && bh_neighbour_is(&packet)) {
		bh_neighbour_nd(port, &packet);
		return;
	}
	group = is_group(stack, &packet.key.local);
	if (stack == memory->host && port && !group && bh_router_input(memory, port, frame, &packet))
		return;
	if (group || bh_stack_owns(stack, &packet.key.local))
		bh_answer(stack, frame, &packet, group);
}

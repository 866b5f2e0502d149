/*
 * lab.c - the lab of the memory platform: a peer on a wire to the host, and probes.
 *
 * The lab owns the world: closing the platform in it changes nothing, and whoever uses the platform
 * is done with it before the lab is closed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../base/hash.h"
#include "memory.h"

#define PROBE_NS 1000000 /* a probe takes a millisecond */

struct lab {
	struct bh_lab lab; /* first */
	struct bh_memory *memory;
};

static struct bh_memory *of(struct bh_lab *lab)
{
	return ((struct lab *)lab)->memory;
}

/* Whether the compartment has vmNICs that nothing is behind, and no other. */
static bool is_without_guest(const struct bh_memory *memory, uint32_t id)
{
	bool dormant = false;

	for (const struct bh_port *port = memory->ports; port; port = port->next) {
		if (!port->nic.endpoint || port->nic.compartment != id)
			continue;
		if (port->stack)
			return false;
		dormant = true;
	}
	return dormant;
}

static int stack_of(struct bh_memory *memory, uint32_t where, struct bh_stack **out,
                    struct bh_error *err)
{
	struct bh_compartment *compartment = bh_memory_compartment(memory, where);

	if (where == BH_LAB_OUTSIDE) {
		*out = memory->outside;
		return 0;
	}
	if (!compartment)
		return bh_error_set(err, -ENOENT, "There is no compartment %u.", where);
	if (is_without_guest(memory, where))
		return bh_error_set(err, -ENOTCONN, "The guest of compartment %u has not started.", where);
	*out = compartment->guest ? compartment->guest : compartment->stack;
	return 0;
}

static int lab_listen(struct bh_lab *lab, uint32_t where, uint8_t protocol, uint16_t port,
                      struct bh_error *err)
{
	struct bh_listener listener = {protocol, port};
	struct bh_stack *stack;
	uint8_t yes = 1;
	int rc = stack_of(of(lab), where, &stack, err);

	if (rc)
		return rc;
	if (protocol != BH_PROTO_TCP && protocol != BH_PROTO_UDP)
		return bh_error_set(err, -EINVAL, "Only TCP and UDP ports can be listened on, not "
		                                  "protocol %u.", protocol);
	rc = bh_hash_insert(stack->listeners, &listener, &yes);
	if (rc == -EEXIST)
		return bh_error_set(err, -EADDRINUSE, "%s port %u is already listened on in compartment "
		                                      "%u.", protocol == BH_PROTO_TCP ? "TCP" : "UDP", port,
		                    where);
	return rc ? bh_error_set(err, rc, "There is not enough memory for a listener.") : 0;
}

static int lab_guest_start(struct bh_lab *lab, const struct bh_nic *nic, struct bh_error *err)
{
	struct bh_memory *memory = of(lab);
	struct bh_port *port = bh_port_find(memory, nic->endpoint);
	struct bh_compartment *compartment;

	if (!port)
		return bh_error_set(err, -ENOENT, "There is no endpoint %u.", nic->endpoint);
	if (port->nic.kind != BH_NIC_SYNTHETIC)
		return bh_error_set(err, -EINVAL, "Endpoint %u has no vmNIC for a guest.", nic->endpoint);
	if (port->stack)
		return bh_error_set(err, -EBUSY, "A guest already has the vmNIC of endpoint %u.",
		                    nic->endpoint);
	compartment = bh_memory_compartment(memory, port->nic.compartment);
	if (!compartment->guest) {
		int rc = bh_stack_new(memory, &compartment->guest, err);

		if (rc)
			return rc;
	}
	port->stack = compartment->guest;
	return 0;
}

/* Begins to watch for what descends from the next packet. */
static struct bh_watch *watch_begin(struct bh_memory *memory, struct bh_stack *from, uint32_t to)
{
	struct bh_compartment *compartment = bh_memory_compartment(memory, to);
	struct bh_watch *watch = &memory->watch;

	memset(watch, 0, sizeof(*watch));
	watch->tag = ++memory->tags ? memory->tags : ++memory->tags;
	watch->from = from;
	watch->to = to == BH_LAB_OUTSIDE ? memory->outside
	            : compartment && compartment->guest ? compartment->guest
	            : compartment ? compartment->stack : NULL;
	return watch;
}

static void watch_end(struct bh_memory *memory)
{
	bh_segment_run(memory);
	memory->watch.tag = 0;
	memory->now += PROBE_NS;
}

/* The packet a probe begins with; false: there is no way to its target. */
static bool probe_packet(struct bh_stack *stack, const struct bh_probe *probe,
                         struct bh_notation *packet)
{
	bool v4 = bh_address_is_v4(&probe->target);

	*packet = probe->raw;
	if (probe->kind == BH_PROBE_RAW)
		return true;
	memset(packet, 0, sizeof(*packet));
	packet->target = probe->target;
	packet->target_port = probe->target_port;
	packet->source_port = probe->source_port;
	if (!packet->source_port) {
		stack->ephemeral = stack->ephemeral >= 60999 ? 32768 : stack->ephemeral + 1;
		packet->source_port = stack->ephemeral;
	}
	packet->tcp_flags = BH_TCP_SYN;
	packet->icmp_type = v4 ? 8 : 128;
	packet->protocol = probe->kind == BH_PROBE_TCP ? BH_PROTO_TCP
	                   : probe->kind == BH_PROBE_UDP ? BH_PROTO_UDP
	                   : v4 ? BH_PROTO_ICMP : BH_PROTO_ICMP6;
	return bh_stack_source(stack, &probe->target, &packet->source);
}

/* What the sender's stack has to remember to know the answer. */
static void expect(struct bh_watch *watch, const struct bh_probe *probe,
                   const struct bh_notation *packet)
{
	struct bh_conversation talk = {packet->source, packet->target, packet->source_port,
	                               packet->target_port};
	uint32_t state = BH_TALK_SYN_SENT;

	watch->kind = probe->kind;
	watch->local = packet->source;
	watch->remote = packet->target;
	watch->local_port = packet->source_port;
	watch->remote_port = packet->target_port;
	if (probe->kind != BH_PROBE_TCP)
		return;
	bh_hash_remove(watch->from->conversations, &talk);
	bh_hash_insert(watch->from->conversations, &talk, &state);
}

static int lab_probe(struct bh_lab *lab, const struct bh_probe *probe,
                     struct bh_probe_result *result, struct bh_error *err)
{
	struct bh_memory *memory = of(lab);
	struct bh_notation packet;
	struct bh_stack *from;
	struct bh_frame *frame;
	struct bh_watch *watch;
	int rc = stack_of(memory, probe->from, &from, err);

	if (rc)
		return rc;
	if (probe->to != BH_LAB_OUTSIDE && !bh_memory_compartment(memory, probe->to))
		return bh_error_set(err, -ENOENT, "There is no compartment %u.", probe->to);
	watch = watch_begin(memory, from, probe->to);
	if (probe_packet(from, probe, &packet)) {
		frame = bh_frame_of(&packet);
		if (!frame) {
			watch->tag = 0;
			return bh_error_set(err, -ENOMEM, "There is not enough memory for a packet.");
		}
		expect(watch, probe, &packet);
		if (probe->kind == BH_PROBE_PING) {
			bh_put16(frame->bytes + bh_frame_transport(frame) + 4, packet.source_port);
			bh_frame_sum(frame);
		}
		frame->tag = watch->tag;
		bh_stack_output(from, frame);
	}
	watch_end(memory);
	*result = watch->result;
	return 0;
}

static int lab_inject(struct bh_lab *lab, uint32_t from, uint32_t to, const void *bytes,
                      size_t size, bool *arrived, struct bh_error *err)
{
	struct bh_memory *memory = of(lab);
	struct bh_watch *watch;
	struct bh_frame *frame;
	struct bh_stack *stack;
	struct bh_port *port;
	int rc = stack_of(memory, from, &stack, err);

	if (rc)
		return rc;
	if (to != BH_LAB_OUTSIDE && !bh_memory_compartment(memory, to))
		return bh_error_set(err, -ENOENT, "There is no compartment %u.", to);
	if (size < 14 || size > 65535 + 14)
		return bh_error_set(err, -EINVAL, "A frame has 14 to 65549 bytes, not %zu.", size);
	port = bh_port_next(stack, NULL);
	if (!port)
		return bh_error_set(err, -ENODEV, "Compartment %u has no NIC to send from.", from);
	frame = bh_frame_new(bytes, (uint32_t)size);
	if (!frame)
		return bh_error_set(err, -ENOMEM, "There is not enough memory for a frame.");
	watch = watch_begin(memory, stack, to);
	watch->kind = BH_PROBE_RAW;
	frame->tag = watch->tag;
	bh_port_send(port, frame);
	watch_end(memory);
	*arrived = watch->result.arrived;
	return 0;
}

static int lab_advance(struct bh_lab *lab, uint64_t ns, struct bh_error *err)
{
	(void)err;
	of(lab)->now += ns;
	return 0;
}

static int lab_route_outside(struct bh_lab *lab, const struct bh_prefix *prefix,
                             struct bh_error *err)
{
	struct bh_memory *memory = of(lab);
	struct bh_stack *outside = memory->outside;
	struct bh_route *route = &outside->routes[outside->routes_count];

	if (outside->routes_count == BH_STATIC_ROUTES_MAX)
		return bh_error_set(err, -ENOSPC, "The peer outside has room for %d routes.",
		                    BH_STATIC_ROUTES_MAX);
	for (size_t i = 0; i < memory->uplink->nic.addresses_count; i++) {
		const struct bh_address *gateway = &memory->uplink->nic.addresses[i].address;

		if (bh_address_is_v4(gateway) != bh_address_is_v4(&prefix->address))
			continue;
		route->prefix = *prefix;
		route->gateway = *gateway;
		outside->routes_count++;
		return 0;
	}
	return bh_error_set(err, -ENETUNREACH, "The host has no %s address on its uplink.",
	                    bh_address_is_v4(&prefix->address) ? "IPv4" : "IPv6");
}

static void lab_close(struct bh_lab *lab)
{
	bh_memory_free(of(lab));
	free(lab);
}

static const struct bh_lab_ops ops = {
	.listen = lab_listen,
	.guest_start = lab_guest_start,
	.probe = lab_probe,
	.inject = lab_inject,
	.advance = lab_advance,
	.route_outside = lab_route_outside,
	.close = lab_close,
};

/* One end of the wire; the other end's first address of each family is its default gateway. */
static int plug(struct bh_memory *memory, struct bh_stack *stack, uint8_t number,
                const struct bh_prefix *own, size_t count, const struct bh_prefix *gateways,
                size_t gateways_count, struct bh_port **out, struct bh_error *err)
{
	struct bh_nic nic = {
		.compartment = stack == memory->host ? BH_DEFAULT_COMPARTMENT : BH_LAB_OUTSIDE,
		.mac = {0x02, 0xb1, 0, 0, 0, number},
		.default_route = gateways_count > 0,
		.mtu = 1500,
		.addresses_count = count,
		.gateways_count = gateways_count,
	};

	snprintf(nic.name, sizeof(nic.name), stack == memory->host ? "uplink" : "eth0");
	for (size_t i = 0; i < count; i++) {
		nic.addresses[i] = own[i];
		nic.ipv6 |= !bh_address_is_v4(&own[i].address);
	}
	for (size_t i = 0; i < gateways_count; i++)
		nic.gateways[i] = gateways[i].address;
	return bh_port_new(memory, memory->wire, stack, &nic, out, err);
}

int bh_lab_memory_open(struct bh_lab **out, const struct bh_lab_options *options,
                       struct bh_error *err)
{
	struct lab *lab;
	struct bh_memory *memory;
	struct bh_port *peer;
	struct bh_switch wire = {.name = "wire"};
	int rc;

	if (options->host_count > 4 || options->outside_count > 4)
		return bh_error_set(err, -EINVAL, "A lab has at most 4 addresses on each side.");
	lab = calloc(1, sizeof(*lab));
	if (!lab)
		return bh_error_set(err, -ENOMEM, "There is not enough memory for a lab.");
	rc = bh_memory_new(&memory, err);
	if (rc) {
		free(lab);
		return rc;
	}
	rc = bh_stack_new(memory, &memory->outside, err);
	if (!rc)
		rc = bh_segment_new(memory, &wire, &memory->wire, err);
	if (!rc)
		rc = plug(memory, memory->host, 1, options->host, options->host_count, options->outside,
		          options->outside_count, &memory->uplink, err);
	if (!rc)
		rc = plug(memory, memory->outside, 2, options->outside, options->outside_count, NULL, 0,
		          &peer, err);
	if (rc) {
		bh_memory_free(memory);
		free(lab);
		return rc;
	}
	memory->in_lab = true;
	lab->lab.ops = &ops;
	lab->lab.platform = &memory->platform;
	lab->memory = memory;
	*out = &lab->lab;
	return 0;
}

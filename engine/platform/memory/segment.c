/*
 * segment.c - see segment.h. Learning, forwarding and flooding as a bridge does them.
 */
#include "segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../base/hash.h"
#include "barrier.h"
#include "memory.h"

#define FRAMES_MAX 100000 /* of one run; more is a storm */

struct bh_segment *bh_segment_find(const struct bh_memory *memory, uint32_t network)
{
	struct bh_segment *segment = memory->segments;

	while (segment && segment->what.id != network)
		segment = segment->next;
	return segment;
}

int bh_segment_new(struct bh_memory *memory, const struct bh_switch *what, struct bh_segment **out,
                   struct bh_error *err)
{
	struct bh_segment *segment = calloc(1, sizeof(*segment)), **end = &memory->segments;

	if (segment)
		segment->learned = bh_hash_new(6, sizeof(struct bh_port *));
	if (!segment || !segment->learned) {
		free(segment);
		return bh_error_set(err, -ENOMEM, "There is not enough memory for a switch.");
	}
	segment->what = *what;
	while (*end && what->id)
		end = &(*end)->next;
	if (what->id)
		*end = segment;
	*out = segment;
	return 0;
}

void bh_segment_free(struct bh_memory *memory, struct bh_segment *segment)
{
	struct bh_port *port = memory->ports, *next;

	for (; port; port = next) {
		next = port->next;
		if (port->segment == segment)
			bh_port_free(memory, port);
	}
	for (struct bh_segment **at = &memory->segments; *at; at = &(*at)->next)
		if (*at == segment) {
			*at = segment->next;
			break;
		}
	bh_hash_free(&segment->learned);
	free(segment);
}

int bh_port_new(struct bh_memory *memory, struct bh_segment *segment, struct bh_stack *stack,
                const struct bh_nic *nic, struct bh_port **out, struct bh_error *err)
{
	struct bh_port *port = calloc(1, sizeof(*port)), **end = &memory->ports;

	if (!port)
		return bh_error_set(err, -ENOMEM, "There is not enough memory for a port.");
	port->segment = segment;
	port->stack = stack;
	port->number = ++memory->numbers;
	port->nic = *nic;
	while (*end)
		end = &(*end)->next;
	*end = port;
	*out = port;
	return 0;
}

/* The MAC that was learnt at `port`. */
struct learned {
	const struct bh_port *port;
	uint8_t mac[6];
};

static int is_learned_at(const void *key, void *value, void *arg)
{
	struct learned *search = arg;

	if (*(struct bh_port **)value != search->port)
		return 0;
	memcpy(search->mac, key, 6);
	return 1;
}

void bh_port_free(struct bh_memory *memory, struct bh_port *port)
{
	struct learned search = {.port = port};

	bh_barrier_forget(memory, port);
	if (port->stack)
		bh_stack_forget_port(port->stack, port);
	while (bh_hash_each(port->segment->learned, is_learned_at, &search))
		bh_hash_remove(port->segment->learned, search.mac);
	for (struct bh_port **at = &memory->ports; *at; at = &(*at)->next)
		if (*at == port) {
			*at = port->next;
			break;
		}
	if (memory->uplink == port)
		memory->uplink = NULL;
	free(port);
}

struct bh_port *bh_port_find(const struct bh_memory *memory, uint32_t endpoint)
{
	struct bh_port *port = memory->ports;

	while (port && (!endpoint || port->nic.endpoint != endpoint))
		port = port->next;
	return port;
}

struct bh_port *bh_port_next(const struct bh_stack *stack, const struct bh_port *port)
{
	struct bh_port *next = port ? port->next : stack->memory->ports;

	while (next && next->stack != stack)
		next = next->next;
	return next;
}

void bh_segment_queue(struct bh_memory *memory, struct bh_frame *frame)
{
	frame->next = NULL;
	*memory->queue_end = frame;
	memory->queue_end = &frame->next;
}

void bh_port_send(struct bh_port *port, struct bh_frame *frame)
{
	struct bh_memory *memory = port->stack->memory;

	if (!bh_barrier_pass(memory, port, BH_OUT, frame)) {
		free(frame);
		return;
	}
	frame->port = port;
	bh_segment_queue(memory, frame);
}

/* A frame leaves the switch by `port`. */
static void deliver(struct bh_memory *memory, struct bh_port *port, const struct bh_frame *frame)
{
	bool ours = (frame->bytes[0] & 1) || !memcmp(frame->bytes, port->nic.mac, 6);

	if (!bh_barrier_pass(memory, port, BH_IN, frame) || !port->stack || !ours)
		return;
	if (frame->tag && frame->tag == memory->watch.tag && port->stack == memory->watch.to)
		bh_memory_arrived(memory, frame);
	bh_stack_receive(port->stack, port, frame);
}

static void forward(struct bh_memory *memory, const struct bh_frame *frame)
{
	struct bh_port *from = frame->port, **known;
	struct bh_segment *segment = from->segment;

	if (!(frame->bytes[6] & 1)) {
		bh_hash_remove(segment->learned, frame->bytes + 6);
		bh_hash_insert(segment->learned, frame->bytes + 6, &from);
	}
	known = frame->bytes[0] & 1 ? NULL : bh_hash_find(segment->learned, frame->bytes);
	if (known && *known != from)
		deliver(memory, *known, frame);
	for (struct bh_port *port = memory->ports; !known && port; port = port->next)
		if (port->segment == segment && port != from)
			deliver(memory, port, frame);
}

void bh_segment_run(struct bh_memory *memory)
{
	struct bh_frame *frame;

	for (int i = 0; (frame = memory->queue); i++) {
		memory->queue = frame->next;
		if (!memory->queue)
			memory->queue_end = &memory->queue;
		if (i < FRAMES_MAX && frame->port)
			forward(memory, frame);
		else if (i < FRAMES_MAX)
			bh_stack_receive(frame->stack, NULL, frame);
		free(frame);
	}
	for (struct bh_stack *stack = memory->host; stack; stack = stack->next)
		bh_stack_give_up(stack);
}

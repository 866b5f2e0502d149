/*
 * segment.h - the switches of the memory platform, their ports, and the frames under way.
 *
 * A segment is one network's switch, or the wire between the host and the peer outside. A port is
 * a cable: one end on the segment, a stack at the other, the NIC's gate in between. Frames wait in
 * one queue of the world and are taken one by one, so nothing recurses and the order is always
 * the same.
 */
#ifndef BH_PLATFORM_MEMORY_SEGMENT_H
#define BH_PLATFORM_MEMORY_SEGMENT_H

#include "../platform.h"
#include "frame.h"

struct bh_memory;
struct bh_stack;

struct bh_segment {
	struct bh_segment *next;
	struct bh_switch what; /* id 0: the wire outside */
	struct bh_hash *learned; /* MAC to struct bh_port * */
};

struct bh_port {
	struct bh_port *next; /* in the world, in the order of making */
	struct bh_segment *segment;
	struct bh_stack *stack; /* NULL: a vmNIC whose guest has not started */
	uint64_t number;        /* never reused */
	struct bh_nic nic;      /* endpoint 0: not an endpoint's, and without gate */
	struct bh_conf conf, staged; /* staged.endpoint 0: nothing is */
	struct bh_counters counters;
};

struct bh_segment *bh_segment_find(const struct bh_memory *memory, uint32_t network);
int bh_segment_new(struct bh_memory *memory, const struct bh_switch *what, struct bh_segment **out,
                   struct bh_error *err);
/* With all its ports. */
void bh_segment_free(struct bh_memory *memory, struct bh_segment *segment);

int bh_port_new(struct bh_memory *memory, struct bh_segment *segment, struct bh_stack *stack,
                const struct bh_nic *nic, struct bh_port **out, struct bh_error *err);
void bh_port_free(struct bh_memory *memory, struct bh_port *port);
struct bh_port *bh_port_find(const struct bh_memory *memory, uint32_t endpoint);
/* The first port of a stack, or the one after `port`. */
struct bh_port *bh_port_next(const struct bh_stack *stack, const struct bh_port *port);

/* Sends a frame out of the NIC at `port`, past its gate. Takes the frame. */
void bh_port_send(struct bh_port *port, struct bh_frame *frame);
/* Puts a frame into the queue: on the segment of frame->port, or the loopback of frame->stack. */
void bh_segment_queue(struct bh_memory *memory, struct bh_frame *frame);
/* Lets frames travel until none is under way. */
void bh_segment_run(struct bh_memory *memory);

#endif

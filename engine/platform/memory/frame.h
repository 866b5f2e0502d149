/*
 * frame.h - Ethernet frames of the memory platform: real bytes, edited as a stack or a router does.
 *
 * A frame also remembers what no wire carries: the probe it descends from, so that a test can ask
 * whether this very packet arrived, through translation and forwarding.
 */
#ifndef BH_PLATFORM_MEMORY_FRAME_H
#define BH_PLATFORM_MEMORY_FRAME_H

#include "../../filter/notation.h"

struct bh_frame {
	struct bh_frame *next;  /* in the queue, or waiting for a neighbour */
	struct bh_port *port;   /* where it entered the switch, or leaves the stack; NULL: loopback */
	struct bh_stack *stack; /* whose loopback */
	struct bh_address hop;  /* the neighbour it waits for */
	uint32_t tag;           /* of the probe it descends from; 0 = none */
	bool answer;            /* made by an end in answer to another: never echoed again */
	uint32_t size;
	uint8_t bytes[];
};

/* NULL if there is not enough memory. free() it. */
struct bh_frame *bh_frame_new(const void *bytes, uint32_t size);
/* A copy with tag and `answer` kept. */
struct bh_frame *bh_frame_copy(const struct bh_frame *frame);
/* The packet in notation; MACs are still to be filled in. */
struct bh_frame *bh_frame_of(const struct bh_notation *packet);

/* As the filter's own parser sees it, from the receiver's side: local is the destination. False if
 * it is malformed. */
bool bh_frame_parse(const struct bh_frame *frame, struct bh_packet *packet);

/* The rest is for frames that parsed as IP. */

/* Offset of the transport header. */
uint32_t bh_frame_transport(const struct bh_frame *frame);
struct bh_address bh_frame_address(const struct bh_frame *frame, bool source);
void bh_frame_set_address(struct bh_frame *frame, bool source, const struct bh_address *address);
/* Makes the checksums right: of the IP header and, but for a fragment, of the transport's. */
void bh_frame_sum(struct bh_frame *frame);

/* Addresses in an IP header that starts at `ip`. */
void bh_ip_set_address(uint8_t *ip, bool source, const struct bh_address *address);

static inline void bh_put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

#endif

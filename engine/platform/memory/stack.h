/*
 * stack.h - a network stack of the memory platform: a compartment's, a guest's, the peer outside.
 *
 * It has what its ports' NICs say (addresses, gateways), tables of who listens and who talks, and
 * no sockets. It takes part in the protocols below it honestly: neighbours are asked for over the
 * wire.
 */
#ifndef BH_PLATFORM_MEMORY_STACK_H
#define BH_PLATFORM_MEMORY_STACK_H

#include "segment.h"

#define BH_STATIC_ROUTES_MAX 16

struct bh_hash;

struct bh_route {
	struct bh_prefix prefix;
	struct bh_address gateway;
};

struct bh_stack {
	struct bh_stack *next; /* in the world, after the host's */
	struct bh_memory *memory;
	uint64_t cookie;
	int references; /* compartments that are this stack */
	uint16_t ephemeral;
	struct bh_hash *listeners;     /* struct bh_listener */
	struct bh_hash *conversations; /* struct bh_conversation to enum bh_conversation_state */
	struct bh_hash *neighbours;    /* struct bh_neighbour to a MAC */
	struct bh_frame *waiting;      /* for a neighbour's answer */
	size_t routes_count;           /* beside those of the NICs */
	struct bh_route routes[BH_STATIC_ROUTES_MAX];
};

/* Keys of hash maps: no padding. */
struct bh_listener {
	uint16_t protocol;
	uint16_t port;
};

struct bh_conversation {
	struct bh_address local, remote;
	uint32_t local_port, remote_port;
};

enum bh_conversation_state { BH_TALK_SYN_SENT, BH_TALK_SYN_RECEIVED, BH_TALK_ESTABLISHED };

struct bh_neighbour {
	struct bh_address address;
	uint64_t port; /* its number */
};

int bh_stack_new(struct bh_memory *memory, struct bh_stack **out, struct bh_error *err);
void bh_stack_free(struct bh_stack **stack);
/* Forgets what was learnt at a port, which goes. */
void bh_stack_forget_port(struct bh_stack *stack, struct bh_port *port);
/* Drops what still waits for a neighbour. */
void bh_stack_give_up(struct bh_stack *stack);

/* Whether the address is assigned to this NIC, its fe80 included; to any NIC or the loopback. */
bool bh_port_owns(const struct bh_port *port, const struct bh_address *address);
bool bh_stack_owns(const struct bh_stack *stack, const struct bh_address *address);
/* 255.255.255.255 or the broadcast address of a subnet of this NIC. */
bool bh_port_is_broadcast(const struct bh_port *port, const struct bh_address *address);
bool bh_address_is_loopback(const struct bh_address *address);
/* The NIC's first address of the target's family, one in its subnet before others; false: none. */
bool bh_port_source(const struct bh_port *port, const struct bh_address *target,
                    struct bh_address *source);

/* The NIC and the neighbour a packet to `target` leaves by; NULL: no route. */
struct bh_port *bh_stack_route(const struct bh_stack *stack, const struct bh_address *target,
                               struct bh_address *hop);
/* The address a packet to `target` is sent from; false: none. */
bool bh_stack_source(const struct bh_stack *stack, const struct bh_address *target,
                     struct bh_address *source);

/* Routes an IP packet and sends it; MACs are filled in here. Takes the frame, which may be NULL. */
void bh_stack_output(struct bh_stack *stack, struct bh_frame *frame);
/* A frame came in by `port`, or by the loopback if that is NULL. */
void bh_stack_receive(struct bh_stack *stack, struct bh_port *port, const struct bh_frame *frame);

#endif

/*
 * memory.h - the in-process platform: everything one simulated host consists of.
 *
 * No privileges, no system calls, no threads, no clock of its own: the same calls always give the
 * same packets. Frames are real bytes, and gates ask the real evaluator.
 */
#ifndef BH_PLATFORM_MEMORY_MEMORY_H
#define BH_PLATFORM_MEMORY_MEMORY_H

#include "../lab.h"
#include "router.h"
#include "segment.h"
#include "stack.h"

struct bh_hash;
struct bh_flow_table;

struct bh_compartment {
	struct bh_compartment *next;
	uint32_t id;
	struct bh_stack *stack; /* shared by all that adopted one path */
	struct bh_stack *guest; /* owned; the VM's, once it has started */
};

/* A namespace somebody else made, known by its path. */
struct bh_foreign {
	struct bh_foreign *next;
	uint64_t cookie;
	char path[];
};

/* What a probe waits for. */
struct bh_watch {
	uint32_t tag;             /* of its packet */
	struct bh_stack *from;
	struct bh_stack *to;      /* NULL: nobody */
	enum bh_probe_kind kind;
	struct bh_address local, remote;
	uint16_t local_port, remote_port; /* ping: local_port is the identifier */
	struct bh_probe_result result;
};

struct bh_memory {
	struct bh_platform platform; /* first: the one is the other */
	bool in_lab;                 /* the lab owns it; else whoever opened the platform */
	uint64_t now;
	uint64_t numbers;            /* the last one given to a stack, a path or a port */
	struct bh_compartment *compartments;
	struct bh_foreign *foreigns;
	struct bh_stack *host;
	struct bh_stack *outside;    /* in a lab */
	struct bh_segment *segments; /* networks, in the order of making */
	struct bh_segment *wire;     /* in a lab */
	struct bh_port *uplink;      /* the host's on the wire */
	struct bh_port *ports;
	struct bh_router router;
	struct bh_flow_table *flows;
	struct bh_hash *tables; /* id to struct bh_table */
	struct bh_hash *hits;   /* endpoint and rule to a number of packets */
	struct bh_circle *circle; /* owned */
	struct bh_frame *queue, **queue_end;
	struct bh_watch watch;
	uint32_t tags; /* the last one given to a probe */
};

int bh_memory_new(struct bh_memory **out, struct bh_error *err);
void bh_memory_free(struct bh_memory *memory);
/* The watched probe is where it was looked for. */
void bh_memory_arrived(struct bh_memory *memory, const struct bh_frame *frame);
struct bh_compartment *bh_memory_compartment(const struct bh_memory *memory, uint32_t id);

#endif

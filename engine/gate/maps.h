/*
 * maps.h - names, keys and sizes of the gate's maps, for the program and for its loader.
 */
#ifndef BH_GATE_MAPS_H
#define BH_GATE_MAPS_H

#include "../filter/packet.h"

/* Room for flows of all compartments: 1,048,576 (16 MB of empty buckets, twice with the ledger). */
#define BH_FLOWS_MAX (1u << 20)
#define BH_PORTS_MAX 65536u

/*
 * Layouts of maps that outlive an upgrade: a version that finds one pinned under the number it knows
 * goes on with it. Raise a number with any change of what the map's keys and values mean; all others,
 * and the programs, carry BH_ABI and are made anew.
 */
#define BH_LAYOUT_FLOWS 3   /* flows, ledger, shares, rooms */
#define BH_LAYOUT_COUNTS 4  /* counters, what is not in them yet, hits */
#define BH_LAYOUT_RECORDS 2

/*
 * What each processor has for itself stands in arrays with so many rows a processor, by its number, and a
 * row in cache lines of its own. In a per-CPU map each row would be found by another pointer, which is one
 * more line to wait for.
 */
#define BH_LINE 64

/*
 * Tables stand in chunks of three sizes: many of a thousand rules in one, one of a hundred thousand.
 * The class is the upper half of a table reference's `chunk`.
 */
#define BH_CHUNK_1M (1u << 20)
#define BH_CHUNK_8M (8u << 20)
#define BH_CHUNK_64M (64u << 20)
#define BH_CHUNKS_1M 1024u
#define BH_CHUNKS_8M 256u
#define BH_CHUNKS_64M 32u
#define BH_CHUNK_CLASSES 3
#define BH_TABLES_MAX 131072u

/* Where a table is. The id is written last, and alone when the table goes. */
struct bh_spot {
	uint32_t id;    /* 0 = of none; BH_GRAVE = of one that is gone, which packets may still read */
	uint32_t chunk; /* class << 16 | index */
	uint32_t at;
	uint32_t size;
};

#define BH_GRAVE UINT32_MAX

/* What all gates of a state share. */
struct bh_state {
	uint64_t epoch;   /* which slot of each port is in force */
	uint64_t changes; /* counts when ports and the forwarding table begin to change and end to: odd meanwhile */
	uint64_t tables;  /* counts changes of where tables are */
	uint64_t spots;   /* how many were ever in use; those behind are of none */
	uint64_t shares;  /* rows of that map, if `shares_known`: a kill may come between a row and its count */
	uint64_t shares_known;
};

/*
 * A port's conf, twice: the slot that came last among those whose epoch has come is in force. So what
 * many ports are to enforce is filled in while the old decides, and one store to the epoch puts all of
 * it in force. A packet reads the epoch once, before any port.
 */
struct bh_slots {
	uint64_t since[2]; /* epochs */
	struct bh_conf confs[2];
};

static inline uint32_t bh_slot_in_force(const struct bh_slots *slots, uint64_t epoch)
{
	uint32_t newer = slots->since[1] > slots->since[0];

	/* Where two changes overtook a packet neither has come for it: the older is the nearer. */
	return slots->since[newer] <= epoch ? newer : !newer;
}

/*
 * What each processor let through for the endpoints it had to do with last and has not added to their
 * counters yet: the row of an endpoint is settled when another needs its place. `turns` counts when that
 * begins and when it ends, so that who reads both knows whether something went from here to there.
 */
#define BH_PENDING 16 /* rows a processor, by the lowest bits of the endpoint's id; a power of two */

struct bh_pending {
	_Alignas(BH_LINE) uint32_t endpoint;
	uint32_t turns;
	uint64_t packets[2], bytes[2]; /* by direction */
	uint64_t direct;
	uint64_t reserved[2];
};

/*
 * What a processor remembers of a flow: flow_memo.h says how long it holds. Packets that passed by it are
 * the flow's, too: who reads a flow adds what all processors have in its place.
 */
#define BH_FLOW_MEMOS 256 /* rows a processor */
#define BH_REMOVALS 256 /* a power of two */

struct bh_flow_memo {
	_Alignas(BH_LINE) struct bh_flow_key key;
	uint64_t tick;     /* it was read in; 0: never */
	uint64_t removals; /* of the endpoint's flows, when it was read */
	uint64_t created;  /* of the flow */
	uint64_t packets[2]; /* not added to the flow yet, by direction */
	uint32_t generation;
	uint32_t rule;
	uint8_t state, opener, audit;
	uint8_t reserved[29];
};

_Static_assert(sizeof(struct bh_pending) == BH_LINE && sizeof(struct bh_flow_memo) == 2 * BH_LINE, "no line is shared");

/* The place of a flow's memo. */
static inline uint32_t bh_flow_memo_row(const struct bh_flow_key *key)
{
	uint64_t mixed = key->local.lo ^ key->remote.lo ^ key->endpoint ^ key->local_port ^ (uint32_t)key->remote_port << 16;

	_Static_assert(BH_FLOW_MEMOS == 1 << 8, "the row is the upper byte of a word");
	return (uint32_t)mixed * 0x9e3779b1u >> 24;
}

/* How many flows of each endpoint were removed: counted by the lowest bits of its id. */
struct bh_removals {
	uint64_t of[BH_REMOVALS];
};

struct bh_hit_key {
	uint32_t endpoint;
	uint32_t rule;
};

/*
 * Who on a network has a MAC address: the port to hand a frame for it to, if it is no larger than the
 * port's MTU. Endpoints of ours only.
 */
struct bh_forward_key {
	uint32_t network;
	uint8_t mac[6];
	uint8_t reserved[2];
};

struct bh_forward {
	uint32_t port; /* interface index */
	uint32_t mtu;
};

/* skb->cb of a test run: what to judge it as, and what was decided. */
enum bh_probe_cb { BH_PROBE_PORT, BH_PROBE_DIRECTION, BH_PROBE_ACTION, BH_PROBE_BY, BH_PROBE_RULE };

/* Where a key stands in the frame that bh_gate_forget is run on: behind the Ethernet header. */
#define BH_FORGET_AT 14

#endif

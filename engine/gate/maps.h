/*
 * maps.h - names, keys and sizes of the gate's maps, for the program and for its loader.
 */
#ifndef BH_GATE_MAPS_H
#define BH_GATE_MAPS_H

#include "../filter/conf.h"

/* Room for flows of all compartments: 1,048,576 (16 MB of empty buckets, twice with the ledger). */
#define BH_FLOWS_MAX (1u << 20)
#define BH_PORTS_MAX 65536u
#define BH_PAGES_MAX 262144u

/*
 * Layouts of maps that outlive an upgrade: a version that finds one pinned under the number it knows
 * goes on with it. Raise a number with any change of what the map's keys and values mean; all others,
 * and the programs, carry BH_ABI and are made anew.
 */
#define BH_LAYOUT_FLOWS 2   /* flows, ledger, shares, rooms */
#define BH_LAYOUT_COUNTS 2  /* counters, hits */
#define BH_LAYOUT_RECORDS 2

struct bh_page_key {
	uint32_t table;
	uint32_t page;
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

/*
 * conf.h - what the evaluator is told about one endpoint: who it is, and what decides.
 *
 * The one record per endpoint that the gate reads for each packet. It is replaced as a whole, so a
 * packet sees either the old policy or the new one. Shared with eBPF: fixed layout, host byte order
 * but for MACs, and no padding a compiler could leave undefined.
 */
#ifndef BH_FILTER_CONF_H
#define BH_FILTER_CONF_H

#include "address.h"

/*
 * The layout of everything in filter/ that is shared with the kernel. Raised when any of it changes. The
 * program that tests upgrades is built with older numbers.
 */
#ifndef BH_ABI
#define BH_ABI 9

#define BH_ADDRESSES_MAX 8 /* addresses of one endpoint, without fe80 */
#endif

enum bh_direction { BH_IN, BH_OUT }; /* towards the container; from it */

enum bh_action { BH_ALLOW, BH_BLOCK };

/* What decided. The names are in bh_by_name() and are part of `explain --json`. */
enum bh_by {
	BH_BY_FLOW,
	BH_BY_RULE,
	BH_BY_DEFAULT,
	BH_BY_NEIGHBOUR,
	BH_BY_FRAGMENT,
	BH_BY_MALFORMED,
	BH_BY_SPOOF,
	BH_BY_QUOTA,
	BH_BY_COUNT
};

enum bh_conf_flag {
	BH_CONF_ANTISPOOF = 1,   /* check the identity of what is sent and received */
	BH_CONF_ROUTER = 2,      /* may send router advertisements and redirects */
	BH_CONF_DHCP_SERVER = 4, /* may send DHCP answers */
	BH_CONF_BLOCK_IN = 8,    /* the default of inbound is block */
	BH_CONF_BLOCK_OUT = 16,  /* the default of outbound is block */
	BH_CONF_AUDIT = 32,      /* what rules or a default block passes, and is recorded */
	BH_CONF_SWITCHED = 64,   /* nothing passes the switch by, for what stands on its ports to see it */
};

/* Field `timeouts` of a policy, in this order; seconds. DESIGN 3.1 has the defaults. */
enum bh_timeout {
	BH_TIMEOUT_SYN,
	BH_TIMEOUT_ESTABLISHED,
	BH_TIMEOUT_CLOSING,
	BH_TIMEOUT_RESET,
	BH_TIMEOUT_UDP,
	BH_TIMEOUT_UDP_ANSWERED,
	BH_TIMEOUT_ICMP,
	BH_TIMEOUT_OTHER,
	BH_TIMEOUT_COUNT
};

#define BH_FLOWS_GUARANTEED 1024
#define BH_FLOWS_LIMIT 65536

/* A compiled table, and where the gate keeps it, which the gate fills in. */
struct bh_table_ref {
	uint32_t id; /* 0 = no table */
	uint32_t chunk;
	uint32_t at; /* offset in the chunk */
};

/* What a packet of a live flow asks for comes first: it is two lines of the cache. */
struct bh_conf {
	uint32_t endpoint;    /* id, unique on the host */
	uint32_t generation;  /* of the policy; a flow of an older one is asked again */
	uint32_t flags;       /* enum bh_conf_flag */
	uint32_t network;     /* id; whose switch the port is on */
	uint8_t mac[6];
	uint8_t addresses_count;
	uint8_t reserved;
	uint32_t timeouts[BH_TIMEOUT_COUNT];
	uint32_t compartment; /* id; flows are charged to it */
	uint32_t flows_guaranteed;
	uint32_t flows_limit;
	uint32_t reserved_too;
	struct bh_address addresses[BH_ADDRESSES_MAX];
	struct bh_table_ref tables[2]; /* the shared one, then the endpoint's own */
	struct bh_address link_local; /* fe80 of the MAC; 0 where IPv6 is off */
	struct bh_address broadcasts[BH_ADDRESSES_MAX]; /* of each address' subnet; else the address */
};

struct bh_verdict {
	uint8_t action; /* enum bh_action */
	uint8_t by;     /* enum bh_by */
	uint8_t audit;  /* 1: it passes only because the block is audited */
	uint8_t log;    /* 1: a rule with `log` decided */
	uint32_t rule; /* id of the rule that decided (a flow: its opener's), 0 = none */
};

/* What happened at an endpoint's gate: packets and bytes that passed, packets dropped by reason. */
struct bh_counters {
	uint64_t packets[2];             /* passed, by direction */
	uint64_t bytes[2];               /* passed */
	uint64_t dropped[2][BH_BY_COUNT]; /* by direction and reason */
	uint64_t audited[2];
	uint64_t direct; /* of packets[BH_OUT]: handed straight to their receiver, past the switch */
};

#endif

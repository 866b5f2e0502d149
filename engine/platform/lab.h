/*
 * lab.h - a throwaway host with a peer outside, for the scene and the tests to send packets in.
 *
 * A lab is made before the platform: on `linux` it is two fresh network namespaces joined by a veth
 * pair, and the process moves into the first, which becomes the default compartment of the state
 * opened next; on `memory` it is the platform itself with an uplink and a peer. What is sent is real:
 * sockets and raw packets in namespaces, or frames through the simulated stacks.
 */
#ifndef BH_PLATFORM_LAB_H
#define BH_PLATFORM_LAB_H

#include "../filter/notation.h"
#include "platform.h"

/* Where something is sent from or watched: a compartment's id, or the peer outside. */
#define BH_LAB_OUTSIDE 0

enum bh_probe_kind {
	BH_PROBE_TCP,  /* connect; answered = connected */
	BH_PROBE_UDP,  /* one datagram; answered = an echo came back */
	BH_PROBE_PING, /* one echo request; answered = the reply came back */
	BH_PROBE_RAW,  /* one packet as `raw` says (direction ignored), whatever its source; never answered */
};

struct bh_probe {
	uint32_t from;
	uint32_t to; /* where its arrival is watched: at the NIC of this stack */
	enum bh_probe_kind kind;
	struct bh_address target; /* TCP, UDP, PING */
	uint16_t source_port;     /* 0 = any */
	uint16_t target_port;
	uint16_t arrival_port; /* where it arrives, if a published port's; 0 = target_port */
	struct bh_notation raw;
	uint32_t timeout_ms; /* how long to wait for arrival and answer */
};

struct bh_probe_result {
	bool arrived;  /* seen at the NIC of `to` */
	bool answered;
	bool refused;  /* TCP: an RST came back */
	struct bh_address source; /* it arrived with; unspecified if it did not */
};

struct bh_lab_options {
	size_t host_count;    /* addresses of the host's uplink, with prefix length */
	struct bh_prefix host[4];
	size_t outside_count; /* addresses of the peer, in the same subnets */
	struct bh_prefix outside[4];
};

struct bh_lab;

struct bh_lab_ops {
	/* A TCP port that accepts, or a UDP port that echoes. */
	int (*listen)(struct bh_lab *, uint32_t where, uint8_t protocol, uint16_t port,
	              struct bh_error *);
	/* A stand-in for a VMM on this vmNIC, with a stack of its own behind it that has the NIC's MAC,
	 * addresses and routes. From then on it is what probes from and to the compartment mean. */
	int (*guest_start)(struct bh_lab *, const struct bh_nic *, struct bh_error *);
	int (*probe)(struct bh_lab *, const struct bh_probe *, struct bh_probe_result *,
	             struct bh_error *);
	/* Sends a frame as it is out of the (first) NIC of `from`; `arrived` if it is seen at `to`. */
	int (*inject)(struct bh_lab *, uint32_t from, uint32_t to, const void *frame, size_t size,
	              bool *arrived, struct bh_error *);
	/* Sets the clock forward; -ENOTSUP on linux. */
	int (*advance)(struct bh_lab *, uint64_t ns, struct bh_error *);
	/* A packet for `address` from the outside enters the host (a route to the networks). */
	int (*route_outside)(struct bh_lab *, const struct bh_prefix *, struct bh_error *);
	void (*close)(struct bh_lab *);
};

struct bh_lab {
	const struct bh_lab_ops *ops;
	struct bh_platform *platform; /* set by the host that is opened in the lab; not owned */
};

int bh_lab_linux_open(struct bh_lab **out, const struct bh_lab_options *options,
                      struct bh_error *err);
/* The memory platform to be opened in is out->platform. */
int bh_lab_memory_open(struct bh_lab **out, const struct bh_lab_options *options,
                       struct bh_error *err);

static inline void bh_lab_close(struct bh_lab **lab)
{
	if (*lab)
		(*lab)->ops->close(*lab);
	*lab = NULL;
}

#endif

/*
 * router.h - the host between its networks and the world: who may reach whom, and masquerade.
 *
 * Like the `linux` platform's nftables table: networks that may reach each other do, without
 * translation; a `nat` network reaches the world, masqueraded; into a network comes only what
 * belongs to a conversation it started, or is addressed to a published port of the host.
 * Conversations are tracked by the tuple of each direction.
 */
#ifndef BH_PLATFORM_MEMORY_ROUTER_H
#define BH_PLATFORM_MEMORY_ROUTER_H

#include "../platform.h"
#include "frame.h"

struct bh_memory;
struct bh_port;
struct bh_hash;

struct bh_router {
	size_t networks_count;
	struct {
		uint32_t id;
		enum bh_driver driver;
	} *networks;
	size_t pairs_count;
	uint32_t (*pairs)[2];
	size_t mappings_count;
	struct bh_mapping *mappings;
	struct bh_hash *tracks; /* a tuple to what becomes of its packets */
};

int bh_router_init(struct bh_router *router, struct bh_error *err);
void bh_router_clear(struct bh_router *router);
/* Forgets networks and conversations. */
int bh_router_reset(struct bh_router *router, struct bh_error *err);
int bh_router_apply(struct bh_platform *, const struct bh_uplink *, struct bh_error *);

bool bh_router_intact(struct bh_platform *);
int bh_router_publish(struct bh_platform *, const struct bh_mapping *, size_t count,
                      struct bh_error *);
int bh_router_unpublish(struct bh_platform *, const struct bh_mapping *, size_t count,
                        struct bh_error *);
int bh_router_check(struct bh_platform *, const struct bh_mapping *, struct bh_error *);

/* The host itself sends to one of its own addresses: true if the packet went to a published port's
 * target instead. */
bool bh_router_output(struct bh_memory *memory, const struct bh_frame *frame);

/* A unicast packet came to the host by `port`: true if it was forwarded, delivered under another
 * name or dropped; false if it is for the host as it is, or not to be routed. */
bool bh_router_input(struct bh_memory *memory, struct bh_port *port, const struct bh_frame *frame,
                     const struct bh_packet *packet);

#endif

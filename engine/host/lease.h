/*
 * lease.h - which addresses of a network's subnets an endpoint gets. Inside host/ only.
 */
#ifndef BH_HOST_LEASE_H
#define BH_HOST_LEASE_H

#include "internal.h"

/* The addresses that an endpoint of this container is to have. */
struct bh_lease {
	const struct bh_switch *network;
	const char *container;
	size_t count;
	struct bh_prefix addresses[BH_ADDRESSES_MAX];
};

/* Adds `text` (an address, or with a prefix length that must be the subnet's). */
int bh_lease_static(struct bh_host *host, struct bh_lease *lease, const char *text, struct bh_error *err);
/* Adds the next free address of each subnet of the network. */
int bh_lease_next(struct bh_host *host, struct bh_lease *lease, struct bh_error *err);
/* They are the endpoint's. */
int bh_lease_store(struct bh_host *host, const struct bh_lease *lease, uint32_t endpoint,
                   struct bh_error *err);

#endif

/*
 * lease.h - which addresses of a network's subnets an endpoint gets. Inside host/ only.
 */
#ifndef BH_HOST_LEASE_H
#define BH_HOST_LEASE_H

#include "internal.h"

/* Leases `text` (an address, or with a prefix length that must be the subnet's) to the endpoint. */
int bh_lease_static(struct bh_host *host, const struct bh_switch *network, uint32_t endpoint,
                    const char *text, struct bh_error *err);
/* Leases the next free address of each family the network has. */
int bh_lease_next(struct bh_host *host, const struct bh_switch *network, uint32_t endpoint,
                  struct bh_error *err);

#endif

/*
 * network.h - switches and NICs of the memory platform: operations of struct bh_platform_ops.
 */
#ifndef BH_PLATFORM_MEMORY_NETWORK_H
#define BH_PLATFORM_MEMORY_NETWORK_H

#include "../platform.h"

int bh_network_switch_create(struct bh_platform *, const struct bh_switch *, struct bh_error *);
int bh_network_switch_remove(struct bh_platform *, uint32_t id, struct bh_error *);
int bh_network_nic_create(struct bh_platform *, struct bh_nic *, const struct bh_gate *,
                          struct bh_error *);
int bh_network_nic_remove(struct bh_platform *, const struct bh_nic *, struct bh_error *);

#endif

/*
 * nic.h - endpoints: a port on a switch with its gate, and the NIC in the compartment.
 */
#ifndef BH_PLATFORM_LINUX_NIC_H
#define BH_PLATFORM_LINUX_NIC_H

#include "../platform.h"

int bh_nic_create(struct bh_platform *platform, struct bh_nic *nic, const struct bh_gate *gate,
                  struct bh_error *err);
int bh_nic_remove(struct bh_platform *platform, const struct bh_nic *nic, struct bh_error *err);
/* nic_check.c */
int bh_nic_check(struct bh_platform *platform, const struct bh_nic *nic, struct bh_error *err);

#endif

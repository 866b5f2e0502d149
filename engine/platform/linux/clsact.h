/*
 * clsact.h - requests that put an eBPF program where packets enter or leave an interface.
 */
#ifndef BH_PLATFORM_LINUX_CLSACT_H
#define BH_PLATFORM_LINUX_CLSACT_H

#include <stdbool.h>

#include "../../gate/gate.h"
#include "netlink.h"

/* The hook itself. One that is there is success. */
void bh_clsact_add(struct bh_netlink *netlink, uint32_t index);
/* Our filter (priority 1, handle 1), which any before it gives way to at once for every packet. The
 * program's verdict is the hook's. `program` is a descriptor, needed until the batch has run; `name` is what
 * tools show. */
void bh_clsact_add_program(struct bh_netlink *netlink, uint32_t index, bool ingress, int program,
                           const char *name);

/* Puts the gate on a switch's port, in both directions. The batch is this alone. */
int bh_clsact_guard(struct bh_netlink *netlink, uint32_t port, const struct bh_gate_kernel *gate,
                    struct bh_error *err);
/* -ENOENT: in one direction or both there is none, or another program's. */
int bh_clsact_check(struct bh_netlink *netlink, uint32_t port, const struct bh_gate_kernel *gate,
                    struct bh_error *err);
/* Puts it back where somebody took it off: then 1. What is not amiss stays as it is. */
int bh_clsact_mend(struct bh_netlink *netlink, uint32_t port, const struct bh_gate_kernel *gate,
                   struct bh_error *err);

#endif

/*
 * tap.h - persistent taps: where a VM's virtio-net meets the kernel.
 */
#ifndef BH_PLATFORM_LINUX_TAP_H
#define BH_PLATFORM_LINUX_TAP_H

#include "../../base/error.h"
#include "netlink.h"

/*
 * A tap of root's in the current namespace, with virtio headers and one queue. It outlives this
 * process and any VMM that opens it.
 */
int bh_tap_make(const char *name, struct bh_error *err);
/* Deletes `name` if it is a tap, in the namespace of the socket. What is gone is success. */
int bh_tap_delete(struct bh_netlink *netlink, const char *name, struct bh_error *err);

#endif

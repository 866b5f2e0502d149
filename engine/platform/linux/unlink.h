/*
 * unlink.h - deletes a port without waiting for the kernel's housekeeping.
 *
 * A deleted interface is gone for everyone, with its other end, in half a millisecond; then whoever
 * asked waits, without any lock, until the kernel has freed it (rcu_barrier: 15 ms). A child waits
 * instead. Killed or not, it cannot leave the work half done: the kernel does not stop in between.
 */
#ifndef BH_PLATFORM_LINUX_UNLINK_H
#define BH_PLATFORM_LINUX_UNLINK_H

#include "../../base/error.h"

struct bh_linux;

/* Deletes the interface `index` of the switch namespace; what is gone is success. */
int bh_unlink_port(struct bh_linux *self, unsigned index, struct bh_error *err);

#endif

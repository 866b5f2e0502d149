/*
 * conflict.h - what the host already reaches under the addresses of a network that is to be made.
 */
#ifndef BH_PLATFORM_LINUX_CONFLICT_H
#define BH_PLATFORM_LINUX_CONFLICT_H

#include "../platform.h"

struct bh_linux;

/* -EEXIST, naming the host's address or route that a subnet of the network overlaps. */
int bh_conflict_check(struct bh_linux *self, const struct bh_switch *sw, struct bh_error *err);

#endif

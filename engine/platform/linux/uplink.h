/*
 * uplink.h - how networks meet the world: translation, forwarding, and who reaches whom.
 */
#ifndef BH_PLATFORM_LINUX_UPLINK_H
#define BH_PLATFORM_LINUX_UPLINK_H

#include "../platform.h"

struct bh_linux;

int bh_uplink_apply(struct bh_platform *platform, const struct bh_uplink *uplink,
                    struct bh_error *err);
/* Whether what was applied still stands: the table, and forwarding on every uplink there is by now. */
bool bh_uplink_intact(struct bh_platform *platform);
/* Takes back table and sysctls, whatever state they are in. */
int bh_uplink_clear(struct bh_linux *self, struct bh_error *err);

#endif

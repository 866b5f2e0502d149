/*
 * nat.h - the one nftables table of a state, in the default compartment.
 *
 * It holds sets of interfaces, never a rule per network, and is replaced by one transaction. Its
 * verdicts only add refusals to what other tables decide.
 */
#ifndef BH_PLATFORM_LINUX_NAT_H
#define BH_PLATFORM_LINUX_NAT_H

#include "../platform.h"

/* Both in the current namespace. */
int bh_nat_apply(const char *tag, const struct bh_uplink *uplink, struct bh_error *err);
/* What is gone is success. */
int bh_nat_remove(const char *tag, struct bh_error *err);

#endif

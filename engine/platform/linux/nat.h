/*
 * nat.h - the one nftables table of a state, in the default compartment.
 *
 * It holds sets of interfaces and maps of published ports, never a rule per network or port, and is
 * replaced by one transaction. Its verdicts only add refusals to what other tables decide.
 */
#ifndef BH_PLATFORM_LINUX_NAT_H
#define BH_PLATFORM_LINUX_NAT_H

#include "../platform.h"

/* All in the current namespace. */
int bh_nat_apply(const char *tag, const struct bh_uplink *uplink, struct bh_error *err);
/* Whether the table is there. */
bool bh_nat_intact(const char *tag);
/* Adds elements to the maps, all or none. */
int bh_nat_publish(const char *tag, const struct bh_mapping *mappings, size_t count,
                   struct bh_error *err);
/* What is gone is success, here and below. */
int bh_nat_unpublish(const char *tag, const struct bh_mapping *mappings, size_t count,
                     struct bh_error *err);
int bh_nat_remove(const char *tag, struct bh_error *err);

#endif

/*
 * nat.h - the one nftables table of a state, in the default compartment.
 *
 * It holds sets of interfaces and maps of published ports, never a rule per network or port, and is
 * replaced by one transaction. Its verdicts only add refusals to what other tables decide.
 */
#ifndef BH_PLATFORM_LINUX_NAT_H
#define BH_PLATFORM_LINUX_NAT_H

#include "../platform.h"

struct bh_netlink;

/* In the current namespace. */
int bh_nat_apply(const char *tag, const struct bh_uplink *uplink, struct bh_error *err);
/* What is gone is success. */
int bh_nat_remove(const char *tag, struct bh_error *err);

/* The map a mapping is in: by family, and by whether the host's address is part of the key. */
const char *bh_nat_map(const struct bh_mapping *mapping);

/*
 * nat_elements.c: single elements, over a NETLINK_NETFILTER socket of the default compartment. The
 * socket is the caller's to keep: whoever closes one waits until the kernel has freed whatever was
 * deleted, by anybody (13 ms).
 */

/* Whether the table is there. Asked at each change: libnftables would first read all that is there. */
bool bh_nat_intact(struct bh_netlink *netlink, const char *tag);
/* Adds elements to the maps, all or none. */
int bh_nat_publish(struct bh_netlink *netlink, const char *tag, const struct bh_mapping *mappings,
                   size_t count, struct bh_error *err);
/* What is gone is success, and what is another's by now stays. */
int bh_nat_unpublish(struct bh_netlink *netlink, const char *tag, const struct bh_mapping *mappings,
                     size_t count, struct bh_error *err);

#endif

/*
 * nat.h - the one nftables table of a state, in the default compartment.
 *
 * It holds sets of interfaces and maps of published ports, never a rule per network or port, and is
 * replaced by one transaction. Its verdicts only add refusals to what other tables decide.
 */
#ifndef BH_PLATFORM_LINUX_NAT_H
#define BH_PLATFORM_LINUX_NAT_H

#include "../../base/buffer.h"
#include "../platform.h"

struct bh_netlink;

/*
 * Interfaces that forward only because we made them, IPv4's and IPv6's: from there nobody starts a
 * conversation that leaves by an interface not ours. Zeroed = none.
 */
struct bh_lent {
	struct bh_buffer names[2]; /* elements of an nft set */
};

void bh_nat_lend(struct bh_lent *lent, int family, const char *interface);
void bh_lent_clear(struct bh_lent *lent);

/* In the current namespace, here and below. */
int bh_nat_apply(const char *tag, const struct bh_uplink *uplink, const struct bh_lent *lent,
                 struct bh_error *err);
/* Makes the table that is there refuse what comes in by more interfaces. */
int bh_nat_refuse(const char *tag, const struct bh_lent *lent, struct bh_error *err);
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
/* Whether the table refuses anything from lent interfaces of a family (4 or 6). */
bool bh_nat_refuses(struct bh_netlink *netlink, const char *tag, int family);
/* Adds elements to the maps, all or none. */
int bh_nat_publish(struct bh_netlink *netlink, const char *tag, const struct bh_mapping *mappings,
                   size_t count, struct bh_error *err);
/* What is gone is success, and what is another's by now stays. */
int bh_nat_unpublish(struct bh_netlink *netlink, const char *tag, const struct bh_mapping *mappings,
                     size_t count, struct bh_error *err);

#endif

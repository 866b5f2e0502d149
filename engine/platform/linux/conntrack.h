/*
 * conntrack.h - the kernel's memory of conversations, where it would outlive what it was made by.
 *
 * A translation is decided for a conversation's first packet and kept. So when a mapping goes, what
 * it let in must be forgotten, or a UDP sender would go on reaching a container's successor, or
 * nobody; and when one comes, so must what was said to the port while nothing was there.
 */
#ifndef BH_PLATFORM_LINUX_CONNTRACK_H
#define BH_PLATFORM_LINUX_CONNTRACK_H

#include "../platform.h"

struct bh_netlink;

/* Over a NETLINK_NETFILTER socket of the default compartment, which is the current namespace too. */

/* Forgets whatever is answered by `target`. */
int bh_conntrack_forget(struct bh_netlink *netlink, const struct bh_address *target,
                        struct bh_error *err);
/*
 * Forgets one conversation that a container has, as the container sees it; more of them in one go as
 * `netlink` takes them: bh_conntrack_end() ends it.
 */
int bh_conntrack_forget_flow(struct bh_netlink *netlink, const struct bh_flow_key *key,
                             struct bh_error *err);
int bh_conntrack_end(struct bh_netlink *netlink, struct bh_error *err);
/* Forgets UDP that no one answered, to one of the mappings' ports on an address of the host. */
int bh_conntrack_forget_unanswered(struct bh_netlink *netlink, const struct bh_mapping *mappings,
                                   size_t count, struct bh_error *err);

#endif

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

/*
 * Interfaces that forward only because we made them, IPv4's and IPv6's: from there nobody starts a
 * conversation that leaves by an interface not ours. Zeroed = none.
 */
struct bh_lent {
	struct bh_buffer names[2]; /* elements of an nft set */
};

void bh_nat_lend(struct bh_lent *lent, int family, const char *interface);
void bh_lent_clear(struct bh_lent *lent);

/* All in the current namespace. */
int bh_nat_apply(const char *tag, const struct bh_uplink *uplink, const struct bh_lent *lent,
                 struct bh_error *err);
/* Makes the table that is there refuse what comes in by more interfaces. */
int bh_nat_refuse(const char *tag, const struct bh_lent *lent, struct bh_error *err);
/* Whether the table refuses anything from lent interfaces of a family (4 or 6). */
bool bh_nat_refuses(const char *tag, int family);
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

/*
 * switch.h - virtual switches: bridges in the switch namespace, and their management vNICs.
 *
 * Interface indices in the switch namespace are chosen by us from ids, which are never reused. So
 * a port is found without asking, a stale index never names another port, and what a port had in
 * the gate can be removed after the port itself has gone with its compartment.
 */
#ifndef BH_PLATFORM_LINUX_SWITCH_H
#define BH_PLATFORM_LINUX_SWITCH_H

#include "../platform.h"
#include "link.h"

enum bh_index_kind { BH_INDEX_PORT, BH_INDEX_BRIDGE, BH_INDEX_MANAGEMENT };

#define BH_INDEX_ID_MAX 0x1fffffffu /* four indices an id, and an index is a positive int */

/* Group 0 is every interface's by default; a switch's is its id. */
#define BH_GROUP_PORTS 0x40000000u
#define BH_GROUP_DOOMED 0x40000001u

static inline uint32_t bh_switch_index(enum bh_index_kind kind, uint32_t id)
{
	return id * 4 + (uint32_t)kind;
}

/* The name of the management vNIC in the default compartment: b<tag>-<id in base 36>. */
void bh_switch_vnic(const char *tag, uint32_t id, char name[BH_IFNAME_SIZE]);
/* Whether `name` is such a name of this tag. */
bool bh_switch_owns(const char *tag, const char *name);
/* Whether it is a management vNIC, of whatever state. */
bool bh_switch_is_vnic(const struct bh_link *link);

int bh_switch_create(struct bh_platform *platform, const struct bh_switch *sw,
                     struct bh_error *err);
int bh_switch_remove(struct bh_platform *platform, uint32_t id, struct bh_error *err);
int bh_switch_check(struct bh_platform *platform, const struct bh_switch *sw, struct bh_error *err);
int bh_switch_mend(struct bh_platform *platform, const struct bh_switch *sw, struct bh_error *err);
/* MTU of the interface the default route leaves by; 1500 without one. */
uint32_t bh_switch_mtu(struct bh_platform *platform);

#endif

/*
 * link.h - what is said about interfaces over netlink: veth pairs, addresses, routes.
 *
 * The functions that begin with bh_link_add_ only put a request into the batch.
 */
#ifndef BH_PLATFORM_LINUX_LINK_H
#define BH_PLATFORM_LINUX_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "../../filter/address.h"
#include "../platform.h"
#include "netlink.h"

/* A veth pair whose far end is made where it belongs: moving it there would take 20 ms. */
struct bh_veth {
	const char *name;
	uint32_t index; /* chosen by us, see switch.h */
	uint32_t master;
	uint32_t group;
	uint32_t mtu;
	int peer_namespace; /* fd */
	const char *peer_name;
	const uint8_t *peer_mac; /* NULL = the kernel's choice */
};

struct bh_link {
	uint32_t index;
	uint32_t mtu;
	char name[BH_IFNAME_SIZE];
	char kind[16]; /* "veth", "tun", "" */
	bool enabled;  /* nobody set it down */
	bool up;       /* operationally: what is sent is not lost */
	bool loopback;
	bool forwards4; /* IPv4 that comes in by it */
};

void bh_link_add_veth(struct bh_netlink *netlink, const struct bh_veth *veth);
void bh_link_add_bridge(struct bh_netlink *netlink, const char *name, uint32_t index,
                        uint32_t group, uint32_t mtu);
void bh_link_add_up(struct bh_netlink *netlink, uint32_t index, const char *name);
/* A port of a bridge learns nothing from what it receives. */
void bh_link_add_unlearning(struct bh_netlink *netlink, uint32_t index);
/* What a bridge has for `mac` it sends by this port, for ever. */
void bh_link_add_station(struct bh_netlink *netlink, uint32_t index, const uint8_t mac[6]);
/* What is gone is success. */
void bh_link_add_delete(struct bh_netlink *netlink, uint32_t index);
void bh_link_add_delete_group(struct bh_netlink *netlink, uint32_t group);
void bh_link_add_group(struct bh_netlink *netlink, uint32_t index, uint32_t group);
void bh_link_add_mtu(struct bh_netlink *netlink, uint32_t index, uint32_t mtu);
/* Link-local address from the MAC, not at random. */
void bh_link_add_eui64(struct bh_netlink *netlink, uint32_t index);
void bh_link_add_address(struct bh_netlink *netlink, uint32_t index,
                         const struct bh_prefix *address);
/* The default route by `gateway`, which need not be in an on-link prefix if `onlink`. One that is
 * there with the same metric (0 = the kernel's choice) stays. */
void bh_link_add_default(struct bh_netlink *netlink, uint32_t index,
                         const struct bh_address *gateway, uint32_t metric, bool onlink);

void bh_link_add_route(struct bh_netlink *netlink, uint32_t index, const struct bh_prefix *prefix,
                       const struct bh_address *gateway);

/* -ENODEV if there is none. */
int bh_link_find(struct bh_netlink *netlink, const char *name, struct bh_link *link,
                 struct bh_error *err);
/* The interface of this index: 0 or -ENODEV. */
int bh_link_probe(struct bh_netlink *netlink, uint32_t index, struct bh_link *link);
/*
 * Waits until the interface, which is being brought up, carries packets. The kernel activates queue
 * and bridge port of an interface that got its carrier only when its link watch runs: as a rule at
 * once, but after up to a second for a veth whose peer has the same index. Until then what is sent is
 * lost without a trace. Asking makes Linux 6.8 and newer do it on the spot. No error if it stays down.
 */
void bh_link_settle(struct bh_netlink *netlink, uint32_t index);
/* `visit` returns non-zero to stop, which is then returned. */
int bh_link_each(struct bh_netlink *netlink, int (*visit)(const struct bh_link *, void *),
                 void *arg, struct bh_error *err);
/* Fills `name` with the first of `prefix`0, `prefix`1, … that no interface has. */
int bh_link_free_name(struct bh_netlink *netlink, const char *prefix, char name[BH_IFNAME_SIZE],
                      struct bh_error *err);

#define BH_UPLINKS_MAX 128

/* Interfaces, each once. */
struct bh_uplinks {
	size_t count;
	struct bh_link links[BH_UPLINKS_MAX];
};

/* Those that have a default route, the preferred one first. */
int bh_link_uplinks(struct bh_netlink *netlink, struct bh_uplinks *uplinks, struct bh_error *err);
/* Those by which anything beyond the host is reached in a family (4 or 6), but for neighbours by
 * link-local addresses. */
int bh_link_routed(struct bh_netlink *netlink, int family, struct bh_uplinks *uplinks,
                   struct bh_error *err);

#endif

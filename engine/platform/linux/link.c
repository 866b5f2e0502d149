/*
 * link.c - see link.h: rtnetlink requests about links, addresses and default routes.
 */
#include "link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/veth.h>

static struct ifinfomsg *put_ifinfo(struct nlmsghdr *message, uint32_t index)
{
	struct ifinfomsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));

	info->ifi_family = AF_UNSPEC;
	info->ifi_index = (int)index;
	return info;
}

void bh_link_add_veth(struct bh_netlink *netlink, const struct bh_veth *veth)
{
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL,
	                                          "make the pair of interfaces %s and %s", veth->name,
	                                          veth->peer_name);
	struct nlattr *info, *data, *peer;

	put_ifinfo(message, veth->index);
	mnl_attr_put_strz(message, IFLA_IFNAME, veth->name);
	mnl_attr_put_u32(message, IFLA_MTU, veth->mtu);
	mnl_attr_put_u32(message, IFLA_GROUP, veth->group);
	mnl_attr_put_u32(message, IFLA_MASTER, veth->master);
	info = mnl_attr_nest_start(message, IFLA_LINKINFO);
	mnl_attr_put_strz(message, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(message, VETH_INFO_PEER);
	put_ifinfo(message, 0);
	mnl_attr_put_strz(message, IFLA_IFNAME, veth->peer_name);
	mnl_attr_put_u32(message, IFLA_MTU, veth->mtu);
	mnl_attr_put_u32(message, IFLA_NET_NS_FD, (uint32_t)veth->peer_namespace);
	if (veth->peer_mac)
		mnl_attr_put(message, IFLA_ADDRESS, 6, veth->peer_mac);
	mnl_attr_nest_end(message, peer);
	mnl_attr_nest_end(message, data);
	mnl_attr_nest_end(message, info);
}

void bh_link_add_bridge(struct bh_netlink *netlink, const char *name, uint32_t index,
                        uint32_t group, uint32_t mtu)
{
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL,
	                                          "make the bridge %s", name);
	struct nlattr *info, *data;
	struct ifinfomsg *header = put_ifinfo(message, index);

	header->ifi_flags = IFF_UP;
	header->ifi_change = IFF_UP;
	mnl_attr_put_strz(message, IFLA_IFNAME, name);
	mnl_attr_put_u32(message, IFLA_MTU, mtu);
	mnl_attr_put_u32(message, IFLA_GROUP, group);
	info = mnl_attr_nest_start(message, IFLA_LINKINFO);
	mnl_attr_put_strz(message, IFLA_INFO_KIND, "bridge");
	data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
	mnl_attr_put_u32(message, IFLA_BR_STP_STATE, 0);
	mnl_attr_put_u8(message, IFLA_BR_MCAST_SNOOPING, 0);
	mnl_attr_nest_end(message, data);
	mnl_attr_nest_end(message, info);
}

void bh_link_add_up(struct bh_netlink *netlink, uint32_t index, const char *name)
{
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_NEWLINK, 0, "bring %s up", name);
	struct ifinfomsg *info = put_ifinfo(message, index);

	info->ifi_flags = IFF_UP;
	info->ifi_change = IFF_UP;
}

void bh_link_add_unlearning(struct bh_netlink *netlink, uint32_t index)
{
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_NEWLINK, 0, "stop the port from learning");
	struct nlattr *info, *data;

	put_ifinfo(message, index);
	info = mnl_attr_nest_start(message, IFLA_LINKINFO);
	mnl_attr_put_strz(message, IFLA_INFO_SLAVE_KIND, "bridge");
	data = mnl_attr_nest_start(message, IFLA_INFO_SLAVE_DATA);
	mnl_attr_put_u8(message, IFLA_BRPORT_LEARNING, 0);
	mnl_attr_nest_end(message, data);
	mnl_attr_nest_end(message, info);
}

void bh_link_add_station(struct bh_netlink *netlink, uint32_t index, const uint8_t mac[6])
{
	char text[BH_ADDRESS_TEXT];
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE,
	                                          "tell the switch where %s is", bh_mac_format(mac, text));
	struct ndmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));

	header->ndm_family = AF_BRIDGE;
	header->ndm_state = NUD_NOARP; /* static */
	header->ndm_flags = NTF_MASTER;
	header->ndm_ifindex = (int)index;
	mnl_attr_put(message, NDA_LLADDR, 6, mac);
}

void bh_link_add_delete(struct bh_netlink *netlink, uint32_t index)
{
	put_ifinfo(bh_netlink_add(netlink, RTM_DELLINK, 0, "delete interface %u", index), index);
	bh_netlink_tolerate(netlink, ENODEV);
}

void bh_link_add_delete_group(struct bh_netlink *netlink, uint32_t group)
{
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_DELLINK, 0,
	                                          "delete the interfaces of group %u", group);

	put_ifinfo(message, 0);
	mnl_attr_put_u32(message, IFLA_GROUP, group);
	bh_netlink_tolerate(netlink, ENODEV);
}

void bh_link_add_group(struct bh_netlink *netlink, uint32_t index, uint32_t group)
{
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_NEWLINK, 0,
	                                          "put interface %u into a group", index);

	put_ifinfo(message, index);
	mnl_attr_put_u32(message, IFLA_GROUP, group);
	bh_netlink_tolerate(netlink, ENODEV);
}

void bh_link_add_mtu(struct bh_netlink *netlink, uint32_t index, uint32_t mtu)
{
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_NEWLINK, 0, "set the MTU to %u", mtu);

	put_ifinfo(message, index);
	mnl_attr_put_u32(message, IFLA_MTU, mtu);
}

void bh_link_add_eui64(struct bh_netlink *netlink, uint32_t index)
{
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_NEWLINK, 0,
	                                          "choose EUI-64 link-local addresses");
	struct nlattr *spec, *inet6;

	put_ifinfo(message, index);
	spec = mnl_attr_nest_start(message, IFLA_AF_SPEC);
	inet6 = mnl_attr_nest_start(message, AF_INET6);
	mnl_attr_put_u8(message, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_EUI64);
	mnl_attr_nest_end(message, inet6);
	mnl_attr_nest_end(message, spec);
}

static void put_broadcast(struct nlmsghdr *message, const struct bh_prefix *address)
{
	struct bh_range range = bh_prefix_range(address);
	uint8_t bytes[16];

	if (address->length > 30) /* RFC 3021 */
		return;
	mnl_attr_put(message, IFA_BROADCAST, bh_address_to_bytes(&range.last, bytes), bytes);
}

void bh_link_add_address(struct bh_netlink *netlink, uint32_t index,
                         const struct bh_prefix *address)
{
	char text[BH_ADDRESS_TEXT];
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL,
	                                          "give it the address %s",
	                                          bh_prefix_format(address, text));
	struct ifaddrmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	uint8_t bytes[16];
	size_t size = bh_address_to_bytes(&address->address, bytes);

	header->ifa_family = size == 4 ? AF_INET : AF_INET6;
	header->ifa_prefixlen = address->length;
	header->ifa_flags = size == 4 ? 0 : IFA_F_NODAD;
	header->ifa_scope = RT_SCOPE_UNIVERSE;
	header->ifa_index = index;
	mnl_attr_put(message, IFA_LOCAL, size, bytes);
	mnl_attr_put(message, IFA_ADDRESS, size, bytes);
	if (size == 4)
		put_broadcast(message, address);
}

static struct nlmsghdr *put_route(struct bh_netlink *netlink, uint32_t index,
                                  const struct bh_prefix *prefix, const struct bh_address *gateway,
                                  bool onlink, const char *what)
{
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, "%s",
	                                          what);
	struct rtmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	uint8_t bytes[16];
	size_t size = bh_address_to_bytes(gateway, bytes);

	header->rtm_family = size == 4 ? AF_INET : AF_INET6;
	header->rtm_table = RT_TABLE_MAIN;
	header->rtm_protocol = RTPROT_STATIC;
	header->rtm_scope = RT_SCOPE_UNIVERSE;
	header->rtm_type = RTN_UNICAST;
	header->rtm_flags = onlink ? RTNH_F_ONLINK : 0;
	mnl_attr_put(message, RTA_GATEWAY, size, bytes);
	mnl_attr_put_u32(message, RTA_OIF, index);
	if (prefix) {
		header->rtm_dst_len = prefix->length;
		size = bh_address_to_bytes(&prefix->address, bytes);
		mnl_attr_put(message, RTA_DST, size, bytes);
	}
	return message;
}

void bh_link_add_default(struct bh_netlink *netlink, uint32_t index,
                         const struct bh_address *gateway, uint32_t metric, bool onlink)
{
	char text[BH_ADDRESS_TEXT], what[BH_NETLINK_WHAT];
	struct nlmsghdr *message;

	snprintf(what, sizeof(what), "make the default route by %s", bh_address_format(gateway, text));
	message = put_route(netlink, index, NULL, gateway, onlink, what);
	if (metric)
		mnl_attr_put_u32(message, RTA_PRIORITY, metric);
	bh_netlink_tolerate(netlink, EEXIST);
}

void bh_link_add_route(struct bh_netlink *netlink, uint32_t index, const struct bh_prefix *prefix,
                       const struct bh_address *gateway)
{
	char text[BH_ADDRESS_TEXT], what[BH_NETLINK_WHAT];

	snprintf(what, sizeof(what), "make a route to %s", bh_prefix_format(prefix, text));
	put_route(netlink, index, prefix, gateway, false, what);
}

/* What a link is asked for: not its counters, which are most of what the kernel would say. */
static void put_request(struct nlmsghdr *message, uint32_t index)
{
	put_ifinfo(message, index);
	mnl_attr_put_u32(message, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

static int attr_kind(const struct nlattr *attr, void *arg)
{
	struct bh_link *link = arg;

	if (mnl_attr_get_type(attr) == IFLA_INFO_KIND)
		snprintf(link->kind, sizeof(link->kind), "%s", mnl_attr_get_str(attr));
	return MNL_CB_OK;
}

/* IPv4's settings of an interface are an array, the first at 0. */
static int attr_inet(const struct nlattr *attr, void *arg)
{
	struct bh_link *link = arg;
	const uint32_t *values = mnl_attr_get_payload(attr);

	if (mnl_attr_get_type(attr) == IFLA_INET_CONF &&
	    mnl_attr_get_payload_len(attr) >= IPV4_DEVCONF_FORWARDING * sizeof(*values))
		link->forwards4 = values[IPV4_DEVCONF_FORWARDING - 1] != 0;
	return MNL_CB_OK;
}

static int attr_family(const struct nlattr *attr, void *arg)
{
	return mnl_attr_get_type(attr) == AF_INET ? mnl_attr_parse_nested(attr, attr_inet, arg) : MNL_CB_OK;
}

static int attr_link(const struct nlattr *attr, void *arg)
{
	struct bh_link *link = arg;

	switch (mnl_attr_get_type(attr)) {
	case IFLA_IFNAME:
		snprintf(link->name, sizeof(link->name), "%s", mnl_attr_get_str(attr));
		break;
	case IFLA_MTU:
		link->mtu = mnl_attr_get_u32(attr);
		break;
	case IFLA_OPERSTATE:
		link->up = mnl_attr_get_u8(attr) == IF_OPER_UP;
		break;
	case IFLA_LINKINFO:
		mnl_attr_parse_nested(attr, attr_kind, link);
		break;
	case IFLA_AF_SPEC:
		mnl_attr_parse_nested(attr, attr_family, link);
		break;
	}
	return MNL_CB_OK;
}

static bool parse_link(const struct nlmsghdr *message, struct bh_link *link)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);

	*link = (struct bh_link){0};
	if (message->nlmsg_type != RTM_NEWLINK)
		return false;
	link->index = (uint32_t)info->ifi_index;
	link->loopback = info->ifi_flags & IFF_LOOPBACK;
	link->enabled = info->ifi_flags & IFF_UP;
	mnl_attr_parse(message, sizeof(*info), attr_link, link);
	return true;
}

static int visit_found(const struct nlmsghdr *message, void *arg)
{
	parse_link(message, arg);
	return 0;
}

/* By name or, with NULL, by index. */
static int get_link(struct bh_netlink *netlink, const char *name, uint32_t index,
                    struct bh_link *link, struct bh_error *err)
{
	struct bh_link found = {0};
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_GETLINK, 0, "find the interface %s",
	                                          name ? name : "by its index");
	int rc;

	put_request(message, index);
	if (name)
		mnl_attr_put_strz(message, IFLA_IFNAME, name);
	rc = bh_netlink_run(netlink, visit_found, &found, err);
	if (!rc)
		*link = found;
	return rc;
}

int bh_link_find(struct bh_netlink *netlink, const char *name, struct bh_link *link,
                 struct bh_error *err)
{
	return get_link(netlink, name, 0, link, err);
}

int bh_link_probe(struct bh_netlink *netlink, uint32_t index, struct bh_link *link)
{
	return get_link(netlink, NULL, index, link, NULL);
}

#define SETTLE_STEPS 1500 /* of a millisecond; the kernel's longest delay is 1000 */

void bh_link_settle(struct bh_netlink *netlink, uint32_t index)
{
	struct bh_link link = {0};

	for (int i = 0; i < SETTLE_STEPS; i++) {
		if (get_link(netlink, NULL, index, &link, NULL) || link.up)
			return;
		usleep(1000);
	}
}

struct each {
	int (*visit)(const struct bh_link *, void *);
	void *arg;
};

static int visit_each(const struct nlmsghdr *message, void *arg)
{
	struct each *each = arg;
	struct bh_link link;

	return parse_link(message, &link) ? each->visit(&link, each->arg) : 0;
}

int bh_link_each(struct bh_netlink *netlink, int (*visit)(const struct bh_link *, void *),
                 void *arg, struct bh_error *err)
{
	struct each each = {visit, arg};

	put_request(bh_netlink_add(netlink, RTM_GETLINK, NLM_F_DUMP, "list the interfaces"), 0);
	return bh_netlink_run(netlink, visit_each, &each, err);
}

struct names {
	const char *prefix;
	uint8_t taken[32]; /* one bit a number */
};

static int visit_name(const struct bh_link *link, void *arg)
{
	struct names *names = arg;
	size_t length = strlen(names->prefix);
	unsigned number;
	char rest;

	if (strncmp(link->name, names->prefix, length) == 0 &&
	    sscanf(link->name + length, "%u%c", &number, &rest) == 1 && number < 256)
		names->taken[number / 8] |= (uint8_t)(1 << number % 8);
	return 0;
}

int bh_link_free_name(struct bh_netlink *netlink, const char *prefix, char name[BH_IFNAME_SIZE],
                      struct bh_error *err)
{
	struct names names = {.prefix = prefix};
	int rc = bh_link_each(netlink, visit_name, &names, err);

	if (rc)
		return rc;
	for (unsigned number = 0; number < 256; number++) {
		if (names.taken[number / 8] & 1 << number % 8)
			continue;
		snprintf(name, BH_IFNAME_SIZE, "%.10s%u", prefix, number);
		return 0;
	}
	return bh_error_set(err, -ENOSPC, "the compartment already has interfaces %s0 to %s255", prefix,
	                    prefix);
}

struct route {
	uint32_t table;
	uint32_t metric;
	uint32_t index;
	struct bh_address target; /* of a route that has a prefix */
};

struct routes {
	bool all; /* else only default routes */
	size_t count;
	struct route routes[BH_UPLINKS_MAX];
};

static int attr_route(const struct nlattr *attr, void *arg)
{
	struct route *route = arg;
	size_t size = mnl_attr_get_payload_len(attr);

	switch (mnl_attr_get_type(attr)) {
	case RTA_TABLE:
		route->table = mnl_attr_get_u32(attr);
		break;
	case RTA_PRIORITY:
		route->metric = mnl_attr_get_u32(attr);
		break;
	case RTA_OIF:
		route->index = mnl_attr_get_u32(attr);
		break;
	case RTA_DST:
		if (size == 4 || size == 16)
			route->target = bh_address_from_bytes(mnl_attr_get_payload(attr), size);
		break;
	}
	return MNL_CB_OK;
}

/* Keeps the list sorted by metric, each interface once. */
static void add_route(struct routes *routes, const struct route *route)
{
	size_t at = routes->count;

	for (size_t i = 0; i < routes->count; i++)
		if (routes->routes[i].index == route->index)
			return;
	if (!route->index || routes->count == BH_UPLINKS_MAX)
		return;
	for (; at && routes->routes[at - 1].metric > route->metric; at--)
		routes->routes[at] = routes->routes[at - 1];
	routes->routes[at] = *route;
	routes->count++;
}

static void add_multipath(struct routes *routes, const struct nlmsghdr *message,
                          struct route *route)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, message, sizeof(struct rtmsg)) {
		const struct rtnexthop *hop = mnl_attr_get_payload(attr);
		int left = mnl_attr_get_payload_len(attr);

		if (mnl_attr_get_type(attr) != RTA_MULTIPATH)
			continue;
		for (; RTNH_OK(hop, left); left -= NLMSG_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop)) {
			route->index = (uint32_t)hop->rtnh_ifindex;
			add_route(routes, route);
		}
	}
}

static int visit_route(const struct nlmsghdr *message, void *arg)
{
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	struct routes *routes = arg;
	struct route route = {0};

	if (message->nlmsg_type != RTM_NEWROUTE || header->rtm_type != RTN_UNICAST ||
	    (header->rtm_dst_len && !routes->all))
		return 0;
	mnl_attr_parse(message, sizeof(*header), attr_route, &route);
	if (route.table != RT_TABLE_MAIN ||
	    (header->rtm_dst_len && (bh_address_is_link_local6(&route.target) ||
	                             bh_address_is_multicast(&route.target))))
		return 0;
	if (route.index)
		add_route(routes, &route);
	else
		add_multipath(routes, message, &route);
	return 0;
}

/* Adds what a family's routes name. An interface that is gone by now is left out. */
static int add_uplinks(struct bh_netlink *netlink, uint8_t family, bool all, struct bh_uplinks *uplinks,
                       struct bh_error *err)
{
	struct routes routes = {.all = all};
	struct rtmsg *header = mnl_nlmsg_put_extra_header(
		bh_netlink_add(netlink, RTM_GETROUTE, NLM_F_DUMP, "list the routes"), sizeof(*header));
	int rc;

	header->rtm_family = family;
	rc = bh_netlink_run(netlink, visit_route, &routes, err);
	for (size_t i = 0; !rc && i < routes.count && uplinks->count < BH_UPLINKS_MAX; i++) {
		struct bh_link *link = &uplinks->links[uplinks->count];
		size_t known = 0;

		while (known < uplinks->count && uplinks->links[known].index != routes.routes[i].index)
			known++;
		if (known == uplinks->count && get_link(netlink, NULL, routes.routes[i].index, link, NULL) == 0)
			uplinks->count++;
	}
	return rc;
}

int bh_link_uplinks(struct bh_netlink *netlink, struct bh_uplinks *uplinks, struct bh_error *err)
{
	int rc;

	uplinks->count = 0;
	rc = add_uplinks(netlink, AF_INET, false, uplinks, err);
	return rc ? rc : add_uplinks(netlink, AF_INET6, false, uplinks, err);
}

int bh_link_routed(struct bh_netlink *netlink, int family, struct bh_uplinks *uplinks,
                   struct bh_error *err)
{
	uplinks->count = 0;
	return add_uplinks(netlink, family == 4 ? AF_INET : AF_INET6, true, uplinks, err);
}

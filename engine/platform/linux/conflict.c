/*
 * conflict.c - see conflict.h.
 *
 * A subnet that the host stands in already would cut it off from its neighbours there; one that it has
 * a route to (a VPN's, another tool's network) from whatever is behind that. Default routes lead
 * everywhere and mean no place, halves of the world (VPNs put them over the default route) likewise,
 * and routes that lead nowhere have nothing to lose.
 */
#include "conflict.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "linux.h"

struct search {
	const struct bh_switch *sw;
	size_t subnet;            /* the one that overlaps */
	struct bh_prefix theirs;
	struct bh_address gateway;
	bool has_gateway;
	uint32_t index;           /* of the interface, 0 = several */
};

static bool overlaps(struct search *search, const struct bh_prefix *theirs)
{
	for (size_t i = 0; i < search->sw->subnets_count; i++)
		if (bh_prefix_overlaps(theirs, &search->sw->subnets[i].prefix)) {
			search->subnet = i;
			search->theirs = *theirs;
			return true;
		}
	return false;
}

static bool read_address(const struct nlattr *attr, struct bh_address *address)
{
	size_t size = mnl_attr_get_payload_len(attr);

	if (size != 4 && size != 16)
		return false;
	*address = bh_address_from_bytes(mnl_attr_get_payload(attr), size);
	return true;
}

static int visit_address(const struct nlmsghdr *message, void *arg)
{
	const struct ifaddrmsg *header = mnl_nlmsg_get_payload(message);
	struct bh_prefix prefix = {.length = header->ifa_prefixlen};
	struct search *search = arg;
	const struct nlattr *attr;
	bool found = false;

	if (message->nlmsg_type != RTM_NEWADDR)
		return 0;
	/* IFA_ADDRESS is the far end's on a point-to-point interface. */
	mnl_attr_for_each(attr, message, sizeof(*header))
		if (mnl_attr_get_type(attr) == IFA_LOCAL || (mnl_attr_get_type(attr) == IFA_ADDRESS && !found))
			found = read_address(attr, &prefix.address) || found;
	search->index = header->ifa_index;
	return found && overlaps(search, &prefix);
}

static int visit_route(const struct nlmsghdr *message, void *arg)
{
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	struct bh_prefix prefix = {.length = header->rtm_dst_len};
	struct search *search = arg;
	uint32_t table = header->rtm_table;
	const struct nlattr *attr;
	bool found = false;

	if (message->nlmsg_type != RTM_NEWROUTE || header->rtm_type != RTN_UNICAST || header->rtm_dst_len < 2 ||
	    header->rtm_flags & RTM_F_CLONED)
		return 0;
	search->index = 0;
	search->has_gateway = false;
	mnl_attr_for_each(attr, message, sizeof(*header))
		switch (mnl_attr_get_type(attr)) {
		case RTA_DST:
			found = read_address(attr, &prefix.address);
			break;
		case RTA_TABLE:
			table = mnl_attr_get_u32(attr);
			break;
		case RTA_OIF:
			search->index = mnl_attr_get_u32(attr);
			break;
		case RTA_GATEWAY:
			search->has_gateway = read_address(attr, &search->gateway);
			break;
		}
	return found && table == RT_TABLE_MAIN && overlaps(search, &prefix);
}

/* " on eth0", or "" if it cannot be said. */
static const char *name_interface(struct bh_linux *self, uint32_t index, char text[IF_NAMESIZE + 8])
{
	BH_AUTOVISIT struct bh_visit visit = {0};
	char name[IF_NAMESIZE];

	text[0] = '\0';
	if (!bh_namespace_enter(&visit, self->default_namespace, NULL) && if_indextoname(index, name))
		snprintf(text, IF_NAMESIZE + 8, " on %s", name);
	return text;
}

static int refuse(struct bh_linux *self, const struct search *search, bool route, struct bh_error *err)
{
	char ours[BH_ADDRESS_TEXT], theirs[BH_ADDRESS_TEXT], gateway[BH_ADDRESS_TEXT];
	char interface[IF_NAMESIZE + 8];

	bh_prefix_format(&search->sw->subnets[search->subnet].prefix, ours);
	bh_prefix_format(&search->theirs, theirs);
	name_interface(self, search->index, interface);
	if (!route)
		return bh_error_set(err, -EEXIST, "subnet %s overlaps %s, which the host has%s", ours, theirs,
		                    interface);
	return bh_error_set(err, -EEXIST, "subnet %s overlaps the host's route to %s%s%s%s", ours, theirs,
	                    search->has_gateway ? " by " : "",
	                    search->has_gateway ? bh_address_format(&search->gateway, gateway) : "", interface);
}

int bh_conflict_check(struct bh_linux *self, const struct bh_switch *sw, struct bh_error *err)
{
	struct search search = {.sw = sw};
	struct nlmsghdr *message = bh_netlink_add(&self->default_link, RTM_GETADDR, NLM_F_DUMP,
	                                          "list the host's addresses");
	int rc;

	mnl_nlmsg_put_extra_header(message, sizeof(struct ifaddrmsg));
	rc = bh_netlink_run(&self->default_link, visit_address, &search, err);
	if (rc)
		return rc == 1 ? refuse(self, &search, false, err) : rc;
	message = bh_netlink_add(&self->default_link, RTM_GETROUTE, NLM_F_DUMP, "list the host's routes");
	mnl_nlmsg_put_extra_header(message, sizeof(struct rtmsg));
	rc = bh_netlink_run(&self->default_link, visit_route, &search, err);
	return rc == 1 ? refuse(self, &search, true, err) : rc;
}

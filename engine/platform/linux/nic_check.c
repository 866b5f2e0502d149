/*
 * nic_check.c - whether a NIC still is where and what it was made to be.
 *
 * A container may have the right to change its own network: what it did to its NIC, or another tool
 * to the port, is found here, not undone. (Only the gate is put back: see bh_clsact_mend().)
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include "../../base/cleanup.h"
#include "clsact.h"
#include "linux.h"
#include "nic.h"
#include "switch.h"

struct seen {
	uint32_t index;
	bool up;
	uint8_t mac[6];
	uint32_t address_index;
	size_t addresses; /* bit i: nic->addresses[i] is there */
	const struct bh_nic *nic;
};

static int visit_link(const struct nlmsghdr *message, void *arg)
{
	const struct ifinfomsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;
	struct seen *seen = arg;

	if (message->nlmsg_type != RTM_NEWLINK)
		return 0;
	seen->index = (uint32_t)header->ifi_index;
	seen->up = header->ifi_flags & IFF_UP;
	mnl_attr_for_each(attr, message, sizeof(*header))
		if (mnl_attr_get_type(attr) == IFLA_ADDRESS && mnl_attr_get_payload_len(attr) == 6)
			memcpy(seen->mac, mnl_attr_get_payload(attr), 6);
	return 0;
}

static void note_address(struct seen *seen, uint8_t length, const struct nlattr *attr)
{
	bool v4 = mnl_attr_get_payload_len(attr) == 4;
	uint8_t bytes[16];
	size_t size;

	for (size_t i = 0; i < seen->nic->addresses_count; i++) {
		const struct bh_prefix *address = &seen->nic->addresses[i];

		if (bh_address_is_v4(&address->address) != v4 || address->length != length)
			continue;
		size = bh_address_to_bytes(&address->address, bytes);
		if (!memcmp(mnl_attr_get_payload(attr), bytes, size))
			seen->addresses |= (size_t)1 << i;
	}
}

static int visit_address(const struct nlmsghdr *message, void *arg)
{
	const struct ifaddrmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;
	struct seen *seen = arg;

	if (message->nlmsg_type != RTM_NEWADDR || header->ifa_index != seen->index)
		return 0;
	mnl_attr_for_each(attr, message, sizeof(*header))
		if (mnl_attr_get_type(attr) == IFA_ADDRESS)
			note_address(seen, header->ifa_prefixlen, attr);
	return 0;
}

/* One interface, by name or, with NULL, by index. */
static int look(struct bh_netlink *netlink, const char *name, uint32_t index, struct seen *seen,
                struct bh_error *err)
{
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_GETLINK, 0, "find the interface %s",
	                                          name ? name : "of the port");
	struct ifinfomsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));

	header->ifi_index = (int)index;
	if (name)
		mnl_attr_put_strz(message, IFLA_IFNAME, name);
	return bh_netlink_run(netlink, visit_link, seen, err);
}

static int check_addresses(struct bh_netlink *netlink, struct seen *seen, struct bh_error *err)
{
	const struct bh_nic *nic = seen->nic;
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_GETADDR, NLM_F_DUMP, "list the addresses");
	char text[BH_ADDRESS_TEXT];
	int rc;

	mnl_nlmsg_put_extra_header(message, sizeof(struct ifaddrmsg));
	rc = bh_netlink_run(netlink, visit_address, seen, err);
	for (size_t i = 0; !rc && i < nic->addresses_count; i++)
		if (!(seen->addresses & (size_t)1 << i))
			rc = bh_error_set(err, -ENOENT, "interface %s lost its address %s", nic->name,
			                  bh_address_format(&nic->addresses[i].address, text));
	return rc;
}

static int check_compartment(struct bh_linux *self, const struct bh_nic *nic, struct bh_error *err)
{
	BH_AUTOFD int namespace = bh_linux_compartment(self, nic->compartment, err);
	BH_AUTONETLINK struct bh_netlink netlink = {0};
	struct seen seen = {.nic = nic};
	int rc = namespace < 0 ? namespace : bh_linux_netlink(&netlink, namespace, err);

	rc = rc ? rc : look(&netlink, nic->name, 0, &seen, err);
	if (rc)
		return rc;
	if (nic->kind == BH_NIC_SYNTHETIC) /* the guest has MAC and addresses */
		return 0;
	if (memcmp(seen.mac, nic->mac, 6))
		return bh_error_set(err, -EINVAL, "interface %s has another MAC address than it was given",
		                    nic->name);
	if (!seen.up)
		return bh_error_set(err, -ENETDOWN, "interface %s is down", nic->name);
	return check_addresses(&netlink, &seen, err);
}

int bh_nic_check(struct bh_platform *platform, const struct bh_nic *nic, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	uint32_t port = bh_switch_index(BH_INDEX_PORT, nic->endpoint);
	struct seen seen = {.nic = nic};
	struct bh_conf conf;
	int rc = bh_linux_switches(self, false, err);

	rc = rc ? rc : look(&self->switch_link, NULL, port, &seen, err);
	if (rc == -ENODEV)
		rc = bh_error_set(err, rc, "somebody deleted its NIC; it comes back when its container is removed and created"
		                  " again");
	if (!rc && !seen.up)
		rc = bh_error_set(err, -ENETDOWN, "the port is down");
	rc = rc ? rc : bh_linux_gate(self, false, err);
	rc = rc ? rc : bh_gate_conf_read(self->gate, port, &conf, err);
	rc = rc ? rc : bh_clsact_check(&self->switch_link, port, self->gate, err);
	if (!rc && (rc = check_compartment(self, nic, err)))
		bh_error_prefix(err, "inside");
	return rc ? bh_error_prefix(err, "endpoint %u", nic->endpoint) : 0;
}

/*
 * switch.c - see switch.h. The bridge has no address and no gate on the management port: what the
 * host itself lets in is the host's own firewall's business.
 */
#include "switch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "conflict.h"
#include "linux.h"

void bh_switch_vnic(const char *tag, uint32_t id, char name[BH_IFNAME_SIZE])
{
	char digits[8];
	size_t at = sizeof(digits) - 1;

	digits[at] = '\0';
	do
		digits[--at] = "0123456789abcdefghijklmnopqrstuvwxyz"[id % 36];
	while ((id /= 36));
	snprintf(name, BH_IFNAME_SIZE, "b%.6s-%s", tag, digits + at);
}

bool bh_switch_owns(const char *tag, const char *name)
{
	size_t length = strlen(tag);

	return name[0] == 'b' && strncmp(name + 1, tag, length) == 0 && name[1 + length] == '-' &&
	       name[2 + length] &&
	       strspn(name + 2 + length, "0123456789abcdefghijklmnopqrstuvwxyz") ==
	               strlen(name + 2 + length);
}

/* Six characters are a tag's (host.c); Docker's bridges are br-… */
bool bh_switch_is_vnic(const struct bh_link *link)
{
	char tag[7] = "";

	if (strcmp(link->kind, "veth") || link->name[0] != 'b' || strlen(link->name) < 9)
		return false;
	memcpy(tag, link->name + 1, 6);
	return strspn(tag, "0123456789abcdefghijklmnopqrstuvwxyz") == 6 && bh_switch_owns(tag, link->name);
}

uint32_t bh_switch_mtu(struct bh_platform *platform)
{
	struct bh_uplinks uplinks;

	if (bh_link_uplinks(&bh_linux_of(platform)->default_link, &uplinks, NULL) || !uplinks.count ||
	    uplinks.links[0].mtu < 576)
		return 1500;
	return uplinks.links[0].mtu;
}

static bool has_ipv6(const struct bh_switch *sw)
{
	for (size_t i = 0; i < sw->subnets_count; i++)
		if (!bh_address_is_v4(&sw->subnets[i].gateway))
			return true;
	return false;
}

/* Bridge and management port are in one group, so that one request deletes them. */
static int make_bridge(struct bh_linux *self, uint32_t id, uint32_t mtu, struct bh_error *err)
{
	char name[BH_IFNAME_SIZE];

	snprintf(name, sizeof(name), "s%u", id);
	bh_link_add_bridge(&self->switch_link, name, bh_switch_index(BH_INDEX_BRIDGE, id), id, mtu);
	return bh_netlink_run(&self->switch_link, NULL, NULL, err);
}

/*
 * The host's MAC is given, so that no other program of the host gives it one, comes with the first gateway's
 * address again if the port does, and is told to the switch, so that what is for a host that was long silent
 * is not sent to all. This port goes on learning: what the host does with its NIC is its own business.
 */
static int make_vnic(struct bh_linux *self, const struct bh_switch *sw, uint32_t mtu, const char *vnic,
                     struct bh_error *err)
{
	uint32_t id = sw->id;
	char name[BH_IFNAME_SIZE];
	uint8_t mac[6];
	struct bh_veth veth = {
		.name = name,
		.index = bh_switch_index(BH_INDEX_MANAGEMENT, id),
		.master = bh_switch_index(BH_INDEX_BRIDGE, id),
		.group = id,
		.mtu = mtu,
		.peer_namespace = self->default_namespace,
		.peer_name = vnic,
		.peer_mac = mac,
	};

	bh_address_mac(&sw->subnets[0].gateway, mac); /* each network has one */
	snprintf(name, sizeof(name), "m%u", id);
	bh_link_add_veth(&self->switch_link, &veth);
	bh_link_add_station(&self->switch_link, veth.index, mac);
	bh_link_add_up(&self->switch_link, veth.index, name);
	return bh_netlink_run(&self->switch_link, NULL, NULL, err);
}

/* Containers must not be able to advertise themselves to the host as a router. */
static int write_sysctls(struct bh_linux *self, bool ipv6, const char *vnic, struct bh_error *err)
{
	BH_AUTOVISIT struct bh_visit visit = {0};
	int rc = bh_namespace_enter(&visit, self->default_namespace, err);

	if (!rc)
		rc = bh_sysctl_interface(6, vnic, "accept_ra", "0", err);
	if (!rc)
		rc = bh_sysctl_interface(6, vnic, "accept_dad", "0", err);
	if (!rc)
		rc = bh_sysctl_interface(6, vnic, "disable_ipv6", ipv6 ? "0" : "1", err);
	return rc;
}

static int configure_vnic(struct bh_linux *self, const struct bh_switch *sw, const char *vnic,
                          struct bh_error *err)
{
	bool ipv6 = has_ipv6(sw);
	struct bh_link link;
	int rc = write_sysctls(self, ipv6, vnic, err);

	if (!rc)
		rc = bh_link_find(&self->default_link, vnic, &link, err);
	if (rc)
		return rc;
	if (ipv6)
		bh_link_add_eui64(&self->default_link, link.index);
	bh_link_add_up(&self->default_link, link.index, vnic);
	for (size_t i = 0; i < sw->subnets_count; i++) {
		struct bh_prefix address = {sw->subnets[i].gateway, sw->subnets[i].prefix.length};

		bh_link_add_address(&self->default_link, link.index, &address);
		bh_netlink_tolerate(&self->default_link, EEXIST); /* where it is only to be up again */
	}
	rc = bh_netlink_run(&self->default_link, NULL, NULL, err);
	if (rc)
		return rc;
	bh_link_settle(&self->default_link, link.index);
	bh_link_settle(&self->switch_link, bh_switch_index(BH_INDEX_MANAGEMENT, sw->id));
	return 0;
}

int bh_switch_create(struct bh_platform *platform, const struct bh_switch *sw,
                     struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	uint32_t mtu = sw->mtu ? sw->mtu : bh_switch_mtu(platform);
	char vnic[BH_IFNAME_SIZE];
	int rc = bh_linux_writable(self, err);

	if (!rc && (!sw->id || sw->id > BH_INDEX_ID_MAX || sw->subnets_count > BH_SUBNETS_MAX))
		rc = bh_error_set(err, -EINVAL, "it has the id %u, not 1 to %u, or more than %d subnets",
		                  sw->id, BH_INDEX_ID_MAX, BH_SUBNETS_MAX);
	rc = rc ? rc : bh_conflict_check(self, sw, err);
	if (!rc)
		rc = bh_linux_switches(self, true, err);
	if (!rc)
		rc = make_bridge(self, sw->id, mtu, err);
	if (rc) /* nothing made; a bridge that was there before stays */
		return bh_error_prefix(err, "the switch of network %s cannot be made", sw->name);
	bh_switch_vnic(self->tag, sw->id, vnic);
	rc = make_vnic(self, sw, mtu, vnic, err);
	if (!rc)
		rc = configure_vnic(self, sw, vnic, err);
	if (!rc)
		return 0;
	bh_link_add_delete_group(&self->switch_link, sw->id);
	bh_netlink_run(&self->switch_link, NULL, NULL, NULL);
	return bh_error_prefix(err, "the switch of network %s cannot be made", sw->name);
}

int bh_switch_check(struct bh_platform *platform, const struct bh_switch *sw, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	char vnic[BH_IFNAME_SIZE];
	struct bh_link port, link;
	int rc = bh_linux_switches(self, false, err);

	if (!rc && bh_link_probe(&self->switch_link, bh_switch_index(BH_INDEX_BRIDGE, sw->id), &link))
		rc = bh_error_set(err, -ENODEV, "the switch of network %s is gone, and its containers' NICs hang in the air",
		                  sw->name);
	if (rc)
		return rc;
	bh_switch_vnic(self->tag, sw->id, vnic);
	if (bh_link_probe(&self->switch_link, bh_switch_index(BH_INDEX_MANAGEMENT, sw->id), &port))
		return bh_error_set(err, -ENOENT, "the host's port %s of network %s is gone", vnic, sw->name);
	if (bh_link_find(&self->default_link, vnic, &link, NULL))
		return bh_error_set(err, -EINVAL, "the host's port %s of network %s has another name or is in another"
		                    " namespace", vnic, sw->name);
	if (!port.enabled || !link.enabled)
		return bh_error_set(err, -ENETDOWN, "the host's port %s of network %s is down", vnic, sw->name);
	return 0;
}

int bh_switch_mend(struct bh_platform *platform, const struct bh_switch *sw, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	char vnic[BH_IFNAME_SIZE], name[BH_IFNAME_SIZE];
	struct bh_error why;
	int rc = bh_linux_writable(self, err), found = rc ? rc : bh_switch_check(platform, sw, &why);

	if (rc || !found)
		return rc;
	bh_switch_vnic(self->tag, sw->id, vnic);
	if (found == -ENOENT) {
		rc = make_vnic(self, sw, sw->mtu ? sw->mtu : bh_switch_mtu(platform), vnic, err);
	} else if (found == -ENETDOWN) {
		snprintf(name, sizeof(name), "m%u", sw->id);
		bh_link_add_up(&self->switch_link, bh_switch_index(BH_INDEX_MANAGEMENT, sw->id), name);
		rc = bh_netlink_run(&self->switch_link, NULL, NULL, err);
	} else {
		return bh_error_set(err, found, "%s", why.message);
	}
	rc = rc ? rc : configure_vnic(self, sw, vnic, err); /* set down, it lost its IPv6 addresses */
	return rc ? rc : found == -ENOENT ? 1 : 2;
}

int bh_switch_remove(struct bh_platform *platform, uint32_t id, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	int rc = bh_linux_writable(self, err);

	if (!rc)
		rc = bh_linux_switches(self, false, err);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	bh_link_add_delete_group(&self->switch_link, id);
	return bh_netlink_run(&self->switch_link, NULL, NULL, err);
}

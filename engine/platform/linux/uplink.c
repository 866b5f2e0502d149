/*
 * uplink.c - see uplink.h.
 *
 * Forwarding is switched on as narrowly as the kernel lets us: IPv4 forwards with the flag of the
 * interface a packet comes in by, so only our management vNICs and the uplinks get it. IPv6
 * forwards only with `all`, which turns the host into a router that ignores router advertisements
 * unless accept_ra is 2; so it is set only for a routed IPv6 network, after accept_ra. The table
 * comes first and goes last: nothing is ever forwarded that it would have refused.
 */
#include "uplink.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "linux.h"
#include "mapping.h"
#include "nat.h"
#include "switch.h"
#include "sysctls.h"

static bool is_routed(const struct bh_uplink *uplink, const struct bh_switch *sw)
{
	for (size_t i = 0; i < uplink->pairs_count; i++)
		if (uplink->pairs[i][0] == sw->id || uplink->pairs[i][1] == sw->id)
			return true;
	return sw->driver == BH_DRIVER_NAT;
}

static bool has_routed(const struct bh_uplink *uplink, bool v4)
{
	for (size_t i = 0; i < uplink->switches_count; i++)
		for (size_t j = 0; j < uplink->switches[i].subnets_count; j++)
			if (bh_address_is_v4(&uplink->switches[i].subnets[j].gateway) == v4 &&
			    is_routed(uplink, &uplink->switches[i]))
				return true;
	return false;
}

/* Our own vNICs take their values with them when they go. */
static int forward_vnics(struct bh_linux *self, const struct bh_uplink *uplink,
                         struct bh_error *err)
{
	char vnic[BH_IFNAME_SIZE], path[96];
	int rc = 0;

	for (size_t i = 0; i < uplink->switches_count && !rc; i++) {
		bh_switch_vnic(self->tag, uplink->switches[i].id, vnic);
		snprintf(path, sizeof(path), "net/ipv4/conf/%s/forwarding", vnic);
		rc = bh_sysctl_write(path, is_routed(uplink, &uplink->switches[i]) ? "1" : "0", true, err);
	}
	return rc;
}

static int forward_uplinks(struct bh_linux *self, const struct bh_uplinks *uplinks,
                           struct bh_error *err)
{
	char path[96];
	int rc = 0;

	for (size_t i = 0; i < uplinks->count && !rc; i++) {
		snprintf(path, sizeof(path), "net/ipv4/conf/%s/forwarding", uplinks->links[i].name);
		rc = bh_sysctls_change(&self->runtime, path, "1", err);
	}
	return rc;
}

static int keep_advertisements(struct bh_linux *self, const struct bh_uplinks *uplinks,
                               struct bh_error *err)
{
	char path[96], value[16];
	int rc = 0;

	for (size_t i = 0; i < uplinks->count && !rc; i++) {
		snprintf(path, sizeof(path), "net/ipv6/conf/%s/accept_ra", uplinks->links[i].name);
		if (bh_sysctl_read(path, value, sizeof(value), NULL) == 0 && strcmp(value, "1") == 0)
			rc = bh_sysctls_change(&self->runtime, path, "2", err);
	}
	return rc;
}

struct exceptions {
	struct bh_linux *self;
	struct bh_error *err;
};

/* An interface that forwards although `all` does not must do so again when `all` is restored. */
static int record_exception(const struct bh_link *link, void *arg)
{
	struct exceptions *exceptions = arg;
	char path[96], value[16];

	snprintf(path, sizeof(path), "net/ipv6/conf/%s/forwarding", link->name);
	if (bh_switch_owns(exceptions->self->tag, link->name) ||
	    bh_sysctl_read(path, value, sizeof(value), NULL) || strcmp(value, "1") != 0)
		return 0;
	return bh_sysctls_record(&exceptions->self->runtime, path, exceptions->err);
}

static int forward_ipv6(struct bh_linux *self, const struct bh_uplinks *uplinks,
                        struct bh_error *err)
{
	static const char all[] = "net/ipv6/conf/all/forwarding";
	struct exceptions exceptions = {self, err};
	struct bh_link defaults = {.name = "default"};
	char value[16];
	int rc = bh_sysctl_read(all, value, sizeof(value), err);

	if (rc || strcmp(value, "1") == 0)
		return rc == -ENOENT ? 0 : rc;
	rc = keep_advertisements(self, uplinks, err);
	if (!rc)
		rc = bh_sysctls_record(&self->runtime, all, err);
	if (!rc)
		rc = record_exception(&defaults, &exceptions);
	if (!rc)
		rc = bh_link_each(&self->default_link, record_exception, &exceptions, err);
	return rc ? rc : bh_sysctl_write(all, "1", true, err);
}

int bh_uplink_clear(struct bh_linux *self, struct bh_error *err)
{
	BH_AUTOVISIT struct bh_visit visit = {0};
	int rc = bh_namespace_enter(&visit, self->default_namespace, err);

	if (!rc)
		rc = bh_sysctls_restore(&self->runtime, err);
	return rc ? rc : bh_nat_remove(self->tag, err);
}

int bh_uplink_apply(struct bh_platform *platform, const struct bh_uplink *uplink,
                    struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	BH_AUTOVISIT struct bh_visit visit = {0};
	struct bh_uplinks uplinks;
	int rc = bh_linux_writable(self, err);

	if (rc)
		return rc;
	if (!uplink->switches_count)
		return bh_uplink_clear(self, err);
	rc = bh_link_uplinks(&self->default_link, &uplinks, err);
	if (!rc)
		rc = bh_namespace_enter(&visit, self->default_namespace, err);
	if (!rc)
		rc = bh_nat_apply(self->tag, uplink, err);
	if (!rc)
		rc = forward_vnics(self, uplink, err);
	if (!rc)
		rc = bh_mapping_localnet(self, uplink->mappings, uplink->mappings_count, err);
	if (!rc && has_routed(uplink, true))
		rc = forward_uplinks(self, &uplinks, err);
	if (!rc && has_routed(uplink, false))
		rc = forward_ipv6(self, &uplinks, err);
	return rc;
}

static bool forwards(const char *interface)
{
	char path[96], value[16];

	snprintf(path, sizeof(path), "net/ipv4/conf/%s/forwarding", interface);
	return bh_sysctl_read(path, value, sizeof(value), NULL) == 0 && strcmp(value, "1") == 0;
}

/* Stops at a vNIC of ours that forwards: some network is routed. */
static int is_routed_vnic(const struct bh_link *link, void *arg)
{
	const struct bh_linux *self = arg;

	return bh_switch_owns(self->tag, link->name) && forwards(link->name);
}

bool bh_uplink_intact(struct bh_platform *platform)
{
	struct bh_linux *self = bh_linux_of(platform);
	BH_AUTOVISIT struct bh_visit visit = {0};
	struct bh_uplinks uplinks;

	if (bh_linux_filter(self, NULL) || !bh_nat_intact(&self->filter_link, self->tag) ||
	    bh_namespace_enter(&visit, self->default_namespace, NULL))
		return false;
	if (bh_link_each(&self->default_link, is_routed_vnic, self, NULL) != 1)
		return true;
	if (bh_link_uplinks(&self->default_link, &uplinks, NULL))
		return true;
	for (size_t i = 0; i < uplinks.count; i++)
		if (!forwards(uplinks.links[i].name))
			return false;
	return true;
}

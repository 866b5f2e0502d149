/*
 * uplink.c - see uplink.h.
 *
 * Forwarding is switched on as narrowly as the kernel lets us: IPv4 forwards with the flag of the
 * interface a packet comes in by, so only our management vNICs and the interfaces by which anything
 * is reached get it, for replies come in by those. IPv6 forwards only with `all`, which turns the host
 * into a router that ignores router advertisements unless accept_ra is 2; so it is set only for a
 * routed IPv6 network, after accept_ra.
 *
 * That alone would make a host that forwarded nothing a router between its other interfaces. So what
 * comes in by an interface that we made forward (it is *lent*) starts no conversation beyond the host
 * but with our networks, while the host as a whole does not forward. Replies and what another program
 * translates pass: a Docker that comes later, which switches forwarding on itself, is not hurt before
 * the next change here takes IPv4's refusal away. IPv6 does not tell whether somebody else wants `all`
 * by now; there the refusal stays, for the interfaces that were there when we switched it on.
 *
 * The table comes first and goes last: nothing is ever forwarded that it would have refused.
 */
#include "uplink.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../base/cleanup.h"
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

/* Interfaces that lead somewhere, but for management vNICs, whose states know whether they forward. */
static int find_routed(struct bh_linux *self, int family, struct bh_uplinks *uplinks,
                       struct bh_error *err)
{
	size_t kept = 0;
	int rc = bh_link_routed(&self->default_link, family, uplinks, err);

	for (size_t i = 0; !rc && i < uplinks->count; i++)
		if (!bh_switch_is_vnic(&uplinks->links[i]))
			uplinks->links[kept++] = uplinks->links[i];
	uplinks->count = rc ? 0 : kept;
	return rc;
}

static bool is_set(const char *path)
{
	char value[16];

	return bh_sysctl_read(path, value, sizeof(value), NULL) == 0 && strcmp(value, "1") == 0;
}

static bool forwards(int family, const char *interface)
{
	char path[96];

	snprintf(path, sizeof(path), "net/ipv%d/conf/%s/forwarding", family, interface);
	return is_set(path);
}

/* Keeps what interfaces do on their own, before any of it is changed. */
static int record(struct bh_linux *self, int family, const struct bh_uplinks *uplinks, bool forwarding,
                  struct bh_error *err)
{
	char path[96];
	int rc = 0;

	for (size_t i = 0; i < uplinks->count && !rc; i++) {
		if (forwards(family, uplinks->links[i].name) != forwarding)
			continue;
		snprintf(path, sizeof(path), "net/ipv%d/conf/%s/forwarding", family, uplinks->links[i].name);
		rc = bh_sysctls_record(&self->runtime, path, err);
	}
	return rc;
}

static int forward_ipv4(const struct bh_uplinks *uplinks, struct bh_error *err)
{
	char path[96];
	int rc = 0;

	for (size_t i = 0; i < uplinks->count && !rc; i++) {
		snprintf(path, sizeof(path), "net/ipv4/conf/%s/forwarding", uplinks->links[i].name);
		rc = bh_sysctl_write(path, "1", true, err);
	}
	return rc;
}

static int keep_advertisements(struct bh_linux *self, const struct bh_uplinks *uplinks,
                               struct bh_error *err)
{
	char path[96];
	int rc = 0;

	for (size_t i = 0; i < uplinks->count && !rc; i++) {
		snprintf(path, sizeof(path), "net/ipv6/conf/%s/accept_ra", uplinks->links[i].name);
		if (is_set(path))
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
	char path[96];

	if (bh_switch_is_vnic(link) || !forwards(6, link->name))
		return 0;
	snprintf(path, sizeof(path), "net/ipv6/conf/%s/forwarding", link->name);
	return bh_sysctls_record(&exceptions->self->runtime, path, exceptions->err);
}

static const char all_ipv6[] = "net/ipv6/conf/all/forwarding";

static int record_ipv6(struct bh_linux *self, const struct bh_uplinks *uplinks, struct bh_error *err)
{
	struct exceptions exceptions = {self, err};
	struct bh_link defaults = {.name = "default"};
	int rc;

	if (is_set(all_ipv6))
		return 0;
	rc = keep_advertisements(self, uplinks, err);
	rc = rc ? rc : bh_sysctls_record(&self->runtime, all_ipv6, err);
	rc = rc ? rc : record_exception(&defaults, &exceptions);
	rc = rc ? rc : record(self, 6, uplinks, false, err);
	return rc ? rc : bh_link_each(&self->default_link, record_exception, &exceptions, err);
}

/* --- what is lent --- */

struct lending {
	struct bh_lent *lent;
	bool ipv6; /* `all` is ours */
};

static int visit_lent(const char *path, const char *value, void *arg)
{
	struct lending *lending = arg;
	char interface[BH_IFNAME_SIZE], rest[16];
	int family;

	if (strcmp(path, all_ipv6) == 0)
		lending->ipv6 = strcmp(value, "0") == 0;
	if (sscanf(path, "net/ipv%d/conf/%15[^/]/%15s", &family, interface, rest) != 3 ||
	    strcmp(rest, "forwarding") || strcmp(value, "0") || strcmp(interface, "all") == 0 ||
	    strcmp(interface, "default") == 0)
		return 0;
	bh_nat_lend(lending->lent, family, interface);
	return 0;
}

/* By the record of a state, and by whether the host forwards as a whole now. */
static void find_lent(const struct bh_runtime *runtime, struct bh_lent *lent)
{
	struct lending lending = {.lent = lent};

	*lent = (struct bh_lent){0};
	bh_sysctls_each(runtime, visit_lent, &lending);
	if (is_set("net/ipv4/ip_forward"))
		bh_buffer_clear(&lent->names[0]);
	if (!lending.ipv6)
		bh_buffer_clear(&lent->names[1]);
}

int bh_uplink_clear(struct bh_linux *self, struct bh_error *err)
{
	BH_AUTOVISIT struct bh_visit visit = {0};
	BH_AUTOFD int lock = -1;
	struct bh_runtime heir = {.mounts = -1, .root = -1, .directory = -1};
	struct bh_lent lent = {0};
	int rc = bh_namespace_enter(&visit, self->default_namespace, err);

	if (rc)
		return rc;
	lock = bh_sysctls_lock(&self->runtime, err);
	if (lock < 0)
		return lock;
	rc = bh_sysctls_release(&self->runtime, self->default_namespace, &heir, err);
	if (!rc && heir.directory >= 0) {
		find_lent(&heir, &lent);
		bh_nat_refuse(strrchr(heir.path, '/') + 1, &lent, NULL); /* or by its own next change */
		bh_lent_clear(&lent);
	}
	bh_runtime_close(&heir);
	return rc ? rc : bh_nat_remove(self->tag, err);
}

/* Sysctls, after the table that holds what they make possible in check. */
static int forward(struct bh_linux *self, const struct bh_uplink *uplink,
                   const struct bh_uplinks *routed, struct bh_error *err)
{
	int rc = forward_vnics(self, uplink, err);

	rc = rc ? rc : bh_mapping_localnet(self, uplink->mappings, uplink->mappings_count, err);
	if (!rc && has_routed(uplink, true))
		rc = forward_ipv4(routed, err);
	if (!rc && has_routed(uplink, false) && !is_set(all_ipv6))
		rc = bh_sysctl_write(all_ipv6, "1", true, err);
	return rc;
}

static int apply(struct bh_linux *self, const struct bh_uplink *uplink, struct bh_error *err)
{
	struct bh_uplinks routed4 = {0}, routed6 = {0};
	struct bh_lent lent = {0};
	int rc = bh_sysctls_hold(&self->runtime, err);

	if (!rc && has_routed(uplink, true))
		rc = find_routed(self, 4, &routed4, err);
	if (!rc && has_routed(uplink, false))
		rc = find_routed(self, 6, &routed6, err);
	rc = rc ? rc : record(self, 4, &routed4, false, err);
	if (!rc && has_routed(uplink, false))
		rc = record_ipv6(self, &routed6, err);
	if (rc)
		return rc;
	find_lent(&self->runtime, &lent);
	rc = bh_nat_apply(self->tag, uplink, &lent, err);
	bh_lent_clear(&lent);
	return rc ? rc : forward(self, uplink, &routed4, err);
}

int bh_uplink_apply(struct bh_platform *platform, const struct bh_uplink *uplink,
                    struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	BH_AUTOVISIT struct bh_visit visit = {0};
	BH_AUTOFD int lock = -1;
	int rc = bh_linux_writable(self, err);

	if (rc)
		return rc;
	if (!uplink->switches_count)
		return bh_uplink_clear(self, err);
	rc = bh_namespace_enter(&visit, self->default_namespace, err);
	if (rc)
		return rc;
	lock = bh_sysctls_lock(&self->runtime, err);
	return lock < 0 ? lock : apply(self, uplink, err);
}

struct survey {
	const char *tag;
	bool routed;    /* a vNIC of ours forwards: some network is routed */
	bool unrouting; /* an interface does not: it must not lead anywhere then */
};

static int survey_link(const struct bh_link *link, void *arg)
{
	struct survey *survey = arg;

	if (bh_switch_owns(survey->tag, link->name))
		survey->routed = survey->routed || link->forwards4;
	else if (!link->loopback && !bh_switch_is_vnic(link))
		survey->unrouting = survey->unrouting || !link->forwards4;
	return 0;
}

/* Whether the table refuses exactly where it should by now. */
static bool is_lent_intact(struct bh_linux *self)
{
	struct bh_lent lent;
	bool intact;

	find_lent(&self->runtime, &lent);
	intact = bh_nat_refuses(&self->filter_link, self->tag, 4) == (lent.names[0].size > 0) &&
	         bh_nat_refuses(&self->filter_link, self->tag, 6) == (lent.names[1].size > 0);
	bh_lent_clear(&lent);
	return intact;
}

bool bh_uplink_intact(struct bh_platform *platform)
{
	struct bh_linux *self = bh_linux_of(platform);
	BH_AUTOVISIT struct bh_visit visit = {0};
	struct survey survey = {.tag = self->tag};
	struct bh_uplinks routed;

	if (bh_linux_filter(self, NULL) || !bh_nat_intact(&self->filter_link, self->tag) ||
	    bh_namespace_enter(&visit, self->default_namespace, NULL) || !is_lent_intact(self))
		return false;
	if (bh_link_each(&self->default_link, survey_link, &survey, NULL) || !survey.routed || !survey.unrouting)
		return true;
	/* Routes may be a million; they are asked for only where one may be in question. */
	if (find_routed(self, 4, &routed, NULL))
		return true;
	for (size_t i = 0; i < routed.count; i++)
		if (!routed.links[i].forwards4)
			return false;
	return true;
}

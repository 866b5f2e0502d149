/*
 * lab.c - two fresh namespaces joined by a veth pair: a host and a peer outside. See ../lab.h.
 *
 * The namespaces have no name; they end with the process at the latest. The process stays in the
 * host's until the lab is closed.
 */
#include "lab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../base/cleanup.h"

#define UPLINK_INDEX 1000

int bh_lab_stack(struct bh_linux_lab *lab, uint32_t where, struct bh_error *err)
{
	int fd;

	for (size_t i = 0; i < lab->guests_count; i++)
		if (lab->guests[i].compartment == where) {
			fd = dup(lab->guests[i].namespace);
			return fd < 0 ? bh_error_errno(err, -errno, "cannot open a stack") : fd;
		}
	if (where == BH_LAB_OUTSIDE || where == BH_DEFAULT_COMPARTMENT) {
		fd = dup(where == BH_LAB_OUTSIDE ? lab->outside : lab->host);
		return fd < 0 ? bh_error_errno(err, -errno, "cannot open a stack") : fd;
	}
	if (!lab->lab.platform)
		return bh_error_set(err, -ENOENT, "there is no compartment %u: no host is open in the lab", where);
	return lab->lab.platform->ops->compartment_open(lab->lab.platform, where, err);
}

/* A fresh namespace with its loopback up; returns its descriptor. */
static int make_stack(struct bh_error *err)
{
	BH_AUTOVISIT struct bh_visit visit = {0};
	BH_AUTONETLINK struct bh_netlink netlink = {0};
	BH_AUTOFD int fd = -1;
	int rc = bh_namespace_enter_new(&visit, err);

	if (rc)
		return rc;
	fd = bh_namespace_current(err);
	if (fd < 0)
		return fd;
	rc = bh_netlink_open(&netlink, err);
	if (rc)
		return rc;
	bh_link_add_up(&netlink, 1, "lo");
	rc = bh_netlink_run(&netlink, NULL, NULL, err);
	return rc ? rc : bh_take_fd(&fd);
}

/* Addresses and default routes of one end of the uplink. */
static int configure_end(int namespace, const char *name, size_t count,
                         const struct bh_prefix *addresses, size_t gateways_count,
                         const struct bh_prefix *gateways, struct bh_error *err)
{
	BH_AUTONETLINK struct bh_netlink netlink = {0};
	struct bh_link link;
	int rc = bh_linux_netlink(&netlink, namespace, err);

	rc = rc ? rc : bh_link_find(&netlink, name, &link, err);
	if (rc)
		return rc;
	bh_link_add_up(&netlink, link.index, name);
	for (size_t i = 0; i < count; i++)
		bh_link_add_address(&netlink, link.index, &addresses[i]);
	for (size_t i = 0; i < gateways_count; i++)
		bh_link_add_default(&netlink, link.index, &gateways[i].address, 0, false);
	return bh_netlink_run(&netlink, NULL, NULL, err);
}

/* Both ends are up. */
static int settle(const struct bh_linux_lab *lab, struct bh_error *err)
{
	static const char *const names[] = {"up0", "eth0"};
	const int stacks[] = {lab->host, lab->outside};
	struct bh_link link;
	int rc = 0;

	for (size_t i = 0; i < 2 && !rc; i++) {
		BH_AUTONETLINK struct bh_netlink netlink = {0};

		rc = bh_linux_netlink(&netlink, stacks[i], err);
		rc = rc ? rc : bh_link_find(&netlink, names[i], &link, err);
		if (!rc)
			bh_link_settle(&netlink, link.index);
	}
	return rc;
}

static int make_uplink(struct bh_linux_lab *lab, const struct bh_lab_options *options,
                       struct bh_error *err)
{
	BH_AUTONETLINK struct bh_netlink netlink = {0};
	struct bh_veth veth = {
		.name = "up0",
		.index = UPLINK_INDEX,
		.mtu = 1500,
		.peer_namespace = lab->outside,
		.peer_name = "eth0",
	};
	int rc = bh_linux_netlink(&netlink, lab->host, err);

	if (rc)
		return rc;
	bh_link_add_veth(&netlink, &veth);
	rc = bh_netlink_run(&netlink, NULL, NULL, err);
	rc = rc ? rc : configure_end(lab->host, "up0", options->host_count, options->host,
	                             options->outside_count, options->outside, err);
	rc = rc ? rc : configure_end(lab->outside, "eth0", options->outside_count, options->outside, 0, NULL,
	                             err);
	return rc ? rc : settle(lab, err);
}

/* A route of the peer outside to `prefix` by the host. */
static int lab_route_outside(struct bh_lab *base, const struct bh_prefix *prefix,
                             struct bh_error *err)
{
	struct bh_linux_lab *lab = bh_linux_lab_of(base);
	BH_AUTONETLINK struct bh_netlink netlink = {0};
	struct bh_link link;
	int rc = bh_linux_netlink(&netlink, lab->outside, err);

	rc = rc ? rc : bh_link_find(&netlink, "eth0", &link, err);
	if (rc)
		return rc;
	for (size_t i = 0; i < lab->gateways_count; i++)
		if (bh_address_is_v4(&lab->outside_gateways[i]) == bh_address_is_v4(&prefix->address)) {
			bh_link_add_route(&netlink, link.index, prefix, &lab->outside_gateways[i]);
			return bh_netlink_run(&netlink, NULL, NULL, err);
		}
	return bh_error_set(err, -EINVAL, "the uplink has no address of that family");
}

static int lab_advance(struct bh_lab *lab, uint64_t ns, struct bh_error *err)
{
	(void)lab;
	(void)ns;
	return bh_error_set(err, -ENOTSUP, "the kernel's clock cannot be set forward");
}

static void lab_close(struct bh_lab *base)
{
	struct bh_linux_lab *lab = bh_linux_lab_of(base);

	for (size_t i = 0; i < lab->listeners_count; i++)
		bh_listener_close(&lab->listeners[i]);
	for (size_t i = 0; i < lab->guests_count; i++)
		bh_guest_stop(&lab->guests[i]);
	bh_cleanup_fd(&lab->host);
	bh_cleanup_fd(&lab->outside);
	bh_namespace_leave(&lab->stay);
	free(lab);
}

static const struct bh_lab_ops lab_ops = {
	.listen = bh_listener_open,
	.guest_start = bh_guest_start,
	.probe = bh_probe_run,
	.inject = bh_probe_inject,
	.advance = lab_advance,
	.route_outside = lab_route_outside,
	.close = lab_close,
};

int bh_lab_linux_open(struct bh_lab **out, const struct bh_lab_options *options,
                      struct bh_error *err)
{
	struct bh_linux_lab *lab = calloc(1, sizeof(*lab));
	int rc = 0;

	if (geteuid()) {
		free(lab);
		return bh_error_set(err, -EPERM, "real namespaces and packets need root");
	}
	if (!lab)
		return bh_error_set(err, -ENOMEM, "not enough memory for a lab");
	lab->lab.ops = &lab_ops;
	lab->host = lab->outside = -1;
	if ((lab->host = make_stack(err)) < 0)
		rc = lab->host;
	if (!rc && (lab->outside = make_stack(err)) < 0)
		rc = lab->outside;
	rc = rc ? rc : make_uplink(lab, options, err);
	rc = rc ? rc : bh_namespace_enter(&lab->stay, lab->host, err);
	if (rc) {
		lab_close(&lab->lab);
		return rc;
	}
	for (size_t i = 0; i < options->host_count; i++)
		lab->outside_gateways[lab->gateways_count++] = options->host[i].address;
	*out = &lab->lab;
	return 0;
}

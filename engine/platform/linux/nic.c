/*
 * nic.c - see nic.h.
 *
 * The order is what makes it safe: the port is made down, gets its gate and what the gate enforces,
 * then the compartment's side is configured, and only then does the port come up. A kill at any
 * point leaves something closed, and bh_nic_remove() takes any of it away.
 *
 * A synthetic NIC has the same port; the veth's other end is spliced to the tap.
 */
#include "nic.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../base/cleanup.h"
#include "clsact.h"
#include "conntrack.h"
#include "linux.h"
#include "switch.h"
#include "tap.h"
#include "unlink.h"

/* One creation, and how far it got. */
struct making {
	struct bh_linux *self;
	struct bh_nic *nic;
	const struct bh_gate *gate;
	uint32_t port;             /* index of the switch's end */
	uint32_t mtu;
	char name[BH_IFNAME_SIZE]; /* the NIC */
	char far[BH_IFNAME_SIZE];  /* the veth's other end; the NIC itself but for a synthetic one */
	int namespace;
	struct bh_netlink link; /* in it */
	uint32_t far_index;
	bool has_port, has_tap, has_table[2];
};

static void making_clear(struct making *making)
{
	bh_netlink_close(&making->link);
	bh_cleanup_fd(&making->namespace);
}

static int check(const struct bh_nic *nic, struct bh_error *err)
{
	if (!nic->endpoint || nic->endpoint > BH_INDEX_ID_MAX || nic->network > BH_INDEX_ID_MAX)
		return bh_error_set(err, -EINVAL, "endpoint %u cannot be made: ids are 1 to %u",
		                    nic->endpoint, BH_INDEX_ID_MAX);
	if (nic->addresses_count > BH_ADDRESSES_MAX || nic->gateways_count > BH_SUBNETS_MAX)
		return bh_error_set(err, -EINVAL, "a NIC has at most %d addresses and %d gateways",
		                    BH_ADDRESSES_MAX, BH_SUBNETS_MAX);
	return 0;
}

static int open_compartment(struct making *making, struct bh_error *err)
{
	bool synthetic = making->nic->kind == BH_NIC_SYNTHETIC;
	int rc;

	making->namespace = bh_linux_compartment(making->self, making->nic->compartment, err);
	if (making->namespace < 0)
		return making->namespace;
	rc = bh_linux_netlink(&making->link, making->namespace, err);
	if (rc)
		return rc;
	if (making->nic->name[0])
		memcpy(making->name, making->nic->name, BH_IFNAME_SIZE);
	else
		rc = bh_link_free_name(&making->link, synthetic ? "vm" : "eth", making->name, err);
	if (!rc && synthetic)
		return bh_link_free_name(&making->link, "bhv", making->far, err);
	memcpy(making->far, making->name, BH_IFNAME_SIZE);
	return rc;
}

static int make_port(struct making *making, struct bh_error *err)
{
	char name[BH_IFNAME_SIZE];
	struct bh_veth veth = {
		.name = name,
		.index = making->port,
		.master = bh_switch_index(BH_INDEX_BRIDGE, making->nic->network),
		.group = BH_GROUP_PORTS,
		.mtu = making->mtu,
		.peer_namespace = making->namespace,
		.peer_name = making->far,
		.peer_mac = making->nic->kind == BH_NIC_SYNTHETIC ? NULL : making->nic->mac,
	};
	int rc;

	snprintf(name, sizeof(name), "p%u", making->nic->endpoint);
	bh_link_add_veth(&making->self->switch_link, &veth);
	rc = bh_netlink_run(&making->self->switch_link, NULL, NULL, err);
	making->has_port = !rc;
	if (rc == -EXFULL)
		return bh_error_set(err, rc, "the switch of network %u is full: it has 1023 ports",
		                    making->nic->network);
	if (rc == -EEXIST)
		return bh_error_set(err, rc, "endpoint %u has a port already, or its compartment has an "
		                             "interface %s", making->nic->endpoint, making->name);
	if (rc == -EINVAL)
		return bh_error_set(err, rc, "network %u has no switch, or the kernel refuses the name "
		                             "'%s' or the MTU %u", making->nic->network, making->name,
		                    making->mtu);
	return rc;
}

static int put_gate(struct making *making, struct bh_error *err)
{
	struct bh_gate_kernel *kernel = making->self->gate;
	int rc = 0;

	for (size_t i = 0; i < 2 && !rc; i++) {
		if (!making->gate->tables[i])
			continue;
		rc = bh_gate_table_put(kernel, making->gate->conf.tables[i].id, making->gate->tables[i],
		                       err);
		making->has_table[i] = !rc;
	}
	if (!rc)
		rc = bh_gate_conf_put(kernel, making->port, &making->gate->conf, err);
	return rc ? rc : bh_clsact_guard(&making->self->switch_link, making->port, kernel, err);
}

static bool on_link(const struct bh_nic *nic, const struct bh_address *gateway)
{
	for (size_t i = 0; i < nic->addresses_count; i++)
		if (bh_prefix_contains(&nic->addresses[i], gateway) &&
		    bh_address_is_v4(&nic->addresses[i].address) == bh_address_is_v4(gateway))
			return true;
	return bh_address_is_link_local6(gateway);
}

static void add_routes(struct bh_netlink *link, uint32_t index, const struct bh_nic *nic)
{
	bool done[2] = {false, false};

	for (size_t i = 0; i < nic->gateways_count; i++) {
		bool v4 = bh_address_is_v4(&nic->gateways[i]);

		if (done[v4] || (!v4 && !nic->ipv6))
			continue;
		bh_link_add_default(link, index, &nic->gateways[i], nic->metric,
		                    !on_link(nic, &nic->gateways[i]));
		done[v4] = true;
	}
}

/* Visits the compartment for its sysctls; IPv6 is decided before anything is up. */
static int set_ipv6(const char *name, bool on, struct bh_error *err)
{
	int rc = bh_sysctl_nic(name, "disable_ipv6", on ? "0" : "1", err);

	/* MACs are unique among our ports, so waiting for duplicates only delays the first packet. */
	return rc || !on ? rc : bh_sysctl_nic(name, "accept_dad", "0", err);
}

static int configure_host_vnic(struct making *making, struct bh_error *err)
{
	const struct bh_nic *nic = making->nic;
	BH_AUTOVISIT struct bh_visit visit = {0};
	struct bh_link link;
	int rc = bh_namespace_enter(&visit, making->namespace, err);

	if (!rc)
		rc = set_ipv6(making->name, nic->ipv6, err);
	if (!rc)
		rc = bh_link_find(&making->link, making->name, &link, err);
	if (rc)
		return rc;
	making->far_index = link.index;
	if (nic->ipv6)
		bh_link_add_eui64(&making->link, link.index);
	bh_link_add_up(&making->link, 1, "lo");
	bh_link_add_up(&making->link, link.index, making->name);
	for (size_t i = 0; i < nic->addresses_count; i++)
		if (nic->ipv6 || bh_address_is_v4(&nic->addresses[i].address))
			bh_link_add_address(&making->link, link.index, &nic->addresses[i]);
	if (nic->default_route)
		add_routes(&making->link, link.index, nic);
	return bh_netlink_run(&making->link, NULL, NULL, err);
}

/* What one of two interfaces receives the other sends. */
static int join(struct bh_netlink *link, uint32_t a, uint32_t b, struct bh_error *err)
{
	BH_AUTOFD int to_b = bh_gate_splice(b, err);
	BH_AUTOFD int to_a = to_b < 0 ? -1 : bh_gate_splice(a, err);

	if (to_b < 0 || to_a < 0)
		return to_b < 0 ? to_b : to_a;
	bh_clsact_add(link, a);
	bh_clsact_add_program(link, a, true, to_b, "bh_splice");
	bh_clsact_add(link, b);
	bh_clsact_add_program(link, b, true, to_a, "bh_splice");
	return bh_netlink_run(link, NULL, NULL, err);
}

/* The guest has the addresses; on this side nothing may speak. */
static int configure_synthetic(struct making *making, struct bh_error *err)
{
	BH_AUTOVISIT struct bh_visit visit = {0};
	struct bh_link tap, far;
	int rc = bh_namespace_enter(&visit, making->namespace, err);

	if (!rc)
		rc = bh_tap_make(making->name, err);
	making->has_tap = !rc;
	if (!rc)
		rc = set_ipv6(making->name, false, err);
	if (!rc)
		rc = set_ipv6(making->far, false, err);
	if (!rc)
		rc = bh_link_find(&making->link, making->name, &tap, err);
	if (!rc)
		rc = bh_link_find(&making->link, making->far, &far, err);
	if (!rc)
		rc = join(&making->link, tap.index, far.index, err);
	if (rc)
		return rc;
	making->far_index = far.index;
	bh_link_add_mtu(&making->link, tap.index, making->mtu);
	bh_link_add_up(&making->link, tap.index, making->name);
	bh_link_add_up(&making->link, far.index, making->far);
	return bh_netlink_run(&making->link, NULL, NULL, err);
}

/*
 * Its siblings' packets pass the switch by, which so could not learn where they are: it is told, and
 * no frame can tell it otherwise. With its port up the pair gets its carrier, and the container's first
 * packet must not be lost.
 */
static int port_up(struct making *making, struct bh_error *err)
{
	struct bh_netlink *link = &making->self->switch_link;
	int rc;

	bh_link_add_unlearning(link, making->port);
	bh_link_add_station(link, making->port, making->nic->mac);
	bh_link_add_up(link, making->port, "the port");
	rc = bh_netlink_run(link, NULL, NULL, err);
	if (rc)
		return rc;
	bh_link_settle(link, making->port);
	bh_link_settle(&making->link, making->far_index);
	return bh_gate_forward_put(making->self->gate, making->port, making->mtu, err);
}

static void undo(struct making *making)
{
	struct bh_linux *self = making->self;

	if (making->has_tap)
		bh_tap_delete(&making->link, making->name, NULL);
	if (!making->has_port)
		return;
	bh_link_add_delete(&self->switch_link, making->port);
	bh_netlink_run(&self->switch_link, NULL, NULL, NULL);
	bh_gate_conf_remove(self->gate, making->port, NULL);
	for (size_t i = 0; i < 2; i++)
		if (making->has_table[i])
			bh_gate_table_remove(self->gate, making->gate->conf.tables[i].id, NULL);
}

int bh_nic_create(struct bh_platform *platform, struct bh_nic *nic, const struct bh_gate *gate,
                  struct bh_error *err)
{
	__attribute__((cleanup(making_clear))) struct making making = {
		.self = bh_linux_of(platform),
		.nic = nic,
		.gate = gate,
		.port = bh_switch_index(BH_INDEX_PORT, nic->endpoint),
		.mtu = nic->mtu ? nic->mtu : bh_switch_mtu(platform),
		.namespace = -1,
	};
	int rc = bh_linux_writable(making.self, err);

	if (!rc)
		rc = check(nic, err);
	if (!rc)
		rc = bh_linux_switches(making.self, true, err);
	if (!rc)
		rc = bh_linux_gate(making.self, true, err);
	if (!rc)
		rc = open_compartment(&making, err);
	if (!rc)
		rc = make_port(&making, err);
	if (!rc)
		rc = put_gate(&making, err);
	if (!rc && nic->kind == BH_NIC_SYNTHETIC)
		rc = configure_synthetic(&making, err);
	else if (!rc)
		rc = configure_host_vnic(&making, err);
	if (!rc)
		rc = port_up(&making, err);
	if (rc) {
		undo(&making);
		return bh_error_prefix(err, "the NIC of endpoint %u cannot be made", nic->endpoint);
	}
	memcpy(nic->name, making.name, BH_IFNAME_SIZE);
	return 0;
}

static int remove_tap(struct bh_linux *self, const struct bh_nic *nic, struct bh_error *err)
{
	BH_AUTOFD int namespace = bh_linux_compartment(self, nic->compartment, err);
	BH_AUTONETLINK struct bh_netlink link = {0};
	int rc;

	if (namespace == -ENOENT || !nic->name[0])
		return 0;
	rc = namespace < 0 ? namespace : bh_linux_netlink(&link, namespace, err);
	return rc ? rc : bh_tap_delete(&link, nic->name, err);
}

/* The veth's other end goes with the port. */
static int remove_port(struct bh_linux *self, uint32_t port, struct bh_error *err)
{
	int rc = bh_linux_switches(self, false, err);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	return bh_unlink_port(self, port, err);
}

static int forget_flow(const struct bh_flow_key *key, void *arg)
{
	struct bh_linux *self = arg;

	return key->protocol == BH_PROTO_TCP && key->kind == BH_KIND_FLOW
	       ? bh_conntrack_forget_flow(&self->filter_link, key, NULL)
	       : 0;
}

/* The host's translation must not outlive the container: whoever still sends is to be told at once. */
static int forget_translated(struct bh_linux *self, uint32_t port, struct bh_error *err)
{
	int rc = bh_linux_filter(self, err);

	rc = rc ? rc : bh_gate_flow_each_of(self->gate, port, forget_flow, self, err);
	return rc ? rc : bh_conntrack_end(&self->filter_link, err);
}

int bh_nic_remove(struct bh_platform *platform, const struct bh_nic *nic, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	uint32_t port = bh_switch_index(BH_INDEX_PORT, nic->endpoint);
	int rc = bh_linux_writable(self, err);

	if (!rc)
		rc = check(nic, err);
	if (!rc)
		rc = remove_port(self, port, err);
	if (!rc && nic->kind == BH_NIC_SYNTHETIC)
		rc = remove_tap(self, nic, err);
	if (!rc)
		rc = bh_linux_gate(self, false, err);
	if (!rc)
		rc = forget_translated(self, port, err);
	if (!rc)
		rc = bh_gate_conf_remove(self->gate, port, err);
	return rc == -ENOENT ? 0 : rc;
}

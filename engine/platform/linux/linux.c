/*
 * linux.c - the platform of real namespaces, bridges, veth pairs, taps and eBPF.
 *
 * A state's objects are found by its tag: the runtime directory /run/bulkhead/<tag>, the nftables
 * table bulkhead_<tag>, the management vNICs b<tag>-<id>. Everything else stands in the switch
 * namespace (bridges s<id>, ports p<endpoint>, management ports m<id>) and in compartments.
 *
 * One process, one thread: it visits namespaces and comes back (namespace.h).
 */
#include "linux.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../base/cleanup.h"
#include "../../gate/upgrade.h"
#include "clsact.h"
#include "compartment.h"
#include "mapping.h"
#include "nic.h"
#include "switch.h"
#include "uplink.h"

/* --- what the other files share --- */

int bh_linux_writable(const struct bh_linux *self, struct bh_error *err)
{
	if (self->write)
		return 0;
	return bh_error_set(err, -EROFS, "this state was opened for reading only");
}

int bh_linux_netlink(struct bh_netlink *netlink, int namespace, struct bh_error *err)
{
	BH_AUTOVISIT struct bh_visit visit = {0};
	int rc = bh_namespace_enter(&visit, namespace, err);

	return rc ? rc : bh_netlink_open(netlink, err);
}

/*
 * Here another tool's FORWARD DROP would kill traffic between our containers if bridge-nf-call were
 * on, and nothing may have an address or forward.
 */
static int make_switch_namespace(struct bh_error *err)
{
	static const char *const settings[][2] = {
		{"net/bridge/bridge-nf-call-iptables", "0"},
		{"net/bridge/bridge-nf-call-ip6tables", "0"},
		{"net/bridge/bridge-nf-call-arptables", "0"},
		{"net/ipv6/conf/all/disable_ipv6", "1"},
		{"net/ipv6/conf/default/disable_ipv6", "1"},
		{"net/ipv4/ip_forward", "0"},
	};
	BH_AUTOVISIT struct bh_visit visit = {0};
	int rc = bh_namespace_enter_new(&visit, err);

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]) && !rc; i++)
		rc = bh_sysctl_write(settings[i][0], settings[i][1], true, err);
	return rc ? rc : bh_namespace_current(err);
}

int bh_linux_switches(struct bh_linux *self, bool make, struct bh_error *err)
{
	BH_AUTOFD int fd = -1;
	int rc;

	if (self->switch_namespace >= 0)
		return 0;
	fd = bh_runtime_namespace(&self->runtime, "switch");
	if (fd == -ENOENT && make) {
		fd = make_switch_namespace(err);
		rc = fd < 0 ? fd : bh_runtime_bind(&self->runtime, "switch", fd, err);
		if (rc)
			return rc;
	}
	if (fd < 0)
		return bh_error_errno(err, fd, "there is no switch namespace in %s", self->runtime.path);
	rc = bh_linux_netlink(&self->switch_link, fd, err);
	if (!rc)
		self->switch_namespace = bh_take_fd(&fd);
	return rc;
}

int bh_linux_filter(struct bh_linux *self, struct bh_error *err)
{
	BH_AUTOVISIT struct bh_visit visit = {0};
	int rc;

	if (self->filter_link.socket)
		return 0;
	rc = bh_namespace_enter(&visit, self->default_namespace, err);
	return rc ? rc : bh_netlink_open_bus(&self->filter_link, NETLINK_NETFILTER, err);
}

int bh_linux_gate(struct bh_linux *self, bool make, struct bh_error *err)
{
	char path[64];
	int rc;

	if (self->gate)
		return 0;
	rc = bh_runtime_bpf(&self->runtime, make, path, sizeof(path), err);
	if (rc == -ENOENT)
		return bh_error_set(err, rc, "there is no gate in %s", self->runtime.path);
	return rc ? rc : bh_gate_open(&self->gate, path, make, err);
}

int bh_linux_compartment(struct bh_linux *self, uint32_t id, struct bh_error *err)
{
	char name[BH_PIN_SIZE];
	int fd;

	snprintf(name, sizeof(name), "c%u", id);
	fd = id == BH_DEFAULT_COMPARTMENT ? fcntl(self->default_namespace, F_DUPFD_CLOEXEC, 0)
	                                  : bh_runtime_namespace(&self->runtime, name);
	if (fd == -ENOENT)
		return bh_error_set(err, fd, "there is no compartment %u", id);
	if (fd < 0)
		return bh_error_errno(err, fd, "cannot open compartment %u", id);
	return fd;
}

/* --- operations that only need the gate --- */

/* Opens the gate of an operation that changes. */
static int change_gate(struct bh_linux *self, struct bh_error *err)
{
	int rc = bh_linux_writable(self, err);

	return rc ? rc : bh_linux_gate(self, false, err);
}

static int gates_begin(struct bh_platform *platform, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	int rc = change_gate(self, err);

	return rc ? rc : bh_gate_conf_unstage(self->gate, err);
}

static int gate_stage(struct bh_platform *platform, const struct bh_conf *conf, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	int rc = change_gate(self, err);

	return rc ? rc
	          : bh_gate_conf_stage(self->gate, bh_switch_index(BH_INDEX_PORT, conf->endpoint), conf, err);
}

static int gates_commit(struct bh_platform *platform, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	int rc = change_gate(self, err);

	if (!rc)
		bh_gate_conf_commit(self->gate);
	return rc;
}

static int gate_outdated(struct bh_platform *platform, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	char path[64];
	int other;

	if (bh_runtime_bpf(&self->runtime, false, path, sizeof(path), NULL))
		return 1; /* or never was: the host knows whether it was needed */
	other = bh_upgrade_other(path);
	return other > BH_ABI ? bh_upgrade_refuse(other, err) : other != 0;
}

static bool switches_lost(struct bh_platform *platform)
{
	return bh_linux_switches(bh_linux_of(platform), false, NULL) == -ENOENT;
}

/* The port may be gone already, where its removal was cut short, or not there yet; so may all ports. */
static int gate_renew(struct bh_platform *platform, const struct bh_conf *conf, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	uint32_t port = bh_switch_index(BH_INDEX_PORT, conf->endpoint);
	struct bh_link link;
	int rc = bh_linux_writable(self, err);

	rc = rc ? rc : bh_linux_gate(self, true, err);
	rc = rc ? rc : bh_gate_share_put(self->gate, conf->compartment, err);
	rc = rc ? rc : bh_gate_conf_put(self->gate, port, conf, err);
	if (rc)
		return rc;
	rc = bh_linux_switches(self, false, err);
	if (rc || bh_link_probe(&self->switch_link, port, &link))
		return rc == -ENOENT ? 0 : rc;
	rc = bh_clsact_guard(&self->switch_link, port, self->gate, err);
	return rc ? rc : bh_gate_forward_put(self->gate, port, link.mtu, err);
}

static int gate_mend(struct bh_platform *platform, uint32_t endpoint, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	uint32_t port = bh_switch_index(BH_INDEX_PORT, endpoint);
	char name[BH_IFNAME_SIZE];
	struct bh_link link;
	int rc = bh_linux_switches(self, false, err), put_back;

	rc = rc ? rc : bh_linux_gate(self, false, err);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	if (bh_link_probe(&self->switch_link, port, &link))
		return bh_error_set(err, -ENODEV, "its NIC is gone");
	put_back = bh_clsact_mend(&self->switch_link, port, self->gate, err);
	if (put_back || link.enabled)
		return put_back == -ENOENT ? 0 : put_back;
	snprintf(name, sizeof(name), "p%u", endpoint);
	bh_link_add_up(&self->switch_link, port, name);
	rc = bh_netlink_run(&self->switch_link, NULL, NULL, err);
	return rc ? rc : 2;
}

static int gate_retire(struct bh_platform *platform, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	char path[64];
	int rc = bh_linux_writable(self, err);

	rc = rc ? rc : bh_runtime_bpf(&self->runtime, false, path, sizeof(path), err);
	return rc ? rc : bh_upgrade_unpin(path, false, err);
}

static int table_publish(struct bh_platform *platform, uint32_t id, const struct bh_table *table,
                         struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	int rc = bh_linux_writable(self, err);

	rc = rc ? rc : bh_linux_gate(self, true, err); /* to take over another's, the tables come first */
	return rc ? rc : bh_gate_table_put(self->gate, id, table, err);
}

static int gate_read(struct bh_platform *platform, uint32_t endpoint, struct bh_conf *conf,
                     struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	int rc = bh_linux_gate(self, false, err);

	return rc ? rc
	          : bh_gate_conf_read(self->gate, bh_switch_index(BH_INDEX_PORT, endpoint), conf, err);
}

static int table_remove(struct bh_platform *platform, uint32_t id, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	int rc = change_gate(self, err);

	if (!rc)
		rc = bh_gate_table_remove(self->gate, id, err);
	return rc == -ENOENT ? 0 : rc;
}

static int table_read(struct bh_platform *platform, const struct bh_table_ref *ref, void **bytes,
                      struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	int rc = bh_linux_gate(self, false, err);

	return rc ? rc : bh_gate_table_read(self->gate, ref, bytes, err);
}

static int flow_read(struct bh_platform *platform, const struct bh_flow_key *key,
                     struct bh_flow *flow)
{
	struct bh_linux *self = bh_linux_of(platform);
	int rc = bh_linux_gate(self, false, NULL);

	return rc ? rc : bh_gate_flow_read(self->gate, key, flow);
}

/* A state that has no gate has no flows, which is not an error. */
static int flow_each(struct bh_platform *platform, bh_flow_visitor *visit, void *arg,
                     struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	int rc = bh_linux_gate(self, false, err);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	return bh_gate_flow_each(self->gate, visit, arg, err);
}

static int counters_read(struct bh_platform *platform, uint32_t endpoint,
                         struct bh_counters *counters, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	int rc = bh_linux_gate(self, false, err);

	return rc ? rc : bh_gate_counters_read(self->gate, endpoint, counters, err);
}

static int hits_each(struct bh_platform *platform, bh_hit_visitor *visit, void *arg,
                     struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	int rc = bh_linux_gate(self, false, err);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	return bh_gate_hits_each(self->gate, visit, arg, err);
}

static int hit_remove(struct bh_platform *platform, uint32_t endpoint, uint32_t rule,
                      struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	int rc = change_gate(self, err);

	if (!rc)
		bh_gate_hit_remove(self->gate, endpoint, rule);
	return rc;
}

static int hit_move(struct bh_platform *platform, uint32_t endpoint, uint32_t from, uint32_t to,
                    struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	int rc = change_gate(self, err);

	if (!rc)
		bh_gate_hit_move(self->gate, endpoint, from, to);
	return rc;
}

static int share_read(struct bh_platform *platform, uint32_t compartment, struct bh_share *share,
                      struct bh_room *room, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	int rc = bh_linux_gate(self, false, err);

	if (!rc && (rc = bh_gate_share_read(self->gate, compartment, share)))
		bh_error_set(err, rc, "compartment %u has no flow account", compartment);
	if (!rc)
		bh_gate_room_read(self->gate, room);
	return rc;
}

static const struct bh_circle *records(struct bh_platform *platform)
{
	struct bh_linux *self = bh_linux_of(platform);

	return bh_linux_gate(self, false, NULL) ? NULL : bh_gate_circle(self->gate);
}

static uint64_t now(struct bh_platform *platform)
{
	(void)platform;
	return bh_gate_now();
}

/* --- reset --- */

/* Interfaces to be deleted at once, because one at a time takes 20 ms each. */
struct doomed {
	const char *tag; /* NULL = all but the loopback */
	size_t count;
	uint32_t indices[BH_NETLINK_BATCH];
};

static int visit_doomed(const struct bh_link *link, void *arg)
{
	struct doomed *doomed = arg;

	if (doomed->tag ? strcmp(link->kind, "veth") != 0 || !bh_switch_owns(doomed->tag, link->name)
	                : link->index == 1)
		return 0;
	if (doomed->count < BH_NETLINK_BATCH)
		doomed->indices[doomed->count++] = link->index;
	return 0;
}

static int delete_links(struct bh_netlink *netlink, const char *tag, struct bh_error *err)
{
	struct doomed doomed;
	int rc;

	do {
		doomed = (struct doomed){.tag = tag};
		rc = bh_link_each(netlink, visit_doomed, &doomed, err);
		for (size_t i = 0; i < doomed.count && !rc; i++)
			bh_link_add_group(netlink, doomed.indices[i], BH_GROUP_DOOMED);
		if (!rc && doomed.count)
			rc = bh_netlink_run(netlink, NULL, NULL, err);
		if (!rc && doomed.count) {
			bh_link_add_delete_group(netlink, BH_GROUP_DOOMED);
			rc = bh_netlink_run(netlink, NULL, NULL, err);
		}
	} while (!rc && doomed.count);
	return rc;
}

/* Everything in the kernel but the runtime directory. */
static int take_away(struct bh_linux *self, struct bh_error *err)
{
	char path[64];
	int rc = bh_linux_writable(self, err);

	if (rc || self->runtime.directory < 0)
		return rc;
	rc = bh_uplink_clear(self, err);
	if (!rc)
		rc = bh_linux_switches(self, false, err);
	if (!rc)
		rc = delete_links(&self->switch_link, NULL, err);
	if (!rc || rc == -ENOENT)
		rc = delete_links(&self->default_link, self->tag, err);
	bh_gate_close(&self->gate);
	if (!rc && bh_runtime_bpf(&self->runtime, false, path, sizeof(path), NULL) == 0)
		rc = bh_upgrade_unpin(path, true, err);
	bh_netlink_close(&self->switch_link);
	bh_cleanup_fd(&self->switch_namespace);
	self->switch_namespace = -1;
	return rc == -ENOENT ? 0 : rc;
}

static int reset(struct bh_platform *platform, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	int rc = take_away(self, err);

	return rc ? rc : bh_runtime_remove(&self->runtime, err);
}

/* The store no longer knows of what was made: after a reboot there is nothing, but a store may be lost. */
static int clear(struct bh_platform *platform, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	int rc = take_away(self, err);

	return rc ? rc : bh_runtime_clear(&self->runtime, "default", err);
}

/* --- open and close --- */

static void close_state(struct bh_platform *platform)
{
	struct bh_linux *self = bh_linux_of(platform);

	bh_gate_close(&self->gate);
	bh_netlink_close(&self->switch_link);
	bh_netlink_close(&self->default_link);
	bh_netlink_close(&self->filter_link);
	bh_cleanup_fd(&self->switch_namespace);
	bh_cleanup_fd(&self->default_namespace);
	bh_runtime_close(&self->runtime);
	bh_namespace_release();
	free(self);
}

static const struct bh_platform_ops ops = {
	.name = "linux",
	.compartment_create = bh_compartment_create,
	.compartment_remove = bh_compartment_remove,
	.compartment_cookie = bh_compartment_cookie,
	.compartment_path = bh_compartment_path,
	.compartment_open = bh_compartment_open,
	.switch_create = bh_switch_create,
	.switch_remove = bh_switch_remove,
	.switch_check = bh_switch_check,
	.switch_mend = bh_switch_mend,
	.uplink_apply = bh_uplink_apply,
	.uplink_intact = bh_uplink_intact,
	.uplink_mtu = bh_switch_mtu,
	.publish_add = bh_mapping_add,
	.publish_remove = bh_mapping_remove,
	.publish_check = bh_mapping_check,
	.nic_create = bh_nic_create,
	.nic_remove = bh_nic_remove,
	.table_publish = table_publish,
	.nic_check = bh_nic_check,
	.gates_begin = gates_begin,
	.gate_stage = gate_stage,
	.gates_commit = gates_commit,
	.switches_lost = switches_lost,
	.gate_outdated = gate_outdated,
	.gate_renew = gate_renew,
	.gate_retire = gate_retire,
	.gate_mend = gate_mend,
	.gate_read = gate_read,
	.table_remove = table_remove,
	.table_read = table_read,
	.flow_read = flow_read,
	.flow_each = flow_each,
	.counters_read = counters_read,
	.hits_each = hits_each,
	.hit_remove = hit_remove,
	.hit_move = hit_move,
	.share_read = share_read,
	.records = records,
	.now = now,
	.reset = reset,
	.clear = clear,
	.close = close_state,
};

static int check_caller(const char *tag, bool write, struct bh_error *err)
{
	size_t length = strlen(tag);

	if (!length || length > 6 || strspn(tag, "abcdefghijklmnopqrstuvwxyz0123456789") != length)
		return bh_error_set(err, -EINVAL, "the tag '%s' of a state must be 1 to 6 of a-z and 0-9",
		                    tag);
	if (geteuid() != 0)
		return bh_error_set(err, -EPERM, "bulkhead needs root (CAP_NET_ADMIN, CAP_SYS_ADMIN and "
		                                 "CAP_BPF) to %s namespaces, switches and gates",
		                    write ? "make" : "look into");
	return 0;
}

/* The pinned one, else the caller's, which a writer pins. */
static int open_default(struct bh_linux *self, struct bh_error *err)
{
	BH_AUTOFD int fd = bh_runtime_namespace(&self->runtime, "default");
	int rc = 0;

	if (fd == -ENOENT) {
		fd = bh_namespace_current(err);
		if (fd >= 0 && self->write)
			rc = bh_runtime_bind(&self->runtime, "default", fd, err);
		if (rc)
			return rc;
	}
	if (fd < 0)
		return bh_error_errno(err, fd, "cannot open the namespace of the default compartment in %s",
		                      self->runtime.path);
	self->default_namespace = bh_take_fd(&fd);
	return bh_linux_netlink(&self->default_link, self->default_namespace, err);
}

int bh_platform_linux_open(struct bh_platform **out, const char *tag, bool write,
                           struct bh_error *err)
{
	struct bh_linux *self;
	int rc = check_caller(tag, write, err);

	if (rc)
		return rc;
	self = calloc(1, sizeof(*self));
	if (!self)
		return bh_error_set(err, -ENOMEM, "there is not enough memory to open the state");
	bh_namespace_hold();
	self->platform.ops = &ops;
	self->write = write;
	self->default_namespace = self->switch_namespace = -1;
	snprintf(self->tag, sizeof(self->tag), "%s", tag);
	rc = bh_runtime_open(&self->runtime, tag, write, err);
	if (!rc)
		rc = open_default(self, err);
	if (rc)
		close_state(&self->platform);
	else
		*out = &self->platform;
	return rc;
}

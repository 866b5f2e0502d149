/*
 * platform.h - where compartments, switches and NICs really exist.
 *
 * Two platforms implement one table of operations: `linux` (namespaces, bridges, veth, tap, eBPF)
 * and `memory` (in process, without privileges). They know nothing of the store or of policies: the
 * host tells them what to make, with everything resolved. Making is not idempotent (what exists is
 * an error); removing is (what is gone is success), so that whatever a crash left half done can be
 * removed by the same call.
 *
 * Ids are those of the store and never reused. Strings are copied. All functions return 0 or a
 * negative errno with a sentence in `err`.
 */
#ifndef BH_PLATFORM_PLATFORM_H
#define BH_PLATFORM_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/error.h"
#include "../filter/address.h"
#include "../filter/conf.h"
#include "../filter/flow.h"
#include "../filter/record.h"
#include "../filter/table.h"

#define BH_NAME_MAX 63     /* network names */
#define BH_ID_MAX 255      /* container ids */
#define BH_IFNAME_SIZE 16  /* with NUL, as IFNAMSIZ */
#define BH_SWITCH_PORTS 1022 /* for endpoints: a bridge has 1023, and one is the host's */
#define BH_SUBNETS_MAX 8   /* of one network */
#define BH_DEFAULT_COMPARTMENT 1

enum bh_driver {
	BH_DRIVER_NAT,
	BH_DRIVER_L2BRIDGE,
	BH_DRIVER_TRANSPARENT,
	BH_DRIVER_INTERNAL,
	BH_DRIVER_OVERLAY,
	BH_DRIVER_COUNT
};

/* A subnet of a network; the gateway is the management vNIC's address in it. */
struct bh_subnet {
	struct bh_prefix prefix; /* network address and length */
	struct bh_address gateway;
	struct bh_address last; /* leased; the store's to know */
};

/* The switch of one network with its management vNIC. */
struct bh_switch {
	uint32_t id; /* the network's id: names bridge and management vNIC */
	char name[BH_NAME_MAX + 1];
	enum bh_driver driver;
	uint32_t mtu; /* 0 = as the uplink's, 1500 without one */
	size_t subnets_count;
	struct bh_subnet subnets[BH_SUBNETS_MAX];
};

enum bh_nic_kind {
	BH_NIC_HOST_VNIC, /* veth: the other end in the compartment */
	BH_NIC_SYNTHETIC, /* vmNIC: a persistent tap in the compartment, spliced to the veth */
};

/* One endpoint's NIC and its port on the switch. */
struct bh_nic {
	uint32_t endpoint; /* id: names the port */
	uint32_t network;
	uint32_t compartment;
	enum bh_nic_kind kind;
	char name[BH_IFNAME_SIZE]; /* in the compartment; "" = the first free ethN; filled by create */
	uint8_t mac[6];
	bool ipv6;          /* off: no IPv6 on the NIC at all */
	bool default_route; /* by the gateway of each family */
	uint32_t metric;    /* of it: 0 for the first endpoint of a compartment */
	uint32_t mtu;       /* the switch's */
	size_t addresses_count;
	struct bh_prefix addresses[BH_ADDRESSES_MAX]; /* with host bits */
	size_t gateways_count;
	struct bh_address gateways[BH_SUBNETS_MAX];
};

/* What the gate of a NIC enforces. The tables are published before the conf that names them. */
struct bh_gate {
	struct bh_conf conf;
	const struct bh_table *tables[2]; /* NULL where conf.tables[i].id is 0 or already published */
};

/*
 * A published port: what is sent to `port` of the host goes to an endpoint's instead. `address` is
 * the host's, or the family's unspecified one for all it has; `target` is of the same family.
 */
struct bh_mapping {
	uint32_t network; /* the target's */
	uint8_t protocol;
	uint16_t port;
	uint16_t target_port;
	struct bh_address address;
	struct bh_address target;
};

/* How all networks meet the world: the whole of it, replaced at once. */
struct bh_uplink {
	size_t switches_count;
	const struct bh_switch *switches;
	size_t mappings_count;
	const struct bh_mapping *mappings;
	size_t pairs_count; /* networks that may reach each other: both ids, in either order */
	const uint32_t (*pairs)[2];
};

typedef int bh_flow_visitor(const struct bh_flow_key *key, const struct bh_flow *flow, void *arg);
typedef int bh_hit_visitor(uint32_t endpoint, uint32_t rule, uint64_t packets, void *arg);

struct bh_platform;

struct bh_platform_ops {
	const char *name; /* "linux", "memory" */

	/* A compartment with a fresh namespace, or around the one that `adopt` (a path) names. */
	int (*compartment_create)(struct bh_platform *, uint32_t id, const char *adopt,
	                          struct bh_error *);
	int (*compartment_remove)(struct bh_platform *, uint32_t id, struct bh_error *);
	/* The identity of a namespace (unique for this boot), of a path or, with NULL, of compartment
	 * `id`. -ENOENT if it is gone. */
	int (*compartment_cookie)(struct bh_platform *, uint32_t id, const char *path, uint64_t *cookie,
	                          struct bh_error *);

	/* Where others find the namespace of a compartment that is not the default one. NULL in memory. */
	void (*compartment_path)(struct bh_platform *, uint32_t id, char *path, size_t size);
	/* A descriptor of the compartment's namespace, the caller's to close; -ENOTSUP in memory. */
	int (*compartment_open)(struct bh_platform *, uint32_t id, struct bh_error *);

	int (*switch_create)(struct bh_platform *, const struct bh_switch *, struct bh_error *);
	int (*switch_remove)(struct bh_platform *, uint32_t id, struct bh_error *);
	/* Whether the switch and the host's port on it are there and up. NULL where nobody can take them away. */
	int (*switch_check)(struct bh_platform *, const struct bh_switch *, struct bh_error *);
	/* Puts the host's port back on a switch that somebody took it off, then 1, or up, then 2. -ENODEV: the switch
	 * is gone. NULL where nobody can. */
	int (*switch_mend)(struct bh_platform *, const struct bh_switch *, struct bh_error *);
	/* Makes NAT, forwarding, published ports and what networks may reach each other be exactly
	 * this. */
	int (*uplink_apply)(struct bh_platform *, const struct bh_uplink *, struct bh_error *);
	/* Whether what was last applied is still there; another program may have taken it away. */
	bool (*uplink_intact)(struct bh_platform *);
	/* MTU of the interface the default route leaves by; 1500 without one. */
	uint32_t (*uplink_mtu)(struct bh_platform *);

	/* All or nothing, beside those that are there. */
	int (*publish_add)(struct bh_platform *, const struct bh_mapping *, size_t count,
	                   struct bh_error *);
	/* What the targets were saying to the world through any mapping ends too. */
	int (*publish_remove)(struct bh_platform *, const struct bh_mapping *, size_t count,
	                      struct bh_error *);
	/* -EADDRINUSE if a socket of the host holds the port, -EADDRNOTAVAIL if the address is not the
	 * host's, -EPROTONOSUPPORT if the protocol cannot be translated; the sentence says which and
	 * who. Changes nothing. */
	int (*publish_check)(struct bh_platform *, const struct bh_mapping *, struct bh_error *);

	/* Makes port and NIC with the gate in place before either link is up; fills nic->name. */
	int (*nic_create)(struct bh_platform *, struct bh_nic *, const struct bh_gate *,
	                  struct bh_error *);
	int (*nic_remove)(struct bh_platform *, const struct bh_nic *, struct bh_error *);
	/* Whether the NIC is where and what it was made to be; the error says what is not. */
	int (*nic_check)(struct bh_platform *, const struct bh_nic *, struct bh_error *);

	/* Publishes a table that no conf names yet. */
	int (*table_publish)(struct bh_platform *, uint32_t id, const struct bh_table *, struct bh_error *);
	/*
	 * Replaces what gates enforce: after a begin, staged for each, and with the commit in force for
	 * every packet of all of them at once. What was staged and never committed is forgotten.
	 */
	int (*gates_begin)(struct bh_platform *, struct bh_error *);
	int (*gate_stage)(struct bh_platform *, const struct bh_conf *, struct bh_error *);
	int (*gates_commit)(struct bh_platform *, struct bh_error *);
	/* Whether the switches are out of reach, although the host is the same: NULL where that cannot be. */
	bool (*switches_lost)(struct bh_platform *);
	/* 1 if another, earlier version's gate decides, or one that is out of reach; -EPROTO if a later one's.
	 * Then every table is to be published and every gate renewed, and the old set retired. NULL where there
	 * are no versions. */
	int (*gate_outdated)(struct bh_platform *, struct bh_error *);
	int (*gate_renew)(struct bh_platform *, const struct bh_conf *, struct bh_error *);
	int (*gate_retire)(struct bh_platform *, struct bh_error *);
	/* Puts the gate back on a port that somebody took it off, then 1, or the port up, then 2. -ENODEV: the port is
	 * gone, and stays so. NULL where nobody can. */
	int (*gate_mend)(struct bh_platform *, uint32_t endpoint, struct bh_error *);
	int (*gate_read)(struct bh_platform *, uint32_t endpoint, struct bh_conf *, struct bh_error *);
	/* Forgets a published table that no conf names any more. */
	int (*table_remove)(struct bh_platform *, uint32_t id, struct bh_error *);
	/* A copy of a table's bytes, the caller's to free(). */
	int (*table_read)(struct bh_platform *, const struct bh_table_ref *, void **bytes, struct bh_error *);

	/* Reads without changing. `each` returns non-zero to stop, which is then returned. */
	int (*flow_read)(struct bh_platform *, const struct bh_flow_key *, struct bh_flow *);
	int (*flow_each)(struct bh_platform *, bh_flow_visitor *, void *, struct bh_error *);
	int (*counters_read)(struct bh_platform *, uint32_t endpoint, struct bh_counters *,
	                     struct bh_error *);
	int (*hits_each)(struct bh_platform *, bh_hit_visitor *, void *, struct bh_error *);
	/* Forgets what one rule decided at one endpoint. */
	int (*hit_remove)(struct bh_platform *, uint32_t endpoint, uint32_t rule, struct bh_error *);
	/* Adds it to what another rule decided, and forgets it. */
	int (*hit_move)(struct bh_platform *, uint32_t endpoint, uint32_t from, uint32_t to, struct bh_error *);
	/* What a compartment is charged for flows, and the room that all borrow from. */
	int (*share_read)(struct bh_platform *, uint32_t compartment, struct bh_share *, struct bh_room *,
	                  struct bh_error *);
	/* What was dropped, audited or logged, as it is being written; NULL where no gate ever was. */
	const struct bh_circle *(*records)(struct bh_platform *);
	uint64_t (*now)(struct bh_platform *); /* the clock flows are stamped with, ns */

	/* Removes everything that carries this state's name. */
	int (*reset)(struct bh_platform *, struct bh_error *);
	/* The same, but the state goes on, with the default compartment it has. */
	int (*clear)(struct bh_platform *, struct bh_error *);
	void (*close)(struct bh_platform *);
};

struct bh_platform {
	const struct bh_platform_ops *ops;
};

/*
 * `tag` names all kernel objects of one state: 1 to 6 of [a-z0-9], made from the state directory.
 * With `write` false nothing is made that is missing, and operations that change fail with -EROFS.
 * The caller's network namespace is the default compartment if the state has none yet.
 */
int bh_platform_linux_open(struct bh_platform **out, const char *tag, bool write,
                           struct bh_error *err);
int bh_platform_memory_open(struct bh_platform **out, struct bh_error *err);

static inline void bh_platform_close(struct bh_platform **platform)
{
	if (*platform)
		(*platform)->ops->close(*platform);
	*platform = NULL;
}

#endif

/*
 * host.h - one host: the store's intent and the platform's reality, kept the same.
 *
 * A change is a transaction: bh_host_begin() takes the lock and mends what a crash left,
 * bh_*_add/remove() write what is wanted, bh_host_commit() commits the intent, makes it real, and
 * marks it done; what fails is undone. Reading takes no lock.
 */
#ifndef BH_HOST_HOST_H
#define BH_HOST_HOST_H

#include "../filter/evaluate.h"
#include "../platform/lab.h"
#include "../platform/platform.h"
#include "../store/store.h"
#include "columns.h"

struct bh_host;

struct bh_host_options {
	bool linux_platform;  /* else memory */
	const char *state;    /* directory; linux only */
	bool write;           /* may make and change */
	bool check;           /* reads all of the store first; a change looks at every port */
	bool discard;         /* to be reset: sets aside a store of a later version, too, and tells of nothing lost */
	struct bh_lab *lab;   /* not owned; NULL = none */
};

/* A damaged store is set aside and begun anew if `write`; the next change removes what was made. */
int bh_host_open(struct bh_host **out, const struct bh_host_options *options, struct bh_error *err);
void bh_host_close(struct bh_host **host);
struct bh_platform *bh_host_platform(struct bh_host *host);
struct bh_store *bh_host_store(struct bh_host *host);

/* -EBUSY after 10 s, naming who holds the lock. */
int bh_host_begin(struct bh_host *host, struct bh_error *err);
int bh_host_commit(struct bh_host *host, struct bh_error *err);
void bh_host_abort(struct bh_host *host);
/*
 * From here to the end of it all that is read of the store is of one moment, whoever changes it. May be nested,
 * and stand in a change; no change begins in it.
 */
int bh_host_snapshot(struct bh_host *host, struct bh_error *err);
void bh_host_snapshot_end(struct bh_host *host);
/* Removes everything of this state, the state's rows too. Not inside a change. */
int bh_host_reset(struct bh_host *host, struct bh_error *err);

/* All texts of the specs are borrowed for the call. */
struct bh_network_spec {
	const char *name;
	const char *driver;
	size_t subnets_count;
	const char *subnets[BH_SUBNETS_MAX];
	size_t gateways_count;
	const char *gateways[BH_SUBNETS_MAX]; /* default: the first host of each subnet */
	uint32_t mtu;      /* 0 = the uplink's */
	const char *dns;   /* addresses with commas; "" = the gateways */
	const char *reach; /* names with commas */
};

int bh_network_add(struct bh_host *host, const struct bh_network_spec *spec, struct bh_error *err);
int bh_network_load(struct bh_host *host, uint32_t id, struct bh_switch *network,
                    struct bh_error *err);
/* Whether one item of `reach` names the network: its name, or `*`. */
bool bh_reach_names(const char *item, size_t length, const char *name);
/* Whether its switch and the host's port on it are there and up. */
int bh_network_check(struct bh_host *host, const char *name, struct bh_error *err);
int bh_network_remove(struct bh_host *host, const char *name, struct bh_error *err);

struct bh_property {
	const char *kind; /* "annotation" or "label" */
	const char *key;
	const char *value;
};

struct bh_publish {
	const char *address; /* NULL = all */
	uint16_t host;
	uint16_t container;
	const char *protocol;
};

struct bh_container_spec {
	const char *id;
	const char *name;
	const char *type;
	const char *policies;
	const char *policy;
	const char *netns; /* NULL = a fresh namespace */
	const char *owner; /* who takes it away: "hook", "cni" or "hand" (NULL) */
	size_t properties_count;
	const struct bh_property *properties;
	size_t published_count;
	const struct bh_publish *published;
};

int bh_container_add(struct bh_host *host, const struct bh_container_spec *spec,
                     struct bh_error *err);
int bh_container_remove(struct bh_host *host, const char *id, struct bh_error *err);
/* What handlers were told last of it and its endpoints: "attached", "started" or "stopped". */
int bh_container_set_phase(struct bh_host *host, const char *id, const char *phase,
                           struct bh_error *err);
/* -ENOENT, saying why, if its namespace is no longer where its runtime said, or is no longer ours;
 * with `netns` also if it is not the one at that path. */
int bh_container_check(struct bh_host *host, const char *id, const char *netns, struct bh_error *err);

/* A container that a reboot took is told of no more. */
int bh_container_forget_lost(struct bh_host *host, const char *id, struct bh_error *err);

struct bh_endpoint_spec {
	const char *container;
	const char *network;
	size_t addresses_count;
	const char *addresses[BH_ADDRESSES_MAX];
	const char *interface; /* "" = the first free ethN */
	const char *kind;      /* NULL = as the type asks; "vNIC" or "vmNIC" */
	const char *mac;       /* NULL = made from the first address */
	const char *attachment; /* name of the CNI configuration that asks; NULL = none */
	uint32_t flags;        /* enum bh_conf_flag */
	uint32_t timeouts[BH_TIMEOUT_COUNT];
	uint32_t flows_limit;
	const char *reach; /* networks that its network may reach, with commas; NULL = none */
	const char *origin_in; /* FILE:LINE of the defaults */
	const char *origin_out;
	size_t rules_count;
	const struct bh_rule *rules; /* shared with other endpoints that have the same */
};

int bh_endpoint_add(struct bh_host *host, const struct bh_endpoint_spec *spec, uint32_t *id,
                    struct bh_error *err);
/* Another policy for an endpoint that is there: rules, options and defaults of the spec replace what
 * it has, its own rules too. Its flows are asked again on their next packet. */
int bh_endpoint_change(struct bh_host *host, uint32_t endpoint, const struct bh_endpoint_spec *spec,
                       struct bh_error *err);
/* Whether an endpoint whose row says what it is to have still has what it had (table `before`): a change goes on,
 * or was cut short. A change of this host's own is asked about what it writes. */
bool bh_endpoint_has_former(struct bh_host *host, uint32_t endpoint);
/* Another set, which the container keeps. */
int bh_container_set_policies(struct bh_host *host, const char *id, const char *policies,
                              struct bh_error *err);
/* The container stays. */
int bh_endpoint_remove(struct bh_host *host, uint32_t endpoint, struct bh_error *err);
/* To one that is there already too. */
int bh_endpoint_add_rules(struct bh_host *host, uint32_t endpoint, const struct bh_rule *rules,
                          size_t count, struct bh_error *err);

/* What the endpoint's gate enforces, from the platform, with the rules from the store. `rulesets`
 * are the shared one and its own; both are the caller's to free. */
int bh_endpoint_gate(struct bh_host *host, uint32_t endpoint, struct bh_conf *conf,
                     struct bh_ruleset *rulesets[2], struct bh_error *err);
/* Whether the NIC is where and what it was made to be. */
int bh_endpoint_check(struct bh_host *host, uint32_t endpoint, struct bh_error *err);
/* The addresses leased to it: IPv4's first, then as they are written. */
int bh_endpoint_addresses(struct bh_host *host, uint32_t endpoint, struct bh_prefix addresses[BH_ADDRESSES_MAX],
                          size_t *count, struct bh_error *err);
/* The NIC as the platform knows it. */
int bh_endpoint_nic(struct bh_host *host, uint32_t endpoint, struct bh_nic *nic,
                    struct bh_error *err);

extern const char *const bh_driver_names[BH_DRIVER_COUNT];
int bh_driver_parse(const char *name, enum bh_driver *driver, struct bh_error *err);

#endif

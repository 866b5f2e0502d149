/*
 * internal.h - what the files of host/ share.
 */
#ifndef BH_HOST_INTERNAL_H
#define BH_HOST_INTERNAL_H

#include "host.h"

struct bh_host {
	struct bh_platform *platform; /* owned */
	struct bh_store *store;       /* owned */
	char state[256];              /* "" in memory */
	int lock;                     /* descriptor of the lock file, -1 = not held */
	bool linux_platform;
	bool write;
	bool check;   /* opened to find what is amiss */
	bool discard; /* opened to be taken away */
	bool changing;
	uint32_t snapshots; /* begun and not ended */
	bool ready; /* linux, read-only: false while the state was never made */
	bool networked; /* there was a network that is `ready` when the boot was last asked for */
	struct bh_lab *lab;
};

/* lock.c */
int bh_lock_take(struct bh_host *host, struct bh_error *err);
void bh_lock_release(struct bh_host *host);

/* pending.c: rows whose `status` is not `ready`, and tables that are `loose`. */
enum bh_pending_kind {
	BH_PENDING_NETWORK,
	BH_PENDING_COMPARTMENT,
	BH_PENDING_CONTAINER,
	BH_PENDING_ENDPOINT,
	BH_PENDING_TABLE,
};

struct bh_pending {
	size_t count;
	struct bh_pending_row *rows;
};

/* Replaces what is in *pending. */
int bh_pending_load(struct bh_host *host, struct bh_pending *pending, struct bh_error *err);
void bh_pending_clear(struct bh_pending *pending);
bool bh_pending_any(const struct bh_pending *pending, enum bh_pending_kind kind, const char *status);
/* Whether there is an endpoint of this status whose policy lets its network reach others. */
bool bh_pending_reaches(const struct bh_pending *pending, const char *status);
/* How many rows are to be made or to be changed. */
size_t bh_pending_undoable(const struct bh_pending *pending);
int bh_pending_each(struct bh_host *host, const struct bh_pending *pending, enum bh_pending_kind kind,
                    const char *status, int (*act)(struct bh_host *, uint32_t, struct bh_error *),
                    struct bh_error *err);

#define BH_AUTOPENDING __attribute__((cleanup(bh_pending_clear)))

/* realize.c: pending rows to reality, or their removal. */
int bh_realize_create(struct bh_host *host, struct bh_error *err);
int bh_realize_remove(struct bh_host *host, bool half_made_too, struct bh_error *err);
/* Tells the platform of all networks that are to be there, and the ports published on them. */
int bh_realize_uplink(struct bh_host *host, struct bh_error *err);
/* Whether what networks reach may have become other by endpoints that are being made or changed. */
bool bh_realize_reaches(struct bh_host *host, const struct bh_pending *pending);
/* Whether what is changing at endpoints is remembered. */
#define BH_ANY_BEFORE "SELECT EXISTS(SELECT 1 FROM before)"
/* Forgets tables that no endpoint names any more. What fails is tried again by the next change. */
void bh_tables_collect(struct bh_host *host);

/* Calls for each id that the query selects. */
int bh_realize_each(struct bh_host *host, const char *sql,
                    int (*act)(struct bh_host *, uint32_t, struct bh_error *), struct bh_error *err);
/* Compiles a table that is not published yet; *out stays NULL for one that is. */
int bh_realize_compile(struct bh_host *host, uint32_t id, struct bh_table **out,
                       struct bh_error *err);

/* Compiles a table and puts it where gates find it. */
int bh_realize_publish(struct bh_host *host, uint32_t id, struct bh_error *err);

/* reload.c: keeps what is in force at an endpoint that is about to be changed. */
int bh_reload_remember(struct bh_host *host, uint32_t endpoint, struct bh_error *err);
/* Makes `changing` endpoints real, inside the transaction of bh_realize_create(). */
int bh_reload_realize(struct bh_host *host, const struct bh_pending *pending, struct bh_error *err);
/* Makes them what they were, after that failed. */
int bh_reload_revert(struct bh_host *host, struct bh_error *err);
/* The same, if it failed before a store that did not take it; else nothing. */
int bh_reload_recover(struct bh_host *host, struct bh_error *err);
/* Keeps names and origins of rules about to be deleted, for what was recorded about them. */
int bh_past_keep(struct bh_host *host, const char *unused_tables, struct bh_error *err);

/* hits.c: what rules decided at `changing` endpoints goes to those that say the same now; where none
 * does, it is forgotten. */
void bh_hits_follow(struct bh_host *host);
/* Forgets it of an endpoint that is gone, but for its row. */
void bh_hits_forget(struct bh_host *host, uint32_t endpoint);

/* reboot.c: if the kernel's state is not the store's any more, begins anew. With the lock held. */
int bh_reboot_check(struct bh_host *host, struct bh_error *err);

/* upgrade.c: takes over the gate of an earlier version, if there is one. */
int bh_upgrade_check(struct bh_host *host, struct bh_error *err);
/* Looks at each network whether the host is on it, and at each port whether the gate is. */
int bh_upgrade_mend(struct bh_host *host, struct bh_error *err);

/* Refuses outside a change. */
int bh_host_require_change(struct bh_host *host, struct bh_error *err);

int bh_guid_new(char guid[40], struct bh_error *err);

/* network.c */
int bh_network_words(struct bh_host *host, uint32_t id, struct bh_words *words,
                     struct bh_error *err);

/* tables.c */
int bh_rules_store(struct bh_host *host, uint32_t network, const char *hash,
                   const struct bh_rule *rules, size_t count, uint32_t *table, struct bh_error *err);
int bh_rules_append(struct bh_host *host, uint32_t table, const struct bh_rule *rules, size_t count,
                    struct bh_error *err);
/* A new one, of this endpoint alone. */
int bh_rules_store_own(struct bh_host *host, uint32_t network, uint32_t endpoint, uint32_t *table,
                       struct bh_error *err);
/* Those of a table (0 = none) that endpoints of this network have. */
int bh_rules_load(struct bh_host *host, uint32_t table, uint32_t network, struct bh_ruleset **out,
                  struct bh_error *err);
void bh_rules_hash(uint32_t network, const struct bh_rule *rules, size_t count, char hash[40]);

/* endpoint.c */
void bh_timeouts_format(const uint32_t timeouts[BH_TIMEOUT_COUNT], char *text, size_t size);
/* All that the platform and the gate need to know of an endpoint. */
struct bh_endpoint_row {
	struct bh_nic nic;
	struct bh_conf conf;
	enum bh_driver driver; /* of its network */
	char container[BH_ID_MAX + 1];
};

int bh_endpoint_load(struct bh_host *host, uint32_t endpoint, struct bh_endpoint_row *row,
                     struct bh_error *err);
int bh_endpoint_conf(struct bh_host *host, uint32_t endpoint, struct bh_conf *conf,
                     struct bh_error *err);

#endif

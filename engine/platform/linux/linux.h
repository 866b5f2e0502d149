/*
 * linux.h - what the files of this platform share: one opened state.
 *
 * Namespaces, sockets and the gate are opened on first use and kept; what is missing is made only
 * for a writer.
 */
#ifndef BH_PLATFORM_LINUX_LINUX_H
#define BH_PLATFORM_LINUX_LINUX_H

#include "../../gate/gate.h"
#include "../platform.h"
#include "link.h"
#include "namespace.h"
#include "netlink.h"
#include "runtime.h"

/* Room for any name in the runtime directory: "c4294967295". */
#define BH_PIN_SIZE 16

struct bh_linux {
	struct bh_platform platform; /* first: the two are cast into each other */
	char tag[8];
	bool write;
	struct bh_runtime runtime;
	int default_namespace;
	int switch_namespace; /* -1 = not opened yet */
	struct bh_netlink default_link; /* sockets in these two */
	struct bh_netlink switch_link;
	struct bh_netlink filter_link; /* NETLINK_NETFILTER in the first; opened by bh_linux_filter() */
	struct bh_gate_kernel *gate; /* NULL = not opened yet */
};

static inline struct bh_linux *bh_linux_of(struct bh_platform *platform)
{
	return (struct bh_linux *)platform;
}

/* -EROFS with a sentence unless the state was opened for writing. */
int bh_linux_writable(const struct bh_linux *self, struct bh_error *err);
/* Opens the switch namespace and its socket; with `make` makes it. -ENOENT if there is none. */
int bh_linux_switches(struct bh_linux *self, bool make, struct bh_error *err);
/* Opens the socket of nftables and conntrack in the default compartment. */
int bh_linux_filter(struct bh_linux *self, struct bh_error *err);
/* Opens the gate; with `make` loads it. -ENOENT if there is none. */
int bh_linux_gate(struct bh_linux *self, bool make, struct bh_error *err);
/* A descriptor of the compartment's namespace, the caller's to close, or a negative errno. */
int bh_linux_compartment(struct bh_linux *self, uint32_t id, struct bh_error *err);
/* A routing socket made in that namespace. */
int bh_linux_netlink(struct bh_netlink *netlink, int namespace, struct bh_error *err);

#endif

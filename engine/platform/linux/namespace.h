/*
 * namespace.h - network namespaces, held by descriptor.
 *
 * The process is single-threaded: a visit moves it into a namespace and, when the visit ends, back
 * to where it was. Only what the kernel ties to the current namespace needs one: sysctls, tc, tun,
 * making sockets.
 */
#ifndef BH_PLATFORM_LINUX_NAMESPACE_H
#define BH_PLATFORM_LINUX_NAMESPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "../../base/error.h"

/* Returns a descriptor or a negative errno. -ENOENT: nothing there; -EINVAL: something else. */
int bh_namespace_open(int directory, const char *path);
int bh_namespace_current(struct bh_error *err);
bool bh_namespace_same(int a, int b);

/* Zeroed = not visiting. */
struct bh_visit {
	int home; /* descriptor, plus one */
};

int bh_namespace_enter(struct bh_visit *visit, int namespace, struct bh_error *err);
/* A fresh namespace instead. */
int bh_namespace_enter_new(struct bh_visit *visit, struct bh_error *err);
/* Aborts if there is no way home: everything after it would happen in the wrong place. */
void bh_namespace_leave(struct bh_visit *visit);
#define BH_AUTOVISIT __attribute__((cleanup(bh_namespace_leave)))

/* While held, the way home is kept open between visits, which are many in one change. */
void bh_namespace_hold(void);
void bh_namespace_release(void);

/* Unique for this boot. */
int bh_namespace_cookie(int namespace, uint64_t *cookie, struct bh_error *err);

/*
 * Sysctls of the current namespace; `path` is below /proc/sys, with slashes. Reading returns
 * -ENOENT if there is none; writing what does not exist is success with `optional`.
 */
int bh_sysctl_read(const char *path, char *value, unsigned size, struct bh_error *err);
int bh_sysctl_write(const char *path, const char *value, bool optional, struct bh_error *err);
/* net/<family>/conf/<interface>/<name>; `family` is 4 or 6, and a kernel without IPv6 has none. */
int bh_sysctl_interface(int family, const char *interface, const char *name, const char *value,
                        struct bh_error *err);
/*
 * IPv6's setting of a NIC, whose name other namespaces have too. What a procfs knows of them all hangs in one
 * chain, which with a thousand compartments takes a millisecond to go through: so by one of our own.
 */
int bh_sysctl_nic(const char *interface, const char *name, const char *value, struct bh_error *err);

#endif

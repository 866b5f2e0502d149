/*
 * compartment.c - see compartment.h. A fresh one is configured before it gets its name, so a name
 * always leads to a whole compartment.
 */
#include "compartment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "../../base/cleanup.h"
#include "linux.h"

static int make_fresh(struct bh_error *err)
{
	BH_AUTOVISIT struct bh_visit visit = {0};
	int rc = bh_namespace_enter_new(&visit, err);

	return rc ? rc : bh_namespace_current(err);
}

struct search {
	int top;       /* the directory of all states */
	int namespace; /* the one asked about */
};

/* Stops at a state whose switches or whose host stand in the namespace. */
static int is_of_state(const char *tag, void *arg)
{
	static const char *const names[] = {"default", "switch"};
	const struct search *search = arg;
	int found = 0;

	for (size_t i = 0; i < 2 && !found; i++) {
		char path[BH_PIN_SIZE + 8];
		BH_AUTOFD int fd = -1;

		snprintf(path, sizeof(path), "%.6s/%s", tag, names[i]);
		fd = bh_namespace_open(search->top, path);
		found = fd >= 0 && bh_namespace_same(fd, search->namespace);
	}
	return found;
}

/*
 * Whether others than a container live there: the first process of the machine, whoever called us, or
 * another state. They need not be in our default compartment, and are not to be given a NIC either.
 */
static bool is_inhabited(struct bh_linux *self, int namespace)
{
	static const char *const paths[] = {"/proc/1/ns/net", "/proc/self/ns/net"};
	struct search search;
	BH_AUTOFD int top = -1;

	for (size_t i = 0; i < 2; i++) {
		BH_AUTOFD int fd = bh_namespace_open(AT_FDCWD, paths[i]);

		if (fd >= 0 && bh_namespace_same(fd, namespace))
			return true;
	}
	top = bh_runtime_top(&self->runtime);
	search = (struct search){top, namespace};
	return top >= 0 && bh_runtime_states(&self->runtime, is_of_state, &search) != 0;
}

static int adopt_path(struct bh_linux *self, const char *path, struct bh_error *err)
{
	BH_AUTOFD int fd = bh_namespace_open(AT_FDCWD, path);

	if (fd == -EINVAL)
		return bh_error_set(err, fd, "%s is not a network namespace", path);
	if (fd < 0)
		return bh_error_errno(err, fd, "cannot open the network namespace %s", path);
	if (bh_namespace_same(fd, self->default_namespace))
		return bh_error_set(err, -EINVAL, "%s is the host's own network namespace: a container in "
		                                  "the host's own namespace cannot be isolated", path);
	if (bh_linux_switches(self, false, NULL) == 0 && bh_namespace_same(fd, self->switch_namespace))
		return bh_error_set(err, -EINVAL, "%s is the namespace of bulkhead's switches; a container "
		                                  "cannot live in it", path);
	if (is_inhabited(self, fd))
		return bh_error_set(err, -EINVAL, "%s is the network namespace of a host, if not of this state's: "
		                                  "a container in it cannot be isolated", path);
	return bh_take_fd(&fd);
}

static int loopback_up(int namespace, struct bh_error *err)
{
	BH_AUTONETLINK struct bh_netlink netlink = {0};
	int rc = bh_linux_netlink(&netlink, namespace, err);

	if (rc)
		return rc;
	bh_link_add_up(&netlink, 1, "lo"); /* the loopback's index is 1 in every namespace */
	return bh_netlink_run(&netlink, NULL, NULL, err);
}

static int share_put(struct bh_linux *self, uint32_t id, struct bh_error *err)
{
	int rc = bh_linux_gate(self, true, err);

	return rc ? rc : bh_gate_share_put(self->gate, id, err);
}

int bh_compartment_create(struct bh_platform *platform, uint32_t id, const char *adopt,
                          struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	char name[BH_PIN_SIZE];
	BH_AUTOFD int fd = -1;
	int rc = bh_linux_writable(self, err), known;

	if (rc)
		return rc;
	snprintf(name, sizeof(name), "c%u", id);
	known = id == BH_DEFAULT_COMPARTMENT ? -EEXIST : bh_runtime_namespace(&self->runtime, name);
	if (known >= 0)
		close(known);
	if (known < 0 && known != -ENOENT && known != -EEXIST)
		return bh_error_errno(err, known, "cannot make compartment %u as %s/%s", id, self->runtime.path, name);
	if (known != -ENOENT)
		return bh_error_set(err, -EEXIST, "compartment %u already exists", id);
	fd = adopt ? adopt_path(self, adopt, err) : make_fresh(err);
	if (fd < 0)
		return fd;
	rc = loopback_up(fd, err);
	if (!rc)
		rc = share_put(self, id, err);
	if (!rc)
		rc = bh_runtime_bind(&self->runtime, name, fd, err);
	if (rc && self->gate)
		bh_gate_share_remove(self->gate, id, NULL);
	if (rc)
		bh_runtime_unbind(&self->runtime, name, NULL);
	return rc;
}

int bh_compartment_remove(struct bh_platform *platform, uint32_t id, struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	char name[BH_PIN_SIZE];
	int rc = bh_linux_writable(self, err);

	if (rc)
		return rc;
	if (id == BH_DEFAULT_COMPARTMENT)
		return bh_error_set(err, -EPERM, "compartment 1 is the host's own and cannot be removed");
	snprintf(name, sizeof(name), "c%u", id);
	rc = bh_runtime_unbind(&self->runtime, name, err);
	if (!rc)
		rc = bh_linux_gate(self, false, err);
	if (!rc)
		rc = bh_gate_share_remove(self->gate, id, err);
	return rc == -ENOENT ? 0 : rc;
}

int bh_compartment_cookie(struct bh_platform *platform, uint32_t id, const char *path,
                          uint64_t *cookie, struct bh_error *err)
{
	BH_AUTOFD int fd = path ? bh_namespace_open(AT_FDCWD, path)
	                        : bh_linux_compartment(bh_linux_of(platform), id, err);

	if (fd < 0 && path)
		return bh_error_errno(err, fd, "cannot open the network namespace %s", path);
	return fd < 0 ? fd : bh_namespace_cookie(fd, cookie, err);
}

void bh_compartment_path(struct bh_platform *platform, uint32_t id, char *path, size_t size)
{
	snprintf(path, size, "%s/c%u", bh_linux_of(platform)->runtime.path, id);
}

int bh_compartment_open(struct bh_platform *platform, uint32_t id, struct bh_error *err)
{
	return bh_linux_compartment(bh_linux_of(platform), id, err);
}

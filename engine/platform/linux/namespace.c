/*
 * namespace.c - see namespace.h.
 */
#include "namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>
#include <linux/nsfs.h>

#include "../../base/cleanup.h"
#include "../../base/log.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14; Debian 12's libc knows it only in asm/socket.h */
#endif

int bh_namespace_open(int directory, const char *path)
{
	/* A path of somebody's may be a link, as /proc/PID/ns/net is; what is named in a directory is there. */
	int follow = directory == AT_FDCWD ? 0 : O_NOFOLLOW;
	BH_AUTOFD int fd = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | follow);
	struct statfs fs;

	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &fs))
		return -errno;
	if (fs.f_type != NSFS_MAGIC || ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return -EINVAL;
	return bh_take_fd(&fd);
}

int bh_namespace_current(struct bh_error *err)
{
	int fd = bh_namespace_open(AT_FDCWD, "/proc/thread-self/ns/net");

	if (fd < 0)
		return bh_error_errno(err, fd, "cannot open the current network namespace in /proc");
	return fd;
}

bool bh_namespace_same(int a, int b)
{
	struct stat one, other;

	return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_dev == other.st_dev &&
	       one.st_ino == other.st_ino;
}

/* Where the process is when it visits nobody: nothing else moves it. Open while it visits, and while held. */
static int base = -1;
static unsigned depth, holders;

static void drop_base(void)
{
	if (depth || holders || base < 0)
		return;
	close(base);
	base = -1;
}

void bh_namespace_hold(void)
{
	holders++;
}

void bh_namespace_release(void)
{
	holders--;
	drop_base();
}

static int enter(struct bh_visit *visit, int namespace, struct bh_error *err)
{
	BH_AUTOFD int home = depth || base < 0 ? bh_namespace_current(err) : -1;
	int rc;

	if (home < 0 && (depth || base < 0))
		return home;
	if (!depth && base < 0)
		base = bh_take_fd(&home);
	rc = namespace < 0 ? unshare(CLONE_NEWNET) : setns(namespace, CLONE_NEWNET);
	if (rc)
		drop_base();
	if (rc)
		return bh_error_errno(err, -errno, namespace < 0 ? "cannot make a network namespace"
		                                                 : "cannot enter a network namespace");
	visit->home = depth++ ? bh_take_fd(&home) + 1 : base + 1;
	return 0;
}

int bh_namespace_enter(struct bh_visit *visit, int namespace, struct bh_error *err)
{
	if (namespace < 0)
		return bh_error_set(err, -ENOENT, "there is no such network namespace");
	return enter(visit, namespace, err);
}

int bh_namespace_enter_new(struct bh_visit *visit, struct bh_error *err)
{
	return enter(visit, -1, err);
}

void bh_namespace_leave(struct bh_visit *visit)
{
	if (!visit->home)
		return;
	if (setns(visit->home - 1, CLONE_NEWNET)) {
		bh_log(BH_LOG_ERROR, "cannot return to the network namespace this process came from: %s",
		       strerror(errno));
		abort();
	}
	depth--;
	if (visit->home - 1 != base) {
		close(visit->home - 1);
		if (!depth) { /* visits that ended in another order than they began: we are not there */
			close(base);
			base = -1;
		}
	}
	visit->home = 0;
	drop_base();
}

int bh_namespace_cookie(int namespace, uint64_t *cookie, struct bh_error *err)
{
	BH_AUTOVISIT struct bh_visit visit = {0};
	BH_AUTOFD int sock = -1;
	uint64_t value;
	socklen_t size = sizeof(value);
	int rc = bh_namespace_enter(&visit, namespace, err);

	if (rc)
		return rc;
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sock < 0 || getsockopt(sock, SOL_SOCKET, SO_NETNS_COOKIE, &value, &size))
		return bh_error_errno(err, -errno, "cannot read the cookie of a network namespace");
	*cookie = value;
	return 0;
}

/* From the procfs `root`, or from the one that is mounted if it is -1. */
static int open_sysctl(int root, const char *path, int flags)
{
	char full[256];
	int fd;

	snprintf(full, sizeof(full), "%ssys/%s", root < 0 ? "/proc/" : "", path);
	fd = openat(root, full, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* A procfs that nobody else has; -1 where the kernel does not give us one. */
static int new_procfs(void)
{
	BH_AUTOFD int context = fsopen("proc", FSOPEN_CLOEXEC);

	if (context < 0 || fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return -1;
	return fsmount(context, FSMOUNT_CLOEXEC, 0);
}

int bh_sysctl_read(const char *path, char *value, unsigned size, struct bh_error *err)
{
	BH_AUTOFD int fd = open_sysctl(-1, path, O_RDONLY);
	ssize_t n;

	if (fd == -ENOENT)
		return fd;
	n = fd < 0 ? -1 : read(fd, value, size - 1);
	if (n < 0)
		return bh_error_errno(err, fd < 0 ? fd : -errno, "cannot read /proc/sys/%s", path);
	value[n] = '\0';
	value[strcspn(value, "\n")] = '\0';
	return 0;
}

static int write_sysctl(int root, const char *path, const char *value, bool optional, struct bh_error *err)
{
	BH_AUTOFD int fd = open_sysctl(root, path, O_WRONLY);

	if (fd == -ENOENT && optional)
		return 0;
	if (fd < 0)
		return bh_error_errno(err, fd, "cannot write to /proc/sys/%s", path);
	if (write(fd, value, strlen(value)) < 0)
		return bh_error_errno(err, -errno, "cannot write %s to /proc/sys/%s", value, path);
	return 0;
}

int bh_sysctl_write(const char *path, const char *value, bool optional, struct bh_error *err)
{
	return write_sysctl(-1, path, value, optional, err);
}

int bh_sysctl_interface(int family, const char *interface, const char *name, const char *value,
                        struct bh_error *err)
{
	char path[128];

	snprintf(path, sizeof(path), "net/ipv%d/conf/%s/%s", family, interface, name);
	return bh_sysctl_write(path, value, family == 6, err);
}

int bh_sysctl_nic(const char *interface, const char *name, const char *value, struct bh_error *err)
{
	BH_AUTOFD int root = new_procfs();
	char path[128];

	snprintf(path, sizeof(path), "net/ipv6/conf/%s/%s", interface, name);
	return write_sysctl(root, path, value, true, err);
}

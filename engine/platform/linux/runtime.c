/*
 * runtime.c - see runtime.h.
 *
 * Every step may be the last before a kill: a directory without its mount, a mount point without
 * its namespace and a mount done twice are all states that the next call takes up.
 */
#include "runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/magic.h>

#include "../../base/cleanup.h"
#include "namespace.h"

#define TOP "/run/bulkhead"
#define ANCESTORS_MAX 1024 /* processes deep */

/* --- the mount namespace that counts --- */

static int open_of(pid_t pid, const char *what, int flags)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	return open(path, flags | O_CLOEXEC);
}

/* 0 if nobody knows. */
static pid_t parent_of(pid_t pid)
{
	char line[512];
	BH_AUTOFD int fd = open_of(pid, "stat", O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
	const char *rest;
	int parent = 0;

	line[n > 0 ? n : 0] = '\0';
	rest = strrchr(line, ')'); /* the name before it may hold anything */
	return rest && sscanf(rest + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

/* The mount namespace of pid 1, else of the outermost ancestor we may look into, else our own; and whose it is. */
static int open_anchor(pid_t *whose)
{
	pid_t lineage[ANCESTORS_MAX], pid = getppid();
	int fd = open_of(1, "ns/mnt", O_RDONLY), n = 0;

	*whose = 1;
	if (fd >= 0)
		return fd;
	for (lineage[n++] = getpid(); pid > 1 && n < ANCESTORS_MAX; pid = parent_of(pid))
		lineage[n++] = pid;
	while (fd < 0 && n > 0) {
		*whose = lineage[--n];
		fd = open_of(*whose, "ns/mnt", O_RDONLY);
	}
	return fd;
}

static int open_mounts(struct bh_runtime *runtime, struct bh_error *err)
{
	pid_t pid;
	BH_AUTOFD int theirs = open_anchor(&pid);
	BH_AUTOFD int ours = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	BH_AUTOFD int root = -1;
	struct stat a, b;

	if (theirs < 0 || ours < 0 || fstat(theirs, &a) || fstat(ours, &b))
		return bh_error_errno(err, -errno, "cannot see this process's mount namespace in /proc");
	if (a.st_ino == b.st_ino && a.st_dev == b.st_dev) {
		root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	} else {
		root = open_of(pid, "root", O_PATH | O_DIRECTORY);
		runtime->mounts = bh_take_fd(&theirs);
	}
	if (root < 0)
		return bh_error_errno(err, -errno, "cannot reach the host's files through /proc/%d/root, "
		                                   "which holds what bulkhead made", (int)pid);
	runtime->root = bh_take_fd(&root);
	return 0;
}

/* One mount, unmount or, once that is done, removal of what was mounted on. Paths are absolute. */
struct mounting {
	const char *source, *target, *type;
	unsigned long flags;
	enum { MOUNT, UNMOUNT, REMOVE_FILE, REMOVE_DIRECTORY } what;
};

static int mount_once(const struct mounting *mounting)
{
	int rc = 0;

	switch (mounting->what) {
	case MOUNT:
		rc = mount(mounting->source, mounting->target, mounting->type, mounting->flags, NULL);
		break;
	case UNMOUNT:
		rc = umount2(mounting->target, MNT_DETACH | UMOUNT_NOFOLLOW);
		break;
	case REMOVE_FILE:
		rc = unlink(mounting->target);
		break;
	case REMOVE_DIRECTORY:
		rc = rmdir(mounting->target);
		break;
	}
	return rc ? -errno : 0;
}

/* In the mount namespace that counts. Descriptors of ours are the child's too. Returns -errno. */
static int mount_there(const struct bh_runtime *runtime, const struct mounting *mounting)
{
	pid_t pid;
	int status;

	if (runtime->mounts < 0)
		return mount_once(mounting);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(setns(runtime->mounts, CLONE_NEWNS) ? errno : -mount_once(mounting));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

/* Mounts may lie one over the other. EINVAL = none left. */
static int unmount_all(const struct bh_runtime *runtime, const char *path)
{
	struct mounting mounting = {.target = path, .what = UNMOUNT};
	int rc;

	do
		rc = mount_there(runtime, &mounting);
	while (!rc);
	return rc == -EINVAL || rc == -ENOENT ? 0 : rc;
}

/*
 * Unmounts and removes. From a mount namespace that has a copy of the mount the kernel would refuse it
 * (a hook's may be one); from where the mount was made it takes the copies with it.
 */
static int remove_there(const struct bh_runtime *runtime, const char *path, bool directory)
{
	struct mounting removal = {.target = path, .what = directory ? REMOVE_DIRECTORY : REMOVE_FILE};
	int rc = unmount_all(runtime, path);

	rc = rc ? rc : mount_there(runtime, &removal);
	return rc == -ENOENT ? 0 : rc;
}

/* --- the directory --- */

static bool is_mount(int root, const char *path)
{
	struct statx at;

	return statx(root, path, AT_SYMLINK_NOFOLLOW, STATX_INO, &at) == 0 &&
	       (at.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) &&
	       (at.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* What is mounted and pinned below a name must be where the name says, and nobody else's to change. */
static int check_directory(int root, const char *path, struct bh_error *err)
{
	struct stat st;

	if (fstatat(root, path + 1, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : bh_error_errno(err, -errno, "cannot look at %s", path);
	if (!S_ISDIR(st.st_mode))
		return bh_error_set(err, -ENOTDIR, "%s is no directory but %s, which is not bulkhead's", path,
		                    S_ISLNK(st.st_mode) ? "a symbolic link" : "something else");
	if (st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))
		return bh_error_set(err, -EPERM, "the runtime directory %s %s; it must be root's alone", path,
		                    st.st_uid != geteuid() ? "belongs to another user" : "may be written by others");
	return 0;
}

static int make_directory(struct bh_runtime *runtime, struct bh_error *err)
{
	const char *relative = runtime->path + 1;
	struct mounting bind = {runtime->path, runtime->path, NULL, MS_BIND};
	struct mounting private = {"none", runtime->path, NULL, MS_PRIVATE};
	int rc = 0;

	for (int attempt = 0; attempt < 8; attempt++) { /* another state's reset may remove TOP */
		if (mkdirat(runtime->root, TOP + 1, 0700) && errno != EEXIST)
			break;
		if (mkdirat(runtime->root, relative, 0700) == 0 || errno != ENOENT)
			break;
	}
	if (!is_mount(runtime->root, relative))
		rc = mount_there(runtime, &bind);
	if (!rc)
		rc = mount_there(runtime, &private);
	if (rc)
		return bh_error_errno(err, rc, "cannot make the runtime directory %s", runtime->path);
	return 0;
}

int bh_runtime_open(struct bh_runtime *runtime, const char *tag, bool make, struct bh_error *err)
{
	int rc;

	*runtime = (struct bh_runtime){.mounts = -1, .root = -1, .directory = -1};
	snprintf(runtime->path, sizeof(runtime->path), TOP "/%.6s", tag);
	rc = open_mounts(runtime, err);
	rc = rc ? rc : check_directory(runtime->root, TOP, err);
	rc = rc ? rc : check_directory(runtime->root, runtime->path, err);
	if (!rc && make)
		rc = make_directory(runtime, err);
	if (rc)
		return rc;
	runtime->directory = openat(runtime->root, runtime->path + 1,
	                            O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (runtime->directory < 0 && (errno != ENOENT || make))
		return bh_error_errno(err, -errno, "cannot open the runtime directory %s", runtime->path);
	return 0;
}

void bh_runtime_close(struct bh_runtime *runtime)
{
	bh_cleanup_fd(&runtime->directory);
	bh_cleanup_fd(&runtime->root);
	bh_cleanup_fd(&runtime->mounts);
	*runtime = (struct bh_runtime){.mounts = -1, .root = -1, .directory = -1};
}

int bh_runtime_top(const struct bh_runtime *runtime)
{
	int fd = openat(runtime->root, TOP + 1, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int bh_runtime_states(const struct bh_runtime *runtime, int (*visit)(const char *tag, void *arg),
                      void *arg)
{
	BH_AUTOFD int fd = bh_runtime_top(runtime);
	DIR *entries = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int rc = 0;

	if (!entries)
		return 0;
	bh_take_fd(&fd);
	while (!rc && (entry = readdir(entries)))
		if (entry->d_name[0] != '.' && strlen(entry->d_name) <= 6)
			rc = visit(entry->d_name, arg);
	closedir(entries);
	return rc;
}

/* --- what is in it --- */

int bh_runtime_namespace(const struct bh_runtime *runtime, const char *name)
{
	int fd;

	if (runtime->directory < 0)
		return -ENOENT;
	fd = bh_namespace_open(runtime->directory, name);
	return fd == -EINVAL ? -ENOENT : fd; /* a mount point without its mount */
}

int bh_runtime_bind(const struct bh_runtime *runtime, const char *name, int namespace,
                    struct bh_error *err)
{
	char source[40], target[64];
	struct mounting bind = {source, target, NULL, MS_BIND};
	BH_AUTOFD int point = openat(runtime->directory, name, O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	int rc;

	snprintf(source, sizeof(source), "/proc/self/fd/%d", namespace);
	snprintf(target, sizeof(target), "%s/%s", runtime->path, name);
	rc = point < 0 ? -errno : mount_there(runtime, &bind);
	if (rc)
		return bh_error_errno(err, rc, "cannot bind a network namespace to %s", target);
	return 0;
}

int bh_runtime_unbind(const struct bh_runtime *runtime, const char *name, struct bh_error *err)
{
	char target[64];
	int rc;

	if (runtime->directory < 0)
		return 0;
	snprintf(target, sizeof(target), "%s/%s", runtime->path, name);
	rc = remove_there(runtime, target, false);
	if (rc)
		return bh_error_errno(err, rc, "cannot unmount and remove %s", target);
	return 0;
}

int bh_runtime_bpf(const struct bh_runtime *runtime, bool make, char *path, unsigned size,
                   struct bh_error *err)
{
	char target[64];
	struct mounting bpf = {"bpf", target, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC};
	struct statfs fs;
	struct stat st;
	int rc = 0;

	if (runtime->directory < 0)
		return -ENOENT;
	snprintf(target, sizeof(target), "%s/bpf", runtime->path);
	snprintf(path, size, "/proc/self/fd/%d/bpf", runtime->directory);
	if (!fstatat(runtime->directory, "bpf", &st, AT_SYMLINK_NOFOLLOW) && !S_ISDIR(st.st_mode))
		return bh_error_set(err, -ENOTDIR, "%s is no directory, and not bulkhead's", target);
	if (statfs(path, &fs) == 0 && fs.f_type == BPF_FS_MAGIC)
		return 0;
	if (!make)
		return -ENOENT;
	if (mkdirat(runtime->directory, "bpf", 0700) && errno != EEXIST)
		rc = -errno;
	if (!rc)
		rc = mount_there(runtime, &bpf);
	if (rc)
		return bh_error_errno(err, rc, "cannot mount a bpf file system on %s", target);
	return 0;
}

static int remove_entries(const struct bh_runtime *runtime, const char *keep, struct bh_error *err)
{
	BH_AUTOFD int fd = openat(runtime->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int rc = 0;

	if (!entries)
		return bh_error_errno(err, -errno, "cannot list %s", runtime->path);
	bh_take_fd(&fd);
	while (!rc && (entry = readdir(entries))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    strcmp(entry->d_name, "bpf") == 0 || (keep && strcmp(entry->d_name, keep) == 0))
			continue;
		rc = bh_runtime_unbind(runtime, entry->d_name, err);
	}
	closedir(entries);
	return rc;
}

int bh_runtime_clear(struct bh_runtime *runtime, const char *keep, struct bh_error *err)
{
	char bpf[64];
	struct stat st;
	int rc;

	if (runtime->directory < 0)
		return 0;
	rc = remove_entries(runtime, keep, err);
	if (rc)
		return rc;
	snprintf(bpf, sizeof(bpf), "%s/bpf", runtime->path);
	rc = fstatat(runtime->directory, "bpf", &st, AT_SYMLINK_NOFOLLOW);
	rc = remove_there(runtime, bpf, rc || S_ISDIR(st.st_mode));
	return rc ? bh_error_errno(err, rc, "cannot remove %s", bpf) : 0;
}

int bh_runtime_remove(struct bh_runtime *runtime, struct bh_error *err)
{
	int rc;

	if (runtime->directory < 0)
		return 0;
	rc = bh_runtime_clear(runtime, NULL, err);
	if (rc)
		return rc;
	bh_cleanup_fd(&runtime->directory);
	runtime->directory = -1;
	rc = remove_there(runtime, runtime->path, true);
	if (rc)
		return bh_error_errno(err, rc, "cannot remove the runtime directory %s", runtime->path);
	/* Other states may be in it. */
	unlinkat(runtime->root, TOP + 1, AT_REMOVEDIR);
	return 0;
}

/*
 * sysctls.c - see sysctls.h. One `path value` a line.
 */
#include "sysctls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "../../base/cleanup.h"
#include "namespace.h"

#define FILE_NAME "sysctls"
#define LINE_SIZE 256

static FILE *open_record(const struct bh_runtime *runtime)
{
	BH_AUTOFD int fd = openat(runtime->directory, FILE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");

	if (file)
		bh_take_fd(&fd);
	return file;
}

/* A line that a crash cut short has no newline, and was followed by no change. */
static bool next_line(FILE *file, char line[LINE_SIZE], char **value)
{
	while (fgets(line, LINE_SIZE, file)) {
		char *end = strchr(line, '\n'), *space = strchr(line, ' ');

		if (!end || !space)
			continue;
		*end = *space = '\0';
		*value = space + 1;
		return true;
	}
	return false;
}

static bool is_recorded(const struct bh_runtime *runtime, const char *path)
{
	BH_AUTOFILE FILE *file = open_record(runtime);
	char line[LINE_SIZE], *value;

	while (file && next_line(file, line, &value))
		if (strcmp(line, path) == 0)
			return true;
	return false;
}

static int append(const struct bh_runtime *runtime, const char *path, const char *value,
                  struct bh_error *err)
{
	BH_AUTOFD int fd = openat(runtime->directory, FILE_NAME,
	                          O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	char line[LINE_SIZE], last = '\n';
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	int length;

	if (size > 0 && pread(fd, &last, 1, size - 1) < 0)
		last = '\n';
	length = snprintf(line, sizeof(line), "%s%s %s\n", last == '\n' ? "" : "\n", path, value);
	if (fd < 0 || write(fd, line, (size_t)length) != length || fsync(fd))
		return bh_error_errno(err, errno ? -errno : -EIO, "cannot record the sysctl %s in %s/%s",
		                      path, runtime->path, FILE_NAME);
	return 0;
}

int bh_sysctls_record(const struct bh_runtime *runtime, const char *path, struct bh_error *err)
{
	char value[64];
	int rc = bh_sysctl_read(path, value, sizeof(value), err);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	return is_recorded(runtime, path) ? 0 : append(runtime, path, value, err);
}

int bh_sysctls_change(const struct bh_runtime *runtime, const char *path, const char *value,
                      struct bh_error *err)
{
	char old[64];
	int rc = bh_sysctl_read(path, old, sizeof(old), err);

	if (rc || strcmp(old, value) == 0)
		return rc == -ENOENT ? 0 : rc;
	rc = is_recorded(runtime, path) ? 0 : append(runtime, path, old, err);
	return rc ? rc : bh_sysctl_write(path, value, true, err);
}

int bh_sysctls_hold(const struct bh_runtime *runtime, struct bh_error *err)
{
	BH_AUTOFD int fd = openat(runtime->directory, FILE_NAME, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
	                          0600);

	return fd < 0 ? bh_error_errno(err, -errno, "cannot make %s/%s", runtime->path, FILE_NAME) : 0;
}

int bh_sysctls_each(const struct bh_runtime *runtime,
                    int (*visit)(const char *path, const char *value, void *arg), void *arg)
{
	BH_AUTOFILE FILE *file = runtime->directory < 0 ? NULL : open_record(runtime);
	char line[LINE_SIZE], *value;
	int rc = 0;

	while (file && !rc && next_line(file, line, &value))
		rc = visit(line, value, arg);
	return rc;
}

int bh_sysctls_lock(const struct bh_runtime *runtime, struct bh_error *err)
{
	BH_AUTOFD int fd = bh_runtime_top(runtime);
	struct timespec pause = {.tv_nsec = 10000000};

	if (fd < 0)
		return bh_error_errno(err, fd, "cannot open the directory that %s is in", runtime->path);
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB); i++) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return bh_error_errno(err, -errno, "cannot lock the host's sysctls");
		if (i == 1000)
			return bh_error_set(err, -EBUSY, "another state has been changing the host's sysctls for 10 s");
		nanosleep(&pause, NULL);
	}
	return bh_take_fd(&fd);
}

/* --- release --- */

struct search {
	const struct bh_runtime *own;
	int namespace;
	struct bh_runtime *found;
};

static int visit_state(const char *tag, void *arg)
{
	struct search *search = arg;
	BH_AUTOFD int namespace = -1;
	struct bh_runtime other;

	if (strcmp(tag, strrchr(search->own->path, '/') + 1) == 0)
		return 0;
	if (bh_runtime_open(&other, tag, false, NULL) == 0 && other.directory >= 0) {
		namespace = bh_runtime_namespace(&other, "default");
		if (namespace >= 0 && bh_namespace_same(namespace, search->namespace) &&
		    faccessat(other.directory, FILE_NAME, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
			*search->found = other;
			return 1;
		}
	}
	bh_runtime_close(&other);
	return 0;
}

static int visit_inherited(const char *path, const char *value, void *arg)
{
	const struct bh_runtime *heir = arg;

	return is_recorded(heir, path) ? 0 : append(heir, path, value, NULL);
}

/* Who switched on forwarding for the whole host since needs it on every interface. */
static bool is_needed(const char *path)
{
	char value[64];

	return strncmp(path, "net/ipv4/conf/", 14) == 0 && strcmp(strrchr(path, '/'), "/forwarding") == 0 &&
	       bh_sysctl_read("net/ipv4/ip_forward", value, sizeof(value), NULL) == 0 &&
	       strcmp(value, "1") == 0;
}

static int visit_restored(const char *path, const char *value, void *arg)
{
	return is_needed(path) ? 0 : bh_sysctl_write(path, value, true, arg);
}

int bh_sysctls_release(const struct bh_runtime *runtime, int namespace, struct bh_runtime *heir,
                       struct bh_error *err)
{
	struct search search = {runtime, namespace, heir};
	int rc;

	*heir = (struct bh_runtime){.mounts = -1, .root = -1, .directory = -1};
	if (runtime->directory < 0 || faccessat(runtime->directory, FILE_NAME, F_OK, AT_SYMLINK_NOFOLLOW))
		return 0;
	if (bh_runtime_states(runtime, visit_state, &search)) {
		rc = bh_sysctls_each(runtime, visit_inherited, heir);
		if (rc)
			bh_error_errno(err, rc, "cannot pass the record of sysctls on to %s", heir->path);
	} else {
		rc = bh_sysctls_each(runtime, visit_restored, err);
	}
	if (!rc && unlinkat(runtime->directory, FILE_NAME, 0) && errno != ENOENT)
		rc = bh_error_errno(err, -errno, "cannot remove %s/%s", runtime->path, FILE_NAME);
	return rc;
}

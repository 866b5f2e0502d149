/*
 * sysctls.c - see sysctls.h. One `path value` a line.
 */
#include "sysctls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
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

int bh_sysctls_restore(const struct bh_runtime *runtime, struct bh_error *err)
{
	BH_AUTOFILE FILE *file = runtime->directory < 0 ? NULL : open_record(runtime);
	char line[LINE_SIZE], *value;
	int rc = 0;

	while (file && !rc && next_line(file, line, &value))
		rc = bh_sysctl_write(line, value, true, err);
	if (!rc && file && unlinkat(runtime->directory, FILE_NAME, 0) && errno != ENOENT)
		rc = bh_error_errno(err, -errno, "cannot remove %s/%s", runtime->path, FILE_NAME);
	return rc;
}

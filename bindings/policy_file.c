/*
 * policy_file.c - the files of a set: which there are, and reading one without leaving the set.
 *
 * Every step is opened by descriptor and follows no symbolic link, so that neither a name nor a
 * link planted in a set leads out of it, whoever wins a race.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy.h"

bool bh_policy_name_ok(const char *name, bool loose)
{
	size_t size = strlen(name);

	if (!size || size > BH_POLICY_NAME || (loose && strchr("-.", *name)))
		return false;
	for (; *name; name++) {
		bool word = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
		            (*name >= '0' && *name <= '9') || *name == '_';

		if (!word && !(loose && (*name == '-' || *name == '.')))
			return false;
	}
	return true;
}

/* A descriptor of a regular file in the set, or -errno. */
static int open_file(int dirfd, const char *folder, const char *base, size_t *size)
{
	struct stat st;
	int parent = dirfd, fd, rc = 0;

	if (folder) {
		parent = openat(dirfd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (parent < 0)
			return -errno;
	}
	/* Without waiting: it may be a FIFO. */
	fd = openat(parent, base, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	rc = fd < 0 ? -errno : 0;
	if (folder)
		close(parent);
	if (rc)
		return rc;
	if (fstat(fd, &st))
		rc = -errno;
	else if (S_ISDIR(st.st_mode))
		rc = -EISDIR;
	else if (!S_ISREG(st.st_mode))
		rc = -EPERM;
	else if (st.st_size > (off_t)BH_POLICY_FILE_SIZE)
		rc = -EFBIG;
	if (rc) {
		close(fd);
		return rc;
	}
	*size = (size_t)st.st_size;
	return fd;
}

/* As many bytes as there are, at most `size`; a file that shrinks meanwhile is just shorter. */
static ssize_t read_all(int fd, char *text, size_t size)
{
	size_t used = 0;

	while (used < size) {
		ssize_t n = read(fd, text + used, size - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	return (ssize_t)used;
}

static int check_text(const char *name, const char *text, size_t size, struct bh_error *err)
{
	if (size && text[0] == '\x1b')
		return bh_error_set(err, -EBADMSG, "%s: is bytecode; a policy is Lua source text", name);
	if (memchr(text, 0, size))
		return bh_error_set(err, -EBADMSG, "%s: has a NUL byte; a policy is Lua source text", name);
	return 0;
}

static int file_error(const char *name, int rc, struct bh_error *err)
{
	switch (rc) {
	case -ELOOP:
		return bh_error_set(err, rc, "%s: is a symbolic link; the files of a set are plain files",
		                    name);
	case -ENOTDIR:
		return bh_error_set(err, rc, "%s: its folder is no directory of the set, or a symbolic link",
		                    name);
	case -EISDIR:
		return bh_error_set(err, rc, "%s: is a directory; it must be a file", name);
	case -EPERM:
		return bh_error_set(err, rc, "%s: is no plain file", name);
	case -EFBIG:
		return bh_error_set(err, rc, "%s: is larger than %zu KiB", name, BH_POLICY_FILE_SIZE >> 10);
	default:
		return bh_error_errno(err, rc, "%s: cannot be read", name);
	}
}

int bh_policy_read(struct bh_policy *policy, const char *folder, const char *base,
                   struct bh_policy_file **out, struct bh_error *err)
{
	struct bh_policy_file *file = &policy->files[policy->file_count];
	char name[64], leaf[BH_POLICY_NAME + 8];
	size_t size = 0;
	ssize_t n;
	int fd;

	snprintf(leaf, sizeof(leaf), "%s.lua", base);
	snprintf(name, sizeof(name), "%s%s%s", folder ? folder : "", folder ? "/" : "", leaf);
	if (policy->file_count == BH_POLICY_FILES)
		return bh_error_set(err, -EMFILE, "%s: a set has at most %d files", name, BH_POLICY_FILES);
	fd = open_file(policy->dirfd, folder, leaf, &size);
	if (fd < 0)
		return file_error(name, fd, err);
	file->name = strdup(name);
	file->text = malloc(size + 1);
	n = file->name && file->text ? read_all(fd, file->text, size) : -ENOMEM;
	close(fd);
	if (n >= 0) {
		file->size = (size_t)n;
		file->text[n] = '\0';
	}
	if (n < 0 || check_text(name, file->text, file->size, err)) {
		free(file->name);
		free(file->text);
		memset(file, 0, sizeof(*file));
		return n < 0 ? file_error(name, (int)n, err) : -EBADMSG;
	}
	policy->file_count++;
	*out = file;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

void bh_policy_list(int dirfd, const char *folder, char *text, size_t size)
{
	char names[64][BH_POLICY_NAME + 1];
	size_t count = 0, used = 0;
	struct dirent *entry;
	int fd = openat(dirfd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	*text = '\0';
	if (!dir && fd >= 0)
		close(fd);
	while (dir && count < 64 && (entry = readdir(dir))) {
		size_t length = strlen(entry->d_name);

		if (length <= 4 || length > BH_POLICY_NAME + 4 || strcmp(entry->d_name + length - 4, ".lua"))
			continue;
		memcpy(names[count], entry->d_name, length - 4);
		names[count][length - 4] = '\0';
		if (bh_policy_name_ok(names[count], true))
			count++;
	}
	if (dir)
		closedir(dir);
	qsort(names, count, sizeof(names[0]), by_name);
	for (size_t i = 0; i < count && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", names[i]);
}

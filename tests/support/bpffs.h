/*
 * bpffs.h - a bpffs in a mount namespace of this process, so that no pin is left behind. For root.
 */
#ifndef TESTS_SUPPORT_BPFFS_H
#define TESTS_SUPPORT_BPFFS_H

#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

/* Makes a directory of a template of mkdtemp(), in mounts that nobody else sees. */
static inline bool bpffs_directory(char *directory)
{
	return !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) && mkdtemp(directory);
}

static inline bool bpffs_mount(const char *directory)
{
	return !mount("bpf", directory, "bpf", 0, NULL);
}

/* Takes both away. */
static inline void bpffs_leave(const char *directory)
{
	umount2(directory, MNT_DETACH);
	rmdir(directory);
}

#endif

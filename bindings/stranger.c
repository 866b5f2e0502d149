/*
 * stranger.c - see stranger.h.
 *
 * The path is walked as the kernel does, through every link: whoever may write to one directory of the
 * way can put another file in its place. In a sticky directory, as /tmp, only what they own.
 */
#include "stranger.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

#define LINKS_MAX 40 /* as the kernel's */

struct walk {
	char done[PATH_MAX]; /* resolved, without a slash at its end; "" is the root */
	char rest[PATH_MAX];
	int links;
};

static bool is_roots(const struct stat *info, bool last)
{
	bool sticky = S_ISDIR(info->st_mode) && !last && (info->st_mode & S_ISVTX);
	bool others = (info->st_mode & S_IWOTH) || ((info->st_mode & S_IWGRP) && info->st_gid != 0);

	return info->st_uid == 0 && (S_ISLNK(info->st_mode) || !others || sticky);
}

/* The link that `done` names leads on. */
static int follow(struct walk *walk)
{
	char target[PATH_MAX], whole[2 * PATH_MAX];
	ssize_t size = readlink(walk->done, target, sizeof(target) - 1);

	if (size < 0)
		return -errno;
	target[size] = '\0';
	if (++walk->links > LINKS_MAX ||
	    snprintf(whole, sizeof(whole), "%s/%s", target, walk->rest) >= (int)sizeof(walk->rest))
		return -ELOOP;
	strcpy(walk->rest, whole);
	*(target[0] == '/' ? walk->done : strrchr(walk->done, '/')) = '\0';
	return 0;
}

/* One name further: 1 if somebody else may change what `done` names then, 0 if not. */
static int step(struct walk *walk)
{
	size_t length = strcspn(walk->rest, "/"), at = strlen(walk->done);
	bool last = walk->rest[length + strspn(walk->rest + length, "/")] == '\0';
	struct stat info;
	char name[PATH_MAX];

	memcpy(name, walk->rest, length);
	name[length] = '\0';
	length += strspn(walk->rest + length, "/");
	memmove(walk->rest, walk->rest + length, strlen(walk->rest + length) + 1);
	if (!strcmp(name, "."))
		return 0;
	if (!strcmp(name, "..")) {
		*(at ? strrchr(walk->done, '/') : walk->done) = '\0';
		return 0;
	}
	if (at + strlen(name) + 2 > sizeof(walk->done))
		return -ENAMETOOLONG;
	sprintf(walk->done + at, "/%s", name);
	if (lstat(walk->done, &info))
		return -errno;
	if (!is_roots(&info, last))
		return 1;
	return S_ISLNK(info.st_mode) ? follow(walk) : 0;
}

int bh_stranger(lua_State *L)
{
	size_t length;
	const char *path = luaL_checklstring(L, 1, &length);
	struct walk walk = {0};
	struct bh_error err;
	struct stat info;
	int rc = 0;

	luaL_argcheck(L, *path == '/' && strlen(path) == length, 1, "must be a path from the root");
	if (length >= sizeof(walk.rest))
		rc = -ENAMETOOLONG;
	else if (stat("/", &info))
		rc = -errno;
	else if (!is_roots(&info, false))
		rc = 1;
	else
		strcpy(walk.rest, path + strspn(path, "/"));
	while (!rc && walk.rest[0]) {
		size_t slashes = strspn(walk.rest, "/"); /* of a link to a path from the root */

		memmove(walk.rest, walk.rest + slashes, strlen(walk.rest + slashes) + 1);
		rc = walk.rest[0] ? step(&walk) : 0;
	}
	if (rc < 0) {
		bh_error_errno(&err, rc, "%s", path);
		return bh_push_error(L, &err);
	}
	lua_pushstring(L, !rc ? "" : walk.done[0] ? walk.done : "/");
	return 1;
}

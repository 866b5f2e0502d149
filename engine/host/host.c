/*
 * host.c - opening a host, and the life of a change. See host.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/log.h"
#include "internal.h"

/* Room in the store to do and to undo a change, and for each of its rows. */
#define ROOM_PAGES 64
#define ROOM_PAGES_ROW 8

/* Names kernel objects of this state: six characters made from its directory. */
static void state_tag(const char *state, char tag[8])
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	uint64_t hash = 0xcbf29ce484222325ULL; /* FNV-1a */

	for (; *state; state++)
		hash = (hash ^ (uint8_t)*state) * 0x100000001b3ULL;
	hash ^= hash >> 32;
	for (int i = 0; i < 6; i++, hash /= 36)
		tag[i] = digits[hash % 36];
	tag[6] = '\0';
}

/* The state directory, made (0700) if it may be; its resolved name goes to host->state. */
static int state_open(struct bh_host *host, const char *state, struct bh_error *err)
{
	char resolved[4096];
	struct stat st;

	if (host->write && mkdir(state, 0700) && errno != EEXIST)
		return bh_error_errno(err, -errno, "cannot make the state directory '%s'", state);
	if (!realpath(state, resolved)) {
		if (errno == ENOENT && !host->write) {
			host->ready = false;
			snprintf(resolved, sizeof(resolved), "%s", state);
		} else {
			return bh_error_errno(err, -errno, "cannot open the state directory '%s'", state);
		}
	}
	if (!strcmp(resolved, "/"))
		return bh_error_set(err, -EINVAL, "the state directory cannot be '/'; it is one of its own, like /var/lib/bulkhead");
	if (!stat(resolved, &st) && !S_ISDIR(st.st_mode))
		return bh_error_set(err, -ENOTDIR, "the state directory '%s' is no directory", resolved);
	/* What is in it decides who may speak to whom, and names what is removed as root. */
	if (!stat(resolved, &st) && (st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH)))
		return bh_error_set(err, -EPERM, "the state directory '%s' %s; it must be root's alone", resolved,
		                    st.st_uid != geteuid() ? "belongs to another user" : "may be written by others");
	if (strlen(resolved) >= sizeof(host->state))
		return bh_error_set(err, -ENAMETOOLONG, "the state directory '%s' has too long a name", state);
	strcpy(host->state, resolved);
	return 0;
}

/*
 * What we would open in the state directory is a file each, or not there: opening what is something else
 * may wait for ever (a fifo), do something (a device) or be about another's file (a link).
 */
static int check_files(struct bh_host *host, struct bh_error *err)
{
	static const char *const names[] = {"lock", "state.db", "state.db-wal", "state.db-shm"};
	char path[300];
	struct stat st;

	for (size_t i = 0; host->ready && i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", host->state, names[i]);
		if (!lstat(path, &st) && !S_ISREG(st.st_mode))
			return bh_error_set(err, -EINVAL, "'%s' is no file: it is %s, and not bulkhead's", path,
			                    S_ISLNK(st.st_mode) ? "a symbolic link" : S_ISDIR(st.st_mode) ? "a directory"
			                    : S_ISFIFO(st.st_mode) ? "a fifo" : "a device or a socket");
	}
	return 0;
}

/* {xxxxxxxx-xxxx-4xxx-xxxx-xxxxxxxxxxxx} */
int bh_guid_new(char guid[40], struct bh_error *err)
{
	uint8_t b[16];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		return bh_error_errno(err, -errno, "cannot make a GUID");
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	snprintf(guid, 40, "{%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x}",
	         b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
	         b[14], b[15]);
	return 0;
}

/* Keeps a store that cannot be used for whoever wants to look at it. */
static int set_aside(struct bh_host *host, const char *path, struct bh_error *err)
{
	char kept[320], log[320];

	bh_log(BH_LOG_WARNING,
	       "%s; it is kept as '%s.damaged' and a new one begun, and what the old one named is removed",
	       err->message, path);
	/* First what belongs to it: a new store must never find it. */
	snprintf(log, sizeof(log), "%s-shm", path);
	unlink(log);
	snprintf(log, sizeof(log), "%s-wal", path);
	snprintf(kept, sizeof(kept), "%s.damaged-wal", path);
	if (rename(log, kept))
		unlink(kept);
	snprintf(kept, sizeof(kept), "%s.damaged", path);
	if (rename(path, kept))
		return bh_error_errno(err, -errno, "cannot set the store '%s' aside", path);
	return bh_store_open(&host->store, path, true, err);
}

static int open_store(struct bh_host *host, const struct bh_host_options *options, const char *path,
                      struct bh_error *err)
{
	struct bh_error why;
	int rc = bh_store_open(&host->store, path, host->write, &why);

	if (!rc && options->check && host->write) {
		rc = bh_store_check(host->store, &why);
		if (rc)
			bh_store_close(&host->store);
	}
	if (host->write && (rc == -EUCLEAN || (rc == -EPROTO && host->discard)))
		rc = set_aside(host, path, &why);
	if (rc == -ENOSPC && host->discard)
		rc = bh_store_open(&host->store, NULL, true, &why); /* nothing is asked of it */
	if (rc && err)
		*err = why;
	return rc;
}

static int open_linux(struct bh_host *host, const struct bh_host_options *options, struct bh_error *err)
{
	char path[300], tag[8];
	int rc;

	if (geteuid())
		return bh_error_set(err, -EPERM, "bulkhead needs root: it makes namespaces and loads eBPF programs");
	rc = state_open(host, options->state, err);
	rc = rc ? rc : check_files(host, err);
	if (rc)
		return rc;
	state_tag(host->state, tag);
	snprintf(path, sizeof(path), "%s/state.db", host->state);
	/* Opening makes what a first open must make, which two must not do at once. */
	rc = host->write ? bh_lock_take(host, err) : 0;
	rc = rc ? rc : bh_platform_linux_open(&host->platform, tag, host->write, err);
	if (!rc && (host->write || (host->ready && !access(path, F_OK)))) {
		rc = open_store(host, options, path, err);
		/* Who opens to change is to find what a reboot took, before changing anything. */
		if (!rc && host->write)
			rc = bh_reboot_check(host, err);
		bh_lock_release(host);
		if (host->write || rc != -ENOENT)
			return rc;
		rc = 0; /* just being made */
	}
	bh_lock_release(host);
	if (rc)
		return rc;
	host->ready = false;
	return bh_store_open(&host->store, NULL, true, err); /* never made: an empty host */
}

static int open_memory(struct bh_host *host, struct bh_error *err)
{
	int rc = 0;

	host->write = true;
	if (host->lab)
		host->platform = host->lab->platform;
	else
		rc = bh_platform_memory_open(&host->platform, err);
	return rc ? rc : bh_store_open(&host->store, NULL, true, err);
}

int bh_host_open(struct bh_host **out, const struct bh_host_options *options, struct bh_error *err)
{
	struct bh_host *host = calloc(1, sizeof(*host));
	int rc;

	if (!host)
		return bh_error_set(err, -ENOMEM, "not enough memory for a host");
	host->lock = -1;
	host->write = options->write;
	host->check = options->check;
	host->discard = options->discard;
	host->ready = true;
	host->lab = options->lab;
	host->linux_platform = options->linux_platform;
	rc = options->linux_platform ? open_linux(host, options, err) : open_memory(host, err);
	if (rc) {
		bh_host_close(&host);
		return rc;
	}
	if (host->lab)
		host->lab->platform = host->platform;
	*out = host;
	return 0;
}

void bh_host_close(struct bh_host **host)
{
	if (!*host)
		return;
	bh_host_abort(*host);
	bh_store_close(&(*host)->store);
	if (!(*host)->lab || (*host)->linux_platform) {
		if ((*host)->lab)
			(*host)->lab->platform = NULL;
		bh_platform_close(&(*host)->platform);
	}
	free(*host);
	*host = NULL;
}

struct bh_platform *bh_host_platform(struct bh_host *host)
{
	return host->platform;
}

struct bh_store *bh_host_store(struct bh_host *host)
{
	return host->store;
}

int bh_host_require_change(struct bh_host *host, struct bh_error *err)
{
	if (host->changing)
		return 0;
	return bh_error_set(err, -EPERM, "nothing may be changed outside begin and commit");
}

/*
 * What is to be made or changed is refused while nothing is touched, unless there is room to note that it is done,
 * or to undo it. What is only taken away needs none: it may be tried again.
 */
static int reserve(struct bh_host *host, struct bh_error *err)
{
	BH_AUTOPENDING struct bh_pending pending = {0};
	int rc = bh_pending_load(host, &pending, err);
	size_t rows = bh_pending_undoable(&pending);

	return rc || !rows ? rc : bh_store_reserve(host->store, ROOM_PAGES + rows * ROOM_PAGES_ROW, err);
}

static bool any_network(struct bh_host *host)
{
	return bh_store_number(host->store, 0, "SELECT EXISTS(SELECT 1 FROM networks WHERE status = 'ready')", "") != 0;
}

/* What was cut short is undone or done. */
static int mend_pending(struct bh_host *host, const struct bh_pending *pending, struct bh_error *err)
{
	struct bh_error undone;
	int rc = bh_realize_remove(host, true, err);

	if (!rc)
		rc = bh_reload_recover(host, err);
	if (!rc && (bh_pending_any(pending, BH_PENDING_NETWORK, "rebuild") ||
	            bh_pending_any(pending, BH_PENDING_ENDPOINT, "changing")))
		rc = bh_realize_create(host, err);
	if (rc && bh_store_number(host->store, 0, BH_ANY_BEFORE, "") && bh_reload_revert(host, &undone) == 0) {
		bh_log(BH_LOG_WARNING, "a change of policies that was cut short is taken back: %s", err->message);
		rc = bh_realize_create(host, err);
	}
	host->networked = any_network(host);
	return rc;
}

/* What a crash or a reboot left half done. */
static int host_mend(struct bh_host *host, struct bh_error *err)
{
	BH_AUTOPENDING struct bh_pending pending = {0};
	int rc = 0;

	if (host->linux_platform)
		rc = bh_reboot_check(host, err);
	else
		host->networked = any_network(host);
	rc = rc ? rc : bh_upgrade_check(host, err);
	rc = rc ? rc : bh_pending_load(host, &pending, err);
	if (!rc && pending.count)
		rc = mend_pending(host, &pending, err);
	/* Another program may flush what is not its own. */
	if (!rc && host->networked && !host->platform->ops->uplink_intact(host->platform))
		rc = bh_realize_uplink(host, err);
	if (!rc && host->check)
		rc = bh_upgrade_mend(host, err);
	if (!rc && pending.count)
		bh_tables_collect(host);
	return rc;
}

int bh_host_begin(struct bh_host *host, struct bh_error *err)
{
	int rc;

	if (!host->write)
		return bh_error_set(err, -EROFS, "the host was opened for reading only");
	if (host->changing)
		return bh_error_set(err, -EBUSY, "a change is already begun");
	if (host->snapshots)
		return bh_error_set(err, -EBUSY, "no change begins in a snapshot");
	rc = bh_lock_take(host, err);
	if (!rc)
		bh_store_absorb(host->store);
	if (!rc)
		rc = host_mend(host, err);
	if (!rc)
		rc = bh_store_begin(host->store, err);
	if (rc) {
		bh_lock_release(host);
		return rc;
	}
	host->changing = true;
	return 0;
}

/* What was to be made could not be. */
static void undo(struct bh_host *host)
{
	struct bh_error undone;

	if (bh_reload_revert(host, &undone))
		bh_log(BH_LOG_ERROR, "taking back a failed change of policies: %s", undone.message);
	if (bh_realize_remove(host, true, &undone))
		bh_log(BH_LOG_ERROR, "undoing a failed change: %s", undone.message);
	bh_tables_collect(host);
}

/* What is to go does so once all is there that is to come. */
static int remove_pending(struct bh_host *host, struct bh_error *err)
{
	BH_AUTOPENDING struct bh_pending pending = {0};
	int rc = bh_pending_load(host, &pending, err);

	if (rc || !pending.count)
		return rc;
	rc = bh_realize_remove(host, false, err);
	bh_tables_collect(host);
	return rc;
}

int bh_host_commit(struct bh_host *host, struct bh_error *err)
{
	int rc = bh_host_require_change(host, err);

	if (rc)
		return rc;
	rc = reserve(host, err);
	rc = rc ? rc : bh_store_commit(host->store, err);
	if (rc) {
		bh_host_abort(host);
		return rc;
	}
	rc = bh_realize_create(host, err);
	if (rc)
		undo(host);
	else
		rc = remove_pending(host, err);
	host->changing = false;
	bh_lock_release(host);
	return rc;
}

void bh_host_abort(struct bh_host *host)
{
	if (!host->changing)
		return;
	bh_store_rollback(host->store);
	host->changing = false;
	bh_lock_release(host);
}

int bh_host_snapshot(struct bh_host *host, struct bh_error *err)
{
	int rc = host->changing || host->snapshots ? 0 : bh_store_run(host->store, err, "BEGIN", "");

	host->snapshots += !rc;
	return rc;
}

void bh_host_snapshot_end(struct bh_host *host)
{
	if (!--host->snapshots && !host->changing && bh_store_commit(host->store, NULL))
		bh_store_rollback(host->store);
}

/* What belongs to a store before the store: a new one must never find it. After it there is one in memory. */
static int remove_store(struct bh_host *host, struct bh_error *err)
{
	static const char *const files[] = {"state.db-wal", "state.db-shm", "state.db", "state.db.damaged",
	                                    "state.db.damaged-wal"};
	char path[300];

	bh_store_close(&host->store);
	for (size_t i = 0; host->state[0] && i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", host->state, files[i]);
		unlink(path);
	}
	return bh_store_open(&host->store, NULL, true, err);
}

static void remove_state(struct bh_host *host)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/lock", host->state);
	unlink(path);
	rmdir(host->state); /* stays if somebody put something there */
}

int bh_host_reset(struct bh_host *host, struct bh_error *err)
{
	int rc;

	if (!host->write || host->changing || host->snapshots)
		return bh_error_set(err, -EPERM, "reset needs a host opened for writing, outside changes and snapshots");
	rc = bh_lock_take(host, err);
	if (rc)
		return rc;
	bh_store_absorb(host->store);
	/* Killed from here on, the next change begins like one after a reboot. */
	rc = bh_store_run(host->store, err, "DELETE FROM meta WHERE key = 'boot'", "");
	if (!rc)
		bh_store_run(host->store, NULL, "PRAGMA wal_checkpoint(PASSIVE)", "");
	else if (rc == -ENOSPC) /* or like one that finds no store */
		rc = remove_store(host, err);
	rc = rc ? rc : host->platform->ops->reset(host->platform, err);
	rc = rc ? rc : remove_store(host, err);
	if (!rc && host->state[0])
		remove_state(host);
	bh_lock_release(host);
	return rc;
}

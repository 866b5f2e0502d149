/*
 * lock.c - one change at a time: flock on a file of the state, freed by the kernel on a kill.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "internal.h"

#define WAIT_MS 10000
#define STEP_MS 5

int bh_lock_take(struct bh_host *host, struct bh_error *err)
{
	char path[300], holder[64] = "";
	struct timespec step = {0, STEP_MS * 1000000L};
	struct stat ours, there;
	BH_AUTOFD int fd = -1;

	if (!host->state[0])
		return 0;
	snprintf(path, sizeof(path), "%s/lock", host->state);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return bh_error_errno(err, -errno, "cannot open the lock '%s'", path);
	for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB); waited += STEP_MS) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return bh_error_errno(err, -errno, "cannot lock '%s'", path);
		if (waited >= WAIT_MS) {
			ssize_t n = pread(fd, holder, sizeof(holder) - 1, 0);

			if (n > 0)
				holder[strspn(holder, "0123456789")] = '\0';
			return bh_error_set(err, -EBUSY, "another change is going on (process %s holds '%s' for over 10 s)",
			                    n > 0 ? holder : "?", path);
		}
		nanosleep(&step, NULL);
	}
	if (fstat(fd, &ours) || stat(path, &there) || ours.st_ino != there.st_ino)
		return bh_error_set(err, -ESTALE, "the state '%s' was just reset; try again", host->state);
	/* All of one length: to make the file shorter would take longer than to write it. */
	snprintf(holder, sizeof(holder), "%-11d", (int)getpid());
	if (pwrite(fd, holder, strlen(holder), 0) < 0)
		holder[0] = '\0'; /* it only names us to who waits */
	host->lock = bh_take_fd(&fd);
	return 0;
}

void bh_lock_release(struct bh_host *host)
{
	bh_cleanup_fd(&host->lock);
	host->lock = -1;
}

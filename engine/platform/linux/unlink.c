/*
 * unlink.c - see unlink.h.
 *
 * The child also inherits the socket of nftables: who closes that last waits for what was deleted
 * from its maps, too, and the child has the time.
 */
#include "unlink.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "linux.h"

#define STEP_NS 100000
#define STEPS 2000 /* 0.2 s; then we do it ourselves */

/* Nobody's child by now: sends what is in the batch, and waits for the answer with the kernel. */
static void linger(struct bh_netlink *own, int filter)
{
	int kept[2] = {mnl_socket_get_fd(own->socket), filter}, next = 0;

	for (int i = 0; i < 2; i++) {
		int low = kept[i] < 0 || kept[i] < next ? -1 : dup2(kept[i], next);

		next += low >= 0;
	}
	/* Its caller may be waited for until the last copy of its output is closed; locks go too. */
	close_range((unsigned)next, ~0u, 0);
	(void)!send(0, own->buffer, own->used, 0);
	_exit(0);
}

/* -errno if there is no child. */
static int spawn(struct bh_linux *self, unsigned index)
{
	struct bh_netlink own = {0};
	int filter = self->filter_link.socket ? mnl_socket_get_fd(self->filter_link.socket) : -1, status;
	int rc = bh_linux_netlink(&own, self->switch_namespace, NULL);
	pid_t pid;

	if (rc)
		return rc;
	bh_link_add_delete(&own, index);
	bh_netlink_finish(&own);
	/* The one in between shares our memory, and is gone before we go on: only one copy is made. */
	pid = vfork();
	if (!pid) {
		long child = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

		if (!child)
			linger(&own, filter);
		_exit(child < 0);
	}
	bh_netlink_close(&own);
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EAGAIN;
}

static bool is_there(struct bh_linux *self, unsigned index)
{
	struct bh_link link;

	return bh_link_probe(&self->switch_link, index, &link) == 0;
}

int bh_unlink_port(struct bh_linux *self, unsigned index, struct bh_error *err)
{
	const struct timespec step = {0, STEP_NS};
	int left;

	if (!is_there(self, index))
		return 0;
	left = spawn(self, index) ? 0 : STEPS;
	while (left-- > 0) {
		nanosleep(&step, NULL);
		if (!is_there(self, index))
			return 0;
	}
	bh_link_add_delete(&self->switch_link, index);
	return bh_netlink_run(&self->switch_link, NULL, NULL, err);
}

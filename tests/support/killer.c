/*
 * killer.c - runs a program and kills it before its N-th system call that changes something.
 *
 *   killer N PROGRAM [ARG...]
 *
 * The calls of the program and of its children are counted together, in the order the kernel sees them:
 * whatever can change links, routes, mounts, namespaces, maps, files or the store. All of it is killed with
 * SIGKILL as it enters the N-th, which is therefore not done. Exit status: the program's, or 137 if it was
 * killed. N = 0 never kills and writes to standard error how many calls there were, but for those that
 * write a file: how many pages a store writes, and when, is not its user's to say.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTIONS                                                                                      \
	(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |      \
	 PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL)

static bool changes_maps(uint64_t command)
{
	return command == BPF_MAP_UPDATE_ELEM || command == BPF_MAP_DELETE_ELEM || command == BPF_OBJ_PIN ||
	       command == BPF_MAP_UPDATE_BATCH || command == BPF_MAP_DELETE_BATCH || command == BPF_PROG_ATTACH ||
	       command == BPF_LINK_CREATE || command == BPF_PROG_DETACH;
}

static bool changes(const struct __ptrace_syscall_info *info)
{
	static const uint64_t calls[] = {
		SYS_sendto, SYS_sendmsg, SYS_mount, SYS_umount2, SYS_ioctl, SYS_write, SYS_pwrite64, SYS_writev,
		SYS_unlinkat, SYS_mkdirat, SYS_renameat2, SYS_ftruncate, SYS_fsync, SYS_fdatasync, SYS_unshare,
#ifdef SYS_unlink
		SYS_unlink, SYS_mkdir, SYS_rmdir, SYS_rename,
#endif
	};

	if (info->entry.nr == SYS_bpf)
		return changes_maps(info->entry.args[0]);
	if (info->entry.nr == SYS_openat)
		return info->entry.args[2] & O_CREAT;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (calls[i] == info->entry.nr)
			return true;
	return false;
}

static bool writes_file(uint64_t call)
{
	return call == SYS_write || call == SYS_pwrite64 || call == SYS_writev || call == SYS_ftruncate ||
	       call == SYS_fsync || call == SYS_fdatasync;
}

struct victims {
	pid_t pids[64];
	size_t count;
};

static void add(struct victims *victims, pid_t pid)
{
	for (size_t i = 0; i < victims->count; i++)
		if (victims->pids[i] == pid)
			return;
	if (victims->count < sizeof(victims->pids) / sizeof(victims->pids[0]))
		victims->pids[victims->count++] = pid;
}

/* One stop of one process. Returns the signal it goes on with, or -1 if all are to be killed. */
static int visit(pid_t pid, int status, unsigned long n, unsigned long *count)
{
	struct __ptrace_syscall_info info;
	int sig = WSTOPSIG(status);

	if (sig == (SIGTRAP | 0x80)) {
		if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) > 0 &&
		    info.op == PTRACE_SYSCALL_INFO_ENTRY && changes(&info) &&
		    (n || !writes_file(info.entry.nr)) && ++*count == n)
			return -1;
		return 0;
	}
	if (status >> 16) /* an event of ours */
		return 0;
	return sig == SIGSTOP ? 0 : sig; /* children begin stopped */
}

static int watch(pid_t first, unsigned long n)
{
	struct victims victims = {{first}, 1};
	unsigned long count = 0;
	int result = 1, status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, __WALL)) > 0) {
		int sig;

		if (!WIFSTOPPED(status)) {
			if (pid == first)
				result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
			continue;
		}
		add(&victims, pid);
		sig = visit(pid, status, n, &count);
		if (sig < 0)
			for (size_t i = 0; i < victims.count; i++)
				kill(victims.pids[i], SIGKILL);
		else
			ptrace(PTRACE_SYSCALL, pid, 0, sig);
	}
	if (!n)
		fprintf(stderr, "%lu\n", count);
	return result;
}

int main(int argc, char **argv)
{
	pid_t pid;
	int status;

	if (argc < 3) {
		fprintf(stderr, "usage: killer N PROGRAM [ARG...]\n");
		return 2;
	}
	pid = fork();
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* which cannot look while we trace */
		execv(argv[2], argv + 2);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || ptrace(PTRACE_SETOPTIONS, pid, 0, OPTIONS) ||
	    ptrace(PTRACE_SYSCALL, pid, 0, 0)) {
		fprintf(stderr, "killer: cannot trace %s: %s\n", argv[2], strerror(errno));
		return 1;
	}
	return watch(pid, strtoul(argv[1], NULL, 10));
}

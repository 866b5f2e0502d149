/*
 * pinned.h - a gate in the kernel for a test program: pinned in a bpffs in a mount namespace of this process,
 * so that nothing is left behind.
 */
#ifndef TESTS_SUPPORT_PINNED_H
#define TESTS_SUPPORT_PINNED_H

#include "../../engine/gate/gate.h"
#include "bpffs.h"
#include "report.h"

/* What is asked of a directory for pins, and of the gate opened there; what is NULL is not asked. */
struct pinned {
	void (*directory)(const char *directory);
	void (*gate)(struct bh_gate_kernel *gate, const char *directory, void *arg);
	void *arg;
};

/* Without root, `property` is reported as skipped; without a gate, as failed. */
static inline void with_pinned(const char *property, const struct pinned *pinned)
{
	struct bh_gate_kernel *gate = NULL;
	char directory[] = "/tmp/bulkhead-test-XXXXXX";
	struct bh_error err = {0};

	if (geteuid() || !bpffs_directory(directory)) {
		skip(property, "needs root");
		return;
	}
	if (!bpffs_mount(directory)) {
		report(property, false, "no bpffs");
	} else {
		if (pinned->directory)
			pinned->directory(directory);
		if (bh_gate_open(&gate, directory, true, &err))
			report(property, false, err.message);
		else
			pinned->gate(gate, directory, pinned->arg);
	}
	bh_gate_close(&gate);
	bpffs_leave(directory);
}

#endif

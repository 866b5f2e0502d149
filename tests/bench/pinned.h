/*
 * pinned.h - the frame of a bench of the gate in the kernel: NAME [NUMBER] [--json FILE]. Its pins are in a
 * bpffs in a mount namespace of this process: nothing is left behind.
 */
#ifndef BH_TESTS_BENCH_PINNED_H
#define BH_TESTS_BENCH_PINNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../engine/gate/gate.h"
#include "../support/bpffs.h"

/* The exit status. `number` is the default of what the command line may say; `bench` writes to the file, if any. */
static inline int bench_pinned(int argc, char **argv, uint32_t number,
                               int (*bench)(struct bh_gate_kernel *gate, uint32_t number, FILE *json))
{
	char directory[] = "/tmp/bulkhead-bench-XXXXXX";
	struct bh_gate_kernel *gate = NULL;
	struct bh_error err = {0};
	FILE *json = NULL;
	int rc = 2;

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--json") != 0) {
			number = (uint32_t)strtoul(argv[i], NULL, 10);
		} else if (!argv[i + 1] || !(json = fopen(argv[++i], "w"))) {
			fprintf(stderr, "%s: --json needs a file that can be written\n", argv[0]);
			return 2;
		}
	if (!bpffs_directory(directory)) {
		perror(argv[0]);
		return 2;
	}
	if (!bpffs_mount(directory))
		perror(argv[0]);
	else if (bh_gate_open(&gate, directory, true, &err))
		fprintf(stderr, "%s: %s\n", argv[0], err.message);
	else
		rc = bench(gate, number, json);
	if (json)
		fclose(json);
	bh_gate_close(&gate);
	bpffs_leave(directory);
	return rc;
}

#endif

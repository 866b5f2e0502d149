/*
 * measured.h - what bench-gate shares with the programs it measures.
 */
#ifndef BH_TESTS_BENCH_GATE_MEASURED_H
#define BH_TESTS_BENCH_GATE_MEASURED_H

#define MEASURED_PACKETS 32768 /* a power of two */

struct measured {
	struct bh_table_ref ref;
	uint32_t next;
	uint32_t repeat; /* each packet comes 2^repeat times in a row */
	uint32_t reserved;
	struct bh_key keys[MEASURED_PACKETS];
	uint32_t answers[MEASURED_PACKETS]; /* ids of rules, 0 = none */
};

#endif

/*
 * bench.c - bench-gate RULES TRACE [--json]: the rule lookup in the kernel, net of the harness.
 *
 * A table of the rules is put into chunks of the kernel as the gate does it, and two programs are run
 * by BPF_PROG_TEST_RUN, in turn, over the whole trace: one looks each packet up, one of the same shape
 * does not. The difference of the two is a lookup; the median of the rounds counts. `trace` takes a
 * new packet each time, so that tables compete with 1.4 MB of packets for the caches; `again` takes
 * each 64 times in a row. Every answer must be a linear scan's. For root.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../../../engine/filter/table.h"
#include "../../../engine/gate/chunks.h"
#include "../bench.h"
#include "measured.h"

static const _Alignas(8) unsigned char object_bytes[] = {
#include "tests/bench/gate/lookup.bpf.inc"
};

#define ROUNDS 9
#define RUNS (4 * MEASURED_PACKETS)
#define AGAIN 6

static struct bench_set set;

static void die(const char *what)
{
	fprintf(stderr, "bench-gate: %s\n", what);
	exit(1);
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

/* ---- the kernel's side ---- */

struct kernel {
	struct bpf_object *object;
	struct bh_chunks chunks;
	uint64_t serial, used;
	struct measured *measured;
	int lookup, nothing;
};

static int map_of(const struct kernel *kernel, const char *name)
{
	int fd = bpf_object__find_map_fd_by_name(kernel->object, name);

	if (fd < 0)
		die("the object lacks a map");
	return fd;
}

static int program_of(const struct kernel *kernel, const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(kernel->object, name));
}

static void kernel_open(struct kernel *kernel)
{
	static const char *const classes[] = {"bh_chunks_1m", "bh_chunks_8m", "bh_chunks_64m"};
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "bench");
	LIBBPF_OPTS(bpf_map_create_opts, mapped, .map_flags = BPF_F_MMAPABLE);

	libbpf_set_print(quiet);
	kernel->object = bpf_object__open_mem(object_bytes, sizeof(object_bytes), &opts);
	if (!kernel->object || bpf_object__load(kernel->object))
		die("the kernel does not load the program; are you root?");
	for (int c = 0; c < BH_CHUNK_CLASSES; c++)
		kernel->chunks.classes[c] = map_of(kernel, classes[c]);
	kernel->chunks.map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "spots", 4, sizeof(struct bh_spot), BH_TABLES_MAX,
	                                    &mapped);
	kernel->chunks.serial = &kernel->serial;
	kernel->chunks.used = &kernel->used;
	kernel->measured = mmap(NULL, sizeof(*kernel->measured), PROT_READ | PROT_WRITE, MAP_SHARED,
	                        map_of(kernel, "measured"), 0);
	if (kernel->measured == MAP_FAILED)
		die("cannot map what is measured");
	kernel->lookup = program_of(kernel, "bench_lookup");
	kernel->nothing = program_of(kernel, "bench_nothing");
}

/* Nanoseconds a run. */
static double run(int program)
{
	uint8_t frame[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame), .repeat = RUNS);
	double begin = bench_now();

	if (bpf_prog_test_run_opts(program, &opts))
		die("the kernel does not run the program");
	return (bench_now() - begin) * 1e9 / RUNS;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double measure(struct kernel *kernel, uint32_t repeat)
{
	double net[ROUNDS];

	kernel->measured->repeat = repeat;
	run(kernel->lookup);
	for (int r = 0; r < ROUNDS; r++) {
		kernel->measured->next = 0;
		net[r] = run(kernel->lookup);
		kernel->measured->next = 0;
		net[r] -= run(kernel->nothing);
	}
	qsort(net, ROUNDS, sizeof(*net), by_value);
	return net[ROUNDS / 2];
}

/* ---- answers ---- */

static uint32_t count_wrong(struct kernel *kernel)
{
	int32_t *expected = malloc(MEASURED_PACKETS * sizeof(*expected));
	size_t bytes;
	void *linear = bench_linear_simd.build(&set, &bytes);
	const struct contender *contender = linear ? &bench_linear_simd : &bench_linear;
	uint32_t wrong = 0, packets = set.packets_count < MEASURED_PACKETS ? set.packets_count : MEASURED_PACKETS;

	linear = linear ? linear : contender->build(&set, &bytes);
	contender->single(linear, 0, packets, expected);
	kernel->measured->next = kernel->measured->repeat = 0;
	memset(kernel->measured->answers, 0xff, sizeof(kernel->measured->answers));
	run(kernel->lookup);
	for (uint32_t i = 0; i < packets; i++)
		wrong += (int32_t)kernel->measured->answers[i] - 1 != expected[i];
	contender->free(linear);
	free(expected);
	return wrong;
}

int main(int argc, char **argv)
{
	bool json = argc == 4 && !strcmp(argv[3], "--json");
	struct bh_ruleset *ruleset;
	struct bh_table *table;
	struct kernel kernel = {0};
	const struct bh_table_head *head;
	struct bh_table_ref ref = {.id = 1};
	struct bh_error err;
	double begin, build, trace, again;
	uint32_t wrong;
	cpu_set_t cpu;

	if (argc != 3 && !json) {
		fprintf(stderr, "usage: bench-gate RULES TRACE [--json]\n");
		return 2;
	}
	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu);
	bench_read(&set, argv[1], argv[2]);
	ruleset = bench_ruleset(&set);
	begin = bench_now();
	if (bh_table_compile(&table, ruleset, BH_TABLE_MAX, &err))
		die(err.message);
	build = (bench_now() - begin) * 1e3;
	head = (const struct bh_table_head *)table->bytes;
	kernel_open(&kernel);
	if (bh_chunks_put(&kernel.chunks, 1, table->bytes, table->size, &err) ||
	    bh_chunks_find(&kernel.chunks, &ref, &err))
		die(err.message);
	kernel.measured->ref = ref;
	for (uint32_t i = 0; i < MEASURED_PACKETS; i++)
		kernel.measured->keys[i] = set.keys[i % set.packets_count];
	wrong = count_wrong(&kernel);
	trace = measure(&kernel, 0);
	again = measure(&kernel, AGAIN);
	if (json)
		printf("{\"rules\":%u,\"packets\":%u,\"wrong\":%u,\"build_ms\":%.1f,\"bytes\":%u,\"trace_ns\":%.1f,"
		       "\"again_ns\":%.1f,\"most_nodes\":%u,\"most_boxes\":%u}\n", set.rules_count, set.packets_count, wrong,
		       build, table->size, trace, again, head->most_nodes, head->most_cubes);
	else
		printf("in the gate: %u rules, %u packets, %u wrong; built in %.1f ms, %.1f KB, at most %u nodes and %u "
		       "boxes; a lookup %.1f ns, of a packet again %.1f ns\n", set.rules_count, set.packets_count, wrong,
		       build, table->size / 1024.0, head->most_nodes, head->most_cubes, trace, again);
	return wrong != 0;
}

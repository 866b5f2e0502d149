/*
 * gate.c - loads, pins and opens the gate, and reads and writes its maps. See gate.h.
 *
 * The object is embedded in the program. Everything is pinned by name and layout in one directory;
 * opening is getting each pin. What another version left there is upgrade.h's.
 */
#include "gate.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/log.h"
#include "gate_part.h"
#include "upgrade.h"

static const _Alignas(8) unsigned char gate_object[] = {
#include "engine/gate/gate.bpf.inc"
};

static const char *const map_names[MAPS] = {
	"bh_ports", "bh_state", "bh_spots", "bh_chunks_1m", "bh_chunks_8m", "bh_chunks_64m",
	"bh_flows", "bh_flow_memos", "bh_removals", "bh_ledger", "bh_shares", "bh_rooms", "bh_forwards", "bh_counts",
	"bh_pending", "bh_hits", "bh_records",
};
static const int map_layouts[MAPS] = {
	[PORTS] = BH_ABI, [STATE] = BH_ABI, [SPOTS] = BH_ABI, [CHUNKS_1M] = BH_ABI, [CHUNKS_8M] = BH_ABI,
	[CHUNKS_64M] = BH_ABI, [FLOWS] = BH_LAYOUT_FLOWS, [MEMOS] = BH_LAYOUT_FLOWS, [REMOVALS] = BH_LAYOUT_FLOWS,
	[LEDGER] = BH_LAYOUT_FLOWS, [SHARES] = BH_LAYOUT_FLOWS, [ROOMS] = BH_LAYOUT_FLOWS, [FORWARDS] = BH_ABI,
	[COUNTS] = BH_LAYOUT_COUNTS, [PENDING] = BH_LAYOUT_COUNTS, [HITS] = BH_LAYOUT_COUNTS,
	[RECORDS] = BH_LAYOUT_RECORDS,
};
/* One function is pinned by the names of both hooks, for which versions of other layouts look. */
static const char *const program_names[PROGRAMS] = {"bh_gate_out", "bh_gate_in", "bh_gate_probe", "bh_gate_forget"};
static const char *const function_names[PROGRAMS] = {"bh_gate", "bh_gate", "bh_gate_probe", "bh_gate_forget"};

/* libbpf's words go where ours do; most are for BULKHEAD_DEBUG. */
static int print(enum libbpf_print_level level, const char *format, va_list args)
{
	char text[512];

	(void)level;
	vsnprintf(text, sizeof(text), format, args);
	bh_log(BH_LOG_DEBUG, "%s", text);
	return 0;
}

static struct bh_gate_kernel *gate_new(void)
{
	struct bh_gate_kernel *gate = calloc(1, sizeof(*gate));

	for (int i = 0; gate && i < MAPS; i++)
		gate->maps[i] = -1;
	for (int i = 0; gate && i < PROGRAMS; i++)
		gate->programs[i] = -1;
	return gate;
}

static void own_clear(struct bh_own_rows *own)
{
	if (own->memory)
		munmap(own->memory, own->size);
}

void bh_gate_close(struct bh_gate_kernel **gate)
{
	if (!*gate)
		return;
	for (int i = 0; i < MAPS; i++)
		bh_cleanup_fd(&(*gate)->maps[i]);
	for (int i = 0; i < PROGRAMS; i++)
		bh_cleanup_fd(&(*gate)->programs[i]);
	bh_chunks_clear(&(*gate)->chunks);
	if ((*gate)->state)
		munmap((*gate)->state, sizeof(struct bh_state));
	if ((*gate)->room)
		munmap((*gate)->room, sizeof(struct bh_room));
	if ((*gate)->circle)
		munmap((void *)(*gate)->circle, sizeof(struct bh_circle));
	own_clear(&(*gate)->memos);
	own_clear(&(*gate)->pending);
	free(*gate);
	*gate = NULL;
}

/* Maps come first, then programs. */
static char *pin_name(char name[BH_PIN_NAME], int i)
{
	if (i < MAPS)
		snprintf(name, BH_PIN_NAME, "%s-%d", map_names[i], map_layouts[i]);
	else
		snprintf(name, BH_PIN_NAME, "%s-%d", program_names[i - MAPS], BH_ABI);
	return name;
}

static char *pin_path(char path[512], const char *directory, int i)
{
	char name[BH_PIN_NAME];

	snprintf(path, 512, "%s/%s", directory, pin_name(name, i));
	return path;
}

/* A map's own memory, or NULL and errno. */
static void *map_memory(int fd, size_t size, int protection)
{
	void *memory = mmap(NULL, size, protection, MAP_SHARED, fd, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

/* Rows of a map that has so many for each processor. */
static int own_map(struct bh_own_rows *own, int fd, uint32_t rows, size_t row_size)
{
	struct bpf_map_info info = {0};
	uint32_t length = sizeof(info);

	if (own->memory)
		return 0;
	if (bpf_obj_get_info_by_fd(fd, &info, &length))
		return -errno;
	own->processors = info.max_entries / rows;
	own->size = info.max_entries * row_size;
	own->memory = map_memory(fd, own->size, PROT_READ);
	return own->memory ? 0 : -errno;
}

int bh_gate_memos(struct bh_gate_kernel *gate, const struct bh_flow_memo **memos, uint32_t *processors)
{
	int rc = own_map(&gate->memos, gate->maps[MEMOS], BH_FLOW_MEMOS, sizeof(**memos));

	*memos = gate->memos.memory;
	*processors = gate->memos.processors;
	return rc;
}

bool bh_gate_has_pin(const char *entry)
{
	char name[BH_PIN_NAME];

	for (int i = 0; i < MAPS + PROGRAMS; i++)
		if (!strcmp(entry, pin_name(name, i)))
			return true;
	return false;
}

/* Gets every pin. -ENOENT if one is missing. */
static int gate_get(struct bh_gate_kernel *gate, const char *directory)
{
	char path[512];

	for (int i = 0; i < MAPS; i++) {
		gate->maps[i] = bpf_obj_get(pin_path(path, directory, i));
		if (gate->maps[i] < 0)
			return -errno;
	}
	for (int i = 0; i < PROGRAMS; i++) {
		gate->programs[i] = bpf_obj_get(pin_path(path, directory, MAPS + i));
		if (gate->programs[i] < 0)
			return -errno;
	}
	gate->state = map_memory(gate->maps[STATE], sizeof(*gate->state), PROT_READ | PROT_WRITE);
	gate->room = map_memory(gate->maps[ROOMS], sizeof(*gate->room), PROT_READ | PROT_WRITE);
	if (!gate->state || !gate->room)
		return -errno;
	gate->chunks.map = gate->maps[SPOTS];
	gate->chunks.serial = &gate->state->tables;
	gate->chunks.used = &gate->state->spots;
	for (int c = 0; c < BH_CHUNK_CLASSES; c++)
		gate->chunks.classes[c] = gate->maps[CHUNKS_1M + c];
	return 0;
}

/* The only row of a map that is not found pinned. Set before anything is pinned: what is found is whole. */
static int set_row(struct bpf_object *object, int map, const void *row, struct bh_error *err)
{
	uint32_t zero = 0;

	if (bpf_map_update_elem(bpf_map__fd(bpf_object__find_map_by_name(object, map_names[map])), &zero, row, BPF_ANY))
		return bh_error_errno(err, -errno, "cannot set what '%s' begins with", map_names[map]);
	return 0;
}

/* Goes on with the maps that are pinned: of a load that was cut short, or of another version. */
static int gate_reuse(struct bpf_object *object, const char *directory, bool reused[MAPS],
                      struct bh_error *err)
{
	char path[512];
	int rc = 0;

	for (int i = 0; !rc && i < MAPS; i++) {
		BH_AUTOFD int fd = bpf_obj_get(pin_path(path, directory, i));

		reused[i] = fd >= 0;
		if (fd >= 0 && (rc = bpf_map__reuse_fd(bpf_object__find_map_by_name(object, map_names[i]), fd)))
			bh_error_errno(err, rc, "cannot go on with the map pinned as '%s'", path);
	}
	return rc;
}

/* The numbers that processors may have: one more than the last in "0-7,16-23". -errno where /sys does not say. */
static int processor_numbers(struct bh_error *err)
{
	BH_AUTOFILE FILE *file = fopen("/sys/devices/system/cpu/possible", "re");
	char text[4096];
	const char *last;

	if (!file || !fgets(text, sizeof(text), file))
		return bh_error_errno(err, file ? -ENODATA : -errno, "cannot see what processors the gate may run on");
	last = text + strcspn(text, "\n");
	while (last > text && last[-1] >= '0' && last[-1] <= '9')
		last--;
	return atoi(last) + 1;
}

/* Gives each processor rows of its own in the maps that have such. */
static int set_processors(struct bpf_object *object, struct bh_error *err)
{
	static const char *const names[] = {"bh_conf_memos", "bh_forward_memos", "bh_flow_memos", "bh_pending", "bh_scratch"};
	int count = processor_numbers(err);

	for (size_t i = 0; count > 0 && i < sizeof(names) / sizeof(*names); i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, names[i]);

		bpf_map__set_max_entries(map, bpf_map__max_entries(map) * (uint32_t)count);
	}
	return count < 0 ? count : 0;
}

/* Loads the object and pins its parts; the programs last, so that a half pinned set is not found. */
static int gate_load(const char *directory, struct bh_error *err)
{
	static const struct bh_room room = {.capacity = BH_FLOWS_MAX};
	static const struct bh_state state = {.epoch = 1};
	bool reused[MAPS] = {false};
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "bulkhead");
	struct bpf_object *object = bpf_object__open_mem(gate_object, sizeof(gate_object), &opts);
	char path[512];
	int rc = object ? set_processors(object, err) : -errno;

	if (!rc)
		rc = gate_reuse(object, directory, reused, err);
	if (rc && object) {
		bpf_object__close(object);
		return rc;
	}
	rc = rc ? rc : bpf_object__load(object);
	if (rc)
		bh_error_errno(err, rc, "the kernel does not load the gate (Linux 6.1 or newer with BPF and BTF is needed)");
	if (!rc && !reused[ROOMS])
		rc = set_row(object, ROOMS, &room, err);
	if (!rc && !reused[STATE])
		rc = set_row(object, STATE, &state, err);
	for (int i = 0; !rc && i < MAPS; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, map_names[i]);

		if (reused[i])
			continue;
		rc = bpf_map__pin(map, pin_path(path, directory, i));
		if (rc)
			bh_error_errno(err, rc, "cannot pin '%s'", path);
	}
	for (int i = 0; !rc && i < PROGRAMS; i++) {
		struct bpf_program *program = bpf_object__find_program_by_name(object, function_names[i]);

		unlink(pin_path(path, directory, MAPS + i));
		rc = bpf_program__pin(program, path);
		if (rc)
			bh_error_errno(err, rc, "cannot pin '%s'", path);
	}
	if (object)
		bpf_object__close(object);
	return rc;
}

int bh_gate_open(struct bh_gate_kernel **out, const char *directory, bool create,
                 struct bh_error *err)
{
	struct bh_gate_kernel *gate = gate_new();
	int rc, other;

	libbpf_set_print(print);
	if (!gate)
		return bh_error_set(err, -ENOMEM, "not enough memory for the gate");
	rc = gate_get(gate, directory);
	other = rc == -ENOENT ? bh_upgrade_other(directory) : 0;
	if (other > BH_ABI || (other && !create)) {
		bh_gate_close(&gate);
		return bh_upgrade_refuse(other, err);
	}
	if (rc == -ENOENT && create) {
		bh_gate_close(&gate);
		rc = gate_load(directory, err);
		if (rc)
			return rc;
		gate = gate_new();
		rc = gate ? gate_get(gate, directory) : -ENOMEM;
	}
	if (rc) {
		bh_gate_close(&gate);
		return bh_error_errno(err, rc, "cannot open the gate pinned in '%s'", directory);
	}
	*out = gate;
	return 0;
}

int bh_gate_program(const struct bh_gate_kernel *gate, enum bh_direction direction)
{
	return gate->programs[direction == BH_OUT ? GATE_OUT : GATE_IN];
}

int bh_gate_processors(struct bh_error *err)
{
	int count = libbpf_num_possible_cpus();

	return count > 0 ? count : bh_error_errno(err, count ? count : -ENODATA, "cannot see for how many processors the gate counts");
}

#define BATCH 4096

int bh_gate_map_each(int fd, size_t key_size, size_t value_size,
                     int (*visit)(const void *key, const void *value, void *arg), void *arg, struct bh_error *err)
{
	BH_AUTOFREE uint8_t *keys = malloc(BATCH * key_size);
	BH_AUTOFREE uint8_t *values = malloc(BATCH * value_size);
	uint32_t token = 0, *from = NULL;
	bool more = true;

	if (!keys || !values)
		return bh_error_set(err, -ENOMEM, "not enough memory to read a map");
	while (more) {
		uint32_t count = BATCH;
		int rc = bpf_map_lookup_batch(fd, from, &token, keys, values, &count, NULL) ? -errno : 0;

		if (rc && rc != -ENOENT)
			return bh_error_errno(err, rc, "cannot read a map of the gate");
		more = !rc;
		from = &token;
		for (uint32_t i = 0; i < count; i++) {
			rc = visit(keys + i * key_size, values + i * value_size, arg);
			if (rc)
				return rc;
		}
	}
	return 0;
}

int bh_gate_table_put(struct bh_gate_kernel *gate, uint32_t id, const struct bh_table *table,
                      struct bh_error *err)
{
	return bh_chunks_put(&gate->chunks, id, table->bytes, table->size, err);
}

int bh_gate_table_read(struct bh_gate_kernel *gate, const struct bh_table_ref *ref, void **bytes,
                       struct bh_error *err)
{
	return bh_chunks_read(&gate->chunks, ref, bytes, err);
}

int bh_gate_table_remove(struct bh_gate_kernel *gate, uint32_t id, struct bh_error *err)
{
	return bh_chunks_remove(&gate->chunks, id, err);
}

/* What a processor's row has of the endpoint, and how often the rows were settled. */
static uint32_t add_pending(const volatile struct bh_pending *at, uint32_t endpoint, struct bh_counters *counters)
{
	struct bh_pending row = *at;

	if (row.endpoint == endpoint) {
		for (int d = 0; d < 2; d++) {
			counters->packets[d] += row.packets[d];
			counters->bytes[d] += row.bytes[d];
		}
		counters->direct += row.direct;
	}
	return row.turns;
}

#define READINGS 100 /* of counters at most */

/*
 * Counters, then rows, again and again. A reading holds if as often as that was settled before it and
 * after the next one, and nothing was being settled: rows change while they are read.
 */
int bh_gate_counters_read(struct bh_gate_kernel *gate, uint32_t endpoint,
                          struct bh_counters *counters, struct bh_error *err)
{
	int cpus = bh_gate_processors(err);
	BH_AUTOFREE struct bh_counters *each = cpus > 0 ? calloc((size_t)cpus, sizeof(*each)) : NULL;
	const struct bh_pending *rows;
	uint32_t before = 0, same = 0;
	int rc = own_map(&gate->pending, gate->maps[PENDING], BH_PENDING, sizeof(*rows));

	if (cpus < 0)
		return cpus;
	if (!each)
		return bh_error_set(err, -ENOMEM, "not enough memory for the counters of endpoint %u", endpoint);
	if (rc)
		return bh_error_errno(err, rc, "cannot read the counters of endpoint %u", endpoint);
	rows = (const struct bh_pending *)gate->pending.memory + endpoint % BH_PENDING;
	for (int i = 0; i < READINGS && same < 2; i++) {
		struct bh_counters now = {0};
		uint64_t *sum = (uint64_t *)&now;
		uint32_t turns = 0, settling = 0;

		if (bpf_map_lookup_elem(gate->maps[COUNTS], &endpoint, each))
			return bh_error_errno(err, -errno, "cannot read the counters of endpoint %u", endpoint);
		for (int cpu = 0; cpu < cpus; cpu++)
			for (size_t k = 0; k < sizeof(*each) / sizeof(*sum); k++)
				sum[k] += ((const uint64_t *)&each[cpu])[k];
		for (uint32_t cpu = 0; cpu < gate->pending.processors; cpu++) {
			uint32_t row = add_pending(&rows[cpu * BH_PENDING], endpoint, &now);

			turns += row;
			settling |= row & 1;
		}
		same = i && turns == before && !settling ? same + 1 : 0;
		before = turns;
		if (same < 2) /* the last one only vouches for the one before */
			*counters = now;
	}
	return 0;
}

struct hit_visit {
	int (*visit)(uint32_t endpoint, uint32_t rule, uint64_t packets, void *arg);
	void *arg;
};

static int visit_hit(const void *key, const void *value, void *arg)
{
	const struct bh_hit_key *hit = key;
	struct hit_visit *each = arg;

	return each->visit(hit->endpoint, hit->rule, *(const uint64_t *)value, each->arg);
}

int bh_gate_hits_each(struct bh_gate_kernel *gate,
                      int (*visit)(uint32_t endpoint, uint32_t rule, uint64_t packets, void *),
                      void *arg, struct bh_error *err)
{
	struct hit_visit each = {visit, arg};

	return bh_gate_map_each(gate->maps[HITS], sizeof(struct bh_hit_key), sizeof(uint64_t), visit_hit, &each, err);
}

void bh_gate_hit_remove(struct bh_gate_kernel *gate, uint32_t endpoint, uint32_t rule)
{
	struct bh_hit_key key = {endpoint, rule};

	bpf_map_delete_elem(gate->maps[HITS], &key);
}

void bh_gate_hit_move(struct bh_gate_kernel *gate, uint32_t endpoint, uint32_t from, uint32_t to)
{
	struct bh_hit_key old = {endpoint, from}, new = {endpoint, to};
	uint64_t packets = 0, more = 0;

	if (bpf_map_lookup_elem(gate->maps[HITS], &old, &packets))
		return;
	/* The gate may count between these two: a packet of a swap's first microseconds is lost to the count. */
	bpf_map_lookup_elem(gate->maps[HITS], &new, &more);
	packets += more;
	bpf_map_update_elem(gate->maps[HITS], &new, &packets, BPF_ANY);
	bpf_map_delete_elem(gate->maps[HITS], &old);
}

const struct bh_circle *bh_gate_circle(struct bh_gate_kernel *gate)
{
	if (!gate->circle)
		gate->circle = map_memory(gate->maps[RECORDS], sizeof(*gate->circle), PROT_READ);
	return gate->circle;
}

uint64_t bh_gate_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * BH_NS + (uint64_t)now.tv_nsec;
}

int bh_gate_test_run(struct bh_gate_kernel *gate, uint32_t ifindex, uint8_t direction,
                     const void *frame, uint32_t size, struct bh_verdict *verdict,
                     struct bh_error *err)
{
	struct __sk_buff context = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = size, .repeat = 1,
	            .ctx_in = &context, .ctx_size_in = sizeof(context), .ctx_out = &context,
	            .ctx_size_out = sizeof(context));

	context.cb[BH_PROBE_PORT] = ifindex;
	context.cb[BH_PROBE_DIRECTION] = direction;
	if (bpf_prog_test_run_opts(gate->programs[GATE_PROBE], &opts))
		return bh_error_errno(err, -errno, "the kernel does not run the gate on %u bytes", size);
	verdict->action = (uint8_t)context.cb[BH_PROBE_ACTION];
	verdict->audit = (uint8_t)(context.cb[BH_PROBE_ACTION] >> 8);
	verdict->by = (uint8_t)context.cb[BH_PROBE_BY];
	verdict->log = (uint8_t)(context.cb[BH_PROBE_ACTION] >> 16);
	verdict->rule = context.cb[BH_PROBE_RULE];
	return 0;
}

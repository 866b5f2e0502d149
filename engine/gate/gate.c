/*
 * gate.c - loads, pins, opens and attaches the gate, and reads and writes its maps. See gate.h.
 *
 * The object is embedded in the program. Everything is pinned by name in one directory; opening is
 * getting each pin. The pin `abi` names the layout, so that a later version knows what it finds.
 */
#include "gate.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../base/buffer.h"
#include "../base/cleanup.h"
#include "attach.h"
#include "chunks.h"
#include "maps.h"

static const _Alignas(8) unsigned char gate_object[] = {
#include "engine/gate/gate.bpf.inc"
};

enum {
	PORTS, STATE, SPOTS, GRAVES, CHUNKS_1M, CHUNKS_8M, CHUNKS_64M, FLOWS, LEDGER, SHARES, ROOMS, COUNTS, HITS,
	RECORDS, MAPS
};
enum { GATE_OUT, GATE_IN, GATE_PROBE, GATE_FORGET, PROGRAMS };

static const char *const map_names[MAPS] = {
	"bh_ports", "bh_state", "bh_spots", "bh_graves", "bh_chunks_1m", "bh_chunks_8m", "bh_chunks_64m",
	"bh_flows", "bh_ledger", "bh_shares", "bh_rooms", "bh_counts", "bh_hits", "bh_records",
};
static const char *const program_names[PROGRAMS] = {"bh_gate_out", "bh_gate_in", "bh_gate_probe",
                                                    "bh_gate_forget"};

struct bh_gate_kernel {
	int maps[MAPS];
	int programs[PROGRAMS];
	struct bh_chunks chunks;
	struct bh_state *state; /* the map's own memory: packets read it at the same time */
	struct bh_room *room;   /* likewise: the kernel counts in it */
	const struct bh_circle *circle; /* likewise */
};

static struct bh_gate_kernel *gate_new(void)
{
	struct bh_gate_kernel *gate = calloc(1, sizeof(*gate));

	for (int i = 0; gate && i < MAPS; i++)
		gate->maps[i] = -1;
	for (int i = 0; gate && i < PROGRAMS; i++)
		gate->programs[i] = -1;
	return gate;
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
	free(*gate);
	*gate = NULL;
}

static char *pin_path(char *path, const char *directory, const char *name)
{
	snprintf(path, 512, "%s/%s-%d", directory, name, BH_ABI);
	return path;
}

/* A map's own memory, or NULL and errno. */
static void *map_memory(int fd, size_t size, int protection)
{
	void *memory = mmap(NULL, size, protection, MAP_SHARED, fd, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

/* Gets every pin. -ENOENT if one is missing. */
static int gate_get(struct bh_gate_kernel *gate, const char *directory)
{
	char path[512];

	for (int i = 0; i < MAPS; i++) {
		gate->maps[i] = bpf_obj_get(pin_path(path, directory, map_names[i]));
		if (gate->maps[i] < 0)
			return -errno;
	}
	for (int i = 0; i < PROGRAMS; i++) {
		gate->programs[i] = bpf_obj_get(pin_path(path, directory, program_names[i]));
		if (gate->programs[i] < 0)
			return -errno;
	}
	gate->state = map_memory(gate->maps[STATE], sizeof(*gate->state), PROT_READ | PROT_WRITE);
	gate->room = map_memory(gate->maps[ROOMS], sizeof(*gate->room), PROT_READ | PROT_WRITE);
	gate->circle = map_memory(gate->maps[RECORDS], sizeof(*gate->circle), PROT_READ);
	if (!gate->state || !gate->room || !gate->circle)
		return -errno;
	gate->chunks.spots = gate->maps[SPOTS];
	gate->chunks.graves = gate->maps[GRAVES];
	gate->chunks.serial = &gate->state->tables;
	for (int c = 0; c < BH_CHUNK_CLASSES; c++)
		gate->chunks.classes[c] = gate->maps[CHUNKS_1M + c];
	return 0;
}

/* All that compartments may keep. Set before anything is pinned: what is found is whole. */
static int gate_set_room(struct bpf_object *object)
{
	struct bh_room room = {.capacity = BH_FLOWS_MAX};
	int rooms = bpf_map__fd(bpf_object__find_map_by_name(object, map_names[ROOMS]));
	struct bh_state state = {.epoch = 1};
	int states = bpf_map__fd(bpf_object__find_map_by_name(object, map_names[STATE]));
	uint32_t zero = 0;

	return bpf_map_update_elem(rooms, &zero, &room, BPF_ANY) ||
	       bpf_map_update_elem(states, &zero, &state, BPF_ANY) ? -errno : 0;
}

/* Loads the object and pins its parts; the programs last, so that a half pinned set is not found. */
static int gate_load(const char *directory, struct bh_error *err)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "bulkhead");
	struct bpf_object *object = bpf_object__open_mem(gate_object, sizeof(gate_object), &opts);
	char path[512];
	int rc = object ? bpf_object__load(object) : -errno;

	if (rc)
		bh_error_errno(err, rc, "the kernel does not load the gate (Linux 6.1 or newer with BPF is needed)");
	else if ((rc = gate_set_room(object)))
		bh_error_errno(err, rc, "cannot set what the gate may keep");
	for (int i = 0; !rc && i < MAPS; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, map_names[i]);

		unlink(pin_path(path, directory, map_names[i]));
		rc = bpf_map__pin(map, path);
		if (rc)
			bh_error_errno(err, rc, "cannot pin '%s'", path);
	}
	for (int i = 0; !rc && i < PROGRAMS; i++) {
		struct bpf_program *program = bpf_object__find_program_by_name(object, program_names[i]);

		unlink(pin_path(path, directory, program_names[i]));
		rc = bpf_program__pin(program, path);
		if (rc)
			bh_error_errno(err, rc, "cannot pin '%s'", path);
	}
	if (object)
		bpf_object__close(object);
	return rc;
}

/* The layout of pins that another version left; 0 if there are none. */
static int other_layout(const char *directory)
{
	DIR *pins = opendir(directory);
	struct dirent *entry;
	int layout = 0, found;

	while (pins && !layout && (entry = readdir(pins)))
		if (sscanf(entry->d_name, "bh_ports-%d", &found) == 1 && found != BH_ABI)
			layout = found;
	if (pins)
		closedir(pins);
	return layout;
}

int bh_gate_open(struct bh_gate_kernel **out, const char *directory, bool create,
                 struct bh_error *err)
{
	struct bh_gate_kernel *gate = gate_new();
	int rc, layout;

	bh_attach_quiet();
	if (!gate)
		return bh_error_set(err, -ENOMEM, "not enough memory for the gate");
	rc = gate_get(gate, directory);
	if (rc == -ENOENT && (layout = other_layout(directory))) {
		bh_gate_close(&gate);
		return bh_error_set(err, -EPROTO, "the gate pinned in '%.200s' has layout %d, this program's has %d: "
		                    "it was loaded by another version of Bulkhead", directory, layout, BH_ABI);
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

int bh_gate_unpin(const char *directory, struct bh_error *err)
{
	char path[512];

	for (int i = 0; i < MAPS + PROGRAMS; i++) {
		pin_path(path, directory, i < MAPS ? map_names[i] : program_names[i - MAPS]);
		if (unlink(path) && errno != ENOENT)
			return bh_error_errno(err, -errno, "cannot remove '%s'", path);
	}
	return 0;
}

int bh_gate_attach(struct bh_gate_kernel *gate, unsigned ifindex, struct bh_error *err)
{
	int rc = bh_attach_program(ifindex, BPF_TC_INGRESS, gate->programs[GATE_OUT], err);

	return rc ? rc : bh_attach_program(ifindex, BPF_TC_EGRESS, gate->programs[GATE_IN], err);
}

#define BATCH 4096

/* All rows of a map, many at a time; `visit` returns non-zero to stop, which is then returned. */
static int map_each(int fd, size_t key_size, size_t value_size,
                    int (*visit)(const void *key, const void *value, void *arg), void *arg,
                    struct bh_error *err)
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

/* Fills in where the conf's tables are, and writes a port's slots. */
static int put_slots(struct bh_gate_kernel *gate, uint32_t ifindex, struct bh_slots *slots, uint32_t slot,
                     const struct bh_conf *conf, struct bh_error *err)
{
	int rc = 0;

	slots->confs[slot] = *conf;
	for (int i = 0; !rc && i < 2; i++)
		rc = bh_chunks_find(&gate->chunks, &slots->confs[slot].tables[i], err);
	if (!rc && bpf_map_update_elem(gate->maps[PORTS], &ifindex, slots, BPF_ANY))
		rc = bh_error_errno(err, -errno, "cannot set the gate of endpoint %u", conf->endpoint);
	return rc;
}

int bh_gate_conf_put(struct bh_gate_kernel *gate, uint32_t ifindex, const struct bh_conf *conf,
                     struct bh_error *err)
{
	struct bh_slots slots = {.since = {gate->state->epoch, 0}};
	struct bh_counters zero = {0};
	/* The conf first: what is left after a crash is found by it. */
	int rc = put_slots(gate, ifindex, &slots, 0, conf, err);

	if (!rc && bpf_map_update_elem(gate->maps[COUNTS], &conf->endpoint, &zero, BPF_NOEXIST) &&
	    errno != EEXIST)
		rc = bh_error_errno(err, -errno, "cannot make the counters of endpoint %u", conf->endpoint);
	return rc;
}

int bh_gate_conf_stage(struct bh_gate_kernel *gate, uint32_t ifindex, const struct bh_conf *conf,
                       struct bh_error *err)
{
	struct bh_slots slots;
	uint32_t spare;

	if (bpf_map_lookup_elem(gate->maps[PORTS], &ifindex, &slots))
		return bh_error_errno(err, -errno, "cannot read the gate of interface %u", ifindex);
	spare = !bh_slot_in_force(&slots, gate->state->epoch);
	slots.since[spare] = gate->state->epoch + 1;
	return put_slots(gate, ifindex, &slots, spare, conf, err);
}

struct staged {
	struct bh_gate_kernel *gate;
	struct bh_buffer ports;
};

static int note_staged(const void *key, const void *value, void *arg)
{
	struct staged *staged = arg;
	const struct bh_slots *slots = value;

	if (slots->since[0] > staged->gate->state->epoch || slots->since[1] > staged->gate->state->epoch)
		bh_buffer_append(&staged->ports, key, sizeof(uint32_t));
	return staged->ports.failed ? -ENOMEM : 0;
}

int bh_gate_conf_unstage(struct bh_gate_kernel *gate, struct bh_error *err)
{
	struct staged staged = {.gate = gate};
	int rc = map_each(gate->maps[PORTS], sizeof(uint32_t), sizeof(struct bh_slots), note_staged, &staged, err);

	for (size_t at = 0; !rc && at < staged.ports.size; at += sizeof(uint32_t)) {
		struct bh_slots slots;
		uint32_t port;

		memcpy(&port, staged.ports.data + at, sizeof(port));
		if (bpf_map_lookup_elem(gate->maps[PORTS], &port, &slots))
			continue;
		slots.since[!bh_slot_in_force(&slots, gate->state->epoch)] = 0;
		if (bpf_map_update_elem(gate->maps[PORTS], &port, &slots, BPF_EXIST) && errno != ENOENT)
			rc = bh_error_errno(err, -errno, "cannot take back what the gate of interface %u was to be", port);
	}
	bh_buffer_clear(&staged.ports);
	return rc;
}

void bh_gate_conf_commit(struct bh_gate_kernel *gate)
{
	__atomic_add_fetch(&gate->state->epoch, 1, __ATOMIC_SEQ_CST);
}

static int read_conf(struct bh_gate_kernel *gate, uint32_t ifindex, struct bh_conf *conf)
{
	struct bh_slots slots;

	if (bpf_map_lookup_elem(gate->maps[PORTS], &ifindex, &slots))
		return -errno;
	*conf = slots.confs[bh_slot_in_force(&slots, gate->state->epoch)];
	return 0;
}

int bh_gate_conf_read(struct bh_gate_kernel *gate, uint32_t ifindex, struct bh_conf *conf,
                      struct bh_error *err)
{
	int rc = read_conf(gate, ifindex, conf);

	return rc ? bh_error_errno(err, rc, "cannot read the gate of interface %u", ifindex) : 0;
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

/* What no guarantee can claim may be borrowed: it shrinks by one guarantee a compartment. */
int bh_gate_share_put(struct bh_gate_kernel *gate, uint32_t compartment, struct bh_error *err)
{
	struct bh_share share = {0};

	if (gate->room->capacity < BH_FLOWS_GUARANTEED)
		return bh_error_set(err, -ENOSPC, "the flow table guarantees %d flows to at most %u compartments",
		                    BH_FLOWS_GUARANTEED, BH_FLOWS_MAX / BH_FLOWS_GUARANTEED);
	if (!bpf_map_update_elem(gate->maps[SHARES], &compartment, &share, BPF_NOEXIST))
		__sync_fetch_and_sub(&gate->room->capacity, BH_FLOWS_GUARANTEED);
	else if (errno != EEXIST)
		return bh_error_errno(err, -errno, "cannot make the flow account of compartment %u",
		                      compartment);
	return 0;
}

int bh_gate_share_remove(struct bh_gate_kernel *gate, uint32_t compartment, struct bh_error *err)
{
	if (!bpf_map_delete_elem(gate->maps[SHARES], &compartment))
		__sync_fetch_and_add(&gate->room->capacity, BH_FLOWS_GUARANTEED);
	else if (errno != ENOENT)
		return bh_error_errno(err, -errno, "cannot remove the flow account of compartment %u",
		                      compartment);
	return 0;
}

int bh_gate_flow_read(struct bh_gate_kernel *gate, const struct bh_flow_key *key,
                      struct bh_flow *flow)
{
	return bpf_map_lookup_elem(gate->maps[FLOWS], key, flow) ? -errno : 0;
}

struct flow_visit {
	int (*visit)(const struct bh_flow_key *, const struct bh_flow *, void *);
	void *arg;
};

static int visit_flow(const void *key, const void *value, void *arg)
{
	struct flow_visit *each = arg;

	return each->visit(key, value, each->arg);
}

int bh_gate_flow_each(struct bh_gate_kernel *gate,
                      int (*visit)(const struct bh_flow_key *, const struct bh_flow *, void *),
                      void *arg, struct bh_error *err)
{
	struct flow_visit each = {visit, arg};

	return map_each(gate->maps[FLOWS], sizeof(struct bh_flow_key), sizeof(struct bh_flow), visit_flow,
	                &each, err);
}

/* Keys of an endpoint's rows, collected first: deleting during a walk restarts it. */
struct doomed {
	uint32_t endpoint;
	struct bh_buffer keys;
};

static int doom(const struct bh_flow_key *key, const struct bh_flow *flow, void *arg)
{
	struct doomed *doomed = arg;

	(void)flow;
	if (key->endpoint == doomed->endpoint)
		bh_buffer_append(&doomed->keys, key, sizeof(*key));
	return doomed->keys.failed ? -ENOMEM : 0;
}

/*
 * The keys of an endpoint's flows: by the ledger of its compartment, or, where flows long gone have
 * left more gaps there than the whole table has rows, by the table.
 */
static int gate_collect(struct bh_gate_kernel *gate, const struct bh_conf *conf,
                        struct doomed *doomed, struct bh_error *err)
{
	uint64_t places = 0;
	struct bh_share share;

	if (bpf_map_lookup_elem(gate->maps[SHARES], &conf->compartment, &share))
		return 0;
	for (int list = 0; list < BH_LISTS; list++)
		places += share.tail[list] - share.head[list];
	if (places > BH_FLOWS_MAX)
		return bh_gate_flow_each(gate, doom, doomed, err);
	for (uint32_t list = 0; list < BH_LISTS; list++)
		for (uint64_t at = share.head[list]; at < share.tail[list]; at++) {
			struct bh_ledger_key place = {conf->compartment, list, at};
			struct bh_flow_key key;

			if (!bpf_map_lookup_elem(gate->maps[LEDGER], &place, &key) && doom(&key, NULL, doomed))
				return bh_error_set(err, -ENOMEM, "not enough memory to forget flows");
		}
	return 0;
}

/* The kernel forgets them itself, with the accounts that it may be charging at this moment. */
static int gate_forget_flows(struct bh_gate_kernel *gate, const struct bh_conf *conf,
                             struct bh_error *err)
{
	uint8_t frame[BH_FORGET_AT + sizeof(struct bh_flow_key)] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame), .repeat = 1);
	struct doomed doomed = {.endpoint = conf->endpoint};
	int rc = gate_collect(gate, conf, &doomed, err);

	for (size_t at = 0; at < doomed.keys.size; at += sizeof(struct bh_flow_key)) {
		memcpy(frame + BH_FORGET_AT, doomed.keys.data + at, sizeof(struct bh_flow_key));
		if (bpf_prog_test_run_opts(gate->programs[GATE_FORGET], &opts) && !rc)
			rc = bh_error_errno(err, -errno, "the kernel does not forget the flows of endpoint %u",
			                    conf->endpoint);
	}
	bh_buffer_clear(&doomed.keys);
	return rc;
}

int bh_gate_counters_read(struct bh_gate_kernel *gate, uint32_t endpoint,
                          struct bh_counters *counters, struct bh_error *err)
{
	if (bpf_map_lookup_elem(gate->maps[COUNTS], &endpoint, counters))
		return bh_error_errno(err, -errno, "cannot read the counters of endpoint %u", endpoint);
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

	return map_each(gate->maps[HITS], sizeof(struct bh_hit_key), sizeof(uint64_t), visit_hit, &each, err);
}

void bh_gate_hit_remove(struct bh_gate_kernel *gate, uint32_t endpoint, uint32_t rule)
{
	struct bh_hit_key key = {endpoint, rule};

	bpf_map_delete_elem(gate->maps[HITS], &key);
}

/* Keys of an endpoint's hits, collected first. */
static int doom_hit(uint32_t endpoint, uint32_t rule, uint64_t packets, void *arg)
{
	struct doomed *doomed = arg;

	(void)packets;
	if (endpoint == doomed->endpoint)
		bh_buffer_append(&doomed->keys, &rule, sizeof(rule));
	return 0;
}

static void gate_forget_hits(struct bh_gate_kernel *gate, uint32_t endpoint)
{
	struct doomed doomed = {.endpoint = endpoint};

	bh_gate_hits_each(gate, doom_hit, &doomed, NULL);
	for (size_t at = 0; at < doomed.keys.size; at += sizeof(uint32_t)) {
		uint32_t rule;

		memcpy(&rule, doomed.keys.data + at, sizeof(rule));
		bh_gate_hit_remove(gate, endpoint, rule);
	}
	bh_buffer_clear(&doomed.keys);
}

int bh_gate_conf_remove(struct bh_gate_kernel *gate, uint32_t ifindex, struct bh_error *err)
{
	struct bh_conf conf;
	int rc;

	if (read_conf(gate, ifindex, &conf))
		return 0;
	rc = gate_forget_flows(gate, &conf, err);
	gate_forget_hits(gate, conf.endpoint);
	bpf_map_delete_elem(gate->maps[COUNTS], &conf.endpoint);
	/* Last: it is what a removal that a crash cut short is found by. */
	if (bpf_map_delete_elem(gate->maps[PORTS], &ifindex) && errno != ENOENT)
		return bh_error_errno(err, -errno, "cannot remove the gate of endpoint %u", conf.endpoint);
	return rc;
}

int bh_gate_share_read(struct bh_gate_kernel *gate, uint32_t compartment, struct bh_share *share)
{
	return bpf_map_lookup_elem(gate->maps[SHARES], &compartment, share) ? -errno : 0;
}

const struct bh_circle *bh_gate_circle(const struct bh_gate_kernel *gate)
{
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

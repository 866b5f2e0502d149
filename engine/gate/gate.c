/*
 * gate.c - loads, pins, opens and attaches the gate, and reads and writes its maps. See gate.h.
 *
 * The object is embedded in the program. Everything is pinned by name and layout in one directory;
 * opening is getting each pin. What another version left there is upgrade.h's.
 */
#include "gate.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
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
#include "maps.h"
#include "upgrade.h"

static const _Alignas(8) unsigned char gate_object[] = {
#include "engine/gate/gate.bpf.inc"
};

enum { PORTS, PAGES, FLOWS, LEDGER, SHARES, ROOMS, FORWARDS, COUNTS, HITS, RECORDS, MAPS };
enum { GATE_OUT, GATE_IN, GATE_PROBE, GATE_FORGET, PROGRAMS };

static const char *const map_names[MAPS] = {
	"bh_ports", "bh_pages", "bh_flows", "bh_ledger", "bh_shares", "bh_rooms", "bh_forwards",
	"bh_counts", "bh_hits", "bh_records",
};
static const int map_layouts[MAPS] = {
	[PORTS] = BH_ABI, [PAGES] = BH_ABI, [FORWARDS] = BH_ABI, [FLOWS] = BH_LAYOUT_FLOWS,
	[LEDGER] = BH_LAYOUT_FLOWS, [SHARES] = BH_LAYOUT_FLOWS, [ROOMS] = BH_LAYOUT_FLOWS,
	[COUNTS] = BH_LAYOUT_COUNTS, [HITS] = BH_LAYOUT_COUNTS, [RECORDS] = BH_LAYOUT_RECORDS,
};
static const char *const program_names[PROGRAMS] = {"bh_gate_out", "bh_gate_in", "bh_gate_probe",
                                                    "bh_gate_forget"};

struct bh_gate_kernel {
	int maps[MAPS];
	int programs[PROGRAMS];
	struct bh_room *room; /* the map's own memory: the kernel counts in it at the same time */
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
	if ((*gate)->room)
		munmap((*gate)->room, sizeof(struct bh_room));
	if ((*gate)->circle)
		munmap((void *)(*gate)->circle, sizeof(struct bh_circle));
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
	void *circle;

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
	gate->room = mmap(NULL, sizeof(*gate->room), PROT_READ | PROT_WRITE, MAP_SHARED, gate->maps[ROOMS], 0);
	if (gate->room == MAP_FAILED) {
		gate->room = NULL;
		return -errno;
	}
	circle = mmap(NULL, sizeof(struct bh_circle), PROT_READ, MAP_SHARED, gate->maps[RECORDS], 0);
	if (circle == MAP_FAILED)
		return -errno;
	gate->circle = circle;
	return 0;
}

/* All that compartments may keep. Set before anything is pinned: what is found is whole. */
static int gate_set_room(struct bpf_object *object)
{
	struct bh_room room = {.capacity = BH_FLOWS_MAX};
	int rooms = bpf_map__fd(bpf_object__find_map_by_name(object, map_names[ROOMS]));
	uint32_t zero = 0;

	return bpf_map_update_elem(rooms, &zero, &room, BPF_ANY) ? -errno : 0;
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

/* Loads the object and pins its parts; the programs last, so that a half pinned set is not found. */
static int gate_load(const char *directory, struct bh_error *err)
{
	bool reused[MAPS] = {false};
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "bulkhead");
	struct bpf_object *object = bpf_object__open_mem(gate_object, sizeof(gate_object), &opts);
	char path[512];
	int rc = object ? gate_reuse(object, directory, reused, err) : -errno;

	if (rc && object) {
		bpf_object__close(object);
		return rc;
	}
	rc = rc ? rc : bpf_object__load(object);
	if (rc)
		bh_error_errno(err, rc, "the kernel does not load the gate (Linux 6.1 or newer with BPF is needed)");
	else if (!reused[ROOMS] && (rc = gate_set_room(object)))
		bh_error_errno(err, rc, "cannot set what the gate may keep");
	for (int i = 0; !rc && i < MAPS; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, map_names[i]);

		if (reused[i])
			continue;
		rc = bpf_map__pin(map, pin_path(path, directory, i));
		if (rc)
			bh_error_errno(err, rc, "cannot pin '%s'", path);
	}
	for (int i = 0; !rc && i < PROGRAMS; i++) {
		struct bpf_program *program = bpf_object__find_program_by_name(object, program_names[i]);

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

	bh_attach_quiet();
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

int bh_gate_attach(struct bh_gate_kernel *gate, unsigned ifindex, struct bh_error *err)
{
	int rc = bh_attach_program(ifindex, BPF_TC_INGRESS, gate->programs[GATE_OUT], err);

	return rc ? rc : bh_attach_program(ifindex, BPF_TC_EGRESS, gate->programs[GATE_IN], err);
}

/* One set for each processor, which counts without minding the others. */
static int counters_make(struct bh_gate_kernel *gate, uint32_t endpoint, struct bh_error *err)
{
	int cpus = libbpf_num_possible_cpus();
	BH_AUTOFREE struct bh_counters *zero = cpus > 0 ? calloc((size_t)cpus, sizeof(*zero)) : NULL;

	if (!zero)
		return bh_error_set(err, -ENOMEM, "not enough memory for the counters of endpoint %u", endpoint);
	if (bpf_map_update_elem(gate->maps[COUNTS], &endpoint, zero, BPF_NOEXIST) && errno != EEXIST)
		return bh_error_errno(err, -errno, "cannot make the counters of endpoint %u", endpoint);
	return 0;
}

int bh_gate_conf_put(struct bh_gate_kernel *gate, uint32_t ifindex, const struct bh_conf *conf,
                     struct bh_error *err)
{
	/* The conf first: what is left after a crash is found by it. */
	if (bpf_map_update_elem(gate->maps[PORTS], &ifindex, conf, BPF_ANY))
		return bh_error_errno(err, -errno, "cannot set the gate of endpoint %u", conf->endpoint);
	return counters_make(gate, conf->endpoint, err);
}

static struct bh_forward_key forward_key(const struct bh_conf *conf)
{
	struct bh_forward_key key = {.network = conf->network};

	memcpy(key.mac, conf->mac, 6);
	return key;
}

int bh_gate_forward_put(struct bh_gate_kernel *gate, uint32_t ifindex, uint32_t mtu,
                        struct bh_error *err)
{
	struct bh_forward forward = {.port = ifindex, .mtu = mtu};
	struct bh_forward_key key;
	struct bh_conf conf;
	int rc = bh_gate_conf_read(gate, ifindex, &conf, err);

	if (rc)
		return rc;
	key = forward_key(&conf);
	if (bpf_map_update_elem(gate->maps[FORWARDS], &key, &forward, BPF_ANY))
		return bh_error_errno(err, -errno, "cannot put endpoint %u into the forwarding table",
		                      conf.endpoint);
	return 0;
}

/* Its place in the forwarding table, unless another has it by now. */
static void forward_remove(struct bh_gate_kernel *gate, uint32_t ifindex, const struct bh_conf *conf)
{
	struct bh_forward_key key = forward_key(conf);
	struct bh_forward forward;

	if (!bpf_map_lookup_elem(gate->maps[FORWARDS], &key, &forward) && forward.port == ifindex)
		bpf_map_delete_elem(gate->maps[FORWARDS], &key);
}

int bh_gate_conf_read(struct bh_gate_kernel *gate, uint32_t ifindex, struct bh_conf *conf,
                      struct bh_error *err)
{
	if (bpf_map_lookup_elem(gate->maps[PORTS], &ifindex, conf))
		return bh_error_errno(err, -errno, "cannot read the gate of interface %u", ifindex);
	return 0;
}

int bh_gate_table_put(struct bh_gate_kernel *gate, uint32_t id, const struct bh_table *table,
                      struct bh_error *err)
{
	uint32_t count = table->blocks[BH_IN] + table->blocks[BH_OUT];

	for (uint32_t i = 0; i < count; i++) {
		struct bh_page_key key = {id, i};

		if (bpf_map_update_elem(gate->maps[PAGES], &key, table->pages + (size_t)i * BH_PAGE_SIZE,
		                        BPF_ANY)) {
			int rc = -errno;

			bh_gate_table_remove(gate, id, NULL);
			return bh_error_errno(err, rc, "the kernel has no room for a table of %u pages (of %u)",
			                      count, BH_PAGES_MAX);
		}
	}
	return 0;
}

int bh_gate_table_read(struct bh_gate_kernel *gate, uint32_t id, uint32_t page, void *to,
                       struct bh_error *err)
{
	struct bh_page_key key = {id, page};

	if (bpf_map_lookup_elem(gate->maps[PAGES], &key, to))
		return bh_error_errno(err, -errno, "cannot read page %u of table %u", page, id);
	return 0;
}

/*
 * However many pages it was said to have: a crash may have published some of a table. The last goes
 * first, so that after a crash the pages that are left are found again, from 0 on.
 */
int bh_gate_table_remove(struct bh_gate_kernel *gate, uint32_t id, struct bh_error *err)
{
	struct bh_page_key key = {id, 0};
	uint8_t page[BH_PAGE_SIZE];

	while (key.page < BH_PAGES_MAX && !bpf_map_lookup_elem(gate->maps[PAGES], &key, page))
		key.page++;
	while (key.page-- > 0)
		if (bpf_map_delete_elem(gate->maps[PAGES], &key) && errno != ENOENT)
			return bh_error_errno(err, -errno, "cannot remove table %u", id);
	return 0;
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

static int count_share(const void *key, const void *value, void *arg)
{
	(void)key;
	(void)value;
	++*(uint64_t *)arg;
	return 0;
}

/* What no guarantee can claim may be borrowed. Counted anew each time: a kill may have come between. */
static int gate_share_out(struct bh_gate_kernel *gate, struct bh_error *err)
{
	uint64_t shares = 0;
	int rc = map_each(gate->maps[SHARES], sizeof(uint32_t), sizeof(struct bh_share), count_share, &shares, err);

	if (rc)
		return rc;
	if (shares * BH_FLOWS_GUARANTEED > BH_FLOWS_MAX)
		return bh_error_set(err, -ENOSPC, "the flow table guarantees %d flows to at most %u compartments",
		                    BH_FLOWS_GUARANTEED, BH_FLOWS_MAX / BH_FLOWS_GUARANTEED);
	__atomic_store_n(&gate->room->capacity, BH_FLOWS_MAX - shares * BH_FLOWS_GUARANTEED, __ATOMIC_RELAXED);
	return 0;
}

int bh_gate_share_put(struct bh_gate_kernel *gate, uint32_t compartment, struct bh_error *err)
{
	struct bh_share share = {0};
	int rc;

	if (bpf_map_update_elem(gate->maps[SHARES], &compartment, &share, BPF_NOEXIST) && errno != EEXIST)
		return bh_error_errno(err, -errno, "cannot make the flow account of compartment %u",
		                      compartment);
	rc = gate_share_out(gate, err);
	if (rc)
		bpf_map_delete_elem(gate->maps[SHARES], &compartment);
	return rc;
}

int bh_gate_share_remove(struct bh_gate_kernel *gate, uint32_t compartment, struct bh_error *err)
{
	if (bpf_map_delete_elem(gate->maps[SHARES], &compartment) && errno != ENOENT)
		return bh_error_errno(err, -errno, "cannot remove the flow account of compartment %u",
		                      compartment);
	return gate_share_out(gate, err);
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

int bh_gate_flow_each_of(struct bh_gate_kernel *gate, uint32_t ifindex,
                         int (*visit)(const struct bh_flow_key *, void *), void *arg,
                         struct bh_error *err)
{
	struct bh_conf conf;
	struct doomed found = {0};
	int rc;

	if (bpf_map_lookup_elem(gate->maps[PORTS], &ifindex, &conf))
		return 0;
	found.endpoint = conf.endpoint;
	rc = gate_collect(gate, &conf, &found, err);
	for (size_t at = 0; !rc && at < found.keys.size; at += sizeof(struct bh_flow_key)) {
		struct bh_flow_key key;

		memcpy(&key, found.keys.data + at, sizeof(key));
		rc = visit(&key, arg);
	}
	bh_buffer_clear(&found.keys);
	return rc;
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
	int cpus = libbpf_num_possible_cpus();
	BH_AUTOFREE struct bh_counters *each = cpus > 0 ? calloc((size_t)cpus, sizeof(*each)) : NULL;
	uint64_t *sum = (uint64_t *)counters;

	if (!each)
		return bh_error_set(err, -ENOMEM, "not enough memory for the counters of endpoint %u", endpoint);
	if (bpf_map_lookup_elem(gate->maps[COUNTS], &endpoint, each))
		return bh_error_errno(err, -errno, "cannot read the counters of endpoint %u", endpoint);
	*counters = (struct bh_counters){0};
	for (int cpu = 0; cpu < cpus; cpu++)
		for (size_t i = 0; i < sizeof(*each) / sizeof(*sum); i++)
			sum[i] += ((const uint64_t *)&each[cpu])[i];
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

int bh_gate_conf_remove(struct bh_gate_kernel *gate, uint32_t ifindex, struct bh_error *err)
{
	struct bh_conf conf;
	int rc;

	if (bpf_map_lookup_elem(gate->maps[PORTS], &ifindex, &conf))
		return 0;
	forward_remove(gate, ifindex, &conf);
	rc = gate_forget_flows(gate, &conf, err);
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

void bh_gate_room_read(const struct bh_gate_kernel *gate, struct bh_room *room)
{
	*room = *gate->room;
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

/*
 * gate_ports.c - what each port is to enforce, one by one or many at once (struct bh_slots), its place in
 * the forwarding table, and its counters.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../base/buffer.h"
#include "../base/cleanup.h"
#include "gate_part.h"

/* One set for each processor, which counts without minding the others. */
static int counters_make(struct bh_gate_kernel *gate, uint32_t endpoint, struct bh_error *err)
{
	int cpus = bh_gate_processors(err);
	BH_AUTOFREE struct bh_counters *zero = cpus > 0 ? calloc((size_t)cpus, sizeof(*zero)) : NULL;

	if (cpus < 0)
		return cpus;
	if (!zero)
		return bh_error_set(err, -ENOMEM, "not enough memory for the counters of endpoint %u", endpoint);
	if (bpf_map_update_elem(gate->maps[COUNTS], &endpoint, zero, BPF_NOEXIST) && errno != EEXIST)
		return bh_error_errno(err, -errno, "cannot make the counters of endpoint %u", endpoint);
	return 0;
}

/*
 * Around any change of what processors remember of these maps (memo.h in the gate's text). What a kill
 * leaves half done leaves the number odd, and nothing is remembered until the next change is through.
 */
static void changes_begin(struct bh_gate_kernel *gate)
{
	__atomic_or_fetch(&gate->state->changes, 1, __ATOMIC_SEQ_CST);
}

static void changes_end(struct bh_gate_kernel *gate)
{
	uint64_t now = gate->state->changes;

	while (!__atomic_compare_exchange_n(&gate->state->changes, &now, (now | 1) + 1, false, __ATOMIC_SEQ_CST,
	                                    __ATOMIC_SEQ_CST))
		;
}

/* As bpf_map_update_elem(), without `value` bpf_map_delete_elem(): 0 or -errno. */
static int change(struct bh_gate_kernel *gate, int map, const void *key, const void *value, uint64_t flags)
{
	int rc;

	changes_begin(gate);
	rc = value ? bpf_map_update_elem(gate->maps[map], key, value, flags) : bpf_map_delete_elem(gate->maps[map], key);
	rc = rc ? -errno : 0;
	changes_end(gate);
	return rc;
}

/* Fills in where the conf's tables are, and writes a port's slots. */
static int put_slots(struct bh_gate_kernel *gate, uint32_t ifindex, struct bh_slots *slots, uint32_t slot,
                     const struct bh_conf *conf, struct bh_error *err)
{
	int rc = 0;

	slots->confs[slot] = *conf;
	for (int i = 0; !rc && i < 2; i++)
		rc = bh_chunks_find(&gate->chunks, &slots->confs[slot].tables[i], err);
	if (rc)
		return rc;
	rc = change(gate, PORTS, &ifindex, slots, BPF_ANY);
	return rc ? bh_error_errno(err, rc, "cannot set the gate of endpoint %u", conf->endpoint) : 0;
}

int bh_gate_conf_put(struct bh_gate_kernel *gate, uint32_t ifindex, const struct bh_conf *conf,
                     struct bh_error *err)
{
	struct bh_slots slots = {.since = {1, 0}}; /* in force at any epoch */
	/* The conf first: what is left after a crash is found by it. */
	int rc = put_slots(gate, ifindex, &slots, 0, conf, err);

	return rc ? rc : counters_make(gate, conf->endpoint, err);
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
	int rc = bh_gate_map_each(gate->maps[PORTS], sizeof(uint32_t), sizeof(struct bh_slots), note_staged, &staged, err);

	for (size_t at = 0; !rc && at < staged.ports.size; at += sizeof(uint32_t)) {
		struct bh_slots slots;
		uint32_t port;

		memcpy(&port, staged.ports.data + at, sizeof(port));
		if (bpf_map_lookup_elem(gate->maps[PORTS], &port, &slots))
			continue;
		slots.since[!bh_slot_in_force(&slots, gate->state->epoch)] = 0;
		rc = change(gate, PORTS, &port, &slots, BPF_EXIST);
		rc = rc == -ENOENT ? 0 : rc;
		if (rc)
			bh_error_errno(err, rc, "cannot take back what the gate of interface %u was to be", port);
	}
	bh_buffer_clear(&staged.ports);
	return rc;
}

void bh_gate_conf_commit(struct bh_gate_kernel *gate)
{
	__atomic_add_fetch(&gate->state->epoch, 1, __ATOMIC_SEQ_CST);
}

int bh_gate_conf_get(struct bh_gate_kernel *gate, uint32_t ifindex, struct bh_conf *conf)
{
	struct bh_slots slots;

	if (bpf_map_lookup_elem(gate->maps[PORTS], &ifindex, &slots))
		return -errno;
	*conf = slots.confs[bh_slot_in_force(&slots, gate->state->epoch)];
	return 0;
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
	rc = change(gate, FORWARDS, &key, &forward, BPF_ANY);
	return rc ? bh_error_errno(err, rc, "cannot put endpoint %u into the forwarding table", conf.endpoint) : 0;
}

/* Its place in the forwarding table, unless another has it by now. */
static void forward_remove(struct bh_gate_kernel *gate, uint32_t ifindex, const struct bh_conf *conf)
{
	struct bh_forward_key key = forward_key(conf);
	struct bh_forward forward;

	if (!bpf_map_lookup_elem(gate->maps[FORWARDS], &key, &forward) && forward.port == ifindex)
		change(gate, FORWARDS, &key, NULL, 0);
}

int bh_gate_conf_read(struct bh_gate_kernel *gate, uint32_t ifindex, struct bh_conf *conf,
                      struct bh_error *err)
{
	int rc = bh_gate_conf_get(gate, ifindex, conf);

	return rc ? bh_error_errno(err, rc, "cannot read the gate of interface %u", ifindex) : 0;
}

int bh_gate_conf_remove(struct bh_gate_kernel *gate, uint32_t ifindex, struct bh_error *err)
{
	struct bh_conf conf;
	int rc, gone;

	if (bh_gate_conf_get(gate, ifindex, &conf)) {
		if (gate->state->changes & 1) /* a removal that a kill cut short at its end */
			changes_end(gate);
		return 0;
	}
	forward_remove(gate, ifindex, &conf);
	rc = bh_gate_forget_flows(gate, &conf, err);
	bpf_map_delete_elem(gate->maps[COUNTS], &conf.endpoint);
	/* Last: it is what a removal that a crash cut short is found by. */
	gone = change(gate, PORTS, &ifindex, NULL, 0);
	if (gone && gone != -ENOENT)
		return bh_error_errno(err, gone, "cannot remove the gate of endpoint %u", conf.endpoint);
	return rc;
}

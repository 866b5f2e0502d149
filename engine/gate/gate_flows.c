/*
 * gate_flows.c - the flows that the kernel keeps, and the accounts they are charged to.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../base/buffer.h"
#include "../base/cleanup.h"
#include "gate_part.h"

static int count_share(const void *key, const void *value, void *arg)
{
	(void)key;
	(void)value;
	++*(uint64_t *)arg;
	return 0;
}

/*
 * What no guarantee can claim may be borrowed. The row was `added` or removed since they were last `known`;
 * else they are counted.
 */
static int gate_share_out(struct bh_gate_kernel *gate, bool known, int added, struct bh_error *err)
{
	struct bh_state *state = gate->state;
	int rc = 0;

	if (known) {
		state->shares += (uint64_t)(int64_t)added;
	} else {
		state->shares = 0;
		rc = bh_gate_map_each(gate->maps[SHARES], sizeof(uint32_t), sizeof(struct bh_share), count_share,
		                      &state->shares, err);
	}
	if (rc)
		return rc;
	__atomic_store_n(&state->shares_known, 1, __ATOMIC_RELEASE);
	if (state->shares * BH_FLOWS_GUARANTEED > BH_FLOWS_MAX)
		return bh_error_set(err, -ENOSPC, "the flow table guarantees %d flows to at most %u compartments",
		                    BH_FLOWS_GUARANTEED, BH_FLOWS_MAX / BH_FLOWS_GUARANTEED);
	__atomic_store_n(&gate->room->capacity, BH_FLOWS_MAX - state->shares * BH_FLOWS_GUARANTEED, __ATOMIC_RELAXED);
	return 0;
}

/* Whether the rows' number is known, which it is not while they change. */
static bool take_shares(struct bh_gate_kernel *gate)
{
	return __atomic_exchange_n(&gate->state->shares_known, 0, __ATOMIC_ACQ_REL);
}

int bh_gate_share_put(struct bh_gate_kernel *gate, uint32_t compartment, struct bh_error *err)
{
	struct bh_share share = {0};
	bool known = take_shares(gate);
	bool added = !bpf_map_update_elem(gate->maps[SHARES], &compartment, &share, BPF_NOEXIST);
	int rc;

	if (!added && errno != EEXIST)
		return bh_error_errno(err, -errno, "cannot make the flow account of compartment %u",
		                      compartment);
	rc = gate_share_out(gate, known, added, err);
	if (rc && added) {
		take_shares(gate);
		bpf_map_delete_elem(gate->maps[SHARES], &compartment);
	}
	return rc;
}

int bh_gate_share_remove(struct bh_gate_kernel *gate, uint32_t compartment, struct bh_error *err)
{
	bool known = take_shares(gate);
	bool removed = !bpf_map_delete_elem(gate->maps[SHARES], &compartment);

	if (!removed && errno != ENOENT)
		return bh_error_errno(err, -errno, "cannot remove the flow account of compartment %u",
		                      compartment);
	return gate_share_out(gate, known, -(int)removed, err);
}

/* Adds to a flow what processors let through by what they remember in one place. */
static void add_memos(struct bh_flow *flow, const struct bh_flow_key *key, const struct bh_flow_memo *memos,
                      uint32_t processors)
{
	const struct bh_flow_memo *memo = memos + bh_flow_memo_row(key);

	for (uint32_t i = 0; i < processors; i++, memo += BH_FLOW_MEMOS)
		if (memo->created == flow->created && !memcmp(&memo->key, key, sizeof(*key)))
			for (int d = 0; d < 2; d++)
				flow->packets[d] += __atomic_load_n(&memo->packets[d], __ATOMIC_RELAXED);
}

int bh_gate_flow_read(struct bh_gate_kernel *gate, const struct bh_flow_key *key,
                      struct bh_flow *flow)
{
	const struct bh_flow_memo *memos;
	uint32_t processors;
	int rc = bh_gate_memos(gate, &memos, &processors);

	if (!rc && bpf_map_lookup_elem(gate->maps[FLOWS], key, flow))
		rc = -errno;
	if (!rc)
		add_memos(flow, key, memos, processors);
	return rc;
}

struct flow_visit {
	int (*visit)(const struct bh_flow_key *, const struct bh_flow *, void *);
	void *arg;
	const struct bh_flow_memo *memos;
	uint32_t processors;
};

static int visit_flow(const void *key, const void *value, void *arg)
{
	struct flow_visit *each = arg;
	struct bh_flow flow = *(const struct bh_flow *)value;

	add_memos(&flow, key, each->memos, each->processors);
	return each->visit(key, &flow, each->arg);
}

int bh_gate_flow_each(struct bh_gate_kernel *gate,
                      int (*visit)(const struct bh_flow_key *, const struct bh_flow *, void *),
                      void *arg, struct bh_error *err)
{
	struct flow_visit each = {.visit = visit, .arg = arg};
	int rc = bh_gate_memos(gate, &each.memos, &each.processors);

	if (rc)
		return bh_error_errno(err, rc, "cannot read a map of the gate");
	return bh_gate_map_each(gate->maps[FLOWS], sizeof(struct bh_flow_key), sizeof(struct bh_flow), visit_flow,
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

	if (bh_gate_conf_get(gate, ifindex, &conf))
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

int bh_gate_forget_flows(struct bh_gate_kernel *gate, const struct bh_conf *conf,
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

int bh_gate_share_read(struct bh_gate_kernel *gate, uint32_t compartment, struct bh_share *share)
{
	return bpf_map_lookup_elem(gate->maps[SHARES], &compartment, share) ? -errno : 0;
}

void bh_gate_room_read(const struct bh_gate_kernel *gate, struct bh_room *room)
{
	*room = *gate->room;
}

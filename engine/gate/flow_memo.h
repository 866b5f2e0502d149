/*
 * flow_memo.h - what a processor remembers of the flows it had to do with last. See memo.h for why.
 *
 * A memo holds for the tick it was read in, so that what it says of when the flow was seen is right; and
 * only while no flow of the endpoint was removed and its policy is the one that allowed the flow.
 * Packets let through by it are counted in it, and added to the flow's with the first one of a later tick, or
 * when another needs the place.
 */
#ifndef BH_GATE_FLOW_MEMO_H
#define BH_GATE_FLOW_MEMO_H

#include "maps.h"

OWN(bh_flow_memos, struct bh_flow_memo, BH_FLOW_MEMOS);
MAP(bh_removals, BPF_MAP_TYPE_ARRAY, uint32_t, struct bh_removals, 1, 0);

static inline uint64_t *removals_of(uint32_t endpoint)
{
	uint32_t zero = 0;
	struct bh_removals *removals = bpf_map_lookup_elem(&bh_removals, &zero);

	return removals ? &removals->of[endpoint & (BH_REMOVALS - 1)] : 0;
}

static inline __attribute__((always_inline)) bool same_key(const struct bh_flow_key *a, const struct bh_flow_key *b)
{
	const uint64_t *x = (const uint64_t *)a, *y = (const uint64_t *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3] && x[4] == y[4] && x[5] == y[5];
}

/* Adds what was counted to the flow, if it is still the same one. */
BH_GLOBAL int flow_memo_settle(BH_CTX *ctx, struct bh_flow_memo *memo)
{
	BH_ENTER(ctx, memo, 0);
	struct bh_flow *flow = bh_flow_find(ctx, &memo->key);

	if (flow && flow->created == memo->created) {
		flow->packets[0] += memo->packets[0];
		flow->packets[1] += memo->packets[1];
	}
	memo->packets[0] = memo->packets[1] = 0;
	return 0;
}

/* True, and the verdict, if a flow is remembered that allows the packet and that it does not change. */
static inline __attribute__((always_inline)) bool recall(struct bh_flow_memo *memo, const struct bh_conf *conf,
                                                         const struct bh_plain *plain, uint64_t tick,
                                                         uint64_t removals, uint32_t direction,
                                                         struct bh_verdict *verdict)
{
	if (memo->tick != tick || memo->generation != conf->generation || memo->removals != removals ||
	    !same_key(&memo->key, &plain->key) ||
	    bh_flow_next_state(plain->key.protocol, memo->state, (uint8_t)direction == memo->opener, plain->tcp_flags) !=
	        memo->state)
		return false;
	memo->packets[direction & 1]++;
	bh_plain_allow(verdict, memo->rule, memo->audit);
	return true;
}

/* Remembers a flow, unless another has the place for this tick. */
static inline __attribute__((always_inline)) void remember(BH_CTX *ctx, struct bh_flow_memo *memo, const struct bh_flow *flow,
                                                           const struct bh_flow_key *key, uint64_t tick,
                                                           uint64_t removals)
{
	if (memo->tick == tick && !same_key(&memo->key, key))
		return;
	if (memo->packets[0] | memo->packets[1])
		flow_memo_settle(ctx, memo);
	memo->key = *key;
	memo->tick = tick;
	memo->removals = removals;
	memo->created = flow->created;
	memo->generation = flow->generation;
	memo->rule = flow->rule;
	memo->state = flow->state;
	memo->opener = flow->opener;
	memo->audit = flow->audit;
}

/* As recall(), of what the maps say; and remembers that. The packet is the scratch's. */
BH_GLOBAL int find_flow(BH_CTX *ctx, const struct bh_conf *conf, struct bh_flow_memo *memo, uint64_t removals)
{
	BH_ENTER(ctx, conf && memo, 0);
	struct scratch *scratch = scratch_of(ctx);
	struct bh_flow *flow = scratch ? bh_plain_flow(ctx, conf, &scratch->plain, scratch->direction) : 0;

	if (!flow)
		return 0;
	bh_plain_allow(&scratch->verdict, flow->rule, flow->audit);
	remember(ctx, memo, flow, &scratch->plain.key, scratch->tick, removals);
	return 1;
}

/* As bh_express(). */
static inline __attribute__((always_inline)) bool express(BH_CTX *ctx, const struct bh_conf *conf,
                                                          struct scratch *scratch)
{
	struct bh_plain *plain = &scratch->plain;
	struct bh_flow_memo *memo;
	uint64_t *removals, before;
	uint32_t row;

	if (!bh_plain_is_own(ctx, conf, plain, scratch->direction))
		return false;
	plain->key.endpoint = conf->endpoint;
	row = own_row(BH_FLOW_MEMOS, bh_flow_memo_row(&plain->key));
	memo = bpf_map_lookup_elem(&bh_flow_memos, &row);
	removals = removals_of(conf->endpoint);
	if (!memo || !removals)
		return false;
	before = *(volatile uint64_t *)removals;
	return recall(memo, conf, plain, scratch->tick, before, scratch->direction, &scratch->verdict) ||
	       find_flow(ctx, conf, memo, before);
}

#endif

/*
 * memo.h - what a processor remembers of ports and of the forwarding table. Included by eBPF programs.
 *
 * To find a row of a hash map takes four calls, and each return from one costs as much as twenty of
 * these instructions where processors are mitigated against speculation by returns. So each processor
 * keeps the rows it used last, in arrays, whose lookup the kernel inlines. A memo holds while the state's
 * words are what they were before it was read: whoever changes the maps changes `changes` first and
 * last, so a packet after a change never sees what was before it.
 */
#ifndef BH_GATE_MEMO_H
#define BH_GATE_MEMO_H

#include "maps.h"

#define MEMOS 64 /* a power of two */

/* The state's words, which a packet reads once, before any port. */
struct now {
	uint64_t epoch, changes;
};

/* The conf in force at a port. */
struct conf_memo {
	_Alignas(BH_LINE) struct now of; /* epoch 0: of no time */
	uint32_t port;
	uint32_t reserved;
	struct bh_conf conf;
};

/* Of a place in the forwarding table, which may be empty. */
struct forward_memo {
	_Alignas(BH_LINE) struct now of;
	uint32_t key[3]; /* struct bh_forward_key, by words: see bh_plain_put() */
	uint32_t reserved;
	struct bh_forward forward; /* port 0: nobody */
};

/* A packet may have to do with two ports at once, so each end has rows of its own. */
OWN(bh_conf_memos, struct conf_memo, 2 * MEMOS);
OWN(bh_forward_memos, struct forward_memo, MEMOS);

static inline struct now now_of(void)
{
	uint32_t zero = 0;
	const volatile struct bh_state *state = bpf_map_lookup_elem(&bh_state, &zero);
	struct now now = {0, 0};

	if (state) {
		now.epoch = state->epoch;
		now.changes = state->changes;
	}
	return now;
}

static inline bool memo_holds(const struct now *of, const struct now *now)
{
	return of->changes == now->changes && of->epoch == now->epoch;
}

/* What is read while maps change is for this packet only. */
static inline void memo_date(struct now *of, uint64_t epoch, uint64_t changes)
{
	of->epoch = changes & 1 ? 0 : epoch;
	of->changes = changes;
}

/* Reads a port's conf. 0: it has none. */
BH_GLOBAL int conf_recall(struct conf_memo *memo, uint32_t port, uint64_t epoch, uint64_t changes)
{
	BH_REQUIRE(memo, 0);
	struct bh_slots *slots = bpf_map_lookup_elem(&bh_ports, &port);

	memo->of.epoch = 0;
	if (!slots)
		return 0;
	memo->conf = slots->confs[bh_slot_in_force(slots, epoch) & 1];
	memo->port = port;
	memo_date(&memo->of, epoch, changes);
	return 1;
}

/* Reads a place of the forwarding table, of the key that is in the memo. */
BH_GLOBAL int forward_recall(struct forward_memo *memo, uint64_t epoch, uint64_t changes)
{
	BH_REQUIRE(memo, 0);
	uint32_t key[3] = {memo->key[0], memo->key[1], memo->key[2]};
	struct bh_forward *forward = bpf_map_lookup_elem(&bh_forwards, key);

	memo->forward.port = forward ? forward->port : 0;
	memo->forward.mtu = forward ? forward->mtu : 0;
	memo_date(&memo->of, epoch, changes);
	return 0;
}

/* The conf in force at a port that a packet comes in by (BH_OUT) or is for (BH_IN); or 0. */
static inline const struct bh_conf *conf_of(uint32_t port, uint32_t direction, const struct now *now)
{
	uint32_t half = (direction & 1) * MEMOS; /* ports have every fourth index */
	uint32_t row = own_row(2 * MEMOS, half + (port >> 2 & (MEMOS - 1)));
	struct conf_memo *memo = bpf_map_lookup_elem(&bh_conf_memos, &row);

	if (!memo)
		return 0;
	if ((memo->port != port || !memo_holds(&memo->of, now)) && !conf_recall(memo, port, now->epoch, now->changes))
		return 0;
	return &memo->conf;
}

/* Who has an address of a network. */
static inline const struct bh_forward *forward_of(uint32_t network, uint32_t high, uint32_t low,
                                                  const struct now *now)
{
	uint32_t row = own_row(MEMOS, (high >> 24 ^ low >> 8 ^ low ^ network) & (MEMOS - 1));
	struct forward_memo *memo = bpf_map_lookup_elem(&bh_forward_memos, &row);

	if (!memo)
		return 0;
	if (memo->key[0] != network || memo->key[1] != high || memo->key[2] != low || !memo_holds(&memo->of, now)) {
		memo->key[0] = network;
		memo->key[1] = high;
		memo->key[2] = low;
		forward_recall(memo, now->epoch, now->changes);
	}
	return &memo->forward;
}

#endif

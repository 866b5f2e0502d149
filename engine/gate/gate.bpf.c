// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * gate.bpf.c - the eBPF program on a container's switch port.
 *
 * Only what eBPF adds: maps behind the operations that filter/'s headers ask for, and the entry
 * points. What a packet's verdict is stands in filter/verdict.h and is not repeated here. Packet,
 * keys and verdict live in a per-CPU scratch value: the stack has 512 bytes, and what is read from a
 * map is an unknown number to the verifier, which keeps the paths it must walk few.
 */
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <stdint.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define BH_CTX struct __sk_buff

static inline int bh_load_bytes(struct __sk_buff *skb, uint32_t offset, void *to, uint32_t size)
{
	return bpf_skb_load_bytes(skb, offset, to, size);
}

#define bh_load(skb, offset, to, size) bh_load_bytes(skb, offset, to, size)

#define bh_loop(n, f, arg) bpf_loop(n, f, arg, 0)

/* `size` is a constant, or the verifier does not follow. */
static inline __attribute__((always_inline)) const uint8_t *bh_view(struct __sk_buff *skb, uint32_t size)
{
	const uint8_t *data = (const uint8_t *)(long)skb->data, *end = (const uint8_t *)(long)skb->data_end;

	return data + size <= end ? data : 0;
}

static inline uint32_t bh_length(struct __sk_buff *skb)
{
	return skb->len;
}

static inline _Bool bh_is_gso(struct __sk_buff *skb)
{
	return skb->gso_size != 0;
}

static inline _Bool bh_is_tagged(struct __sk_buff *skb)
{
	return skb->vlan_present != 0;
}

struct bh_flow;
struct bh_flow_key;
struct bh_ledger_key;
struct bh_conf;
struct bh_key;
struct bh_entry;

static uint64_t bh_now(BH_CTX *skb);
static struct bh_flow *bh_flow_find(BH_CTX *skb, const struct bh_flow_key *key);
static struct bh_flow *bh_flow_at(BH_CTX *skb, const struct bh_flow_key *key);
static struct bh_flow *bh_flow_blank(BH_CTX *skb);
static int bh_flow_insert(BH_CTX *skb, const struct bh_flow_key *key, const struct bh_flow *flow);
static int bh_flow_remove(BH_CTX *skb, const struct bh_flow_key *key);
static struct bh_flow_key *bh_ledger_find(BH_CTX *skb, const struct bh_ledger_key *key);
static int bh_ledger_insert(BH_CTX *skb, const struct bh_ledger_key *key,
                            const struct bh_flow_key *row);
static void bh_ledger_remove(BH_CTX *skb, const struct bh_ledger_key *key);
static struct bh_share *bh_share_find(BH_CTX *skb, uint32_t compartment);
static struct bh_room *bh_room(BH_CTX *skb);
static int bh_rules_lookup(BH_CTX *skb, const struct bh_conf *conf, const struct bh_key *key,
                           struct bh_entry *entry);

#include "../filter/record.h"
#include "../filter/express.h"
#include "maps.h"

#define MAP(name_, type_, key_, value_, entries_, flags_) \
	struct {                                              \
		__uint(type, type_);                              \
		__uint(max_entries, entries_);                    \
		__uint(map_flags, flags_);                        \
		__type(key, key_);                                \
		__type(value, value_);                            \
	} name_ SEC(".maps")

/* Rows of each processor's own; the loader multiplies their number by that of the processors. */
#define OWN(name, value, rows) MAP(name, BPF_MAP_TYPE_ARRAY, uint32_t, value, rows, BPF_F_MMAPABLE)

static inline uint32_t own_row(uint32_t rows, uint32_t row)
{
	return bpf_get_smp_processor_id() * rows + row;
}

#include "lookup.h"

struct scratch {
	_Alignas(BH_LINE) struct bh_plain plain;
	struct bh_verdict verdict;
	uint64_t tick, tick_began; /* what the clock said when the processor first asked in this tick */
	struct bh_packet packet;
	struct bh_flow_key key; /* copies for helpers, see in_map() */
	struct bh_flow flow;
	struct bh_hit_key hit;
	uint64_t one;
	uint32_t to;        /* the port that a packet is handed to directly; 0 = none */
	uint32_t direction; /* as which it is judged */
	uint32_t is_plain;
};

MAP(bh_ports, BPF_MAP_TYPE_HASH, uint32_t, struct bh_slots, BH_PORTS_MAX, BPF_F_NO_PREALLOC);
MAP(bh_state, BPF_MAP_TYPE_ARRAY, uint32_t, struct bh_state, 1, BPF_F_MMAPABLE);
MAP(bh_spots, BPF_MAP_TYPE_ARRAY, uint32_t, struct bh_spot, BH_TABLES_MAX, BPF_F_MMAPABLE);
MAP(bh_flows, BPF_MAP_TYPE_HASH, struct bh_flow_key, struct bh_flow, BH_FLOWS_MAX, BPF_F_NO_PREALLOC);
MAP(bh_ledger, BPF_MAP_TYPE_HASH, struct bh_ledger_key, struct bh_flow_key, BH_FLOWS_MAX,
    BPF_F_NO_PREALLOC);
MAP(bh_shares, BPF_MAP_TYPE_HASH, uint32_t, struct bh_share, BH_PORTS_MAX, BPF_F_NO_PREALLOC);
MAP(bh_rooms, BPF_MAP_TYPE_ARRAY, uint32_t, struct bh_room, 1, BPF_F_MMAPABLE);
MAP(bh_forwards, BPF_MAP_TYPE_HASH, struct bh_forward_key, struct bh_forward, BH_PORTS_MAX,
    BPF_F_NO_PREALLOC);
MAP(bh_counts, BPF_MAP_TYPE_PERCPU_HASH, uint32_t, struct bh_counters, BH_PORTS_MAX, BPF_F_NO_PREALLOC);
OWN(bh_pending, struct bh_pending, BH_PENDING);
MAP(bh_hits, BPF_MAP_TYPE_HASH, struct bh_hit_key, uint64_t, BH_FLOWS_MAX, BPF_F_NO_PREALLOC);
MAP(bh_records, BPF_MAP_TYPE_ARRAY, uint32_t, struct bh_circle, 1, BPF_F_MMAPABLE);
OWN(bh_scratch, struct scratch, 2);

#include "memo.h"

static inline uint64_t bh_now(BH_CTX *skb)
{
	return bpf_ktime_get_ns();
}

/* The clock costs as much as a row of a map: it is read once a tick. */
static inline uint64_t now_coarse(struct scratch *scratch)
{
	uint64_t tick = bpf_jiffies64();

	if (scratch->tick != tick) {
		scratch->tick = tick;
		scratch->tick_began = bpf_ktime_get_ns();
	}
	return scratch->tick_began;
}

/* A test run comes in by a loopback, and never by a port. */
static inline bool is_test(BH_CTX *skb)
{
	return skb->ifindex == 1;
}

/*
 * A packet has its processor to itself. A test run has not before Linux 6.10: a packet may come between any
 * two of its steps, so it works in another place.
 */
static inline struct scratch *scratch_of(BH_CTX *skb)
{
	uint32_t row = own_row(2, is_test(skb));

	return bpf_map_lookup_elem(&bh_scratch, &row);
}

#include "flow_memo.h"

/*
 * What a global function is given, Linux 6.1 takes for no key and no value of a map; a map's own
 * memory it does. So keys are copied there on their way to a helper.
 */
static inline struct scratch *in_map(BH_CTX *skb, const struct bh_flow_key *key)
{
	struct scratch *scratch = scratch_of(skb);

	if (scratch)
		scratch->key = *key;
	return scratch;
}

static inline struct bh_flow *bh_flow_find(BH_CTX *skb, const struct bh_flow_key *key)
{
	struct scratch *scratch = in_map(skb, key);

	return scratch ? bpf_map_lookup_elem(&bh_flows, &scratch->key) : 0;
}

static inline struct bh_flow *bh_flow_at(BH_CTX *skb, const struct bh_flow_key *key)
{
	return bpf_map_lookup_elem(&bh_flows, key);
}

static inline struct bh_flow *bh_flow_blank(BH_CTX *skb)
{
	struct scratch *scratch = scratch_of(skb);

	if (!scratch)
		return 0;
	__builtin_memset(&scratch->flow, 0, sizeof(scratch->flow));
	return &scratch->flow;
}

/* `flow` is the blank one, filled. */
static inline int bh_flow_insert(BH_CTX *skb, const struct bh_flow_key *key,
                                 const struct bh_flow *flow)
{
	struct scratch *scratch = in_map(skb, key);

	if (!scratch)
		return -1;
	return (int)bpf_map_update_elem(&bh_flows, &scratch->key, &scratch->flow, BPF_NOEXIST);
}

static inline int bh_flow_remove(BH_CTX *skb, const struct bh_flow_key *key)
{
	struct scratch *scratch = in_map(skb, key);

	uint64_t *removals = removals_of(key->endpoint);
	int rc = scratch ? (int)bpf_map_delete_elem(&bh_flows, &scratch->key) : -1;

	if (!rc && removals)
		__sync_fetch_and_add(removals, 1);
	return rc;
}

static inline struct bh_flow_key *bh_ledger_find(BH_CTX *skb, const struct bh_ledger_key *key)
{
	const struct bh_flow_key *row = bpf_map_lookup_elem(&bh_ledger, key);
	struct scratch *scratch = row ? in_map(skb, row) : 0;

	return scratch ? &scratch->key : 0;
}

static inline int bh_ledger_insert(BH_CTX *skb, const struct bh_ledger_key *key,
                                   const struct bh_flow_key *row)
{
	struct scratch *scratch = in_map(skb, row);

	return scratch ? (int)bpf_map_update_elem(&bh_ledger, key, &scratch->key, BPF_NOEXIST) : -1;
}

static inline void bh_ledger_remove(BH_CTX *skb, const struct bh_ledger_key *key)
{
	bpf_map_delete_elem(&bh_ledger, key);
}

static inline struct bh_share *bh_share_find(BH_CTX *skb, uint32_t compartment)
{
	return bpf_map_lookup_elem(&bh_shares, &compartment);
}

static inline struct bh_room *bh_room(BH_CTX *skb)
{
	uint32_t zero = 0;

	return bpf_map_lookup_elem(&bh_rooms, &zero);
}

static int bh_rules_lookup(BH_CTX *skb, const struct bh_conf *conf, const struct bh_key *key,
                           struct bh_entry *entry)
{
	*entry = (struct bh_entry){.flags = BH_ENTRY_NONE};
	/* One text for both tables. What is found is a number to the verifier, which would go on from each place
	 * where an entry may stand by itself. */
#pragma clang loop unroll(disable)
	for (uint32_t i = 0; i < 2; i++) {
		const struct bh_entry *at = table_find(&conf->tables[i], key);
		union {
			uint64_t word;
			struct bh_entry entry;
		} one;

		if (!at)
			continue;
		one.word = *(const volatile uint64_t *)at;
		if (entry->flags & BH_ENTRY_NONE || bh_entry_wins(&one.entry, entry))
			*entry = one.entry;
	}
	return !(entry->flags & BH_ENTRY_NONE);
}

/* Adds a row to the counters it belongs to, if they are still there. */
BH_NOINLINE int settle(struct bh_pending *row)
{
	struct bh_counters *counters = bpf_map_lookup_elem(&bh_counts, &row->endpoint);

	__sync_fetch_and_add(&row->turns, 1);
	if (counters) {
		for (int d = 0; d < 2; d++) {
			counters->packets[d] += row->packets[d];
			counters->bytes[d] += row->bytes[d];
		}
		counters->direct += row->direct;
	}
	row->packets[0] = row->packets[1] = row->bytes[0] = row->bytes[1] = row->direct = 0;
	__sync_fetch_and_add(&row->turns, 1);
	return 0;
}

/* What passes is counted in this processor's own row; see struct bh_pending. */
static inline void count_passed(uint32_t endpoint, uint32_t direction, bool directly, uint32_t size)
{
	uint32_t at = own_row(BH_PENDING, endpoint & (BH_PENDING - 1));
	struct bh_pending *row = bpf_map_lookup_elem(&bh_pending, &at);

	if (!row)
		return;
	if (row->endpoint != endpoint) {
		settle(row);
		row->endpoint = endpoint;
	}
	row->packets[direction & 1]++;
	row->bytes[direction & 1] += size;
	row->direct += directly;
}

/* What is rarer: what was dropped, or passed only because that is audited; and what rules decided. */
static inline void count_rare(uint32_t endpoint, uint32_t direction, struct scratch *scratch)
{
	const struct bh_verdict *verdict = &scratch->verdict;
	struct bh_counters *counters = bpf_map_lookup_elem(&bh_counts, &endpoint);

	if (!counters)
		return;
	if (verdict->action != BH_ALLOW) {
		_Static_assert(!(BH_BY_COUNT & (BH_BY_COUNT - 1)), "what the verifier is shown is a mask");
		counters->dropped[direction & 1][verdict->by & (BH_BY_COUNT - 1)]++;
	} else if (verdict->audit) {
		counters->audited[direction & 1]++;
	}
	if (verdict->by == BH_BY_RULE && verdict->rule) {
		uint64_t *hits;

		scratch->hit.endpoint = endpoint;
		scratch->hit.rule = verdict->rule;
		scratch->one = 1;
		hits = bpf_map_lookup_elem(&bh_hits, &scratch->hit);
		if (hits)
			bh_fetch_add(hits, 1);
		else
			bpf_map_update_elem(&bh_hits, &scratch->hit, &scratch->one, BPF_NOEXIST);
	}
}

static inline void count(const struct bh_conf *conf, uint32_t direction, bool directly, uint32_t size,
                         struct scratch *scratch)
{
	const struct bh_verdict *verdict = &scratch->verdict;

	if (verdict->action == BH_ALLOW)
		count_passed(conf->endpoint, direction, directly, size);
	if (verdict->action != BH_ALLOW || verdict->audit || verdict->by == BH_BY_RULE)
		count_rare(conf->endpoint, direction, scratch);
}

BH_GLOBAL int record(struct __sk_buff *skb, const struct bh_conf *conf, const struct scratch *scratch)
{
	BH_ENTER(skb, conf && scratch, 0);
	uint32_t zero = 0;
	struct bh_circle *circle = bpf_map_lookup_elem(&bh_records, &zero);

	if (circle)
		bh_record_put(circle, bh_now(skb), skb->len, conf, &scratch->packet, &scratch->verdict);
	return 0;
}

/* What is read of a packet beside its bytes; where these fields are, the kernel's BTF says at load. */
struct sk_buff {
	uint8_t ip_summed : 2;
	uint8_t tc_at_ingress : 1;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t mac_header;
} __attribute__((preserve_access_index));

#define CHECKSUM_PARTIAL 3 /* of linux/skbuff.h */

/* Linux 6.2 and newer let a program read the kernel's own packet, where older ones copy each field. */
enum special_kfunc_type { KF_bpf_cast_to_kern_ctx };
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;

/* Where in the frame a checksum is still to be written; 0 = nowhere. The sender says it, and may lie. */
static inline uint16_t checksum_at(struct __sk_buff *skb)
{
	const struct sk_buff *kernel = (const void *)skb;
	uint16_t start = 0, offset = 0, frame = 0;

	if (bpf_core_enum_value_exists(enum special_kfunc_type, KF_bpf_cast_to_kern_ctx)) {
		kernel = bpf_cast_to_kern_ctx(skb);
		if (BPF_CORE_READ_BITFIELD(kernel, ip_summed) != CHECKSUM_PARTIAL)
			return 0;
		start = kernel->csum_start;
		offset = kernel->csum_offset;
		frame = kernel->mac_header;
	} else {
		if (BPF_CORE_READ_BITFIELD_PROBED(kernel, ip_summed) != CHECKSUM_PARTIAL)
			return 0;
		bpf_core_read(&start, sizeof(start), &kernel->csum_start);
		bpf_core_read(&offset, sizeof(offset), &kernel->csum_offset);
		bpf_core_read(&frame, sizeof(frame), &kernel->mac_header);
	}
	return (uint32_t)start + offset > frame ? (uint16_t)(start + offset - frame) : 1;
}

/* A packet for which there is no short way. */
BH_GLOBAL int read_fully(struct __sk_buff *skb, struct scratch *scratch)
{
	BH_ENTER(skb, scratch, 0);
	__builtin_memset(&scratch->packet, 0, sizeof(scratch->packet));
	scratch->packet.key.direction = scratch->direction & 1;
	scratch->packet.checksum_at = scratch->plain.checksum_at;
	bh_parse(skb, &scratch->packet);
	return 0;
}

/* Judges the packet for one endpoint, as its scratch says; the verdict is left there. */
static inline __attribute__((always_inline)) int judge(struct __sk_buff *skb,
                                                       const struct bh_conf *conf,
                                                       struct scratch *scratch, bool directly)
{
	if (!scratch->is_plain || !express(skb, conf, scratch)) {
		read_fully(skb, scratch);
		bh_judge(skb, conf, &scratch->packet, &scratch->verdict);
		if (bh_is_recorded(&scratch->verdict))
			record(skb, conf, scratch);
	}
	count(conf, scratch->direction, directly, skb->len, scratch);
	return scratch->verdict.action == BH_ALLOW ? TC_ACT_OK : TC_ACT_SHOT;
}

/*
 * The port to hand a packet to directly: of another endpoint on the sender's network, unless the
 * policy of either wants the switch. What the forwarding table does not know (the host, groups, other
 * networks) goes the way of the switch, and so does what the switch would not deliver, for it to
 * say so: larger than the port takes, or of a sender that is a group or nobody. 0: none.
 */
static inline __attribute__((always_inline)) uint32_t peer_of(struct __sk_buff *skb,
                                                              const struct bh_conf *sender,
                                                              const struct now *now)
{
	const uint8_t *frame = bh_view(skb, 14);
	const struct bh_forward *forward;

	if (!frame || frame[0] & 1 || sender->flags & BH_CONF_SWITCHED)
		return 0;
	if (frame[6] & 1 || !(*(const uint16_t *)(frame + 6) | *(const uint32_t *)(frame + 8)))
		return 0;
	forward = forward_of(sender->network, *(const uint32_t *)frame, *(const uint16_t *)(frame + 4), now);
	if (!forward || !forward->port || (!skb->gso_size && skb->len > forward->mtu + 14))
		return 0;
	return forward->port == skb->ifindex ? 0 : forward->port;
}

/* Of ingress of a port the container sends what comes, of egress it is to receive it. A test run sends. */
static inline uint32_t direction_of(struct __sk_buff *skb)
{
	const struct sk_buff *kernel = (const void *)skb;

	if (is_test(skb))
		return BH_OUT;
	if (bpf_core_enum_value_exists(enum special_kfunc_type, KF_bpf_cast_to_kern_ctx)) {
		kernel = bpf_cast_to_kern_ctx(skb);
		return BPF_CORE_READ_BITFIELD(kernel, tc_at_ingress) ? BH_OUT : BH_IN;
	}
	return BPF_CORE_READ_BITFIELD_PROBED(kernel, tc_at_ingress) ? BH_OUT : BH_IN;
}

/*
 * Both hooks of a port. What is for another endpoint on the same switch is judged at its sender's, as that
 * one's own gate would, and put on its NIC: that gate and the switch never see it. One program for both ends
 * of the switch is one text in the processor's cache.
 */
SEC("tc")
int bh_gate(struct __sk_buff *skb)
{
	struct now now = now_of();
	struct scratch *scratch = scratch_of(skb);
	const struct bh_conf *conf, *receiver = 0;

	if (!scratch)
		return TC_ACT_SHOT;
	scratch->to = 0;
	scratch->direction = direction_of(skb);
	conf = conf_of(skb->ifindex, scratch->direction, &now);
	if (!conf)
		return TC_ACT_SHOT;
	scratch->plain.now = now_coarse(scratch);
	scratch->plain.checksum_at = 0; /* the sender's gate has seen to it, or the host itself sends */
	if (scratch->direction == BH_OUT) {
		scratch->to = peer_of(skb, conf, &now);
		if (scratch->to)
			receiver = conf_of(scratch->to, BH_IN, &now);
		if (!receiver || receiver->flags & BH_CONF_SWITCHED)
			receiver = 0;
		scratch->plain.checksum_at = checksum_at(skb);
	}
	scratch->is_plain = bh_plain_read(skb, &scratch->plain);
	if (scratch->direction == BH_IN)
		bh_plain_turn(&scratch->plain);
	barrier(); /* what is in the scratch need not be on the stack, too */
	if (judge(skb, conf, scratch, receiver != 0) != TC_ACT_OK)
		return TC_ACT_SHOT;
	if (!receiver)
		return TC_ACT_OK;
	scratch->direction = BH_IN;
	bh_plain_turn(&scratch->plain);
	barrier();
	if (judge(skb, receiver, scratch, false) != TC_ACT_OK)
		return TC_ACT_SHOT;
	/* It came in by the sender's port, whose own address it does not have. */
	if (skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);
	return (int)bpf_redirect_peer(scratch->to, 0);
}

/* Leaves the verdict where a test run finds it. */
BH_GLOBAL int tell(struct __sk_buff *skb)
{
	const struct scratch *scratch = scratch_of(skb);

	if (!scratch)
		return 0;
	skb->cb[BH_PROBE_ACTION] = scratch->verdict.action | (uint32_t)scratch->verdict.audit << 8 |
	                            (uint32_t)scratch->verdict.log << 16;
	skb->cb[BH_PROBE_BY] = scratch->verdict.by;
	skb->cb[BH_PROBE_RULE] = scratch->verdict.rule;
	return 0;
}

/* The same verdict for a test run, which has no port: see enum bh_probe_cb. Never attached. */
SEC("tc")
int bh_gate_probe(struct __sk_buff *skb)
{
	uint32_t port = skb->cb[BH_PROBE_PORT], direction = skb->cb[BH_PROBE_DIRECTION] & 1;
	struct now now = now_of();
	const struct bh_conf *conf = conf_of(port, direction, &now);
	struct scratch *scratch = scratch_of(skb);
	int rc;

	skb->cb[BH_PROBE_ACTION] = BH_BLOCK;
	skb->cb[BH_PROBE_BY] = BH_BY_DEFAULT;
	if (!conf || !scratch)
		return TC_ACT_SHOT;
	scratch->plain.now = now_coarse(scratch);
	scratch->plain.checksum_at = 0;
	scratch->direction = direction;
	scratch->is_plain = bh_plain_read(skb, &scratch->plain);
	if (direction == BH_IN)
		bh_plain_turn(&scratch->plain);
	rc = judge(skb, conf, scratch, false);
	tell(skb);
	return rc;
}

/* Forgets the flow whose key stands behind the Ethernet header of a test run. Never attached. */
SEC("tc")
int bh_gate_forget(struct __sk_buff *skb)
{
	struct bh_flow_key key;

	if (bpf_skb_load_bytes(skb, BH_FORGET_AT, &key, sizeof(key)))
		return TC_ACT_SHOT;
	return bh_flow_forget(skb, &key) ? TC_ACT_OK : TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual MIT/GPL";

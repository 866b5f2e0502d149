// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * lookup.bpf.c - the gate's rule lookup by itself, to be measured by BPF_PROG_TEST_RUN.
 *
 * Two programs of one shape: each takes the next packet's key and writes an answer; only one of them
 * asks the table. The text of the lookup is the gate's own.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdint.h>

#include <bpf/bpf_helpers.h>

#define BH_CTX struct __sk_buff
#define bh_load(skb, offset, to, size) bpf_skb_load_bytes(skb, offset, to, size)
#define bh_loop(n, f, arg) bpf_loop(n, f, arg, 0)

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

#include "../../../engine/filter/table.h"
#include "../../../engine/gate/lookup.h"
#include "measured.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, uint32_t);
	__type(value, struct measured);
} measured SEC(".maps");

static inline struct measured *next_packet(uint32_t *at)
{
	uint32_t zero = 0;
	struct measured *m = bpf_map_lookup_elem(&measured, &zero);

	if (m)
		*at = m->next++ >> m->repeat & (MEASURED_PACKETS - 1);
	return m;
}

SEC("tc")
int bench_lookup(struct __sk_buff *skb)
{
	const struct bh_entry *entry;
	uint32_t at = 0;
	struct measured *m = next_packet(&at);

	if (m) {
		entry = table_find(&m->ref, &m->keys[at]);
		m->answers[at] = entry ? entry->rule : 0;
	}
	return TC_ACT_OK;
}

SEC("tc")
int bench_nothing(struct __sk_buff *skb)
{
	struct bh_entry entry = {0, 0, 0};
	uint32_t at = 0;
	struct measured *m = next_packet(&at);

	if (m)
		m->answers[at] = m->keys[at].local_port ? entry.rule : 0;
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual MIT/GPL";

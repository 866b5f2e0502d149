// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * splice.bpf.c - what a vmNIC's tap receives its veth sends, and the reverse.
 *
 * One instance an interface; the other's index is a constant of the program.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdint.h>

#include <bpf/bpf_helpers.h>

const volatile uint32_t bh_other;

SEC("tc")
int bh_splice(struct __sk_buff *skb)
{
	return (int)bpf_redirect(bh_other, 0);
}

char _license[] SEC("license") = "Dual MIT/GPL";

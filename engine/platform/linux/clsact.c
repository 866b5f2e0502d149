/*
 * clsact.c - see clsact.h. Written by hand, for libbpf takes a socket of its own for each of its requests: for
 * a port that is a tenth of a millisecond of the ten that a hook has.
 */
#include "clsact.h"

#include <arpa/inet.h>
#include <errno.h>

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

static struct tcmsg *put_tcmsg(struct nlmsghdr *message, uint32_t index, uint32_t handle, uint32_t parent)
{
	struct tcmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));

	header->tcm_family = AF_UNSPEC;
	header->tcm_ifindex = (int)index;
	header->tcm_handle = handle;
	header->tcm_parent = parent;
	return header;
}

void bh_clsact_add(struct bh_netlink *netlink, uint32_t index)
{
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL,
	                                          "make the clsact hook of interface %u", index);

	put_tcmsg(message, index, TC_H_MAKE(TC_H_CLSACT, 0), TC_H_CLSACT);
	mnl_attr_put_strz(message, TCA_KIND, "clsact");
	bh_netlink_tolerate(netlink, EEXIST);
}

void bh_clsact_add_program(struct bh_netlink *netlink, uint32_t index, bool ingress, int program,
                           const char *name)
{
	uint32_t side = ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS;
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE,
	                                          "attach %s to interface %u", name, index);
	struct tcmsg *header = put_tcmsg(message, index, 1, TC_H_MAKE(TC_H_CLSACT, side));
	struct nlattr *options;

	header->tcm_info = TC_H_MAKE(1 << 16, htons(ETH_P_ALL)); /* priority and protocol */
	mnl_attr_put_strz(message, TCA_KIND, "bpf");
	options = mnl_attr_nest_start(message, TCA_OPTIONS);
	mnl_attr_put_u32(message, TCA_BPF_FD, (uint32_t)program);
	mnl_attr_put_strz(message, TCA_BPF_NAME, name);
	mnl_attr_put_u32(message, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	mnl_attr_nest_end(message, options);
}

int bh_clsact_guard(struct bh_netlink *netlink, uint32_t port, const struct bh_gate_kernel *gate,
                    struct bh_error *err)
{
	bh_clsact_add(netlink, port);
	bh_clsact_add_program(netlink, port, true, bh_gate_program(gate, BH_OUT), "bh_gate_out");
	bh_clsact_add_program(netlink, port, false, bh_gate_program(gate, BH_IN), "bh_gate_in");
	return bh_netlink_run(netlink, NULL, NULL, err);
}

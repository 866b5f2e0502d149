/*
 * clsact.c - see clsact.h. Written by hand, for libbpf takes a socket of its own for each of its requests: for
 * a port that is a tenth of a millisecond of the ten that a hook has.
 */
#include "clsact.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#define OURS TC_H_MAKE(1 << 16, 0) /* the first priority there is */

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

static uint32_t side_of(bool ingress)
{
	return TC_H_MAKE(TC_H_CLSACT, ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
}

void bh_clsact_add_program(struct bh_netlink *netlink, uint32_t index, bool ingress, int program,
                           const char *name)
{
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE,
	                                          "attach %s to interface %u", name, index);
	struct tcmsg *header = put_tcmsg(message, index, 1, side_of(ingress));
	struct nlattr *options;

	header->tcm_info = OURS | htons(ETH_P_ALL);
	mnl_attr_put_strz(message, TCA_KIND, "bpf");
	options = mnl_attr_nest_start(message, TCA_OPTIONS);
	mnl_attr_put_u32(message, TCA_BPF_FD, (uint32_t)program);
	mnl_attr_put_strz(message, TCA_BPF_NAME, name);
	mnl_attr_put_u32(message, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	mnl_attr_nest_end(message, options);
}

/* What a container sends enters by its port. */
static void add_gate(struct bh_netlink *netlink, uint32_t port, const struct bh_gate_kernel *gate,
                     enum bh_direction direction)
{
	bh_clsact_add_program(netlink, port, direction == BH_OUT, bh_gate_program(gate, direction),
	                      direction == BH_OUT ? "bh_gate_out" : "bh_gate_in");
}

int bh_clsact_guard(struct bh_netlink *netlink, uint32_t port, const struct bh_gate_kernel *gate,
                    struct bh_error *err)
{
	bh_clsact_add(netlink, port);
	add_gate(netlink, port, gate, BH_OUT);
	add_gate(netlink, port, gate, BH_IN);
	return bh_netlink_run(netlink, NULL, NULL, err);
}

/* Ids of the programs by direction. An ingress hook has but one place, so in it they are never both ours. */
static int visit_filter(const struct nlmsghdr *message, void *arg)
{
	const struct tcmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr, *option;
	uint32_t *programs = arg;
	bool bpf = false;

	if (message->nlmsg_type != RTM_NEWTFILTER)
		return 0;
	mnl_attr_for_each(attr, message, sizeof(*header)) {
		if (mnl_attr_get_type(attr) == TCA_KIND)
			bpf = !strcmp(mnl_attr_get_str(attr), "bpf");
		if (mnl_attr_get_type(attr) != TCA_OPTIONS || !bpf)
			continue;
		mnl_attr_for_each_nested(option, attr)
			if (mnl_attr_get_type(option) == TCA_BPF_ID)
				programs[header->tcm_parent == side_of(true) ? BH_OUT : BH_IN] = mnl_attr_get_u32(option);
	}
	return 0;
}

static int find_programs(struct bh_netlink *netlink, uint32_t port, uint32_t programs[2], struct bh_error *err)
{
	int rc = 0;

	for (int ingress = 0; !rc && ingress < 2; ingress++) {
		put_tcmsg(bh_netlink_add(netlink, RTM_GETTFILTER, 0, "see the filter of interface %u", port), port, 1,
		          side_of(ingress))->tcm_info = OURS | htons(ETH_P_ALL);
		bh_netlink_tolerate(netlink, ENOENT);
		rc = bh_netlink_run(netlink, visit_filter, programs, err);
		rc = rc == -EINVAL ? 0 : rc; /* no hook */
	}
	return rc;
}

/* Bit by direction: the gate is where it should be. -errno. */
static int find_gate(struct bh_netlink *netlink, uint32_t port, const struct bh_gate_kernel *gate,
                     struct bh_error *err)
{
	uint32_t programs[2] = {0};
	int found = 0, rc = find_programs(netlink, port, programs, err);

	for (int direction = 0; !rc && direction < 2; direction++) {
		struct bpf_prog_info info = {0};
		uint32_t size = sizeof(info);

		if (bpf_obj_get_info_by_fd(bh_gate_program(gate, direction), &info, &size))
			rc = bh_error_errno(err, -errno, "cannot see which program the gate is");
		found |= (programs[direction] == info.id) << direction;
	}
	return rc ? rc : found;
}

#define WHOLE (1 << BH_IN | 1 << BH_OUT)

int bh_clsact_check(struct bh_netlink *netlink, uint32_t port, const struct bh_gate_kernel *gate,
                    struct bh_error *err)
{
	int found = find_gate(netlink, port, gate, err);

	return found < 0 ? found : found == WHOLE ? 0 : bh_error_set(err, -ENOENT, "the gate is off the port");
}

/* To change nothing of it goes well if it is there, and is one. */
static bool has_hook(struct bh_netlink *netlink, uint32_t port)
{
	struct nlmsghdr *message = bh_netlink_add(netlink, RTM_NEWQDISC, 0, "see the hook of interface %u", port);

	put_tcmsg(message, port, 0, TC_H_CLSACT);
	mnl_attr_put_strz(message, TCA_KIND, "clsact");
	return bh_netlink_run(netlink, NULL, NULL, NULL) == 0;
}

int bh_clsact_mend(struct bh_netlink *netlink, uint32_t port, const struct bh_gate_kernel *gate,
                   struct bh_error *err)
{
	int rc, found = find_gate(netlink, port, gate, err);

	if (found < 0 || found == WHOLE)
		return found < 0 ? found : 0;
	if (!has_hook(netlink, port)) {
		put_tcmsg(bh_netlink_add(netlink, RTM_DELQDISC, 0, "remove the hook of interface %u", port), port, 0,
		          TC_H_CLSACT);
		bh_netlink_tolerate(netlink, ENOENT);
		rc = bh_clsact_guard(netlink, port, gate, err);
		return rc ? rc : 1;
	}
	for (int direction = 0; direction < 2; direction++) {
		if (found >> direction & 1)
			continue;
		/* A filter of another kind may be in our place. */
		put_tcmsg(bh_netlink_add(netlink, RTM_DELTFILTER, 0, "remove the filter of interface %u", port), port, 0,
		          side_of(direction == BH_OUT))->tcm_info = OURS;
		bh_netlink_tolerate(netlink, ENOENT);
		add_gate(netlink, port, gate, direction);
	}
	rc = bh_netlink_run(netlink, NULL, NULL, err);
	return rc ? rc : 1;
}

/*
 * nat_elements.c - published ports put into the maps of the table of networks, and taken out. See nat.h.
 *
 * libnftables would do it, but it closes its socket, which waits. A transaction is one buffer of
 * messages between a beginning and an end; the kernel does all of it or nothing.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "../../base/buffer.h"
#include "nat.h"
#include "netlink.h"

#define MESSAGE_SIZE 256    /* one element: two addresses, and what names table and map */
#define SEND_BUFFER 65536   /* what a socket takes by default, with room to spare */

/* An element's key and value: every part takes whole words. */
struct parts {
	size_t size;
	uint8_t bytes[24];
};

static void put_part(struct parts *parts, const void *data, size_t size)
{
	memcpy(parts->bytes + parts->size, data, size);
	parts->size += (size + 3) & ~(size_t)3;
}

static void put_address(struct parts *parts, const struct bh_address *address)
{
	uint8_t bytes[16];

	put_part(parts, bytes, bh_address_to_bytes(address, bytes));
}

static void put_port(struct parts *parts, uint16_t port)
{
	port = htons(port);
	put_part(parts, &port, sizeof(port));
}

static void put_data(struct nlmsghdr *message, uint16_t type, const struct parts *parts)
{
	struct nlattr *data = mnl_attr_nest_start(message, type);

	mnl_attr_put(message, NFTA_DATA_VALUE, parts->size, parts->bytes);
	mnl_attr_nest_end(message, data);
}

static void put_element(struct nlmsghdr *message, const struct bh_mapping *mapping)
{
	struct nlattr *list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
	struct nlattr *element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
	struct parts key = {0}, value = {0};

	if (!bh_address_is_unspecified(&mapping->address))
		put_address(&key, &mapping->address);
	put_part(&key, &mapping->protocol, 1);
	put_port(&key, mapping->port);
	put_address(&value, &mapping->target);
	put_port(&value, mapping->target_port);
	put_data(message, NFTA_SET_ELEM_KEY, &key);
	put_data(message, NFTA_SET_ELEM_DATA, &value);
	mnl_attr_nest_end(message, element);
	mnl_attr_nest_end(message, list);
}

static struct nlmsghdr *put_header(char *at, uint32_t seq, uint16_t type, uint8_t family, uint16_t flags)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(at);
	struct nfgenmsg *general = mnl_nlmsg_put_extra_header(message, sizeof(*general));

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	message->nlmsg_seq = seq;
	general->nfgen_family = family;
	general->version = NFNETLINK_V0;
	return message;
}

static void append_bound(struct bh_buffer *batch, uint32_t seq, uint16_t type)
{
	char space[MESSAGE_SIZE];
	struct nlmsghdr *message = put_header(space, seq, type, AF_UNSPEC, 0);

	((struct nfgenmsg *)mnl_nlmsg_get_payload(message))->res_id = htons(NFNL_SUBSYS_NFTABLES);
	bh_buffer_append(batch, space, message->nlmsg_len);
}

static void append_element(struct bh_buffer *batch, uint32_t seq, const char *tag, bool add, bool last,
                           const struct bh_mapping *mapping)
{
	char space[MESSAGE_SIZE], table[24];
	struct nlmsghdr *message = put_header(space, seq, NFNL_SUBSYS_NFTABLES << 8 |
	                                      (add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM), NFPROTO_INET,
	                                      (uint16_t)((add ? NLM_F_CREATE : 0) | (last ? NLM_F_ACK : 0)));

	snprintf(table, sizeof(table), "bulkhead_%s", tag);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, table);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, bh_nat_map(mapping));
	put_element(message, mapping);
	bh_buffer_append(batch, space, message->nlmsg_len);
}

/* Answers until that of message `last`: 0, or the first error of the transaction. */
static int answer(struct bh_netlink *netlink, uint32_t first, uint32_t last)
{
	char space[BH_NETLINK_SIZE];
	int rc = 0;

	for (;;) {
		const struct nlmsghdr *message = (const struct nlmsghdr *)space;
		ssize_t size = mnl_socket_recvfrom(netlink->socket, space, sizeof(space));
		int left = (int)size;

		if (size < 0 && errno != EINTR)
			return -errno;
		for (; size > 0 && mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
			uint32_t seq = message->nlmsg_seq;

			if (message->nlmsg_type != NLMSG_ERROR || seq - first > last - first)
				continue; /* what is left of an earlier one */
			rc = rc ? rc : ((struct nlmsgerr *)mnl_nlmsg_get_payload(message))->error;
			if (seq == last || (rc && seq == first)) /* one that is not even begun has no other answer */
				return rc;
		}
	}
}

/* One transaction: elements that are to be there, and with `remove` then no more. */
static int change(struct bh_netlink *netlink, const char *tag, const struct bh_mapping *mappings,
                  size_t count, bool remove)
{
	BH_AUTOBUFFER struct bh_buffer batch = {0};
	uint32_t first = netlink->seq, seq = first;
	int size = 1 << 28;

	append_bound(&batch, seq++, NFNL_MSG_BATCH_BEGIN);
	/* Deleting what is not there is an error, and goes by the key alone: another's would go. */
	for (size_t i = 0; i < count; i++) {
		append_element(&batch, seq++, tag, true, !remove && i + 1 == count, &mappings[i]);
		if (remove)
			append_element(&batch, seq++, tag, false, i + 1 == count, &mappings[i]);
	}
	append_bound(&batch, seq, NFNL_MSG_BATCH_END);
	netlink->seq = seq + 1;
	if (batch.failed)
		return -ENOMEM;
	if (batch.size > SEND_BUFFER)
		setsockopt(mnl_socket_get_fd(netlink->socket), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	if (mnl_socket_sendto(netlink->socket, batch.data, batch.size) < 0)
		return -errno;
	return answer(netlink, first, seq - 1);
}

int bh_nat_publish(struct bh_netlink *netlink, const char *tag, const struct bh_mapping *mappings,
                   size_t count, struct bh_error *err)
{
	int rc = count ? change(netlink, tag, mappings, count, false) : 0;

	return rc ? bh_error_errno(err, rc, "nftables refused the published ports") : 0;
}

int bh_nat_unpublish(struct bh_netlink *netlink, const char *tag, const struct bh_mapping *mappings,
                     size_t count, struct bh_error *err)
{
	bool done = !count || !change(netlink, tag, mappings, count, true);

	/* One by one: the port of one may by now be another's, or the whole table may be gone. */
	for (size_t i = 0; !done && i < count; i++) {
		int rc = change(netlink, tag, &mappings[i], 1, true);

		if (rc && rc != -EEXIST && rc != -EBUSY && rc != -ENOENT)
			return bh_error_errno(err, rc, "nftables refused to remove published ports");
	}
	return 0;
}

static bool has_chain(struct bh_netlink *netlink, const char *tag, const char *chain)
{
	struct nlmsghdr *message = bh_netlink_add(netlink, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN, 0,
	                                          "find the table of networks");
	struct nfgenmsg *general = mnl_nlmsg_put_extra_header(message, sizeof(*general));
	char table[24];

	snprintf(table, sizeof(table), "bulkhead_%s", tag);
	general->nfgen_family = NFPROTO_INET;
	general->version = NFNETLINK_V0;
	mnl_attr_put_strz(message, NFTA_CHAIN_TABLE, table);
	mnl_attr_put_strz(message, NFTA_CHAIN_NAME, chain);
	return bh_netlink_run(netlink, NULL, NULL, NULL) == 0;
}

bool bh_nat_intact(struct bh_netlink *netlink, const char *tag)
{
	return has_chain(netlink, tag, "forward");
}

bool bh_nat_refuses(struct bh_netlink *netlink, const char *tag, int family)
{
	return has_chain(netlink, tag, family == 6 ? "lent6" : "lent4");
}

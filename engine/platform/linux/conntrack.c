/*
 * conntrack.c - see conntrack.h. The kernel filters what it walks over (Linux 5.8).
 */
#include "conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include "netlink.h"

/* Which parts of a tuple are compared: bits of CTA_FILTER_*_FLAGS, in no public header. */
enum { COMPARE_SOURCE = 1 << 0, COMPARE_PROTOCOL = 1 << 3 };

static struct nlmsghdr *add_request(struct bh_netlink *netlink, uint8_t type, uint16_t flags,
                                    bool v4, const char *what)
{
	struct nlmsghdr *message = bh_netlink_add(netlink, NFNL_SUBSYS_CTNETLINK << 8 | type, flags,
	                                          "%s", what);
	struct nfgenmsg *general = mnl_nlmsg_put_extra_header(message, sizeof(*general));

	general->nfgen_family = v4 ? AF_INET : AF_INET6;
	general->version = NFNETLINK_V0;
	return message;
}

static void put_filter(struct nlmsghdr *message, uint32_t original, uint32_t reply)
{
	struct nlattr *filter = mnl_attr_nest_start(message, CTA_FILTER);

	mnl_attr_put_u32(message, CTA_FILTER_ORIG_FLAGS, original);
	mnl_attr_put_u32(message, CTA_FILTER_REPLY_FLAGS, reply);
	mnl_attr_nest_end(message, filter);
}

#define FORGOTTEN_MAX 32 /* of one walk; each is told to the kernel by its tuple */
#define WALKS_MAX 64     /* senders may be quicker than we are */
#define TUPLE_BYTES 128

/* What is looked for: what `target` answers, or unanswered UDP to a mapping's port. */
struct search {
	const struct bh_address *target; /* NULL = the mappings */
	const struct bh_mapping *mappings;
	size_t mappings_count;
	struct ifaddrs *locals;
	size_t count;
	struct {
		uint16_t size;
		char payload[TUPLE_BYTES];
	} tuples[FORGOTTEN_MAX];
};

struct tuple {
	struct bh_address source, target;
	uint16_t source_port, target_port;
};

/* The children of an attribute, by type. */
static void parse_nested(const struct nlattr *nested, const struct nlattr **children, uint16_t max)
{
	const struct nlattr *attr;

	memset(children, 0, ((size_t)max + 1) * sizeof(*children));
	mnl_attr_for_each_nested(attr, nested)
		if (mnl_attr_get_type(attr) <= max)
			children[mnl_attr_get_type(attr)] = attr;
}

static bool parse_tuple(const struct nlattr *nested, bool v4, struct tuple *tuple)
{
	const struct nlattr *parts[CTA_TUPLE_MAX + 1], *ips[CTA_IP_MAX + 1], *ports[CTA_PROTO_MAX + 1];
	const struct nlattr *source, *target;
	size_t size = v4 ? 4 : 16;

	parse_nested(nested, parts, CTA_TUPLE_MAX);
	if (!parts[CTA_TUPLE_IP] || !parts[CTA_TUPLE_PROTO])
		return false;
	parse_nested(parts[CTA_TUPLE_IP], ips, CTA_IP_MAX);
	parse_nested(parts[CTA_TUPLE_PROTO], ports, CTA_PROTO_MAX);
	source = ips[v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC];
	target = ips[v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST];
	if (!source || !target || !ports[CTA_PROTO_SRC_PORT] || !ports[CTA_PROTO_DST_PORT])
		return false;
	tuple->source = bh_address_from_bytes(mnl_attr_get_payload(source), size);
	tuple->target = bh_address_from_bytes(mnl_attr_get_payload(target), size);
	tuple->source_port = ntohs(mnl_attr_get_u16(ports[CTA_PROTO_SRC_PORT]));
	tuple->target_port = ntohs(mnl_attr_get_u16(ports[CTA_PROTO_DST_PORT]));
	return true;
}

static bool is_local(const struct search *search, const struct bh_address *address)
{
	for (const struct ifaddrs *local = search->locals; local; local = local->ifa_next) {
		int family = local->ifa_addr ? local->ifa_addr->sa_family : AF_UNSPEC;
		struct bh_address known;

		if (family == AF_INET)
			known = bh_address_from_bytes(&((struct sockaddr_in *)local->ifa_addr)->sin_addr, 4);
		else if (family == AF_INET6)
			known = bh_address_from_bytes(&((struct sockaddr_in6 *)local->ifa_addr)->sin6_addr, 16);
		else
			continue;
		if (bh_address_equal(&known, address))
			return true;
	}
	return false;
}

static bool is_for_mapping(const struct search *search, const struct tuple *tuple)
{
	for (size_t i = 0; i < search->mappings_count; i++) {
		const struct bh_mapping *mapping = &search->mappings[i];

		if (mapping->protocol == IPPROTO_UDP && mapping->port == tuple->target_port &&
		    (bh_address_is_unspecified(&mapping->address) ||
		     bh_address_equal(&mapping->address, &tuple->target)))
			return true;
	}
	return false;
}

static void keep(struct search *search, const struct nlattr *original)
{
	uint16_t size = mnl_attr_get_payload_len(original);

	if (search->count == FORGOTTEN_MAX || size > TUPLE_BYTES)
		return;
	search->tuples[search->count].size = size;
	memcpy(search->tuples[search->count++].payload, mnl_attr_get_payload(original), size);
}

/* The kernel has chosen already: it is answered by the target. */
static int note_answered(const struct nlmsghdr *message, void *arg)
{
	const struct nlattr *attr;

	mnl_attr_for_each(attr, message, sizeof(struct nfgenmsg))
		if (mnl_attr_get_type(attr) == CTA_TUPLE_ORIG)
			keep(arg, attr);
	return 0;
}

/* Keeps the tuple of a conversation that is unanswered, untranslated, and for a mapping's port. */
static int note_unanswered(const struct nlmsghdr *message, void *arg)
{
	struct search *search = arg;
	const struct nfgenmsg *general = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr, *original = NULL, *reply = NULL, *status = NULL;
	bool v4 = general->nfgen_family == AF_INET;
	struct tuple there, back;

	mnl_attr_for_each(attr, message, sizeof(*general)) {
		if (mnl_attr_get_type(attr) == CTA_TUPLE_ORIG)
			original = attr;
		else if (mnl_attr_get_type(attr) == CTA_TUPLE_REPLY)
			reply = attr;
		else if (mnl_attr_get_type(attr) == CTA_STATUS)
			status = attr;
	}
	if (!original || !reply || !status ||
	    ntohl(mnl_attr_get_u32(status)) & IPS_SEEN_REPLY)
		return 0;
	if (!parse_tuple(original, v4, &there) || !parse_tuple(reply, v4, &back) ||
	    !bh_address_equal(&there.target, &back.source) || !is_for_mapping(search, &there))
		return 0;
	if (!search->locals && getifaddrs(&search->locals))
		return 0;
	if (is_local(search, &there.target))
		keep(search, original);
	return 0;
}

/* What the kernel is to walk over: replies from the target, or UDP. */
static void put_search(struct nlmsghdr *message, const struct search *search, bool v4)
{
	struct nlattr *tuple, *part;
	uint8_t bytes[16];

	if (search->target) {
		tuple = mnl_attr_nest_start(message, CTA_TUPLE_REPLY);
		part = mnl_attr_nest_start(message, CTA_TUPLE_IP);
		mnl_attr_put(message, v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC,
		             bh_address_to_bytes(search->target, bytes), bytes);
	} else {
		tuple = mnl_attr_nest_start(message, CTA_TUPLE_ORIG);
		part = mnl_attr_nest_start(message, CTA_TUPLE_PROTO);
		mnl_attr_put_u8(message, CTA_PROTO_NUM, IPPROTO_UDP);
	}
	mnl_attr_nest_end(message, part);
	mnl_attr_nest_end(message, tuple);
	put_filter(message, search->target ? 0 : COMPARE_PROTOCOL, search->target ? COMPARE_SOURCE : 0);
}

/* Once over the table. Deleting by a filter instead of a tuple is newer than what we run on. */
static int forget_some(struct bh_netlink *netlink, struct search *search, bool v4,
                       struct bh_error *err)
{
	static const char what[] = "forget translated conversations";
	struct nlmsghdr *message = add_request(netlink, IPCTNL_MSG_CT_GET, NLM_F_DUMP, v4, what);
	int rc;

	put_search(message, search, v4);
	search->count = 0;
	rc = bh_netlink_run(netlink, search->target ? note_answered : note_unanswered, search, err);
	for (size_t i = 0; !rc && i < search->count; i++) {
		message = add_request(netlink, IPCTNL_MSG_CT_DELETE, 0, v4, what);
		mnl_attr_put(message, CTA_TUPLE_ORIG | NLA_F_NESTED, search->tuples[i].size,
		             search->tuples[i].payload);
		bh_netlink_tolerate(netlink, ENOENT);
	}
	return !rc && search->count ? bh_netlink_run(netlink, NULL, NULL, err) : rc;
}

static int forget_all(struct bh_netlink *netlink, struct search *search, bool v4,
                      struct bh_error *err)
{
	int rc, walks = 0;

	do
		rc = forget_some(netlink, search, v4, err);
	while (!rc && search->count == FORGOTTEN_MAX && ++walks < WALKS_MAX);
	return rc;
}

static int note_entries(const struct nlmsghdr *message, void *arg)
{
	const struct nlattr *attr;
	uint32_t *entries = arg;

	mnl_attr_for_each(attr, message, sizeof(struct nfgenmsg))
		if (mnl_attr_get_type(attr) == CTA_STATS_GLOBAL_ENTRIES)
			*entries = ntohl(mnl_attr_get_u32(attr));
	return 0;
}

/* A walk costs 10 ms however little there is: the table is as large as memory allows. */
static bool is_empty(struct bh_netlink *netlink)
{
	uint32_t entries = 1;

	add_request(netlink, IPCTNL_MSG_CT_GET_STATS, 0, true, "count conversations");
	return !bh_netlink_run(netlink, note_entries, &entries, NULL) && !entries;
}

int bh_conntrack_forget(struct bh_netlink *netlink, const struct bh_address *target,
                        struct bh_error *err)
{
	struct search search = {.target = target};

	return is_empty(netlink) ? 0 : forget_all(netlink, &search, bh_address_is_v4(target), err);
}

static void put_address(struct nlmsghdr *message, uint16_t type, const struct bh_address *address)
{
	uint8_t bytes[16];

	mnl_attr_put(message, type, bh_address_to_bytes(address, bytes), bytes);
}

int bh_conntrack_forget_flow(struct bh_netlink *netlink, const struct bh_flow_key *key,
                             struct bh_error *err)
{
	bool v4 = !key->v6;
	/* To the kernel either way round of a conversation is its name. */
	struct nlmsghdr *message = add_request(netlink, IPCTNL_MSG_CT_DELETE, 0, v4, "forget a conversation");
	struct nlattr *tuple = mnl_attr_nest_start(message, CTA_TUPLE_ORIG);
	struct nlattr *part = mnl_attr_nest_start(message, CTA_TUPLE_IP);

	bh_netlink_tolerate(netlink, ENOENT);
	put_address(message, v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, &key->local);
	put_address(message, v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, &key->remote);
	mnl_attr_nest_end(message, part);
	part = mnl_attr_nest_start(message, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(message, CTA_PROTO_NUM, key->protocol);
	mnl_attr_put_u16(message, CTA_PROTO_SRC_PORT, htons(key->local_port));
	mnl_attr_put_u16(message, CTA_PROTO_DST_PORT, htons(key->remote_port));
	mnl_attr_nest_end(message, part);
	mnl_attr_nest_end(message, tuple);
	return netlink->count < BH_NETLINK_BATCH ? 0 : bh_netlink_run(netlink, NULL, NULL, err);
}

int bh_conntrack_end(struct bh_netlink *netlink, struct bh_error *err)
{
	return netlink->count ? bh_netlink_run(netlink, NULL, NULL, err) : 0;
}

int bh_conntrack_forget_unanswered(struct bh_netlink *netlink, const struct bh_mapping *mappings,
                                   size_t count, struct bh_error *err)
{
	struct search search = {.mappings = mappings, .mappings_count = count};
	bool families[2] = {false, false};
	int rc = 0;

	for (size_t i = 0; i < count; i++)
		if (mappings[i].protocol == IPPROTO_UDP)
			families[bh_address_is_v4(&mappings[i].target)] = true;
	if ((!families[0] && !families[1]) || is_empty(netlink))
		return 0;
	for (int v4 = 0; !rc && v4 < 2; v4++)
		if (families[v4])
			rc = forget_all(netlink, &search, v4, err);
	freeifaddrs(search.locals);
	return rc;
}

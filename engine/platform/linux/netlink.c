/*
 * netlink.c - see netlink.h. The framing is libmnl's; the batch and its errors are ours.
 */
#include "netlink.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <linux/netlink.h>

int bh_netlink_open(struct bh_netlink *netlink, struct bh_error *err)
{
	return bh_netlink_open_bus(netlink, NETLINK_ROUTE, err);
}

int bh_netlink_open_bus(struct bh_netlink *netlink, int bus, struct bh_error *err)
{
	struct mnl_socket *socket = mnl_socket_open2(bus, SOCK_CLOEXEC);
	int one = 1;

	if (!socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		int code = -errno;

		if (socket)
			mnl_socket_close(socket);
		return bh_error_errno(err, code, "cannot open a netlink socket");
	}
	/* Both only make answers better; old kernels go without. */
	mnl_socket_setsockopt(socket, NETLINK_EXT_ACK, &one, sizeof(one));
	mnl_socket_setsockopt(socket, NETLINK_CAP_ACK, &one, sizeof(one));
	netlink->socket = socket;
	netlink->seq = 1;
	netlink->count = 0;
	netlink->used = 0;
	return 0;
}

void bh_netlink_close(struct bh_netlink *netlink)
{
	if (netlink->socket)
		mnl_socket_close(netlink->socket);
	netlink->socket = NULL;
}

/* Where the next request is built; the last one is complete once this is called. */
static char *next_request(struct bh_netlink *netlink)
{
	struct nlmsghdr *last = (struct nlmsghdr *)(netlink->buffer + netlink->used);

	if (netlink->count)
		netlink->used += NLMSG_ALIGN(last->nlmsg_len);
	return netlink->buffer + netlink->used;
}

struct nlmsghdr *bh_netlink_add(struct bh_netlink *netlink, uint16_t type, uint16_t flags,
                                const char *what, ...)
{
	struct nlmsghdr *message;
	va_list args;

	/* The callers' batches are of known size, and no request reaches 512 bytes. */
	assert(netlink->count < BH_NETLINK_BATCH);
	message = mnl_nlmsg_put_header(next_request(netlink));
	message->nlmsg_type = type;
	message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	if ((flags & NLM_F_DUMP) != NLM_F_DUMP)
		message->nlmsg_flags |= NLM_F_ACK;
	message->nlmsg_seq = netlink->seq + netlink->count;
	va_start(args, what);
	vsnprintf(netlink->requests[netlink->count].what, BH_NETLINK_WHAT, what, args);
	va_end(args);
	netlink->requests[netlink->count].tolerated = 0;
	netlink->count++;
	return message;
}

void bh_netlink_tolerate(struct bh_netlink *netlink, int code)
{
	netlink->requests[netlink->count - 1].tolerated = code;
}

/* What the kernel says in words, if it does. */
static const char *ack_text(const struct nlmsghdr *message)
{
	const struct nlmsgerr *ack = mnl_nlmsg_get_payload(message);
	const struct nlattr *attr;
	size_t skip = sizeof(*ack);

	if (!(message->nlmsg_flags & NLM_F_ACK_TLVS))
		return NULL;
	if (!(message->nlmsg_flags & NLM_F_CAPPED))
		skip += mnl_nlmsg_get_payload_len(message) < ack->msg.nlmsg_len
		                ? 0
		                : ack->msg.nlmsg_len - sizeof(ack->msg);
	mnl_attr_for_each(attr, message, (unsigned)skip)
		if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG)
			return mnl_attr_get_str(attr);
	return NULL;
}

struct run {
	struct bh_netlink *netlink;
	bh_netlink_visitor *visit;
	void *arg;
	unsigned answered;
	int failed;  /* the first error of the kernel */
	int visited; /* the first non-zero of `visit` */
	struct bh_error *err;
};

static void take_ack(struct run *run, const struct nlmsghdr *message, unsigned index, int code)
{
	const char *text = message->nlmsg_type == NLMSG_ERROR ? ack_text(message) : NULL;

	run->answered++;
	if (!code || -code == run->netlink->requests[index].tolerated || run->failed)
		return;
	run->failed = code;
	if (text)
		bh_error_set(run->err, code, "cannot %s: %s (%s)", run->netlink->requests[index].what,
		             strerror(-code), text);
	else
		bh_error_errno(run->err, code, "cannot %s", run->netlink->requests[index].what);
}

static void take_message(struct run *run, const struct nlmsghdr *message)
{
	unsigned index = message->nlmsg_seq - run->netlink->seq;

	if (index >= run->netlink->count)
		return; /* what is left of a batch that was given up */
	if (message->nlmsg_type == NLMSG_ERROR)
		take_ack(run, message, index, ((struct nlmsgerr *)mnl_nlmsg_get_payload(message))->error);
	else if (message->nlmsg_type == NLMSG_DONE)
		take_ack(run, message, index,
		         mnl_nlmsg_get_payload_len(message) >= sizeof(int)
		                 ? *(int *)mnl_nlmsg_get_payload(message)
		                 : 0);
	else if (message->nlmsg_type >= NLMSG_MIN_TYPE && run->visit && !run->visited)
		run->visited = run->visit(message, run->arg);
}

static int receive(struct run *run)
{
	char answer[BH_NETLINK_SIZE];
	const struct nlmsghdr *message = (const struct nlmsghdr *)answer;
	ssize_t size = mnl_socket_recvfrom(run->netlink->socket, answer, sizeof(answer));
	int left = (int)size;

	if (size < 0)
		return errno == EINTR ? 0 : -errno;
	for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
		take_message(run, message);
	return 0;
}

void bh_netlink_finish(struct bh_netlink *netlink)
{
	next_request(netlink);
}

int bh_netlink_run(struct bh_netlink *netlink, bh_netlink_visitor *visit, void *arg,
                   struct bh_error *err)
{
	struct run run = {.netlink = netlink, .visit = visit, .arg = arg, .err = err};
	int rc = 0;

	bh_netlink_finish(netlink);
	if (mnl_socket_sendto(netlink->socket, netlink->buffer, netlink->used) < 0)
		rc = -errno;
	while (!rc && run.answered < netlink->count)
		rc = receive(&run);
	netlink->seq += netlink->count;
	netlink->count = 0;
	netlink->used = 0;
	if (rc)
		return bh_error_errno(err, rc, "the kernel's netlink socket failed");
	return run.failed ? run.failed : run.visited;
}

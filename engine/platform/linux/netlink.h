/*
 * netlink.h - requests to the kernel's routing socket, and to others, sent in batches.
 *
 * A socket stays in the namespace it was made in, so one is kept for each namespace that is used
 * often and no change of namespace is needed to use it. Requests are put together in one buffer and
 * sent by one system call; the kernel runs them in order and goes on after a failed one, so what a
 * batch made must be undone by its caller when bh_netlink_run() fails.
 */
#ifndef BH_PLATFORM_LINUX_NETLINK_H
#define BH_PLATFORM_LINUX_NETLINK_H

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include "../../base/error.h"

#define BH_NETLINK_BATCH 64 /* requests; their acks fit the smallest receive buffer */
#define BH_NETLINK_SIZE 32768
#define BH_NETLINK_WHAT 64

struct bh_netlink {
	struct mnl_socket *socket; /* NULL = closed */
	uint32_t seq;              /* of the first request of the batch */
	unsigned count;
	size_t used;
	struct {
		char what[BH_NETLINK_WHAT]; /* completes "cannot ..." */
		int tolerated; /* errno that is success */
	} requests[BH_NETLINK_BATCH];
	char buffer[BH_NETLINK_SIZE];
};

typedef int bh_netlink_visitor(const struct nlmsghdr *message, void *arg);

/* In the caller's current namespace. */
int bh_netlink_open(struct bh_netlink *netlink, struct bh_error *err);
/* Another protocol than NETLINK_ROUTE. */
int bh_netlink_open_bus(struct bh_netlink *netlink, int bus, struct bh_error *err);
void bh_netlink_close(struct bh_netlink *netlink);
#define BH_AUTONETLINK __attribute__((cleanup(bh_netlink_close)))

/* Adds a request, acknowledged unless `flags` has NLM_F_DUMP, which must be alone in its batch. */
struct nlmsghdr *bh_netlink_add(struct bh_netlink *netlink, uint16_t type, uint16_t flags,
                                const char *what, ...) __attribute__((format(printf, 4, 5)));
/* The last request may fail with errno `code`. */
void bh_netlink_tolerate(struct bh_netlink *netlink, int code);

/* Completes the batch for another sender: `buffer` holds `used` bytes of it. */
void bh_netlink_finish(struct bh_netlink *netlink);

/*
 * Sends the batch and reads all answers. `visit` (may be NULL) sees each message that is not an
 * ack; its non-zero return is returned at the end. The first request that failed makes the error.
 */
int bh_netlink_run(struct bh_netlink *netlink, bh_netlink_visitor *visit, void *arg,
                   struct bh_error *err);

#endif

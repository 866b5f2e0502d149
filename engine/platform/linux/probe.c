/*
 * probe.c - sends one thing from a stack of a lab and watches another stack's NICs for it.
 *
 * Arrival is seen by a packet socket in the other stack, before anything there can refuse it; the
 * answer by the sender's own socket. While waiting, listeners are served and guests' frames moved.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../base/cleanup.h"
#include "../../filter/evaluate.h"
#include "lab.h"

#define PING_ID 0x4268

/* One exchange under way. */
struct exchange {
	struct bh_linux_lab *lab;
	const struct bh_probe *probe;
	struct bh_probe_result result;
	int watch;   /* packet socket in the watched stack */
	int socket;  /* the sender's */
	const uint8_t *frame; /* inject: the frame looked for; NULL = by the probe */
	size_t frame_size;
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static socklen_t socket_address(const struct bh_address *address, uint16_t port,
                                struct sockaddr_storage *out)
{
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
	struct sockaddr_in *four = (struct sockaddr_in *)out;

	memset(out, 0, sizeof(*out));
	if (bh_address_is_v4(address)) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		bh_address_to_bytes(address, &four->sin_addr);
		return sizeof(*four);
	}
	six->sin6_family = AF_INET6;
	six->sin6_port = htons(port);
	bh_address_to_bytes(address, &six->sin6_addr);
	return sizeof(*six);
}

/* A socket made in a stack; returns it or a negative errno with a sentence. */
static int stack_socket(struct bh_linux_lab *lab, uint32_t where, int family, int type, int protocol,
                        struct bh_error *err)
{
	BH_AUTOVISIT struct bh_visit visit = {0};
	BH_AUTOFD int stack = bh_lab_stack(lab, where, err);
	int fd, rc;

	if (stack < 0)
		return stack;
	rc = bh_namespace_enter(&visit, stack, err);
	if (rc)
		return rc;
	fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	return fd < 0 ? bh_error_errno(err, -errno, "cannot make a socket in stack %u", where) : fd;
}

/* The first NIC of a stack that is not its loopback; probes of hosts go out by their routes. */
static unsigned first_nic(int fd)
{
	static const char *const names[] = {"eth0", "up0"};
	struct ifreq request;

	for (size_t i = 0; i < 2; i++) {
		memset(&request, 0, sizeof(request));
		strcpy(request.ifr_name, names[i]);
		if (!ioctl(fd, SIOCGIFINDEX, &request))
			return (unsigned)request.ifr_ifindex;
	}
	return 0;
}

/* What the probe looks like where it arrives: protocol, and port or type. */
static bool is_probe(const struct bh_probe *probe, const struct bh_packet *packet)
{
	const struct bh_key *key = &packet->key;
	uint16_t port = probe->arrival_port ? probe->arrival_port : probe->target_port;

	if (packet->form != BH_FORM_IP)
		return false;
	switch (probe->kind) {
	case BH_PROBE_TCP:
		return key->protocol == BH_PROTO_TCP && key->local_port == port &&
		       packet->tcp_flags & BH_TCP_SYN && !(packet->tcp_flags & BH_TCP_ACK);
	case BH_PROBE_UDP:
		return key->protocol == BH_PROTO_UDP && key->local_port == port;
	case BH_PROBE_PING:
		return bh_is_icmp(key) && bh_icmp_is_query(key) && packet->id == PING_ID;
	default:
		break;
	}
	if (key->protocol != probe->raw.protocol || !bh_address_equal(&key->local, &probe->raw.target))
		return false;
	if (bh_is_icmp(key))
		return bh_icmp_type(key) == probe->raw.icmp_type;
	return !bh_has_ports(key->protocol) || (key->local_port == probe->raw.target_port &&
	                                        key->remote_port == probe->raw.source_port);
}

/* Reads what the watched stack received. */
static void read_watch(struct exchange *exchange)
{
	uint8_t frame[2048];
	struct sockaddr_ll from;
	socklen_t size = sizeof(from);
	ssize_t n;

	while ((n = recvfrom(exchange->watch, frame, sizeof(frame), 0, (struct sockaddr *)&from, &size)) > 0) {
		struct bh_env env = {.frame = frame, .size = (uint32_t)n};
		struct bh_packet packet;

		if (from.sll_pkttype == PACKET_OUTGOING)
			continue;
		if (exchange->frame) {
			/* A tag is taken out of the data on its way: what follows it is looked for too. */
			if (((size_t)n >= exchange->frame_size && !memcmp(frame, exchange->frame, exchange->frame_size)) ||
			    ((size_t)n + 4 >= exchange->frame_size && exchange->frame_size > 22 &&
			     !memcmp(frame, exchange->frame, 12) &&
			     !memcmp(frame + 12, exchange->frame + 16, exchange->frame_size - 16)))
				exchange->result.arrived = true;
			continue;
		}
		bh_evaluate_parse(&env, BH_IN, &packet);
		if (!is_probe(exchange->probe, &packet) || exchange->result.arrived)
			continue;
		exchange->result.arrived = true;
		exchange->result.source = packet.key.remote;
	}
}

/* What the sender's socket says. */
static void read_answer(struct exchange *exchange, short events)
{
	enum bh_probe_kind kind = exchange->probe->kind;
	uint8_t data[2048];
	int error = 0;
	socklen_t size = sizeof(error);
	ssize_t n;

	if (kind == BH_PROBE_TCP) {
		getsockopt(exchange->socket, SOL_SOCKET, SO_ERROR, &error, &size);
		exchange->result.answered |= !error && (events & POLLOUT) && !(events & (POLLERR | POLLHUP));
		exchange->result.refused |= error == ECONNREFUSED || error == ECONNRESET;
		return;
	}
	while ((n = recv(exchange->socket, data, sizeof(data), 0)) >= 0) {
		const uint8_t *icmp = data;

		if (kind == BH_PROBE_UDP)
			exchange->result.answered = true;
		if (kind == BH_PROBE_PING && bh_address_is_v4(&exchange->probe->target) && n >= 28)
			icmp = data + (data[0] & 15) * 4;
		if (kind == BH_PROBE_PING && n >= 8 && (icmp[0] == 0 || icmp[0] == 129) &&
		    bh_get16(icmp + 4) == PING_ID)
			exchange->result.answered = true;
	}
	if (errno == ECONNREFUSED)
		exchange->result.refused = true;
}

static bool is_done(const struct exchange *exchange)
{
	if (!exchange->result.arrived)
		return false;
	return exchange->frame || exchange->probe->kind == BH_PROBE_RAW || exchange->result.answered ||
	       exchange->result.refused;
}

static void wait_for(struct exchange *exchange, uint32_t timeout_ms)
{
	int64_t end = now_ms() + timeout_ms;
	struct bh_linux_lab *lab = exchange->lab;

	while (!is_done(exchange) && now_ms() < end) {
		struct pollfd polled[2] = {
			{.fd = exchange->watch, .events = POLLIN},
			{.fd = exchange->socket,
			 .events = exchange->socket >= 0 && exchange->probe->kind == BH_PROBE_TCP ? POLLOUT : POLLIN},
		};

		for (size_t i = 0; i < lab->guests_count; i++)
			bh_guest_pump(&lab->guests[i]);
		for (size_t i = 0; i < lab->listeners_count; i++)
			bh_listener_serve(&lab->listeners[i]);
		poll(polled, 2, exchange->result.answered ? 0 : 2);
		read_watch(exchange);
		if (exchange->socket >= 0 && polled[1].revents && !exchange->result.answered)
			read_answer(exchange, polled[1].revents);
	}
}

/* TCP connect or one UDP datagram. */
static int send_socket(struct exchange *exchange, struct bh_error *err)
{
	const struct bh_probe *probe = exchange->probe;
	bool tcp = probe->kind == BH_PROBE_TCP;
	struct sockaddr_storage address;
	socklen_t size = socket_address(&probe->target, probe->target_port, &address);
	int one = 1;

	exchange->socket = stack_socket(exchange->lab, probe->from, address.ss_family,
	                                tcp ? SOCK_STREAM : SOCK_DGRAM, 0, err);
	if (exchange->socket < 0)
		return exchange->socket;
	setsockopt(exchange->socket, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (probe->source_port) {
		struct sockaddr_storage any;
		struct bh_address none = {0, bh_address_is_v4(&probe->target) ? BH_V4_MAPPED : 0};

		if (bind(exchange->socket, (struct sockaddr *)&any, socket_address(&none, probe->source_port, &any)))
			return bh_error_errno(err, -errno, "cannot send from port %u", probe->source_port);
	}
	if (connect(exchange->socket, (struct sockaddr *)&address, size) && errno != EINPROGRESS) {
		if (errno != ENETUNREACH && errno != EHOSTUNREACH)
			return bh_error_errno(err, -errno, "cannot send the probe");
		return 0; /* no route: it does not arrive */
	}
	if (!tcp)
		(void)!send(exchange->socket, "bulkhead", 8, 0);
	return 0;
}

static int send_ping(struct exchange *exchange, struct bh_error *err)
{
	const struct bh_probe *probe = exchange->probe;
	bool v4 = bh_address_is_v4(&probe->target);
	uint8_t echo[16] = {v4 ? 8 : 128, 0, 0, 0, PING_ID >> 8, PING_ID & 0xff, 0, 1};
	struct sockaddr_storage address;
	socklen_t size = socket_address(&probe->target, 0, &address);
	uint16_t sum = bh_checksum_fold(bh_checksum_add(0, echo, sizeof(echo)));

	echo[2] = (uint8_t)(sum >> 8);
	echo[3] = (uint8_t)sum;
	exchange->socket = stack_socket(exchange->lab, probe->from, address.ss_family, SOCK_RAW,
	                                v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, err);
	if (exchange->socket < 0)
		return exchange->socket;
	(void)!sendto(exchange->socket, echo, sizeof(echo), 0, (struct sockaddr *)&address, size);
	return 0;
}

/* A whole frame by a packet socket: for sources that no socket would let through. */
static int send_frame(struct bh_linux_lab *lab, uint32_t from, const void *frame, size_t size,
                      struct bh_error *err)
{
	BH_AUTOFD int fd = stack_socket(lab, from, AF_PACKET, SOCK_RAW, 0, err);
	struct sockaddr_ll to = {.sll_family = AF_PACKET};

	if (fd < 0)
		return fd;
	to.sll_ifindex = (int)first_nic(fd);
	if (!to.sll_ifindex)
		return bh_error_set(err, -ENODEV, "stack %u has no NIC", from);
	if (sendto(fd, frame, size, 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		return bh_error_errno(err, -errno, "cannot send the frame");
	return 0;
}

/* An IP packet with whatever source; the stack's routes and neighbours find the way. */
static int send_raw(struct exchange *exchange, struct bh_error *err)
{
	const struct bh_notation *raw = &exchange->probe->raw;
	static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	bool v4 = bh_address_is_v4(&raw->source);
	uint8_t frame[BH_FRAME_MAX], mac[6] = {0x02};
	uint32_t size = bh_notation_frame(raw, mac, broadcast, frame);
	struct sockaddr_storage address;
	socklen_t length = socket_address(&raw->target, 0, &address);
	BH_AUTOFD int fd = -1;
	int one = 1;

	if (bh_address_is_unspecified(&raw->source)) {
		struct ifreq request = {0};

		fd = stack_socket(exchange->lab, exchange->probe->from, AF_INET, SOCK_DGRAM, 0, err);
		if (fd < 0)
			return fd;
		strcpy(request.ifr_name, "eth0");
		if (!ioctl(fd, SIOCGIFHWADDR, &request))
			memcpy(mac, request.ifr_hwaddr.sa_data, 6);
		size = bh_notation_frame(raw, mac, broadcast, frame);
		return send_frame(exchange->lab, exchange->probe->from, frame, size, err);
	}
	fd = stack_socket(exchange->lab, exchange->probe->from, v4 ? AF_INET : AF_INET6, SOCK_RAW,
	                  IPPROTO_RAW, err);
	if (fd < 0)
		return fd;
	if (v4)
		setsockopt(fd, IPPROTO_IP, IP_HDRINCL, &one, sizeof(one));
	else
		setsockopt(fd, IPPROTO_IPV6, IPV6_HDRINCL, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one));
	if (!v4 && (bh_address_is_multicast(&raw->target) || bh_address_is_link_local6(&raw->target)))
		((struct sockaddr_in6 *)&address)->sin6_scope_id = first_nic(fd);
	(void)!sendto(fd, frame + 14, size - 14, 0, (struct sockaddr *)&address, length);
	return 0;
}

static int open_watch(struct bh_linux_lab *lab, uint32_t where, struct bh_error *err)
{
	return stack_socket(lab, where, AF_PACKET, SOCK_RAW, htons(ETH_P_ALL), err);
}

int bh_probe_run(struct bh_lab *base, const struct bh_probe *probe, struct bh_probe_result *result,
                 struct bh_error *err)
{
	struct exchange exchange = {.lab = bh_linux_lab_of(base), .probe = probe, .socket = -1};
	int rc;

	exchange.watch = open_watch(exchange.lab, probe->to, err);
	if (exchange.watch < 0)
		return exchange.watch;
	switch (probe->kind) {
	case BH_PROBE_PING:
		rc = send_ping(&exchange, err);
		break;
	case BH_PROBE_RAW:
		rc = send_raw(&exchange, err);
		break;
	default:
		rc = send_socket(&exchange, err);
		break;
	}
	if (!rc)
		wait_for(&exchange, probe->timeout_ms);
	close(exchange.watch);
	bh_cleanup_fd(&exchange.socket);
	if (!rc)
		*result = exchange.result;
	return rc;
}

int bh_probe_inject(struct bh_lab *base, uint32_t from, uint32_t to, const void *frame, size_t size,
                    bool *arrived, struct bh_error *err)
{
	struct bh_linux_lab *lab = bh_linux_lab_of(base);
	struct exchange exchange = {.lab = lab, .socket = -1, .frame = frame, .frame_size = size};
	int rc;

	exchange.watch = open_watch(lab, to, err);
	if (exchange.watch < 0)
		return exchange.watch;
	rc = send_frame(lab, from, frame, size, err);
	if (!rc)
		wait_for(&exchange, 150);
	close(exchange.watch);
	if (!rc)
		*arrived = exchange.result.arrived;
	return rc;
}

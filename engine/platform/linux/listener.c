/*
 * listener.c - ports that answer in a lab's stacks.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../base/cleanup.h"
#include "lab.h"

/* A socket of the family bound to the port, or a negative errno. */
static int open_socket(int family, uint8_t protocol, uint16_t port)
{
	int type = protocol == BH_PROTO_TCP ? SOCK_STREAM : SOCK_DGRAM, one = 1;
	BH_AUTOFD int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
	const void *address = family == AF_INET ? (const void *)&four : &six;
	socklen_t size = family == AF_INET ? sizeof(four) : sizeof(six);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, address, size) || (protocol == BH_PROTO_TCP && listen(fd, 16)))
		return -errno;
	return bh_take_fd(&fd);
}

int bh_listener_open(struct bh_lab *base, uint32_t where, uint8_t protocol, uint16_t port,
                     struct bh_error *err)
{
	struct bh_linux_lab *lab = bh_linux_lab_of(base);
	struct bh_listener listener = {where, protocol, port, {-1, -1}};
	BH_AUTOVISIT struct bh_visit visit = {0};
	BH_AUTOFD int stack = bh_lab_stack(lab, where, err);
	int rc;

	if (stack < 0)
		return stack;
	if (lab->listeners_count == BH_LAB_LISTENERS)
		return bh_error_set(err, -E2BIG, "a lab has at most %d listeners", BH_LAB_LISTENERS);
	rc = bh_namespace_enter(&visit, stack, err);
	if (rc)
		return rc;
	listener.sockets[0] = open_socket(AF_INET, protocol, port);
	listener.sockets[1] = open_socket(AF_INET6, protocol, port); /* -1: no IPv6 there */
	if (listener.sockets[0] < 0) {
		rc = listener.sockets[0];
		bh_listener_close(&listener);
		return bh_error_errno(err, rc, "cannot listen on port %u", port);
	}
	lab->listeners[lab->listeners_count++] = listener;
	return 0;
}

void bh_listener_close(struct bh_listener *listener)
{
	for (int i = 0; i < 2; i++)
		bh_cleanup_fd(&listener->sockets[i]);
}

void bh_listener_serve(struct bh_listener *listener)
{
	for (int i = 0; i < 2; i++) {
		struct sockaddr_storage from;
		socklen_t size = sizeof(from);
		char data[2048];
		ssize_t n;

		if (listener->sockets[i] < 0)
			continue;
		if (listener->protocol == BH_PROTO_TCP) {
			int fd = accept(listener->sockets[i], NULL, NULL);

			if (fd >= 0)
				close(fd);
			continue;
		}
		n = recvfrom(listener->sockets[i], data, sizeof(data), 0, (struct sockaddr *)&from, &size);
		if (n >= 0)
			(void)!sendto(listener->sockets[i], data, (size_t)n, 0, (struct sockaddr *)&from, size);
	}
}

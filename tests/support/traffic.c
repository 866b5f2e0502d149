/*
 * traffic.c - traffic between two network namespaces, and what it costs.
 *
 *   traffic FROM TO ADDRESS PORT MODE MILLISECONDS
 *
 * FROM and TO are paths of namespaces, ADDRESS and PORT those of the receiver. MODE:
 *   udp     datagrams of 64 bytes one way, after one that was answered
 *   rr      one byte there and back over one TCP connection
 *   crr     a connection for each byte there and back, closed by the receiver
 *   stream  bytes one way over one TCP connection, whose order and values are checked
 *   probe   one datagram, sent again until it is answered
 *
 * Prints one line of JSON: what got there (`done`), what was sent, nanoseconds on the clock, and of
 * processor time for the sender, with what the kernel does in its name, and the receiver. The two are
 * processes of their own, on the first and the last processor. Exit status 1 if nothing got there.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DATAGRAM 64
#define BUFFER 65536
#define BATCH 64

/* What the two processes tell each other. */
struct shared {
	volatile int ready;
	volatile uint64_t done;
	volatile uint64_t wrong;
};

static struct shared *shared;
static const char *address, *port, *mode;
static uint8_t buffer[BUFFER];

static void die(const char *what)
{
	fprintf(stderr, "traffic: %s: %s\n", what, strerror(errno));
	exit(2);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool is_datagram(void)
{
	return !strcmp(mode, "udp") || !strcmp(mode, "probe");
}

/* A socket in `netns`, on one processor from here on; bound to the receiver's address or connected. */
static int open_end(struct addrinfo **to)
{
	struct addrinfo hints = {.ai_socktype = is_datagram() ? SOCK_DGRAM : SOCK_STREAM,
	                         .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	int fd, one = 1, size = 64 << 20;

	if (!*to && getaddrinfo(address, port, &hints, to))
		die(address);
	fd = socket((*to)->ai_family, (*to)->ai_socktype, 0);
	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (is_datagram())
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	else
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void enter(const char *path, int processor)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	cpu_set_t set;

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		die(path);
	close(fd);
	CPU_ZERO(&set);
	CPU_SET((size_t)processor, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* --- the receiver --- */

/* Looks from time to time: a sleeper that each datagram wakes would be most of what is measured. */
static void receive_datagrams(int fd)
{
	static uint8_t space[BATCH][DATAGRAM];
	struct mmsghdr messages[BATCH] = {0};
	struct iovec vectors[BATCH];
	struct sockaddr_storage from;

	for (int i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){space[i], DATAGRAM};
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	shared->ready = 1;
	for (;;) {
		int n;

		messages[0].msg_hdr.msg_name = &from;
		messages[0].msg_hdr.msg_namelen = sizeof(from);
		n = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
		if (n < 0 && errno == EAGAIN)
			usleep(300);
		else if (n < 0 && errno != EINTR)
			die("receive");
		if (n > 0 && space[0][0] == '?') /* wants an answer */
			sendto(fd, "!", 1, 0, (struct sockaddr *)&from, messages[0].msg_hdr.msg_namelen);
		else if (n > 0)
			shared->done += (uint64_t)n;
	}
}

/* Bytes of a stream count up, so that one lost, doubled or out of place is seen. */
static void receive_stream(int fd)
{
	uint64_t at = 0;
	ssize_t n;

	while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0) {
		for (ssize_t i = 0; i < n; i += 509)
			shared->wrong += buffer[i] != (uint8_t)((at + (uint64_t)i) % 251);
		at += (uint64_t)n;
		shared->done = at;
	}
}

static void receive_connections(int listener)
{
	if (listen(listener, 128))
		die("listen");
	shared->ready = 1;
	for (;;) {
		int fd = accept(listener, NULL, NULL), one = 1;
		uint8_t byte;

		if (fd < 0)
			die("accept");
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (!strcmp(mode, "stream"))
			receive_stream(fd);
		else
			while (recv(fd, &byte, 1, 0) == 1) {
				if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1)
					break;
				shared->done++;
						if (!strcmp(mode, "crr"))
					break;
			}
		close(fd);
	}
}

static void receiver(const char *netns)
{
	struct addrinfo *to = NULL;
	int fd;

	enter(netns, (int)sysconf(_SC_NPROCESSORS_ONLN) - 1);
	fd = open_end(&to);
	if (bind(fd, to->ai_addr, to->ai_addrlen))
		die("bind");
	if (is_datagram())
		receive_datagrams(fd);
	else
		receive_connections(fd);
}

/* --- the sender --- */

static int dial(struct addrinfo **to)
{
	struct timeval patience = {.tv_sec = 2};
	int fd = open_end(to);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (*to)->ai_addr, (*to)->ai_addrlen)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Whether a datagram is answered, in `tries` tenths of a second. */
static bool ask(int fd, int tries)
{
	uint8_t question[DATAGRAM] = "?", answer;

	for (int i = 0; i < tries; i++) {
		struct pollfd wait = {fd, POLLIN, 0};

		send(fd, question, sizeof(question), 0);
		if (poll(&wait, 1, 100) == 1 && recv(fd, &answer, 1, 0) == 1)
			return true;
	}
	return false;
}

static uint64_t send_datagrams(int fd, uint64_t end)
{
	static const uint8_t datagram[DATAGRAM] = "data";
	uint64_t sent = 0;

	while (clock_ns(CLOCK_MONOTONIC) < end)
		for (int i = 0; i < BATCH; i++)
			sent += send(fd, datagram, sizeof(datagram), 0) == DATAGRAM;
	return sent;
}

static uint64_t send_stream(int fd, uint64_t end)
{
	static uint8_t pattern[BUFFER + 251];
	uint64_t sent = 0;

	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i % 251);
	while (clock_ns(CLOCK_MONOTONIC) < end) {
		ssize_t n = send(fd, pattern + sent % 251, BUFFER, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		sent += (uint64_t)n;
	}
	return sent;
}

static uint64_t send_requests(struct addrinfo **to, int fd, uint64_t end)
{
	bool each = !strcmp(mode, "crr");
	uint8_t byte = 'x';
	uint64_t sent = 0;

	while (fd >= 0 && clock_ns(CLOCK_MONOTONIC) < end) {
		if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1)
			break;
		sent++;
		if (each) {
			recv(fd, &byte, 1, 0); /* its end: the receiver closes first and keeps the waiting state */
			close(fd);
			fd = dial(to);
		}
	}
	if (fd >= 0)
		close(fd);
	return sent;
}

static void sender(const char *netns, uint64_t ns, pid_t other)
{
	uint64_t start, cpu, theirs, sent = 0, end;
	clockid_t clock;
	struct addrinfo *to = NULL;
	int fd;

	if (clock_getcpuclockid(other, &clock))
		die("clock");
	enter(netns, 0);
	fd = dial(&to);
	if (is_datagram() && (fd < 0 || !ask(fd, !strcmp(mode, "probe") ? (int)(ns / 100000000) : 30)))
		return;
	if (!strcmp(mode, "probe"))
		shared->done = 1;
	start = clock_ns(CLOCK_MONOTONIC);
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	theirs = clock_ns(clock);
	end = start + ns;
	if (!strcmp(mode, "udp"))
		sent = send_datagrams(fd, end);
	else if (!strcmp(mode, "stream"))
		sent = send_stream(fd, end);
	else if (strcmp(mode, "probe"))
		sent = send_requests(&to, fd, end);
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	start = clock_ns(CLOCK_MONOTONIC) - start;
	/* What is on its way, until nothing has come for 20 ms. */
	for (int quiet = 0; shared->done < sent && quiet < 20; quiet++) {
		uint64_t before = shared->done;

		usleep(1000);
		quiet = shared->done == before ? quiet : -1;
	}
	theirs = clock_ns(clock) - theirs;
	printf("{\"mode\":\"%s\",\"done\":%llu,\"sent\":%llu,\"wrong\":%llu,\"ns\":%llu,\"sender_ns\":%llu,"
	       "\"receiver_ns\":%llu}\n", mode, (unsigned long long)shared->done, (unsigned long long)sent,
	       (unsigned long long)shared->wrong, (unsigned long long)start, (unsigned long long)cpu,
	       (unsigned long long)theirs);
}

int main(int argc, char **argv)
{
	pid_t child;

	if (argc != 7) {
		fprintf(stderr, "usage: traffic FROM TO ADDRESS PORT udp|rr|crr|stream|probe MILLISECONDS\n");
		return 2;
	}
	address = argv[3];
	port = argv[4];
	mode = argv[5];
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap");
	child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		receiver(argv[2]);
		_exit(2);
	}
	for (int i = 0; i < 200 && !shared->ready; i++)
		usleep(5000);
	sender(argv[1], strtoull(argv[6], NULL, 10) * 1000000u, child);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return shared->done && !shared->wrong ? 0 : 1;
}

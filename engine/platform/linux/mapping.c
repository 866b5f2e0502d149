/*
 * mapping.c - see mapping.h.
 *
 * No socket is held for a published port: the kernel translates. Whether a socket of the host would
 * lose its port to us is asked by binding one for a moment; if that fails, the sockets that listen
 * are looked through for the one to name, because an outgoing connection that happens to have the
 * port loses nothing.
 */
#include "mapping.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../base/cleanup.h"
#include "../../filter/rule.h"
#include "conntrack.h"
#include "linux.h"
#include "nat.h"
#include "switch.h"

int bh_mapping_localnet(struct bh_linux *self, const struct bh_mapping *mappings, size_t count,
                        struct bh_error *err)
{
	uint32_t last = 0;
	int rc = 0;

	for (size_t i = 0; !rc && i < count; i++) {
		char vnic[BH_IFNAME_SIZE];

		if (!bh_address_is_v4(&mappings[i].target) || mappings[i].network == last)
			continue;
		last = mappings[i].network;
		bh_switch_vnic(self->tag, last, vnic);
		rc = bh_sysctl_interface(4, vnic, "route_localnet", "1", err);
	}
	return rc;
}

int bh_mapping_add(struct bh_platform *platform, const struct bh_mapping *mappings, size_t count,
                   struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	BH_AUTOVISIT struct bh_visit visit = {0};
	int rc = bh_linux_writable(self, err);

	rc = rc ? rc : bh_linux_filter(self, err);
	rc = rc ? rc : bh_namespace_enter(&visit, self->default_namespace, err);
	rc = rc ? rc : bh_nat_publish(&self->filter_link, self->tag, mappings, count, err);
	if (rc)
		return rc;
	rc = bh_mapping_localnet(self, mappings, count, err);
	rc = rc ? rc : bh_conntrack_forget_unanswered(&self->filter_link, mappings, count, err);
	if (rc)
		bh_nat_unpublish(&self->filter_link, self->tag, mappings, count, NULL);
	return rc;
}

int bh_mapping_remove(struct bh_platform *platform, const struct bh_mapping *mappings, size_t count,
                      struct bh_error *err)
{
	struct bh_linux *self = bh_linux_of(platform);
	BH_AUTOVISIT struct bh_visit visit = {0};
	const struct bh_address *last = NULL;
	int rc = bh_linux_writable(self, err);

	rc = rc ? rc : bh_linux_filter(self, err);
	rc = rc ? rc : bh_namespace_enter(&visit, self->default_namespace, err);
	rc = rc ? rc : bh_nat_unpublish(&self->filter_link, self->tag, mappings, count, err);
	/* TCP is forgotten conversation by conversation, with the port (nic.c): that needs no walk. */
	for (size_t i = 0; !rc && i < count; i++) {
		if (mappings[i].protocol == IPPROTO_TCP || (last && bh_address_equal(last, &mappings[i].target)))
			continue;
		last = &mappings[i].target;
		rc = bh_conntrack_forget(&self->filter_link, last, err);
	}
	return rc;
}

/* --- who has the port --- */

static int bind_socket(const struct bh_mapping *mapping)
{
	bool v4 = bh_address_is_v4(&mapping->target);
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(mapping->port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(mapping->port)};
	int type = mapping->protocol == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM, one = 1;
	BH_AUTOFD int fd = socket(v4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, mapping->protocol);

	if (fd < 0) /* a kernel without such sockets has none that could hold the port */
		return 0;
	bh_address_to_bytes(&mapping->address, v4 ? (void *)&four.sin_addr : (void *)&six.sin6_addr);
	if (type == SOCK_STREAM) /* connections that are over hold nothing */
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (!v4)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, v4 ? (void *)&four : (void *)&six, v4 ? sizeof(four) : sizeof(six)))
		return -errno;
	return 0;
}

/* An address of /proc/net: 32-bit words in hexadecimal, each in the machine's byte order. */
static bool parse_address(const char *text, struct bh_address *address)
{
	uint32_t words[4];
	size_t count = strlen(text) / 8;

	if (count != 1 && count != 4)
		return false;
	for (size_t i = 0; i < count; i++)
		if (sscanf(text + i * 8, "%8x", &words[i]) != 1)
			return false;
	*address = bh_address_from_bytes(words, count * 4);
	return true;
}

/* Whether a socket with this local address takes what is sent to the mapping's. */
static bool overlaps(const struct bh_address *address, const struct bh_mapping *mapping)
{
	bool v4 = bh_address_is_v4(&mapping->target);

	if (address->hi == 0 && address->lo == 0) /* :: takes IPv4 too, mostly */
		return true;
	return bh_address_is_v4(address) == v4 &&
	       (bh_address_is_unspecified(address) || bh_address_is_unspecified(&mapping->address) ||
	        bh_address_equal(address, &mapping->address));
}

/* The inode of a socket that listens on the port, in one file of /proc/net; 0 = none there. */
static unsigned long find_listener(const char *path, const struct bh_mapping *mapping)
{
	BH_AUTOFILE FILE *file = fopen(path, "re");
	unsigned listening = mapping->protocol == IPPROTO_UDP ? 7 : 10; /* TCP_CLOSE, TCP_LISTEN */
	char line[512], local[33];
	unsigned port, state;
	unsigned long inode;
	struct bh_address address;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, " %*d: %32[0-9A-F]:%x %*[0-9A-F]:%*x %x %*s %*s %*s %*u %*d %lu", local, &port,
		           &state, &inode) == 4 &&
		    port == mapping->port && state == listening && parse_address(local, &address) &&
		    overlaps(&address, mapping))
			return inode ? inode : 1;
	return 0;
}

/* Whether the process has the socket open. */
static bool has_socket(const char *process, unsigned long inode)
{
	char path[64], wanted[48], target[48];
	struct dirent *entry;
	bool found = false;
	DIR *files;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", process);
	snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
	files = opendir(path);
	while (files && !found && (entry = readdir(files))) {
		ssize_t size = readlinkat(dirfd(files), entry->d_name, target, sizeof(target) - 1);

		if (size > 0) {
			target[size] = '\0';
			found = strcmp(target, wanted) == 0;
		}
	}
	if (files)
		closedir(files);
	return found;
}

/* " of NAME (process PID)", or "" if nobody can be found. */
static void name_holder(unsigned long inode, char holder[96])
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;
	bool found = false;

	holder[0] = '\0';
	while (processes && !found && (entry = readdir(processes))) {
		char path[64], name[32] = "?";
		FILE *file;

		if (entry->d_name[0] < '0' || entry->d_name[0] > '9' || !has_socket(entry->d_name, inode))
			continue;
		snprintf(path, sizeof(path), "/proc/%.16s/comm", entry->d_name);
		file = fopen(path, "re");
		if (file && fgets(name, sizeof(name), file))
			name[strcspn(name, "\n")] = '\0';
		if (file)
			fclose(file);
		for (char *p = name; *p; p++)
			if (*p < ' ' || *p > '~')
				*p = '?';
		snprintf(holder, 96, " of '%s' (process %.16s)", name, entry->d_name);
		found = true;
	}
	if (processes)
		closedir(processes);
}

static int check_holder(const struct bh_mapping *mapping, struct bh_error *err)
{
	bool udp = mapping->protocol == IPPROTO_UDP;
	char protocol[8], holder[96];
	unsigned long inode = find_listener(udp ? "/proc/thread-self/net/udp" : "/proc/thread-self/net/tcp",
	                                    mapping);

	if (!inode)
		inode = find_listener(udp ? "/proc/thread-self/net/udp6" : "/proc/thread-self/net/tcp6",
		                      mapping);
	if (!inode && mapping->protocol != IPPROTO_SCTP)
		return 0;
	name_holder(inode, holder);
	return bh_error_set(err, -EADDRINUSE, "host port %u/%s is taken by a listening socket%s",
	                    mapping->port, bh_protocol_format(mapping->protocol, protocol), holder);
}

int bh_mapping_check(struct bh_platform *platform, const struct bh_mapping *mapping,
                     struct bh_error *err)
{
	BH_AUTOVISIT struct bh_visit visit = {0};
	char address[BH_ADDRESS_TEXT];
	int rc = bh_namespace_enter(&visit, bh_linux_of(platform)->default_namespace, err);

	if (rc)
		return rc;
	if (mapping->protocol == IPPROTO_SCTP &&
	    bh_sysctl_read("net/netfilter/nf_conntrack_sctp_timeout_closed", address, sizeof(address), NULL))
		return bh_error_set(err, -EPROTONOSUPPORT,
		                    "host port %u/sctp cannot be published: this kernel does not translate sctp",
		                    mapping->port);
	rc = bind_socket(mapping);
	if (rc == -EADDRINUSE)
		return check_holder(mapping, err);
	if (rc == -EADDRNOTAVAIL)
		return bh_error_set(err, rc, "%s is no address of this host, so port %u of it cannot be published",
		                    bh_address_format(&mapping->address, address), mapping->port);
	return 0;
}

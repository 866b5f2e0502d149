/*
 * offload.c - sends a frame whose checksum is still to be written, wherever its sender says: as a VMM does
 * through a NIC's tap, or a container through a packet socket.
 *
 *   offload NETNS NIC tap|packet COPIES START OFFSET FRAME      FRAME in hexadecimal
 *
 * The checksum is that of the bytes from START on, and goes to START + OFFSET.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char *what)
{
	fprintf(stderr, "offload: %s: %s\n", what, strerror(errno));
	exit(2);
}

static int open_tap(const char *nic)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	strncpy(request.ifr_name, nic, sizeof(request.ifr_name) - 1);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request))
		die(nic);
	return fd;
}

static int open_packet(const char *nic)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(nic)};
	int one = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&to, sizeof(to)))
		die(nic);
	return fd;
}

int main(int argc, char **argv)
{
	struct {
		struct virtio_net_hdr header;
		unsigned char frame[2000];
	} out = {.header = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM}};
	size_t size;
	int fd;

	if (argc != 8) {
		fprintf(stderr, "usage: offload NETNS NIC tap|packet COPIES START OFFSET FRAME\n");
		return 2;
	}
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		die(argv[1]);
	fd = strcmp(argv[3], "tap") ? open_packet(argv[2]) : open_tap(argv[2]);
	size = strlen(argv[7]) / 2;
	for (size_t i = 0; i < size && i < sizeof(out.frame); i++)
		sscanf(argv[7] + 2 * i, "%2hhx", &out.frame[i]);
	out.header.csum_start = (__virtio16)atoi(argv[5]);
	out.header.csum_offset = (__virtio16)atoi(argv[6]);
	for (int i = 0; i < atoi(argv[4]); i++)
		if (write(fd, &out, sizeof(out.header) + size) < 0)
			die("write");
	return 0;
}

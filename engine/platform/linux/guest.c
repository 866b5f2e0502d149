/*
 * guest.c - a stand-in for a VMM: a namespace is the guest's stack, and frames are moved between its
 * tap and the vmNIC's whenever the lab waits for something.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../../base/cleanup.h"
#include "lab.h"

/* Attaches to the tap `name` of the current namespace, or makes one; returns its descriptor. */
static int open_tap(const char *name, struct bh_error *err)
{
	BH_AUTOFD int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};

	strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request))
		return bh_error_errno(err, -errno, "cannot open the tap '%s'", name);
	return bh_take_fd(&fd);
}

static int set_mac(int fd, const char *name, const uint8_t mac[6], struct bh_error *err)
{
	struct ifreq request = {0};

	strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
	request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(request.ifr_hwaddr.sa_data, mac, 6);
	if (ioctl(fd, SIOCSIFHWADDR, &request))
		return bh_error_errno(err, -errno, "cannot set the MAC address of '%s'", name);
	return 0;
}

/* The guest's eth0 with the NIC's MAC, addresses and routes, in the current namespace. */
static int configure(const struct bh_nic *nic, int tap, struct bh_error *err)
{
	BH_AUTONETLINK struct bh_netlink netlink = {0};
	struct bh_link link, loopback;
	int rc = set_mac(tap, "eth0", nic->mac, err);

	rc = rc ? rc : bh_sysctl_nic("eth0", "disable_ipv6", nic->ipv6 ? "0" : "1", err);
	rc = rc ? rc : bh_sysctl_nic("eth0", "accept_dad", "0", err);
	rc = rc ? rc : bh_netlink_open(&netlink, err);
	rc = rc ? rc : bh_link_find(&netlink, "eth0", &link, err);
	rc = rc ? rc : bh_link_find(&netlink, "lo", &loopback, err);
	if (rc)
		return rc;
	bh_link_add_up(&netlink, loopback.index, "lo");
	if (nic->ipv6)
		bh_link_add_eui64(&netlink, link.index);
	bh_link_add_up(&netlink, link.index, "eth0");
	for (size_t i = 0; i < nic->addresses_count; i++)
		bh_link_add_address(&netlink, link.index, &nic->addresses[i]);
	for (size_t i = 0; nic->default_route && i < nic->gateways_count; i++)
		if (nic->ipv6 || bh_address_is_v4(&nic->gateways[i]))
			bh_link_add_default(&netlink, link.index, &nic->gateways[i], 0, false);
	return bh_netlink_run(&netlink, NULL, NULL, err);
}

int bh_guest_start(struct bh_lab *base, const struct bh_nic *nic, struct bh_error *err)
{
	struct bh_linux_lab *lab = bh_linux_lab_of(base);
	struct bh_guest guest = {nic->compartment, -1, -1, -1};
	BH_AUTOFD int compartment = bh_lab_stack(lab, nic->compartment, err);
	struct bh_visit visit = {0};
	int rc;

	if (compartment < 0)
		return compartment;
	if (lab->guests_count == BH_LAB_GUESTS)
		return bh_error_set(err, -E2BIG, "a lab has at most %d guests", BH_LAB_GUESTS);
	rc = bh_namespace_enter(&visit, compartment, err);
	if (rc)
		return rc;
	guest.nic = open_tap(nic->name, err);
	rc = guest.nic < 0 ? guest.nic : 0;
	bh_namespace_leave(&visit);
	rc = rc ? rc : bh_namespace_enter_new(&visit, err);
	if (!rc) {
		guest.namespace = bh_namespace_current(err);
		rc = guest.namespace < 0 ? guest.namespace : 0;
		if (!rc && (guest.inside = open_tap("eth0", err)) < 0)
			rc = guest.inside;
		rc = rc ? rc : configure(nic, guest.inside, err);
		bh_namespace_leave(&visit);
	}
	if (rc) {
		bh_guest_stop(&guest);
		return rc;
	}
	lab->guests[lab->guests_count++] = guest;
	return 0;
}

void bh_guest_stop(struct bh_guest *guest)
{
	bh_cleanup_fd(&guest->nic);
	bh_cleanup_fd(&guest->inside);
	bh_cleanup_fd(&guest->namespace);
	guest->nic = guest->inside = guest->namespace = -1;
}

static void move_frames(int from, int to)
{
	char frame[66000];
	ssize_t n;

	while ((n = read(from, frame, sizeof(frame))) > 0)
		(void)!write(to, frame, (size_t)n);
}

void bh_guest_pump(struct bh_guest *guest)
{
	move_frames(guest->nic, guest->inside);
	move_frames(guest->inside, guest->nic);
}

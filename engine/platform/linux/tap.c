/*
 * tap.c - see tap.h.
 */
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include <net/if.h>
#include <linux/if_tun.h>

#include "../../base/cleanup.h"
#include "link.h"

int bh_tap_make(const char *name, struct bh_error *err)
{
	BH_AUTOFD int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL};

	if (fd < 0)
		return bh_error_errno(err, -errno, "cannot open /dev/net/tun, which makes the NIC of a VM");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &request))
		return bh_error_errno(err, errno == EBUSY ? -EEXIST : -errno, "cannot make the tap %s",
		                      name);
	if (ioctl(fd, TUNSETOWNER, 0) || ioctl(fd, TUNSETPERSIST, 1))
		return bh_error_errno(err, -errno, "cannot make the tap %s persistent", name);
	return 0;
}

int bh_tap_delete(struct bh_netlink *netlink, const char *name, struct bh_error *err)
{
	struct bh_link link;
	int rc = bh_link_find(netlink, name, &link, err);

	if (rc == -ENODEV || (!rc && strcmp(link.kind, "tun") != 0))
		return 0;
	if (rc)
		return rc;
	bh_link_add_delete(netlink, link.index);
	return bh_netlink_run(netlink, NULL, NULL, err);
}

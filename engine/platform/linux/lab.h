/*
 * lab.h - the lab's stacks: namespaces with sockets in them. Inside linux/ only.
 */
#ifndef BH_PLATFORM_LINUX_LAB_H
#define BH_PLATFORM_LINUX_LAB_H

#include "../lab.h"
#include "linux.h"

#define BH_LAB_LISTENERS 64
#define BH_LAB_GUESTS 16

/* A port that accepts (TCP) or echoes (UDP), one socket a family. */
struct bh_listener {
	uint32_t where;
	uint8_t protocol;
	uint16_t port;
	int sockets[2];
};

/* A stand-in for a VMM: moves frames between the vmNIC's tap and its guest's. */
struct bh_guest {
	uint32_t compartment;
	int namespace; /* the guest's stack */
	int nic;       /* tap in the compartment */
	int inside;    /* tap in the guest */
};

struct bh_linux_lab {
	struct bh_lab lab; /* first: the two are cast into each other */
	struct bh_visit stay; /* of the process, in `host` */
	int host;
	int outside;
	struct bh_address outside_gateways[4]; /* the host's addresses on the uplink */
	size_t gateways_count;
	size_t listeners_count;
	struct bh_listener listeners[BH_LAB_LISTENERS];
	size_t guests_count;
	struct bh_guest guests[BH_LAB_GUESTS];
};

static inline struct bh_linux_lab *bh_linux_lab_of(struct bh_lab *lab)
{
	return (struct bh_linux_lab *)lab;
}

/* A descriptor of the stack's namespace, the caller's to close, or a negative errno. */
int bh_lab_stack(struct bh_linux_lab *lab, uint32_t where, struct bh_error *err);

/* guest.c */
int bh_guest_start(struct bh_lab *lab, const struct bh_nic *nic, struct bh_error *err);
void bh_guest_stop(struct bh_guest *guest);
void bh_guest_pump(struct bh_guest *guest);

/* listener.c */
int bh_listener_open(struct bh_lab *lab, uint32_t where, uint8_t protocol, uint16_t port,
                     struct bh_error *err);
void bh_listener_close(struct bh_listener *listener);
/* Accepts and forgets, or sends back what came. */
void bh_listener_serve(struct bh_listener *listener);

/* probe.c */
int bh_probe_run(struct bh_lab *lab, const struct bh_probe *probe, struct bh_probe_result *result,
                 struct bh_error *err);
int bh_probe_inject(struct bh_lab *lab, uint32_t from, uint32_t to, const void *frame, size_t size,
                    bool *arrived, struct bh_error *err);

#endif

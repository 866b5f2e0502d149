/*
 * network.c - see network.h.
 */
#include "network.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "barrier.h"
#include "memory.h"

static struct bh_memory *of(struct bh_platform *platform)
{
	return (struct bh_memory *)platform;
}

/* The management vNIC: the gateway's addresses, and no gate. */
static int make_management(struct bh_memory *memory, struct bh_segment *segment,
                           struct bh_error *err)
{
	const struct bh_switch *what = &segment->what;
	struct bh_nic nic = {
		.network = what->id,
		.compartment = BH_DEFAULT_COMPARTMENT,
		.mac = {0x02, 0xb0, (uint8_t)(what->id >> 24), (uint8_t)(what->id >> 16),
		        (uint8_t)(what->id >> 8), (uint8_t)what->id},
		.mtu = what->mtu ? what->mtu : 1500,
	};
	struct bh_port *port;

	snprintf(nic.name, sizeof(nic.name), "bh%u", what->id);
	for (size_t i = 0; i < what->subnets_count; i++) {
		struct bh_prefix *address = &nic.addresses[nic.addresses_count];

		if (bh_address_is_unspecified(&what->subnets[i].gateway))
			continue;
		nic.addresses_count++;
		address->address = what->subnets[i].gateway;
		address->length = what->subnets[i].prefix.length;
		nic.ipv6 |= !bh_address_is_v4(&address->address);
	}
	return bh_port_new(memory, segment, memory->host, &nic, &port, err);
}

int bh_network_switch_create(struct bh_platform *platform, const struct bh_switch *what,
                             struct bh_error *err)
{
	struct bh_memory *memory = of(platform);
	struct bh_segment *segment;
	int rc;

	if (!what->id || what->subnets_count > BH_SUBNETS_MAX)
		return bh_error_set(err, -EINVAL, "The switch of network '%s' cannot be made: it has the "
		                                  "id %u, or more than %d subnets.", what->name,
		                    what->id, BH_SUBNETS_MAX);
	if (bh_segment_find(memory, what->id))
		return bh_error_set(err, -EEXIST, "The switch of network '%s' already exists.", what->name);
	rc = bh_segment_new(memory, what, &segment, err);
	if (rc)
		return rc;
	rc = make_management(memory, segment, err);
	if (rc)
		bh_segment_free(memory, segment);
	return rc;
}

int bh_network_switch_remove(struct bh_platform *platform, uint32_t id, struct bh_error *err)
{
	struct bh_segment *segment = id ? bh_segment_find(of(platform), id) : NULL;

	(void)err;
	if (segment)
		bh_segment_free(of(platform), segment);
	return 0;
}

static bool is_name_taken(const struct bh_memory *memory, const struct bh_stack *stack,
                          const char *name)
{
	for (const struct bh_port *port = memory->ports; port; port = port->next) {
		const struct bh_compartment *compartment =
			bh_memory_compartment(memory, port->nic.compartment);

		if (compartment && compartment->stack == stack && !strcmp(port->nic.name, name))
			return true;
	}
	return !strcmp(name, "lo");
}

static int choose_name(const struct bh_memory *memory, const struct bh_stack *stack,
                       struct bh_nic *nic, struct bh_error *err)
{
	if (nic->name[0] && is_name_taken(memory, stack, nic->name))
		return bh_error_set(err, -EEXIST, "Compartment %u already has an interface %s.",
		                    nic->compartment, nic->name);
	for (unsigned i = 0; !nic->name[0] && i < 4096; i++) {
		char name[BH_IFNAME_SIZE];

		snprintf(name, sizeof(name), nic->kind == BH_NIC_SYNTHETIC ? "vm%u" : "eth%u", i);
		if (!is_name_taken(memory, stack, name))
			memcpy(nic->name, name, sizeof(name));
	}
	if (nic->name[0])
		return 0;
	return bh_error_set(err, -ENOSPC, "Compartment %u has no free interface name.",
	                    nic->compartment);
}

static int check(const struct bh_memory *memory, const struct bh_nic *nic, struct bh_error *err)
{
	if (!nic->endpoint)
		return bh_error_set(err, -EINVAL, "Endpoint 0 cannot be made: ids begin at 1.");
	if (nic->addresses_count > BH_ADDRESSES_MAX || nic->gateways_count > BH_SUBNETS_MAX)
		return bh_error_set(err, -EINVAL, "A NIC has at most %d addresses and %d gateways.",
		                    BH_ADDRESSES_MAX, BH_SUBNETS_MAX);
	if (bh_port_find(memory, nic->endpoint))
		return bh_error_set(err, -EEXIST, "Endpoint %u has a port already.", nic->endpoint);
	if (!bh_memory_compartment(memory, nic->compartment))
		return bh_error_set(err, -ENOENT, "There is no compartment %u.", nic->compartment);
	if (!bh_segment_find(memory, nic->network))
		return bh_error_set(err, -ENOENT, "Network %u has no switch.", nic->network);
	return 0;
}

int bh_network_nic_create(struct bh_platform *platform, struct bh_nic *nic,
                          const struct bh_gate *gate, struct bh_error *err)
{
	struct bh_memory *memory = of(platform);
	struct bh_nic made = *nic;
	struct bh_stack *stack;
	struct bh_port *port;
	int rc = check(memory, nic, err);

	if (rc)
		return rc;
	stack = bh_memory_compartment(memory, nic->compartment)->stack;
	rc = choose_name(memory, stack, &made, err);
	if (rc)
		return rc;
	/* What is behind a vmNIC is the guest, once there is one. */
	rc = bh_port_new(memory, bh_segment_find(memory, nic->network),
	                 nic->kind == BH_NIC_SYNTHETIC ? NULL : stack, &made, &port, err);
	if (rc)
		return rc;
	rc = bh_barrier_set(memory, port, gate, err);
	if (rc) {
		bh_port_free(memory, port);
		return rc;
	}
	*nic = made;
	return 0;
}

int bh_network_nic_remove(struct bh_platform *platform, const struct bh_nic *nic,
                          struct bh_error *err)
{
	struct bh_port *port = bh_port_find(of(platform), nic->endpoint);

	(void)err;
	if (port)
		bh_port_free(of(platform), port);
	return 0;
}

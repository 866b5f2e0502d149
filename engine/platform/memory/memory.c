/*
 * memory.c - see memory.h: the world's life, its compartments, and the table of operations.
 */
#include "memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../base/hash.h"
#include "../../filter/evaluate.h"
#include "barrier.h"
#include "network.h"

/* Rows that all compartments together may borrow; as many as the kernel's map has to spare. */
#define FLOWS_BORROWED (1 << 19)
/* Not 0, so that a flow's age is never before the origin. */
#define START (1000 * BH_NS)
/* How the caller's own namespace is called. */
#define OWN_PATH "/proc/self/ns/net"

static struct bh_memory *of(struct bh_platform *platform)
{
	return (struct bh_memory *)platform;
}

struct bh_compartment *bh_memory_compartment(const struct bh_memory *memory, uint32_t id)
{
	struct bh_compartment *compartment = memory->compartments;

	while (compartment && compartment->id != id)
		compartment = compartment->next;
	return compartment;
}

void bh_memory_arrived(struct bh_memory *memory, const struct bh_frame *frame)
{
	struct bh_probe_result *result = &memory->watch.result;
	struct bh_packet packet;

	if (!result->arrived && bh_frame_parse(frame, &packet) && packet.form == BH_FORM_IP)
		result->source = packet.key.remote;
	result->arrived = true;
}

/* Takes over one reference of `stack`, also on failure. */
static int add_compartment(struct bh_memory *memory, uint32_t id, struct bh_stack *stack,
                           struct bh_error *err)
{
	struct bh_compartment *compartment = calloc(1, sizeof(*compartment));
	int rc = bh_flow_table_add_share(memory->flows, id, err);

	if (!compartment && !rc)
		rc = bh_error_set(err, -ENOMEM, "There is not enough memory for a compartment.");
	if (rc) {
		free(compartment);
		if (!--stack->references)
			bh_stack_free(&stack);
		return rc;
	}
	compartment->id = id;
	compartment->stack = stack;
	compartment->next = memory->compartments;
	memory->compartments = compartment;
	return 0;
}

/* The namespace of a path, which is known from then on: memory has no files to look at. */
static int foreign_of(struct bh_memory *memory, const char *path, struct bh_foreign **out,
                      struct bh_error *err)
{
	struct bh_foreign *foreign = memory->foreigns;

	if (!*path)
		return bh_error_set(err, -ENOENT, "A network namespace has a path; this one is empty.");
	while (foreign && strcmp(foreign->path, path))
		foreign = foreign->next;
	if (!foreign) {
		foreign = malloc(sizeof(*foreign) + strlen(path) + 1);
		if (!foreign)
			return bh_error_set(err, -ENOMEM, "There is not enough memory for a compartment.");
		foreign->cookie = ++memory->numbers;
		strcpy(foreign->path, path);
		foreign->next = memory->foreigns;
		memory->foreigns = foreign;
	}
	*out = foreign;
	return 0;
}

/* The stack of a path: a reference to the one some compartment has, or a new one. */
static int adopt_stack(struct bh_memory *memory, const char *path, struct bh_stack **out,
                       struct bh_error *err)
{
	struct bh_foreign *foreign;
	int rc = foreign_of(memory, path, &foreign, err);

	if (rc)
		return rc;
	if (foreign->cookie == memory->host->cookie)
		return bh_error_set(err, -EINVAL, "%s is the host's own network namespace: a container in "
		                                  "the host's own namespace cannot be isolated.", path);
	for (struct bh_compartment *c = memory->compartments; c; c = c->next)
		if (c->stack->cookie == foreign->cookie) {
			c->stack->references++;
			*out = c->stack;
			return 0;
		}
	rc = bh_stack_new(memory, out, err);
	if (!rc)
		(*out)->cookie = foreign->cookie;
	return rc;
}

static int compartment_create(struct bh_platform *platform, uint32_t id, const char *adopt,
                              struct bh_error *err)
{
	struct bh_memory *memory = of(platform);
	struct bh_stack *stack;
	int rc;

	if (!id)
		return bh_error_set(err, -EINVAL, "Compartment 0 cannot be made: ids begin at 1.");
	if (bh_memory_compartment(memory, id))
		return bh_error_set(err, -EEXIST, "Compartment %u already exists.", id);
	rc = adopt ? adopt_stack(memory, adopt, &stack, err) : bh_stack_new(memory, &stack, err);
	return rc ? rc : add_compartment(memory, id, stack, err);
}

/* Takes a compartment away with its NICs. */
static void drop_compartment(struct bh_memory *memory, struct bh_compartment *compartment)
{
	struct bh_port *port = memory->ports, *next;

	for (; port; port = next) {
		next = port->next;
		if (port->nic.endpoint && port->nic.compartment == compartment->id)
			bh_port_free(memory, port);
	}
	for (struct bh_compartment **at = &memory->compartments; *at; at = &(*at)->next)
		if (*at == compartment) {
			*at = compartment->next;
			break;
		}
	bh_flow_table_remove_share(memory->flows, compartment->id);
	bh_stack_free(&compartment->guest);
	if (!--compartment->stack->references)
		bh_stack_free(&compartment->stack);
	free(compartment);
}

static int compartment_remove(struct bh_platform *platform, uint32_t id, struct bh_error *err)
{
	struct bh_compartment *compartment = bh_memory_compartment(of(platform), id);

	if (id == BH_DEFAULT_COMPARTMENT)
		return bh_error_set(err, -EPERM, "Compartment 1 is the host's own and cannot be removed.");
	if (compartment)
		drop_compartment(of(platform), compartment);
	return 0;
}

static int compartment_cookie(struct bh_platform *platform, uint32_t id, const char *path,
                              uint64_t *cookie, struct bh_error *err)
{
	struct bh_compartment *compartment = bh_memory_compartment(of(platform), id);
	struct bh_foreign *foreign;
	int rc;

	if (path) {
		rc = foreign_of(of(platform), path, &foreign, err);
		if (!rc)
			*cookie = foreign->cookie;
		return rc;
	}
	if (!compartment)
		return bh_error_set(err, -ENOENT, "There is no compartment %u.", id);
	*cookie = compartment->stack->cookie;
	return 0;
}

static int compartment_open(struct bh_platform *platform, uint32_t id, struct bh_error *err)
{
	(void)platform;
	return bh_error_set(err, -ENOTSUP, "Compartment %u is only in memory: there is no namespace to "
	                                   "open.", id);
}

static uint32_t uplink_mtu(struct bh_platform *platform)
{
	(void)platform;
	return 1500;
}

static uint64_t now(struct bh_platform *platform)
{
	return of(platform)->now;
}

/* Everything but the host's stack and the lab's wire. */
/* Nobody else can reach into this process. */
static int nic_check(struct bh_platform *platform, const struct bh_nic *nic, struct bh_error *err)
{
	(void)platform;
	(void)nic;
	(void)err;
	return 0;
}

static int reset(struct bh_platform *platform, struct bh_error *err)
{
	struct bh_memory *memory = of(platform);
	struct bh_flow_table *flows = NULL;
	struct bh_hash *tables, *hits;
	int rc = bh_flow_table_new(&flows, FLOWS_BORROWED, err);

	if (rc)
		return rc;
	tables = bh_hash_new(sizeof(uint32_t), sizeof(struct bh_table));
	hits = bh_hash_new(2 * sizeof(uint32_t), sizeof(uint64_t));
	rc = tables && hits ? bh_router_reset(&memory->router, err)
	                    : bh_error_set(err, -ENOMEM, "There is not enough memory for a host.");
	if (!rc)
		rc = bh_flow_table_add_share(flows, BH_DEFAULT_COMPARTMENT, err);
	if (rc) {
		bh_flow_table_free(&flows);
		bh_hash_free(&tables);
		bh_hash_free(&hits);
		return rc;
	}
	while (memory->segments)
		bh_segment_free(memory, memory->segments);
	for (struct bh_compartment *c = memory->compartments, *next; c; c = next) {
		next = c->next;
		if (c->id != BH_DEFAULT_COMPARTMENT)
			drop_compartment(memory, c);
	}
	bh_flow_table_free(&memory->flows);
	bh_barrier_free_tables(memory);
	bh_hash_free(&memory->hits);
	memory->flows = flows;
	memory->tables = tables;
	memory->hits = hits;
	memset(memory->circle, 0, sizeof(*memory->circle));
	return 0;
}

static void close_platform(struct bh_platform *platform)
{
	if (!of(platform)->in_lab)
		bh_memory_free(of(platform));
}

static const struct bh_platform_ops ops = {
	.name = "memory",
	.compartment_create = compartment_create,
	.compartment_remove = compartment_remove,
	.compartment_cookie = compartment_cookie,
	.compartment_open = compartment_open,
	.switch_create = bh_network_switch_create,
	.switch_remove = bh_network_switch_remove,
	.uplink_apply = bh_router_apply,
	.uplink_intact = bh_router_intact,
	.uplink_mtu = uplink_mtu,
	.publish_add = bh_router_publish,
	.publish_remove = bh_router_unpublish,
	.publish_check = bh_router_check,
	.nic_create = bh_network_nic_create,
	.nic_remove = bh_network_nic_remove,
	.table_publish = bh_barrier_table_publish,
	.nic_check = nic_check,
	.gates_begin = bh_barrier_begin,
	.gate_stage = bh_barrier_stage,
	.gates_commit = bh_barrier_commit,
	.gate_read = bh_barrier_read,
	.table_remove = bh_barrier_table_remove,
	.table_read = bh_barrier_table_read,
	.flow_read = bh_barrier_flow_read,
	.flow_each = bh_barrier_flow_each,
	.counters_read = bh_barrier_counters_read,
	.hits_each = bh_barrier_hits_each,
	.hit_remove = bh_barrier_hit_remove,
	.hit_move = bh_barrier_hit_move,
	.share_read = bh_barrier_share_read,
	.records = bh_barrier_records,
	.now = now,
	.reset = reset,
	.clear = reset,
	.close = close_platform,
};

int bh_memory_new(struct bh_memory **out, struct bh_error *err)
{
	struct bh_memory *memory = calloc(1, sizeof(*memory));
	struct bh_foreign *own;
	int rc;

	if (!memory)
		return bh_error_set(err, -ENOMEM, "There is not enough memory for a host.");
	memory->platform.ops = &ops;
	memory->now = START;
	memory->queue_end = &memory->queue;
	rc = bh_flow_table_new(&memory->flows, FLOWS_BORROWED, err);
	if (!rc)
		rc = bh_router_init(&memory->router, err);
	if (!rc) {
		memory->tables = bh_hash_new(sizeof(uint32_t), sizeof(struct bh_table));
		memory->hits = bh_hash_new(2 * sizeof(uint32_t), sizeof(uint64_t));
		memory->circle = calloc(1, sizeof(*memory->circle));
		if (!memory->tables || !memory->hits || !memory->circle)
			rc = bh_error_set(err, -ENOMEM, "There is not enough memory for a host.");
	}
	if (!rc)
		rc = bh_stack_new(memory, &memory->host, err);
	if (!rc) {
		memory->host->references++; /* the world's own, beside compartment 1's */
		rc = add_compartment(memory, BH_DEFAULT_COMPARTMENT, memory->host, err);
	}
	if (!rc)
		rc = foreign_of(memory, OWN_PATH, &own, err);
	if (rc) {
		bh_memory_free(memory);
		return rc;
	}
	own->cookie = memory->host->cookie;
	*out = memory;
	return 0;
}

void bh_memory_free(struct bh_memory *memory)
{
	while (memory->segments)
		bh_segment_free(memory, memory->segments);
	if (memory->wire)
		bh_segment_free(memory, memory->wire);
	while (memory->compartments)
		drop_compartment(memory, memory->compartments);
	while (memory->foreigns) {
		struct bh_foreign *foreign = memory->foreigns;

		memory->foreigns = foreign->next;
		free(foreign);
	}
	bh_stack_free(&memory->outside);
	bh_stack_free(&memory->host);
	bh_router_clear(&memory->router);
	bh_flow_table_free(&memory->flows);
	bh_barrier_free_tables(memory);
	bh_hash_free(&memory->hits);
	free(memory->circle);
	free(memory);
}

int bh_platform_memory_open(struct bh_platform **out, struct bh_error *err)
{
	struct bh_memory *memory;
	int rc = bh_memory_new(&memory, err);

	if (!rc)
		*out = &memory->platform;
	return rc;
}

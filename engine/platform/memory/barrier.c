/*
 * barrier.c - see barrier.h. What the kernel keeps in maps is kept in hash maps here.
 */
#include "barrier.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../base/hash.h"
#include "../../filter/evaluate.h"
#include "memory.h"

struct hit_key {
	uint32_t endpoint;
	uint32_t rule;
};

static const void *table_of(void *arg, const struct bh_table_ref *ref)
{
	const struct bh_memory *memory = arg;
	const struct bh_table *table = bh_hash_find(memory->tables, &ref->id);

	return table ? table->bytes : NULL;
}

static void count_hit(struct bh_memory *memory, uint32_t endpoint, uint32_t rule)
{
	struct hit_key key = {endpoint, rule};
	uint64_t *packets = bh_hash_find(memory->hits, &key), one = 1;

	if (packets)
		(*packets)++;
	else
		bh_hash_insert(memory->hits, &key, &one);
}

bool bh_barrier_pass(struct bh_memory *memory, struct bh_port *port, enum bh_direction direction,
                     const struct bh_frame *frame)
{
	struct bh_verdict verdict;
	struct bh_packet packet;
	struct bh_env env = {
		.frame = frame->bytes,
		.size = frame->size,
		.table = table_of,
		.table_arg = memory,
		.flows = memory->flows,
		.now = memory->now,
	};

	if (!port->nic.endpoint)
		return true;
	bh_evaluate(&env, &port->conf, direction, &packet, &verdict);
	bh_counters_add(&port->counters, direction, &verdict, frame->size);
	if (verdict.by == BH_BY_RULE)
		count_hit(memory, port->nic.endpoint, verdict.rule);
	if (bh_is_recorded(&verdict))
		bh_record_put(memory->circle, memory->now, frame->size, &port->conf, &packet, &verdict);
	return verdict.action == BH_ALLOW;
}

static int publish(struct bh_memory *memory, uint32_t id, const struct bh_table *table,
                   struct bh_error *err)
{
	struct bh_table copy = *table;

	if (bh_hash_find(memory->tables, &id))
		return 0;
	copy.bytes = malloc(table->size);
	if (copy.bytes)
		memcpy(copy.bytes, table->bytes, table->size);
	if (!copy.bytes || bh_hash_insert(memory->tables, &id, &copy)) {
		free(copy.bytes);
		return bh_error_set(err, -ENOMEM, "There is not enough memory for table %u.", id);
	}
	return 0;
}

int bh_barrier_set(struct bh_memory *memory, struct bh_port *port, const struct bh_gate *gate,
                   struct bh_error *err)
{
	int rc = bh_flow_table_add_share(memory->flows, gate->conf.compartment, err);

	for (int i = 0; i < 2 && !rc; i++) {
		uint32_t id = gate->conf.tables[i].id;

		if (id && gate->tables[i])
			rc = publish(memory, id, gate->tables[i], err);
		else if (id && !bh_hash_find(memory->tables, &id))
			rc = bh_error_set(err, -ENOENT, "Table %u of endpoint %u is not published.", id,
			                  gate->conf.endpoint);
	}
	if (!rc)
		port->conf = gate->conf;
	return rc;
}

struct hit_search {
	uint32_t endpoint;
	struct hit_key key;
};

static int is_hit_of(const void *key, void *value, void *arg)
{
	struct hit_search *search = arg;

	(void)value;
	search->key = *(const struct hit_key *)key;
	return search->key.endpoint == search->endpoint;
}

void bh_barrier_forget(struct bh_memory *memory, struct bh_port *port)
{
	struct hit_search search = {.endpoint = port->nic.endpoint};

	if (!port->nic.endpoint)
		return;
	bh_flow_table_forget(memory->flows, port->conf.endpoint);
	while (bh_hash_each(memory->hits, is_hit_of, &search))
		bh_hash_remove(memory->hits, &search.key);
}

static int free_table(const void *key, void *value, void *arg)
{
	(void)key;
	(void)arg;
	free(((struct bh_table *)value)->bytes);
	return 0;
}

void bh_barrier_free_tables(struct bh_memory *memory)
{
	if (memory->tables)
		bh_hash_each(memory->tables, free_table, NULL);
	bh_hash_free(&memory->tables);
}

static struct bh_memory *of(struct bh_platform *platform)
{
	return (struct bh_memory *)platform;
}

static struct bh_port *port_of(struct bh_platform *platform, uint32_t endpoint,
                               struct bh_error *err)
{
	struct bh_port *port = bh_port_find(of(platform), endpoint);

	if (!port)
		bh_error_set(err, -ENOENT, "There is no endpoint %u.", endpoint);
	return port;
}

int bh_barrier_table_publish(struct bh_platform *platform, uint32_t id,
                             const struct bh_table *table, struct bh_error *err)
{
	return publish(of(platform), id, table, err);
}

int bh_barrier_begin(struct bh_platform *platform, struct bh_error *err)
{
	(void)err;
	for (struct bh_port *port = of(platform)->ports; port; port = port->next)
		port->staged.endpoint = 0;
	return 0;
}

int bh_barrier_stage(struct bh_platform *platform, const struct bh_conf *conf, struct bh_error *err)
{
	struct bh_port *port = port_of(platform, conf->endpoint, err);

	for (int i = 0; port && i < 2; i++)
		if (conf->tables[i].id && !bh_hash_find(of(platform)->tables, &conf->tables[i].id))
			return bh_error_set(err, -ENOENT, "Table %u of endpoint %u is not published.", conf->tables[i].id,
			                    conf->endpoint);
	if (port)
		port->staged = *conf;
	return port ? 0 : -ENOENT;
}

int bh_barrier_commit(struct bh_platform *platform, struct bh_error *err)
{
	(void)err;
	for (struct bh_port *port = of(platform)->ports; port; port = port->next)
		if (port->staged.endpoint) {
			port->conf = port->staged;
			port->staged.endpoint = 0;
		}
	return 0;
}

int bh_barrier_read(struct bh_platform *platform, uint32_t endpoint, struct bh_conf *conf,
                    struct bh_error *err)
{
	const struct bh_port *port = port_of(platform, endpoint, err);

	if (!port)
		return -ENOENT;
	*conf = port->conf;
	return 0;
}

int bh_barrier_table_remove(struct bh_platform *platform, uint32_t id, struct bh_error *err)
{
	struct bh_memory *memory = of(platform);
	struct bh_table *table = bh_hash_find(memory->tables, &id);

	for (struct bh_port *port = memory->ports; table && port; port = port->next)
		for (int i = 0; i < 2; i++)
			if (port->nic.endpoint && port->conf.tables[i].id == id)
				return bh_error_set(err, -EBUSY, "Table %u is in use by endpoint %u.", id,
				                    port->nic.endpoint);
	if (!table)
		return 0;
	free(table->bytes);
	bh_hash_remove(memory->tables, &id);
	return 0;
}

int bh_barrier_table_read(struct bh_platform *platform, const struct bh_table_ref *ref, void **bytes,
                          struct bh_error *err)
{
	const struct bh_table *table = bh_hash_find(of(platform)->tables, &ref->id);
	void *copy = table ? malloc(table->size) : NULL;

	if (!copy)
		return bh_error_set(err, table ? -ENOMEM : -ENOENT, "There is no table %u to be read.", ref->id);
	memcpy(copy, table->bytes, table->size);
	*bytes = copy;
	return 0;
}

int bh_barrier_flow_read(struct bh_platform *platform, const struct bh_flow_key *key,
                         struct bh_flow *flow)
{
	struct bh_env env = {.flows = of(platform)->flows};
	const struct bh_flow *found = bh_flow_find(&env, key);

	if (!found)
		return -ENOENT;
	*flow = *found;
	return 0;
}

int bh_barrier_flow_each(struct bh_platform *platform, bh_flow_visitor *each, void *arg,
                         struct bh_error *err)
{
	(void)err;
	return bh_flow_table_each(of(platform)->flows, each, arg);
}

int bh_barrier_counters_read(struct bh_platform *platform, uint32_t endpoint,
                             struct bh_counters *counters, struct bh_error *err)
{
	const struct bh_port *port = port_of(platform, endpoint, err);

	if (!port)
		return -ENOENT;
	*counters = port->counters;
	return 0;
}

struct hit_visit {
	bh_hit_visitor *each;
	void *arg;
};

static int visit_hit(const void *key, void *value, void *arg)
{
	const struct hit_key *hit = key;
	struct hit_visit *visit = arg;

	return visit->each(hit->endpoint, hit->rule, *(uint64_t *)value, visit->arg);
}

int bh_barrier_hits_each(struct bh_platform *platform, bh_hit_visitor *each, void *arg,
                         struct bh_error *err)
{
	struct hit_visit visit = {each, arg};

	(void)err;
	return bh_hash_each(of(platform)->hits, visit_hit, &visit);
}

int bh_barrier_hit_remove(struct bh_platform *platform, uint32_t endpoint, uint32_t rule,
                          struct bh_error *err)
{
	struct hit_key key = {endpoint, rule};

	(void)err;
	bh_hash_remove(of(platform)->hits, &key);
	return 0;
}

int bh_barrier_hit_move(struct bh_platform *platform, uint32_t endpoint, uint32_t from, uint32_t to,
                        struct bh_error *err)
{
	struct bh_memory *memory = of(platform);
	struct hit_key old = {endpoint, from}, new = {endpoint, to};
	uint64_t *packets = bh_hash_find(memory->hits, &old), *more = bh_hash_find(memory->hits, &new), sum;

	(void)err;
	if (!packets)
		return 0;
	sum = *packets + (more ? *more : 0);
	bh_hash_remove(memory->hits, &old);
	if (more)
		bh_hash_remove(memory->hits, &new);
	bh_hash_insert(memory->hits, &new, &sum);
	return 0;
}

int bh_barrier_share_read(struct bh_platform *platform, uint32_t compartment, struct bh_share *share,
                          struct bh_room *room, struct bh_error *err)
{
	int rc = bh_flow_table_share(of(platform)->flows, compartment, share, room);

	return rc ? bh_error_set(err, rc, "compartment %u has no flow account", compartment) : 0;
}

const struct bh_circle *bh_barrier_records(struct bh_platform *platform)
{
	return of(platform)->circle;
}

/*
 * flowtable.c - see flowtable.h; also the operations native.h promises to flow.h.
 */
#include "flowtable.h"

#include <errno.h>
#include <stdlib.h>

#include "../base/buffer.h"
#include "../base/hash.h"

struct bh_flow_table {
	struct bh_hash *flows;
	struct bh_hash *ledger;
	struct bh_hash *shares;
	struct bh_room room;
	struct bh_flow blank;
};

int bh_flow_table_new(struct bh_flow_table **out, uint64_t capacity, struct bh_error *err)
{
	struct bh_flow_table *table = calloc(1, sizeof(*table));

	if (table) {
		table->flows = bh_hash_new(sizeof(struct bh_flow_key), sizeof(struct bh_flow));
		table->ledger = bh_hash_new(sizeof(struct bh_ledger_key), sizeof(struct bh_flow_key));
		table->shares = bh_hash_new(sizeof(uint32_t), sizeof(struct bh_share));
		table->room.capacity = capacity;
	}
	if (!table || !table->flows || !table->ledger || !table->shares) {
		bh_flow_table_free(&table);
		return bh_error_set(err, -ENOMEM, "not enough memory for a flow table");
	}
	*out = table;
	return 0;
}

void bh_flow_table_free(struct bh_flow_table **table)
{
	if (!*table)
		return;
	bh_hash_free(&(*table)->flows);
	bh_hash_free(&(*table)->ledger);
	bh_hash_free(&(*table)->shares);
	free(*table);
	*table = NULL;
}

int bh_flow_table_add_share(struct bh_flow_table *table, uint32_t compartment, struct bh_error *err)
{
	struct bh_share share = {0};
	int rc = bh_hash_insert(table->shares, &compartment, &share);

	return rc && rc != -EEXIST ? bh_error_set(err, rc, "not enough memory for a flow table") : 0;
}

void bh_flow_table_remove_share(struct bh_flow_table *table, uint32_t compartment)
{
	bh_hash_remove(table->shares, &compartment);
}

/* Keys of an endpoint's rows, collected before any is removed. */
struct owned {
	uint32_t endpoint;
	struct bh_buffer keys;
};

static int collect_owned(const void *key, void *value, void *arg)
{
	struct owned *owned = arg;

	(void)value;
	if (((const struct bh_flow_key *)key)->endpoint == owned->endpoint)
		bh_buffer_append(&owned->keys, key, sizeof(struct bh_flow_key));
	return 0;
}

void bh_flow_table_forget(struct bh_flow_table *table, uint32_t endpoint)
{
	struct owned owned = {.endpoint = endpoint};
	struct bh_env env = {.flows = table};

	bh_hash_each(table->flows, collect_owned, &owned);
	for (size_t at = 0; at < owned.keys.size; at += sizeof(struct bh_flow_key)) {
		struct bh_flow_key key;

		memcpy(&key, owned.keys.data + at, sizeof(key));
		bh_flow_forget(&env, &key);
	}
	bh_buffer_clear(&owned.keys);
}

int bh_flow_table_share(const struct bh_flow_table *table, uint32_t compartment, struct bh_share *share,
                        struct bh_room *room)
{
	const struct bh_share *found = bh_hash_find(table->shares, &compartment);

	if (!found)
		return -ENOENT;
	*share = *found;
	*room = table->room;
	return 0;
}

int bh_flow_table_set_share(struct bh_flow_table *table, uint32_t compartment,
                            const struct bh_share *share, const struct bh_room *room)
{
	table->room = *room;
	bh_hash_remove(table->shares, &compartment);
	return bh_hash_insert(table->shares, &compartment, share);
}

int bh_flow_table_put(struct bh_flow_table *table, const struct bh_flow_key *key,
                      const struct bh_flow *flow)
{
	struct bh_ledger_key place = {flow->compartment, BH_PLACE_LIST(flow->place),
	                              BH_PLACE_NUMBER(flow->place)};
	int rc = bh_hash_insert(table->flows, key, flow);

	rc = rc ? rc : bh_hash_insert(table->ledger, &place, key);
	return rc == -EEXIST ? 0 : rc; /* a walk of a table in use may come by twice */
}

struct visit {
	int (*visit)(const struct bh_flow_key *, const struct bh_flow *, void *);
	void *arg;
};

static int visit_flow(const void *key, void *value, void *arg)
{
	struct visit *visit = arg;

	return visit->visit(key, value, visit->arg);
}

int bh_flow_table_each(const struct bh_flow_table *table,
                       int (*visit)(const struct bh_flow_key *, const struct bh_flow *, void *),
                       void *arg)
{
	struct visit v = {visit, arg};

	return bh_hash_each(table->flows, visit_flow, &v);
}

struct bh_flow *bh_flow_find(struct bh_env *env, const struct bh_flow_key *key)
{
	struct bh_flow *flow = env->flows ? bh_hash_find(env->flows->flows, key) : NULL, copy;
	struct bh_share *share;

	if (flow || !env->flows || !env->flow_fetch || env->flow_fetch(env->flow_arg, key, &copy))
		return flow;
	/* A row of elsewhere is judged on a copy here, charged here too, so that looking changes nothing
	 * there and forgetting it gives back what it took. */
	if (bh_hash_insert(env->flows->flows, key, &copy))
		return NULL;
	share = bh_share_find(env, copy.compartment);
	if (share) {
		share->used[copy.opener & 1]++;
		if (copy.borrowed)
			env->flows->room.borrowed++;
		else
			share->owned[copy.opener & 1]++;
	}
	return bh_hash_find(env->flows->flows, key);
}

struct bh_flow *bh_flow_blank(struct bh_env *env)
{
	if (!env->flows)
		return NULL;
	memset(&env->flows->blank, 0, sizeof(env->flows->blank));
	return &env->flows->blank;
}

int bh_flow_insert(struct bh_env *env, const struct bh_flow_key *key, const struct bh_flow *flow)
{
	return env->flows ? bh_hash_insert(env->flows->flows, key, flow) : -ENOMEM;
}

int bh_flow_remove(struct bh_env *env, const struct bh_flow_key *key)
{
	return bh_hash_remove(env->flows->flows, key);
}

struct bh_flow_key *bh_ledger_find(struct bh_env *env, const struct bh_ledger_key *key)
{
	return bh_hash_find(env->flows->ledger, key);
}

int bh_ledger_insert(struct bh_env *env, const struct bh_ledger_key *key,
                     const struct bh_flow_key *row)
{
	return bh_hash_insert(env->flows->ledger, key, row);
}

void bh_ledger_remove(struct bh_env *env, const struct bh_ledger_key *key)
{
	bh_hash_remove(env->flows->ledger, key);
}

struct bh_share *bh_share_find(struct bh_env *env, uint32_t compartment)
{
	return env->flows ? bh_hash_find(env->flows->shares, &compartment) : NULL;
}

struct bh_room *bh_room(struct bh_env *env)
{
	return env->flows ? &env->flows->room : NULL;
}

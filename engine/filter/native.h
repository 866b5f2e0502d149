/*
 * native.h - what the shared headers ask of their includer, in user space.
 *
 * `struct bh_env` stands for the packet and everything that can be looked up. The memory platform,
 * `explain` and the tests each fill in the operations. Included by .c files that judge packets.
 */
#ifndef BH_FILTER_NATIVE_H
#define BH_FILTER_NATIVE_H

#include <stddef.h>
#include <string.h>

#include "conf.h"

struct bh_flow;
struct bh_flow_key;
struct bh_ledger_key;
struct bh_share;
struct bh_room;

struct bh_env {
	const uint8_t *frame; /* from the Ethernet header on */
	uint32_t size;        /* bytes of the frame */
	bool gso;
	bool tagged;

	const void *(*table)(void *arg, const struct bh_table_ref *ref); /* its bytes, or NULL */
	void *table_arg;

	struct bh_flow_table *flows;
	/* The row as it stands elsewhere, where `flows` has none: 0 and a copy, or -ENOENT. */
	int (*flow_fetch)(void *arg, const struct bh_flow_key *key, struct bh_flow *flow);
	void *flow_arg;
	uint64_t now; /* ns */
};

#define BH_CTX struct bh_env

static inline int bh_load(struct bh_env *env, uint32_t offset, void *to, uint32_t size)
{
	if (offset > env->size || size > env->size - offset)
		return -1;
	memcpy(to, env->frame + offset, size);
	return 0;
}

static inline void bh_loop(uint32_t n, long (*f)(uint32_t, void *), void *arg)
{
	for (uint32_t i = 0; i < n; i++)
		if (f(i, arg))
			break;
}

static inline uint32_t bh_length(struct bh_env *env)
{
	return env->size;
}

static inline const uint8_t *bh_view(struct bh_env *env, uint32_t size)
{
	return size <= env->size ? env->frame : NULL;
}

static inline bool bh_is_gso(struct bh_env *env)
{
	return env->gso;
}

static inline bool bh_is_tagged(struct bh_env *env)
{
	return env->tagged;
}

static inline uint64_t bh_now(struct bh_env *env)
{
	return env->now;
}

struct bh_flow *bh_flow_blank(struct bh_env *env);
struct bh_flow *bh_flow_find(struct bh_env *env, const struct bh_flow_key *key);
static inline struct bh_flow *bh_flow_at(struct bh_env *env, const struct bh_flow_key *key)
{
	return bh_flow_find(env, key);
}

int bh_flow_insert(struct bh_env *env, const struct bh_flow_key *key, const struct bh_flow *flow);
int bh_flow_remove(struct bh_env *env, const struct bh_flow_key *key);
struct bh_flow_key *bh_ledger_find(struct bh_env *env, const struct bh_ledger_key *key);
int bh_ledger_insert(struct bh_env *env, const struct bh_ledger_key *key,
                     const struct bh_flow_key *row);
void bh_ledger_remove(struct bh_env *env, const struct bh_ledger_key *key);
struct bh_share *bh_share_find(struct bh_env *env, uint32_t compartment);
struct bh_room *bh_room(struct bh_env *env);

#endif

/*
 * flow.c - what two processors do to the same flows at once, one step at a time.
 *
 * The operations that flow.h asks for are those of user space, but one processor can be held between two
 * of its steps while another goes on: in the kernel an interrupt does that.
 */
#include "../../engine/filter/native.h"

#include <stdio.h>
#include <stdlib.h>

static int insert_held(struct bh_env *env, const struct bh_ledger_key *place, const struct bh_flow_key *key);
static struct bh_flow_key *find_held(struct bh_env *env, const struct bh_ledger_key *place);

#define bh_ledger_insert insert_held
#define bh_ledger_find find_held
#include "../../engine/filter/evaluate.h"
#include "../../engine/filter/flowtable.h"
#include "../support/report.h"
#undef bh_ledger_insert
#undef bh_ledger_find

enum { COMPARTMENT = 7, LIMIT = 64, MANY = 6 * LIMIT };

static struct bh_conf conf;
/* The row of the flow that is held: once while it is being inserted, or once the head is about to pass it. */
static enum { NOT_HELD, HELD_INSERTING, HELD_PASSED } held;
static struct bh_ledger_key held_place;
static struct bh_flow_key held_key;
static struct bh_flow_key key_of(uint32_t number)
{
	struct bh_flow_key key = {0};

	key.endpoint = 1;
	key.protocol = BH_PROTO_UDP;
	key.remote = bh_address_v4(0x0a000000 + number);
	return key;
}

static int open_flow(struct bh_env *env, uint32_t number)
{
	struct bh_flow_key key = key_of(number);
	struct bh_flow flow = {.created = env->now, .seen = env->now, .opener = BH_OUT};

	return bh_flow_start(env, &conf, &key, &flow);
}

static void open_many(struct bh_env *env, uint32_t from)
{
	for (uint32_t i = 0; i < MANY; i++)
		open_flow(env, from + i);
}

static int insert_held(struct bh_env *env, const struct bh_ledger_key *place, const struct bh_flow_key *key)
{
	if (held == HELD_INSERTING) {
		held = NOT_HELD;
		open_many(env, 1000);
	}
	return bh_ledger_insert(env, place, key);
}

static struct bh_flow_key *find_held(struct bh_env *env, const struct bh_ledger_key *place)
{
	struct bh_flow_key *found = bh_ledger_find(env, place);
	struct bh_share *share = bh_share_find(env, COMPARTMENT);

	/* The row comes after it was looked for, and whoever brings it finds the head where it was. */
	if (held == HELD_PASSED && !found && place->list == held_place.list && place->place == held_place.place &&
	    share->tail[place->list] - place->place > BH_EVICT_SCAN) {
		held = NOT_HELD;
		bh_ledger_insert(env, place, &held_key);
	}
	return found;
}

static int count_old(const struct bh_flow_key *key, const struct bh_flow *flow, void *arg)
{
	(void)flow;
	*(uint32_t *)arg += key->remote.lo < (BH_V4_MAPPED | 0x0a000000) + 5000;
	return 0;
}

/* However the held flow's row met the others: as many new flows replace all that were there. */
static void settle(struct bh_env *env, const char *property)
{
	struct bh_share *share = bh_share_find(env, COMPARTMENT);
	uint32_t left = 0;
	char detail[80];

	open_many(env, 5000);
	bh_flow_table_each(env->flows, count_old, &left);
	snprintf(detail, sizeof(detail), "%u of the old are left, %llu of %d are charged", left,
	         (unsigned long long)(share->used[0] + share->used[1]), LIMIT);
	report(property, held == NOT_HELD && !left && share->used[0] + share->used[1] == LIMIT, detail);
}

static void begin(struct bh_env *env)
{
	memset(env, 0, sizeof(*env));
	env->now = BH_NS;
	if (bh_flow_table_new(&env->flows, 1 << 20, NULL) || bh_flow_table_add_share(env->flows, COMPARTMENT, NULL))
		abort();
}

static void row_comes_late(void)
{
	struct bh_env env;

	begin(&env);
	held = HELD_INSERTING;
	open_flow(&env, 0);
	settle(&env, "a row that comes after the head has passed it");
	bh_flow_table_free(&env.flows);
}

static void row_comes_between(void)
{
	struct bh_flow flow = {.created = BH_NS, .seen = BH_NS, .opener = BH_OUT, .compartment = COMPARTMENT};
	struct bh_share *share;
	struct bh_env env;

	begin(&env);
	share = bh_share_find(&env, COMPARTMENT);
	held_key = key_of(0);
	held_place = (struct bh_ledger_key){.compartment = COMPARTMENT,
	                                    .list = bh_flow_list_of(BH_PROTO_UDP, BH_FLOW_OPENING, BH_OUT)};
	if (bh_share_take(&env, &conf, share, &flow))
		abort();
	held_place.place = bh_ledger_claim(&env, share, COMPARTMENT, held_place.list);
	flow.place = BH_PLACE(held_place.place, held_place.list);
	bh_flow_insert(&env, &held_key, &flow);
	held = HELD_PASSED;
	open_many(&env, 1000);
	settle(&env, "a row that comes while the head passes it");
	bh_flow_table_free(&env.flows);
}

/* Between finding a flow and moving it, it goes and another takes its memory. */
static void memory_is_reused(void)
{
	struct bh_flow_key gone = key_of(1), key = key_of(0);
	struct bh_env env;

	begin(&env);
	open_flow(&env, 0);
	bh_flow_move(&env, bh_flow_find(&env, &key), &gone, bh_flow_list_of(BH_PROTO_UDP, BH_FLOW_ESTABLISHED, BH_OUT));
	settle(&env, "a flow in the memory of one that was to be moved");
	bh_flow_table_free(&env.flows);
}

int main(void)
{
	bh_conf_init(&conf);
	conf.endpoint = 1;
	conf.compartment = COMPARTMENT;
	conf.flows_limit = conf.flows_guaranteed = LIMIT;
	row_comes_late();
	row_comes_between();
	memory_is_reused();
	return report_counts();
}

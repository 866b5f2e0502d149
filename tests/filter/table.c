/*
 * table.c - compiled tables: the linear evaluator's rule for every shape, in no more steps than the
 * builder declares and no more bytes than it is allowed.
 *
 *   table [LOOKUPS] [SEED]      lookups of each shape
 */
#include <stdint.h>

static struct {
	uint32_t node, cube, block, rank, rows;
} steps;

#define BH_STEP(what) (steps.what++)

#include "../../engine/filter/table.h"
#include "../support/shapes.h"

static int passed, failed;

static void report(const char *property, const char *shape, bool ok, const char *detail)
{
	printf("%s %s, %s%s%s\n", ok ? "ok" : "FAILED", property, shape, *detail ? ": " : "", detail);
	*(ok ? &passed : &failed) += 1;
}

/* The lookup, instantiated here, where steps count. */

static uint64_t ranks(const void *chunk, uint32_t at, uint32_t domain, const struct bh_key *key)
{
	struct bh_place place = {chunk, at};

	return bh_ranks_of(&place, domain, key, 0);
}

static long scan_step(uint32_t index, void *arg)
{
	(void)index;
	return bh_scan_step(arg, 0);
}

static uint32_t far(const void *chunk, uint32_t leaf, uint32_t at, uint64_t local,
                    uint64_t remote)
{
	struct bh_place place = {chunk, at};

	return bh_scan_far(&place, leaf, local, remote, scan_step, 0);
}

static long run_step(uint32_t index, void *arg)
{
	(void)index;
	return bh_run_step(arg, 0);
}

static uint32_t run_blocks(const void *chunk, uint32_t blocks, uint32_t count, const struct bh_key *key)
{
	struct bh_place place = {chunk, blocks};

	return bh_run_first(&place, count, key, run_step);
}

static bool within(const struct bh_table_head *head)
{
	return steps.node <= head->most_nodes && steps.cube <= head->most_cubes &&
	       steps.block <= head->most_blocks && steps.rank <= head->most_rank_steps && steps.rows <= 1;
}

static void compare(enum shape shape, uint32_t count, uint32_t lookups)
{
	struct bh_ruleset *ruleset = shape_ruleset(shape, count);
	uint32_t wrong = 0, over = 0, matched = 0, most = 0;
	const struct bh_table_head *head;
	struct bh_table *table, *again;
	struct bh_error err;
	char detail[300];

	if (bh_table_compile(&table, ruleset, 64u << 20, &err) || bh_table_compile(&again, ruleset, 64u << 20, &err)) {
		report("compiles", shape_names[shape], false, err.message);
		return;
	}
	head = (const struct bh_table_head *)table->bytes;
	report("the same rules make the same bytes", shape_names[shape],
	       table->size == again->size && !memcmp(table->bytes, again->bytes, table->size), "");
	for (uint32_t i = 0; i < lookups; i++) {
		struct bh_place place = {table->bytes, 0};
		struct bh_notation packet;
		const struct bh_entry *found;
		struct bh_key key;
		const struct bh_rule *want;

		shape_notation(&packet, ruleset);
		key_of(&key, &packet);
		want = bh_ruleset_lookup(ruleset, &key);
		memset(&steps, 0, sizeof(steps));
		found = bh_place_lookup(&place, &key, ranks, far, run_blocks, 0);
		wrong += !found != !want || (want && want->id != found->rule);
		over += !within(head);
		matched += want != NULL;
		most = steps.cube > most ? steps.cube : most;
	}
	snprintf(detail, sizeof(detail), "%u of %u lookups wrong, %u matched, %u rules", wrong, lookups, matched, count);
	report("linear = compiled", shape_names[shape], !wrong && matched > lookups / 10, detail);
	snprintf(detail, sizeof(detail), "%u over it; at most %u boxes of %u declared, %u nodes, %u blocks", over, most,
	         head->most_cubes, head->most_nodes, head->most_blocks);
	report("steps within what is declared", shape_names[shape], !over && head->most_nodes <= 4 * BH_DEPTH_MAX, detail);
	snprintf(detail, sizeof(detail), "%u bytes", table->size);
	report("size is linear in what rules list", shape_names[shape],
	       table->size <= 8192 + count * (shape == SHAPE_LISTS ? 72u * 64 : 2048u), detail);
	bh_table_free(&table);
	bh_table_free(&again);
	bh_ruleset_free(&ruleset);
}

/* A limit is held, whatever the rules are, or the table refused by it. */
static void limits(enum shape shape)
{
	struct bh_ruleset *ruleset = shape_ruleset(shape, 500);
	uint32_t kept = 0, refused = 0, broken = 0;
	char detail[100];

	for (uint32_t limit = 1024; limit <= 4u << 20; limit *= 2) {
		struct bh_table *table = NULL;
		struct bh_error err = {0};
		int rc = bh_table_compile(&table, ruleset, limit, &err);

		if (rc) {
			snprintf(detail, sizeof(detail), "limit of %u bytes", limit);
			refused++;
			broken += rc != -7 || !strstr(err.message, detail); /* E2BIG */
		} else {
			kept++;
			broken += table->size > limit;
			bh_table_free(&table);
		}
	}
	snprintf(detail, sizeof(detail), "%u held, %u refused, %u neither", kept, refused, broken);
	report("limits", shape_names[shape], kept && refused && !broken, detail);
	bh_ruleset_free(&ruleset);
}

/* As many inbound rules, numbered from 1 on; `fill` says what the i-th is. */
static struct bh_ruleset *ruleset_of(uint32_t count, bool v6,
                                     void (*fill)(struct bh_rule *rule, uint32_t i, uint32_t count, bool v6))
{
	struct bh_ruleset *ruleset = NULL;
	struct bh_rule rule;

	if (bh_ruleset_new(&ruleset, NULL))
		abort();
	for (uint32_t i = 0; i < count; i++) {
		bh_rule_init(&rule, BH_ALLOW, BH_IN);
		rule.id = i + 1;
		fill(&rule, i, count, v6);
		if (bh_ruleset_add(ruleset, &rule, NULL))
			abort();
		bh_rule_clear(&rule);
	}
	return ruleset;
}

/* Rules of two hosts and, before and between them, wide ones that have no packet of theirs. */
static void fill_hosts(struct bh_rule *rule, uint32_t i, uint32_t count, bool v6)
{
	bool wide = i % 50 == 0;
	char text[80];

	(void)count;
	rule->protocol = wide ? BH_PROTO_UDP : BH_PROTO_TCP;
	shape_address(text, v6, 0x0a000000 + i, wide ? 8 : 32);
	bh_rule_set(rule, i % 100 ? "remote" : "local", text, NULL);
	shape_address(text, v6, 0x0b000000 + i * 3, 32);
	if (!wide)
		bh_rule_set(rule, "local", text, NULL);
}

/* A lookup ends with the first tree where nothing in the others is better, though they have lower labels. */
static void marks(void)
{
	uint32_t count = 6000, wrong = 0, asked = 0, nodes = 0;
	struct bh_ruleset *ruleset = ruleset_of(count, false, fill_hosts);
	const struct bh_domain *domain;
	struct bh_table *table;
	struct bh_error err;
	char detail[100];

	if (bh_table_compile(&table, ruleset, 64u << 20, &err))
		abort();
	domain = (const struct bh_domain *)(table->bytes + sizeof(struct bh_table_head));
	for (uint32_t i = 200; i < count; i++) {
		struct bh_key key = {.protocol = BH_PROTO_TCP, .direction = BH_IN, .local_port = 80, .remote_port = 40000};
		struct bh_place place = {table->bytes, 0};
		const struct bh_entry *found;

		if (i % 50 == 0)
			continue;
		key.remote.lo = BH_V4_MAPPED | (0x0a000000 + i);
		key.local.lo = BH_V4_MAPPED | (0x0b000000 + i * 3);
		memset(&steps, 0, sizeof(steps));
		found = bh_place_lookup(&place, &key, ranks, far, run_blocks, 0);
		wrong += !found || found->rule != i + 1;
		nodes += steps.node;
		asked++;
	}
	snprintf(detail, sizeof(detail), "%u wrong, %u nodes in %u lookups", wrong, nodes, asked);
	report("a lookup ends where nothing is better", "hosts",
	       !wrong && domain->best[1] < 200 && nodes < asked + asked / 4, detail);
	bh_table_free(&table);
	bh_ruleset_free(&ruleset);
}

/* Rules of hosts; one in the midst is of all TCP, so that those of TCP behind it have no packet. */
static void fill_hidden(struct bh_rule *rule, uint32_t i, uint32_t count, bool v6)
{
	char text[80];

	rule->action = i % 2 ? BH_ALLOW : BH_BLOCK;
	rule->priority = (uint16_t)i;
	rule->protocol = i % 4 ? BH_PROTO_TCP : BH_PROTO_UDP;
	shape_address(text, v6, 0x0a000000 + i, 32);
	if (i != count / 2 + 1)
		bh_rule_set(rule, i % 3 ? "remote" : "local", text, NULL);
}

/* The same, but what is hidden names no address. */
static void fill_nameless(struct bh_rule *rule, uint32_t i, uint32_t count, bool v6)
{
	fill_hidden(rule, i > count / 2 && i % 4 ? count / 2 + 1 : i, count, v6);
}

static uint32_t size_of(struct bh_ruleset *ruleset)
{
	struct bh_table *table;
	struct bh_error err;
	uint32_t size;

	if (bh_table_compile(&table, ruleset, 64u << 20, &err))
		abort();
	size = table->size;
	bh_table_free(&table);
	bh_ruleset_free(&ruleset);
	return size;
}

/* A table has nothing of a rule that no packet ends in, whichever tree its boxes would be of. */
static void hidden(bool v6)
{
	uint32_t count = 4000, wrong = 0, late = 0, least;
	struct bh_ruleset *ruleset = ruleset_of(count, v6, fill_hidden);
	const struct bh_table_head *head;
	struct bh_table *table;
	struct bh_error err;
	char detail[160];

	if (bh_table_compile(&table, ruleset, 64u << 20, &err))
		abort();
	head = (const struct bh_table_head *)table->bytes;
	for (uint32_t i = 0; i < count; i++) {
		const struct bh_rule *rule = bh_ruleset_at(ruleset, i), *want;
		struct bh_key key = {.protocol = (uint8_t)rule->protocol, .direction = BH_IN, .v6 = v6, .local_port = 80};
		struct bh_entry found = {0};
		bool is;

		key.local = rule->local.include_count ? rule->local.include[0].first : bh_address_v4(0x0b000001);
		key.remote = rule->remote.include_count ? rule->remote.include[0].first : bh_address_v4(0x0b000001);
		want = bh_ruleset_lookup(ruleset, &key);
		is = bh_table_find(table->bytes, &key, &found);
		wrong += is != (want != NULL) || (want && want->id != found.rule);
		late += want && want->id > count / 2 + 2;
	}
	least = size_of(ruleset_of(count, v6, fill_nameless));
	snprintf(detail, sizeof(detail), "%u wrong, %u rules, %u cubes, %u found late, %u bytes, %u without", wrong, count,
	         head->cubes, late, table->size, least);
	report("what is hidden is left out", v6 ? "IPv6" : "IPv4",
	       !wrong && late == count / 8 - 1 && head->cubes < count * 11 / 16 && table->size == least, detail);
	bh_table_free(&table);
	bh_ruleset_free(&ruleset);
}

/* Rules for ports of hosts and networks. */
static void fill_ports(struct bh_rule *rule, uint32_t i, uint32_t count, bool v6)
{
	char text[80];

	rule->action = i % 3 ? BH_ALLOW : BH_BLOCK;
	rule->protocol = i % 7 ? i % 2 ? BH_PROTO_TCP : BH_PROTO_UDP : -1;
	shape_address(text, v6, 0x0a000000 | (random_below(1u << 16) << 4 & (i % 5 ? ~0u : ~0xffffu)), i % 5 ? 28 : 16);
	if (bh_rule_set(rule, "remote", text, NULL))
		abort();
	shape_address(text, v6, 0x0b000000 | random_below(64), 32);
	if (count % 2 && i % 11)
		bh_rule_set(rule, "local", text, NULL);
	snprintf(text, sizeof(text), "%u", 1024 + random_below(200));
	if (rule->protocol > 0)
		bh_rule_set(rule, "local_port", text, NULL);
	snprintf(text, sizeof(text), "%u-65535", 256 * random_below(200));
	if (count % 4 == 3 && rule->protocol > 0)
		bh_rule_set(rule, "remote_port", text, NULL);
}

/* A packet of a rule, or one bit beside it. */
static void near_rule(struct bh_key *key, const struct bh_rule *rule)
{
	*key = (struct bh_key){.protocol = rule->protocol < 0 ? BH_PROTO_TCP : (uint8_t)rule->protocol, .direction = BH_IN};
	key->remote = rule->remote.include[0].first;
	key->local = rule->local.include_count ? rule->local.include[0].first : bh_address_v4(0x0b000001);
	key->local_port = rule->local_port.count ? rule->local_port.ranges[0].first : 80;
	key->remote_port = rule->remote_port.count ? rule->remote_port.ranges[0].first : 40000;
	switch (random_below(6)) {
	case 0:
		key->remote.lo ^= 1u << random_below(32);
		break;
	case 1:
		key->local.lo ^= 1u << random_below(32);
		break;
	case 2:
		key->local_port ^= (uint16_t)(1u << random_below(16));
		break;
	case 3:
		key->remote_port--;
		break;
	case 4:
		key->protocol = BH_PROTO_UDP;
		break;
	default:
		break;
	}
}

/* Rows of one word, two and four; with and without local addresses and remote ports. */
static void rows(uint32_t lookups)
{
	static const struct {
		uint32_t rules, words;
	} sets[] = {{30, 1}, {33, 1}, {35, 1}, {100, 2}, {101, 2}, {103, 2}, {180, 4}, {181, 4}, {183, 4}};

	for (size_t s = 0; s < sizeof(sets) / sizeof(*sets); s++) {
		struct bh_ruleset *ruleset = ruleset_of(sets[s].rules, false, fill_ports);
		uint32_t wrong = 0, matched = 0, words;
		struct bh_table *table;
		struct bh_error err;
		char detail[100];

		if (bh_table_compile(&table, ruleset, 64u << 20, &err))
			abort();
		words = ((const struct bh_domain *)(table->bytes + sizeof(struct bh_table_head)))->rows & BH_ROWS_WORDS;
		for (uint32_t i = 0; i < lookups; i++) {
			struct bh_place place = {table->bytes, 0};
			const struct bh_entry *found;
			const struct bh_rule *want;
			struct bh_key key;

			near_rule(&key, bh_ruleset_at(ruleset, i % sets[s].rules));
			want = bh_ruleset_lookup(ruleset, &key);
			memset(&steps, 0, sizeof(steps));
			found = bh_place_lookup(&place, &key, ranks, far, run_blocks, 0);
			wrong += !found != !want || (want && want->id != found->rule) || steps.rows != 1 || steps.node;
			matched += want != NULL;
		}
		snprintf(detail, sizeof(detail), "%u wrong, %u of %u matched; rows of %u words", wrong, matched, lookups, words);
		report("rows", "ports", !wrong && words == sets[s].words && matched > lookups / 4 && matched < lookups, detail);
		bh_table_free(&table);
		bh_ruleset_free(&ruleset);
	}
}

int main(int argc, char **argv)
{
	uint32_t lookups = argc > 1 ? (uint32_t)atol(argv[1]) : 20000;
	static const uint32_t sizes[] = {1, 40, 120, 1500};

	random_state = argc > 2 ? (uint64_t)atol(argv[2]) : 20250102;
	for (int shape = 0; shape < SHAPES; shape++) {
		for (int i = 0; i < 4; i++)
			compare(shape, sizes[i], i == 3 ? lookups : lookups / 4);
		limits(shape);
	}
	marks();
	hidden(false);
	hidden(true);
	rows(lookups / 4);
	printf("%d passed, %d failed, 0 skipped\n", passed, failed);
	return failed != 0;
}

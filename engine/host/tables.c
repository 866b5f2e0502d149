/*
 * tables.c - rules in the store: one table per distinct list, so that a thousand containers of one
 * policy and network keep it, and its compiled form in the kernel, once.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

static uint64_t hash_text(uint64_t hash, const char *text)
{
	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3ULL; /* FNV-1a */
	return (hash ^ 0xff) * 0x100000001b3ULL;
}

/*
 * Two FNV-1a sums from different starts. Only lists that the host's own policies made are compared
 * by it, never what a container may choose.
 */
void bh_rules_hash(uint32_t network, const struct bh_rule *rules, size_t count, char hash[40])
{
	uint64_t a = 0xcbf29ce484222325ULL ^ network, b = 0x6c62272e07bb0142ULL + network;
	char buffer[16];

	for (size_t i = 0; i < count; i++) {
		const char *head = rules[i].action == BH_BLOCK ? "block" : "allow";

		a = hash_text(hash_text(a, head), bh_direction_name(rules[i].direction));
		b = hash_text(hash_text(b, bh_direction_name(rules[i].direction)), head);
		for (const char *const *f = bh_rule_fields; *f; f++) {
			const char *text = bh_rule_get(&rules[i], *f, buffer);

			a = hash_text(hash_text(a, *f), text ? text : "");
			b = hash_text(hash_text(b, text ? text : ""), *f);
		}
		a = hash_text(a, rules[i].origin ? rules[i].origin : "");
		b = hash_text(b, rules[i].origin ? rules[i].origin : "");
	}
	snprintf(hash, 40, "%016llx%016llx", (unsigned long long)a, (unsigned long long)b);
}

/* Fields that a row of `rules` keeps as text, in the order the statements name them. */
static const char *const columns[] = {"protocol", "local", "local_port", "remote", "remote_port",
                                      "icmp", "priority", "name", "log", "audit"};

int bh_rules_append(struct bh_host *host, uint32_t table, const struct bh_rule *rules, size_t count,
                    struct bh_error *err)
{
	char buffers[10][16];
	const char *v[10];
	int rc = 0;

	for (size_t i = 0; !rc && i < count; i++) {
		for (int c = 0; c < 10; c++)
			v[c] = bh_rule_get(&rules[i], columns[c], buffers[c]);
		rc = bh_store_run(host->store, err,
		                  "INSERT INTO rules(tbl, action, direction, protocol, local, local_port, remote,"
		                  " remote_port, icmp, priority, name, log, audit, origin)"
		                  " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "isssssssssssss",
		                  (int64_t)table, bh_action_name(rules[i].action),
		                  bh_direction_name(rules[i].direction), v[0], v[1], v[2], v[3], v[4], v[5],
		                  v[6], v[7], v[8], v[9], rules[i].origin);
	}
	return rc;
}

int bh_rules_store(struct bh_host *host, uint32_t network, const char *hash,
                   const struct bh_rule *rules, size_t count, uint32_t *table, struct bh_error *err)
{
	int64_t id = bh_store_number(host->store, 0,
	                             "SELECT id FROM tables WHERE hash = ? AND status <> 'removing'", "s", hash);
	int rc = 0;

	if (!id) {
		rc = bh_store_run(host->store, err,
		                  "INSERT INTO tables(hash, network, status) VALUES (?, ?, 'creating')", "si", hash,
		                  (int64_t)network);
		id = bh_store_last_id(host->store);
		if (!rc)
			rc = bh_rules_append(host, (uint32_t)id, rules, count, err);
	}
	if (!rc)
		*table = (uint32_t)id;
	return rc;
}

int bh_rules_store_own(struct bh_host *host, uint32_t network, uint32_t endpoint, uint32_t *table,
                       struct bh_error *err)
{
	int rc = bh_store_run(host->store, err,
	                      "INSERT INTO tables(network, endpoint, status) VALUES (?, ?, 'creating')", "ii",
	                      (int64_t)network, (int64_t)endpoint);

	if (!rc)
		*table = (uint32_t)bh_store_last_id(host->store);
	return rc;
}

static int load_rule(struct bh_statement *row, struct bh_ruleset *ruleset, struct bh_error *err)
{
	struct bh_rule rule;
	int rc = 0;

	bh_rule_init(&rule, strcmp(bh_statement_text(row, 1), "block") ? BH_ALLOW : BH_BLOCK,
	             strcmp(bh_statement_text(row, 2), "outbound") ? BH_IN : BH_OUT);
	rule.id = (uint32_t)bh_statement_int(row, 0);
	for (int c = 0; !rc && c < 10; c++)
		if (bh_statement_text(row, 3 + c))
			rc = bh_rule_set(&rule, columns[c], bh_statement_text(row, 3 + c), err);
	if (!rc && bh_statement_text(row, 13)) {
		rule.origin = strdup(bh_statement_text(row, 13));
		if (!rule.origin)
			rc = bh_error_set(err, -ENOMEM, "not enough memory for a rule");
	}
	rc = rc ? rc : bh_ruleset_add(ruleset, &rule, err);
	bh_rule_clear(&rule);
	return rc;
}

int bh_rules_load(struct bh_host *host, uint32_t table, uint32_t network, struct bh_ruleset **out,
                  struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *rows = NULL;
	struct bh_ruleset *ruleset = NULL;
	struct bh_words words;
	int rc = bh_ruleset_new(&ruleset, err);

	if (!rc && table)
		rc = bh_network_words(host, network, &words, err);
	if (!rc && table)
		bh_ruleset_set_words(ruleset, &words);
	if (!rc)
		rc = bh_store_query(host->store, &rows, err,
		                    "SELECT id, action, direction, protocol, local, local_port, remote, remote_port,"
		                    " icmp, priority, name, log, audit, origin FROM rules WHERE tbl = ? ORDER BY id",
		                    "i", (int64_t)table);
	while (!rc && (rc = bh_statement_step(rows, err)) == 1)
		rc = load_rule(rows, ruleset, err);
	if (rc) {
		bh_ruleset_free(&ruleset);
		return rc;
	}
	*out = ruleset;
	return 0;
}

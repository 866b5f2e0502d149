/*
 * reload.c - a change of policies that fails at any step changes nothing.
 *
 * Two endpoints on the memory platform get another policy in one change. Before it a trigger is put
 * into the store that lets one kind of write fail, or the platform is made to refuse what networks
 * reach; each time everything that can be asked (rules, defaults, the set that is kept, the conf that
 * the gate has) must be as it was, and the same change must work once nothing fails.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../engine/host/host.h"
#include "../support/report.h"

static void must(int rc, const struct bh_error *err)
{
	if (rc) {
		fprintf(stderr, "%s\n", err->message);
		abort();
	}
}

static void make_rule(struct bh_rule *rule, const char *name, const char *port)
{
	bh_rule_init(rule, BH_ALLOW, BH_IN);
	bh_rule_set(rule, "protocol", "tcp", NULL);
	bh_rule_set(rule, "local_port", port, NULL);
	bh_rule_set(rule, "name", name, NULL);
}

static void fill_spec(struct bh_endpoint_spec *spec, struct bh_rule *rule, bool changed)
{
	struct bh_conf conf;

	bh_conf_init(&conf);
	memcpy(spec->timeouts, conf.timeouts, sizeof(spec->timeouts));
	spec->flags = conf.flags | BH_CONF_BLOCK_IN | (changed ? BH_CONF_BLOCK_OUT : 0);
	spec->flows_limit = changed ? 9 : conf.flows_limit;
	spec->reach = changed ? "other" : "";
	spec->origin_in = changed ? "new:1" : "old:1";
	spec->origin_out = changed ? "new:2" : "old:2";
	spec->rules = rule;
	spec->rules_count = 1;
}

static void build(struct bh_host *host, uint32_t ids[2])
{
	static const char *const names[] = {"a", "b"};
	struct bh_network_spec network = {.name = "nat", .driver = "nat", .subnets_count = 1,
	                                  .subnets = {"172.16.0.0/24"}};
	struct bh_rule rule;
	struct bh_error err;

	make_rule(&rule, "old", "80");
	must(bh_host_begin(host, &err), &err);
	must(bh_network_add(host, &network, &err), &err);
	for (int i = 0; i < 2; i++) {
		struct bh_container_spec container = {.id = names[i], .name = names[i], .type = "process",
		                                      .policies = "/old", .policy = "process"};
		struct bh_endpoint_spec endpoint = {.container = names[i], .network = "nat"};

		fill_spec(&endpoint, &rule, false);
		must(bh_container_add(host, &container, &err), &err);
		must(bh_endpoint_add(host, &endpoint, &ids[i], &err), &err);
	}
	must(bh_host_commit(host, &err), &err);
	bh_rule_clear(&rule);
}

/* The change but for its end; what made it fail. */
static int begin_change(struct bh_host *host, const uint32_t ids[2], struct bh_error *err)
{
	struct bh_endpoint_spec spec = {0};
	struct bh_rule rule, own;
	int rc = bh_host_begin(host, err);

	if (rc)
		return rc;
	make_rule(&rule, "new", "81");
	make_rule(&own, "own", "82");
	fill_spec(&spec, &rule, true);
	for (int i = 0; !rc && i < 2; i++) {
		rc = bh_endpoint_change(host, ids[i], &spec, err);
		rc = rc ? rc : bh_endpoint_add_rules(host, ids[i], &own, 1, err);
		rc = rc ? rc : bh_container_set_policies(host, i ? "b" : "a", "/new", err);
	}
	bh_rule_clear(&rule);
	bh_rule_clear(&own);
	if (rc)
		bh_host_abort(host);
	return rc;
}

static int change(struct bh_host *host, const uint32_t ids[2], struct bh_error *err)
{
	int rc = begin_change(host, ids, err);

	return rc ? rc : bh_host_commit(host, err);
}

/* All that can be asked of an endpoint, as a text. */
static void describe(struct bh_host *host, uint32_t id, char *text, size_t size)
{
	struct bh_ruleset *rulesets[2] = {NULL, NULL};
	struct bh_conf conf, gate;
	struct bh_error err;
	size_t used = 0;

	must(bh_endpoint_gate(host, id, &conf, rulesets, &err), &err);
	must(bh_host_platform(host)->ops->gate_read(bh_host_platform(host), id, &gate, &err), &err);
	for (int i = 0; i < 2; i++) {
		for (size_t r = 0; rulesets[i] && r < bh_ruleset_count(rulesets[i]); r++) {
			char buffer[16];

			used += (size_t)snprintf(text + used, size - used, "%s ",
			                         bh_rule_get(bh_ruleset_at(rulesets[i], r), "name", buffer));
		}
		bh_ruleset_free(&rulesets[i]);
	}
	snprintf(text + used, size - used, "out %s, gate %s, flows %u, kept %lld, pending %lld",
	         conf.flags & BH_CONF_BLOCK_OUT ? "block" : "allow", gate.flags & BH_CONF_BLOCK_OUT ? "block" : "allow",
	         gate.flows_limit, (long long)bh_store_number(bh_host_store(host), -1,
	         "SELECT count(*) FROM containers c JOIN endpoints e ON e.container = c.id WHERE e.id = ?"
	         " AND c.policies = '/new' AND e.reach = 'other'", "i", (int64_t)id),
	         (long long)bh_store_number(bh_host_store(host), -1, "SELECT (SELECT count(*) FROM before)"
	                                    " + (SELECT count(*) FROM endpoints WHERE status <> 'ready')", ""));
}

static const char OLD[] = "old out allow, gate allow, flows 65536, kept 0, pending 0";
static const char NEW[] = "new own out block, gate block, flows 9, kept 1, pending 0";

static bool both_are(struct bh_host *host, const uint32_t ids[2], const char *expected, char detail[300])
{
	for (int i = 0; i < 2; i++) {
		char text[200];

		describe(host, ids[i], text, sizeof(text));
		if (strcmp(text, expected)) {
			snprintf(detail, 300, "endpoint %d: %s", i + 1, text);
			return false;
		}
	}
	return true;
}

static int refuse_uplink(struct bh_platform *platform, const struct bh_uplink *uplink, struct bh_error *err)
{
	(void)platform;
	(void)uplink;
	return bh_error_set(err, -EIO, "the uplink is made to fail");
}

/* Writes that fail; NULL: the platform does. `b` is endpoint 2. */
static const struct {
	const char *name;
	const char *when; /* of a trigger */
} steps[] = {
	{"what was is not remembered", "BEFORE INSERT ON before"},
	{"what was of the second", "BEFORE INSERT ON before WHEN NEW.endpoint = 2"},
	{"its past", "BEFORE INSERT ON past_policies WHEN NEW.endpoint = 2"},
	{"a list", "BEFORE INSERT ON tables"},
	{"a rule", "BEFORE INSERT ON rules WHEN NEW.name = 'new'"},
	{"a rule of its own", "BEFORE INSERT ON rules WHEN NEW.name = 'own'"},
	{"the second is not marked", "BEFORE UPDATE ON endpoints WHEN NEW.id = 2 AND NEW.status = 'changing'"},
	{"the set of the second", "BEFORE UPDATE OF policies ON containers WHEN NEW.id = 'b' AND NEW.policies = '/new'"},
	{"a table is not published", "BEFORE UPDATE ON tables WHEN NEW.status = 'ready'"},
	{"what was is not forgotten", "BEFORE DELETE ON before WHEN (SELECT status FROM endpoints WHERE id = 2) = 'changing'"},
	{"the second is not done", "BEFORE UPDATE ON endpoints WHEN NEW.id = 2 AND NEW.status = 'ready' AND OLD.status ="
	                           " 'changing' AND NEW.origin_in = 'new:1'"},
	{"what networks reach", NULL},
};

static void step_fails(size_t step)
{
	struct bh_host_options options = {.write = true};
	struct bh_platform_ops ops;
	const struct bh_platform_ops *real;
	struct bh_host *host;
	struct bh_error err = {0};
	char sql[400], detail[300] = "";
	uint32_t ids[2];
	bool ok;
	int rc;

	must(bh_host_open(&host, &options, &err), &err);
	build(host, ids);
	real = bh_host_platform(host)->ops;
	ops = *real;
	ops.uplink_apply = refuse_uplink;
	snprintf(sql, sizeof(sql), "CREATE TEMP TRIGGER fails %s BEGIN SELECT RAISE(ABORT, 'made to fail'); END",
	         steps[step].when ? steps[step].when : "");
	if (steps[step].when)
		must(bh_store_run(bh_host_store(host), &err, sql, ""), &err);
	else
		bh_host_platform(host)->ops = &ops;
	rc = change(host, ids, &err);
	if (!rc)
		snprintf(detail, sizeof(detail), "it did not fail");
	bh_host_platform(host)->ops = real;
	if (steps[step].when)
		must(bh_store_run(bh_host_store(host), &err, "DROP TRIGGER fails", ""), &err);
	ok = rc && both_are(host, ids, OLD, detail);
	if (ok && ((rc = change(host, ids, &err)) || !both_are(host, ids, NEW, detail))) {
		ok = false;
		if (rc)
			snprintf(detail, sizeof(detail), "the next change: %.200s", err.message);
	}
	snprintf(sql, sizeof(sql), "nothing changes where it fails: %s", steps[step].name);
	report(sql, ok, detail);
	bh_host_close(&host);
}

static uint32_t generation_of(struct bh_host *host, uint32_t id)
{
	struct bh_conf conf;
	struct bh_error err;

	must(bh_host_platform(host)->ops->gate_read(bh_host_platform(host), id, &conf, &err), &err);
	return conf.generation;
}

/*
 * A change that fails, and then taking it back fails in the store (a disk that stays full): it is never done, not by
 * the next change either. Flows carry the numbers of what was in force, so what comes after must have others.
 */
static void stays_failed(const char *name, const char *when, uint32_t reached)
{
	struct bh_host_options options = {.write = true};
	struct bh_host *host;
	struct bh_error err = {0};
	uint32_t ids[2], back[2];
	char detail[300] = "", sql[300];
	bool ok;

	must(bh_host_open(&host, &options, &err), &err);
	build(host, ids);
	must(bh_store_run(bh_host_store(host), &err, "CREATE TEMP TRIGGER fails BEFORE DELETE ON before"
	                  " BEGIN SELECT RAISE(ABORT, 'made to fail'); END", ""), &err);
	snprintf(sql, sizeof(sql), "CREATE TEMP TRIGGER too %s BEGIN SELECT RAISE(ABORT, 'made to fail'); END", when);
	must(bh_store_run(bh_host_store(host), &err, sql, ""), &err);
	ok = change(host, ids, &err) != 0;
	must(bh_store_run(bh_host_store(host), &err, "DROP TRIGGER fails", ""), &err);
	must(bh_store_run(bh_host_store(host), &err, "DROP TRIGGER too", ""), &err);
	for (int i = 0; i < 2; i++)
		back[i] = generation_of(host, ids[i]);
	if (back[0] != reached) /* of what was before, after 2 of what failed */
		snprintf(detail, sizeof(detail), "generation %u", back[0]);
	must(bh_host_begin(host, &err), &err);
	must(bh_host_commit(host, &err), &err);
	ok = ok && !*detail && both_are(host, ids, OLD, detail);
	must(change(host, ids, &err), &err);
	ok = ok && both_are(host, ids, NEW, detail);
	for (int i = 0; i < 2; i++)
		ok = ok && generation_of(host, ids[i]) > back[i];
	snprintf(sql, sizeof(sql), "what failed is never done, nor has a policy the number of another: %s", name);
	report(sql, ok, detail);
	bh_host_close(&host);
}

/* A change whose process ended after its intent is committed, and not refused, is done by the next one. */
static void cut_short(void)
{
	struct bh_host_options options = {.write = true};
	struct bh_host *host;
	struct bh_error err = {0};
	uint32_t ids[2];
	char detail[300] = "";
	bool ok;

	must(bh_host_open(&host, &options, &err), &err);
	build(host, ids);
	must(begin_change(host, ids, &err), &err);
	must(bh_store_commit(bh_host_store(host), &err), &err);
	bh_host_abort(host);
	must(bh_host_begin(host, &err), &err);
	must(bh_host_commit(host, &err), &err);
	ok = both_are(host, ids, NEW, detail);
	report("what was cut short is done", ok, detail);
	bh_host_close(&host);
}

int main(void)
{
	stays_failed("in force", "BEFORE UPDATE ON endpoints WHEN 0", 3);
	stays_failed("before", "BEFORE UPDATE ON tables WHEN NEW.status = 'ready'", 3);
	cut_short();
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		step_fails(i);
	return report_counts();
}

/*
 * classbench.c - reads rules and traces in ClassBench's formats, IPv4 and IPv6; what benches make of them.
 *
 * A rule: `@src/len dst/len lo : hi lo : hi protocol/mask [flags/mask]`. A packet: `src dst sport
 * dport protocol first`; IPv4 addresses may be plain numbers.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

/* `line` 0: of the whole file. */
static void refuse(const char *file, unsigned line, const char *what)
{
	if (line)
		fprintf(stderr, "bench: %s:%u: %s\n", file, line, what);
	else
		fprintf(stderr, "bench: %s: %s\n", file, what);
	exit(2);
}

static void *grown(void *array, uint32_t count, size_t size)
{
	if (count & (count - 1) && count)
		return array;
	array = realloc(array, (count ? 2 * (size_t)count : 1) * size);
	if (!array)
		abort();
	return array;
}

/* What stands behind a rule's protocol: nothing, or a word that is of no account here. */
static bool is_rest(const char *rest)
{
	unsigned flags, mask;
	int end = 0;

	if (sscanf(rest, " %x/%x%n", &flags, &mask, &end) == 2)
		rest += end;
	return rest[strspn(rest, " \t\r\n")] == 0;
}

/* NULL, or what is wrong with the line. */
static const char *parse_rule(struct bench_rule *rule, const char *line)
{
	unsigned ports[4], protocol, mask;
	char source[80], target[80];
	int end = 0;

	if (sscanf(line, "@%79s %79s %u : %u %u : %u %x/%x%n", source, target, &ports[0], &ports[1], &ports[2],
	           &ports[3], &protocol, &mask, &end) != 8 || !is_rest(line + end))
		return "not a rule: @src/len dst/len lo : hi lo : hi protocol/mask [flags/mask]";
	for (int i = 0; i < 4; i++)
		if (ports[i] > 65535)
			return "a port is at most 65535";
	if (ports[0] > ports[1] || ports[2] > ports[3])
		return "a range of ports runs backwards";
	if (protocol > 255 || (mask != 0 && mask != 0xff))
		return "a protocol is at most 0xFF, and its mask 0x00 or 0xFF";
	rule->source_port[0] = (uint16_t)ports[0];
	rule->source_port[1] = (uint16_t)ports[1];
	rule->target_port[0] = (uint16_t)ports[2];
	rule->target_port[1] = (uint16_t)ports[3];
	rule->protocol = (uint8_t)protocol;
	rule->any_protocol = mask == 0;
	if (bh_prefix_parse(&rule->source, source, true, NULL) || bh_prefix_parse(&rule->target, target, true, NULL))
		return "not a prefix: address/length";
	if (bh_address_is_v4(&rule->source.address) != bh_address_is_v4(&rule->target.address))
		return "one prefix is IPv4's, the other IPv6's";
	rule->source = bh_prefix_network(&rule->source);
	rule->target = bh_prefix_network(&rule->target);
	return NULL;
}

static bool parse_address(struct bh_address *address, const char *text)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (!bh_address_parse(address, text, NULL))
		return true;
	*address = bh_address_v4((uint32_t)number);
	return !*end && number <= 0xffffffff;
}

/* Of `rules` rules. NULL, or what is wrong with the line. */
static const char *parse_packet(struct bench_packet *packet, int32_t *first, const char *line, uint32_t rules)
{
	unsigned source_port, target_port, protocol;
	char source[80], target[80];
	int end = 0, more = 0;

	*first = -2;
	if (sscanf(line, "%79s %79s %u %u %u%n", source, target, &source_port, &target_port, &protocol, &end) != 5)
		return "not a packet: src dst sport dport protocol [first]";
	if (sscanf(line + end, "%d%n", first, &more) == 1) {
		if (*first < -1 || (*first >= 0 && (uint32_t)*first >= rules))
			return "the first rule that matches is a line of the rules, counted from 0, or -1";
		end += more;
	}
	if (line[end + (int)strspn(line + end, " \t\r\n")])
		return "more than src dst sport dport protocol first";
	if (source_port > 65535 || target_port > 65535 || protocol > 255)
		return "a port is at most 65535, a protocol 255";
	packet->source_port = (uint16_t)source_port;
	packet->target_port = (uint16_t)target_port;
	packet->protocol = (uint8_t)protocol;
	if (!parse_address(&packet->source, source) || !parse_address(&packet->target, target))
		return "not an address";
	return NULL;
}

static void make_key(struct bh_key *key, const struct bench_packet *packet)
{
	memset(key, 0, sizeof(*key));
	key->local = packet->target;
	key->remote = packet->source;
	key->local_port = packet->target_port;
	key->remote_port = packet->source_port;
	key->protocol = packet->protocol;
	key->direction = BH_IN;
	key->v6 = !bh_address_is_v4(&packet->source);
}

static void read_trace(struct bench_set *set, const char *file)
{
	char command[4200], line[400];
	const char *wrong;
	unsigned number = 0;
	FILE *in;

	snprintf(command, sizeof(command), "gzip -dcf '%s'", file);
	in = popen(command, "r");
	while (in && fgets(line, sizeof(line), in)) {
		uint32_t n = set->packets_count;

		set->packets = grown(set->packets, n, sizeof(*set->packets));
		set->keys = grown(set->keys, n, sizeof(*set->keys));
		set->first = grown(set->first, n, sizeof(*set->first));
		number++;
		wrong = parse_packet(&set->packets[n], &set->first[n], line, set->rules_count);
		if (wrong)
			refuse(file, number, wrong);
		make_key(&set->keys[n], &set->packets[n]);
		set->packets_count++;
	}
	if (!in || pclose(in) || !set->packets_count)
		refuse(file, 0, "cannot read it, or it has no packets");
}

void bench_read(struct bench_set *set, const char *rules, const char *trace)
{
	FILE *in = fopen(rules, "r");
	const char *wrong;
	char line[400];
	unsigned number = 0;

	memset(set, 0, sizeof(*set));
	while (in && fgets(line, sizeof(line), in)) {
		number++;
		if (*line == '\n')
			continue;
		set->rules = grown(set->rules, set->rules_count, sizeof(*set->rules));
		wrong = parse_rule(&set->rules[set->rules_count], line);
		if (wrong)
			refuse(rules, number, wrong);
		set->v6 |= !bh_address_is_v4(&set->rules[set->rules_count].source.address);
		set->rules_count++;
	}
	if (!in || !set->rules_count)
		refuse(rules, 0, in ? "it has no rules" : strerror(errno));
	fclose(in);
	read_trace(set, trace);
}

static void set_range(struct bh_address_set *set, const struct bh_prefix *prefix, bool v6)
{
	set->include_count = prefix->length != 0;
	set->include = NULL;
	if (!set->include_count && bh_address_is_v4(&prefix->address) == !v6)
		return;
	set->include_count = 1;
	set->include = malloc(sizeof(*set->include));
	*set->include = bh_prefix_range(prefix);
}

static void set_ports(struct bh_number_set *set, const uint16_t range[2])
{
	if (range[0] == 0 && range[1] == 65535)
		return;
	set->count = 1;
	set->ranges = malloc(sizeof(*set->ranges));
	*set->ranges = (struct bh_number_range){range[0], range[1]};
}

void bench_rule(struct bh_rule *to, const struct bench_set *set, uint32_t line, bool ranked)
{
	const struct bench_rule *rule = &set->rules[line];

	bh_rule_init(to, BH_ALLOW, BH_IN);
	to->id = line + 1;
	to->protocol = rule->any_protocol ? -1 : rule->protocol;
	if (ranked)
		to->priority = (uint16_t)line;
	set_range(&to->remote, &rule->source, set->v6);
	set_range(&to->local, &rule->target, set->v6);
	set_ports(&to->remote_port, rule->source_port);
	set_ports(&to->local_port, rule->target_port);
}

struct bh_ruleset *bench_ruleset(const struct bench_set *set)
{
	struct bh_ruleset *ruleset = NULL;
	struct bh_rule rule;

	if (bh_ruleset_new(&ruleset, NULL))
		abort();
	for (uint32_t i = 0; i < set->rules_count; i++) {
		bench_rule(&rule, set, i, false);
		if (bh_ruleset_add(ruleset, &rule, NULL))
			abort();
	}
	if (set->rules_count)
		bh_ruleset_at(ruleset, 0); /* sorts */
	return ruleset;
}

double bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

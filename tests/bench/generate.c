/*
 * generate.c - rules and traces for bench-classifier: generate KIND COUNT SEED RULES TRACE.
 *
 * Kinds after ClassBench's seeds (Taylor and Turner, INFOCOM 2005), by their proportions: `acl` hosts
 * on both sides, `fw` a wildcard on one side of more than half, `ipc` mixed; `acl6` is acl in IPv6;
 * `container` few services of few hosts. Worst cases: `wildcard` everything matches any address,
 * `nested` ranges within ranges, `remote` half of the rules name no remote address. Packets are
 * points of rules chosen evenly, in random order; the first match is left to bench-classifier.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PACKETS 32768
#define RULES_MAX 10000000

struct rule {
	uint64_t address[2]; /* source, target: the varying bits */
	unsigned length[2];  /* of those 32 bits, 0 = any */
	unsigned ports[2][2];
	unsigned protocol; /* 0 = any */
};

static uint64_t state;

static uint32_t next(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * 0x2545f4914f6cdd1dULL) >> 32);
}

static uint32_t below(uint32_t n)
{
	return (uint32_t)((uint64_t)next() * n >> 32);
}

/* Addresses cluster: a few networks hold most of them. */
static uint32_t address(uint32_t networks, uint32_t salt)
{
	uint32_t network = below(1 + below(networks));

	return (network * 2654435761u + salt) << 12 | below(4096);
}

static void range(unsigned ports[2], unsigned any, unsigned wide)
{
	static const unsigned known[] = {22, 25, 53, 80, 110, 123, 143, 443, 445, 993, 1433, 1521, 3306, 5432, 6379, 8080, 9090};

	ports[0] = 0;
	ports[1] = 65535;
	if (below(100) < any)
		return;
	if (below(100) < wide) {
		ports[0] = below(2) ? 1024 : below(60000);
		ports[1] = ports[0] == 1024 ? 65535 : ports[0] + below(5000);
	} else {
		ports[0] = ports[1] = below(3) ? known[below(17)] : below(65536);
	}
}

static void side(struct rule *rule, int which, unsigned any, unsigned host, uint32_t networks)
{
	rule->length[which] = below(100) < any ? 0 : below(100) < host ? 32 : 16 + below(16);
	rule->address[which] = address(networks, which ? 0x51 : 0xa3);
}

static void make(struct rule *rule, const char *kind, uint32_t count, uint32_t i)
{
	uint32_t networks = 4 + count / 40;

	rule->protocol = below(100) < 75 ? 6 : 17;
	range(rule->ports[0], 100, 0);
	range(rule->ports[1], 10, 10);
	if (!strncmp(kind, "acl", 3)) {
		side(rule, 0, 1, 70, networks);
		side(rule, 1, 1, 60, networks);
	} else if (!strcmp(kind, "fw")) {
		uint32_t shape = below(100);

		side(rule, 0, shape < 42 ? 100 : 0, 30, networks);
		side(rule, 1, shape >= 41 && shape < 60 ? 100 : 0, 40, networks);
		range(rule->ports[0], 70, 30);
		range(rule->ports[1], 25, 20);
	} else if (!strcmp(kind, "ipc")) {
		uint32_t shape = below(100);

		side(rule, 0, shape < 8 ? 100 : 0, 60, networks);
		side(rule, 1, shape >= 8 && shape < 14 ? 100 : 0, 60, networks);
		range(rule->ports[0], 60, 10);
		if (below(3) == 0) {
			rule->protocol = 0;
			range(rule->ports[0], 100, 0);
			range(rule->ports[1], 100, 0);
		}
	} else if (!strcmp(kind, "container")) {
		side(rule, 0, 25, 30, 12);
		side(rule, 1, 70, 100, 1);
		range(rule->ports[1], 5, 10);
	} else if (!strcmp(kind, "wildcard")) {
		side(rule, 0, 100, 0, 1);
		side(rule, 1, 100, 0, 1);
		range(rule->ports[0], 20, 100);
		range(rule->ports[1], 20, 100);
	} else if (!strcmp(kind, "nested")) {
		rule->length[0] = 32 - i % 33;
		rule->length[1] = below(33);
		rule->address[0] = rule->address[1] = 0x0a0b0c0d;
		for (int p = 0; p < 2; p++) {
			rule->ports[p][0] = below(32768);
			rule->ports[p][1] = 65535 - below(32768);
		}
	} else if (!strcmp(kind, "remote")) {
		side(rule, 0, 50, 50, networks);
		side(rule, 1, 0, 80, networks);
	} else {
		fprintf(stderr, "generate: no kind '%s'\n", kind);
		exit(2);
	}
}

static void print_address(FILE *out, uint32_t bits, int v6)
{
	if (v6)
		fprintf(out, "fd00:%x:%x::%x", bits >> 16 & 15, bits >> 20, bits & 0xffff);
	else
		fprintf(out, "%u.%u.%u.%u", bits >> 24, bits >> 16 & 255, bits >> 8 & 255, bits & 255);
}

/* The 32 bits of an IPv6 address that vary are its third nibble group and its last. */
static unsigned length_of(unsigned length, int v6)
{
	if (!v6 || !length)
		return length;
	return length <= 16 ? 48 : 96 + length;
}

static uint32_t masked(uint32_t bits, unsigned length)
{
	return length ? bits & ~0u << (32 - length) : 0;
}

static void print_rule(FILE *out, const struct rule *rule, int v6)
{
	for (int a = 0; a < 2; a++) {
		fprintf(out, a ? "\t" : "@");
		if (v6 && !rule->length[a])
			fprintf(out, "::");
		else
			print_address(out, masked((uint32_t)rule->address[a], v6 && rule->length[a] < 16 ? 16 : rule->length[a]), v6);
		fprintf(out, "/%u", length_of(rule->length[a], v6));
	}
	fprintf(out, "\t%u : %u\t%u : %u\t0x%02x/0x%s\t0x0000/0x0000\n", rule->ports[0][0], rule->ports[0][1],
	        rule->ports[1][0], rule->ports[1][1], rule->protocol, rule->protocol ? "FF" : "00");
}

static void print_packet(FILE *out, const struct rule *rule, int v6)
{
	for (int a = 0; a < 2; a++) {
		unsigned length = v6 && rule->length[a] && rule->length[a] < 16 ? 16 : rule->length[a];
		uint32_t host = length == 32 ? 0 : next() >> length;

		print_address(out, masked((uint32_t)rule->address[a], length) | host, v6);
		fputc(' ', out);
	}
	for (int p = 0; p < 2; p++)
		fprintf(out, "%u ", rule->ports[p][0] + below(rule->ports[p][1] - rule->ports[p][0] + 1));
	fprintf(out, "%u\n", rule->protocol ? rule->protocol : 6 + 11 * below(2));
}

int main(int argc, char **argv)
{
	char *end = NULL;
	long asked = argc == 6 ? strtol(argv[2], &end, 10) : 0;
	uint32_t count = asked > 0 && asked <= RULES_MAX && !*end ? (uint32_t)asked : 0;
	struct rule *rules = calloc(count ? count : 1, sizeof(*rules));
	int v6 = argc == 6 && strlen(argv[1]) && argv[1][strlen(argv[1]) - 1] == '6';
	FILE *out, *trace;

	if (!count) {
		fprintf(stderr, "usage: generate acl|fw|ipc|acl6|container|wildcard|nested|remote COUNT SEED RULES TRACE\n"
		                "COUNT is 1 to %d, RULES and TRACE are files to write\n", RULES_MAX);
		return 2;
	}
	if (!strcmp(argv[4], argv[5])) {
		fprintf(stderr, "generate: rules and trace cannot both be '%s'\n", argv[4]);
		return 2;
	}
	state = strtoull(argv[3], NULL, 10) * 0x9e3779b97f4a7c15ULL + 1;
	out = fopen(argv[4], "w");
	trace = fopen(argv[5], "w");
	if (!out || !trace) {
		perror("generate");
		return 2;
	}
	for (uint32_t i = 0; i < count; i++) {
		make(&rules[i], argv[1], count, i);
		print_rule(out, &rules[i], v6);
	}
	for (uint32_t i = 0; i < PACKETS; i++)
		print_packet(trace, &rules[below(count)], v6);
	free(rules);
	return fclose(out) || fclose(trace);
}

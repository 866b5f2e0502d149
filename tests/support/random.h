/*
 * random.h - seeded random numbers, rules and keys for property tests: the same seed, the same test.
 */
#ifndef BH_TESTS_RANDOM_H
#define BH_TESTS_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "../../engine/filter/notation.h"
#include "../../engine/filter/ruleset.h"

static uint64_t random_state = 1;

/* xorshift64* (Marsaglia, Vigna). */
static inline uint32_t random_next(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * 0x2545f4914f6cdd1dULL) >> 32);
}

static inline uint32_t random_below(uint32_t n)
{
	return (uint32_t)(((uint64_t)random_next() * n) >> 32);
}

/* A few hosts and subnets, so that rules and packets meet. */
static inline void random_address(char *text, bool v6, bool prefix)
{
	if (v6) {
		uint32_t length = 112 + random_below(17);
		uint32_t host = random_below(8) * 0x1000 + random_below(6);

		if (prefix)
			host &= 0xffffu << (128 - length) & 0xffff;
		sprintf(text, prefix ? "fd00::%x/%u" : "fd00::%x", host, length);
	} else {
		uint32_t length = 16 + random_below(17);
		uint32_t host = 0x0a000000 | random_below(4) << 16 | random_below(4) << 8 | random_below(6);

		if (prefix)
			host &= (uint32_t)(0xffffffffULL << (32 - length));
		sprintf(text, prefix ? "%u.%u.%u.%u/%u" : "%u.%u.%u.%u", host >> 24, host >> 16 & 255,
		        host >> 8 & 255, host & 255, length);
	}
}

static inline void random_address_list(char *text, bool v6, bool words)
{
	static const char *const all[] = {"LocalSubnet", "DefaultGateway", "DNS", "DHCP"};
	uint32_t n = 1 + (random_below(4) ? 0 : random_below(5));

	*text = '\0';
	for (uint32_t i = 0; i < n; i++) {
		char one[80];

		if (words && !random_below(8))
			strcpy(one, all[random_below(4)]);
		else
			random_address(one, v6, random_below(2));
		sprintf(text + strlen(text), "%s%s%s", i ? "," : "", random_below(5) ? "" : "!", one);
	}
}

static inline void random_port_list(char *text)
{
	uint32_t n = 1 + (random_below(4) ? 0 : random_below(4));

	*text = '\0';
	for (uint32_t i = 0; i < n; i++) {
		uint32_t first = random_below(12) * 10, last = first + random_below(3) * 15;

		sprintf(text + strlen(text), first == last ? "%s%u" : "%s%u-%u", i ? "," : "", first, last);
	}
}

/* A rule that passes bh_rule_check(). */
static inline void random_rule(struct bh_rule *rule, uint32_t id)
{
	static const char *const protocols[] = {"tcp", "udp", "icmp", "icmp6", "47", "sctp", "igmp"};

	for (;;) {
		char text[600];
		bool v6 = !random_below(3), audit;
		uint32_t kind = random_below(8);

		bh_rule_clear(rule);
		audit = !random_below(6);
		bh_rule_init(rule, random_below(2) ? BH_BLOCK : BH_ALLOW, random_below(2) ? BH_OUT : BH_IN);
		rule->id = id;
		if (rule->action == BH_BLOCK)
			rule->audit = audit;
		sprintf(text, "%u", 998 + random_below(5));
		bh_rule_set(rule, "priority", text, NULL);
		if (kind < 7)
			bh_rule_set(rule, "protocol", protocols[kind], NULL);
		if (random_below(2)) {
			random_address_list(text, v6, true);
			bh_rule_set(rule, "remote", text, NULL);
		}
		if (!random_below(3)) {
			random_address_list(text, v6, false);
			bh_rule_set(rule, "local", text, NULL);
		}
		if (kind == 0 || kind == 1 || kind == 5 || kind == 7) {
			if (random_below(2)) {
				random_port_list(text);
				bh_rule_set(rule, "local_port", text, NULL);
			}
			if (!random_below(3)) {
				random_port_list(text);
				bh_rule_set(rule, "remote_port", text, NULL);
			}
		} else if ((kind == 2 || kind == 3) && random_below(2)) {
			sprintf(text, random_below(2) ? "%u" : "%u:%u", random_below(16), random_below(3));
			bh_rule_set(rule, "icmp", text, NULL);
		}
		if (!bh_rule_check(rule, NULL))
			return;
	}
}

static inline void random_words(struct bh_words *words)
{
	memset(words, 0, sizeof(*words));
	for (int w = 0; w < BH_WORDS; w++)
		for (int i = 0; i < 2; i++) {
			char text[80];

			random_address(text, i, w == BH_WORD_LOCAL_SUBNET);
			bh_range_parse(&words->ranges[w][words->count[w]++], text, NULL);
		}
}

/* A packet in the rules' little world. */
static inline void random_notation(struct bh_notation *packet)
{
	static const uint8_t protocols[] = {6, 6, 17, 17, 1, 58, 47, 132, 2, 50};
	bool v6 = !random_below(3);
	char text[80];

	memset(packet, 0, sizeof(*packet));
	packet->direction = (uint8_t)random_below(2);
	packet->protocol = protocols[random_below(10)];
	if (packet->protocol == 1 || packet->protocol == 58)
		packet->protocol = v6 ? 58 : 1;
	random_address(text, v6, false);
	bh_address_parse(&packet->source, text, NULL);
	random_address(text, v6, false);
	bh_address_parse(&packet->target, text, NULL);
	packet->source_port = (uint16_t)random_below(140);
	packet->target_port = (uint16_t)random_below(140);
	packet->icmp_type = (uint8_t)(v6 ? (random_below(2) ? 128 + random_below(2) : random_below(16))
	                                 : random_below(20));
	packet->icmp_code = (uint8_t)random_below(3);
	packet->tcp_flags = (uint8_t)(random_below(2) ? BH_TCP_SYN : random_below(32));
}

static inline void key_of(struct bh_key *key, const struct bh_notation *packet)
{
	bool out = packet->direction == BH_OUT;

	memset(key, 0, sizeof(*key));
	key->direction = packet->direction;
	key->protocol = packet->protocol;
	key->v6 = !bh_address_is_v4(&packet->source);
	key->local = out ? packet->source : packet->target;
	key->remote = out ? packet->target : packet->source;
	if (bh_has_ports(key->protocol)) {
		key->local_port = out ? packet->source_port : packet->target_port;
		key->remote_port = out ? packet->target_port : packet->source_port;
	} else if (bh_is_icmp(key)) {
		key->local_port = (uint16_t)(packet->icmp_type << 8 | packet->icmp_code);
	}
}

#endif

/*
 * rule.c - see rule.h. A field is a row of `fields`: its name, how it is set, how it is printed.
 */
#include "rule.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"
#include "numbers.h"

static const char *const words[BH_WORDS] = {"LocalSubnet", "DefaultGateway", "DNS", "DHCP"};

const char *const bh_rule_fields[] = {
	"protocol", "local", "local_port", "remote", "remote_port", "icmp", "priority", "name",
	"log", "audit", NULL,
};

const char *bh_rule_word(enum bh_word word)
{
	return words[word];
}

void bh_rule_init(struct bh_rule *rule, enum bh_action action, enum bh_direction direction)
{
	memset(rule, 0, sizeof(*rule));
	rule->action = (uint8_t)action;
	rule->direction = (uint8_t)direction;
	rule->protocol = -1;
	rule->priority = BH_PRIORITY_DEFAULT;
}

static void address_set_clear(struct bh_address_set *set)
{
	free(set->text);
	free(set->include);
	free(set->exclude);
	memset(set, 0, sizeof(*set));
}

static void number_set_clear(struct bh_number_set *set)
{
	free(set->text);
	free(set->ranges);
	memset(set, 0, sizeof(*set));
}

void bh_rule_clear(struct bh_rule *rule)
{
	address_set_clear(&rule->local);
	address_set_clear(&rule->remote);
	number_set_clear(&rule->local_port);
	number_set_clear(&rule->remote_port);
	number_set_clear(&rule->icmp);
	free(rule->name);
	free(rule->origin);
	bh_rule_init(rule, BH_ALLOW, BH_IN);
}

/* How many elements a comma-separated list has. */
static size_t list_length(const char *text)
{
	size_t n = 1;

	for (; *text; text++)
		n += *text == ',';
	return n;
}

/* The next element, trimmed of spaces, cut out of `*text` in place; NULL at the end. */
static char *list_next(char **text)
{
	char *start = *text, *end, *comma;

	if (!start)
		return NULL;
	comma = strchr(start, ',');
	if (comma)
		*comma = '\0';
	*text = comma ? comma + 1 : NULL;
	while (*start == ' ')
		start++;
	end = start + strlen(start);
	while (end > start && end[-1] == ' ')
		*--end = '\0';
	return start;
}

static int address_element(struct bh_address_set *set, const char *field, char *text,
                           struct bh_error *err)
{
	bool excluded = *text == '!';
	struct bh_range range;
	int rc;

	if (excluded)
		text++;
	for (int w = 0; w < BH_WORDS; w++) {
		if (strcmp(text, words[w]))
			continue;
		if (strcmp(field, "remote"))
			return bh_error_set(err, -EINVAL, "'%s' belongs to remote, not to %s", words[w], field);
		*(excluded ? &set->exclude_words : &set->include_words) |= (uint8_t)(1 << w);
		return 0;
	}
	rc = bh_range_parse(&range, text, err);
	if (rc)
		return bh_error_prefix(err, "%s", field);
	if (excluded)
		set->exclude[set->exclude_count++] = range;
	else
		set->include[set->include_count++] = range;
	return 0;
}

/* A copy of a list to be cut up, the caller's to free, and how many elements it has. */
static int list_open(const char *field, const char *text, char **copy, size_t *count,
                     struct bh_error *err)
{
	*count = list_length(text);
	if (*count > BH_LIST_MAX)
		return bh_error_set(err, -E2BIG, "%s lists %zu elements; at most %d are possible", field, *count,
		                    BH_LIST_MAX);
	*copy = strdup(text);
	return *copy ? 0 : bh_error_set(err, -ENOMEM, "not enough memory for a rule");
}

static int set_addresses(struct bh_address_set *set, const char *field, const char *text,
                         struct bh_error *err)
{
	BH_AUTOFREE char *copy = NULL;
	struct bh_address_set parsed = {0};
	char *rest, *element;
	size_t count;
	int rc = list_open(field, text, &copy, &count, err);

	if (rc)
		return rc;
	parsed.text = strdup(text);
	parsed.include = calloc(count, sizeof(*parsed.include));
	parsed.exclude = calloc(count, sizeof(*parsed.exclude));
	if (!parsed.text || !parsed.include || !parsed.exclude)
		rc = bh_error_set(err, -ENOMEM, "not enough memory for a rule");
	rest = copy;
	while (!rc && (element = list_next(&rest)))
		rc = address_element(&parsed, field, element, err);
	if (rc) {
		address_set_clear(&parsed);
		return rc;
	}
	address_set_clear(set);
	*set = parsed;
	return 0;
}

static int set_numbers(struct bh_number_set *set, const char *field, const char *text,
                       struct bh_error *err)
{
	bool icmp = !strcmp(field, "icmp");
	BH_AUTOFREE char *copy = NULL;
	struct bh_number_set parsed = {0};
	char *rest, *element;
	size_t count;
	int rc = list_open(field, text, &copy, &count, err);

	if (rc)
		return rc;
	parsed.text = strdup(text);
	parsed.ranges = calloc(count, sizeof(*parsed.ranges));
	if (!parsed.text || !parsed.ranges)
		rc = bh_error_set(err, -ENOMEM, "not enough memory for a rule");
	rest = copy;
	while (!rc && (element = list_next(&rest))) {
		struct bh_number_range *range = &parsed.ranges[parsed.count];

		rc = icmp ? bh_icmp_range_parse(range, element, err)
		          : bh_port_range_parse(range, element, field, err);
		parsed.count++;
	}
	if (rc) {
		number_set_clear(&parsed);
		return rc;
	}
	number_set_clear(set);
	*set = parsed;
	return 0;
}

static int set_flag(bool *flag, const char *field, const char *text, struct bh_error *err)
{
	if (strcmp(text, "true") && strcmp(text, "false"))
		return bh_error_set(err, -EINVAL, "%s '%.40s' must be true or false", field, text);
	*flag = text[0] == 't';
	return 0;
}

static int set_name(char **name, const char *text, struct bh_error *err)
{
	char *copy;

	if (strlen(text) > BH_RULE_NAME_MAX)
		return bh_error_set(err, -EINVAL, "name is %zu bytes long; at most %d are possible",
		                    strlen(text), BH_RULE_NAME_MAX);
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < 32 || *p == 127)
			return bh_error_set(err, -EINVAL, "name has a control character; it must be printable text");
	copy = strdup(text);
	if (!copy)
		return bh_error_set(err, -ENOMEM, "not enough memory for a rule");
	free(*name);
	*name = copy;
	return 0;
}

static int unknown_field(const char *field, struct bh_error *err)
{
	char list[256] = "";

	for (const char *const *f = bh_rule_fields; *f; f++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", *list ? ", " : "", *f);
	return bh_error_set(err, -EINVAL, "rule has no field '%.40s' (it may have: %s)", field, list);
}

int bh_rule_set(struct bh_rule *rule, const char *field, const char *text, struct bh_error *err)
{
	unsigned number;
	int protocol;

	if (!strcmp(field, "local"))
		return set_addresses(&rule->local, field, text, err);
	if (!strcmp(field, "remote"))
		return set_addresses(&rule->remote, field, text, err);
	if (!strcmp(field, "local_port"))
		return set_numbers(&rule->local_port, field, text, err);
	if (!strcmp(field, "remote_port"))
		return set_numbers(&rule->remote_port, field, text, err);
	if (!strcmp(field, "icmp"))
		return set_numbers(&rule->icmp, field, text, err);
	if (!strcmp(field, "log"))
		return set_flag(&rule->log, field, text, err);
	if (!strcmp(field, "audit"))
		return set_flag(&rule->audit, field, text, err);
	if (!strcmp(field, "name"))
		return set_name(&rule->name, text, err);
	if (!strcmp(field, "protocol")) {
		protocol = bh_protocol_parse(text, err);
		if (protocol < 0)
			return protocol;
		rule->protocol = protocol;
		return 0;
	}
	if (!strcmp(field, "priority")) {
		if (bh_number_parse(text, 65535, &number))
			return bh_error_set(err, -EINVAL, "priority '%.40s' must be a number 0 to 65535", text);
		rule->priority = (uint16_t)number;
		return 0;
	}
	return unknown_field(field, err);
}

/* Bit 1: the set names IPv4 addresses, bit 2: IPv6 ones; 3 where it may be either. */
static unsigned set_families(const struct bh_address_set *set)
{
	unsigned families = 0;

	if (set->include_words || !set->include_count)
		return 3;
	for (size_t i = 0; i < set->include_count; i++)
		families |= bh_address_is_v4(&set->include[i].first) ? 1 : 2;
	return families;
}

int bh_rule_check(const struct bh_rule *rule, struct bh_error *err)
{
	char text[8];
	bool ports = rule->local_port.count || rule->remote_port.count;
	unsigned families = 3;

	if (rule->audit && rule->action == BH_ALLOW)
		return bh_error_set(err, -EINVAL, "audit belongs to block rules; an allow passes anyway");
	if (ports && rule->protocol >= 0 && !bh_has_ports((uint8_t)rule->protocol))
		return bh_error_set(err, -EINVAL, "protocol %s has no ports (tcp, udp, sctp, dccp and udplite do)",
		                    bh_protocol_format(rule->protocol, text));
	if (rule->icmp.count && rule->protocol != BH_PROTO_ICMP && rule->protocol != BH_PROTO_ICMP6)
		return bh_error_set(err, -EINVAL, "icmp goes with protocol icmp or icmp6, not with %s",
		                    rule->protocol < 0 ? "any" : bh_protocol_format(rule->protocol, text));
	if (rule->protocol == BH_PROTO_ICMP || rule->protocol == BH_PROTO_ICMP6)
		families = rule->protocol == BH_PROTO_ICMP ? 1 : 2;
	if (ports && rule->icmp.count)
		return bh_error_set(err, -EINVAL, "a rule has either ports or icmp types, not both");
	if (!(set_families(&rule->local) & families) || !(set_families(&rule->remote) & families))
		return bh_error_set(err, -EINVAL, "protocol %s has only %s addresses",
		                    bh_protocol_format(rule->protocol, text), families == 1 ? "IPv4" : "IPv6");
	if (!(set_families(&rule->local) & set_families(&rule->remote)))
		return bh_error_set(err, -EINVAL,
		                    "local %s and remote %s are of different families; no packet has both",
		                    rule->local.text, rule->remote.text);
	return 0;
}

const char *bh_rule_get(const struct bh_rule *rule, const char *field, char buffer[16])
{
	if (!strcmp(field, "protocol"))
		return rule->protocol < 0 ? NULL : bh_protocol_format(rule->protocol, buffer);
	if (!strcmp(field, "local"))
		return rule->local.text;
	if (!strcmp(field, "remote"))
		return rule->remote.text;
	if (!strcmp(field, "local_port"))
		return rule->local_port.text;
	if (!strcmp(field, "remote_port"))
		return rule->remote_port.text;
	if (!strcmp(field, "icmp"))
		return rule->icmp.text;
	if (!strcmp(field, "name"))
		return rule->name;
	if (!strcmp(field, "log"))
		return rule->log ? "true" : NULL;
	if (!strcmp(field, "audit"))
		return rule->audit ? "true" : NULL;
	if (!strcmp(field, "priority") && rule->priority != BH_PRIORITY_DEFAULT) {
		snprintf(buffer, 16, "%u", rule->priority);
		return buffer;
	}
	return NULL;
}

/* A range has one family: ::/0 is no IPv4 address, though those are mapped into it. */
static bool in_range(const struct bh_range *range, const struct bh_address *address)
{
	return bh_address_is_v4(&range->first) == bh_address_is_v4(address) &&
	       bh_range_contains(range, address);
}

static bool in_words(uint8_t mask, const struct bh_words *meaning, const struct bh_address *address)
{
	for (int w = 0; meaning && w < BH_WORDS; w++)
		for (size_t i = 0; mask & (1 << w) && i < meaning->count[w]; i++)
			if (in_range(&meaning->ranges[w][i], address))
				return true;
	return false;
}

static bool in_addresses(const struct bh_address_set *set, const struct bh_words *meaning,
                         const struct bh_address *address)
{
	bool any = !set->include_count && !set->include_words;
	bool in = any || in_words(set->include_words, meaning, address);

	for (size_t i = 0; !in && i < set->include_count; i++)
		in = in_range(&set->include[i], address);
	if (!in || in_words(set->exclude_words, meaning, address))
		return false;
	for (size_t i = 0; i < set->exclude_count; i++)
		if (in_range(&set->exclude[i], address))
			return false;
	return true;
}

static bool in_numbers(const struct bh_number_set *set, uint16_t number)
{
	if (!set->count)
		return true;
	for (size_t i = 0; i < set->count; i++)
		if (number >= set->ranges[i].first && number <= set->ranges[i].last)
			return true;
	return false;
}

bool bh_rule_matches(const struct bh_rule *rule, const struct bh_words *meaning,
                     const struct bh_key *key)
{
	if (rule->direction != key->direction)
		return false;
	if (rule->protocol >= 0 && rule->protocol != key->protocol)
		return false;
	if (rule->protocol == (key->v6 ? BH_PROTO_ICMP : BH_PROTO_ICMP6))
		return false; /* icmp is IPv4's, icmp6 is IPv6's */
	if ((rule->local_port.count || rule->remote_port.count) && !bh_has_ports(key->protocol))
		return false;
	if (rule->icmp.count && !in_numbers(&rule->icmp, key->local_port))
		return false;
	return in_numbers(&rule->local_port, key->local_port) &&
	       in_numbers(&rule->remote_port, key->remote_port) &&
	       in_addresses(&rule->local, meaning, &key->local) &&
	       in_addresses(&rule->remote, meaning, &key->remote);
}

bool bh_rule_precedes(const struct bh_rule *a, const struct bh_rule *b)
{
	if (a->priority != b->priority)
		return a->priority < b->priority;
	return a->action == BH_BLOCK && b->action == BH_ALLOW;
}

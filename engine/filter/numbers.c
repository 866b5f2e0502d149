/*
 * numbers.c - ports, ICMP types and protocols to and from text: the number fields of rule.h.
 */
#include "numbers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	int number;
} protocols[] = {
	/* IANA protocol numbers, the ones people write in rules. */
	{"icmp", 1}, {"igmp", 2}, {"ipip", 4}, {"tcp", 6}, {"udp", 17}, {"dccp", 33}, {"ipv6", 41},
	{"gre", 47}, {"esp", 50}, {"ah", 51}, {"icmp6", 58}, {"ospf", 89}, {"pim", 103}, {"vrrp", 112},
	{"l2tp", 115}, {"sctp", 132}, {"udplite", 136},
};

/* Decimal digits only, at most `max`; the end of the number or NULL. */
static const char *parse_number(const char *text, unsigned max, unsigned *number)
{
	unsigned n = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++) {
		n = n * 10 + (unsigned)(*p - '0');
		if (n > max)
			return NULL;
	}
	if (p == text)
		return NULL;
	*number = n;
	return p;
}

int bh_number_parse(const char *text, unsigned max, unsigned *number)
{
	const char *end = parse_number(text, max, number);

	return end && !*end ? 0 : -EINVAL;
}

int bh_protocol_parse(const char *text, struct bh_error *err)
{
	unsigned number;

	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		if (!strcmp(text, protocols[i].name))
			return protocols[i].number;
	if (!bh_number_parse(text, 255, &number))
		return (int)number;
	return bh_error_set(err, -EINVAL,
	                    "protocol '%.40s' is not known (tcp, udp, icmp, icmp6, igmp, sctp, … or a number 0 to 255)",
	                    text);
}

const char *bh_protocol_format(int protocol, char text[8])
{
	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		if (protocols[i].number == protocol)
			return protocols[i].name;
	snprintf(text, 8, "%d", protocol);
	return text;
}

int bh_port_range_parse(struct bh_number_range *range, const char *text, const char *field,
                        struct bh_error *err)
{
	unsigned first = 0, last;
	const char *p = parse_number(text, 65535, &first);

	last = first;
	if (p && *p == '-')
		p = parse_number(p + 1, 65535, &last);
	if (!p || *p)
		return bh_error_set(err, -EINVAL,
		                    "%s '%.40s' is not a port (a number 0 to 65535, or a range like 8000-8099)",
		                    field, text);
	if (last < first)
		return bh_error_set(err, -EINVAL, "%s '%s' is backwards; the lower port comes first", field,
		                    text);
	*range = (struct bh_number_range){(uint16_t)first, (uint16_t)last};
	return 0;
}

int bh_icmp_range_parse(struct bh_number_range *range, const char *text, struct bh_error *err)
{
	unsigned type, code = 256;
	const char *p = parse_number(text, 255, &type);

	if (p && *p == ':')
		p = parse_number(p + 1, 255, &code);
	if (!p || *p)
		return bh_error_set(err, -EINVAL,
		                    "icmp '%.40s' is not a type or type:code (each 0 to 255, like 8 or 3:4)", text);
	range->first = (uint16_t)(type << 8 | (code < 256 ? code : 0));
	range->last = (uint16_t)(type << 8 | (code < 256 ? code : 255));
	return 0;
}

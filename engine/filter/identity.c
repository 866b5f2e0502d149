/*
 * identity.c - see identity.h.
 */
#include "identity.h"

#include <errno.h>
#include <string.h>

#define V4 ((bh_value)BH_V4_MAPPED)
#define V4_LAST ((bh_value)(BH_V4_MAPPED | 0xffffffff))
#define ADDRESS(hi) ((bh_value)(hi) << 64)
#define ICMP(type) ((type) << 8), ((type) << 8 | 255)

struct limit {
	int field; /* -1 ends the list */
	bh_value first, last;
};

struct each {
	int (*f)(const struct bh_region *region, void *arg);
	void *arg;
};

/* A region with these limits; a field named twice has both spans. */
static int tell(const struct each *each, const struct limit *limits)
{
	struct bh_region region;
	bool seen[BH_REGION_FIELDS] = {false};
	int rc = bh_region_init(&region);

	for (; !rc && limits->field >= 0; limits++) {
		if (seen[limits->field])
			rc = bh_set_add(&region.sets[limits->field], limits->first, limits->last);
		else
			rc = bh_region_limit(&region, limits->field, limits->first, limits->last);
		bh_set_join(&region.sets[limits->field]);
		seen[limits->field] = true;
	}
	rc = rc ? rc : each->f(&region, each->arg);
	bh_region_clear(&region);
	return rc;
}

#define TELL(each, ...) tell(each, (const struct limit[]){__VA_ARGS__, {-1, 0, 0}})
#define IN {BH_REGION_DIRECTION, BH_IN, BH_IN}
#define OUT {BH_REGION_DIRECTION, BH_OUT, BH_OUT}
#define PROTOCOL(p) {BH_REGION_PROTOCOL, p, p}
#define BOTH_V4(field) {field, V4, V4_LAST}
#define BOTH_V6(field) {field, 0, V4 - 1}, {field, V4_LAST + 1, ~(bh_value)0}

static int tell_form(const struct each *each)
{
	int rc = TELL(each, BOTH_V4(BH_REGION_REMOTE), BOTH_V6(BH_REGION_LOCAL));

	rc = rc ? rc : TELL(each, BOTH_V6(BH_REGION_REMOTE), BOTH_V4(BH_REGION_LOCAL));
	rc = rc ? rc : TELL(each, PROTOCOL(BH_PROTO_ICMP), PROTOCOL(BH_REGION_ICMP6_FOREIGN),
	                    BOTH_V6(BH_REGION_REMOTE));
	rc = rc ? rc : TELL(each, PROTOCOL(BH_PROTO_ICMP6), PROTOCOL(BH_REGION_ICMP_FOREIGN),
	                    BOTH_V4(BH_REGION_REMOTE));
	/* Extension headers are walked over. */
	rc = rc ? rc : TELL(each, PROTOCOL(0), PROTOCOL(43), PROTOCOL(44), PROTOCOL(51), PROTOCOL(60),
	                    PROTOCOL(135), PROTOCOL(139), PROTOCOL(140), BOTH_V6(BH_REGION_REMOTE));
	/* Neighbour discovery has code 0 (RFC 4861); solicitations and advertisements need no rule. */
	for (bh_value type = 133; !rc && type <= 137; type++)
		rc = TELL(each, PROTOCOL(BH_PROTO_ICMP6), {BH_REGION_LOCAL_PORT, type << 8 | 1, type << 8 | 255});
	return rc ? rc : TELL(each, PROTOCOL(BH_PROTO_ICMP6), {BH_REGION_LOCAL_PORT, 135 << 8, 135 << 8 | 255},
	                      {BH_REGION_LOCAL_PORT, 136 << 8, 136 << 8 | 255});
}

static int tell_router(const struct each *each)
{
	int rc = TELL(each, OUT, PROTOCOL(BH_PROTO_ICMP), {BH_REGION_LOCAL_PORT, ICMP(5)},
	              {BH_REGION_LOCAL_PORT, ICMP(9)});

	return rc ? rc : TELL(each, OUT, PROTOCOL(BH_PROTO_ICMP6), {BH_REGION_LOCAL_PORT, ICMP(134)},
	                      {BH_REGION_LOCAL_PORT, ICMP(137)});
}

static int tell_dhcp(const struct each *each)
{
	int rc = TELL(each, OUT, PROTOCOL(BH_PROTO_UDP), {BH_REGION_LOCAL_PORT, 67, 67},
	              {BH_REGION_REMOTE_PORT, 68, 68});

	return rc ? rc : TELL(each, OUT, PROTOCOL(BH_PROTO_UDP), {BH_REGION_LOCAL_PORT, 547, 547},
	                      {BH_REGION_REMOTE_PORT, 546, 546});
}

/* What an unspecified source may not send: anything but DHCP, and MLD. */
static int tell_unspecified(const struct each *each)
{
	struct limit any4 = {BH_REGION_LOCAL, V4, V4}, any6 = {BH_REGION_LOCAL, 0, 0};
	int rc = TELL(each, OUT, any4, {BH_REGION_PROTOCOL, 0, 16}, {BH_REGION_PROTOCOL, 18, 257});

	rc = rc ? rc : TELL(each, OUT, any4, PROTOCOL(17), {BH_REGION_LOCAL_PORT, 0, 67},
	                    {BH_REGION_LOCAL_PORT, 69, 65535});
	rc = rc ? rc : TELL(each, OUT, any4, PROTOCOL(17), {BH_REGION_REMOTE_PORT, 0, 66},
	                    {BH_REGION_REMOTE_PORT, 68, 65535});
	rc = rc ? rc : TELL(each, OUT, any6, {BH_REGION_PROTOCOL, 0, 57}, {BH_REGION_PROTOCOL, 59, 257});
	return rc ? rc : TELL(each, OUT, any6, PROTOCOL(58), {BH_REGION_LOCAL_PORT, 0, 130 * 256 - 1},
	                      {BH_REGION_LOCAL_PORT, 133 * 256, 143 * 256 - 1},
	                      {BH_REGION_LOCAL_PORT, 144 * 256, 65535});
}

static int tell_own(const struct each *each, const struct bh_conf *conf)
{
	struct bh_region region;
	int rc = 0;

	for (int direction = BH_IN; !rc && direction <= BH_OUT; direction++) {
		struct bh_set own = {0};

		rc = bh_region_init(&region);
		rc = rc ? rc : bh_region_limit(&region, BH_REGION_DIRECTION, (bh_value)direction, (bh_value)direction);
		for (int i = 0; !rc && i < conf->addresses_count; i++) {
			bh_value address = bh_region_value(&conf->addresses[i]);
			bh_value broadcast = bh_region_value(&conf->broadcasts[i]);

			rc = bh_set_add(&own, address, address);
			if (!rc && direction == BH_IN)
				rc = bh_set_add(&own, broadcast, broadcast);
		}
		if (!rc && conf->link_local.hi)
			rc = bh_set_add(&own, bh_region_value(&conf->link_local), bh_region_value(&conf->link_local));
		if (direction == BH_IN) {
			rc = rc ? rc : bh_set_add(&own, V4 | 0xe0000000, V4 | 0xefffffff);
			rc = rc ? rc : bh_set_add(&own, V4_LAST, V4_LAST);
			rc = rc ? rc : bh_set_add(&own, ADDRESS(0xff00000000000000ULL), ~(bh_value)0);
		} else {
			rc = rc ? rc : bh_set_add(&own, 0, 0);
			rc = rc ? rc : bh_set_add(&own, V4, V4);
		}
		bh_set_join(&own);
		rc = rc ? rc : bh_set_subtract(&region.sets[BH_REGION_LOCAL], &own);
		rc = rc ? rc : each->f(&region, each->arg);
		bh_set_clear(&own);
		bh_region_clear(&region);
	}
	return rc ? rc : tell_unspecified(each);
}

bool bh_identity_has(const struct bh_conf *conf, enum bh_identity_part part)
{
	bool on = conf->flags & BH_CONF_ANTISPOOF;

	switch (part) {
	case BH_PART_ROUTER: return on && !(conf->flags & BH_CONF_ROUTER);
	case BH_PART_DHCP: return on && !(conf->flags & BH_CONF_DHCP_SERVER);
	case BH_PART_OWN: return on && conf->addresses_count;
	default: return true;
	}
}

int bh_identity_each(const struct bh_conf *conf, enum bh_identity_part part,
                     int (*f)(const struct bh_region *region, void *arg), void *arg)
{
	struct each each = {f, arg};

	switch (part) {
	case BH_PART_FORM: return tell_form(&each);
	case BH_PART_ROUTER: return tell_router(&each);
	case BH_PART_DHCP: return tell_dhcp(&each);
	default: return tell_own(&each, conf);
	}
}

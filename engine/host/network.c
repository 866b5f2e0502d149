/*
 * network.c - networks: their names, drivers, subnets, and what keywords mean in them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "name.h"

#define IPV6_MTU_MIN 1280 /* RFC 8200 */

const char *const bh_driver_names[BH_DRIVER_COUNT] = {
	[BH_DRIVER_NAT] = "nat", [BH_DRIVER_L2BRIDGE] = "l2bridge",
	[BH_DRIVER_TRANSPARENT] = "transparent", [BH_DRIVER_INTERNAL] = "internal",
	[BH_DRIVER_OVERLAY] = "overlay",
};

int bh_driver_parse(const char *name, enum bh_driver *driver, struct bh_error *err)
{
	for (int d = 0; d < BH_DRIVER_COUNT; d++)
		if (!strcmp(name, bh_driver_names[d])) {
			*driver = d;
			return 0;
		}
	return bh_error_set(err, -EINVAL,
	                    "driver '%.40s' is not known (nat, l2bridge, transparent, internal or overlay)", name);
}

/* Another network's subnet must not overlap; the error says which does. */
static int check_overlap(struct bh_host *host, const struct bh_prefix *prefix, struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *rows = NULL;
	char text[BH_ADDRESS_TEXT];
	int rc = bh_store_query(host->store, &rows, err,
	                        "SELECT s.prefix, n.name FROM subnets s JOIN networks n ON n.id = s.network", "");

	while (!rc && (rc = bh_statement_step(rows, err)) == 1) {
		struct bh_prefix other;

		rc = bh_prefix_parse(&other, bh_statement_text(rows, 0), false, err);
		if (!rc && bh_prefix_overlaps(prefix, &other))
			return bh_error_set(err, -EEXIST, "subnet %s overlaps %s of network '%s'",
			                    bh_prefix_format(prefix, text), bh_statement_text(rows, 0),
			                    bh_statement_text(rows, 1));
	}
	return rc;
}

/* An address usable by a host of the subnet: not the network's or its broadcast address. */
static bool is_host_address(const struct bh_prefix *prefix, const struct bh_address *address)
{
	struct bh_range range = bh_prefix_range(prefix);
	bool v4 = bh_address_is_v4(&prefix->address);

	if (!bh_range_contains(&range, address))
		return false;
	if (prefix->length >= (v4 ? 31 : 127))
		return true;
	return !bh_address_equal(address, &range.first) &&
	       !(v4 && bh_address_equal(address, &range.last));
}

static int check_subnet(const struct bh_prefix *prefix, struct bh_error *err)
{
	struct bh_range range = bh_prefix_range(prefix);
	char text[BH_ADDRESS_TEXT];
	bool v4 = bh_address_is_v4(&prefix->address);

	bh_prefix_format(prefix, text);
	if (prefix->length > (v4 ? 30 : 126))
		return bh_error_set(err, -EINVAL,
		                    "subnet %s has no room for a gateway and a container; /%d is the smallest", text,
		                    v4 ? 30 : 126);
	if (prefix->length < 8)
		return bh_error_set(err, -EINVAL, "subnet %s is too large; /8 is the largest", text);
	if (bh_address_is_multicast(&range.first) || bh_address_is_unspecified(&range.first) ||
	    bh_address_is_link_local6(&range.first) ||
	    (v4 && ((range.first.lo >> 24 & 0xff) == 127 || (range.first.lo >> 28 & 0xf) == 0xf ||
	            (range.first.lo >> 16 & 0xffff) == 0xa9fe)))
		return bh_error_set(err, -EINVAL, "subnet %s is not one for hosts (multicast, loopback or link-local)",
		                    text);
	return 0;
}

static int find_gateway(const struct bh_network_spec *spec, const struct bh_prefix *prefix,
                        struct bh_address *gateway, struct bh_error *err)
{
	bool found = false;

	for (size_t i = 0; i < spec->gateways_count; i++) {
		struct bh_address address;
		int rc = bh_address_parse(&address, spec->gateways[i], err);

		if (rc)
			return bh_error_prefix(err, "gateway");
		if (is_host_address(prefix, &address)) {
			*gateway = address;
			found = true;
		}
	}
	if (!found)
		*gateway = bh_address_next(bh_prefix_range(prefix).first);
	return 0;
}

static int add_subnet(struct bh_host *host, int64_t network, const struct bh_network_spec *spec,
                      const char *text, struct bh_error *err)
{
	char prefix_text[BH_ADDRESS_TEXT], gateway_text[BH_ADDRESS_TEXT];
	struct bh_address gateway;
	struct bh_prefix prefix;
	int rc;

	if (!strchr(text, '/'))
		return bh_error_set(err, -EINVAL, "subnet '%.80s' has no prefix length, like 10.1.0.0/24", text);
	rc = bh_prefix_parse(&prefix, text, false, err);
	if (rc)
		return bh_error_prefix(err, "subnet");
	rc = check_subnet(&prefix, err);
	rc = rc ? rc : check_overlap(host, &prefix, err);
	rc = rc ? rc : find_gateway(spec, &prefix, &gateway, err);
	if (rc)
		return rc;
	bh_address_format(&gateway, gateway_text);
	return bh_store_run(host->store, err, "INSERT INTO subnets VALUES (?, ?, ?, ?)", "isss", network,
	                    bh_prefix_format(&prefix, prefix_text), gateway_text, gateway_text);
}

/* Every gateway given must have found its subnet. */
static int check_gateways(struct bh_host *host, int64_t network, const struct bh_network_spec *spec,
                          struct bh_error *err)
{
	for (size_t i = 0; i < spec->gateways_count; i++) {
		char text[BH_ADDRESS_TEXT];
		struct bh_address address;

		if (bh_address_parse(&address, spec->gateways[i], err))
			return err->code;
		if (!bh_store_number(host->store, 0, "SELECT count(*) FROM subnets WHERE network = ? AND gateway = ?",
		                     "is", network, bh_address_format(&address, text)))
			return bh_error_set(err, -EINVAL, "gateway %s is no host address of the network's subnets", text);
	}
	return 0;
}

int bh_network_add(struct bh_host *host, const struct bh_network_spec *spec, struct bh_error *err)
{
	enum bh_driver driver = BH_DRIVER_NAT;
	int rc = bh_host_require_change(host, err);
	uint32_t mtu;
	int64_t id;

	rc = rc ? rc : bh_name_check("network name", spec->name, BH_NAME_MAX, err);
	rc = rc ? rc : bh_driver_parse(spec->driver, &driver, err);
	if (rc)
		return rc;
	if (driver == BH_DRIVER_L2BRIDGE || driver == BH_DRIVER_TRANSPARENT)
		return bh_error_set(err, -ENOTSUP, "driver '%s' is not built yet", spec->driver);
	if (spec->mtu && (spec->mtu < 68 || spec->mtu > 65535))
		return bh_error_set(err, -EINVAL, "mtu %u is not 68 to 65535", spec->mtu);
	mtu = spec->mtu ? spec->mtu : host->platform->ops->uplink_mtu(host->platform);
	for (size_t i = 0; i < spec->subnets_count; i++)
		if (mtu < IPV6_MTU_MIN && strchr(spec->subnets[i], ':'))
			return bh_error_set(err, -EINVAL, "subnet %.80s is of IPv6, which needs an MTU of at least %d, not %u",
			                    spec->subnets[i], IPV6_MTU_MIN, mtu);
	for (int d = 0; d < BH_DRIVER_COUNT; d++)
		if (!strcmp(spec->name, bh_driver_names[d]) && d != (int)driver)
			return bh_error_set(err, -EINVAL, "'%s' is a driver's name; a network of driver %s cannot have it",
			                    spec->name, spec->driver);
	if (bh_store_number(host->store, 0, "SELECT count(*) FROM networks WHERE name = ?", "s", spec->name))
		return bh_error_set(err, -EEXIST, "network '%s' exists already", spec->name);
	if (!spec->subnets_count)
		return bh_error_set(err, -EINVAL, "network '%s' needs a subnet, like 10.1.0.0/24", spec->name);
	rc = bh_store_run(host->store, err,
	                  "INSERT INTO networks(name, driver, mtu, dns, reach, status) VALUES (?, ?, ?, ?, ?, 'creating')",
	                  "ssiss", spec->name, spec->driver,
	                  (int64_t)mtu,
	                  spec->dns ? spec->dns : "", spec->reach ? spec->reach : "");
	id = bh_store_last_id(host->store);
	for (size_t i = 0; !rc && i < spec->subnets_count; i++)
		rc = add_subnet(host, id, spec, spec->subnets[i], err);
	return rc ? rc : check_gateways(host, id, spec, err);
}

bool bh_reach_names(const char *item, size_t length, const char *name)
{
	return (length == 1 && *item == '*') || (length == strlen(name) && memcmp(item, name, length) == 0);
}

int bh_network_check(struct bh_host *host, const char *name, struct bh_error *err)
{
	int64_t id = bh_store_number(host->store, 0, BH_NETWORK_ID, "s", name);
	struct bh_switch network;
	int rc;

	if (!id)
		return bh_error_set(err, -ENOENT, "there is no network '%.80s'", name);
	rc = bh_network_load(host, (uint32_t)id, &network, err);
	return rc || !host->platform->ops->switch_check ? rc : host->platform->ops->switch_check(host->platform, &network, err);
}

int bh_network_remove(struct bh_host *host, const char *name, struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *rows = NULL;
	int rc = bh_host_require_change(host, err);
	int64_t id;

	if (rc)
		return rc;
	id = bh_store_number(host->store, 0, BH_NETWORK_ID, "s", name);
	if (!id)
		return bh_error_set(err, -ENOENT, "there is no network '%.80s'", name);
	rc = bh_store_query(host->store, &rows, err,
	                    "SELECT container FROM endpoints WHERE network = ? AND status <> 'removing'", "i", id);
	if (!rc)
		rc = bh_statement_step(rows, err);
	if (rc == 1)
		return bh_error_set(err, -EBUSY, "network '%s' is used by container '%s'", name,
		                    bh_statement_text(rows, 0));
	if (rc)
		return rc;
	return bh_store_run(host->store, err, "UPDATE networks SET status = 'removing' WHERE id = ?", "i", id);
}

int bh_network_load(struct bh_host *host, uint32_t id, struct bh_switch *network,
                    struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *row = NULL, *subnets = NULL;
	struct bh_switch loaded = {.id = id};
	int rc = bh_store_query(host->store, &row, err, BH_NETWORK_ROW, "i", (int64_t)id);

	if (!rc)
		rc = bh_statement_step(row, err);
	if (rc == 0)
		return bh_error_set(err, -ENOENT, "there is no network %u", id);
	if (rc < 0)
		return rc;
	snprintf(loaded.name, sizeof(loaded.name), "%s", bh_statement_text(row, BH_NETWORK_NAME));
	loaded.mtu = (uint32_t)bh_statement_int(row, BH_NETWORK_MTU);
	rc = bh_driver_parse(bh_statement_text(row, BH_NETWORK_DRIVER), &loaded.driver, err);
	if (!rc)
		rc = bh_store_query(host->store, &subnets, err,
		                    "SELECT prefix, gateway, last FROM subnets WHERE network = ? ORDER BY rowid", "i",
		                    (int64_t)id);
	while (!rc && (rc = bh_statement_step(subnets, err)) == 1 &&
	       loaded.subnets_count < BH_SUBNETS_MAX) {
		struct bh_subnet *subnet = &loaded.subnets[loaded.subnets_count++];

		rc = bh_prefix_parse(&subnet->prefix, bh_statement_text(subnets, 0), false, err);
		if (!rc)
			rc = bh_address_parse(&subnet->gateway, bh_statement_text(subnets, 1), err);
		if (!rc)
			rc = bh_address_parse(&subnet->last, bh_statement_text(subnets, 2), err);
	}
	if (rc < 0)
		return bh_error_prefix(err, "the store: network '%s'", loaded.name);
	*network = loaded;
	return 0;
}

static void add_word(struct bh_words *words, enum bh_word word, struct bh_range range)
{
	if (words->count[word] < BH_WORD_MAX)
		words->ranges[word][words->count[word]++] = range;
}

int bh_network_words(struct bh_host *host, uint32_t id, struct bh_words *words,
                     struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *row = NULL;
	struct bh_prefix link_local;
	struct bh_switch network;
	char dns[1024], *rest = dns, *word;
	int rc = bh_network_load(host, id, &network, err);

	rc = rc ? rc : bh_store_query(host->store, &row, err, BH_NETWORK_ROW, "i", (int64_t)id);
	if (!rc && (rc = bh_statement_step(row, err)) == 1)
		rc = 0;
	if (rc)
		return rc;
	memset(words, 0, sizeof(*words));
	snprintf(dns, sizeof(dns), "%s", bh_statement_text(row, BH_NETWORK_DNS));
	for (size_t i = 0; i < network.subnets_count; i++) {
		struct bh_range gateway = {network.subnets[i].gateway, network.subnets[i].gateway};

		add_word(words, BH_WORD_LOCAL_SUBNET, bh_prefix_range(&network.subnets[i].prefix));
		add_word(words, BH_WORD_GATEWAY, gateway);
		add_word(words, BH_WORD_DHCP, gateway);
		if (!dns[0])
			add_word(words, BH_WORD_DNS, gateway);
	}
	if (!bh_prefix_parse(&link_local, "fe80::/64", false, NULL))
		add_word(words, BH_WORD_LOCAL_SUBNET, bh_prefix_range(&link_local));
	while (dns[0] && (word = strsep(&rest, ","))) {
		struct bh_range range;

		if (!bh_range_parse(&range, word, NULL))
			add_word(words, BH_WORD_DNS, range);
	}
	return 0;
}

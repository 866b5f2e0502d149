/*
 * lease.c - see lease.h. The next address is the one after the last given out, so that an address is
 * not reused at once, while others may still believe in its former owner.
 */
#include "lease.h"

#include <errno.h>
#include <string.h>

int bh_lease_store(struct bh_host *host, const struct bh_lease *lease, uint32_t endpoint,
                   struct bh_error *err)
{
	char text[BH_ADDRESS_TEXT];
	int rc = 0;

	for (size_t i = 0; !rc && i < lease->count; i++)
		rc = bh_store_run(host->store, err, "INSERT INTO addresses VALUES (?, ?, ?, ?)", "iisi",
		                  (int64_t)endpoint, (int64_t)lease->network->id,
		                  bh_address_format(&lease->addresses[i].address, text),
		                  (int64_t)lease->addresses[i].length);
	return rc;
}

static void add(struct bh_lease *lease, const struct bh_subnet *subnet, const struct bh_address *address)
{
	lease->addresses[lease->count++] = (struct bh_prefix){*address, subnet->prefix.length};
}

static bool is_reserved(const struct bh_subnet *subnet, const struct bh_address *address)
{
	struct bh_range range = bh_prefix_range(&subnet->prefix);

	return bh_address_equal(address, &range.first) || bh_address_equal(address, &subnet->gateway) ||
	       (bh_address_is_v4(address) && bh_address_equal(address, &range.last));
}

static bool is_taken(struct bh_host *host, const struct bh_lease *lease, const struct bh_address *address)
{
	char text[BH_ADDRESS_TEXT];

	for (size_t i = 0; i < lease->count; i++)
		if (bh_address_equal(&lease->addresses[i].address, address))
			return true;
	return bh_store_number(host->store, 0, "SELECT 1 FROM addresses WHERE network = ? AND address = ?", "is",
	                       (int64_t)lease->network->id, bh_address_format(address, text)) != 0;
}

static int refuse_taken(struct bh_host *host, const struct bh_lease *lease, const char *address,
                        struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *row = NULL;
	int rc = bh_store_query(host->store, &row, err,
	                        "SELECT e.container FROM addresses a JOIN endpoints e ON e.id = a.endpoint"
	                        " WHERE a.network = ? AND a.address = ?", "is", (int64_t)lease->network->id, address);

	if (!rc)
		rc = bh_statement_step(row, err);
	if (rc < 0)
		return rc;
	return bh_error_set(err, -EADDRINUSE, "address %s is in use by container '%s'", address,
	                    rc == 1 ? bh_statement_text(row, 0) : lease->container); /* asked for twice */
}

int bh_lease_static(struct bh_host *host, struct bh_lease *lease, const char *text, struct bh_error *err)
{
	const struct bh_switch *network = lease->network;
	char address_text[BH_ADDRESS_TEXT], subnet_text[BH_ADDRESS_TEXT];
	struct bh_prefix prefix;
	int rc = bh_prefix_parse(&prefix, text, true, err);

	if (rc)
		return bh_error_prefix(err, "address");
	bh_address_format(&prefix.address, address_text);
	for (size_t i = 0; i < network->subnets_count; i++) {
		const struct bh_subnet *subnet = &network->subnets[i];

		if (!bh_prefix_contains(&subnet->prefix, &prefix.address))
			continue;
		if (strchr(text, '/') && prefix.length != subnet->prefix.length)
			return bh_error_set(err, -EINVAL, "address %s has another prefix length than its subnet %s", text,
			                    bh_prefix_format(&subnet->prefix, subnet_text));
		if (is_reserved(subnet, &prefix.address))
			return bh_error_set(err, -EINVAL,
			                    "address %s is not for containers: it is the gateway's, the network's or the broadcast address of %s",
			                    address_text, bh_prefix_format(&subnet->prefix, subnet_text));
		if (is_taken(host, lease, &prefix.address))
			return refuse_taken(host, lease, address_text, err);
		add(lease, subnet, &prefix.address);
		return 0;
	}
	return bh_error_set(err, -EINVAL, "address %s is outside the subnets of network '%s'", address_text,
	                    network->name);
}

/* The next free address of one subnet: 1, or 0 if there is none. */
static int lease_next_in(struct bh_host *host, struct bh_lease *lease, const struct bh_subnet *subnet,
                         struct bh_error *err)
{
	struct bh_range range = bh_prefix_range(&subnet->prefix);
	char text[BH_ADDRESS_TEXT], prefix[BH_ADDRESS_TEXT];
	struct bh_address last = bh_range_contains(&range, &subnet->last) ? subnet->last : range.last, at = last;
	int rc;

	do {
		at = bh_address_equal(&at, &range.last) ? range.first : bh_address_next(at);
		if (is_reserved(subnet, &at) || is_taken(host, lease, &at))
			continue;
		add(lease, subnet, &at);
		rc = bh_store_run(host->store, err, "UPDATE subnets SET last = ? WHERE network = ? AND prefix = ?", "sis",
		                  bh_address_format(&at, text), (int64_t)lease->network->id,
		                  bh_prefix_format(&subnet->prefix, prefix));
		return rc ? rc : 1;
	} while (!bh_address_equal(&at, &last));
	return 0;
}

int bh_lease_next(struct bh_host *host, struct bh_lease *lease, struct bh_error *err)
{
	const struct bh_switch *network = lease->network;

	for (int family = 0; family < 2; family++) {
		bool wanted = false;
		int rc = 0;

		for (size_t i = 0; !rc && i < network->subnets_count; i++) {
			if (bh_address_is_v4(&network->subnets[i].prefix.address) != (family == 0))
				continue;
			wanted = true;
			rc = lease_next_in(host, lease, &network->subnets[i], err);
		}
		if (rc < 0)
			return rc;
		if (wanted && !rc)
			return bh_error_set(err, -EADDRNOTAVAIL, "network '%s' has no free IPv%d address left",
			                    network->name, family ? 6 : 4);
	}
	return 0;
}

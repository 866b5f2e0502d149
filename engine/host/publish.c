/*
 * publish.c - published ports: which host port is whose, and what the platform maps it to.
 *
 * A container's ports go to its first endpoint on a `nat` network, to that one's first address of
 * each family; when that endpoint goes they move to the next (realize.c). A port belongs to a container as long as its row is there, so one that goes keeps it
 * until its mappings are gone.
 */
#include "publish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"

#define LOOPBACK_V6 ((struct bh_address){0, 1})

/* How a port is named in a sentence: `8080/tcp`, `10.0.0.1:8080/tcp`. */
static const char *name_port(const struct bh_publish *port, char text[BH_ADDRESS_TEXT + 32])
{
	const char *address = port->address;

	if (!address)
		snprintf(text, BH_ADDRESS_TEXT + 32, "%u/%.8s", port->host, port->protocol);
	else
		snprintf(text, BH_ADDRESS_TEXT + 32, strchr(address, ':') ? "[%.80s]:%u/%.8s" : "%.80s:%u/%.8s",
		         address, port->host, port->protocol);
	return text;
}

/* 0/8 but for 0.0.0.0, which is any, and 240/4: 255.255.255.255 is everybody's. */
static bool is_nobodys4(const struct bh_address *address)
{
	uint8_t first = (uint8_t)(address->lo >> 24);

	return bh_address_is_v4(address) && (first >= 240 || (!first && !bh_address_is_unspecified(address)));
}

/* The address in its one right form, or NULL for all. */
static int check_address(const char *given, char text[BH_ADDRESS_TEXT], const char **address,
                         struct bh_error *err)
{
	struct bh_address loopback = LOOPBACK_V6, parsed;
	int rc;

	*address = NULL;
	if (!given)
		return 0;
	rc = bh_address_parse(&parsed, given, err);
	if (rc)
		return bh_error_prefix(err, "host address");
	*address = bh_address_format(&parsed, text);
	if (bh_address_equal(&parsed, &loopback))
		return bh_error_set(err, -EADDRNOTAVAIL,
		                    "a port cannot be published on ::1, which no translation leaves; 127.0.0.1 can");
	if (bh_address_is_multicast(&parsed) || bh_address_is_link_local6(&parsed))
		return bh_error_set(err, -EADDRNOTAVAIL,
		                    "a port cannot be published on %s: it is multicast or link-local", text);
	if (is_nobodys4(&parsed))
		return bh_error_set(err, -EADDRNOTAVAIL,
		                    "a port cannot be published on %s: it is no address of a host (0.0.0.0 is any)", text);
	return 0;
}

/* Whether what is sent to one may be meant for the other; NULL is every address. */
static bool addresses_overlap(const char *a, const char *b)
{
	bool v4;

	if (!a || !b || strcmp(a, b) == 0)
		return true;
	v4 = !strchr(a, ':');
	if (v4 != !strchr(b, ':'))
		return false;
	return strcmp(a, v4 ? "0.0.0.0" : "::") == 0 || strcmp(b, v4 ? "0.0.0.0" : "::") == 0;
}

static int refuse_taken(struct bh_host *host, const struct bh_publish *port, const char *container,
                        struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *row = NULL;
	char text[BH_ADDRESS_TEXT + 32];
	int rc = bh_store_query(host->store, &row, err, "SELECT name FROM containers WHERE id = ?", "s", container);

	if (!rc)
		rc = bh_statement_step(row, err);
	if (rc < 0)
		return rc;
	return bh_error_set(err, -EADDRINUSE, "host port %s is taken by container '%s'", name_port(port, text),
	                    rc == 1 ? bh_statement_text(row, 0) : container);
}

static int check_conflict(struct bh_host *host, const struct bh_publish *port, struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *rows = NULL;
	int rc = bh_store_query(host->store, &rows, err,
	                        "SELECT address, container FROM published WHERE host = ? AND protocol = ?", "is",
	                        (int64_t)port->host, port->protocol);

	while (!rc && (rc = bh_statement_step(rows, err)) == 1) {
		if (addresses_overlap(bh_statement_text(rows, 0), port->address))
			return refuse_taken(host, port, bh_statement_text(rows, 1), err);
		rc = 0;
	}
	return rc;
}

int bh_publish_claim(struct bh_host *host, const char *container, const struct bh_publish *published,
                     size_t count, struct bh_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < count; i++) {
		struct bh_publish port = published[i];
		char text[BH_ADDRESS_TEXT];

		if (strcmp(port.protocol, "tcp") && strcmp(port.protocol, "udp") && strcmp(port.protocol, "sctp"))
			return bh_error_set(err, -EINVAL, "protocol '%.40s' cannot be published (tcp, udp or sctp)",
			                    port.protocol);
		rc = check_address(published[i].address, text, &port.address, err);
		rc = rc ? rc : check_conflict(host, &port, err);
		rc = rc ? rc : bh_store_run(host->store, err, "INSERT INTO published VALUES (?, ?, ?, ?, ?, ?)",
		                            "sisiis", container, (int64_t)i + 1, port.address, (int64_t)port.host,
		                            (int64_t)port.container, port.protocol);
	}
	return rc;
}

/* The first address of a family, or NULL. */
static const struct bh_address *address_of(const struct bh_nic *nic, bool v4)
{
	for (size_t i = 0; i < nic->addresses_count; i++)
		if (bh_address_is_v4(&nic->addresses[i].address) == v4)
			return &nic->addresses[i].address;
	return NULL;
}

static int append(struct bh_mapping **list, size_t *count, const struct bh_mapping *mapping,
                  struct bh_error *err)
{
	struct bh_mapping *more;

	if (!(*count & (*count - 1))) { /* 0 and the powers of two: full */
		more = realloc(*list, (*count ? *count * 2 : 1) * sizeof(**list));
		if (!more)
			return bh_error_set(err, -ENOMEM, "not enough memory for published ports");
		*list = more;
	}
	(*list)[(*count)++] = *mapping;
	return 0;
}

/* The mappings of one published port: of each family, if it names no address. One that the endpoint has
 * no address for is an error only if `strict`. */
static int append_port(const struct bh_nic *nic, struct bh_statement *row, bool strict,
                       struct bh_mapping **list, size_t *count, struct bh_error *err)
{
	const char *text = bh_statement_text(row, 0);
	struct bh_mapping mapping = {
		.network = nic->network,
		.protocol = (uint8_t)bh_protocol_parse(bh_statement_text(row, 3), NULL),
		.port = (uint16_t)bh_statement_int(row, 1),
		.target_port = (uint16_t)bh_statement_int(row, 2),
	};
	int rc = text ? bh_address_parse(&mapping.address, text, err) : 0;

	for (int v4 = 1; !rc && v4 >= 0; v4--) {
		const struct bh_address *target = address_of(nic, v4);

		if (text && bh_address_is_v4(&mapping.address) != v4)
			continue;
		if (!target && text && strict)
			return bh_error_set(err, -EADDRNOTAVAIL,
			                    "host port %u of %s cannot be published: the container has no IPv%d address",
			                    mapping.port, text, v4 ? 4 : 6);
		if (!target)
			continue;
		if (!text)
			mapping.address = v4 ? bh_address_v4(0) : (struct bh_address){0, 0};
		mapping.target = *target;
		rc = append(list, count, &mapping, err);
	}
	return rc;
}

/* Whether it is the first endpoint of its container on a `nat` network. */
static bool is_first(struct bh_host *host, const struct bh_endpoint_row *row)
{
	return !row->nic.metric || /* even of its compartment */
	       !bh_store_number(host->store, 1,
	                        "SELECT EXISTS(SELECT 1 FROM endpoints o JOIN networks n ON n.id = o.network"
	                        " WHERE o.container = ? AND o.id < ? AND n.driver = 'nat')", "si", row->container,
	                        (int64_t)row->nic.endpoint);
}

static int collect(struct bh_host *host, const struct bh_endpoint_row *row, bool strict,
                   struct bh_mapping **list, size_t *count, struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *rows = NULL;
	bool first = false;
	int rc;

	if (row->driver != BH_DRIVER_NAT)
		return 0;
	rc = bh_store_query(host->store, &rows, err,
	                    "SELECT address, host, port, protocol FROM published WHERE container = ? ORDER BY n", "s",
	                    row->container);
	while (!rc && (rc = bh_statement_step(rows, err)) == 1) {
		if (!first && !is_first(host, row))
			return 0;
		first = true;
		rc = append_port(&row->nic, rows, strict, list, count, err);
	}
	return rc;
}

int bh_publish_collect(struct bh_host *host, const struct bh_endpoint_row *row, struct bh_mapping **list,
                       size_t *count, struct bh_error *err)
{
	return collect(host, row, false, list, count, err);
}

/* Refuses the network if there are ports that could not be mapped on it, nor are on another. */
static int check_network(struct bh_host *host, const struct bh_endpoint_row *endpoint, struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *row = NULL;
	int rc;

	if (endpoint->driver == BH_DRIVER_NAT)
		return 0;
	rc = bh_store_query(host->store, &row, err,
	                    "SELECT c.name, n.name, n.driver FROM containers c JOIN networks n ON n.id = ?2"
	                    " WHERE c.id = ?1 AND EXISTS (SELECT 1 FROM published p WHERE p.container = ?1)"
	                    " AND NOT EXISTS (SELECT 1 FROM endpoints o JOIN networks m ON m.id = o.network"
	                    "  WHERE o.container = ?1 AND m.driver = 'nat')", "si", endpoint->container,
	                    (int64_t)endpoint->nic.network);
	if (!rc)
		rc = bh_statement_step(row, err);
	if (rc != 1)
		return rc;
	return bh_error_set(err, -EINVAL,
	                    "container '%s' cannot publish ports on network '%s': its driver is %s, not nat",
	                    bh_statement_text(row, 0), bh_statement_text(row, 1), bh_statement_text(row, 2));
}

int bh_publish_check(struct bh_host *host, const struct bh_endpoint_row *row, struct bh_error *err)
{
	BH_AUTOFREE struct bh_mapping *list = NULL;
	size_t count = 0;
	int rc = check_network(host, row, err);

	rc = rc ? rc : collect(host, row, true, &list, &count, err);
	for (size_t i = 0; !rc && i < count; i++)
		rc = host->platform->ops->publish_check(host->platform, &list[i], err);
	return rc;
}

int bh_publish_make(struct bh_host *host, const struct bh_endpoint_row *row, struct bh_error *err)
{
	BH_AUTOFREE struct bh_mapping *list = NULL;
	size_t count = 0;
	int rc = collect(host, row, false, &list, &count, err);

	return rc || !count ? rc : host->platform->ops->publish_add(host->platform, list, count, err);
}

int bh_publish_unmake(struct bh_host *host, const struct bh_endpoint_row *row, struct bh_error *err)
{
	BH_AUTOFREE struct bh_mapping *list = NULL;
	size_t count = 0;
	int rc = collect(host, row, false, &list, &count, err);

	return rc || !count ? rc : host->platform->ops->publish_remove(host->platform, list, count, err);
}

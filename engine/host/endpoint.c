/*
 * endpoint.c - endpoints: rows, and what the platform and the gate need to know made from them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "internal.h"
#include "lease.h"
#include "publish.h"

/* Whether one comes before the other: IPv4's first, then as they are written. */
static bool precedes(const struct bh_address *a, const struct bh_address *b)
{
	char text[2][BH_ADDRESS_TEXT];
	bool v4 = bh_address_is_v4(a);

	if (v4 != bh_address_is_v4(b))
		return v4;
	return strcmp(bh_address_format(a, text[0]), bh_address_format(b, text[1])) < 0;
}

static void sort(struct bh_prefix *addresses, size_t count)
{
	for (size_t i = 1; i < count; i++)
		for (size_t j = i; j > 0 && precedes(&addresses[j].address, &addresses[j - 1].address); j--) {
			struct bh_prefix other = addresses[j];

			addresses[j] = addresses[j - 1];
			addresses[j - 1] = other;
		}
}

int bh_endpoint_addresses(struct bh_host *host, uint32_t endpoint, struct bh_prefix addresses[BH_ADDRESSES_MAX],
                          size_t *count, struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *rows = NULL;
	int rc = bh_store_query(host->store, &rows, err, "SELECT address, length FROM addresses WHERE endpoint = ?",
	                        "i", (int64_t)endpoint);
	size_t n = 0;

	while (!rc && n < BH_ADDRESSES_MAX && (rc = bh_statement_step(rows, err)) == 1) {
		rc = bh_address_parse(&addresses[n].address, bh_statement_text(rows, 0), err);
		addresses[n++].length = (uint8_t)bh_statement_int(rows, 1);
	}
	if (rc < 0)
		return bh_error_prefix(err, "the store: endpoint %u", endpoint);
	sort(addresses, n);
	*count = n;
	return 0;
}

static bool has_mac(struct bh_host *host, int64_t network, const char *mac)
{
	return bh_store_number(host->store, 0, "SELECT EXISTS(SELECT 1 FROM endpoints WHERE network = ? AND mac = ?)",
	                       "is", network, mac) != 0;
}

static int check_mac(struct bh_host *host, const char *wish, int64_t network, char text[BH_ADDRESS_TEXT],
                     struct bh_error *err)
{
	uint8_t mac[6];
	int rc = bh_mac_parse(mac, wish, err);

	if (rc)
		return rc;
	if (mac[0] & 1)
		return bh_error_set(err, -EINVAL, "MAC address %s is a multicast one", wish);
	bh_mac_format(mac, text);
	if (has_mac(host, network, text))
		return bh_error_set(err, -EADDRINUSE, "MAC address %s is in use on the network", text);
	return 0;
}

/* The MAC address of an endpoint that asked for none, made from its first address. */
static int make_mac(struct bh_host *host, int64_t network, const struct bh_prefix *first,
                    char text[BH_ADDRESS_TEXT], struct bh_error *err)
{
	uint8_t mac[6] = {0x02}; /* locally administered, unicast */

	if (first)
		bh_address_mac(&first->address, mac);
	bh_mac_format(mac, text);
	while (!first || has_mac(host, network, text)) {
		if (getrandom(mac + 1, 5, 0) != 5)
			return bh_error_errno(err, -errno, "cannot make a MAC address");
		bh_mac_format(mac, text);
		first = first ? first : &(struct bh_prefix){0};
	}
	return 0;
}

static int check_kind(const char *kind, bool hyperv, const char *container, struct bh_error *err)
{
	if (!kind)
		return 0;
	if (strcmp(kind, "vNIC") && strcmp(kind, "vmNIC"))
		return bh_error_set(err, -EINVAL, "NIC kind '%.40s' is not known (vNIC or vmNIC)", kind);
	if (!strcmp(kind, "vmNIC") != hyperv)
		return bh_error_set(err, -EINVAL, "container '%s' is of type %s and attaches by a %s, not by a %s",
		                    container, hyperv ? "hyperv" : "process", hyperv ? "vmNIC" : "vNIC", kind);
	return 0;
}

static int check_interface(const char *name, struct bh_error *err)
{
	/* The kernel's own words, in a directory of settings or for every interface. */
	static const char *const reserved[] = {".", "..", "lo", "all", "default"};
	size_t length = strlen(name);
	bool bad = length >= BH_IFNAME_SIZE;

	for (size_t i = 0; i < length; i++)
		bad = bad || name[i] <= ' ' || name[i] > '~' || strchr("/:%", name[i]);
	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
		bad = bad || !strcmp(name, reserved[i]);
	if (bad)
		return bh_error_set(err, -EINVAL,
		                    "'%.40s' is no interface name (1 to 15 visible characters without / : %%, not lo, all or default)",
		                    name);
	return 0;
}

/* By an endpoint that is to stay. */
static bool is_attached(struct bh_host *host, const char *container, int64_t network)
{
	BH_AUTOSTATEMENT struct bh_statement *ids = NULL;
	int rc = bh_store_query(host->store, &ids, NULL, BH_IDS_IN_CONTAINER, "s", container);

	while (!rc && bh_statement_step(ids, NULL) == 1) {
		BH_AUTOSTATEMENT struct bh_statement *row = NULL;

		rc = bh_store_query(host->store, &row, NULL, BH_ENDPOINT_ROW, "i", bh_statement_int(ids, 0));
		if (!rc && bh_statement_step(row, NULL) == 1 && bh_statement_int(row, BH_ENDPOINT_NETWORK) == network &&
		    strcmp(bh_statement_text(row, BH_ENDPOINT_STATUS), "removing"))
			return true;
	}
	return false;
}

/* One endpoint on a network, unless each further one has an interface name of its own. */
static int check_free(struct bh_host *host, const struct bh_endpoint_spec *spec, int64_t compartment,
                      int64_t network, struct bh_error *err)
{
	bool named = spec->interface && spec->interface[0];

	if (!named && is_attached(host, spec->container, network))
		return bh_error_set(err, -EEXIST, "endpoint already attached: container '%s' is on network '%s'",
		                    spec->container, spec->network);
	if (bh_store_number(host->store, 0, "SELECT count(*) FROM endpoints WHERE network = ?", "i", network) >=
	    BH_SWITCH_PORTS)
		return bh_error_set(err, -EXFULL, "network '%s' is full: its switch has ports for %d endpoints",
		                    spec->network, BH_SWITCH_PORTS);
	if (named && bh_store_number(host->store, 0,
	                             "SELECT count(*) FROM endpoints WHERE compartment = ? AND interface = ?"
	                             " AND status <> 'removing'", "is", compartment, spec->interface))
		return bh_error_set(err, -EEXIST, "endpoint already attached: compartment %lld has an interface %s",
		                    (long long)compartment, spec->interface);
	return 0;
}

/* What an endpoint is to stand between. */
struct ends {
	bool hyperv;
	int64_t compartment;
	struct bh_switch network;
};

static int find_network(struct bh_host *host, uint32_t id, struct bh_switch *network, struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *row = NULL;
	int rc = bh_store_query(host->store, &row, err, BH_NETWORK_ROW, "i", (int64_t)id);
	const char *status;

	if (!rc)
		rc = bh_statement_step(row, err);
	if (rc <= 0)
		return rc;
	status = bh_statement_text(row, BH_NETWORK_STATUS);
	if (!strcmp(status, "removing"))
		return bh_error_set(err, -ENOENT, "there is no network '%.80s'", bh_statement_text(row, BH_NETWORK_NAME));
	if (!strcmp(status, "rebuild"))
		return bh_error_set(err, -ENODEV,
		                    "network '%s' could not be made again after the host started; `bulkhead reconcile` says why",
		                    bh_statement_text(row, BH_NETWORK_NAME));
	bh_statement_close(&row);
	return bh_network_load(host, id, network, err);
}

static int find_ends(struct bh_host *host, const struct bh_endpoint_spec *spec, struct ends *ends,
                     struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *row = NULL;
	int64_t network;
	int rc = bh_store_query(host->store, &row, err, BH_CONTAINER_ROW, "s", spec->container);

	if (!rc)
		rc = bh_statement_step(row, err);
	if (rc < 0)
		return rc;
	if (rc == 0 || !strcmp(bh_statement_text(row, BH_CONTAINER_STATUS), "removing"))
		return bh_error_set(err, -ENOENT, "there is no container '%.80s'", spec->container);
	ends->hyperv = !strcmp(bh_statement_text(row, BH_CONTAINER_TYPE), "hyperv");
	ends->compartment = bh_statement_int(row, BH_CONTAINER_COMPARTMENT);
	network = bh_store_number(host->store, 0, BH_NETWORK_ID, "s", spec->network);
	if (!network)
		return bh_error_set(err, -ENOENT, "there is no network '%.80s'", spec->network);
	return find_network(host, (uint32_t)network, &ends->network, err);
}

void bh_timeouts_format(const uint32_t timeouts[BH_TIMEOUT_COUNT], char *text, size_t size)
{
	size_t used = 0;

	for (int t = 0; t < BH_TIMEOUT_COUNT && used < size; t++)
		used += (size_t)snprintf(text + used, size - used, "%s%u", t ? "," : "", timeouts[t]);
}

static int insert_endpoint(struct bh_host *host, const struct bh_endpoint_spec *spec, const struct ends *ends,
                           const struct bh_lease *lease, const char *mac, int64_t *id, struct bh_error *err)
{
	char timeouts[160], hash[40];
	uint32_t shared = 0;
	bool v6 = false;
	int rc = 0;

	bh_timeouts_format(spec->timeouts, timeouts, sizeof(timeouts));
	for (size_t i = 0; i < lease->count; i++)
		v6 = v6 || !bh_address_is_v4(&lease->addresses[i].address);
	if (spec->rules_count) {
		bh_rules_hash(ends->network.id, spec->rules, spec->rules_count, hash);
		rc = bh_rules_store(host, ends->network.id, hash, spec->rules, spec->rules_count, &shared, err);
	}
	if (rc)
		return rc;
	rc = bh_store_run(host->store, err,
	                  "INSERT INTO endpoints(container, network, compartment, kind, mac, interface, ipv6, shared,"
	                  " flags, timeouts, flows, origin_in, origin_out, attachment, reach, phase, generation, status)"
	                  " VALUES (?, ?, ?, ?, ?, ?, ?, nullif(?, 0), ?, ?, ?, ?, ?, ?, ?, 'attached', 1, 'creating')",
	                  "siisssiiisissss", spec->container, (int64_t)ends->network.id, ends->compartment,
	                  ends->hyperv ? "vmNIC" : "vNIC", mac, spec->interface ? spec->interface : "", (int64_t)v6,
	                  (int64_t)shared, (int64_t)spec->flags, timeouts, (int64_t)spec->flows_limit,
	                  spec->origin_in ? spec->origin_in : "", spec->origin_out ? spec->origin_out : "",
	                  spec->attachment ? spec->attachment : "", spec->reach ? spec->reach : "");
	*id = bh_store_last_id(host->store);
	if (rc || !ends->hyperv)
		return rc;
	/* A persistent tap in a namespace that is not ours to drop: after a crash only its name finds it. */
	return bh_store_run(host->store, err, "UPDATE endpoints SET interface = 'vm' || id WHERE id = ? AND interface = ''"
	                    " AND (SELECT adopt FROM compartments k WHERE k.id = compartment) IS NOT NULL", "i", *id);
}

/* Its addresses, and its MAC address: the one that is wished for, or one made from the first of them. */
static int choose_addresses(struct bh_host *host, const struct bh_endpoint_spec *spec, struct bh_lease *lease,
                            char mac[BH_ADDRESS_TEXT], struct bh_error *err)
{
	int64_t network = lease->network->id;
	int rc = spec->mac ? check_mac(host, spec->mac, network, mac, err) : 0;

	for (size_t i = 0; !rc && i < spec->addresses_count; i++)
		rc = bh_lease_static(host, lease, spec->addresses[i], err);
	if (!rc && !spec->addresses_count)
		rc = bh_lease_next(host, lease, err);
	if (rc)
		return rc;
	sort(lease->addresses, lease->count);
	return spec->mac ? 0 : make_mac(host, network, lease->count ? lease->addresses : NULL, mac, err);
}

int bh_endpoint_add(struct bh_host *host, const struct bh_endpoint_spec *spec, uint32_t *id,
                    struct bh_error *err)
{
	struct ends ends;
	struct bh_lease lease = {.network = &ends.network, .container = spec->container};
	char mac[BH_ADDRESS_TEXT];
	struct bh_endpoint_row row;
	int64_t endpoint = 0;
	int rc = bh_host_require_change(host, err);

	rc = rc ? rc : find_ends(host, spec, &ends, err);
	rc = rc ? rc : check_kind(spec->kind, ends.hyperv, spec->container, err);
	rc = rc ? rc : check_interface(spec->interface ? spec->interface : "", err);
	rc = rc ? rc : check_free(host, spec, ends.compartment, ends.network.id, err);
	if (rc)
		return rc;
	if (spec->rules_count > BH_RULES_MAX)
		return bh_error_set(err, -E2BIG, "%zu rules; an endpoint may have at most %d", spec->rules_count,
		                    BH_RULES_MAX);
	if (spec->addresses_count > BH_ADDRESSES_MAX)
		return bh_error_set(err, -E2BIG, "%zu addresses; an endpoint may have at most %d",
		                    spec->addresses_count, BH_ADDRESSES_MAX);
	rc = choose_addresses(host, spec, &lease, mac, err);
	rc = rc ? rc : insert_endpoint(host, spec, &ends, &lease, mac, &endpoint, err);
	rc = rc ? rc : bh_lease_store(host, &lease, (uint32_t)endpoint, err);
	rc = rc ? rc : bh_endpoint_load(host, (uint32_t)endpoint, &row, err);
	rc = rc ? rc : bh_publish_check(host, &row, err);
	if (!rc)
		*id = (uint32_t)endpoint;
	return rc;
}

int bh_endpoint_remove(struct bh_host *host, uint32_t endpoint, struct bh_error *err)
{
	int rc = bh_host_require_change(host, err);

	if (rc)
		return rc;
	if (!bh_store_number(host->store, 0, "SELECT count(*) FROM endpoints WHERE id = ?", "i",
	                     (int64_t)endpoint))
		return bh_error_set(err, -ENOENT, "there is no endpoint %u", endpoint);
	return bh_store_run(host->store, err, "UPDATE endpoints SET status = 'removing' WHERE id = ?", "i",
	                    (int64_t)endpoint);
}

int bh_endpoint_check(struct bh_host *host, uint32_t endpoint, struct bh_error *err)
{
	struct bh_nic nic;
	int rc = bh_endpoint_nic(host, endpoint, &nic, err);

	return rc ? rc : host->platform->ops->nic_check(host->platform, &nic, err);
}

/* A new table of the endpoint's own, with the rules of the table `old` (0 = none). */
static int new_own_table(struct bh_host *host, uint32_t endpoint, int64_t network, int64_t old, uint32_t *table,
                         struct bh_error *err)
{
	int rc = bh_rules_store_own(host, (uint32_t)network, endpoint, table, err);

	if (!rc && old)
		rc = bh_store_run(host->store, err,
		                  "INSERT INTO rules(tbl, action, direction, protocol, local, local_port, remote,"
		                  " remote_port, icmp, priority, name, log, audit, origin)"
		                  " SELECT ?, action, direction, protocol, local, local_port, remote, remote_port, icmp,"
		                  " priority, name, log, audit, origin FROM rules WHERE tbl = ? ORDER BY id", "ii",
		                  (int64_t)*table, old);
	return rc;
}

/*
 * Tables are immutable once published. An endpoint that is being made gets one, to which rules are
 * added; one that is there gets a new one, of a new generation, that replaces the old at commit.
 */
static int own_table(struct bh_host *host, uint32_t endpoint, size_t more, uint32_t *table, struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *row = NULL;
	int64_t shared, own, count;
	bool live;
	int rc = bh_store_query(host->store, &row, err, BH_ENDPOINT_ROW, "i", (int64_t)endpoint);

	if (!rc)
		rc = bh_statement_step(row, err);
	if (rc < 0)
		return rc;
	if (rc == 0 || !strcmp(bh_statement_text(row, BH_ENDPOINT_STATUS), "removing"))
		return bh_error_set(err, -ENOENT, "there is no endpoint %u", endpoint);
	shared = bh_statement_int(row, BH_ENDPOINT_SHARED); /* 0 where it is NULL */
	own = bh_statement_int(row, BH_ENDPOINT_OWN);
	live = !strcmp(bh_statement_text(row, BH_ENDPOINT_STATUS), "ready");
	count = bh_store_number(host->store, 0, "SELECT count(*) FROM rules WHERE tbl IN (?, ?)", "ii", shared, own);
	if ((size_t)count + more > BH_RULES_MAX)
		return bh_error_set(err, -E2BIG, "%zu rules; an endpoint may have at most %d", (size_t)count + more,
		                    BH_RULES_MAX);
	if (own && !live) {
		*table = (uint32_t)own;
		return 0;
	}
	rc = live ? bh_reload_remember(host, endpoint, err) : 0;
	rc = rc ? rc : new_own_table(host, endpoint, bh_statement_int(row, BH_ENDPOINT_NETWORK), own, table, err);
	return rc ? rc : bh_store_run(host->store, err,
	                              "UPDATE endpoints SET own = ?, generation = generation + (status = 'ready'),"
	                              " status = iif(status = 'ready', 'changing', status) WHERE id = ?", "ii",
	                              (int64_t)*table, (int64_t)endpoint);
}

int bh_endpoint_add_rules(struct bh_host *host, uint32_t endpoint, const struct bh_rule *rules,
                          size_t count, struct bh_error *err)
{
	uint32_t table = 0;
	int rc = bh_host_require_change(host, err);

	if (rc || !count)
		return rc;
	rc = own_table(host, endpoint, count, &table, err);
	return rc ? rc : bh_rules_append(host, table, rules, count, err);
}

/* What follows of a NIC from its network and from the others in its compartment. */
static int settle_nic(struct bh_host *host, struct bh_nic *nic, bool reaches, enum bh_driver *driver,
                      struct bh_error *err)
{
	struct bh_switch network;
	int rc = bh_network_load(host, nic->network, &network, err);

	if (rc)
		return rc;
	*driver = network.driver;
	nic->mtu = network.mtu;
	/* A closed network leads nowhere, unless it was made to reach another, or this policy says so. */
	nic->default_route = network.driver == BH_DRIVER_NAT || reaches ||
	                     bh_store_number(host->store, 0, "SELECT reach <> '' FROM networks WHERE id = ?", "i",
	                                     (int64_t)nic->network);
	/* IPv6 takes 0 for 1024; the first endpoint's route comes before the others'. */
	if (bh_store_number(host->store, nic->endpoint, BH_IDS_IN_COMPARTMENT, "i", (int64_t)nic->compartment) <
	    nic->endpoint)
		nic->metric = 1024 + nic->endpoint % 65536;
	for (size_t i = 0; i < network.subnets_count; i++)
		for (size_t a = 0; a < nic->addresses_count; a++)
			if (bh_prefix_contains(&network.subnets[i].prefix, &nic->addresses[a].address)) {
				nic->gateways[nic->gateways_count++] = network.subnets[i].gateway;
				break;
			}
	return 0;
}

/* What the gate knows of the NIC. */
static void settle_conf(struct bh_conf *conf, const struct bh_nic *nic)
{
	conf->endpoint = nic->endpoint;
	conf->compartment = nic->compartment;
	conf->network = nic->network;
	memcpy(conf->mac, nic->mac, 6);
	conf->addresses_count = (uint8_t)nic->addresses_count;
	for (size_t i = 0; i < nic->addresses_count; i++) {
		bool v4 = bh_address_is_v4(&nic->addresses[i].address);

		conf->addresses[i] = nic->addresses[i].address;
		conf->broadcasts[i] = v4 && nic->addresses[i].length < 31 ? bh_prefix_range(&nic->addresses[i]).last
		                                                          : nic->addresses[i].address;
	}
	if (nic->ipv6)
		conf->link_local = bh_address_link_local(nic->mac);
}

static void fill_conf(struct bh_conf *conf, struct bh_statement *row)
{
	const char *timeouts = bh_statement_text(row, BH_ENDPOINT_TIMEOUTS);

	bh_conf_init(conf);
	conf->tables[0].id = (uint32_t)bh_statement_int(row, BH_ENDPOINT_SHARED); /* 0 where it is NULL */
	conf->tables[1].id = (uint32_t)bh_statement_int(row, BH_ENDPOINT_OWN);
	conf->flags = (uint32_t)bh_statement_int(row, BH_ENDPOINT_FLAGS);
	for (int t = 0; t < BH_TIMEOUT_COUNT && timeouts; t++) {
		conf->timeouts[t] = (uint32_t)strtoul(timeouts, NULL, 10);
		timeouts = strchr(timeouts, ',');
		timeouts = timeouts ? timeouts + 1 : NULL;
	}
	conf->flows_limit = (uint32_t)bh_statement_int(row, BH_ENDPOINT_FLOWS);
	if (conf->flows_guaranteed > conf->flows_limit)
		conf->flows_guaranteed = conf->flows_limit;
	conf->generation = (uint32_t)bh_statement_int(row, BH_ENDPOINT_GENERATION);
}

static int fill_nic(struct bh_nic *nic, struct bh_statement *row, struct bh_error *err)
{
	nic->network = (uint32_t)bh_statement_int(row, BH_ENDPOINT_NETWORK);
	nic->compartment = (uint32_t)bh_statement_int(row, BH_ENDPOINT_COMPARTMENT);
	nic->kind = strcmp(bh_statement_text(row, BH_ENDPOINT_KIND), "vmNIC") ? BH_NIC_HOST_VNIC : BH_NIC_SYNTHETIC;
	nic->ipv6 = bh_statement_int(row, BH_ENDPOINT_IPV6) != 0;
	snprintf(nic->name, sizeof(nic->name), "%s", bh_statement_text(row, BH_ENDPOINT_INTERFACE));
	if (bh_mac_parse(nic->mac, bh_statement_text(row, BH_ENDPOINT_MAC), err))
		return bh_error_prefix(err, "the store: endpoint %u", nic->endpoint);
	return 0;
}

int bh_endpoint_load(struct bh_host *host, uint32_t endpoint, struct bh_endpoint_row *out,
                     struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *row = NULL;
	struct bh_endpoint_row made = {.nic.endpoint = endpoint};
	struct bh_nic *nic = &made.nic;
	int rc = bh_store_query(host->store, &row, err, BH_ENDPOINT_ROW, "i", (int64_t)endpoint);

	if (!rc)
		rc = bh_statement_step(row, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return bh_error_set(err, -ENOENT, "there is no endpoint %u", endpoint);
	snprintf(made.container, sizeof(made.container), "%s", bh_statement_text(row, BH_ENDPOINT_CONTAINER));
	rc = fill_nic(nic, row, err);
	rc = rc ? rc : bh_endpoint_addresses(host, endpoint, nic->addresses, &nic->addresses_count, err);
	rc = rc ? rc : settle_nic(host, nic, *bh_statement_text(row, BH_ENDPOINT_REACH), &made.driver, err);
	if (rc)
		return rc;
	fill_conf(&made.conf, row);
	settle_conf(&made.conf, nic);
	*out = made;
	return 0;
}

int bh_endpoint_nic(struct bh_host *host, uint32_t endpoint, struct bh_nic *nic,
                    struct bh_error *err)
{
	struct bh_endpoint_row row;
	int rc = bh_endpoint_load(host, endpoint, &row, err);

	if (!rc)
		*nic = row.nic;
	return rc;
}

int bh_endpoint_conf(struct bh_host *host, uint32_t endpoint, struct bh_conf *conf,
                     struct bh_error *err)
{
	struct bh_endpoint_row row;
	int rc = bh_endpoint_load(host, endpoint, &row, err);

	if (!rc)
		*conf = row.conf;
	return rc;
}

int bh_endpoint_gate(struct bh_host *host, uint32_t endpoint, struct bh_conf *conf,
                     struct bh_ruleset *rulesets[2], struct bh_error *err)
{
	struct bh_ruleset *loaded[2] = {NULL, NULL};
	struct bh_conf read;
	int rc;

	if (!bh_store_number(host->store, 0, "SELECT count(*) FROM endpoints WHERE id = ?", "i",
	                     (int64_t)endpoint))
		return bh_error_set(err, -ENOENT, "there is no endpoint %u", endpoint);
	rc = host->platform->ops->gate_read(host->platform, endpoint, &read, err);
	for (int i = 0; !rc && i < 2; i++)
		rc = bh_rules_load(host, read.tables[i].id, read.network, &loaded[i], err);
	if (rc) {
		bh_ruleset_free(&loaded[0]);
		bh_ruleset_free(&loaded[1]);
		return rc;
	}
	*conf = read;
	rulesets[0] = loaded[0];
	rulesets[1] = loaded[1];
	return 0;
}

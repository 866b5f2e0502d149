/*
 * nat.c - see nat.h. The rules, as nft prints them, are the text in write_forward() and
 * write_publish().
 */
#include "nat.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../base/buffer.h"
#include "../../filter/rule.h"
#include "nftables.h"
#include "switch.h"

/* Only a `nat` network is routed to the world; the reserved drivers are closed like `internal`. */
static bool is_nat(const struct bh_switch *sw)
{
	return sw->driver == BH_DRIVER_NAT;
}

static bool is_closed(const struct bh_switch *sw)
{
	return !is_nat(sw);
}

static bool is_any(const struct bh_switch *sw)
{
	(void)sw;
	return true;
}

/* nft has no empty list of elements. */
static void write_elements(struct bh_buffer *text, const struct bh_buffer *elements)
{
	if (elements->size)
		bh_buffer_printf(text, " elements = { %s }", elements->data);
	bh_buffer_printf(text, "\n\t}\n");
}

static void write_set(struct bh_buffer *text, const char *name, const char *tag,
                      const struct bh_uplink *uplink, bool (*member)(const struct bh_switch *))
{
	BH_AUTOBUFFER struct bh_buffer elements = {0};
	char vnic[BH_IFNAME_SIZE];

	for (size_t i = 0; i < uplink->switches_count; i++) {
		if (!member(&uplink->switches[i]))
			continue;
		bh_switch_vnic(tag, uplink->switches[i].id, vnic);
		bh_buffer_printf(&elements, "%s\"%s\"", elements.size ? ", " : "", vnic);
	}
	bh_buffer_printf(text, "\tset %s {\n\t\ttype ifname\n\t\t", name);
	write_elements(text, &elements);
	text->failed |= elements.failed;
}

static void write_pair(struct bh_buffer *elements, const char *tag, uint32_t a, uint32_t b)
{
	char from[BH_IFNAME_SIZE], to[BH_IFNAME_SIZE];

	bh_switch_vnic(tag, a, from);
	bh_switch_vnic(tag, b, to);
	bh_buffer_printf(elements, "%s\"%s\" . \"%s\"", elements->size ? ", " : "", from, to);
}

/* In by a network's vNIC and out by it again. */
static void write_hairpins(struct bh_buffer *text, const char *tag, const struct bh_uplink *uplink)
{
	BH_AUTOBUFFER struct bh_buffer elements = {0};

	for (size_t i = 0; i < uplink->switches_count; i++)
		if (is_nat(&uplink->switches[i]))
			write_pair(&elements, tag, uplink->switches[i].id, uplink->switches[i].id);
	bh_buffer_printf(text, "\tset hairpins {\n\t\ttype ifname . ifname\n\t\t");
	write_elements(text, &elements);
	text->failed |= elements.failed;
}

/* A routed network also reaches itself: its subnets, and its own published ports. */
static void write_pairs(struct bh_buffer *text, const char *tag, const struct bh_uplink *uplink)
{
	BH_AUTOBUFFER struct bh_buffer elements = {0};

	for (size_t i = 0; i < uplink->switches_count; i++)
		if (is_nat(&uplink->switches[i]))
			write_pair(&elements, tag, uplink->switches[i].id, uplink->switches[i].id);
	for (size_t i = 0; i < uplink->pairs_count; i++) {
		if (uplink->pairs[i][0] == uplink->pairs[i][1])
			continue;
		write_pair(&elements, tag, uplink->pairs[i][0], uplink->pairs[i][1]);
		write_pair(&elements, tag, uplink->pairs[i][1], uplink->pairs[i][0]);
	}
	bh_buffer_printf(text, "\tset pairs {\n\t\ttype ifname . ifname\n\t\t");
	write_elements(text, &elements);
	text->failed |= elements.failed;
}

const char *bh_nat_map(const struct bh_mapping *mapping)
{
	bool any = bh_address_is_unspecified(&mapping->address);

	if (bh_address_is_v4(&mapping->target))
		return any ? "any4" : "one4";
	return any ? "any6" : "one6";
}

static void write_mapping(struct bh_buffer *text, const struct bh_mapping *mapping)
{
	char host[BH_ADDRESS_TEXT], target[BH_ADDRESS_TEXT], protocol[8];

	if (!bh_address_is_unspecified(&mapping->address))
		bh_buffer_printf(text, "%s . ", bh_address_format(&mapping->address, host));
	bh_buffer_printf(text, "%s . %u : %s . %u", bh_protocol_format(mapping->protocol, protocol),
	                 mapping->port, bh_address_format(&mapping->target, target),
	                 mapping->target_port);
}

static void write_map(struct bh_buffer *text, const char *name, const char *type,
                      const struct bh_uplink *uplink)
{
	BH_AUTOBUFFER struct bh_buffer elements = {0};

	for (size_t i = 0; i < uplink->mappings_count; i++) {
		if (strcmp(bh_nat_map(&uplink->mappings[i]), name) != 0)
			continue;
		bh_buffer_printf(&elements, elements.size ? ", " : "");
		write_mapping(&elements, &uplink->mappings[i]);
	}
	bh_buffer_printf(text, "\tmap %s {\n\t\ttype %s\n\t\t", name, type);
	write_elements(text, &elements);
	text->failed |= elements.failed;
}

static void write_maps(struct bh_buffer *text, const struct bh_uplink *uplink)
{
	write_map(text, "any4", "inet_proto . inet_service : ipv4_addr . inet_service", uplink);
	write_map(text, "any6", "inet_proto . inet_service : ipv6_addr . inet_service", uplink);
	write_map(text, "one4", "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service", uplink);
	write_map(text, "one6", "ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service", uplink);
}

/* Who reaches whom. Whatever was translated on purpose comes in, from everywhere but a closed
 * network. */
static void write_forward(struct bh_buffer *text)
{
	bh_buffer_printf(text,
		"\tchain forward {\n"
		"\t\ttype filter hook forward priority filter - 1; policy accept;\n"
		"\t\tiifname . oifname @pairs accept\n"
		"\t\tiifname @closed drop\n"
		"\t\toifname @closed drop\n"
		"\t\toifname @nat ct status dnat accept\n"
		"\t\tiifname @ours oifname @ours drop\n"
		"\t\toifname @nat ct state established,related accept\n"
		"\t\toifname @nat drop\n"
		"\t}\n");
}

/*
 * Published ports. 127/8 comes only from the host itself: our vNICs have route_localnet, so what
 * arrives there is dropped before it could reach what listens on the loopback (CVE-2020-8558), and
 * on other interfaces it must not become a lawful address by translation. ::1 cannot be
 * translated: left alone it refuses at once, and clients go on to 127.0.0.1. To a neighbour who
 * comes by the host's address the kernel would say that the container *is* the better way to it.
 */
static void write_publish(struct bh_buffer *text)
{
	bh_buffer_printf(text,
		"\tchain martians {\n"
		"\t\ttype filter hook prerouting priority raw; policy accept;\n"
		"\t\tiifname @ours ip saddr 127.0.0.0/8 drop\n"
		"\t\tiifname @ours ip daddr 127.0.0.0/8 drop\n"
		"\t}\n"
		"\tchain publish {\n"
		"\t\tfib daddr type != local return\n"
		"\t\tip6 daddr { ::1, fe80::/10 } return\n"
		"\t\tdnat ip to ip daddr . meta l4proto . th dport map @one4\n"
		"\t\tdnat ip to meta l4proto . th dport map @any4\n"
		"\t\tdnat ip6 to ip6 daddr . meta l4proto . th dport map @one6\n"
		"\t\tdnat ip6 to meta l4proto . th dport map @any6\n"
		"\t}\n"
		"\tchain prerouting {\n"
		"\t\ttype nat hook prerouting priority dstnat; policy accept;\n"
		"\t\tiifname @closed return\n"
		"\t\tip daddr 127.0.0.0/8 return\n"
		"\t\tmeta l4proto { tcp, udp, sctp } jump publish\n"
		"\t}\n"
		"\tchain output {\n"
		"\t\ttype nat hook output priority -100; policy accept;\n"
		"\t\tmeta l4proto { tcp, udp, sctp } jump publish\n"
		"\t}\n"
		"\tchain redirects {\n"
		"\t\ttype filter hook output priority filter; policy accept;\n"
		"\t\toifname @nat icmp type redirect drop\n"
		"\t\toifname @nat icmpv6 type nd-redirect drop\n"
		"\t}\n"
		"\tchain postrouting {\n"
		"\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
		"\t\tiifname @nat oifname != @ours masquerade\n"
		"\t\tip saddr 127.0.0.0/8 oifname @nat masquerade\n"
		"\t\tiifname . oifname @hairpins ct status dnat masquerade\n"
		"\t}\n");
}

static int run(const struct bh_buffer *text, struct bh_error *err)
{
	if (text->failed)
		return bh_error_set(err, -ENOMEM, "there is not enough memory for the table of networks");
	return bh_nftables_run(text->data, "the table of networks", err);
}

/* Deleting what is not there is an error, so it is added first. */
static void write_replace(struct bh_buffer *text, const char *tag)
{
	bh_buffer_printf(text, "add table inet bulkhead_%s\ndelete table inet bulkhead_%s\n", tag, tag);
}

/* --- lent interfaces --- */

/* A name that nft would read otherwise is left out. */
void bh_nat_lend(struct bh_lent *lent, int family, const char *interface)
{
	struct bh_buffer *names = &lent->names[family == 6];

	if (!strpbrk(interface, "\"\\*"))
		bh_buffer_printf(names, "%s\"%s\"", names->size ? ", " : "", interface);
}

void bh_lent_clear(struct bh_lent *lent)
{
	bh_buffer_clear(&lent->names[0]);
	bh_buffer_clear(&lent->names[1]);
}

/* A chain a family, there only if it refuses something: its being there is what bh_nat_refuses() asks. */
static void write_lent(struct bh_buffer *text, const char *tag, const struct bh_lent *lent)
{
	for (int i = 0; i < 2; i++) {
		int version = i ? 6 : 4;

		text->failed |= lent->names[i].failed;
		if (!lent->names[i].size)
			continue;
		bh_buffer_printf(text,
			"add set inet bulkhead_%s lent%d { type ifname; }\n"
			"add element inet bulkhead_%s lent%d { %s }\n"
			"add chain inet bulkhead_%s lent%d { type filter hook forward priority filter - 1; }\n"
			"flush chain inet bulkhead_%s lent%d\n"
			"add rule inet bulkhead_%s lent%d ct state established,related accept\n"
			"add rule inet bulkhead_%s lent%d ct status dnat accept\n"
			"add rule inet bulkhead_%s lent%d meta nfproto ipv%d iifname @lent%d oifname != @ours drop\n",
			tag, version, tag, version, lent->names[i].data, tag, version, tag, version, tag, version,
			tag, version, tag, version, version, version);
	}
}

int bh_nat_refuse(const char *tag, const struct bh_lent *lent, struct bh_error *err)
{
	BH_AUTOBUFFER struct bh_buffer text = {0};

	write_lent(&text, tag, lent);
	return text.size || text.failed ? run(&text, err) : 0;
}

int bh_nat_apply(const char *tag, const struct bh_uplink *uplink, const struct bh_lent *lent,
                 struct bh_error *err)
{
	BH_AUTOBUFFER struct bh_buffer text = {0};

	write_replace(&text, tag);
	bh_buffer_printf(&text, "table inet bulkhead_%s {\n", tag);
	write_set(&text, "ours", tag, uplink, is_any);
	write_set(&text, "nat", tag, uplink, is_nat);
	write_set(&text, "closed", tag, uplink, is_closed);
	write_pairs(&text, tag, uplink);
	write_hairpins(&text, tag, uplink);
	write_maps(&text, uplink);
	write_forward(&text);
	write_publish(&text);
	bh_buffer_printf(&text, "}\n");
	write_lent(&text, tag, lent);
	return run(&text, err);
}

int bh_nat_remove(const char *tag, struct bh_error *err)
{
	BH_AUTOBUFFER struct bh_buffer text = {0};

	write_replace(&text, tag);
	return run(&text, err);
}

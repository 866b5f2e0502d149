/*
 * nat.c - see nat.h. The rules, as nft prints them, are the text in write_chains().
 */
#include "nat.h"

#include <errno.h>
#include <string.h>

#include <nftables/libnftables.h>

#include "../../base/buffer.h"
#include "../../base/cleanup.h"
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

static void write_chains(struct bh_buffer *text)
{
	bh_buffer_printf(text,
		"\tchain forward {\n"
		"\t\ttype filter hook forward priority filter - 1; policy accept;\n"
		"\t\tiifname . oifname @pairs accept\n"
		"\t\tiifname @closed drop\n"
		"\t\toifname @closed drop\n"
		"\t\tiifname @ours oifname @ours drop\n"
		"\t\toifname @nat ct state established,related accept\n"
		"\t\toifname @nat ct status dnat accept\n"
		"\t\toifname @nat drop\n"
		"\t}\n"
		"\tchain postrouting {\n"
		"\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
		"\t\tiifname @nat oifname != @ours masquerade\n"
		"\t}\n");
}

/* In the current namespace, because the context opens its socket there. */
static int run(const struct bh_buffer *text, struct bh_error *err)
{
	struct nft_ctx *nft;
	const char *message;
	int rc = 0;

	if (text->failed)
		return bh_error_set(err, -ENOMEM, "there is not enough memory for the table of networks");
	nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!nft)
		return bh_error_set(err, -ENOMEM, "cannot reach nftables in the kernel");
	nft_ctx_buffer_output(nft);
	nft_ctx_buffer_error(nft);
	if (nft_run_cmd_from_buffer(nft, text->data)) {
		message = nft_ctx_get_error_buffer(nft);
		rc = bh_error_set(err, -EIO, "nftables refused the table of networks: %.*s",
		                  message ? (int)strcspn(message, "\n") : 0, message ? message : "");
	}
	nft_ctx_free(nft);
	return rc;
}

/* Deleting what is not there is an error, so it is added first. */
static void write_replace(struct bh_buffer *text, const char *tag)
{
	bh_buffer_printf(text, "add table inet bulkhead_%s\ndelete table inet bulkhead_%s\n", tag, tag);
}

int bh_nat_apply(const char *tag, const struct bh_uplink *uplink, struct bh_error *err)
{
	BH_AUTOBUFFER struct bh_buffer text = {0};

	write_replace(&text, tag);
	bh_buffer_printf(&text, "table inet bulkhead_%s {\n", tag);
	write_set(&text, "ours", tag, uplink, is_any);
	write_set(&text, "nat", tag, uplink, is_nat);
	write_set(&text, "closed", tag, uplink, is_closed);
	write_pairs(&text, tag, uplink);
	write_chains(&text);
	bh_buffer_printf(&text, "}\n");
	return run(&text, err);
}

int bh_nat_remove(const char *tag, struct bh_error *err)
{
	BH_AUTOBUFFER struct bh_buffer text = {0};

	write_replace(&text, tag);
	return run(&text, err);
}

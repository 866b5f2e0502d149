/*
 * notation.c - see notation.h.
 */
#include "notation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "numbers.h"

#define EXAMPLE "like 'in tcp 10.0.0.9:51000 -> 172.16.0.2:80'"

static const char flag_letters[] = "FSRPAUEC"; /* bit 0 to 7 */

/* The next word of `*text`, copied; false at the end or if it is too long. */
static bool next_word(const char **text, char *word, size_t size)
{
	size_t n;

	while (**text == ' ' || **text == '\t')
		(*text)++;
	n = strcspn(*text, " \t");
	if (!n || n >= size)
		return false;
	memcpy(word, *text, n);
	word[n] = '\0';
	*text += n;
	return true;
}

/* `tcp`, `tcp[SA]`, `icmp[8:0]`, `47`. */
static int parse_protocol(struct bh_notation *packet, char *word, struct bh_error *err)
{
	char *bracket = strchr(word, '['), *close = bracket ? strchr(bracket, ']') : NULL;
	struct bh_number_range range = {8 << 8, 8 << 8};
	bool icmp;
	int protocol;

	if (bracket && (!close || close[1]))
		return bh_error_set(err, -EINVAL, "'%s' has no ']' at its end", word);
	if (bracket)
		*bracket = *close = '\0';
	protocol = bh_protocol_parse(word, err);
	if (protocol < 0)
		return protocol;
	packet->protocol = (uint8_t)protocol;
	icmp = protocol == BH_PROTO_ICMP || protocol == BH_PROTO_ICMP6;
	if (bracket && !icmp && protocol != BH_PROTO_TCP)
		return bh_error_set(err, -EINVAL, "'%s' takes nothing in brackets (tcp takes flags, icmp and icmp6 type:code)",
		                    word);
	if (icmp) {
		if (protocol == BH_PROTO_ICMP6)
			range.first = 128 << 8;
		if (bracket && bh_icmp_range_parse(&range, bracket + 1, err))
			return err ? err->code : -EINVAL;
		packet->icmp_type = (uint8_t)(range.first >> 8);
		packet->icmp_code = (uint8_t)range.first;
	}
	packet->tcp_flags = bracket || protocol != BH_PROTO_TCP ? 0 : BH_TCP_SYN;
	for (const char *p = bracket ? bracket + 1 : ""; !icmp && *p; p++) {
		const char *letter = strchr(flag_letters, *p);

		if (!letter)
			return bh_error_set(err, -EINVAL, "'%c' is not a TCP flag (they are F S R P A U E C)", *p);
		packet->tcp_flags |= (uint8_t)(1 << (letter - flag_letters));
	}
	return 0;
}

/* `10.0.0.9`, `10.0.0.9:80`, `fd00::1`, `[fd00::1]:80`. */
static int parse_end(struct bh_address *address, uint16_t *port, bool with_port, char *word,
                     struct bh_error *err)
{
	char *text = word, *colon = NULL;
	unsigned number;
	int rc;

	if (*word == '[') {
		char *close = strchr(word, ']');

		if (!close || (close[1] && close[1] != ':'))
			return bh_error_set(err, -EINVAL, "'%s' is not an IPv6 end like [fd00::2]:80", word);
		text = word + 1;
		*close = '\0';
		colon = close[1] ? close + 1 : NULL;
	} else if (strchr(word, ':') == strrchr(word, ':')) {
		colon = strchr(word, ':');
		if (colon)
			*colon = '\0';
	}
	rc = bh_address_parse(address, text, err);
	if (rc)
		return rc;
	if (!with_port && colon)
		return bh_error_set(err, -EINVAL, "'%s' has a port, but the protocol has none", text);
	if (with_port && !colon)
		return bh_error_set(err, -EINVAL, "'%s' has no port; write %s", text,
		                    bh_address_is_v4(address) ? "ADDRESS:PORT" : "[ADDRESS]:PORT");
	if (!colon)
		return 0;
	if (bh_number_parse(colon + 1, 65535, &number))
		return bh_error_set(err, -EINVAL, "port '%.20s' must be a number 0 to 65535", colon + 1);
	*port = (uint16_t)number;
	return 0;
}

int bh_notation_parse(struct bh_notation *packet, const char *text, struct bh_error *err)
{
	struct bh_notation parsed = {0};
	char word[128], arrow[4];
	const char *rest = text;
	bool ports, v4;
	int rc;

	if (!next_word(&rest, word, sizeof(word)) || (strcmp(word, "in") && strcmp(word, "out")))
		return bh_error_set(err, -EINVAL, "packet '%.120s' must begin with 'in' or 'out', " EXAMPLE, text);
	parsed.direction = word[0] == 'i' ? BH_IN : BH_OUT;
	if (!next_word(&rest, word, sizeof(word)))
		return bh_error_set(err, -EINVAL, "packet '%.120s' has no protocol, " EXAMPLE, text);
	rc = parse_protocol(&parsed, word, err);
	ports = bh_has_ports(parsed.protocol);
	if (!rc) {
		if (!next_word(&rest, word, sizeof(word)))
			return bh_error_set(err, -EINVAL, "packet '%.120s' has no source, " EXAMPLE, text);
		rc = parse_end(&parsed.source, &parsed.source_port, ports, word, err);
	}
	if (!rc && (!next_word(&rest, arrow, sizeof(arrow)) || strcmp(arrow, "->") ||
	            !next_word(&rest, word, sizeof(word))))
		return bh_error_set(err, -EINVAL, "packet '%.120s' has no '-> DESTINATION', " EXAMPLE, text);
	if (!rc)
		rc = parse_end(&parsed.target, &parsed.target_port, ports, word, err);
	if (rc)
		return bh_error_prefix(err, "packet '%.120s'", text);
	if (next_word(&rest, word, sizeof(word)) || *rest)
		return bh_error_set(err, -EINVAL, "packet '%.120s' has words after the destination", text);
	v4 = bh_address_is_v4(&parsed.source);
	if (v4 != bh_address_is_v4(&parsed.target))
		return bh_error_set(err, -EINVAL, "packet '%.120s' mixes IPv4 and IPv6", text);
	if (parsed.protocol == (v4 ? BH_PROTO_ICMP6 : BH_PROTO_ICMP))
		return bh_error_set(err, -EINVAL, "packet '%.120s': %s goes with %s addresses", text,
		                    v4 ? "icmp6" : "icmp", v4 ? "IPv6" : "IPv4");
	*packet = parsed;
	return 0;
}

static void format_end(const struct bh_address *address, int port, char *text, size_t size)
{
	char number[BH_ADDRESS_TEXT];

	bh_address_format(address, number);
	if (port < 0)
		snprintf(text, size, "%s", number);
	else
		snprintf(text, size, bh_address_is_v4(address) ? "%s:%d" : "[%s]:%d", number, port);
}

char *bh_notation_format(const struct bh_notation *packet, char *text)
{
	char source[BH_ADDRESS_TEXT], target[BH_ADDRESS_TEXT], name[8], detail[16] = "";
	bool ports = bh_has_ports(packet->protocol);

	if (packet->protocol == BH_PROTO_TCP) {
		char *p = detail;

		*p++ = '[';
		for (int bit = 0; bit < 8; bit++)
			if (packet->tcp_flags & 1 << bit)
				*p++ = flag_letters[bit];
		*p++ = ']';
		*p = '\0';
	} else if (packet->protocol == BH_PROTO_ICMP || packet->protocol == BH_PROTO_ICMP6) {
		snprintf(detail, sizeof(detail), "[%u:%u]", packet->icmp_type, packet->icmp_code);
	}
	format_end(&packet->source, ports ? packet->source_port : -1, source, sizeof(source));
	format_end(&packet->target, ports ? packet->target_port : -1, target, sizeof(target));
	snprintf(text, BH_NOTATION_TEXT, "%s %s%s %s -> %s", packet->direction == BH_IN ? "in" : "out",
	         bh_protocol_format(packet->protocol, name), detail, source, target);
	return text;
}

char *bh_notation_of_packet(const struct bh_packet *packet, char *text)
{
	const struct bh_key *key = &packet->key;
	bool out = key->direction == BH_OUT;
	struct bh_notation notation = {
		.direction = key->direction,
		.protocol = key->protocol,
		.tcp_flags = packet->tcp_flags,
		.source = out ? key->local : key->remote,
		.target = out ? key->remote : key->local,
		.source_port = out ? key->local_port : key->remote_port,
		.target_port = out ? key->remote_port : key->local_port,
	};

	if (packet->form == BH_FORM_IP) {
		if (bh_is_icmp(key)) {
			notation.icmp_type = bh_icmp_type(key);
			notation.icmp_code = (uint8_t)key->local_port;
		}
		return bh_notation_format(&notation, text);
	}
	snprintf(text, BH_NOTATION_TEXT, "%s %s", out ? "out" : "in",
	         packet->form == BH_FORM_ARP ? "arp" : packet->form == BH_FORM_OTHER ? "frame" : "malformed");
	return text;
}

uint32_t bh_checksum_add(uint32_t sum, const void *bytes, uint32_t size)
{
	const uint8_t *p = bytes;

	for (uint32_t i = 0; i + 1 < size; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	if (size & 1)
		sum += (uint32_t)p[size - 1] << 8;
	return sum;
}

uint16_t bh_checksum_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

/* The IP header for `size` bytes of payload at `p`; returns its bytes. */
static uint32_t put_ip(uint8_t *p, const struct bh_address *source, const struct bh_address *target,
                       uint8_t protocol, uint8_t ttl, uint32_t size)
{
	if (bh_address_is_v4(source)) {
		memset(p, 0, 20);
		p[0] = 0x45;
		put16(p + 2, 20 + size);
		p[6] = 0x40; /* don't fragment */
		p[8] = ttl;
		p[9] = protocol;
		bh_address_to_bytes(source, p + 12);
		bh_address_to_bytes(target, p + 16);
		put16(p + 10, bh_checksum_fold(bh_checksum_add(0, p, 20)));
		return 20;
	}
	memset(p, 0, 8);
	p[0] = 0x60;
	put16(p + 4, size);
	p[6] = protocol;
	p[7] = ttl;
	bh_address_to_bytes(source, p + 8);
	bh_address_to_bytes(target, p + 24);
	return 40;
}

static uint32_t put_icmp(uint8_t *p, const struct bh_notation *packet, const uint8_t mac[6])
{
	bool v6 = !bh_address_is_v4(&packet->source);
	struct bh_key key = {.v6 = v6, .local_port = (uint16_t)(packet->icmp_type << 8)};
	uint32_t size = 16;

	p[0] = packet->icmp_type;
	p[1] = packet->icmp_code;
	if (bh_icmp_is_error(&key)) {
		uint32_t ip = put_ip(p + 8, &packet->target, &packet->source, BH_PROTO_UDP, 64, 8);

		put16(p + 8 + ip, 9);
		put16(p + 10 + ip, 9);
		put16(p + 12 + ip, 8);
		size = 8 + ip + 8;
	} else if (v6 && packet->icmp_type >= 133 && packet->icmp_type <= 137) {
		uint32_t header = packet->icmp_type == 133 ? 8 : packet->icmp_type == 134 ? 16
		                  : packet->icmp_type == 137 ? 40 : 24;

		if (packet->icmp_type >= 135)
			bh_address_to_bytes(packet->icmp_type == 135 ? &packet->target : &packet->source, p + 8);
		size = header;
		if (packet->icmp_type != 134 && !bh_address_is_unspecified(&packet->source)) {
			p[header] = packet->icmp_type == 136 || packet->icmp_type == 137 ? 2 : 1;
			p[header + 1] = 1;
			memcpy(p + header + 2, mac, 6);
			size = header + 8;
		}
	} else if (v6 && packet->icmp_type >= 130 && packet->icmp_type <= 132) {
		size = 24;
	} else {
		p[5] = 1; /* identifier */
		p[7] = 1; /* sequence number */
	}
	return size;
}

static uint32_t put_transport(uint8_t *p, const struct bh_notation *packet, const uint8_t mac[6])
{
	if (bh_has_ports(packet->protocol)) {
		put16(p, packet->source_port);
		put16(p + 2, packet->target_port);
	}
	switch (packet->protocol) {
	case BH_PROTO_TCP:
		p[7] = 1; /* sequence number */
		if (packet->tcp_flags & BH_TCP_ACK)
			p[11] = 1;
		p[12] = 5 << 4;
		p[13] = packet->tcp_flags;
		p[14] = 0xff;
		return 20;
	case BH_PROTO_UDP:
	case BH_PROTO_UDPLITE:
		put16(p + 4, 16);
		return 16;
	case BH_PROTO_ICMP:
	case BH_PROTO_ICMP6:
		return put_icmp(p, packet, mac);
	default:
		return 16;
	}
}

/* Where the checksum is in a protocol's header, or -1. */
static int checksum_at(uint8_t protocol)
{
	switch (protocol) {
	case BH_PROTO_TCP: return 16;
	case BH_PROTO_UDP: return 6;
	case BH_PROTO_ICMP:
	case BH_PROTO_ICMP6: return 2;
	default: return -1;
	}
}

uint32_t bh_notation_frame(const struct bh_notation *packet, const uint8_t source_mac[6],
                           const uint8_t target_mac[6], uint8_t frame[BH_FRAME_MAX])
{
	bool v4 = bh_address_is_v4(&packet->source);
	bool nd = packet->protocol == BH_PROTO_ICMP6 && packet->icmp_type >= 133 && packet->icmp_type <= 137;
	bool mld = packet->protocol == BH_PROTO_ICMP6 &&
	           ((packet->icmp_type >= 130 && packet->icmp_type <= 132) || packet->icmp_type == 143);
	uint8_t *ip = frame + 14, *l4 = ip + (v4 ? 20 : 40), pseudo[40] = {0};
	int at = checksum_at(packet->protocol);
	uint32_t size, sum = 0, n;

	memset(frame, 0, BH_FRAME_MAX);
	memcpy(frame, target_mac, 6);
	memcpy(frame + 6, source_mac, 6);
	put16(frame + 12, v4 ? BH_ETH_IP : BH_ETH_IP6);
	size = put_transport(l4, packet, source_mac);
	put_ip(ip, &packet->source, &packet->target, packet->protocol, nd ? 255 : mld ? 1 : 64, size);
	if (at >= 0) {
		if (packet->protocol != BH_PROTO_ICMP) {
			n = (uint32_t)bh_address_to_bytes(&packet->source, pseudo);
			n += (uint32_t)bh_address_to_bytes(&packet->target, pseudo + n);
			put16(pseudo + n + 2, size);
			pseudo[n + 5] = packet->protocol;
			sum = bh_checksum_add(0, pseudo, n + 6);
		}
		sum = bh_checksum_fold(bh_checksum_add(sum, l4, size));
		put16(l4 + at, sum || packet->protocol != BH_PROTO_UDP ? sum : 0xffff); /* 0 = none, in UDP */
	}
	return 14 + (v4 ? 20u : 40u) + size;
}

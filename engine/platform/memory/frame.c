/*
 * frame.c - see frame.h. Parsing is the filter's; only what writes is here.
 */
#include "frame.h"

#include <stdlib.h>
#include <string.h>

#include "../../filter/evaluate.h"

#define IP 14u /* offset of the IP header */

struct bh_frame *bh_frame_new(const void *bytes, uint32_t size)
{
	struct bh_frame *frame = calloc(1, sizeof(*frame) + size);

	if (!frame)
		return NULL;
	frame->size = size;
	memcpy(frame->bytes, bytes, size);
	return frame;
}

struct bh_frame *bh_frame_copy(const struct bh_frame *frame)
{
	struct bh_frame *copy = bh_frame_new(frame->bytes, frame->size);

	if (!copy)
		return NULL;
	copy->tag = frame->tag;
	copy->answer = frame->answer;
	return copy;
}

struct bh_frame *bh_frame_of(const struct bh_notation *packet)
{
	static const uint8_t nobody[6];
	uint8_t bytes[BH_FRAME_MAX];
	uint32_t size = bh_notation_frame(packet, nobody, nobody, bytes);

	return bh_frame_new(bytes, size);
}

bool bh_frame_parse(const struct bh_frame *frame, struct bh_packet *packet)
{
	struct bh_env env = {.frame = frame->bytes, .size = frame->size};

	bh_evaluate_parse(&env, BH_IN, packet);
	return packet->form != BH_FORM_MALFORMED;
}

static bool is_v6(const struct bh_frame *frame)
{
	return bh_get16(frame->bytes + 12) == BH_ETH_IP6;
}

/* The transport's offset; its protocol, and whether the frame is a fragment. */
static uint32_t walk(const struct bh_frame *frame, uint8_t *protocol, bool *fragment)
{
	const uint8_t *p = frame->bytes;
	uint32_t at = IP + 40;

	*fragment = false;
	if (!is_v6(frame)) {
		*protocol = p[IP + 9];
		*fragment = bh_get16(p + IP + 6) & 0x3fff;
		return IP + (uint32_t)(p[IP] & 15) * 4;
	}
	*protocol = p[IP + 6];
	for (int i = 0; i < BH_EXTENSIONS_MAX && bh_is_extension(*protocol); i++) {
		uint8_t next;

		if (at + 8 > frame->size)
			break;
		next = p[at];

		if (*protocol == 44) {
			*fragment = bh_get16(p + at + 2) & 0xfff9;
			at += 8;
		} else {
			at += *protocol == 51 ? ((uint32_t)p[at + 1] + 2) * 4 : ((uint32_t)p[at + 1] + 1) * 8;
		}
		*protocol = next;
		if (*fragment)
			break;
	}
	return at;
}

uint32_t bh_frame_transport(const struct bh_frame *frame)
{
	uint8_t protocol;
	bool fragment;

	return walk(frame, &protocol, &fragment);
}

struct bh_address bh_frame_address(const struct bh_frame *frame, bool source)
{
	const uint8_t *ip = frame->bytes + IP;

	return is_v6(frame) ? bh_address_from_bytes(ip + (source ? 8 : 24), 16)
	                    : bh_address_from_bytes(ip + (source ? 12 : 16), 4);
}

void bh_ip_set_address(uint8_t *ip, bool source, const struct bh_address *address)
{
	if (bh_address_is_v4(address))
		bh_address_to_bytes(address, ip + (source ? 12 : 16));
	else
		bh_address_to_bytes(address, ip + (source ? 8 : 24));
}

void bh_frame_set_address(struct bh_frame *frame, bool source, const struct bh_address *address)
{
	bh_ip_set_address(frame->bytes + IP, source, address);
}

/* Where a protocol keeps its checksum, and whether that covers the addresses; -1 = it has none. */
static int checksum_at(uint8_t protocol, bool v6, bool *pseudo)
{
	*pseudo = protocol != BH_PROTO_ICMP;
	switch (protocol) {
	case BH_PROTO_TCP: return 16;
	case BH_PROTO_UDP: return 6;
	case BH_PROTO_ICMP: return v6 ? -1 : 2;
	case BH_PROTO_ICMP6: return v6 ? 2 : -1;
	default: return -1;
	}
}

static void sum_transport(struct bh_frame *frame)
{
	bool v6 = is_v6(frame), fragment, pseudo;
	uint8_t protocol, header[40] = {0}, *p = frame->bytes;
	uint32_t at = walk(frame, &protocol, &fragment), sum = 0;
	uint32_t end = v6 ? IP + 40 + bh_get16(p + IP + 4) : IP + bh_get16(p + IP + 2);
	int field = checksum_at(protocol, v6, &pseudo);
	uint32_t n = v6 ? 32 : 8;
	uint16_t folded;

	if (field < 0 || fragment || end > frame->size || at + (uint32_t)field + 2 > end)
		return;
	if (pseudo) {
		memcpy(header, p + IP + (v6 ? 8 : 12), n);
		bh_put16(header + n + 2, end - at);
		header[n + 5] = protocol;
		sum = bh_checksum_add(0, header, n + 6);
	}
	bh_put16(p + at + field, 0);
	folded = bh_checksum_fold(bh_checksum_add(sum, p + at, end - at));
	bh_put16(p + at + field, protocol == BH_PROTO_UDP && !folded ? 0xffff : folded);
}

void bh_frame_sum(struct bh_frame *frame)
{
	uint8_t *ip = frame->bytes + IP;

	if (!is_v6(frame)) {
		bh_put16(ip + 10, 0);
		bh_put16(ip + 10, bh_checksum_fold(bh_checksum_add(0, ip, (uint32_t)(ip[0] & 15) * 4)));
	}
	sum_transport(frame);
}

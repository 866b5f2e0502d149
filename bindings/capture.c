/*
 * capture.c - see capture.h.
 *
 * Which side is WHO is told by the packet's addresses. Its MAC is that of the first frame it sends
 * or is sent, and frames are given that MAC (a capture may be from another link), so that a gate
 * that checks identity sees one NIC. What a capture cut off is read as zeros.
 */
#include "capture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../engine/base/late.h"

#define FRAME_MAX 262158 /* the largest snapshot of libpcap, and an Ethernet header */
#define TABLE_BYTES_MAX (64u << 20)
#define START (1000 * BH_NS)

static const uint8_t stranger_mac[6] = {0x02, 0, 0, 0, 0, 0x01};

/* Bytes before the network layer's packet; -1 = a link type that is not read. */
static int link_header(int link)
{
	switch (link) {
	case DLT_EN10MB: return 14;
	case DLT_RAW:
	case 101: /* LINKTYPE_RAW, where it is not DLT_RAW */
	case DLT_IPV4:
	case DLT_IPV6: return 0;
	case DLT_NULL:
	case DLT_LOOP: return 4;
	case DLT_LINUX_SLL: return 16;
	case DLT_LINUX_SLL2: return 20;
	default: return -1;
	}
}

static struct {
	pcap_t *(*open)(const char *path, u_int precision, char *why);
	int (*datalink)(pcap_t *);
	const char *(*link_name)(int);
	FILE *(*file)(pcap_t *);
	int (*next)(pcap_t *, struct pcap_pkthdr **, const u_char **);
	char *(*error)(pcap_t *);
	void (*close)(pcap_t *);
} pcap;

static int load(struct bh_error *err)
{
	static const char *const names[] = {
		"pcap_open_offline_with_tstamp_precision", "pcap_datalink", "pcap_datalink_val_to_name",
		"pcap_file", "pcap_next_ex", "pcap_geterr", "pcap_close",
	};

	_Static_assert(sizeof(pcap) == sizeof(names), "a function for each name");
	return pcap.close ? 0
	                  : bh_late_load(BH_PCAP_SO, names, (void **)&pcap, sizeof(names) / sizeof(names[0]), err);
}

int bh_replay_open(struct bh_replay *replay, const char *path, struct bh_error *err)
{
	char why[PCAP_ERRBUF_SIZE] = "";
	struct stat st;
	int rc = load(err);

	if (rc)
		return rc;
	replay->pcap = pcap.open(path, PCAP_TSTAMP_PRECISION_NANO, why);
	if (!replay->pcap)
		return bh_error_set(err, access(path, R_OK) ? -errno : -EBADMSG, "'%.200s' is not read: %s", path,
		                    access(path, R_OK) ? strerror(errno) : why);
	replay->link = pcap.datalink(replay->pcap);
	if (link_header(replay->link) < 0) {
		const char *name = pcap.link_name(replay->link);

		return bh_error_set(err, -ENOTSUP, "'%.200s' is a capture of link type %s; Ethernet, raw IP and Linux "
		                    "cooked captures are read", path, name ? name : "unknown");
	}
	if (!fstat(fileno(pcap.file(replay->pcap)), &st) && S_ISREG(st.st_mode))
		replay->size = (uint64_t)st.st_size;
	replay->frame = calloc(1, FRAME_MAX);
	return replay->frame ? 0 : bh_error_set(err, -ENOMEM, "not enough memory for a replay");
}

int bh_replay_prepare(struct bh_replay *replay, const struct bh_gate_object *gate,
                      struct bh_error *err)
{
	int rc = 0;

	replay->gate = gate;
	replay->conf = gate->conf;
	replay->now = START;
	replay->summary = bh_hash_new(sizeof(struct bh_replay_key), sizeof(struct bh_replay_flow));
	if (!replay->summary)
		return bh_error_set(err, -ENOMEM, "not enough memory for a replay");
	for (int i = 0; !rc && i < 2; i++) {
		if (!gate->tables[i] && gate->rulesets[i])
			rc = bh_table_compile(&replay->tables[i], gate->rulesets[i], TABLE_BYTES_MAX, err);
		if (!rc && replay->tables[i])
			replay->conf.tables[i].id = (uint32_t)i + 1;
	}
	rc = rc ? rc : bh_flow_table_new(&replay->flows, 1u << 20, err);
	return rc ? rc : bh_flow_table_add_share(replay->flows, replay->conf.compartment, err);
}

void bh_replay_clear(struct bh_replay *replay)
{
	if (replay->pcap)
		pcap.close(replay->pcap);
	replay->pcap = NULL;
	bh_table_free(&replay->tables[0]);
	bh_table_free(&replay->tables[1]);
	if (replay->flows)
		bh_flow_table_free(&replay->flows);
	bh_hash_free(&replay->summary);
	free(replay->frame);
	replay->frame = NULL;
}

double bh_replay_progress(const struct bh_replay *replay)
{
	long at = replay->pcap ? ftell(pcap.file(replay->pcap)) : -1;

	return replay->size && at >= 0 ? (double)at / (double)replay->size : 0;
}

static const void *table_of(void *arg, const struct bh_table_ref *ref)
{
	const struct bh_replay *replay = arg;
	size_t i = (size_t)(ref - replay->conf.tables);
	const struct bh_table *table = replay->tables[i] ? replay->tables[i] : replay->gate->tables[i];

	return table->bytes;
}

/* A captured packet as an Ethernet frame of its whole length. */
struct frame {
	uint8_t *bytes;
	uint32_t size;
	uint64_t time;
};

static uint16_t ethertype_of(const struct bh_replay *replay, const uint8_t *bytes, uint32_t size)
{
	if (replay->link == DLT_LINUX_SLL && size >= 16)
		return bh_get16(bytes + 14);
	if (replay->link == DLT_LINUX_SLL2 && size >= 20)
		return bh_get16(bytes);
	bytes += link_header(replay->link);
	return (bytes[0] >> 4) == 6 ? BH_ETH_IP6 : BH_ETH_IP;
}

/* In ns. The 32 bits of seconds that a pcap file has are without sign, which libpcap gives them; pcapng can
 * say more than fits. */
static uint64_t time_of(const struct pcap_pkthdr *info)
{
	const uint64_t most = UINT64_MAX / BH_NS - 1;
	uint64_t seconds = info->ts.tv_sec < 0 ? (uint32_t)info->ts.tv_sec : (uint64_t)info->ts.tv_sec;

	return (seconds < most ? seconds : most) * BH_NS + (uint64_t)info->ts.tv_usec;
}

/* The next packet: 1, or 0 at the end. */
static int next_frame(struct bh_replay *replay, struct frame *frame)
{
	uint32_t header = (uint32_t)link_header(replay->link), have, whole;
	struct pcap_pkthdr *info;
	const u_char *bytes;
	int rc = pcap.next(replay->pcap, &info, &bytes);

	if (rc != 1) {
		if (rc == PCAP_ERROR)
			snprintf(replay->ending, sizeof(replay->ending), "%s", pcap.error(replay->pcap));
		return 0;
	}
	frame->time = time_of(info);
	whole = info->len < FRAME_MAX - 14 ? info->len : FRAME_MAX - 14;
	have = info->caplen < whole ? info->caplen : whole;
	if (replay->link == DLT_EN10MB && have == whole) {
		frame->bytes = (uint8_t *)(uintptr_t)bytes; /* libpcap's buffer, ours until the next packet */
		frame->size = whole;
		return 1;
	}
	frame->bytes = replay->frame;
	if (replay->link == DLT_EN10MB) {
		memcpy(frame->bytes, bytes, have);
		memset(frame->bytes + have, 0, whole - have);
		frame->size = whole;
		return 1;
	}
	if (have <= header) {
		memset(frame->bytes, 0, 14);
		frame->size = 14;
		return 1;
	}
	memset(frame->bytes, 0, 12);
	frame->bytes[12] = (uint8_t)(ethertype_of(replay, bytes, have) >> 8);
	frame->bytes[13] = (uint8_t)ethertype_of(replay, bytes, have);
	memcpy(frame->bytes + 14, bytes + header, have - header);
	memset(frame->bytes + 14 + have - header, 0, whole - have);
	frame->size = 14 + whole - header;
	return 1;
}

/* Source and target, behind any VLAN tags; false if it is neither IP nor ARP. */
static bool ends_of(const struct frame *frame, struct bh_address *source, struct bh_address *target)
{
	uint32_t at = 12;
	uint16_t type = frame->size >= 14 ? bh_get16(frame->bytes + at) : 0;

	while ((type == 0x8100 || type == 0x88a8 || type == 0x9100) && frame->size >= at + 6) {
		at += 4;
		type = bh_get16(frame->bytes + at);
	}
	at += 2;
	if (type == BH_ETH_IP6 && frame->size >= at + 40) {
		bh_get_v6(source, frame->bytes + at + 8);
		bh_get_v6(target, frame->bytes + at + 24);
	} else if (type == BH_ETH_IP && frame->size >= at + 20) {
		bh_get_v4(source, frame->bytes + at + 12);
		bh_get_v4(target, frame->bytes + at + 16);
	} else if (type == BH_ETH_ARP && frame->size >= at + 28) {
		bh_get_v4(source, frame->bytes + at + 14);
		bh_get_v4(target, frame->bytes + at + 24);
	} else {
		return false;
	}
	return true;
}

int bh_replay_ends(struct bh_replay *replay, struct bh_address *source, struct bh_address *target)
{
	struct frame frame;

	while (next_frame(replay, &frame))
		if (ends_of(&frame, source, target))
			return 1;
	return 0;
}

static bool is_link_local(const struct bh_address *address)
{
	return address->hi >> 54 == 0xfe80 >> 6;
}

/* What the capture tells about the NIC of WHO, which sends or is sent this frame. */
static void learn(struct bh_replay *replay, const uint8_t *mac)
{
	static const uint8_t zero[6];

	if (replay->learned || replay->link != DLT_EN10MB || (mac[0] & 1) || !memcmp(mac, zero, 6))
		return;
	memcpy(replay->conf.mac, mac, 6);
	if (replay->conf.link_local.hi)
		replay->conf.link_local = bh_address_link_local(mac);
	replay->learned = true;
}

/* Which way the frame goes; false if it is of others. */
static bool orient(struct bh_replay *replay, const struct frame *frame, enum bh_direction *direction)
{
	const struct bh_conf *conf = &replay->conf;
	struct bh_address source, target;
	bool from_nic = replay->learned && frame->size >= 14 && !memcmp(frame->bytes + 6, conf->mac, 6);
	bool ends = ends_of(frame, &source, &target);

	if (ends && bh_conf_owns(conf, &source)) {
		learn(replay, frame->bytes + 6);
		*direction = BH_OUT;
		return true;
	}
	if (ends && bh_conf_owns(conf, &target)) {
		learn(replay, frame->bytes);
		*direction = BH_IN;
		return true;
	}
	if (from_nic) {
		if (ends && is_link_local(&source) && !replay->learned_link_local) {
			replay->conf.link_local = source;
			replay->learned_link_local = true;
		}
		*direction = BH_OUT;
		return true;
	}
	*direction = BH_IN;
	return ends ? bh_address_is_multicast(&target) || bh_conf_broadcasts(conf, &target)
	            : replay->learned && (frame->bytes[0] & 1 || !memcmp(frame->bytes, conf->mac, 6));
}

static void key_of(const struct bh_packet *packet, struct bh_replay_key *key)
{
	const struct bh_key *k = &packet->key;
	uint8_t query = bh_is_icmp(k) ? bh_icmp_query_of_reply(k) : 0;

	memset(key, 0, sizeof(*key));
	key->form = packet->form;
	key->ethertype = packet->ethertype;
	if (packet->form != BH_FORM_IP && packet->form != BH_FORM_ARP)
		return;
	key->local = k->local;
	key->remote = k->remote;
	key->protocol = k->protocol;
	key->v6 = k->v6;
	key->local_port = query ? (uint16_t)(query << 8) : k->local_port;
	key->remote_port = k->remote_port;
}

static void note(struct bh_replay *replay, const struct bh_replay_packet *judged)
{
	const struct bh_verdict *verdict = &judged->verdict;
	struct bh_replay_flow *flow, new = {0};
	struct bh_replay_key key;

	key_of(&judged->packet, &key);
	flow = bh_hash_find(replay->summary, &key);
	if (!flow) {
		new.first = judged->time;
		new.opened = *verdict;
		new.opener = (uint8_t)judged->direction;
		new.local_port = judged->packet.key.local_port;
		new.remote_port = judged->packet.key.remote_port;
		if (bh_hash_count(replay->summary) >= BH_REPLAY_FLOWS || bh_hash_insert(replay->summary, &key, &new)) {
			replay->unlisted++;
			return;
		}
		flow = bh_hash_find(replay->summary, &key);
	}
	flow->last = judged->time;
	flow->packets[judged->direction]++;
	flow->bytes[judged->direction] += judged->size;
	flow->audited += verdict->audit;
	if (verdict->action == BH_BLOCK && !flow->dropped++) {
		flow->worst = *verdict;
		flow->worst_direction = (uint8_t)judged->direction;
	}
}

static void set_clock(struct bh_replay *replay, uint64_t time)
{
	if (!replay->packets)
		replay->first = replay->last = time;
	if (time < replay->first)
		replay->first = time;
	if (time > replay->last) {
		replay->now += time - replay->last;
		replay->last = time;
	}
	replay->packets++;
}

int bh_replay_next(struct bh_replay *replay, struct bh_replay_packet *judged)
{
	struct bh_env env = {.table = table_of, .table_arg = replay, .flows = replay->flows};
	struct frame frame;

	for (;;) {
		if (!next_frame(replay, &frame))
			return 0;
		set_clock(replay, frame.time);
		if (orient(replay, &frame, &judged->direction))
			break;
		replay->others++;
	}
	if (frame.size >= 14) {
		memcpy(frame.bytes + 6, judged->direction == BH_OUT ? replay->conf.mac
		       : replay->link == DLT_EN10MB ? frame.bytes + 6 : stranger_mac, 6);
		if (judged->direction == BH_IN && !(frame.bytes[0] & 1))
			memcpy(frame.bytes, replay->conf.mac, 6);
	}
	env.frame = frame.bytes;
	env.size = frame.size;
	env.gso = frame.size > 65549 || (frame.size > 18 && bh_get16(frame.bytes + 12) == BH_ETH_IP &&
	                                 !bh_get16(frame.bytes + 16));
	env.now = replay->now;
	judged->time = frame.time;
	judged->size = frame.size;
	bh_evaluate(&env, &replay->conf, judged->direction, &judged->packet, &judged->verdict);
	bh_counters_add(&replay->counters, judged->direction, &judged->verdict, frame.size);
	note(replay, judged);
	return 1;
}

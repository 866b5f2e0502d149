/*
 * record.h - what the gate remembers of packets it dropped, audited or was asked to log.
 *
 * A circle of the newest records, each with its number, so that a flood costs old records and never
 * new ones, and any number of readers go along it without taking anything from each other. Shared
 * with eBPF; the kernel writes into the very memory that readers map.
 *
 * A writer claims a number, then the record's place; a place that another CPU is still writing, or
 * has written for a later number, is left to it, which readers see as a gap. `sequence` is written
 * last, and a reader that finds it the same before and after copying has a whole record.
 */
#ifndef BH_FILTER_RECORD_H
#define BH_FILTER_RECORD_H

#include "flow.h"

#define BH_RECORDS 8192 /* a power of two */
#define BH_RECORD_BUSY (~(uint64_t)0)

struct bh_record {
	uint64_t sequence; /* the record's number + 1; 0 = none yet, BH_RECORD_BUSY = being written */
	uint64_t time;     /* ns of the gate's clock */
	struct bh_key key;
	uint32_t endpoint;
	uint32_t compartment;
	uint32_t generation; /* of the policy that decided */
	uint32_t rule;       /* id, 0 = none */
	uint32_t size;       /* bytes of the frame */
	uint16_t ethertype;
	uint8_t form;   /* enum bh_form */
	uint8_t action; /* enum bh_action */
	uint8_t by;     /* enum bh_by */
	uint8_t audit;
	uint8_t log;
	uint8_t tcp_flags;
	uint8_t source_mac[6];
	uint8_t reserved[6];
};

struct bh_circle {
	uint64_t next; /* the number of the next record */
	uint64_t reserved;
	struct bh_record records[BH_RECORDS];
};

/*
 * Whether the verdict is worth a record: what was dropped, and of what passed only what a rule or a
 * default decided, not each packet of the flow it started. Neighbours asking for others is what every
 * port of a switch sees all the time.
 */
static inline bool bh_is_recorded(const struct bh_verdict *verdict)
{
	if (verdict->action == BH_BLOCK)
		return verdict->by != BH_BY_NEIGHBOUR;
	return (verdict->audit || verdict->log) &&
	       (verdict->by == BH_BY_RULE || verdict->by == BH_BY_DEFAULT);
}

static inline void bh_record_put(struct bh_circle *circle, uint64_t now, uint32_t size,
                                 const struct bh_conf *conf, const struct bh_packet *packet,
                                 const struct bh_verdict *verdict)
{
	uint64_t number = bh_fetch_add(&circle->next, 1);
	struct bh_record *record = &circle->records[number & (BH_RECORDS - 1)];
	uint64_t old = record->sequence;

	if (old > number || __sync_val_compare_and_swap(&record->sequence, old, BH_RECORD_BUSY) != old)
		return;
	record->time = now;
	record->key = packet->key;
	record->endpoint = conf->endpoint;
	record->compartment = conf->compartment;
	record->generation = conf->generation;
	record->rule = verdict->rule;
	record->size = size;
	record->ethertype = packet->ethertype;
	record->form = packet->form;
	record->action = verdict->action;
	record->by = verdict->by;
	record->audit = verdict->audit;
	record->log = verdict->log;
	record->tcp_flags = packet->tcp_flags;
	__builtin_memcpy(record->source_mac, packet->source_mac, 6);
	__sync_lock_test_and_set(&record->sequence, number + 1);
}

#ifndef __bpf__
/*
 * Copies records from number *from on, oldest first, at most `room`; returns how many and sets *from
 * to where to go on. What is no longer there is skipped: the numbers tell. One that is being written
 * ends the reading unless it has been overtaken for long.
 */
size_t bh_circle_read(const struct bh_circle *circle, uint64_t *from, struct bh_record *to,
                      size_t room);
/* The number of the next record. */
uint64_t bh_circle_next(const struct bh_circle *circle);
/* The packet in notation; returns `text`, which has BH_NOTATION_TEXT bytes. */
char *bh_record_format(const struct bh_record *record, char *text);
#endif

#endif

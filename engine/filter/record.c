/*
 * record.c - reading the circle of records; see record.h.
 */
#include "record.h"

#include <string.h>

#include "notation.h"

#define PATIENCE 64 /* newer records after which one that is not whole is given up */

uint64_t bh_circle_next(const struct bh_circle *circle)
{
	return __atomic_load_n(&circle->next, __ATOMIC_ACQUIRE);
}

/* Copies record `number`, if it is there and stays there meanwhile. */
static bool copy_record(const struct bh_circle *circle, uint64_t number, struct bh_record *to)
{
	const struct bh_record *record = &circle->records[number & (BH_RECORDS - 1)];
	uint64_t before = __atomic_load_n(&record->sequence, __ATOMIC_ACQUIRE);

	if (before != number + 1)
		return false;
	memcpy(to, record, sizeof(*to));
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&record->sequence, __ATOMIC_RELAXED) == before;
}

size_t bh_circle_read(const struct bh_circle *circle, uint64_t *from, struct bh_record *to,
                      size_t room)
{
	uint64_t next = bh_circle_next(circle), at = *from;
	size_t count = 0;

	if (at > next) /* of a circle that was there before this one */
		at = 0;
	if (next - at > BH_RECORDS)
		at = next - BH_RECORDS;
	for (; at < next && count < room; at++) {
		if (copy_record(circle, at, &to[count]))
			count++;
		else if (bh_circle_next(circle) - at <= PATIENCE)
			break;
	}
	*from = at;
	return count;
}

char *bh_record_format(const struct bh_record *record, char *text)
{
	struct bh_packet packet = {
		.key = record->key,
		.ethertype = record->ethertype,
		.form = record->form,
		.tcp_flags = record->tcp_flags,
	};

	return bh_notation_of_packet(&packet, text);
}

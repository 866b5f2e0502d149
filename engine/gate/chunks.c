/*
 * chunks.c - see chunks.h.
 */
#include "chunks.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../filter/table.h"

#define ALIGN 64
#define NONE UINT32_MAX
#define PAGE 4096u
#define SEEN_MORE 1024u /* spots, 4 pages */
#define MEMBARRIER_GLOBAL 1 /* MEMBARRIER_CMD_GLOBAL: a grace period of the kernel's readers */

static const uint32_t chunk_sizes[BH_CHUNK_CLASSES] = {BH_CHUNK_1M, BH_CHUNK_8M, BH_CHUNK_64M};
/* Bytes of a chunk that tables may have. */
static const uint32_t chunk_rooms[BH_CHUNK_CLASSES] = {BH_CHUNK_1M - BH_TABLE_TAIL, BH_CHUNK_8M - BH_TABLE_TAIL,
                                                       BH_CHUNK_64M - BH_TABLE_TAIL};
static const uint32_t chunk_counts[BH_CHUNK_CLASSES] = {BH_CHUNKS_1M, BH_CHUNKS_8M, BH_CHUNKS_64M};

struct known {
	struct bh_spot spot;
	uint32_t slot; /* in the array */
};

/* All spots in use, by where they are. */
struct bh_known {
	uint32_t count, room, graves;
	uint32_t full; /* no slot before this one is free */
	struct known *list;
};

/* ---- spots ---- */

/* Maps what is in use, and one more. Only as much as that: each page costs. */
static int see(struct bh_chunks *chunks, struct bh_error *err)
{
	uint64_t used = __atomic_load_n(chunks->used, __ATOMIC_ACQUIRE);
	uint32_t seen = used + SEEN_MORE < BH_TABLES_MAX ? (uint32_t)used / SEEN_MORE * SEEN_MORE + SEEN_MORE : BH_TABLES_MAX;
	void *memory;

	if (seen <= chunks->seen)
		return 0;
	memory = mmap(NULL, seen * sizeof(struct bh_spot), PROT_READ | PROT_WRITE, MAP_SHARED, chunks->map, 0);
	if (memory == MAP_FAILED)
		return bh_error_errno(err, -errno, "cannot read where the gate's tables are");
	if (chunks->seen)
		munmap(chunks->spots, chunks->seen * sizeof(struct bh_spot));
	chunks->spots = memory;
	chunks->seen = seen;
	return 0;
}

static uint32_t id_of(const struct bh_chunks *chunks, uint32_t slot)
{
	return __atomic_load_n(&chunks->spots[slot].id, __ATOMIC_ACQUIRE);
}

static void id_set(struct bh_chunks *chunks, uint32_t slot, uint32_t id)
{
	__atomic_store_n(&chunks->spots[slot].id, id, __ATOMIC_RELEASE);
}

/* The slot of a table, or NONE. Tables that were made one after another are asked for so. */
static uint32_t slot_of(struct bh_chunks *chunks, uint32_t id)
{
	uint32_t used = (uint32_t)__atomic_load_n(chunks->used, __ATOMIC_ACQUIRE), slot = chunks->next;

	used = used < chunks->seen ? used : chunks->seen;
	if (slot >= used || id_of(chunks, slot) != id)
		for (slot = 0; slot < used && id_of(chunks, slot) != id; slot++)
			;
	if (slot == used)
		return NONE;
	chunks->next = slot + 1;
	return slot;
}

/* ---- what is known ---- */

static void forget(struct bh_chunks *chunks)
{
	if (chunks->known)
		free(chunks->known->list);
	free(chunks->known);
	chunks->known = NULL;
}

void bh_chunks_clear(struct bh_chunks *chunks)
{
	forget(chunks);
	if (chunks->seen)
		munmap(chunks->spots, chunks->seen * sizeof(struct bh_spot));
	chunks->seen = 0;
}

static bool before(const struct bh_spot *a, const struct bh_spot *b)
{
	return a->chunk != b->chunk ? a->chunk < b->chunk : a->at < b->at;
}

static int by_place(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	return before(&x->spot, &y->spot) ? -1 : before(&y->spot, &x->spot);
}

static int make_place(struct bh_known *known)
{
	uint32_t room = known->room ? known->room * 2 : 64;
	struct known *list;

	if (known->count < known->room)
		return 0;
	list = realloc(known->list, room * sizeof(*list));
	if (!list)
		return -ENOMEM;
	known->list = list;
	known->room = room;
	return 0;
}

static int know(struct bh_chunks *chunks, struct bh_error *err)
{
	struct bh_known *known;

	if (chunks->known && chunks->known_serial == *chunks->serial)
		return 0;
	forget(chunks);
	known = chunks->known = calloc(1, sizeof(*chunks->known));
	for (uint32_t slot = 0; known && slot < *chunks->used; slot++) {
		if (!id_of(chunks, slot))
			continue;
		if (make_place(known)) {
			forget(chunks);
			known = NULL;
			break;
		}
		known->graves += id_of(chunks, slot) == BH_GRAVE;
		known->list[known->count++] = (struct known){chunks->spots[slot], slot};
	}
	if (!known)
		return bh_error_set(err, -ENOMEM, "not enough memory to see where the gate's tables are");
	if (known->count)
		qsort(known->list, known->count, sizeof(struct known), by_place);
	chunks->known_serial = *chunks->serial;
	return 0;
}

/*
 * Another process knows by the serial that something changes; this one makes the same change. Called before
 * it, so that none that a kill cut short goes unnoticed.
 */
static void changing(struct bh_chunks *chunks)
{
	chunks->known_serial = ++*chunks->serial;
}

/* ---- chunks ---- */

/* A descriptor of the chunk's map, the caller's to close. */
static int chunk_open(const struct bh_chunks *chunks, uint32_t chunk)
{
	uint32_t index = chunk & 0xffff, id;
	int fd;

	if (chunk >> 16 >= BH_CHUNK_CLASSES)
		return -EINVAL;
	if (bpf_map_lookup_elem(chunks->classes[chunk >> 16], &index, &id))
		return -errno;
	fd = bpf_map_get_fd_by_id(id);
	return fd < 0 ? -errno : fd;
}

static int chunk_make(const struct bh_chunks *chunks, uint32_t chunk)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	uint32_t index = chunk & 0xffff;
	int rc, fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "bh_chunk", 4, chunk_sizes[chunk >> 16], 1, &opts);

	if (fd < 0)
		return -errno;
	rc = bpf_map_update_elem(chunks->classes[chunk >> 16], &index, &fd, BPF_ANY) ? -errno : 0;
	close(fd);
	return rc;
}

/* A table's bytes in the kernel, on pages that bytes_unmap() lets go. NULL and errno. */
static uint8_t *bytes_map(const struct bh_chunks *chunks, const struct bh_spot *spot, bool write)
{
	int fd = chunk_open(chunks, spot->chunk);
	uint32_t skip = spot->at % PAGE;
	uint8_t *pages;

	if (fd < 0) {
		errno = -fd;
		return NULL;
	}
	pages = mmap(NULL, skip + spot->size, write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd,
	             spot->at - skip);
	close(fd);
	return pages == MAP_FAILED ? NULL : pages + skip;
}

static void bytes_unmap(uint8_t *bytes, const struct bh_spot *spot)
{
	uint32_t skip = spot->at % PAGE;

	munmap(bytes - skip, skip + spot->size);
}

/* ---- room ---- */

/*
 * Room for `size` bytes in a chunk there is. Else -ENOSPC, and the index of the first chunk of the
 * class that is not there, or that nothing stands in.
 */
static int find_room(const struct bh_chunks *chunks, uint32_t class, uint32_t size, struct bh_spot *spot,
                     uint32_t *position, uint32_t *unused)
{
	const struct bh_known *known = chunks->known;
	uint32_t i = 0, chunk = class << 16;

	*unused = UINT32_MAX;
	while (i < known->count && known->list[i].spot.chunk >> 16 < class)
		i++;
	for (; chunk < (class << 16 | chunk_counts[class]); chunk++) {
		uint32_t end = 0, first = i;

		for (; i < known->count && known->list[i].spot.chunk == chunk; i++) {
			const struct bh_spot *next = &known->list[i].spot;

			if (next->at - end >= size)
				break;
			end = (next->at + next->size + ALIGN - 1) / ALIGN * ALIGN;
		}
		if (i == first && (i == known->count || known->list[i].spot.chunk != chunk)) {
			if (*unused == UINT32_MAX)
				*unused = chunk;
			if (i == known->count)
				return -ENOSPC;
			continue;
		}
		if ((i < known->count && known->list[i].spot.chunk == chunk) || chunk_rooms[class] - end >= size) {
			*spot = (struct bh_spot){0, chunk, end, size};
			*position = i;
			return 0;
		}
	}
	return -ENOSPC;
}

/* Waits until no packet reads what was removed before, and forgets graves and empty chunks. */
static void bury(struct bh_chunks *chunks)
{
	struct bh_known *known = chunks->known;
	uint32_t kept = 0;

	changing(chunks);
	if (syscall(SYS_membarrier, MEMBARRIER_GLOBAL, 0, 0))
		usleep(1000000); /* a kernel of isolated processors refuses; none runs a packet that long */
	for (uint32_t i = 0; i < known->count; i++) {
		uint32_t chunk = known->list[i].spot.chunk, index = chunk & 0xffff;
		bool last = i + 1 == known->count || known->list[i + 1].spot.chunk != chunk;

		if (known->list[i].spot.id != BH_GRAVE) {
			known->list[kept++] = known->list[i];
			continue;
		}
		id_set(chunks, known->list[i].slot, 0);
		if (last && (!kept || known->list[kept - 1].spot.chunk != chunk))
			bpf_map_delete_elem(chunks->classes[chunk >> 16], &index);
	}
	known->count = kept;
	known->graves = known->full = 0;
}

/* A slot that is of none, or NONE. */
static uint32_t free_slot(struct bh_chunks *chunks)
{
	for (uint32_t slot = chunks->known->full; slot < BH_TABLES_MAX; slot++) {
		if (slot >= *chunks->used || !id_of(chunks, slot)) {
			chunks->known->full = slot;
			return slot;
		}
	}
	if (!chunks->known->graves)
		return NONE;
	bury(chunks);
	return free_slot(chunks);
}

/* Finds or makes room; `position` is where the spot belongs in the list. */
static int make_room(struct bh_chunks *chunks, uint32_t size, struct bh_spot *spot, uint32_t *position,
                     struct bh_error *err)
{
	uint32_t class = 0, unused;
	int rc;

	while (class < BH_CHUNK_CLASSES && chunk_rooms[class] < size)
		class++;
	if (class == BH_CHUNK_CLASSES)
		return bh_error_set(err, -E2BIG, "a table of %u bytes is larger than the gate's limit of %u", size,
		                    chunk_rooms[BH_CHUNK_CLASSES - 1]);
	rc = find_room(chunks, class, size, spot, position, &unused);
	if (rc && chunks->known->graves) {
		bury(chunks);
		rc = find_room(chunks, class, size, spot, position, &unused);
	}
	if (!rc)
		return 0;
	if (unused == UINT32_MAX)
		return bh_error_set(err, -ENOSPC, "the gate has no room for a table of %u bytes: all its %u chunks of %u"
		                    " bytes are in use", size, chunk_counts[class], chunk_sizes[class]);
	rc = chunk_make(chunks, unused);
	if (rc)
		return bh_error_errno(err, rc, "the kernel has no room for another %u bytes of tables", chunk_sizes[class]);
	*spot = (struct bh_spot){0, unused, 0, size};
	for (*position = 0; *position < chunks->known->count; ++*position)
		if (!before(&chunks->known->list[*position].spot, spot))
			break;
	return 0;
}

/* ---- tables ---- */

static int slot_remove(struct bh_chunks *chunks, uint32_t slot, struct bh_error *err)
{
	int rc = know(chunks, err);

	if (rc)
		return rc;
	changing(chunks);
	id_set(chunks, slot, BH_GRAVE);
	for (uint32_t i = 0; i < chunks->known->count; i++)
		if (chunks->known->list[i].slot == slot)
			chunks->known->list[i].spot.id = BH_GRAVE;
	chunks->known->graves++;
	return 0;
}

int bh_chunks_remove(struct bh_chunks *chunks, uint32_t id, struct bh_error *err)
{
	int rc = see(chunks, err);
	uint32_t slot = rc ? NONE : slot_of(chunks, id);

	return rc || slot == NONE ? rc : slot_remove(chunks, slot, err);
}

/* Whether what stands there is as it should be. */
static bool is_there(const struct bh_chunks *chunks, const struct bh_spot *spot, const void *bytes, uint32_t size)
{
	uint8_t *there = spot->size == size ? bytes_map(chunks, spot, false) : NULL;
	bool same;

	if (!there)
		return false;
	same = !memcmp(there, bytes, size);
	bytes_unmap(there, spot);
	return same;
}

/* Finds room and makes it the table's own. Whose the space is comes first, so that no crash leaves it to nobody. */
static int settle(struct bh_chunks *chunks, uint32_t id, uint32_t size, uint32_t *slot, struct bh_error *err)
{
	struct bh_spot spot;
	uint32_t position;
	struct known *list;
	int rc = know(chunks, err);

	if (rc)
		return rc;
	*slot = free_slot(chunks);
	if (*slot == NONE)
		return bh_error_set(err, -ENOSPC, "the gate has no room for another table (of %u)", BH_TABLES_MAX);
	if (make_place(chunks->known))
		return bh_error_set(err, -ENOMEM, "not enough memory to see where the gate's tables are");
	rc = make_room(chunks, size, &spot, &position, err);
	if (rc)
		return rc;
	changing(chunks);
	chunks->spots[*slot] = spot;
	if (*slot >= *chunks->used)
		__atomic_store_n(chunks->used, *slot + 1, __ATOMIC_RELEASE);
	id_set(chunks, *slot, id);
	spot.id = id;
	list = chunks->known->list;
	memmove(&list[position + 1], &list[position], (chunks->known->count++ - position) * sizeof(*list));
	list[position] = (struct known){spot, *slot};
	return 0;
}

int bh_chunks_put(struct bh_chunks *chunks, uint32_t id, const void *bytes, uint32_t size,
                  struct bh_error *err)
{
	int rc = see(chunks, err);
	uint8_t *there;
	uint32_t slot;

	if (rc)
		return rc;
	slot = slot_of(chunks, id);
	/* Of a change that a crash cut short. A whole one stays where it is: confs may name it already. */
	if (slot != NONE && is_there(chunks, &chunks->spots[slot], bytes, size))
		return 0;
	rc = slot == NONE ? 0 : slot_remove(chunks, slot, err);
	rc = rc ? rc : settle(chunks, id, size, &slot, err);
	if (rc)
		return rc;
	there = bytes_map(chunks, &chunks->spots[slot], true);
	if (!there) {
		rc = -errno;
		slot_remove(chunks, slot, NULL);
		return bh_error_errno(err, rc, "cannot write table %u", id);
	}
	memcpy(there, bytes, size);
	bytes_unmap(there, &chunks->spots[slot]);
	return 0;
}

/* Where a table is. Readers take no lock: it may go meanwhile. */
static int find(struct bh_chunks *chunks, uint32_t id, struct bh_spot *spot, struct bh_error *err)
{
	int rc = see(chunks, err);
	uint32_t slot = rc ? NONE : slot_of(chunks, id);

	if (rc)
		return rc;
	if (slot != NONE)
		*spot = chunks->spots[slot];
	atomic_thread_fence(memory_order_acquire);
	if (slot == NONE || id_of(chunks, slot) != id)
		return bh_error_set(err, -ENOENT, "table %u is not in the gate", id);
	return 0;
}

int bh_chunks_find(struct bh_chunks *chunks, struct bh_table_ref *ref, struct bh_error *err)
{
	struct bh_spot spot;
	int rc = ref->id ? find(chunks, ref->id, &spot, err) : 0;

	if (!rc && ref->id) {
		ref->chunk = spot.chunk;
		ref->at = spot.at;
	}
	return rc;
}

int bh_chunks_read(struct bh_chunks *chunks, const struct bh_table_ref *ref, void **bytes,
                   struct bh_error *err)
{
	uint8_t *there, *copy;
	struct bh_spot spot;
	int rc = find(chunks, ref->id, &spot, err);

	if (rc)
		return rc;
	there = bytes_map(chunks, &spot, false);
	copy = malloc(spot.size);
	if (!there || !copy)
		rc = bh_error_errno(err, there ? -ENOMEM : -errno, "cannot read table %u", ref->id);
	else
		memcpy(copy, there, spot.size);
	if (there)
		bytes_unmap(there, &spot);
	rc = rc ? rc : find(chunks, ref->id, &spot, err); /* it may have gone while it was read */
	if (rc) {
		free(copy);
		return rc;
	}
	*bytes = copy;
	return 0;
}

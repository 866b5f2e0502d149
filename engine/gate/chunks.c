/*
 * chunks.c - see chunks.h.
 */
#include "chunks.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../filter/table.h"

#define ALIGN 64
#define BATCH 4096
#define MEMBARRIER_GLOBAL 1 /* MEMBARRIER_CMD_GLOBAL: a grace period of the kernel's readers */

static const uint32_t chunk_sizes[BH_CHUNK_CLASSES] = {BH_CHUNK_1M, BH_CHUNK_8M, BH_CHUNK_64M};
static const uint32_t chunk_counts[BH_CHUNK_CLASSES] = {BH_CHUNKS_1M, BH_CHUNKS_8M, BH_CHUNKS_64M};

struct known {
	struct bh_spot spot;
	bool grave;
};

/* All spots and graves, by where they are. */
struct bh_spots {
	uint32_t count, room, graves;
	struct known *list;
};

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

static int append(struct bh_spots *spots, const struct bh_spot *spot, bool grave)
{
	if (spots->count == spots->room) {
		uint32_t room = spots->room ? spots->room * 2 : 64;
		struct known *list = realloc(spots->list, room * sizeof(*list));

		if (!list)
			return -ENOMEM;
		spots->list = list;
		spots->room = room;
	}
	spots->list[spots->count++] = (struct known){*spot, grave};
	spots->graves += grave;
	return 0;
}

/* Appends all of a map: values of `spots`, keys of `graves`. */
static int append_map(struct bh_spots *spots, int fd, bool graves)
{
	size_t key_size = graves ? sizeof(struct bh_spot) : sizeof(uint32_t);
	BH_AUTOFREE uint8_t *keys = malloc(BATCH * key_size);
	BH_AUTOFREE struct bh_spot *values = malloc(BATCH * sizeof(*values));
	uint32_t token = 0, *from = NULL;
	int rc = 0;

	if (!keys || !values)
		return -ENOMEM;
	while (!rc) {
		uint32_t count = BATCH, i;

		rc = bpf_map_lookup_batch(fd, from, &token, keys, values, &count, NULL) ? -errno : 0;
		if (rc && rc != -ENOENT)
			return rc;
		from = &token;
		for (i = 0; i < count; i++)
			if (append(spots, graves ? (struct bh_spot *)keys + i : &values[i], graves))
				return -ENOMEM;
	}
	return rc == -ENOENT ? 0 : rc;
}

static int know(struct bh_chunks *chunks, struct bh_error *err)
{
	int rc;

	if (chunks->known && chunks->known_serial == *chunks->serial)
		return 0;
	forget(chunks);
	chunks->known = calloc(1, sizeof(*chunks->known));
	rc = chunks->known ? append_map(chunks->known, chunks->spots, false) : -ENOMEM;
	rc = rc ? rc : append_map(chunks->known, chunks->graves, true);
	if (rc) {
		forget(chunks);
		return bh_error_errno(err, rc, "cannot read where the gate's tables are");
	}
	if (chunks->known->count)
		qsort(chunks->known->list, chunks->known->count, sizeof(struct known), by_place);
	chunks->known_serial = *chunks->serial;
	return 0;
}

/* Another process knows by the serial that something changed; this one makes the same change. */
static void changed(struct bh_chunks *chunks)
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

static void *chunk_map(const struct bh_chunks *chunks, uint32_t chunk, bool write)
{
	int fd = chunk_open(chunks, chunk);
	void *bytes;

	if (fd < 0)
		return NULL;
	bytes = mmap(NULL, chunk_sizes[chunk >> 16], write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	return bytes == MAP_FAILED ? NULL : bytes;
}

/* ---- room ---- */

/*
 * Room for `size` bytes in a chunk there is. Else -ENOSPC, and the index of the first chunk of the
 * class that is not there, or that nothing stands in.
 */
static int find_room(const struct bh_chunks *chunks, uint32_t class, uint32_t size, struct bh_spot *spot,
                     uint32_t *position, uint32_t *unused)
{
	const struct bh_spots *known = chunks->known;
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
		if ((i < known->count && known->list[i].spot.chunk == chunk) || chunk_sizes[class] - end >= size) {
			*spot = (struct bh_spot){chunk, end, size, 0};
			*position = i;
			return 0;
		}
	}
	return -ENOSPC;
}

/* Waits until no packet reads what was removed before, and forgets graves and empty chunks. */
static int bury(struct bh_chunks *chunks, struct bh_error *err)
{
	struct bh_spots *known = chunks->known;
	uint32_t kept = 0;

	if (syscall(SYS_membarrier, MEMBARRIER_GLOBAL, 0, 0))
		usleep(1000000); /* a kernel of isolated processors refuses; none runs a packet that long */
	for (uint32_t i = 0; i < known->count; i++) {
		uint32_t chunk = known->list[i].spot.chunk, index = chunk & 0xffff;
		bool last = i + 1 == known->count || known->list[i + 1].spot.chunk != chunk;

		if (!known->list[i].grave) {
			known->list[kept++] = known->list[i];
			continue;
		}
		if (bpf_map_delete_elem(chunks->graves, &known->list[i].spot) && errno != ENOENT)
			return bh_error_errno(err, -errno, "cannot forget a removed table");
		if (last && (!kept || known->list[kept - 1].spot.chunk != chunk))
			bpf_map_delete_elem(chunks->classes[chunk >> 16], &index);
	}
	known->count = kept;
	known->graves = 0;
	changed(chunks);
	return 0;
}

/* Finds or makes room; `position` is where the spot belongs in the list. */
static int make_room(struct bh_chunks *chunks, uint32_t size, struct bh_spot *spot, uint32_t *position,
                     struct bh_error *err)
{
	uint32_t class = 0, unused;
	int rc;

	while (class < BH_CHUNK_CLASSES && chunk_sizes[class] < size)
		class++;
	if (class == BH_CHUNK_CLASSES)
		return bh_error_set(err, -E2BIG, "a table of %u bytes is larger than the gate's limit of %u", size,
		                    BH_CHUNK_64M);
	rc = find_room(chunks, class, size, spot, position, &unused);
	if (rc && chunks->known->graves) {
		rc = bury(chunks, err);
		if (rc)
			return rc;
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
	*spot = (struct bh_spot){unused, 0, size, 0};
	for (*position = 0; *position < chunks->known->count; ++*position)
		if (!before(&chunks->known->list[*position].spot, spot))
			break;
	return 0;
}

/* ---- tables ---- */

int bh_chunks_remove(struct bh_chunks *chunks, uint32_t id, struct bh_error *err)
{
	struct bh_spot spot;
	uint32_t none = 0;
	int rc;

	if (bpf_map_lookup_elem(chunks->spots, &id, &spot))
		return errno == ENOENT ? 0 : bh_error_errno(err, -errno, "cannot remove table %u", id);
	rc = know(chunks, err);
	if (rc)
		return rc;
	/* The grave first: what a crash leaves in both is found by both. */
	if (bpf_map_update_elem(chunks->graves, &spot, &none, BPF_ANY) ||
	    bpf_map_delete_elem(chunks->spots, &id))
		return bh_error_errno(err, -errno, "cannot remove table %u", id);
	for (uint32_t i = 0; i < chunks->known->count; i++)
		if (!memcmp(&chunks->known->list[i].spot, &spot, sizeof(spot)) && !chunks->known->list[i].grave) {
			chunks->known->list[i].grave = true;
			chunks->known->graves++;
			break;
		}
	changed(chunks);
	return 0;
}

/* Whether the table is there as it should be. */
static bool is_there(const struct bh_chunks *chunks, uint32_t id, const void *bytes, uint32_t size)
{
	struct bh_spot spot;
	uint8_t *chunk;
	bool same;

	if (bpf_map_lookup_elem(chunks->spots, &id, &spot) || spot.size != size)
		return false;
	chunk = chunk_map(chunks, spot.chunk, false);
	if (!chunk)
		return false;
	same = !memcmp(chunk + spot.at, bytes, size);
	munmap(chunk, chunk_sizes[spot.chunk >> 16]);
	return same;
}

int bh_chunks_put(struct bh_chunks *chunks, uint32_t id, const void *bytes, uint32_t size,
                  struct bh_error *err)
{
	struct bh_spot spot;
	uint32_t position;
	uint8_t *chunk;
	int rc;

	/* Of a change that a crash cut short. A whole one stays where it is: confs may name it already. */
	if (is_there(chunks, id, bytes, size))
		return 0;
	rc = bh_chunks_remove(chunks, id, err);
	rc = rc ? rc : know(chunks, err);
	rc = rc ? rc : make_room(chunks, size, &spot, &position, err);
	if (rc)
		return rc;
	/* Whose the space is comes first, so that no crash leaves it to nobody. */
	if (bpf_map_update_elem(chunks->spots, &id, &spot, BPF_NOEXIST))
		return bh_error_errno(err, -errno, "the kernel has no room for another table (of %u)", BH_TABLES_MAX);
	rc = append(chunks->known, &spot, false);
	if (rc) {
		forget(chunks);
	} else {
		struct known *list = chunks->known->list;

		memmove(&list[position + 1], &list[position], (chunks->known->count - 1 - position) * sizeof(*list));
		list[position] = (struct known){spot, false};
	}
	changed(chunks);
	chunk = chunk_map(chunks, spot.chunk, true);
	if (!chunk) {
		rc = -errno;
		bh_chunks_remove(chunks, id, NULL);
		return bh_error_errno(err, rc, "cannot write table %u", id);
	}
	memcpy(chunk + spot.at, bytes, size);
	munmap(chunk, chunk_sizes[spot.chunk >> 16]);
	return 0;
}

int bh_chunks_find(const struct bh_chunks *chunks, struct bh_table_ref *ref, struct bh_error *err)
{
	struct bh_spot spot;

	if (!ref->id)
		return 0;
	if (bpf_map_lookup_elem(chunks->spots, &ref->id, &spot))
		return bh_error_errno(err, -errno, "table %u is not in the gate", ref->id);
	ref->chunk = spot.chunk;
	ref->at = spot.at;
	return 0;
}

int bh_chunks_read(const struct bh_chunks *chunks, const struct bh_table_ref *ref, void **bytes,
                   struct bh_error *err)
{
	uint8_t *chunk, *copy;
	struct bh_spot spot;
	int rc = 0;

	if (bpf_map_lookup_elem(chunks->spots, &ref->id, &spot))
		return bh_error_errno(err, -errno, "table %u is not in the gate", ref->id);
	chunk = chunk_map(chunks, spot.chunk, false);
	copy = malloc(spot.size);
	if (!chunk || !copy)
		rc = bh_error_errno(err, chunk ? -ENOMEM : -errno, "cannot read table %u", ref->id);
	else
		memcpy(copy, chunk + spot.at, spot.size);
	if (chunk)
		munmap(chunk, chunk_sizes[spot.chunk >> 16]);
	/* Readers take no lock: the table may have gone while it was read. */
	if (!rc && bpf_map_lookup_elem(chunks->spots, &ref->id, &spot))
		rc = bh_error_errno(err, -errno, "table %u is not in the gate", ref->id);
	if (rc) {
		free(copy);
		return rc;
	}
	*bytes = copy;
	return 0;
}

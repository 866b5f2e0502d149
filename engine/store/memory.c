/*
 * memory.c - what SQLite allocates with.
 *
 * Compiling statements asks for memory some thousands of times in the life of a process that makes one
 * change. SQLite's own remedy ("lookaside") is left out of some distributions' builds. Here blocks of a size
 * are cut from larger ones and kept in a list once freed, for the next of that size; what is large is
 * malloc()'s. One thread; nothing is given back before the process ends.
 */
#include "memory.h"

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define STEP 32         /* between sizes */
#define SMALL_MAX 2048  /* of a block with its head */
#define SLAB (32 << 10) /* what blocks are cut from */

/* Before each block; while it is free, the next of its size is in it. */
struct head {
	uint64_t size; /* with the head */
};

struct free_block {
	struct head head;
	struct free_block *next;
};

static struct free_block *lists[SMALL_MAX / STEP + 1];
static char *slab;
static size_t left; /* of it */

static size_t round_up(size_t size)
{
	size_t whole = size + sizeof(struct head);

	return whole > SMALL_MAX ? whole : (whole + STEP - 1) / STEP * STEP;
}

static struct head *cut(size_t size)
{
	struct head *head;

	if (left < size) {
		char *more = malloc(SLAB); /* what is left of the former is lost: less than a block */

		if (!more)
			return NULL;
		slab = more;
		left = SLAB;
	}
	head = (struct head *)slab;
	slab += size;
	left -= size;
	return head;
}

static void *take(int wanted)
{
	size_t size = round_up((size_t)wanted);
	struct free_block *kept;
	struct head *head;

	if (size > SMALL_MAX) {
		head = malloc(size);
	} else if ((kept = lists[size / STEP])) {
		lists[size / STEP] = kept->next;
		return &kept->head + 1;
	} else {
		head = cut(size);
	}
	if (!head)
		return NULL;
	head->size = size;
	return head + 1;
}

static void give(void *block)
{
	struct free_block *kept = (struct free_block *)((struct head *)block - 1);
	size_t class = kept->head.size / STEP;

	if (kept->head.size > SMALL_MAX) {
		free(kept);
		return;
	}
	kept->next = lists[class];
	lists[class] = kept;
}

static int size_of(void *block)
{
	return block ? (int)(((struct head *)block - 1)->size - sizeof(struct head)) : 0;
}

static void *resize(void *block, int wanted)
{
	int had = size_of(block);
	void *other;

	if (had > SMALL_MAX && wanted > SMALL_MAX) {
		struct head *head = realloc((struct head *)block - 1, round_up((size_t)wanted));

		if (!head)
			return NULL;
		head->size = round_up((size_t)wanted);
		return head + 1;
	}
	if (had >= wanted && had <= SMALL_MAX)
		return block;
	other = take(wanted);
	if (!other)
		return NULL;
	memcpy(other, block, (size_t)(had < wanted ? had : wanted));
	give(block);
	return other;
}

static int round_size(int wanted)
{
	return (int)(round_up((size_t)wanted) - sizeof(struct head));
}

static int begin(void *unused)
{
	(void)unused;
	return SQLITE_OK;
}

static void end(void *unused)
{
	(void)unused;
}

void bh_memory_use(void)
{
	static const sqlite3_mem_methods methods = {take, give, resize, size_of, round_size, begin, end, NULL};

	sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

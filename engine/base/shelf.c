/*
 * shelf.c - see shelf.h.
 */
#include "shelf.h"

#include <stdlib.h>
#include <string.h>

#include "pages.h"

#define HEAD 64
#define BOARD ((size_t)2 << 20)
#define SMALL ((size_t)4 << 10)   /* an array that may stay where it is */
#define FEW ((size_t)256 << 10)   /* all of an owner's */

/* A run of huge pages; what is in it follows. */
struct bh_board {
	struct bh_board *next;
	size_t size, used;
	size_t live; /* arrays */
};

/* Before an array. */
struct head {
	struct bh_board *board; /* NULL = on the heap */
	size_t size;
};

static struct head *head_of(void *memory)
{
	return (struct head *)((char *)memory - HEAD);
}

/* Room on the first board, or on a new one that becomes it; NULL. */
static struct head *take(struct bh_shelf *shelf, size_t size)
{
	struct bh_board *board = shelf->boards;
	struct head *head;

	if (!board || board->size - board->used < size) {
		size_t whole = (HEAD + size + BOARD - 1) / BOARD * BOARD;

		board = bh_pages_alloc(whole);
		if (!board)
			return NULL;
		*board = (struct bh_board){shelf->boards, whole, HEAD, 0};
		shelf->boards = board;
	}
	head = (struct head *)((char *)board + board->used);
	board->used += size;
	board->live++;
	head->board = board;
	return head;
}

static void drop(struct bh_shelf *shelf, struct bh_board *board)
{
	struct bh_board **at = &shelf->boards;

	if (--board->live)
		return;
	board->used = HEAD;
	if (board == shelf->boards)
		return;
	while (*at != board)
		at = &(*at)->next;
	*at = board->next;
	free(board);
}

void *bh_shelf_resize(struct bh_shelf *shelf, void *memory, size_t size)
{
	size_t room = (size + 63) & ~(size_t)63, old = memory ? head_of(memory)->size : 0;
	struct head *head = NULL;

	if (shelf && size > SMALL && shelf->bytes + size > FEW)
		head = take(shelf, HEAD + room);
	if (!head) {
		head = aligned_alloc(64, HEAD + room);
		if (!head)
			return NULL;
		head->board = NULL;
	}
	head->size = room;
	if (memory)
		memcpy((char *)head + HEAD, memory, old < room ? old : room);
	if (shelf)
		shelf->bytes += room;
	bh_shelf_free(shelf, memory);
	return (char *)head + HEAD;
}

void bh_shelf_clear(struct bh_shelf *shelf)
{
	while (shelf->boards) {
		struct bh_board *board = shelf->boards;

		shelf->boards = board->next;
		free(board);
	}
	shelf->bytes = 0;
}

void bh_shelf_free(struct bh_shelf *shelf, void *memory)
{
	struct head *head = memory ? head_of(memory) : NULL;

	if (!head)
		return;
	if (shelf)
		shelf->bytes -= head->size;
	if (head->board)
		drop(shelf, head->board);
	else
		free(head);
}

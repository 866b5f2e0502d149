/*
 * shelf.h - memory of arrays that grow and are used together: on huge pages that they share.
 *
 * What is touched at random all over some megabytes waits as long for the addresses of pages as for memory.
 * While an owner's arrays are small they are on the heap; then each that grows comes to a board of the
 * shelf, and a board of which all have gone is free again.
 */
#ifndef BH_BASE_SHELF_H
#define BH_BASE_SHELF_H

#include <stddef.h>

struct bh_shelf {
	struct bh_board *boards; /* the first is being filled */
	size_t bytes;            /* of all that is in use */
};

/*
 * An array with room for `size` bytes, 64-byte aligned, that has what is in `memory`, which is freed (NULL: a new one).
 * NULL, and nothing changes: there is no memory. Without a shelf it is on the heap.
 */
void *bh_shelf_resize(struct bh_shelf *shelf, void *memory, size_t size);
void bh_shelf_free(struct bh_shelf *shelf, void *memory);
void bh_shelf_clear(struct bh_shelf *shelf); /* all arrays on the heap were freed */

#endif

/*
 * spare.c - memory that goes from an old classifier to a new one: see space.h.
 */
#include <stdlib.h>

#include "../base/pages.h"
#include "space.h"

#define HEAD 64 /* the size, before what is given out */
#define LARGE 65536 /* from here a block is made larger than asked for, to suit the next as well */

void *bh_spare_take(struct bh_spare *spare, size_t size)
{
	char *memory = atomic_exchange(&spare->memory, NULL);

	if (memory && *(size_t *)memory >= size && *(size_t *)memory / 4 <= size)
		return memory + HEAD;
	free(memory);
	if (atomic_load(&spare->references) > 1 && size >= LARGE)
		size += size / 4;
	memory = bh_pages_alloc(size + HEAD);
	if (!memory)
		return NULL;
	*(size_t *)memory = size;
	return memory + HEAD;
}

void bh_spare_give(struct bh_spare *spare, void *memory)
{
	if (memory)
		free(atomic_exchange(&spare->memory, (char *)memory - HEAD));
}

void bh_spare_drop(struct bh_spare *spare)
{
	if (atomic_fetch_sub_explicit(&spare->references, 1, memory_order_acq_rel) != 1)
		return;
	free(atomic_load(&spare->memory));
	free(spare);
}

/*
 * pages.c - see pages.h.
 */
#include "pages.h"

#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

void *bh_pages_alloc(size_t size)
{
	size_t align = size >= HUGE_PAGE ? HUGE_PAGE : 64;
	void *memory = aligned_alloc(align, (size + align) & ~(align - 1));

#ifdef MADV_HUGEPAGE
	if (memory && align == HUGE_PAGE)
		madvise(memory, (size + align) & ~(align - 1), MADV_HUGEPAGE);
#endif
	return memory;
}

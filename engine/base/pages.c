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
	size_t whole = (size + align - 1) & ~(align - 1);
	void *memory = aligned_alloc(align, whole);

#ifdef MADV_HUGEPAGE
	if (memory && align == HUGE_PAGE)
		madvise(memory, whole, MADV_HUGEPAGE);
#endif
	return memory;
}

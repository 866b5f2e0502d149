/*
 * pages.h - memory for large tables, on huge pages where there are any.
 */
#ifndef BH_BASE_PAGES_H
#define BH_BASE_PAGES_H

#include <stddef.h>

/* 64-byte aligned, not cleared; the caller's to free(). NULL if there is none. */
void *bh_pages_alloc(size_t size);

#endif

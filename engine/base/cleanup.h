/*
 * cleanup.h - resources that release themselves at the end of their scope.
 *
 * For engine/ only: bindings/ must not use it, because a Lua error is a longjmp and skips cleanup.
 * A function hands a resource on with bh_take(): `*out = bh_take(&it);`.
 */
#ifndef BH_BASE_CLEANUP_H
#define BH_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void bh_cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void bh_cleanup_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void bh_cleanup_file(FILE **file)
{
	if (*file)
		fclose(*file);
}

/* A heap block. */
#define BH_AUTOFREE __attribute__((cleanup(bh_cleanup_free)))
/* A file descriptor; -1 = none. */
#define BH_AUTOFD __attribute__((cleanup(bh_cleanup_fd)))
/* A stdio stream. */
#define BH_AUTOFILE __attribute__((cleanup(bh_cleanup_file)))

/* The value of a pointer variable, which is NULL afterwards. */
#define bh_take(pointer)                       \
	({                                         \
		__typeof__(*(pointer)) taken_ = *(pointer); \
		*(pointer) = NULL;                     \
		taken_;                                \
	})

/* The same for a descriptor, which is -1 afterwards. */
static inline int bh_take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#endif

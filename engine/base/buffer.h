/*
 * buffer.h - bytes that grow: text being put together, frames, flat tables.
 *
 * A failed allocation is remembered in `failed` and later appends do nothing, so a chain of
 * appends is checked once, at its end.
 */
#ifndef BH_BASE_BUFFER_H
#define BH_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct bh_buffer {
	char *data;   /* owned; NUL-terminated when not NULL */
	size_t size;  /* bytes in use, without the NUL */
	size_t room;
	bool failed;
};

void bh_buffer_init(struct bh_buffer *buffer);
void bh_buffer_clear(struct bh_buffer *buffer);

void bh_buffer_append(struct bh_buffer *buffer, const void *data, size_t size);
void bh_buffer_printf(struct bh_buffer *buffer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The text, which is the caller's to free(), or NULL if an append failed. Empties the buffer. */
char *bh_buffer_take(struct bh_buffer *buffer);

#define BH_AUTOBUFFER __attribute__((cleanup(bh_buffer_clear)))

#endif

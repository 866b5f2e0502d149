/*
 * buffer.c - see buffer.h.
 */
#include "buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bh_buffer_init(struct bh_buffer *buffer)
{
	memset(buffer, 0, sizeof(*buffer));
}

void bh_buffer_clear(struct bh_buffer *buffer)
{
	free(buffer->data);
	memset(buffer, 0, sizeof(*buffer));
}

/* Makes room for `size` more bytes and a NUL. */
static bool buffer_reserve(struct bh_buffer *buffer, size_t size)
{
	size_t room = buffer->room ? buffer->room : 64;
	char *data;

	if (buffer->failed)
		return false;
	while (room - buffer->size <= size) {
		if (room > (size_t)-1 / 4) {
			buffer->failed = true;
			return false;
		}
		room *= 2;
	}
	if (room == buffer->room)
		return true;
	data = realloc(buffer->data, room);
	if (!data) {
		buffer->failed = true;
		return false;
	}
	buffer->data = data;
	buffer->room = room;
	return true;
}

void bh_buffer_append(struct bh_buffer *buffer, const void *data, size_t size)
{
	if (!buffer_reserve(buffer, size))
		return;
	if (size)
		memcpy(buffer->data + buffer->size, data, size);
	buffer->size += size;
	buffer->data[buffer->size] = '\0';
}

void bh_buffer_printf(struct bh_buffer *buffer, const char *format, ...)
{
	va_list args;
	int size;

	va_start(args, format);
	size = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (size < 0 || !buffer_reserve(buffer, (size_t)size)) {
		buffer->failed = true;
		return;
	}
	va_start(args, format);
	vsnprintf(buffer->data + buffer->size, (size_t)size + 1, format, args);
	va_end(args);
	buffer->size += (size_t)size;
}

char *bh_buffer_take(struct bh_buffer *buffer)
{
	char *data = buffer->failed ? NULL : buffer->data;

	if (buffer->failed)
		free(buffer->data);
	else if (!data)
		data = strdup("");
	memset(buffer, 0, sizeof(*buffer));
	return data;
}

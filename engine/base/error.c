/*
 * error.c - see error.h.
 */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int bh_error_set(struct bh_error *err, int code, const char *format, ...)
{
	char text[BH_ERROR_SIZE];
	va_list args;

	if (!err)
		return code;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	memcpy(err->message, text, sizeof(text));
	err->code = code;
	return code;
}

int bh_error_errno(struct bh_error *err, int code, const char *format, ...)
{
	char text[BH_ERROR_SIZE];
	va_list args;
	int n;

	if (!err)
		return code;
	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n >= 0 && (size_t)n < sizeof(text))
		snprintf(text + n, sizeof(text) - (size_t)n, ": %s", strerror(-code));
	memcpy(err->message, text, sizeof(text));
	err->code = code;
	return code;
}

int bh_error_prefix(struct bh_error *err, const char *format, ...)
{
	char text[BH_ERROR_SIZE];
	va_list args;
	int n;

	if (!err)
		return -EINVAL; /* what nearly all of them are; nobody is there to read the text either */
	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n >= 0 && (size_t)n < sizeof(text))
		snprintf(text + n, sizeof(text) - (size_t)n, ": %.500s", err->message);
	memcpy(err->message, text, sizeof(text));
	return err->code;
}

/*
 * log.c - see log.h.
 */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>

static enum bh_log_level log_level = BH_LOG_WARNING;
static bh_log_sink *log_sink;
static void *log_arg;

void bh_log_set_level(enum bh_log_level level)
{
	log_level = level;
}

void bh_log_set_sink(bh_log_sink *sink, void *arg)
{
	log_sink = sink;
	log_arg = arg;
}

void bh_log(enum bh_log_level level, const char *format, ...)
{
	char text[1024];
	va_list args;

	if (level > log_level)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (log_sink)
		log_sink(level, text, log_arg);
	else
		fprintf(stderr, "bulkhead: %s\n", text);
}

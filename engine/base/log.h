/*
 * log.h - what goes to the log, and where the log is.
 *
 * The engine returns errors and logs only what nobody is there to be told (a handler that failed
 * during teardown, a leftover that was mended). One line a message on standard error, unless a
 * sink is set.
 */
#ifndef BH_BASE_LOG_H
#define BH_BASE_LOG_H

enum bh_log_level { BH_LOG_ERROR, BH_LOG_WARNING, BH_LOG_INFO, BH_LOG_DEBUG };

typedef void bh_log_sink(enum bh_log_level level, const char *message, void *arg);

/* Messages above `level` are dropped; the default is BH_LOG_WARNING. */
void bh_log_set_level(enum bh_log_level level);

/* NULL restores standard error. */
void bh_log_set_sink(bh_log_sink *sink, void *arg);

void bh_log(enum bh_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif

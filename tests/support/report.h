/*
 * report.h - what a test program in C prints: a line a property, and last the counts that tests/run.sh adds up.
 */
#ifndef TESTS_SUPPORT_REPORT_H
#define TESTS_SUPPORT_REPORT_H

#include <stdbool.h>
#include <stdio.h>

static int passed, failed, skipped;

static inline void report(const char *property, bool ok, const char *detail)
{
	printf("%s %s%s%s\n", ok ? "ok" : "FAILED", property, *detail ? ": " : "", detail);
	*(ok ? &passed : &failed) += 1;
}

static inline void skip(const char *property, const char *why)
{
	printf("skipped %s: %s\n", property, why);
	skipped++;
}

/* The exit status. */
static inline int report_counts(void)
{
	printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
	return failed != 0;
}

#endif

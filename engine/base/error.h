/*
 * error.h - one sentence about what went wrong.
 *
 * Every function that can fail returns 0 or a negative errno and takes a `struct bh_error *` last.
 * The struct has a fixed size and owns nothing, so it may live on any stack and survives a longjmp.
 * The message is a whole sentence for the person who asked: it names the thing, the place and what
 * would be right. On failure all other outputs are untouched.
 */
#ifndef BH_BASE_ERROR_H
#define BH_BASE_ERROR_H

#define BH_ERROR_SIZE 512

struct bh_error {
	int code;                   /* negative errno; 0 = none */
	char message[BH_ERROR_SIZE]; /* NUL-terminated, never ends in a newline */
};

/* Sets code and message and returns `code`. `err` may be NULL. The arguments may point into `err`. */
int bh_error_set(struct bh_error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same, with ": " and the text of the errno appended. */
int bh_error_errno(struct bh_error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts a context and ": " before the message already in `err`; returns its code. */
int bh_error_prefix(struct bh_error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif

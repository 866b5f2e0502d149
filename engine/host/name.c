/*
 * name.c - the alphabets of names that come from outside.
 */
#include <errno.h>
#include <string.h>

#include "name.h"

static bool is_alphanumeric(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

int bh_name_check(const char *what, const char *name, size_t max, struct bh_error *err)
{
	size_t length = strlen(name);

	if (!length)
		return bh_error_set(err, -EINVAL, "%s is empty; it must be 1 to %zu of A-Z a-z 0-9 _ . -", what, max);
	if (length > max)
		return bh_error_set(err, -EINVAL, "%s '%.40s…' is %zu bytes long; at most %zu are possible", what, name,
		                    length, max);
	for (size_t i = 0; i < length; i++)
		if (!is_alphanumeric(name[i]) && (i == 0 || !strchr("_.-", name[i])))
			return bh_error_set(err, -EINVAL,
			                    "%s '%.80s' may have only A-Z a-z 0-9 _ . - and must begin with a letter or digit",
			                    what, name);
	return 0;
}

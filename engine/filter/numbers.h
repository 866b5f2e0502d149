/*
 * numbers.h - ports, ICMP types and protocols to and from text. Inside filter/ only.
 */
#ifndef BH_FILTER_NUMBERS_H
#define BH_FILTER_NUMBERS_H

#include "rule.h"

/* The whole text as a decimal number of at most `max`, or -EINVAL. */
int bh_number_parse(const char *text, unsigned max, unsigned *number);
/* `80` or `8000-8099`; `field` is named in the error. */
int bh_port_range_parse(struct bh_number_range *range, const char *text, const char *field,
                        struct bh_error *err);
/* `8` (all codes) or `3:4`, as type << 8 | code. */
int bh_icmp_range_parse(struct bh_number_range *range, const char *text, struct bh_error *err);

#endif

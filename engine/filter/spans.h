/*
 * spans.h - a rule as sorted, disjoint ranges per field: what compilers start from. Inside filter/.
 *
 * Exclusions are taken out, keywords replaced, protocol and local port joined to one number (see
 * bh_service). The rule matches what lies in one range of each field.
 */
#ifndef BH_FILTER_SPANS_H
#define BH_FILTER_SPANS_H

#include "rule.h"
#include "block.h"

struct bh_spans {
	size_t count, room;
	struct bh_range *ranges;
};

/* -ENOMEM, or 0; `spans` must be cleared in either case. A field of no ranges: nothing matches. */
int bh_spans_of_rule(struct bh_spans spans[BH_FIELDS], const struct bh_rule *rule,
                     const struct bh_words *words);
void bh_spans_clear(struct bh_spans *spans);

#endif

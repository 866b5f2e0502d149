/*
 * classifier.h - a ruleset compiled to the flat pages of table.h.
 */
#ifndef BH_FILTER_CLASSIFIER_H
#define BH_FILTER_CLASSIFIER_H

#include "ruleset.h"

/* An immutable compiled table. Pages are inbound blocks, then outbound ones. */
struct bh_table {
	uint32_t blocks[2];
	uint8_t *pages; /* (blocks[0] + blocks[1]) * BH_PAGE_SIZE bytes */
};

/* -E2BIG, naming the limit, if the table would be larger than `max_bytes`. */
int bh_table_compile(struct bh_table **out, const struct bh_ruleset *ruleset, size_t max_bytes,
                     struct bh_error *err);
void bh_table_free(struct bh_table **table);

#endif

/*
 * blocks.h - makes runs of blocks (block.h). Inside filter/ only.
 */
#ifndef BH_FILTER_BLOCKS_H
#define BH_FILTER_BLOCKS_H

#include "../base/buffer.h"
#include "spans.h"

/* Blocks of what was added, in the order of precedence. */
struct bh_blocks {
	struct bh_buffer pages; /* BH_PAGE_ROOM bytes each */
	uint32_t count;
	uint32_t most; /* pages there may be; */
	struct bh_filling *filling; /* the page being made */
};

int bh_blocks_init(struct bh_blocks *blocks, uint32_t most); /* -ENOMEM */
/* The spans are kept until the next bh_blocks_finish(). */
void bh_blocks_add(struct bh_blocks *blocks, const struct bh_entry *entry,
                   const struct bh_spans spans[BH_FIELDS]);
/* -E2BIG: there would be more pages than there may be, and some were left out. */
int bh_blocks_finish(struct bh_blocks *blocks);
void bh_blocks_clear(struct bh_blocks *blocks);

#endif

/*
 * answer.h - what the ends of the memory platform say to a packet that reached them, by table.
 */
#ifndef BH_PLATFORM_MEMORY_ANSWER_H
#define BH_PLATFORM_MEMORY_ANSWER_H

#include "stack.h"

/* An IP packet reached its stack. `group`: its destination is a multicast or broadcast. */
void bh_answer(struct bh_stack *stack, const struct bh_frame *frame, const struct bh_packet *packet,
               bool group);

#endif

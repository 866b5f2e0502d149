/*
 * bulkhead.h - libbulkhead, the C core: what a program outside the engine includes.
 *
 * Objects, all opaque but for plain descriptors:
 *
 *   bh_host       one host: its store and its platform. Open, change as a transaction, close. The
 *                 caller's; everything it gives out is a copy.                       host/host.h
 *   bh_lab        a throwaway host with a peer outside, to send packets in. The caller's; close the
 *                 host that was opened in it first.                              platform/lab.h
 *   bh_ruleset    rules in the order of precedence: the plain evaluator. Takes the rules that are
 *                 added to it.                                                   filter/ruleset.h
 *   bh_table      a ruleset compiled to one run of bytes; immutable.          filter/table.h
 *   bh_flow_table flows in user space; rows stay where they are until removed. filter/flowtable.h
 *   bh_evaluate   the verdict on one frame, by the text the kernel runs.       filter/evaluate.h
 *   bh_notation   a packet as people write it.                                 filter/notation.h
 *
 * Every function returns 0 or a negative errno; the last parameter gets a sentence (base/error.h).
 * `free` and `close` take the address of the pointer and clear it. The library is for one thread and
 * writes nothing but through bh_log().
 */
#ifndef BH_BULKHEAD_H
#define BH_BULKHEAD_H

#include "base/error.h"
#include "base/log.h"
#include "filter/classifier.h"
#include "filter/evaluate.h"
#include "filter/flowtable.h"
#include "filter/notation.h"
#include "filter/ruleset.h"
#include "host/host.h"
#include "platform/lab.h"

#endif

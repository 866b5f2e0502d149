/*
 * store.h - what must survive the process: one SQLite database per state.
 *
 * Write-ahead logging, so that readers never wait; who writes holds the host's lock. A process that
 * is killed loses nothing that was committed. The schema is in schema.c. Arguments and columns are
 * typed by a letter each: i = int64_t, s = const char * (NULL is SQL's NULL).
 */
#ifndef BH_STORE_STORE_H
#define BH_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/error.h"

#define BH_STORE_VERSION 6 /* of the schema */

struct bh_store;
struct bh_statement;

/* `path` NULL is a store in memory. With `write` it is made if missing (0600) and brought up to date;
 * without, -ENOENT. -EUCLEAN if it is damaged, -EPROTO if it is of another version. */
int bh_store_open(struct bh_store **out, const char *path, bool write, struct bh_error *err);
void bh_store_close(struct bh_store **store);
/* Reads all of it: -EUCLEAN if it is damaged anywhere. */
int bh_store_check(struct bh_store *store, struct bh_error *err);

int bh_store_begin(struct bh_store *store, struct bh_error *err);
int bh_store_commit(struct bh_store *store, struct bh_error *err);
void bh_store_rollback(struct bh_store *store);

/*
 * Stands before a commit, and refuses what would not have room to come to its end: once it said yes there is room for
 * the transaction and, after it, for others that write `pages` together. -ENOSPC; then nothing but a rollback works.
 */
int bh_store_reserve(struct bh_store *store, size_t pages, struct bh_error *err);
/* Before the first commit of a new one. */
int bh_store_begun(struct bh_store *store, struct bh_error *err);
/* Where the disk is nearly full, puts the log into the database, so that it is written from its beginning again. */
void bh_store_absorb(struct bh_store *store);

/* Runs a statement that returns no rows. */
int bh_store_run(struct bh_store *store, struct bh_error *err, const char *sql, const char *types,
                 ...);
int64_t bh_store_last_id(struct bh_store *store);
/* The first column of the first row, or `otherwise`. */
int64_t bh_store_number(struct bh_store *store, int64_t otherwise, const char *sql,
                        const char *types, ...);

/* Rows one by one: 1 = a row, 0 = no more, or an error. Texts live until the next step. */
int bh_store_query(struct bh_store *store, struct bh_statement **out, struct bh_error *err,
                   const char *sql, const char *types, ...);
int bh_statement_step(struct bh_statement *statement, struct bh_error *err);
int64_t bh_statement_int(struct bh_statement *statement, int column);
const char *bh_statement_text(struct bh_statement *statement, int column); /* NULL = NULL */
void bh_statement_close(struct bh_statement **statement);

#define BH_AUTOSTATEMENT __attribute__((cleanup(bh_statement_close)))

/* Makes the schema or brings it up to date. -EPROTO if it is of a later version. */
int bh_schema_apply(struct bh_store *store, struct bh_error *err);
/* -ENOENT if there is none yet, -EPROTO if it is of another version. */
int bh_schema_check(struct bh_store *store, struct bh_error *err);

#endif

/*
 * schema.h - what the files of the schema share. Inside store/ only.
 */
#ifndef BH_STORE_SCHEMA_H
#define BH_STORE_SCHEMA_H

#include "store.h"

/* Both inside a transaction: the schema of this version, in a store that has no table of a name of it;
 * or in the place of the one that an earlier version made. */
int bh_schema_make(struct bh_store *store, struct bh_error *err);
int bh_schema_renew(struct bh_store *store, int64_t version, struct bh_error *err);

#endif

/*
 * hash.h - a hash map from fixed-size keys to fixed-size values, both bytes.
 *
 * A value stays where it is until it is removed. Keys are compared byte for byte, so the caller
 * clears their padding.
 */
#ifndef BH_BASE_HASH_H
#define BH_BASE_HASH_H

#include <stddef.h>

struct bh_hash;

/* NULL if there is not enough memory. */
struct bh_hash *bh_hash_new(size_t key_size, size_t value_size);
void bh_hash_free(struct bh_hash **hash);

size_t bh_hash_count(const struct bh_hash *hash);
void *bh_hash_find(const struct bh_hash *hash, const void *key);
/* 0, -EEXIST or -ENOMEM. */
int bh_hash_insert(struct bh_hash *hash, const void *key, const void *value);
/* 0 or -ENOENT. */
int bh_hash_remove(struct bh_hash *hash, const void *key);

/* Calls until `visit` returns non-zero, which is returned. It must not change the map. */
int bh_hash_each(const struct bh_hash *hash, int (*visit)(const void *key, void *value, void *arg),
                 void *arg);

#endif

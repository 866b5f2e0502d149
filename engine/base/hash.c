/*
 * hash.c - see hash.h. Chained; grows by doubling when there are more rows than chains.
 */
#include "hash.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct node {
	struct node *next;
	uint64_t hash;
	_Alignas(8) unsigned char bytes[]; /* key, then value at value_at */
};

struct bh_hash {
	size_t key_size, value_at, value_size;
	size_t count, chains_count; /* a power of two */
	struct node **chains;
};

/* Eight bytes a step, each multiplied by 2^64 over the golden ratio and folded. */
static uint64_t hash_bytes(const void *key, size_t size)
{
	const unsigned char *p = key;
	uint64_t hash = size, word;

	for (; size; p += size < 8 ? size : 8, size -= size < 8 ? size : 8) {
		word = 0;
		memcpy(&word, p, size < 8 ? size : 8);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 32;
	}
	return hash;
}

struct bh_hash *bh_hash_new(size_t key_size, size_t value_size)
{
	struct bh_hash *hash = calloc(1, sizeof(*hash));

	if (!hash)
		return NULL;
	hash->key_size = key_size;
	hash->value_at = (key_size + 7) & ~(size_t)7;
	hash->value_size = value_size;
	hash->chains_count = 64;
	hash->chains = calloc(hash->chains_count, sizeof(*hash->chains));
	if (!hash->chains) {
		free(hash);
		return NULL;
	}
	return hash;
}

void bh_hash_free(struct bh_hash **hash)
{
	if (!*hash)
		return;
	for (size_t i = 0; i < (*hash)->chains_count; i++) {
		struct node *node = (*hash)->chains[i], *next;

		for (; node; node = next) {
			next = node->next;
			free(node);
		}
	}
	free((*hash)->chains);
	free(*hash);
	*hash = NULL;
}

size_t bh_hash_count(const struct bh_hash *hash)
{
	return hash->count;
}

static struct node **hash_slot(const struct bh_hash *hash, const void *key, uint64_t value)
{
	struct node **slot = &hash->chains[value & (hash->chains_count - 1)];

	while (*slot && ((*slot)->hash != value || memcmp((*slot)->bytes, key, hash->key_size)))
		slot = &(*slot)->next;
	return slot;
}

void *bh_hash_find(const struct bh_hash *hash, const void *key)
{
	struct node *node = *hash_slot(hash, key, hash_bytes(key, hash->key_size));

	return node ? node->bytes + hash->value_at : NULL;
}

/* A map that cannot grow still works, only slower. */
static void hash_grow(struct bh_hash *hash)
{
	size_t count = hash->chains_count * 2;
	struct node **chains = calloc(count, sizeof(*chains));

	if (!chains)
		return;
	for (size_t i = 0; i < hash->chains_count; i++) {
		struct node *node = hash->chains[i], *next;

		for (; node; node = next) {
			next = node->next;
			node->next = chains[node->hash & (count - 1)];
			chains[node->hash & (count - 1)] = node;
		}
	}
	free(hash->chains);
	hash->chains = chains;
	hash->chains_count = count;
}

int bh_hash_insert(struct bh_hash *hash, const void *key, const void *value)
{
	uint64_t number = hash_bytes(key, hash->key_size);
	struct node *node;

	if (*hash_slot(hash, key, number))
		return -EEXIST;
	node = calloc(1, sizeof(*node) + hash->value_at + hash->value_size);
	if (!node)
		return -ENOMEM;
	if (hash->count >= hash->chains_count)
		hash_grow(hash);
	node->hash = number;
	memcpy(node->bytes, key, hash->key_size);
	memcpy(node->bytes + hash->value_at, value, hash->value_size);
	node->next = hash->chains[number & (hash->chains_count - 1)];
	hash->chains[number & (hash->chains_count - 1)] = node;
	hash->count++;
	return 0;
}

int bh_hash_remove(struct bh_hash *hash, const void *key)
{
	struct node **slot = hash_slot(hash, key, hash_bytes(key, hash->key_size)), *node = *slot;

	if (!node)
		return -ENOENT;
	*slot = node->next;
	free(node);
	hash->count--;
	return 0;
}

int bh_hash_each(const struct bh_hash *hash, int (*visit)(const void *key, void *value, void *arg),
                 void *arg)
{
	for (size_t i = 0; i < hash->chains_count; i++)
		for (struct node *node = hash->chains[i]; node; node = node->next) {
			int rc = visit(node->bytes, node->bytes + hash->value_at, arg);

			if (rc)
				return rc;
		}
	return 0;
}

/*
 * publish.h - published ports of containers. Inside host/ only.
 */
#ifndef BH_HOST_PUBLISH_H
#define BH_HOST_PUBLISH_H

#include "internal.h"

/* Writes the rows of a container that comes; refuses a port that another container has. */
int bh_publish_claim(struct bh_host *host, const char *container, const struct bh_publish *published,
                     size_t count, struct bh_error *err);
/* Refuses an endpoint whose container publishes what cannot be mapped to it. */
int bh_publish_check(struct bh_host *host, const struct bh_endpoint_row *row, struct bh_error *err);
/* The mappings of an endpoint, appended to a list that is the caller's to free. */
int bh_publish_collect(struct bh_host *host, const struct bh_endpoint_row *row, struct bh_mapping **list,
                       size_t *count, struct bh_error *err);
/* Makes or takes away an endpoint's mappings. */
int bh_publish_make(struct bh_host *host, const struct bh_endpoint_row *row, struct bh_error *err);
int bh_publish_unmake(struct bh_host *host, const struct bh_endpoint_row *row, struct bh_error *err);

#endif

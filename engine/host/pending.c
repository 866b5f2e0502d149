/*
 * pending.c - what is not as it is to be: rows that are being made, changed or taken away, and tables
 * that somebody let go of. Nothing, unless a change is going on or was cut short.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct bh_pending_row {
	enum bh_pending_kind kind;
	uint32_t id; /* of a container its number */
	char status[12];
	bool reaches; /* of an endpoint: others, by its policy */
};

/* The numbers are of enum bh_pending_kind. */
static const char question[] =
	"SELECT 0, id, status, 0 FROM networks WHERE status <> 'ready'"
	" UNION ALL SELECT 2, seq, status, compartment FROM containers WHERE status <> 'ready'"
	" UNION ALL SELECT 3, id, status, reach <> '' FROM endpoints WHERE status <> 'ready'"
	" UNION ALL SELECT 4, id, 'loose', 0 FROM loose";

static int add(struct bh_pending *pending, const struct bh_pending_row *row, struct bh_error *err)
{
	if (!(pending->count & (pending->count - 1))) { /* 0 and the powers of two: full */
		struct bh_pending_row *more = realloc(pending->rows, (pending->count ? pending->count * 2 : 1) * sizeof(*row));

		if (!more)
			return bh_error_set(err, -ENOMEM, "not enough memory for a change");
		pending->rows = more;
	}
	pending->rows[pending->count++] = *row;
	return 0;
}

/* A compartment is pending only together with a container in it, but a container may join one that is there. */
static int add_compartment(struct bh_host *host, struct bh_pending *pending, int64_t id, struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *found = NULL;
	struct bh_pending_row row = {.kind = BH_PENDING_COMPARTMENT, .id = (uint32_t)id};
	int rc = bh_store_query(host->store, &found, err, BH_COMPARTMENT_ROW, "i", id);

	if (!rc)
		rc = bh_statement_step(found, err);
	if (rc != 1)
		return rc;
	snprintf(row.status, sizeof(row.status), "%s", bh_statement_text(found, BH_COMPARTMENT_STATUS));
	if (!strcmp(row.status, "ready"))
		return 0;
	for (size_t i = 0; i < pending->count; i++)
		if (pending->rows[i].kind == BH_PENDING_COMPARTMENT && pending->rows[i].id == row.id)
			return 0;
	return add(pending, &row, err);
}

int bh_pending_load(struct bh_host *host, struct bh_pending *pending, struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *rows = NULL;
	int rc = bh_store_query(host->store, &rows, err, question, "");

	bh_pending_clear(pending);
	while (!rc && (rc = bh_statement_step(rows, err)) == 1) {
		struct bh_pending_row row = {
			.kind = (enum bh_pending_kind)bh_statement_int(rows, 0),
			.id = (uint32_t)bh_statement_int(rows, 1),
			.reaches = bh_statement_int(rows, 3) != 0,
		};

		snprintf(row.status, sizeof(row.status), "%s", bh_statement_text(rows, 2));
		rc = add(pending, &row, err);
		if (!rc && row.kind == BH_PENDING_CONTAINER)
			rc = add_compartment(host, pending, bh_statement_int(rows, 3), err);
	}
	return rc;
}

void bh_pending_clear(struct bh_pending *pending)
{
	free(pending->rows);
	*pending = (struct bh_pending){0};
}

static bool is(const struct bh_pending_row *row, enum bh_pending_kind kind, const char *status)
{
	return row->kind == kind && strcmp(row->status, status) == 0;
}

bool bh_pending_any(const struct bh_pending *pending, enum bh_pending_kind kind, const char *status)
{
	for (size_t i = 0; i < pending->count; i++)
		if (is(&pending->rows[i], kind, status))
			return true;
	return false;
}

bool bh_pending_reaches(const struct bh_pending *pending, const char *status)
{
	for (size_t i = 0; i < pending->count; i++)
		if (is(&pending->rows[i], BH_PENDING_ENDPOINT, status) && pending->rows[i].reaches)
			return true;
	return false;
}

size_t bh_pending_undoable(const struct bh_pending *pending)
{
	size_t count = 0;

	for (size_t i = 0; i < pending->count; i++)
		count += pending->rows[i].kind != BH_PENDING_TABLE && strcmp(pending->rows[i].status, "removing");
	return count;
}

int bh_pending_each(struct bh_host *host, const struct bh_pending *pending, enum bh_pending_kind kind,
                    const char *status, int (*act)(struct bh_host *, uint32_t, struct bh_error *),
                    struct bh_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < pending->count; i++)
		if (is(&pending->rows[i], kind, status))
			rc = act(host, pending->rows[i].id, err);
	return rc;
}

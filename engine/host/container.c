/*
 * container.c - containers and their compartments.
 *
 * A compartment belongs to its containers: made with the first, removed with the last. Containers of
 * one pod name the same namespace and so share one.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "name.h"
#include "publish.h"

static int check_type(const char *type, struct bh_error *err)
{
	if (strcmp(type, "process") && strcmp(type, "hyperv"))
		return bh_error_set(err, -EINVAL, "container type '%.40s' is not known (process or hyperv)", type);
	return 0;
}

/* The compartment around the namespace `netns`, if one is known: its id, or 0. */
static int find_compartment(struct bh_host *host, const struct bh_container_spec *spec, int64_t *id,
                            uint64_t *cookie, struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *row = NULL;
	uint64_t own;
	int rc;

	*id = 0;
	*cookie = 0;
	if (!spec->netns)
		return 0;
	rc = host->platform->ops->compartment_cookie(host->platform, 0, spec->netns, cookie, err);
	if (rc)
		return rc;
	if (!host->platform->ops->compartment_cookie(host->platform, BH_DEFAULT_COMPARTMENT, NULL, &own, NULL) &&
	    own == *cookie)
		return bh_error_set(err, -EINVAL,
		                    "container '%s' is in the host's own network namespace; it has no compartment to guard",
		                    spec->id);
	rc = bh_store_query(host->store, &row, err,
	                    "SELECT id, type FROM compartments WHERE cookie = ? AND status <> 'removing'", "i",
	                    (int64_t)*cookie);
	if (!rc)
		rc = bh_statement_step(row, err);
	if (rc != 1)
		return rc;
	if (strcmp(bh_statement_text(row, 1), spec->type))
		return bh_error_set(err, -EINVAL, "container '%s' is of type %s, but joins compartment %lld of type %s",
		                    spec->id, spec->type, (long long)bh_statement_int(row, 0),
		                    bh_statement_text(row, 1));
	*id = bh_statement_int(row, 0);
	return 0;
}

static int add_compartment(struct bh_host *host, const struct bh_container_spec *spec, uint64_t cookie,
                           int64_t *id, struct bh_error *err)
{
	char guid[40], description[320];
	int rc = bh_guid_new(guid, err);

	if (rc)
		return rc;
	snprintf(description, sizeof(description), "Container %s", spec->name ? spec->name : spec->id);
	rc = bh_store_run(host->store, err,
	                  "INSERT INTO compartments(guid, description, type, adopt, cookie, status)"
	                  " VALUES (?, ?, ?, ?, ?, 'creating')", "ssssi", guid, description, spec->type,
	                  spec->netns, (int64_t)cookie);
	if (!rc)
		*id = bh_store_last_id(host->store);
	return rc;
}

static int add_details(struct bh_host *host, const struct bh_container_spec *spec,
                       struct bh_error *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < spec->properties_count; i++)
		rc = bh_store_run(host->store, err, "INSERT INTO properties VALUES (?, ?, ?, ?)", "ssss", spec->id,
		                  spec->properties[i].kind, spec->properties[i].key, spec->properties[i].value);
	return rc ? rc : bh_publish_claim(host, spec->id, spec->published, spec->published_count, err);
}

int bh_container_add(struct bh_host *host, const struct bh_container_spec *spec,
                     struct bh_error *err)
{
	int64_t compartment;
	uint64_t cookie;
	int rc = bh_host_require_change(host, err);

	rc = rc ? rc : bh_name_check("container id", spec->id, BH_ID_MAX, err);
	if (!rc && spec->name)
		rc = bh_name_check("container name", spec->name, BH_ID_MAX, err);
	rc = rc ? rc : check_type(spec->type, err);
	if (rc)
		return rc;
	rc = find_compartment(host, spec, &compartment, &cookie, err);
	if (!rc && !compartment)
		rc = add_compartment(host, spec, cookie, &compartment, err);
	if (rc)
		return rc;
	rc = bh_store_run(host->store, err,
	                  "INSERT INTO containers(id, name, type, compartment, policies, policy, owner, netns,"
	                  " phase, status) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'attached', 'creating')", "sssissss", spec->id,
	                  spec->name ? spec->name : spec->id, spec->type, compartment, spec->policies,
	                  spec->policy ? spec->policy : spec->type, spec->owner ? spec->owner : "hand",
	                  spec->netns);
	if (rc == -EEXIST)
		return bh_error_set(err, -EEXIST, "container '%s' exists already: endpoint already attached", spec->id);
	return rc ? rc : add_details(host, spec, err);
}

int bh_container_remove(struct bh_host *host, const char *id, struct bh_error *err)
{
	int rc = bh_host_require_change(host, err);
	int64_t compartment;

	if (rc)
		return rc;
	compartment = bh_store_number(host->store, 0, "SELECT compartment FROM containers WHERE id = ?", "s", id);
	if (!compartment)
		return bh_error_set(err, -ENOENT, "there is no container '%.80s'", id);
	rc = bh_store_run(host->store, err, "UPDATE endpoints SET status = 'removing' WHERE container = ?", "s",
	                  id);
	rc = rc ? rc : bh_store_run(host->store, err, "UPDATE containers SET status = 'removing' WHERE id = ?",
	                            "s", id);
	if (!rc && !bh_store_number(host->store, 0,
	                            "SELECT count(*) FROM containers WHERE compartment = ? AND status <> 'removing'",
	                            "i", compartment))
		rc = bh_store_run(host->store, err, "UPDATE compartments SET status = 'removing' WHERE id = ?", "i",
		                  compartment);
	return rc;
}

int bh_container_check(struct bh_host *host, const char *id, const char *netns, struct bh_error *err)
{
	const struct bh_platform_ops *ops = host->platform->ops;
	BH_AUTOSTATEMENT struct bh_statement *row = NULL;
	uint64_t cookie, there;
	const char *path;
	int64_t compartment;
	int rc = bh_store_query(host->store, &row, err, "SELECT compartment, netns FROM containers WHERE id = ?",
	                        "s", id);

	rc = rc ? rc : bh_statement_step(row, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return bh_error_set(err, -ENOENT, "there is no container '%.80s'", id);
	compartment = bh_statement_int(row, 0);
	path = netns ? netns : bh_statement_text(row, 1);
	rc = ops->compartment_cookie(host->platform, (uint32_t)compartment, NULL, &cookie, err);
	if (!rc && path && ops->compartment_cookie(host->platform, 0, path, &there, NULL))
		return bh_error_set(err, -ENOENT, "container '%s': there is no network namespace %s", id, path);
	if (!rc && path && there != cookie)
		rc = bh_error_set(err, -ENOENT, "container '%s' is in another network namespace than %s", id, path);
	return rc;
}

int bh_container_set_phase(struct bh_host *host, const char *id, const char *phase,
                           struct bh_error *err)
{
	int rc = bh_host_require_change(host, err);

	if (rc)
		return rc;
	if (strcmp(phase, "attached") && strcmp(phase, "started") && strcmp(phase, "stopped"))
		return bh_error_set(err, -EINVAL, "phase '%.40s' is not attached, started or stopped", phase);
	rc = bh_store_run(host->store, err, "UPDATE containers SET phase = ? WHERE id = ?", "ss", phase, id);
	return rc ? rc : bh_store_run(host->store, err, "UPDATE endpoints SET phase = ? WHERE container = ?",
	                              "ss", phase, id);
}

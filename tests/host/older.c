/*
 * older.c - a store that an earlier version wrote is brought up to date with all that is in it.
 *
 * tests/support/store5.sql makes one of version 5 of a store of this version; brought up to date again, it
 * must have the same rows, the same schema and the same next ids.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../engine/base/buffer.h"
#include "../../engine/store/store.h"

#define SCRIPT "tests/support/store5.sql"

/* One of everything, some of it twice; the last compartment and rule are gone. */
static const char *const rows[] = {
	"INSERT INTO meta VALUES ('boot', 'b')",
	"INSERT INTO networks VALUES (1, 'nat', 'nat', 1500, '', '', 'ready'), (3, 'lan', 'internal', 0, '10.0.0.1', 'nat', 'rebuild')",
	"INSERT INTO subnets VALUES (1, '172.16.0.0/16', '172.16.0.1', '172.16.0.9'), (3, '10.8.0.0/24', '10.8.0.1', '10.8.0.1'),"
	" (1, 'fd00::/64', 'fd00::1', 'fd00::1')",
	"INSERT INTO compartments VALUES (2, '{2}', 'Container a', 'process', '/proc/7/ns/net', 77, 'ready'),"
	" (5, '{5}', 'Container b', 'hyperv', NULL, 78, 'creating'), (9, '{9}', 'gone', 'process', NULL, NULL, 'ready')",
	"DELETE FROM compartments WHERE id = 9",
	"INSERT INTO containers VALUES (1, 'b', 'name', 'process', 2, '/set', 'process', 'cni', '/proc/7/ns/net', 'started', 'ready'),"
	" (2, 'a', 'a', 'process', 2, '/set', 'other', 'hook', NULL, 'attached', 'creating'),"
	" (3, 'v', 'v', 'hyperv', 5, '/set', 'hyperv', 'hand', NULL, 'stopped', 'removing')",
	"INSERT INTO properties VALUES ('a', 'annotation', 'k', 'v'), ('a', 'label', 'k', ''), ('b', 'label', 'x\"y', 'z,')",
	"INSERT INTO published VALUES ('a', 1, NULL, 80, 8080, 'tcp'), ('a', 2, '10.0.0.1', 53, 53, 'udp'),"
	" ('b', 3, '::', 80, 80, 'sctp')",
	"INSERT INTO tables VALUES (1, '00ff', 1, NULL, 'ready'), (2, NULL, 1, 4, 'creating'), (3, NULL, 1, 6, 'ready'),"
	" (4, 'ff00', 3, NULL, 'ready')",
	"INSERT INTO rules VALUES (1, 1, 'allow', 'inbound', 'tcp', NULL, '80', '10.0.0.0/8', NULL, NULL, '5', 'n', 'true', NULL, 'f:1'),"
	" (2, 2, 'block', 'outbound', 'icmp', '10.0.0.1', NULL, NULL, NULL, '8', NULL, NULL, NULL, 'true', NULL),"
	" (8, 3, 'allow', 'inbound', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
	"DELETE FROM rules WHERE id = 8",
	"INSERT INTO endpoints VALUES (4, 'a', 1, 2, 'vNIC', '02:00:00:00:00:01', 'eth0', 1, 1, 2, 3, '1,2,3', 9, 'i:1', 'o:1',"
	" 'lan', 2, 'cfg', 'attached', 'creating'), (6, 'b', 3, 2, 'vNIC', '02:00:00:00:00:02', '', 0, NULL, NULL, 0, '', 0, '', '',"
	" '', 1, '', 'started', 'changing')",
	"INSERT INTO addresses VALUES (4, 1, '172.16.0.2', 16), (4, 1, 'fd00::2', 64), (6, 3, '10.8.0.2', 24)",
	"INSERT INTO before VALUES (6, 4, 3, 1, '1', 2, 'i', 'o', 1, '/old', 'x')",
	"INSERT INTO past_policies VALUES (9, 1, 'z', 'i', 'o'), (4, 1, 'a', 'i', 'o')",
	"INSERT INTO past_rules VALUES (70, 'n', 'f:9'), (71, NULL, NULL)",
	"INSERT INTO loose VALUES (3), (4)",
	"INSERT INTO lost VALUES ('l', 4, 'name', 'process', '/set', 'process', 'started',"
	" '[[\"annotation\",\"k\",\"v\\\"w\"],[\"label\",\"k\",\"\"]]', '[[null,80,8080,\"tcp\"],[\"10.0.0.1\",53,53,\"udp\"]]',"
	" '[[3,\"l\",\"nat\",\"nat\",\"02:00:00:00:00:03\",\"172.16.0.3\",\"attached\"]]'),"
	" ('m', 5, 'm', 'hyperv', '/set', 'hyperv', 'stopped', '[]', '[]', '[]')",
};

static const char *const tables[] = {
	"meta", "networks", "subnets", "compartments", "containers", "properties", "published", "tables", "rules",
	"endpoints", "addresses", "before", "past_policies", "past_rules", "loose", "lost", "sqlite_sequence",
};

static void must(int rc, const struct bh_error *err)
{
	if (rc < 0) {
		fprintf(stderr, "%s\n", err->message);
		abort();
	}
}

/* The rows of a query, a line each. */
static void append(struct bh_store *store, struct bh_buffer *text, const char *sql, int columns)
{
	BH_AUTOSTATEMENT struct bh_statement *row = NULL;
	struct bh_error err;
	int rc = bh_store_query(store, &row, &err, sql, "");

	must(rc, &err);
	while ((rc = bh_statement_step(row, &err)) == 1) {
		for (int c = 0; c < columns; c++) {
			const char *value = bh_statement_text(row, c);

			bh_buffer_append(text, value ? value : "NULL", strlen(value ? value : "NULL"));
			bh_buffer_append(text, "|", 1);
		}
		bh_buffer_append(text, "\n", 1);
	}
	must(rc, &err);
}

/* All that is in a store, its schema included, as a text. */
static void describe(struct bh_store *store, struct bh_buffer *text)
{
	char sql[120];

	append(store, text, "SELECT type, name, sql FROM sqlite_master ORDER BY type, name", 3);
	append(store, text, "PRAGMA user_version", 1);
	append(store, text, "PRAGMA foreign_key_check", 1);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		snprintf(sql, sizeof(sql), "SELECT count(*) FROM pragma_table_info('%s')", tables[i]);
		int columns = (int)bh_store_number(store, 0, sql, "");

		bh_buffer_append(text, tables[i], strlen(tables[i]));
		bh_buffer_append(text, "\n", 1);
		snprintf(sql, sizeof(sql), "SELECT * FROM %s ORDER BY 1", tables[i]);
		append(store, text, sql, columns);
	}
	bh_buffer_append(text, "", 1);
}

static void make_older(struct bh_store *store)
{
	FILE *script = fopen(SCRIPT, "re");
	char line[1024];
	struct bh_error err;

	if (!script) {
		perror(SCRIPT);
		abort();
	}
	while (fgets(line, sizeof(line), script))
		if (strncmp(line, "--", 2))
			must(bh_store_run(store, &err, line, ""), &err);
	fclose(script);
}

static bool is_refused(const char *path)
{
	struct bh_store *store = NULL;
	struct bh_error err = {0};
	int rc = bh_store_open(&store, path, false, &err);

	bh_store_close(&store);
	return rc == -EPROTO && strstr(err.message, "earlier version");
}

int main(void)
{
	BH_AUTOBUFFER struct bh_buffer before = {0}, after = {0};
	char path[] = "/tmp/bh-older-XXXXXX", file[64];
	struct bh_store *store;
	struct bh_error err;
	bool refused, same;
	int fd = mkstemp(path);

	if (fd < 0)
		return 1;
	close(fd);
	must(bh_store_open(&store, path, true, &err), &err);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		must(bh_store_run(store, &err, rows[i], ""), &err);
	describe(store, &before);
	make_older(store);
	bh_store_close(&store);
	refused = is_refused(path);
	must(bh_store_open(&store, path, true, &err), &err);
	describe(store, &after);
	bh_store_close(&store);
	same = before.size == after.size && !memcmp(before.data, after.data, before.size);
	if (!same)
		printf("--- before\n%s--- after\n%s", (char *)before.data, (char *)after.data);
	printf("%s a store of an earlier version is not read\n", refused ? "ok" : "FAILED");
	printf("%s brought up to date it has all that was in it\n", same ? "ok" : "FAILED");
	for (int i = 0; i < 3; i++) {
		snprintf(file, sizeof(file), "%s%s", path, (const char *const[]){"", "-wal", "-shm"}[i]);
		unlink(file);
	}
	printf("%d passed, %d failed, 0 skipped\n", refused + same, !refused + !same);
	return !refused || !same;
}

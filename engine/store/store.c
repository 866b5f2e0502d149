/*
 * store.c - see store.h. Statements are prepared once per connection and kept by their text.
 *
 * Who closes last leaves the log as it is: to put it into the database would have the disk waited for
 * at each change. It is put there once it has LOG_PAGES; whoever opens reads it, which is as quick.
 *
 * A full disk must not keep anybody from removing what is there: the log's file has room for LOG_PAGES and a change
 * from the start and keeps it, and the database's file grows before a commit, not when the log is put into it.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "memory.h"

#define CACHE_MAX 96
#define LOG_PAGES 128 /* about five changes */
#define CHANGE_PAGES 96 /* of a large change */
#define PAGE_BYTES 2048
#define PAGE "2048" /* bytes, of a new store: a page that changes is written and summed up whole, and read again */
#define CHUNK_BYTES 65536 /* the database grows by */
#define PLENTY (4u << 20) /* bytes free: a change, of which SQLite keeps at most half of this unwritten, cannot fill the disk */

struct bh_statement {
	sqlite3_stmt *stmt;
	bool busy; /* handed out and not closed yet */
	bool once; /* not in the cache: finalised when closed */
};

struct bh_store {
	sqlite3 *db;
	size_t cached;
	struct bh_statement cache[CACHE_MAX];
};

static int store_error_of(sqlite3 *db, int code, struct bh_error *err)
{
	static const int codes[][2] = {
		{SQLITE_FULL, -ENOSPC}, {SQLITE_BUSY, -EBUSY}, {SQLITE_READONLY, -EROFS},
		{SQLITE_CONSTRAINT, -EEXIST}, {SQLITE_CORRUPT, -EUCLEAN}, {SQLITE_NOTADB, -EUCLEAN},
	};
	int rc = -EIO;

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i][0] == (code & 0xff))
			rc = codes[i][1];
	/* The log's index; a limit on the size of files says so too. */
	if (code == SQLITE_IOERR && sqlite3_extended_errcode(db) == SQLITE_IOERR_SHMSIZE)
		rc = -ENOSPC;
	if (rc == -ENOSPC)
		return bh_error_set(err, rc, "the store: the disk of '%s' is full", sqlite3_db_filename(db, "main"));
	return bh_error_set(err, rc, "the store: %s", code == sqlite3_errcode(db) ? sqlite3_errmsg(db) : sqlite3_errstr(code));
}

static int store_error(sqlite3 *db, struct bh_error *err)
{
	return store_error_of(db, sqlite3_errcode(db), err);
}

/* SQLite makes its files with the umask alone; the state is nobody else's to read. */
static int make_private(const char *path, struct bh_error *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return bh_error_errno(err, -errno, "cannot make the store '%s'", path);
	close(fd);
	return 0;
}

/* One thread, and nobody who asks for statistics. Refused, and not needed, from the second store on. */
static void be_plain(void)
{
	sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
	bh_memory_use();
}

int bh_store_open(struct bh_store **out, const char *path, bool write, struct bh_error *err)
{
	struct bh_store *store = calloc(1, sizeof(*store));
	int rc = store ? 0 : bh_error_set(err, -ENOMEM, "not enough memory for the store"), keep = 1, chunk = CHUNK_BYTES;

	be_plain();
	if (!rc && path && write)
		rc = make_private(path, err);
	if (!rc && path && !write && access(path, F_OK))
		rc = bh_error_errno(err, -errno, "cannot open the store '%s'", path);
	if (!rc && sqlite3_open_v2(path ? path : ":memory:", &store->db,
	                           SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (path ? 0 : SQLITE_OPEN_CREATE),
	                           NULL))
		rc = store_error(store->db, err);
	if (!rc) {
		sqlite3_busy_timeout(store->db, 10000);
		sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
		sqlite3_db_config(store->db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
		sqlite3_wal_autocheckpoint(store->db, LOG_PAGES);
		sqlite3_file_control(store->db, NULL, SQLITE_FCNTL_PERSIST_WAL, &keep); /* a file's only */
		sqlite3_file_control(store->db, NULL, SQLITE_FCNTL_CHUNK_SIZE, &chunk);
		if (sqlite3_exec(store->db, "PRAGMA page_size=" PAGE "; PRAGMA journal_mode=WAL; "
		                 "PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY", NULL, NULL, NULL))
			rc = store_error(store->db, err);
	}
	if (!rc)
		rc = write || !path ? bh_schema_apply(store, err) : bh_schema_check(store, err);
	if (rc == -ENOSPC) { /* the log is not to keep what it took of the disk */
		keep = 0;
		sqlite3_file_control(store->db, NULL, SQLITE_FCNTL_PERSIST_WAL, &keep);
		sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	}
	if (rc) {
		bh_store_close(&store);
		return rc;
	}
	*out = store;
	return 0;
}

void bh_store_close(struct bh_store **store)
{
	if (!*store)
		return;
	for (size_t i = 0; i < (*store)->cached; i++)
		sqlite3_finalize((*store)->cache[i].stmt);
	sqlite3_close((*store)->db);
	free(*store);
	*store = NULL;
}

int bh_store_check(struct bh_store *store, struct bh_error *err)
{
	BH_AUTOSTATEMENT struct bh_statement *row = NULL;
	int rc = bh_store_query(store, &row, err, "PRAGMA quick_check(1)", "");

	rc = rc ? rc : bh_statement_step(row, err);
	if (rc < 0)
		return rc;
	if (rc == 1 && strcmp(bh_statement_text(row, 0), "ok"))
		return bh_error_set(err, -EUCLEAN, "the store: %s", bh_statement_text(row, 0));
	return 0;
}

/* A prepared statement, reset and without arguments. */
static struct bh_statement *statement_get(struct bh_store *store, const char *sql)
{
	struct bh_statement *statement;
	sqlite3_stmt *stmt;

	for (size_t i = 0; i < store->cached; i++) {
		statement = &store->cache[i];
		if (!statement->busy && !strcmp(sqlite3_sql(statement->stmt), sql)) {
			statement->busy = true;
			return statement;
		}
	}
	if (sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL))
		return NULL;
	if (store->cached < CACHE_MAX) {
		statement = &store->cache[store->cached++];
		*statement = (struct bh_statement){stmt, true, false};
		return statement;
	}
	statement = calloc(1, sizeof(*statement));
	if (!statement) {
		sqlite3_finalize(stmt);
		return NULL;
	}
	*statement = (struct bh_statement){stmt, true, true};
	return statement;
}

void bh_statement_close(struct bh_statement **statement)
{
	if (!*statement)
		return;
	if ((*statement)->once) {
		sqlite3_finalize((*statement)->stmt);
		free(*statement);
	} else {
		sqlite3_reset((*statement)->stmt);
		sqlite3_clear_bindings((*statement)->stmt);
		(*statement)->busy = false;
	}
	*statement = NULL;
}

static int statement_bind(struct bh_statement *statement, const char *types, va_list args)
{
	int rc = 0;

	for (int i = 0; types[i] && !rc; i++) {
		if (types[i] == 'i') {
			rc = sqlite3_bind_int64(statement->stmt, i + 1, va_arg(args, int64_t));
		} else {
			const char *text = va_arg(args, const char *);

			rc = text ? sqlite3_bind_text(statement->stmt, i + 1, text, -1, SQLITE_TRANSIENT)
			          : sqlite3_bind_null(statement->stmt, i + 1);
		}
	}
	return rc;
}

static int query(struct bh_store *store, struct bh_statement **out, struct bh_error *err,
                 const char *sql, const char *types, va_list args)
{
	struct bh_statement *statement = statement_get(store, sql);

	if (!statement || statement_bind(statement, types, args)) {
		bh_statement_close(&statement);
		return store_error(store->db, err);
	}
	*out = statement;
	return 0;
}

int bh_store_query(struct bh_store *store, struct bh_statement **out, struct bh_error *err,
                   const char *sql, const char *types, ...)
{
	va_list args;
	int rc;

	va_start(args, types);
	rc = query(store, out, err, sql, types, args);
	va_end(args);
	return rc;
}

int bh_statement_step(struct bh_statement *statement, struct bh_error *err)
{
	int rc = sqlite3_step(statement->stmt);

	if (rc == SQLITE_ROW)
		return 1;
	if (rc == SQLITE_DONE)
		return 0;
	return store_error(sqlite3_db_handle(statement->stmt), err);
}

int64_t bh_statement_int(struct bh_statement *statement, int column)
{
	return sqlite3_column_int64(statement->stmt, column);
}

const char *bh_statement_text(struct bh_statement *statement, int column)
{
	return (const char *)sqlite3_column_text(statement->stmt, column);
}

int bh_store_run(struct bh_store *store, struct bh_error *err, const char *sql, const char *types,
                 ...)
{
	struct bh_statement *statement = NULL;
	va_list args;
	int rc;

	va_start(args, types);
	rc = query(store, &statement, err, sql, types, args);
	va_end(args);
	if (rc)
		return rc;
	rc = bh_statement_step(statement, err);
	bh_statement_close(&statement);
	return rc < 0 ? rc : 0;
}

int64_t bh_store_last_id(struct bh_store *store)
{
	return sqlite3_last_insert_rowid(store->db);
}

int64_t bh_store_number(struct bh_store *store, int64_t otherwise, const char *sql,
                        const char *types, ...)
{
	struct bh_statement *statement = NULL;
	va_list args;
	int rc;

	va_start(args, types);
	rc = query(store, &statement, NULL, sql, types, args);
	va_end(args);
	if (rc)
		return otherwise;
	if (bh_statement_step(statement, NULL) == 1 &&
	    sqlite3_column_type(statement->stmt, 0) != SQLITE_NULL)
		otherwise = bh_statement_int(statement, 0);
	bh_statement_close(&statement);
	return otherwise;
}

int bh_store_begin(struct bh_store *store, struct bh_error *err)
{
	return bh_store_run(store, err, "BEGIN IMMEDIATE", "");
}

int bh_store_commit(struct bh_store *store, struct bh_error *err)
{
	return bh_store_run(store, err, "COMMIT", "");
}

void bh_store_rollback(struct bh_store *store)
{
	if (!sqlite3_get_autocommit(store->db))
		bh_store_run(store, NULL, "ROLLBACK", "");
}

/* The file, or NULL in memory. */
static const char *file_of(struct bh_store *store)
{
	const char *path = sqlite3_db_filename(store->db, "main");

	return path && *path ? path : NULL;
}

/* Writes to the log what the commit will write, and a text of that many pages, and takes it out of the log again:
 * the file keeps its length, and what is written next goes there. */
static int claim(struct bh_store *store, size_t pages, struct bh_error *err)
{
	int rc = bh_store_run(store, err, "SAVEPOINT room", ""), code;

	rc = rc ? rc : bh_store_run(store, err, "INSERT OR REPLACE INTO meta VALUES ('room', zeroblob(?))", "i",
	                            (int64_t)pages * PAGE_BYTES);
	if (!rc && (code = sqlite3_db_cacheflush(store->db)))
		rc = store_error_of(store->db, code, err);
	rc = rc ? rc : bh_store_run(store, err, "ROLLBACK TO room", "");
	return rc ? rc : bh_store_run(store, err, "RELEASE room", "");
}

int bh_store_begun(struct bh_store *store, struct bh_error *err)
{
	return file_of(store) ? claim(store, LOG_PAGES + CHANGE_PAGES, err) : 0;
}

int bh_store_reserve(struct bh_store *store, size_t pages, struct bh_error *err)
{
	int64_t size = bh_store_number(store, 0, "PRAGMA page_count", "") * bh_store_number(store, 0, "PRAGMA page_size", "");
	struct statvfs disk;

	if (!file_of(store))
		return 0;
	/* What the log has the database must be able to take, or the log is never written from its beginning again. */
	if (sqlite3_file_control(store->db, "main", SQLITE_FCNTL_SIZE_HINT, &size))
		return store_error_of(store->db, SQLITE_FULL, err);
	if (!statvfs(file_of(store), &disk) && (uint64_t)disk.f_bavail * disk.f_frsize >= pages * PAGE_BYTES + PLENTY)
		return 0;
	return claim(store, pages, err);
}

void bh_store_absorb(struct bh_store *store)
{
	struct statvfs disk;

	if (file_of(store) && !statvfs(file_of(store), &disk) && (uint64_t)disk.f_bavail * disk.f_frsize < PLENTY)
		bh_store_run(store, NULL, "PRAGMA wal_checkpoint(PASSIVE)", "");
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * All that differs between MariaDB and MySQL: what to ask a server, how to read its answer, and
 * the statements that move a shard. Callers use neutral words (source, replica, position) and
 * never look at a version. MariaDB 10.6+ is complete; another flavour is another table.
 *
 * Builders append one packet to 'sql'. Readers fill their output from that packet's result.
 */
#ifndef HOLDFAST_SQL_FLAVOUR_H
#define HOLDFAST_SQL_FLAVOUR_H

#include "base/buf.h"
#include "base/secret.h"
#include "sql/conn.h"
#include "sql/glimpse.h"
#include "sql/result.h"
#include "wire/gtid.h"

/* A server as it answered. Texts point into 'raw' and live as long as it does; "" when absent. */
struct sql_server_state {
    struct sql_result raw; /* gone once it is compact */
    char *texts;           /* of a compact one */
    const char *version;
    int64_t server_id, domain_id;
    bool is_read_only;
    bool is_source_semi_sync, is_replica_semi_sync; /* the two flags, not what is in effect */
    bool is_semi_sync_active;                       /* acknowledged commits wait for an acker now */
    bool waits_without_ackers, waits_after_sync;
    int64_t semi_sync_timeout_ms;
    int64_t ackers; /* replicas connected that acknowledge */
    /* A commit waits for an acknowledgement, of a statement that began so long ago; 0: none. */
    int64_t held_up_ms;
    bool has_binlog, logs_replica_updates, is_gtid_strict;
    const char *binlog_format, *isolation;
    int64_t sync_binlog, flush_at_commit, binlog_expiry_s;
    int64_t idle_timeout_s;
    bool is_event_scheduler_on;
    double clock_s; /* its wall clock, seconds since 1970 */

    size_t channels;          /* replication sources configured */
    const char *channel_name; /* of the first; "": the one without a name, that all else is about */
    const char *source_host, *source_user;
    int64_t source_port, source_id; /* its server_id, when it was last connected */
    int64_t delay_s;                /* deliberate */
    bool is_link_tls;               /* its connection to the source is TLS */
    bool verifies_link;             /* ... to the one that its certificate names */
    bool is_io_running, is_sql_running;
    bool uses_gtid;
    const char *io_error, *sql_error, *replica_filters;
    const char *received; /* position received from the source; "" when not replicating */
    const char *applied;  /* position applied from a source */
    const char *position; /* last position in its own binlog */
    const char *binlog_state;
    int64_t behind_s; /* -1 when unknown */
};

/* A statement or transaction that may stand in a move's way. Texts as above, here and below. */
struct sql_activity {
    int64_t id, ms; /* connection, and for how long */
    const char *user, *host, *state, *text;
    bool is_statement;    /* it runs; else a transaction that is open and idle */
    int64_t rows_changed; /* by its transaction; -1 unknown */
};

struct sql_setting {
    const char *name, *value, *origin, *path; /* origin: "CONFIG", "COMMAND-LINE", ... */
};

struct sql_right {
    const char *account, *privilege; /* "'root'@'localhost'", "SUPER" */
};

struct sql_event {
    const char *database, *name, *definer; /* "user@host" */
};

/* An event as one server has it: on a replica none is enabled. */
struct sql_event_seen {
    const char *database, *name;
    bool is_enabled;
};

/* Things that readiness looks for and that cost more than one row each. */
struct sql_inspection {
    struct sql_result raw;
    struct sql_activity *activities; /* writing statements and open transactions, longest first */
    struct sql_activity *waiters;    /* sessions that wait for a table lock */
    struct sql_activity *ddl;        /* running DDL */
    struct sql_setting *settings;
    struct sql_right *rights;      /* accounts that may write on a read-only server, or replicate */
    struct sql_event_seen *events; /* all, enabled or not */
    const char **tables;           /* of the schema holdfast */
    size_t activity_count, waiter_count, ddl_count, setting_count, right_count, event_count;
    size_t table_count;
    size_t xa_count;             /* prepared XA transactions */
    const char *certificate_end; /* of the server's certificate, as it prints it; "": no TLS */
    const char *binlog_do, *binlog_ignore; /* databases that the binlog is limited to, or lacks */
};

struct sql_source {
    const char *host;
    int64_t port;
    const char *user;
    const struct secret *password;
    const char *link;      /* as keep_link() wrote it */
    const char *position;  /* where to begin; NULL: the replica knows by itself */
    bool acknowledges;     /* from the first thing it gets; across regions: hardly ever */
    bool is_order_relaxed; /* let GTIDs come out of order, whatever the server was set to */
};

/* No statement that commits takes that long, so its acknowledgement does not come. */
enum { SQL_HELD_UP_MS = 1000 };

enum { SQL_LOG_ROWS_MAX = 5000 }; /* of one look at a log */

/* An entry of a server's own log: the begin of a transaction (with its position), or a part. */
struct sql_log_row {
    const char *begins; /* position of the transaction that begins here; NULL: a part of it */
    const char *text;
    bool is_change; /* of data or definitions; else maintenance such as FLUSH TABLES */
};

/* What was seen of the other servers is acted on only for so long. */
enum { SQL_OPEN_WITHIN_MS = 2000 };

/* Of list_lockers: the set of its result, and how long an old answer may keep coming. */
enum { SQL_LOCKERS = 2, SQL_LOCKERS_MS = 110 };

struct sql_promotion {
    const char *position; /* must be applied before the server opens */
    int wait_ms;          /* how long the server may wait for that */
    double until_clock_s; /* on the server's wall clock: later it must not open */
};

struct sql_flavour {
    const char *name;
    enum gtid_flavour gtid;

    void (*observe)(struct buf *sql);
    MUST_CHECK enum status (*read_observation)(struct sql_result *take,
                                               struct sql_server_state *ret, struct err *err);
    /* The least that can be asked: never waits for anything in the server. */
    void (*ask_process)(struct buf *sql);
    MUST_CHECK enum status (*read_process)(const struct sql_result *result, struct sql_process *ret,
                                           struct err *err);
    void (*ask_whereabouts)(struct buf *sql);
    MUST_CHECK enum status (*read_whereabouts)(const struct sql_result *result,
                                               struct sql_whereabouts *ret, struct err *err);
    /* Rows of one column: the grants of the account that asks. */
    void (*list_grants)(struct buf *sql);
    void (*inspect)(struct buf *sql, int long_ms);
    MUST_CHECK enum status (*read_inspection)(struct sql_result *take, struct sql_inspection *ret,
                                              struct err *err);

    /* Two sets of the replicas that are connected: (server_id, host, port) as they report it, host
     * may be ""; (host) as their connections show it. */
    void (*list_replicas)(struct buf *sql);
    /* One row, one column: the number 0 when 'position' is applied, else not within wait_ms. */
    void (*wait_for)(struct buf *sql, const char *position, int wait_ms);
    void (*read_position)(struct buf *sql); /* one row, one column */
    /* Fails at once with ST_TIMEOUT when a backup or a table lock would hold a freeze up. */
    void (*try_freeze_lock)(struct buf *sql, int timeout_ms);
    /* Refuse writes, and nothing else; commits that wait for an acknowledgement hold it up. */
    void (*refuse_writes)(struct buf *sql, int timeout_ms);
    /* Refuse writes, block commits of privileged sessions; the last row is the final position. */
    void (*freeze)(struct buf *sql, int timeout_ms);
    /* The last row: 1 when the server opened; 0: it refused because it was late; -1: because it
     * has no acker. */
    void (*promote)(struct buf *sql, const struct sql_promotion *promotion);
    /* For a primary: its commits wait for an acknowledgement. It accepts writes as before, or not.
     */
    void (*start_source)(struct buf *sql);
    /* Open (again) as a primary, unless it is late on the server's clock; the last row: is it
     * read-only? Semi-sync on first. Valid only without a freeze in the session. */
    void (*open)(struct buf *sql, double until_clock_s);
    /* Make sure that a server that must not write cannot, and waits for no acker. */
    void (*close)(struct buf *sql, bool is_strict);
    /* Stop to be a replica; the last row: up to where the source's transactions were applied. */
    void (*forget_source)(struct buf *sql, bool is_strict);
    /* Whether GTIDs must be in order; and begin to replicate again where that stopped it. */
    void (*set_strict)(struct buf *sql, bool is_strict);
    /* Let go of what freeze holds besides read-only. First end those whom it holds up: the rows
     * of list_held are connection ids; none of them can be waiting for an acknowledgement. */
    void (*list_held)(struct buf *sql);
    /* After a while: connection ids of sessions whose open transactions hold locks, but not
     * replication's, as set SQL_LOCKERS. Without the asking session's own id among them they are
     * of up to 100 ms ago, or older if others ask all the time: ask again, SQL_LOCKERS_MS later. */
    void (*list_lockers)(struct buf *sql, int after_ms);
    void (*list_prepared)(struct buf *sql); /* a row for each prepared XA transaction */
    void (*end_freeze)(struct buf *sql);    /* the last row: the position right after */
    /* For a former primary that is to follow: be read-only, stop replication; one row: the position
     * applied from a source, the position in its own log. */
    void (*look_before_follow)(struct buf *sql);
    /* One row: file and offset of the end of its own log; and what stands there from then on: rows
     * as read_log_row() understands them. */
    void (*read_log_end)(struct buf *sql);
    void (*list_log)(struct buf *sql, const char *log_end);
    void (*read_log_row)(const struct sql_result *result, size_t row, struct sql_log_row *ret);
    /* Why a replica could not use this password of the replication account, although it logs in:
     * "it is ...". NULL: it can. */
    const char *(*refuse_source_password)(const struct secret *password);
    /* How a replica connects to its source, in the flavour's own words: like 'state' does (NULL: by
     * default), but for TLS as 'tls' says, unless that is NULL. No secrets, only names of files. */
    void (*keep_link)(struct buf *text, const struct sql_server_state *state,
                      const struct sql_tls *tls);
    /* 'link', kept a while ago, but for TLS as 'tls' says now. */
    void (*renew_link)(struct buf *text, const char *link, const struct sql_tls *tls);
    /* For a server that is not the primary: wait for no acknowledgement; acknowledge its source's
     * writes, or no more (replication is connected anew, because the flag counts from then on);
     * connect and apply again. */
    void (*stop_source)(struct buf *sql);
    void (*acknowledge)(struct buf *sql, bool is_on);
    void (*restart_replication)(struct buf *sql);
    /* Receive nothing more, but go on to apply what was received, which is thrown away by whatever
     * starts a replica of which both halves stand still. 'state' is what it was before. Gives the
     * number of statements. */
    size_t (*stop_receiving)(struct buf *sql, const struct sql_server_state *state);
    void (*start_receiving)(struct buf *sql);
    /* For what the server got before it acknowledged: takes a second or two. */
    void (*acknowledge_received)(struct buf *sql);
    /* Everything that makes a former primary the relay of the new one. Idempotent. */
    void (*follow)(struct buf *sql, const struct sql_source *source);
    /* Events that run where writes go: rows (database, name, definer) of those to be moved, given
     * the primary's and the replica's view; then one event's switch, kept out of the binlog. */
    void (*list_events)(struct buf *sql);
    void (*list_silent_events)(struct buf *sql); /* off because the server was a replica */
    void (*switch_event)(struct buf *sql, const struct sql_event *event, bool enable);
    void (*switch_scheduler)(struct buf *sql, bool on);
    /* One row, one column each: 1 = done. */
    void (*lock)(struct buf *sql, const char *name, int wait_ms);
    void (*unlock)(struct buf *sql);
    void (*lock_holder)(struct buf *sql, const char *name); /* connection id or NULL */
    void (*kill)(struct buf *sql, int64_t connection_id);
};

extern const struct sql_flavour sql_mariadb;

/* By the version text of the handshake; ST_INVALID when Holdfast cannot work with it. */
MUST_CHECK enum status sql_flavour_find(const char *version, const struct sql_flavour **ret,
                                        struct err *err);
void sql_server_state_release(struct sql_server_state *state);
/* Keep what stands in its fields only, a tenth of the answer: for those who hold thousands. What a
 * flavour reads from the answer itself, as keep_link() does, cannot be had from it then. */
void sql_server_state_compact(struct sql_server_state *state);
void sql_inspection_release(struct sql_inspection *inspection);

#endif

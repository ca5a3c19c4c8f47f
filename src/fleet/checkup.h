/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside fleet/ only: the table of readiness checks, and what a check gets to see. The checks
 * (check_*.c) are pure: everything that they may use was asked before (look.c), so that tests give
 * them states by hand.
 */
#ifndef HOLDFAST_FLEET_CHECKUP_H
#define HOLDFAST_FLEET_CHECKUP_H

#include "fleet/grants.h"
#include "fleet/observation.h"
#include "fleet/readiness.h"
#include "fleet/route.h"

/* clang-format off */
/* X(name, "id", severity, "what it means", "what to do") */
#define CHECK_TABLE(X) \
    X(STORE_UNAVAILABLE, "store-unavailable", NO_GO, "the coordination store cannot be used", "holdfast fleet check; of a folder check the rights and the space") \
    X(STORE_MEMBER, "store-member", WARNING, "a member of the store's etcd does not answer, or is not trusted", "mend it while the others still serve: without a majority of them nothing moves") \
    X(STORE_OPEN, "store-open", WARNING, "the store has credentials, but its etcd lets everybody in", "etcdctl auth enable; docs/etcd.md says what must be there before") \
    X(RUN_IN_PROGRESS, "run-in-progress", NO_GO, "another run is moving shards", "wait for it, or abort it") \
    X(UNFINISHED_RUN, "unfinished-run", NO_GO, "a run is not finished: its process is gone, or it waits for you", "resume it, or abort it") \
    X(UNREACHABLE, "unreachable", NO_GO, "a server does not answer", "start it, or look at the network; take it out of the fleet file if it is gone for good") \
    X(LOGIN_REFUSED, "login-refused", NO_GO, "a server refuses Holdfast's account", "check the password file, and create the account: holdfast fleet grants") \
    X(TLS_FAILED, "tls-failed", NO_GO, "no TLS connection to a server: its certificate, or ours, is not accepted", "give it a certificate for the host in the fleet file, signed by the 'ca' of 'tls', then: FLUSH LOCAL SSL; when no server's is accepted, look at 'tls' in the fleet file first") \
    X(CERTIFICATE_EXPIRED, "certificate-expired", NO_GO, "a certificate has expired", "renew it; a server loads it with FLUSH LOCAL SSL") \
    X(CERTIFICATE_ENDS, "certificate-ends", WARNING, "a certificate expires within 14 days", "renew it; a server loads it with FLUSH LOCAL SSL") \
    X(UNSUPPORTED_SERVER, "unsupported-server", NO_GO, "a server that Holdfast cannot move, or that answers oddly", "Holdfast moves MariaDB 10.6 and later") \
    X(NOT_INSPECTED, "not-inspected", NO_GO, "an end of the move did not answer all questions: what would stand in the way is not known", "run it again; if it stays so, look at what holds that question up there") \
    X(REPLICA_NOT_INSPECTED, "replica-not-inspected", WARNING, "another server did not answer all questions", "run it again; if it stays so, look at what holds that question up there") \
    X(NO_PRIMARY, "no-primary", NO_GO, "no server of the shard accepts writes", "find out why before anything else; to open the right server: SET GLOBAL rpl_semi_sync_master_enabled=1, read_only=0") \
    X(SEVERAL_PRIMARIES, "several-primaries", NO_GO, "more than one server of the shard accepts writes", "make all but the right one read-only at once: SET GLOBAL read_only=1; then look for writes that only the others have") \
    X(PRIMARY_REPLICATES, "primary-replicates", NO_GO, "the writable server is itself a replica", "STOP SLAVE and RESET SLAVE ALL there, if it is meant to be the primary; else SET GLOBAL read_only=1") \
    X(NO_RELAY, "no-relay", NO_GO, "no server of the other region replicates from the primary", "point one of them at the primary; it becomes the new primary") \
    X(STRANGER_SOURCE, "stranger-source", NO_GO, "a server replicates from one that is not in the fleet file", "add that server to the fleet file, or point the replica at the shard's primary") \
    X(WRONG_SOURCE, "wrong-source", WARNING, "a replica follows another server than it should", "holdfast fleet converge points it at the primary in the home region, at the relay in the other") \
    X(NOT_REPLICATING, "not-replicating", NO_GO, "a server is read-only and replicates from nobody", "holdfast fleet converge points it at its source; or take it out of the fleet file") \
    X(ALREADY_THERE, "already-there", INFO, "the shard's primary is in the target region already", "nothing: it will not be moved, and is not checked further") \
    X(SHAPE, "shape", WARNING, "a shard has another shape than three servers in each region", "with fewer than three, the loss of one server leaves writes without an acknowledging replica") \
    X(DUPLICATE_SERVER_ID, "duplicate-server-id", NO_GO, "two servers have the same server_id", "give each server its own server_id and restart its replication") \
    X(ROUTE_DIFFERS, "route-differs", WARNING, "the store says another primary than the servers show", "if the servers are right, nothing: the next move adopts it") \
    X(NOT_PERMITTED, "not-permitted", NO_GO, "the relay has no permission to serve: a failover withdrew it", "holdfast fleet converge; the conductor that leads gives it back once the server replicates") \
    X(REPLICATION_BROKEN, "replication-broken", NO_GO, "a replica does not receive or does not apply", "when it is only stopped: holdfast fleet converge; else mend it, then START SLAVE there") \
    X(NO_GTID, "no-gtid", NO_GO, "a replica does not use GTID", "STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID=slave_pos; START SLAVE") \
    X(SEVERAL_SOURCES, "several-sources", NO_GO, "a server replicates from several sources", "a shard's server has one source: RESET SLAVE 'name' ALL for the others") \
    X(NAMED_SOURCE, "named-source", NO_GO, "a server replicates through a connection with a name: what Holdfast says to its replication would reach none", "STOP SLAVE 'name'; RESET SLAVE 'name' ALL; then holdfast fleet converge points it again") \
    X(DELAYED_RELAY, "delayed-relay", NO_GO, "the relay is delayed on purpose", "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY=0; START SLAVE") \
    X(DOMAIN_DIFFERS, "domain-differs", NO_GO, "the servers of a shard have different GTID domains", "SET GLOBAL gtid_domain_id to the primary's, there and in its configuration") \
    X(UNKNOWN_DOMAIN, "unknown-domain", NO_GO, "the relay does not know a GTID domain of the primary; waiting for its position would never end", "write a row in that domain on the primary, or remove the domain there: FLUSH BINARY LOGS DELETE_DOMAIN_ID") \
    X(ERRANT_TRANSACTIONS, "errant-transactions", NO_GO, "a replica has transactions that the primary never had", "find out what they changed (mariadb-binlog), then rebuild the replica") \
    X(LAG, "lag", NO_GO, "the relay is further behind than policy.max_lag", "wait until it has caught up, or raise policy.max_lag") \
    X(RPO, "rpo", WARNING, "a loss of the home region would cost more than the promised RPO", "promise.rpo_guard: true, or a permission.ttl that is shorter than promise.rpo by the lag, or promise less") \
    X(RPO_GUARD, "rpo-guard", INFO, "promise.rpo_guard: writes wait while the other region has not received what was acknowledged", "nothing: that is what it is for; without it they go on, and a loss costs more") \
    X(REPLICA_LAG, "replica-lag", WARNING, "a replica is further behind than policy.max_lag", "wait until it has caught up") \
    X(APPLY_BACKLOG, "apply-backlog", WARNING, "a replica has received much that it has not applied", "wait, or give it more slave_parallel_threads") \
    X(REPLICATION_FILTER, "replication-filter", NO_GO, "a replica leaves out part of what it receives", "remove the filter, and rebuild the replica if it already left something out") \
    X(BINLOG_FILTER, "binlog-filter", NO_GO, "a server leaves part of its writes out of the binlog", "remove binlog_do_db and binlog_ignore_db") \
    X(BINLOG_OFF, "binlog-off", NO_GO, "an end of the move has no binlog, or not with what it replicates", "set log_bin and log_slave_updates, and restart it") \
    X(REPLICA_WITHOUT_BINLOG, "replica-without-binlog", WARNING, "a replica could never become primary, for lack of a binlog", "set log_bin and log_slave_updates, and restart it") \
    X(GTID_STRICT_OFF, "gtid-strict-off", INFO, "gtid_strict_mode is off: a replica would not notice that it diverged", "SET GLOBAL gtid_strict_mode=1 on all servers, and in their configuration") \
    X(GTID_STRICT_DIFFERS, "gtid-strict-differs", WARNING, "gtid_strict_mode is on at some servers only", "set it alike on all servers") \
    X(BINLOG_FORMAT, "binlog-format", WARNING, "the binlog holds statements", "SET GLOBAL binlog_format=ROW, and in the configuration") \
    X(BINLOG_RETENTION, "binlog-retention", WARNING, "binlogs are kept for less than a day: a server that returns late cannot catch up", "raise binlog_expire_logs_seconds") \
    X(SEMI_SYNC_OFF, "semi-sync-off", NO_GO, "the primary waits for no acknowledgement", "holdfast fleet converge; or there: SET GLOBAL rpl_semi_sync_master_enabled=1") \
    X(SEMI_SYNC_DEGRADED, "semi-sync-degraded", NO_GO, "the primary fell back to asynchronous replication", "bring an acknowledging replica back; the primary returns by itself") \
    X(NO_ACKER, "no-acker", NO_GO, "no replica in the primary's region acknowledges its writes", "holdfast fleet converge; or on its replicas: SET GLOBAL rpl_semi_sync_slave_enabled=1; STOP SLAVE IO_THREAD; START SLAVE IO_THREAD") \
    X(NO_ACKER_NEW_SIDE, "no-acker-new-side", NO_GO, "no replica behind the relay would acknowledge its writes", "holdfast fleet converge; or on its replicas: SET GLOBAL rpl_semi_sync_slave_enabled=1; STOP SLAVE IO_THREAD; START SLAVE IO_THREAD") \
    X(WRITES_HELD_UP, "writes-held-up", NO_GO, "writes wait for an acknowledgement that does not come", "bring an acknowledging replica back, then holdfast fleet converge: one that got a write before it acknowledged never does by itself") \
    X(FAR_ACKER, "far-acker", WARNING, "a region has one server: as primary, its writes wait for an acknowledgement from the other region", "add a second server to that region") \
    X(SEMI_SYNC_TIMEOUT, "semi-sync-timeout", NO_GO, "semi-sync gives up within a day", "SET GLOBAL rpl_semi_sync_master_timeout=18446744073709551615, and in the configuration") \
    X(SEMI_SYNC_WAIT_POINT, "semi-sync-wait-point", NO_GO, "semi-sync waits after the commit: others see what may yet be lost", "SET GLOBAL rpl_semi_sync_master_wait_point=AFTER_SYNC, and in the configuration") \
    X(SEMI_SYNC_NO_SLAVE, "semi-sync-no-slave", NO_GO, "semi-sync stops waiting when no replica is connected", "SET GLOBAL rpl_semi_sync_master_wait_no_slave=1, and in the configuration") \
    X(REPLICA_NOT_SEMI_SYNC, "replica-not-semi-sync", WARNING, "a replica does not acknowledge", "holdfast fleet converge; or there: SET GLOBAL rpl_semi_sync_slave_enabled=1; STOP SLAVE IO_THREAD; START SLAVE IO_THREAD") \
    X(IGNORED_ACKNOWLEDGES, "ignored-acknowledges", WARNING, "an ignored server acknowledges writes: one may be nowhere else but on the primary", "SET GLOBAL rpl_semi_sync_slave_enabled=0; STOP SLAVE IO_THREAD; START SLAVE IO_THREAD") \
    X(RELAY_ACKNOWLEDGES, "relay-acknowledges", WARNING, "the relay acknowledges writes across regions", "holdfast fleet converge; or there: SET GLOBAL rpl_semi_sync_slave_enabled=0; STOP SLAVE IO_THREAD; START SLAVE IO_THREAD") \
    X(SEMI_SYNC_FLAG, "semi-sync-flag", WARNING, "a replica has the semi-sync flag of a primary: it stops applying when its own replicas vanish", "holdfast fleet converge; or there: SET GLOBAL rpl_semi_sync_master_enabled=0") \
    X(DURABILITY, "durability", WARNING, "a server does not flush every commit: a crash loses the last ones", "SET GLOBAL sync_binlog=1, innodb_flush_log_at_trx_commit=1, and in the configuration") \
    X(ISOLATION, "isolation", WARNING, "the default isolation is not READ-COMMITTED", "transaction_isolation=READ-COMMITTED locks less") \
    X(CONFIG_READ_ONLY, "config-read-only", NO_GO, "a server was started with read_only=0: it would be writable after a restart", "write read_only=1 into its configuration; Holdfast opens the primary") \
    X(DEFAULT_READ_ONLY, "default-read-only", WARNING, "the primary's configuration does not say read_only: it would be writable after a restart, also as a replica", "write read_only=1 into its configuration; Holdfast opens the primary") \
    X(VERSION_OLDER, "version-older", NO_GO, "the new primary's version is older than the old one's", "upgrade the new side first") \
    X(VERSION_DIFFERS, "version-differs", WARNING, "the servers have different versions", "finish the upgrade") \
    X(SETTINGS_DIFFER, "settings-differ", WARNING, "a setting that clients notice differs between the two primaries", "set it alike on both, and in their configurations") \
    X(CLOCK_DIFFERS, "clock-differs", WARNING, "the clock of a server is off", "start time synchronisation there") \
    X(LONG_STATEMENT, "long-statement", NO_GO, "a writing statement has been running for long: a freeze would wait for it", "wait for it, or end it: KILL QUERY") \
    X(OPEN_TRANSACTION, "open-transaction", WARNING, "a transaction with changes is open and idle: its COMMIT will be refused after the freeze", "wait for it, or find out why it is left open") \
    X(TABLE_LOCK, "table-lock", NO_GO, "sessions wait for a table lock", "find the session that holds it, and end it") \
    X(FREEZE_LOCK, "freeze-lock", NO_GO, "a backup or LOCK TABLES holds what a freeze needs", "wait for the backup, or end the session that locks tables") \
    X(PREPARED_XA, "prepared-xa", NO_GO, "there are prepared XA transactions: their locks would block replication on the demoted server", "XA RECOVER lists them; commit or roll them back") \
    X(RUNNING_DDL, "running-ddl", NO_GO, "DDL is running", "wait for it") \
    X(MISSING_EVENT, "missing-event", NO_GO, "the relay lacks an event of the primary: it could not be enabled there", "SHOW CREATE EVENT on the primary prints it: create it on the relay with sql_log_bin=0, DISABLE ON SLAVE") \
    X(EVENTS_ON_REPLICA, "events-on-replica", WARNING, "events are enabled on a replica", "ALTER EVENT ... DISABLE ON SLAVE there, with sql_log_bin=0") \
    X(GRANTS_MISSING, "grants-missing", NO_GO, "Holdfast's account lacks privileges", "holdfast fleet grants prints them all") \
    X(SCHEDULER_GRANT, "scheduler-grant", WARNING, "the event scheduler is on, and Holdfast lacks SUPER to move it", "GRANT SUPER to Holdfast's account, or switch the scheduler yourself after the move") \
    X(ACCOUNTS_HIDDEN, "accounts-hidden", INFO, "Holdfast may not see which accounts can write on a read-only server", "GRANT SELECT ON mysql.* to Holdfast's account") \
    X(PRIVILEGED_ACCOUNTS, "privileged-accounts", WARNING, "accounts besides Holdfast's may write on a read-only server", "let applications and scripts use accounts without SUPER and READ_ONLY ADMIN") \
    X(REPLICATION_LOGIN, "replication-login", NO_GO, "the replication account is refused: the old primary could not follow the new one", "check 'replication' in the fleet file, and the account: holdfast fleet grants") \
    X(REPLICATION_UNSEEN, "replication-unseen", WARNING, "the replication account may not log in from here, so that its password cannot be checked", "make sure that the servers themselves can use it") \
    X(REPLICATION_PASSWORD, "replication-password", NO_GO, "the replication account has a password that CHANGE MASTER does not take, or not as it is", "give it another one: at most 96 bytes, no line break, no character of four bytes (emoji)") \
    X(REPLICATION_GRANT, "replication-grant", NO_GO, "the replication account lacks REPLICATION SLAVE", "GRANT REPLICATION SLAVE ON *.* to it") \
    X(REPLICATION_TLS, "replication-tls", WARNING, "a replica is not connected to its source as 'replication.tls' in the fleet file says", "STOP SLAVE; CHANGE MASTER TO MASTER_SSL=1, MASTER_SSL_CA=..., MASTER_SSL_VERIFY_SERVER_CERT=1; START SLAVE") \
    X(PAUSED, "paused", WARNING, "the fleet is paused: nothing acts by itself, what is ordered goes on", "holdfast unpause, when that is over") \
    X(DRAINED, "drained", WARNING, "a host is drained, on purpose: nothing gives it a role", "when it is back: holdfast host return HOST") \
    X(FENCED, "fenced", NO_GO, "a region is fenced: it was lost, and no server there may serve", "holdfast region list says what it waits for, before it is given back") \
    X(UNARMED, "unarmed", WARNING, "policy.automatic is 'region', but the loss of a region needs an operator: failover --to REGION --accept-loss", "see docs/failover.md, A region is lost") \
    X(STORE_SITES, "store-sites", WARNING, "policy.automatic is 'region', and the fleet file does not say where etcd's members are: whether the store survives is not known", "name the site of each: store.sites, see docs/fleet-file.md") \
    X(STORE_LEADER, "store-leader", INFO, "etcd is led from one of the regions: when that is lost, its other members elect a leader first", "etcdctl move-leader, to the member at the third site; see docs/etcd.md") \
    X(HOOK_MISSING, "hook-missing", NO_GO, "the program of a hook cannot be called: a run stops at one that is required, else this is a warning", "install it here, for the user who runs Holdfast; holdfast hook test NAME tries it") \
    X(NO_PROBE, "no-probe", INFO, "no probe account: the outage of a move is not measured", "add 'probe' to the fleet file; holdfast fleet grants prints the account") \
    X(PROBE_LOGIN, "probe-login", WARNING, "the probe account is refused: the outage of a move is not measured", "check 'probe' in the fleet file, and the account: holdfast fleet grants") \
    X(PROBE_GRANTS, "probe-grants", WARNING, "the probe account lacks privileges: the outage of a move is not measured", "holdfast fleet grants prints them all") \
    X(PROBE_PRIVILEGED, "probe-privileged", NO_GO, "the probe account may write on a read-only server: the relay would get rows that the primary never had", "give it no more than: holdfast fleet grants") \
    X(SCHEMA_MISSING, "schema-missing", INFO, "tables of the schema holdfast are missing", "nothing: the first move creates them; or create them with holdfast fleet grants")
/* clang-format on */

enum check_id {
#define X(name, id, severity, title, advice) CHECK_##name,
    CHECK_TABLE(X)
#undef X
        CHECKS
};

/* One account's log-in at one server. */
struct login {
    bool was_tried;
    enum status status;
    struct err err;
    struct sql_result raw;
    const char **lines; /* what SHOW GRANTS printed, when it was let in */
    size_t line_count;
};

/* What was asked of a server beyond its observation. */
struct server_look {
    struct login logins[ACCOUNT_KINDS];
    bool is_inspected;
    struct err inspection_err; /* why it is not */
    struct sql_inspection inspection;
    bool is_freeze_held_up; /* somebody holds what a freeze needs */
    struct err freeze_err;  /* why that is not known; ST_OK: it is, or was not asked */
};

#define CHECKUP_REVOKED "revoked/" /* see permit/permit.h */

struct store_list;
struct checkup {
    const struct inventory *fleet;
    struct readiness *ret;
    const struct shard_observation *shard;                      /* NULL: the fleet as a whole */
    const struct server_look *looks;                            /* as shard->servers */
    const struct server_observation *old_primary, *new_primary; /* NULL: there is none */
    size_t new_region;
    int64_t now_s;             /* seconds since 1970 */
    const struct route *route; /* NULL: Holdfast never moved it, or there is no store */
    const struct store_list
        *revoked;       /* as the store has it, with CHECKUP_REVOKED before the name */
    bool is_called_off; /* the run that is not finished: it is not to be resumed */
};

/* A finding about 'server' (NULL: the shard). The advice is the table's, unless... */
void checkup_add(struct checkup *checkup, enum check_id check,
                 const struct server_observation *server, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* ... this gives the last finding a better one. */
void checkup_advise(struct checkup *checkup, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ... and this makes it a warning at most. */
void checkup_soften(struct checkup *checkup);

typedef void check_fn(struct checkup *checkup);
check_fn check_roles, check_replication, check_positions, check_semi_sync, check_settings,
    check_activity, check_accounts, check_certificates;
/* Our own certificates, which belong to no shard, and those of the store's members. */
check_fn check_own_certificate;
void check_certificate_end(struct checkup *checkup, const char *whose, int64_t end_s);

/* All checks of one shard; 'to_region' as in the request. */
void checkup_run(struct checkup *checkup, int to_region);

/* Iteration: i-th server of the shard that answered, else NULL. */
static inline const struct server_observation *checkup_answered(const struct checkup *checkup,
                                                                size_t index)
{
    const struct server_observation *server = &checkup->shard->servers[index];
    return server->status == ST_OK ? server : NULL;
}

static inline bool checkup_is_end(const struct checkup *checkup,
                                  const struct server_observation *server)
{
    return server == checkup->old_primary || server == checkup->new_primary;
}

/* How many events run at that server when its scheduler does. ret_first may be NULL. */
size_t checkup_enabled_events(const struct sql_inspection *seen,
                              const struct sql_event_seen **ret_first);

static inline struct grant_lines login_lines(const struct login *login)
{
    return (struct grant_lines){login->lines, login->line_count};
}

/* ---- look.c: asks what the checks need; the looks are in the order of the shards' servers ---- */
struct fleet_look {
    struct server_look **shards; /* as in the observation */
    size_t *server_counts, count;
};

void fleet_look(const struct inventory *fleet, struct fleet_observation *observation, bool try_lock,
                nsec deadline, struct fleet_look *ret);
void fleet_look_release(struct fleet_look *look);

#endif

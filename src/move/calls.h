/* SPDX-License-Identifier: Apache-2.0
 *
 * Every packet of SQL and every store write of a move, by name. Nothing reaches a server or the
 * store during a move except under one of these names, so that a test can stop the conductor
 * before, within and after each of them: the list of crash points is this table times
 * enum fault_moment (fault.h).
 *
 * X(id, "name", kind, critical): critical = between freeze and publish, where clients wait.
 */
#ifndef HOLDFAST_MOVE_CALLS_H
#define HOLDFAST_MOVE_CALLS_H

#include <stdbool.h>
#include <stddef.h>

/* clang-format off */
#define CALL_TABLE(X)                                         \
    X(CALL_TAKE_OLD,         "old.connect",      LINK,  false) \
    X(CALL_TAKE_NEW,         "new.connect",      LINK,  false) \
    X(CALL_HOLDER_OLD,       "old.holder",       SQL,   false) \
    X(CALL_HOLDER_NEW,       "new.holder",       SQL,   false) \
    X(CALL_EVICT_OLD,        "old.evict",        SQL,   false) \
    X(CALL_EVICT_NEW,        "new.evict",        SQL,   false) \
    X(CALL_LOCK_OLD,         "old.lock",         SQL,   false) \
    X(CALL_LOCK_NEW,         "new.lock",         SQL,   false) \
    X(CALL_TOKEN,            "get.token",        STORE, false) \
    X(CALL_LOOK_OLD,         "old.look",         SQL,   false) \
    X(CALL_LOOK_NEW,         "new.look",         SQL,   false) \
    X(CALL_SCHEMA_LOOK,      "old.schema-look",  SQL,   false) \
    X(CALL_SCHEMA,           "old.schema",       SQL,   false) \
    X(CALL_TRY_FREEZE,       "old.try-freeze",   SQL,   false) \
    X(CALL_READ_OLD,         "old.position",     SQL,   false) \
    X(CALL_CATCH_UP,         "new.catch-up",     SQL,   false) \
    X(CALL_FREEZE,           "old.freeze",       SQL,   true)  \
    X(CALL_PROMOTE,          "new.promote",      SQL,   true)  \
    X(CALL_CONFIRM,          "new.confirm",      SQL,   false) \
    X(CALL_NEW_LOG,          "new.log",          SQL,   false) \
    X(CALL_CLOSE_NEW,        "new.close",        SQL,   false) \
    X(CALL_LOOK_OPEN,        "new.open-look",    SQL,   false) \
    X(CALL_OPEN_NEW,         "new.open",         SQL,   false) \
    X(CALL_FORGET,           "new.forget",       SQL,   false) \
    X(CALL_LIST_HELD,        "old.list-held",    SQL,   false) \
    X(CALL_END_HELD,         "old.end-held",     SQL,   false) \
    X(CALL_LIST_OPEN,        "old.list-open",    SQL,   false) \
    X(CALL_END_OPEN,         "old.end-open",     SQL,   false) \
    X(CALL_END_FREEZE,       "old.end-freeze",   SQL,   false) \
    X(CALL_LOOK_FOLLOW,      "old.follow-look",  SQL,   false) \
    X(CALL_LATE,             "old.late",         SQL,   false) \
    X(CALL_STRICT,           "all.strict",       LINK,  false) \
    X(CALL_FOLLOW,           "old.follow",       SQL,   false) \
    X(CALL_EVENTS_LIST,      "old.events-list",  SQL,   false) \
    X(CALL_EVENTS_NEW,       "new.events",       SQL,   false) \
    X(CALL_EVENTS_OLD,       "old.events",       SQL,   false) \
    X(CALL_SCHEDULER_OFF,    "old.scheduler-off",SQL,   false) \
    X(CALL_SCHEDULER_NEW,    "new.scheduler",    SQL,   false) \
    X(CALL_SCHEDULER_OLD,    "old.scheduler",    SQL,   false) \
    X(CALL_HEARTBEAT,        "new.heartbeat",    SQL,   false) \
    X(CALL_VERIFY,           "all.verify",       LINK,  false) \
    X(CALL_LOOK_UNDO,        "old.undo-look",    SQL,   false) \
    X(CALL_RIVALS,           "all.rivals",       LINK,  false) \
    X(CALL_OPEN_OLD,         "old.open",         SQL,   false) \
    X(CALL_WRITE_PREPARING,  "cas.preparing",    STORE, false) \
    X(CALL_WRITE_FROZEN,     "cas.frozen",       STORE, false) \
    X(CALL_WRITE_PROMOTING,  "cas.promoting",    STORE, true)  \
    X(CALL_WRITE_REDIRECTING,"cas.redirecting",  STORE, true)  \
    X(CALL_WRITE_UNDOING,    "cas.undoing",      STORE, false) \
    X(CALL_WRITE_SERVING,    "cas.serving",      STORE, false) \
    X(CALL_WRITE_CLAIM,      "cas.claim",        STORE, false) \
    X(CALL_TAKE_ROLE,        "role.connect",     LINK,  false) \
    X(CALL_HOLDER_ROLE,      "role.holder",      SQL,   false) \
    X(CALL_EVICT_ROLE,       "role.evict",       SQL,   false) \
    X(CALL_LOCK_ROLE,        "role.lock",        SQL,   false) \
    X(CALL_ROLE,             "role.set",         SQL,   false) \
    X(CALL_ROLE_ACKERS,      "role.ackers",      SQL,   false) \
    X(CALL_ROLE_OPEN,        "role.open",        SQL,   false) \
    X(CALL_GIVE_BACK,        "role.give-back",   SQL,   false) \
    X(CALL_FAIL_CLOSE,       "failover.close",   SQL,   false) \
    X(CALL_FAIL_STOP,        "failover.stop",    LINK,  false) \
    X(CALL_FAIL_DRAIN,       "failover.drain",   LINK,  false) \
    X(CALL_FAIL_CATCH_UP,    "failover.catch-up",SQL,   false) \
    X(CALL_FAIL_FORGET,      "failover.forget",  SQL,   false) \
    X(CALL_FAIL_ACKERS,      "failover.ackers",  LINK,  false) \
    X(CALL_FAIL_COUNT,       "failover.count",   SQL,   false) \
    X(CALL_FAIL_RELEASE,     "failover.release", LINK,  false) \
    X(CALL_FAIL_PROMOTE,     "failover.promote", SQL,   false) \
    X(CALL_FAIL_CONFIRM,     "failover.confirm", SQL,   false) \
    X(CALL_FAIL_LOOK_OPEN,   "failover.look-open",SQL,  false) \
    X(CALL_FAIL_OPEN_AGAIN,  "failover.open-again",SQL, false) \
    X(CALL_FAIL_SETTLE,      "failover.settle",  SQL,   false) \
    X(CALL_FAIL_EVENTS_LIST, "failover.events-list",SQL,false) \
    X(CALL_FAIL_EVENTS,      "failover.events",  SQL,   false) \
    X(CALL_WRITE_FENCING,    "failover.cas-fencing",   STORE, false) \
    X(CALL_WRITE_OPENING,    "failover.cas-opening",   STORE, false) \
    X(CALL_WRITE_REPOINTING, "failover.cas-repointing",STORE, false) \
    X(CALL_WRITE_RETURNED,   "failover.cas-serving",   STORE, false) \
    X(CALL_HAND_STOP,        "handover.stop",    SQL,   false) \
    X(CALL_HAND_APPLY,       "handover.apply",   SQL,   false) \
    X(CALL_HAND_CATCH_UP,    "handover.catch-up",SQL,   false) \
    X(CALL_HAND_POINT,       "handover.point",   SQL,   false) \
    X(CALL_HAND_ACKERS,      "handover.ackers",  SQL,   false) \
    X(CALL_HAND_START,       "handover.start",   SQL,   false) \
    X(CALL_HAND_MARK,        "handover.mark",    STORE, false) \
    X(CALL_LEASE,            "lease.grant",      STORE, false) \
    X(CALL_RUN_BEGIN,        "run.begin",        STORE, false) \
    X(CALL_RUN_TAKE,         "run.take",         STORE, false) \
    X(CALL_REPORT_BEGIN,     "report.begin",     STORE, false) \
    X(CALL_REPORT_SHARD,     "report.shard",     STORE, false) \
    X(CALL_REPORT_END,       "report.end",       STORE, false) \
    X(CALL_LEASE_KEEP,       "lease.keep",       STORE, false) \
    X(CALL_RUN_END,          "run.end",          STORE, false) \
    X(CALL_LEASE_END,        "lease.revoke",     STORE, false)
/* clang-format on */

enum call_kind { CALL_KIND_SQL, CALL_KIND_LINK, CALL_KIND_STORE };

enum call {
#define X(id, name, kind, critical) id,
    CALL_TABLE(X)
#undef X
        CALLS
};

const char *call_name(enum call call);
enum call_kind call_kind(enum call call);
bool call_is_critical(enum call call);

#endif

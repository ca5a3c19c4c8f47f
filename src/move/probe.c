/* SPDX-License-Identifier: Apache-2.0
 * The probe; see probe.h. The thread owns all connections; the list of targets and their samples
 * are shared under one lock, which is never held across I/O. */
#include "move/probe.h"

#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "sql/conn.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum {
    TICK_US = 900, /* a little more often than each millisecond, ... */
    TICK_TARGET_US =
        25,             /* ... but less often for more than 36 shards: the machine has other work */
    LANES = 3,          /* in flight per end: one slow write must not hide the next */
    WRITE_PACE_MS = 10, /* a write for real in that time, while all is well */
    ASK_PATIENCE_MS = 2, /* a question not answered by then is held up */
    WRITE_MS = 2000,     /* what is not answered by then counts as failed */
    RETRY_MS = 20,       /* a lane that could not connect rests so long */
    EVENTS_MAX = 256,
    READ_ONLY_ERROR = 1290,
};

/* Passes or fails, and waits, like every other write, but changes nothing: no fsync, no
 * replication, no line in the binary log, whatever its format. */
#define ASK "UPDATE probe SET n = n WHERE FALSE"

enum job { JOB_CONNECT, JOB_ASK, JOB_WRITE };

struct lane {
    struct probe_target *target;
    int end;
    struct sql_conn *conn;
    struct sql_call call;
    char *write;
    enum job job;
    bool is_busy, is_warm; /* warm: connected, and has looked at the table */
    nsec begun, retry_at;
};

struct probe_target {
    struct lane lanes[2][LANES]; /* [end]: 0 the old primary, 1 the new one */
    int end;                     /* which one took the last write */
    nsec since;                  /* a client waits since then for any write to succeed; 0: none */
    nsec next_write;
    struct waits waits;         /* under the lock, as the next two */
    pthread_cond_t has_written; /* the first wait was added */
    bool is_leaving;
    _Atomic nsec pending_since; /* the oldest write that is not acknowledged yet; 0: none */
    bool is_other_closed;       /* the new primary was seen to refuse writes: nothing is written by
                                   mistake */
    atomic_bool is_privileged;  /* it did not refuse */
    _Atomic nsec rests_at;      /* nothing begins after that, unless a client still waits */
    uint64_t serial;            /* no two targets of a probe have the same */
    struct probe_target *next;
};

struct probe {
    const struct inventory *fleet;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_bool is_stopping;
    struct probe_target *targets;
    uint64_t serials;
    int epoll_fd;
};

static void lane_init(const struct probe *probe, struct probe_target *target, unsigned slot,
                      const struct inventory_server *server)
{
    struct lane *lane = &target->lanes[slot / LANES][slot % LANES];
    struct sql_endpoint endpoint = inventory_endpoint(probe->fleet, &probe->fleet->probe, server);
    endpoint.database = "holdfast";
    lane->target = target;
    lane->end = (int)(slot / LANES);
    lane->conn = sql_conn_new(&endpoint);
    lane->write = mem_printf("INSERT INTO probe (slot, n, at_us) VALUES (%u, 1, 0)"
                             " ON DUPLICATE KEY UPDATE n = n + 1",
                             slot);
}

static void lane_release(struct lane *lane)
{
    sql_call_release(&lane->call);
    sql_conn_free(lane->conn);
    free(lane->write);
}

static void target_free(struct probe_target *target)
{
    for (int end = 0; end < 2; end++)
        for (int i = 0; i < LANES; i++)
            lane_release(&target->lanes[end][i]);
    pthread_cond_destroy(&target->has_written);
    free(target);
}

static void add_wait(struct probe *probe, struct probe_target *target, nsec since, nsec until)
{
    pthread_mutex_lock(&probe->lock);
    if (!target->waits.first)
        pthread_cond_signal(&target->has_written);
    waits_add(&target->waits, since, until);
    pthread_mutex_unlock(&probe->lock);
}

static void begin_wait(struct probe_target *target, nsec since)
{
    if (!target->since || since < target->since)
        target->since = since;
}

/* What was begun before the wait says nothing about those who wait. */
static void acknowledged(struct probe *probe, struct probe_target *target, const struct lane *lane,
                         int end)
{
    bool ends_wait = target->since && lane->begun >= target->since;
    add_wait(probe, target, ends_wait ? target->since : lane->begun, lane->call.finished);
    if (!ends_wait)
        return;
    target->since = 0;
    target->end = end;
}

static void lane_done(struct probe *probe, struct lane *lane)
{
    struct probe_target *target = lane->target;
    int end = lane->end;
    bool is_ok = lane->call.status == ST_OK;
    lane->is_busy = false;
    if (end == 1 && lane->job == JOB_CONNECT) {
        if (lane->call.sql_errno == READ_ONLY_ERROR)
            target->is_other_closed = true;
        else if (is_ok && target->end == 0 && !target->since) /* else it may be open already */
            atomic_store(&target->is_privileged, true);
    }
    lane->is_warm = sql_conn_is_open(lane->conn);
    if (!lane->is_warm)
        lane->retry_at = clock_deadline(RETRY_MS);
    if (lane->job == JOB_WRITE && is_ok)
        acknowledged(probe, target, lane, end);
    else if (lane->job != JOB_CONNECT && !is_ok && end == target->end)
        begin_wait(target, lane->begun);
    sql_call_release(&lane->call);
}

/* What may happen is told once, and only when it is new: a lane waits only after it has read or
 * written all that it could. The descriptor is another one with every connection. */
static void lane_watch(const struct probe *probe, struct lane *lane)
{
    uint64_t slot = (uint64_t)(lane - &lane->target->lanes[0][0]);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET,
                                .data.u64 = lane->target->serial * 2 * LANES + slot};
    if (lane->is_busy && lane->job == JOB_CONNECT) /* watched already is fine */
        epoll_ctl(probe->epoll_fd, EPOLL_CTL_ADD, sql_call_fd(&lane->call), &event);
}

static void lane_begin(struct probe *probe, struct lane *lane, enum job job)
{
    /* The new primary must refuse: an account that may write there would measure nothing, and its
     * writes would be errant. */
    const char *const sql[] = {lane->end ? ASK : "SELECT n FROM probe LIMIT 1", ASK, lane->write};
    lane->call = (struct sql_call){
        .conn = lane->conn,
        .sql = sql[job],
        .deadline = clock_deadline(WRITE_MS),
    };
    lane->job = job;
    lane->begun = clock_now();
    lane->is_busy = true;
    if (sql_call_begin(&lane->call))
        lane_done(probe, lane);
    else
        lane_watch(probe, lane);
}

static void lane_step(struct probe *probe, struct lane *lane, int events)
{
    if (!lane->is_busy)
        return;
    if (sql_call_step(&lane->call, events))
        lane_done(probe, lane);
    else
        lane_watch(probe, lane);
}

/* A client's pool is connected to both ends before the move: connecting is no outage. */
static void warm_up(struct probe *probe, struct probe_target *target)
{
    for (int i = 0; i < 2 * LANES; i++) {
        struct lane *lane = &target->lanes[i / LANES][i % LANES];
        if (!lane->is_warm && !lane->is_busy && clock_now() >= lane->retry_at)
            lane_begin(probe, lane, JOB_CONNECT);
    }
}

static struct lane *idle_lane(struct probe_target *target, int end)
{
    for (int i = 0; i < LANES; i++)
        if (target->lanes[end][i].is_warm && !target->lanes[end][i].is_busy)
            return &target->lanes[end][i];
    return NULL;
}

/* The freeze waits for commits, and everybody else for the freeze: nobody is refused yet. */
static void notice_held_up(struct probe_target *target)
{
    for (int i = 0; i < LANES; i++) {
        const struct lane *lane = &target->lanes[target->end][i];
        if (lane->is_busy && lane->job == JOB_ASK &&
            clock_now() - lane->begun > ASK_PATIENCE_MS * NSEC_PER_MS)
            begin_wait(target, lane->begun);
    }
}

/* Somebody waits: a write for real at both ends, until one is acknowledged. A server that is paused
 * answers nobody, so neither end waits for the other. */
static void insist(struct probe *probe, struct probe_target *target)
{
    for (int end = 0; end < 2; end++) {
        struct lane *lane = idle_lane(target, end);
        if (lane && (end == target->end || target->is_other_closed))
            lane_begin(probe, lane, JOB_WRITE);
    }
}

static void tell_pending(struct probe_target *target)
{
    nsec since = target->since;
    for (int i = 0; i < 2 * LANES; i++) {
        const struct lane *lane = &target->lanes[i / LANES][i % LANES];
        if (lane->is_busy && lane->job == JOB_WRITE && (!since || lane->begun < since))
            since = lane->begun;
    }
    atomic_store(&target->pending_since, since);
}

static void expire_lanes(struct probe *probe, struct probe_target *target, nsec now)
{
    for (int i = 0; i < 2 * LANES; i++) {
        struct lane *lane = &target->lanes[i / LANES][i % LANES];
        if (lane->is_busy && now >= lane->call.deadline)
            lane_step(probe, lane, 0);
    }
}

static void begin_lanes(struct probe *probe, struct probe_target *target, nsec now)
{
    warm_up(probe, target);
    notice_held_up(target);
    struct lane *lane = idle_lane(target, target->end);
    if (target->since) {
        insist(probe, target);
    } else if (lane && now >= target->next_write) {
        target->next_write = now + WRITE_PACE_MS * NSEC_PER_MS;
        lane_begin(probe, lane, JOB_WRITE);
    } else if (lane) {
        lane_begin(probe, lane, JOB_ASK);
    }
}

static void target_tick(struct probe *probe, struct probe_target *target)
{
    nsec now = clock_now();
    expire_lanes(probe, target, now);
    if (target->since || now <= atomic_load(&target->rests_at))
        begin_lanes(probe, target, now);
    tell_pending(target);
}

/* Whose event it is; NULL: of a target that is gone. A process that is being started holds copies
 * of our descriptors for a moment: what we close meanwhile still has events. */
static struct lane *lane_of(struct probe_target *list, uint64_t data)
{
    for (struct probe_target *target = list; target; target = target->next)
        if (target->serial == data / (2 * LANES))
            return &target->lanes[data / LANES % 2][data % LANES];
    return NULL;
}

/* Wait for any answer until the next tick is due. */
static void wait_and_step(struct probe *probe, struct probe_target *list, nsec tick)
{
    struct epoll_event events[EVENTS_MAX];
    nsec left = tick - clock_now();
    struct timespec wait = {.tv_nsec = left > 0 ? (long)left : 0};
    int ready = epoll_pwait2(probe->epoll_fd, events, EVENTS_MAX, &wait, NULL);
    for (int i = 0; i < ready; i++) {
        struct lane *lane = lane_of(list, events[i].data.u64);
        if (!lane)
            continue;
        lane_step(probe, lane,
                  (int)(events[i].events & (EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLERR)));
        tell_pending(lane->target);
    }
}

/* Take those out of the list that are done with, and give back the head. */
static struct probe_target *current_targets(struct probe *probe)
{
    pthread_mutex_lock(&probe->lock);
    struct probe_target *gone = NULL;
    for (struct probe_target **at = &probe->targets; *at;) {
        struct probe_target *target = *at;
        if (!target->is_leaving) {
            at = &target->next;
            continue;
        }
        *at = target->next;
        target->next = gone;
        gone = target;
    }
    struct probe_target *list = probe->targets;
    while (!list && !gone && !atomic_load(&probe->is_stopping)) {
        pthread_cond_wait(&probe->changed, &probe->lock);
        list = probe->targets;
    }
    pthread_mutex_unlock(&probe->lock);
    while (gone) {
        struct probe_target *next = gone->next;
        target_free(gone);
        gone = next;
    }
    return list;
}

static void *run_probe(void *context)
{
    struct probe *probe = context;
    nsec tick = clock_now();
    while (!atomic_load(&probe->is_stopping)) {
        struct probe_target *list = current_targets(probe);
        if (clock_now() >= tick) {
            nsec pace = 0;
            for (struct probe_target *target = list; target; target = target->next) {
                target_tick(probe, target);
                pace += TICK_TARGET_US;
            }
            tick = clock_now() + (pace > TICK_US ? pace : TICK_US) * 1000;
        }
        if (list)
            wait_and_step(probe, list, tick);
    }
    return NULL;
}

struct probe *probe_start(const struct inventory *fleet)
{
    struct probe *probe = mem_zalloc(sizeof(*probe));
    probe->fleet = fleet;
    probe->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    INVARIANT(probe->epoll_fd >= 0);
    pthread_mutex_init(&probe->lock, NULL);
    pthread_cond_init(&probe->changed, NULL);
    INVARIANT(pthread_create(&probe->thread, NULL, run_probe, probe) == 0);
    return probe;
}

void probe_stop(struct probe *probe)
{
    if (!probe)
        return;
    pthread_mutex_lock(&probe->lock);
    atomic_store(&probe->is_stopping, true);
    pthread_cond_broadcast(&probe->changed);
    pthread_mutex_unlock(&probe->lock);
    pthread_join(probe->thread, NULL);
    while (probe->targets) {
        struct probe_target *next = probe->targets->next;
        target_free(probe->targets);
        probe->targets = next;
    }
    pthread_cond_destroy(&probe->changed);
    pthread_mutex_destroy(&probe->lock);
    close(probe->epoll_fd);
    free(probe);
}

struct probe_target *probe_watch(struct probe *probe, const struct inventory_server *old_server,
                                 const struct inventory_server *new_server)
{
    struct probe_target *target = mem_zalloc(sizeof(*target));
    atomic_store(&target->rests_at, NSEC_NEVER);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&target->has_written, &attributes);
    pthread_condattr_destroy(&attributes);
    for (unsigned slot = 0; slot < 2 * LANES; slot++)
        lane_init(probe, target, slot, slot < LANES ? old_server : new_server);
    pthread_mutex_lock(&probe->lock);
    target->serial = ++probe->serials;
    target->next = probe->targets;
    probe->targets = target;
    pthread_cond_broadcast(&probe->changed);
    pthread_mutex_unlock(&probe->lock);
    return target;
}

bool probe_warm_up(struct probe *probe, struct probe_target *target, int warm_ms, nsec deadline)
{
    pthread_mutex_lock(&probe->lock);
    nsec left = 1;
    while (!target->waits.first && (left = deadline - clock_now()) > 0) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        nsec at = (nsec)until.tv_sec * NSEC_PER_SEC + until.tv_nsec + left;
        until.tv_sec = (time_t)(at / NSEC_PER_SEC);
        until.tv_nsec = (long)(at % NSEC_PER_SEC);
        pthread_cond_timedwait(&target->has_written, &probe->lock, &until);
    }
    nsec first = target->waits.first;
    pthread_mutex_unlock(&probe->lock);
    nsec warm = first + warm_ms * NSEC_PER_MS;
    if (!first || warm > deadline)
        return false;
    poll(NULL, 0, clock_ms_left(warm));
    return true;
}

void probe_rest(struct probe *probe, struct probe_target *target, nsec until)
{
    (void)probe;
    atomic_store(&target->rests_at, until);
}

bool probe_is_privileged(const struct probe_target *target)
{
    return atomic_load(&target->is_privileged);
}

nsec probe_pending(struct probe *probe UNUSED, struct probe_target *target)
{
    nsec since = atomic_load(&target->pending_since);
    return since ? clock_now() - since : 0;
}

double probe_longest_wait_ms(struct probe *probe, struct probe_target *target,
                             const struct waits_span *span)
{
    pthread_mutex_lock(&probe->lock);
    double longest =
        waits_longest_ms(&target->waits, span, atomic_load(&target->pending_since), clock_now());
    pthread_mutex_unlock(&probe->lock);
    return longest;
}

void probe_unwatch(struct probe *probe, struct probe_target *target)
{
    pthread_mutex_lock(&probe->lock);
    target->is_leaving = true;
    pthread_cond_broadcast(&probe->changed);
    pthread_mutex_unlock(&probe->lock);
}

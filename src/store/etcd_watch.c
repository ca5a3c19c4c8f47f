/* SPDX-License-Identifier: Apache-2.0
 *
 * Watches of etcd: one stream each, run on the caller's thread. A stream that ends, or whose member
 * gave no sign of life for IDLE_MS and then PULSE_MS (it may be frozen, or cut off from the
 * others), is begun again at the next revision with another member, which misses nothing. Only a
 * compaction loses something, and etcd says so. A log-in goes over the same stream, before the
 * watch.
 */
#include "store/etcd.h"

#include "base/mem.h"
#include "base/scope.h"
#include "etcd/errors.h"
#include "etcd/pulse.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>

enum {
    IDLE_MS = 1000,
    PULSE_MS = 1000,
    LOGIN_MS = 3000,
    RETRY_MIN_MS = 20,
    RETRY_MAX_MS = 1000,
    LEADERLESS_MS = 2000,     /* an election is over by then */
    CHANGES_MAX = 1024 * 1024 /* that came and nobody took */
};

struct etcd_watch {
    struct store_watch base;
    struct etcd_store *etcd;
    struct http_stream *stream;
    struct etcd_pulse *pulse;
    int epoll; /* of both */
    char *prefix;
    int64_t after;           /* everything up to this revision has come */
    size_t member, searched; /* bytes of an unfinished line without a newline */
    nsec restart_at;         /* when the stream is begun again */
    int retry_ms;
    bool is_running, is_login;    /* the stream carries a log-in */
    uint64_t login;               /* with which the watch goes */
    uint64_t refused;             /* a log-in that etcd no longer knows; 0: none */
    bool has_renewed;             /* the log-in, since it last went well */
    nsec leaderless_since;        /* the member of the stream says so; 0: it has a leader */
    unsigned refusals;            /* in a row; a bit for each member */
    struct err refusal;           /* to be told, when ST_OK is not its status */
    struct store_changes changes; /* came, and not given out */
    size_t capacity, complete;    /* the first so many are whole revisions */
    struct err end;               /* ST_COMPACTED: for good */
};

static struct etcd_watch *watch_of(const struct store_watch *watch)
{
    return (struct etcd_watch *)(uintptr_t)watch;
}

static void set_restart(struct etcd_watch *watch, int ms)
{
    watch->restart_at = clock_deadline(ms);
    http_stream_wake_at(watch->stream, watch->restart_at);
}

static void send(struct etcd_watch *watch, const char *path, const char *body)
{
    AUTO(etcd_errand_release) struct etcd_errand errand;
    etcd_errand_init(watch->etcd->client, path, &errand);
    struct http_post post = {.url = errand.url,
                             .body = body,
                             .headers = errand.headers,
                             .tls = errand.tls,
                             .is_secret = watch->is_login,
                             .connect_ms = ETCD_CONNECT_MS,
                             .answer_max = ETCD_ANSWER_MAX};
    http_stream_start(watch->stream, &post);
    watch->member = errand.member;
    watch->login = errand.login;
    watch->is_running = true;
    watch->searched = 0;
    set_restart(watch, watch->is_login ? LOGIN_MS : IDLE_MS);
}

static void start_watch(struct etcd_watch *watch)
{
    AUTO_FREE char *from = etcd__key(watch->etcd, watch->prefix), *end = mem_printf("%s\x7f", from);
    AUTO(buf_release) struct buf body = {0};
    buf_printf(&body, "{\"create_request\":{\"start_revision\":\"%lld\",\"fragment\":true,",
               (long long)watch->after + 1);
    etcd_add_bytes(&body, "key", from);
    buf_add(&body, ",");
    etcd_add_bytes(&body, "range_end", end);
    buf_add(&body, "}}");
    send(watch, "/v3/watch", buf_text(&body));
}

static void start(struct etcd_watch *watch)
{
    watch->is_login = etcd_login_is_due(watch->etcd->client, watch->refused);
    if (!watch->is_login) {
        start_watch(watch);
        return;
    }
    char *body = etcd_login_body(watch->etcd->client);
    send(watch, ETCD_LOGIN_PATH, body);
    explicit_bzero(body, strlen(body));
    free(body);
}

/* What came of an unfinished revision comes again. */
static void forget_unfinished(struct etcd_watch *watch)
{
    while (watch->changes.count > watch->complete)
        store_entry_release(&watch->changes.items[--watch->changes.count].entry);
}

static void stop(struct etcd_watch *watch)
{
    forget_unfinished(watch);
    watch->is_running = false;
    set_restart(watch, watch->retry_ms);
    watch->retry_ms = watch->retry_ms * 2 < RETRY_MAX_MS ? watch->retry_ms * 2 : RETRY_MAX_MS;
}

static void add_change(struct etcd_watch *watch, struct etcd_kv *kv)
{
    struct store_change change = {
        .kind = kv->is_deleted ? STORE_DELETE : STORE_PUT,
        .entry = {.key = mem_strdup(kv->key + strlen(watch->etcd->prefix)),
                  .value = kv->is_deleted ? NULL : take_pointer(kv->value),
                  .create_rev = kv->create_rev,
                  .mod_rev = kv->mod_rev,
                  .lease = kv->lease}};
    VEC_PUSH(watch->changes.items, watch->changes.count, watch->capacity, change);
}

/* False: the stream is of no more use. */
static bool take_events(struct etcd_watch *watch, struct etcd_answer *answer)
{
    size_t prefix = strlen(watch->etcd->prefix);
    for (size_t i = 0; i < answer->count; i++) {
        struct etcd_kv *kv = &answer->kvs[i];
        if (strncmp(kv->key, watch->etcd->prefix, prefix) != 0 || kv->mod_rev <= watch->after ||
            watch->changes.count == CHANGES_MAX)
            return false;
        add_change(watch, kv);
    }
    if (answer->is_fragment)
        return true; /* the rest of the same follows */
    watch->complete = watch->changes.count;
    if (answer->count)
        watch->after = watch->changes.items[watch->changes.count - 1].entry.mod_rev;
    return true;
}

/* Not by this member, or not with this log-in; told when all say so. */
static void refuse(struct etcd_watch *watch, const struct err *err)
{
    watch->refusals |= 1U << watch->member;
    if (watch->refusals == (1U << etcd_client_count(watch->etcd->client)) - 1)
        watch->refusal = *err;
}

static void take_error(struct etcd_watch *watch, const struct etcd_answer *answer)
{
    struct err err = ERR_INIT;
    enum status status = etcd_error_set(answer, &err);
    if (status == ST_UNREACHABLE && !watch->leaderless_since)
        watch->leaderless_since = clock_now();
    /* Some members say "permission denied" of a token that they do not know. */
    if (status == ST_DENIED && !watch->has_renewed) {
        watch->has_renewed = true;
        watch->refused = watch->login;
    } else if (status == ST_DENIED || status == ST_UNTRUSTED || status == ST_INVALID) {
        refuse(watch, &err);
    }
}

static bool take_line(struct etcd_watch *watch, const char *line, size_t length)
{
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    struct err err = ERR_INIT;
    if (etcd_answer_parse(line, length, &answer, &err))
        return false;
    if (answer.compact_revision ||
        (answer.error && etcd_error_find(&answer)->status == ST_COMPACTED)) {
        err_set(&watch->end, ST_COMPACTED, "changes after revision %lld are no longer kept",
                (long long)watch->after);
        err_hint(&watch->end, "list the keys again and watch from that revision");
        return false;
    }
    if (answer.error) {
        take_error(watch, &answer);
    } else {
        watch->leaderless_since = 0;
        watch->refusals = 0;
        watch->has_renewed = false;
    }
    return !answer.error && !answer.is_canceled && take_events(watch, &answer);
}

/* The stream of a log-in has ended: what it brought. False: nothing of use. */
static bool take_login(struct etcd_watch *watch)
{
    const struct buf *body = http_stream_body(watch->stream);
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    struct err err = ERR_INIT;
    bool again = false;
    if (etcd_answer_parse(buf_text(body), body->length, &answer, &err))
        return false;
    if (!etcd_login_take(watch->etcd->client, &answer, &again, &err)) {
        watch->restart_at = clock_now();
        return true;
    }
    if (!again && err.status == ST_DENIED)
        refuse(watch, &err);
    return again;
}

static bool take_lines(struct etcd_watch *watch)
{
    const struct buf *body = http_stream_body(watch->stream);
    size_t taken = 0;
    bool is_good = true;
    while (is_good && watch->searched < body->length) {
        const char *from = body->data + taken;
        const char *end =
            memchr(body->data + watch->searched, '\n', body->length - watch->searched);
        watch->searched = end ? (size_t)(end - body->data) + 1 : body->length;
        if (!end)
            break;
        is_good = take_line(watch, from, (size_t)(end - from));
        taken = watch->searched;
        watch->retry_ms = RETRY_MIN_MS;
        set_restart(watch, IDLE_MS);
    }
    if (taken) {
        http_stream_take(watch->stream, taken);
        watch->searched -= taken;
    }
    return is_good;
}

static void leave(struct etcd_watch *watch, bool is_silent)
{
    watch->leaderless_since = 0;
    etcd_client_leave(watch->etcd->client, watch->member, is_silent);
}

/* A member without a leader will have one soon, and no other one has. */
static bool may_stay(const struct etcd_watch *watch)
{
    return watch->leaderless_since &&
           clock_now() - watch->leaderless_since < LEADERLESS_MS * NSEC_PER_MS;
}

static void run_stream(struct etcd_watch *watch)
{
    struct err err = ERR_INIT;
    enum status status = http_stream_run(watch->stream, &err);
    if (!watch->is_running)
        return;
    bool is_good = watch->is_login || take_lines(watch);
    if (is_good && !status)
        return;
    const struct buf *rest = http_stream_body(watch->stream); /* an error may end without a line */
    if (is_good && !watch->is_login && rest->length)
        take_line(watch, rest->data, rest->length);
    bool was_login = watch->is_login;
    if (status == ST_UNTRUSTED)
        refuse(watch, &err);
    stop(watch);
    bool is_of_use = was_login ? take_login(watch) : watch->end.status == ST_COMPACTED;
    bool is_gone = status == ST_UNREACHABLE; /* whatever it said before */
    if (!is_of_use && (is_gone || !may_stay(watch)))
        leave(watch, is_gone);
}

/* The stream has been silent for long: is nothing happening, or is its member gone? */
static bool may_be_calm(struct etcd_watch *watch)
{
    if (!watch->is_running || watch->is_login || etcd_pulse_is_asking(watch->pulse))
        return false;
    etcd_pulse_ask(watch->pulse, watch->etcd->client, watch->member);
    set_restart(watch, PULSE_MS);
    return true;
}

/* The member of this stream may be lost with its site, and then all that comes is late. */
static void come_nearer(struct etcd_watch *watch)
{
    bool is_calm = watch->is_running && !watch->is_login && !etcd_pulse_is_asking(watch->pulse);
    if (!is_calm || !etcd_client_is_far(watch->etcd->client, watch->member))
        return;
    forget_unfinished(watch);
    start(watch);
}

/* Whatever can be done now. */
static void run(struct etcd_watch *watch)
{
    run_stream(watch);
    come_nearer(watch);
    if (etcd_pulse_felt(watch->pulse) && watch->is_running)
        set_restart(watch, IDLE_MS);
    if (clock_now() < watch->restart_at || watch->end.status || may_be_calm(watch))
        return;
    if (watch->is_running) {
        leave(watch, true);
        stop(watch);
    }
    start(watch);
}

/* ---- the driver's functions ---- */

/* Into one descriptor. */
static bool join(const struct etcd_watch *watch)
{
    const int fds[] = {http_stream_fd(watch->stream), etcd_pulse_fd(watch->pulse)};
    bool is_good = watch->epoll >= 0;
    for (size_t i = 0; i < ARRAY_SIZE(fds) && is_good; i++) {
        struct epoll_event readable = {.events = EPOLLIN, .data.fd = fds[i]};
        is_good = epoll_ctl(watch->epoll, EPOLL_CTL_ADD, fds[i], &readable) == 0;
    }
    return is_good;
}

enum status etcd__watch_open(struct store *store, const char *prefix, int64_t after_rev,
                             struct store_watch **ret_watch, struct err *err)
{
    struct etcd_watch *watch = mem_zalloc(sizeof(*watch));
    *watch = (struct etcd_watch){.base = {store->driver},
                                 .etcd = (struct etcd_store *)store,
                                 .stream = http_stream_new(),
                                 .pulse = etcd_pulse_new(),
                                 .epoll = epoll_create1(EPOLL_CLOEXEC),
                                 .prefix = mem_strdup(prefix),
                                 .after = after_rev,
                                 .retry_ms = RETRY_MIN_MS};
    if (!watch->stream || !watch->pulse || !join(watch)) {
        err_set_errno(err, errno, "open a descriptor for a watch of", prefix);
        etcd__watch_close(&watch->base);
        return err_hint(err, "check the limit of open files");
    }
    start(watch);
    *ret_watch = &watch->base;
    return ST_OK;
}

static void give(struct etcd_watch *watch, struct store_changes *ret_changes)
{
    size_t rest = watch->changes.count - watch->complete;
    struct store_changes given = {watch->changes.items, watch->complete};
    struct store_change *kept = mem_zalloc((rest + 1) * sizeof(*kept));
    memcpy(kept, given.items + given.count, rest * sizeof(*kept));
    watch->changes = (struct store_changes){kept, rest};
    watch->capacity = rest + 1;
    watch->complete = 0;
    *ret_changes = given;
}

enum status etcd__watch_next(struct store_watch *base, nsec deadline,
                             struct store_changes *ret_changes, struct err *err)
{
    struct etcd_watch *watch = watch_of(base);
    for (;;) {
        run(watch);
        if (watch->complete) {
            give(watch, ret_changes);
            return ST_OK;
        }
        if (watch->end.status) {
            *err = watch->end;
            return err->status;
        }
        if (watch->refusal.status) {
            *err = watch->refusal;
            watch->refusal = (struct err)ERR_INIT;
            watch->refusals = 0;
            return err_wrap(err, "watch '%s'", watch->prefix);
        }
        if (clock_now() >= deadline)
            return err_set(err, ST_TIMEOUT, "nothing changed below '%s'", watch->prefix);
        struct pollfd readable = {.fd = watch->epoll, .events = POLLIN};
        if (poll(&readable, 1, clock_ms_left(deadline)) < 0 && errno != EINTR)
            return err_set_errno(err, errno, "wait for changes below", watch->prefix);
    }
}

int etcd__watch_fd(const struct store_watch *watch)
{
    return watch_of(watch)->epoll;
}

void etcd__watch_close(struct store_watch *base)
{
    struct etcd_watch *watch = watch_of(base);
    if (watch->epoll >= 0)
        close(watch->epoll);
    http_stream_free(watch->stream);
    etcd_pulse_free(watch->pulse);
    store_changes_release(&watch->changes);
    free(watch->prefix);
    free(watch);
}

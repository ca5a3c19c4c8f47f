/* SPDX-License-Identifier: Apache-2.0
 *
 * One request to etcd, whichever member answers it.
 *
 * An attempt at one member gets a part of the deadline, so that a frozen member costs that and not
 * the whole. What it has not answered until then is in doubt, like a connection that broke: what
 * may be done twice is repeated at the next member, a transaction is not (store/etcd_guard.c). What
 * is hasty besides gets little at first, for a leader that died costs it, and twice as much after
 * each silence, for a cluster may be slow.
 *
 * Each request finds its own way from member to member. Others follow it when it was answered, or
 * when a member was silent for as long as one waits: what refuses for want of a leader, or is slow
 * for a quarter of a second, must not send everybody to a member that is lost with its region.
 */
#include "base/scope.h"
#include "etcd/internal.h"

#include <string.h>
#include <time.h>

enum {
    ATTEMPTS = 4, /* of a deadline */
    ATTEMPT_MIN_MS = 500,
    ATTEMPT_MAX_MS = 2000,
    HASTY_MS = 250, /* at first */
    ROUND_PAUSE_MS = 20,
    LOGINS_MAX = 2 /* of one request */
};

/* For "waited 5.0 s for etcd to ..." */
static const struct {
    const char *path, *what;
} purposes[] = {
    {"/v3/kv/range", "read"},
    {"/v3/kv/txn", "commit a transaction"},
    {"/v3/kv/put", "prepare a transaction"},
    {"/v3/lease/grant", "grant a lease"},
    {"/v3/lease/keepalive", "keep a lease alive"},
    {"/v3/lease/revoke", "end a lease"},
    {ETCD_LOGIN_PATH, "let us log in"},
};

static const char *purpose_of(const char *path)
{
    for (size_t i = 0; i < ARRAY_SIZE(purposes); i++)
        if (strcmp(purposes[i].path, path) == 0)
            return purposes[i].what;
    return "answer";
}

static nsec at_least(nsec span, int ms)
{
    return span > ms * NSEC_PER_MS ? span : ms * NSEC_PER_MS;
}

static nsec at_most(nsec span, int ms)
{
    return span < ms * NSEC_PER_MS ? span : ms * NSEC_PER_MS;
}

static void pause_round(nsec deadline)
{
    int ms = clock_ms_left(deadline);
    ms = ms < ROUND_PAUSE_MS ? ms : ROUND_PAUSE_MS;
    struct timespec span = {0, ms * NSEC_PER_MS};
    nanosleep(&span, NULL);
}

/* What became of a request so far. */
struct asking {
    struct etcd_attempt attempt;
    size_t others; /* where requests went when this one was last told */
    nsec began;
    size_t tries, logins, silences;
    unsigned refused; /* a bit for each member that will not do it, however long one waits */
    bool doubt, is_over;
    struct err last;    /* 'err' stays as it is when another member answers */
    struct err heard;   /* the last one that was no silence */
    struct err refusal; /* of a member, which says more than that another one is away */
};

/* Where the next try ends. */
static nsec end_of_try(const struct asking *asking)
{
    const struct etcd_call *call = asking->attempt.call;
    nsec now = clock_now(), left = call->deadline - now;
    nsec span = at_most(at_least(left / ATTEMPTS, ATTEMPT_MIN_MS), ATTEMPT_MAX_MS);
    if (call->is_hasty) {
        span = HASTY_MS * NSEC_PER_MS;
        for (size_t i = 0; i < asking->silences && span < left; i++)
            span *= 2;
    }
    return left < span ? call->deadline : now + span;
}

/* Where others were answered meanwhile, else where it failed least. */
static void go_elsewhere(struct asking *asking)
{
    struct etcd_attempt *attempt = &asking->attempt;
    struct etcd_client *client = attempt->client;
    size_t failed = attempt->member, current = atomic_load(&client->current);
    etcd__note_failure(client, failed, !attempt->is_answered);
    bool is_told = current != asking->others && current != failed;
    attempt->member = is_told ? current : etcd__find_other(client, failed);
    asking->others = current;
    if (!attempt->is_answered && !attempt->call->is_hasty)
        etcd__go(client, failed, attempt->member);
}

static bool all_refuse(const struct asking *asking)
{
    return asking->refused == (1U << asking->attempt.client->count) - 1;
}

static void note_refusal(struct asking *asking)
{
    asking->refused |= 1U << asking->attempt.member;
    asking->refusal = asking->last;
    asking->is_over = asking->is_over || all_refuse(asking);
}

/* The log-in that this request went with was refused. */
static void renew(struct asking *asking)
{
    struct etcd_attempt *attempt = &asking->attempt;
    if (!attempt->client->user) {
        asking->is_over = true;
        return;
    }
    if (asking->logins++ == LOGINS_MAX) { /* this member refuses fresh ones too */
        note_refusal(asking);
        attempt->is_answered = true;
        go_elsewhere(asking);
        return;
    }
    asking->is_over = etcd__login(attempt->client, attempt->line, attempt->call->deadline,
                                  attempt->login, &asking->last) != ST_OK;
}

static void go_on(struct asking *asking)
{
    struct etcd_attempt *attempt = &asking->attempt;
    if (attempt->reach == ETCD_RENEW) {
        renew(asking);
        return;
    }
    asking->silences += !attempt->is_answered;
    if (asking->last.status != ST_TIMEOUT)
        asking->heard = asking->last;
    asking->doubt = asking->doubt || attempt->reach == ETCD_DOUBT;
    asking->is_over = attempt->reach == ETCD_FINAL || (asking->doubt && attempt->call->once);
    if (attempt->reach == ETCD_REFUSED || asking->last.status == ST_UNTRUSTED)
        note_refusal(asking);
    if (asking->doubt && attempt->call->once)
        asking->last.status = ST_UNKNOWN;
    if (attempt->reach != ETCD_FINAL)
        go_elsewhere(asking);
    if (!asking->is_over && asking->tries % attempt->client->count == 0)
        pause_round(attempt->call->deadline);
}

static void stop_if_closed(struct asking *asking)
{
    if (!etcd_client_is_stopped(asking->attempt.client))
        return;
    if (!asking->is_over)
        err_set(&asking->last, ST_ABORTED, "the store was closed");
    asking->is_over = true;
}

/* The deadline ended it: say what was waited for, and how long. */
static enum status give_up(struct asking *asking, struct err *err)
{
    const struct etcd_call *call = asking->attempt.call;
    const char *purpose = purpose_of(call->path);
    if (!asking->tries) {
        err_set(err, ST_TIMEOUT, "no time was left for etcd to %s", purpose);
        return err->status;
    }
    if (asking->last.status == ST_TIMEOUT && asking->heard.status)
        asking->last = asking->heard;
    if (asking->refused && asking->last.status != ST_UNTRUSTED)
        err_set(&asking->last, asking->last.status, "%s; %s", asking->last.text,
                asking->refusal.text);
    *err = asking->last;
    if (asking->refused && asking->refusal.hint[0])
        err_hint(err, "%s", asking->refusal.hint);
    else
        err_hint(err, "check that a majority of the members runs and can be reached from here");
    return err_wrap(err, "waited %.1f s for etcd to %s",
                    clock_ms(call->deadline - asking->began) / 1000, purpose);
}

static bool is_login_due(const struct asking *asking)
{
    const struct etcd_attempt *attempt = &asking->attempt;
    return strcmp(attempt->call->path, ETCD_LOGIN_PATH) != 0 &&
           etcd_login_is_due(attempt->client, 0);
}

enum status etcd_ask(struct etcd_client *client, struct http_line *line,
                     const struct etcd_call *call, struct etcd_answer *ret_answer, bool *ret_doubt,
                     struct err *err)
{
    struct asking asking = {.attempt = {.client = client, .line = line, .call = call},
                            .began = clock_now(),
                            .last = ERR_INIT};
    enum status status = ST_OK;
    if (is_login_due(&asking))
        status = etcd__login(client, line, call->deadline, 0, err);
    if (ret_doubt)
        *ret_doubt = false;
    asking.attempt.member = asking.others = atomic_load(&client->current);
    while (!status && !asking.is_over && clock_now() < call->deadline) {
        AUTO(etcd_answer_release) struct etcd_answer answer = {0};
        asking.attempt.deadline = end_of_try(&asking);
        asking.tries++;
        if (!etcd__attempt(&asking.attempt, &answer, &asking.last)) {
            etcd__go(client, asking.others, asking.attempt.member);
            *ret_answer = answer;
            answer = (struct etcd_answer){0};
            return ST_OK;
        }
        go_on(&asking);
        stop_if_closed(&asking);
    }
    if (ret_doubt)
        *ret_doubt = asking.doubt;
    if (status)
        return status;
    if (!asking.is_over)
        return give_up(&asking, err);
    *err = asking.last;
    return err->status;
}

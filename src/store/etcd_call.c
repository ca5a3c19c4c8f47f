/* SPDX-License-Identifier: Apache-2.0
 *
 * One request to etcd, whichever member answers it: failover between the endpoints, and the table
 * of what each failure means. The header 'hasleader' makes a member without a leader say so at
 * once, instead of keeping the request.
 *
 * An attempt at one endpoint gets a quarter of the deadline, and 0.5 to 2 s, so that a frozen
 * member costs that and not the whole. What it has not answered until then is in doubt, like a
 * connection that broke: a read is repeated at the next endpoint, a transaction is not
 * (etcd_guard.c).
 */
#include "store/etcd.h"

#include "base/mem.h"
#include "base/scope.h"

#include <string.h>
#include <time.h>

enum {
    ATTEMPTS = 4, /* of a deadline */
    ATTEMPT_MIN_MS = 500,
    ATTEMPT_MAX_MS = 2000,
    CONNECT_MS = 1000,
    ROUND_PAUSE_MS = 20
};

const char *const etcd__headers[] = {"Grpc-Metadata-hasleader: true", NULL};

enum reach {
    REACH_FINAL, /* every member would say that: it did not happen */
    REACH_NEXT,  /* it did not happen here; another member may do it */
    REACH_DOUBT  /* it may have happened, or may still */
};

/* clang-format off */
static const struct {
    int code;            /* gRPC's; 0: any */
    const char *message; /* how it begins; "": any */
    enum reach reach;
    enum status status;
} errors[] = { /* the first that fits */
    { 5, "etcdserver: requested lease not found",     REACH_FINAL, ST_NOT_FOUND},
    { 9, "etcdserver: lease already exists",          REACH_FINAL, ST_EXISTS},
    {11, "etcdserver: mvcc: required revision has b", REACH_FINAL, ST_COMPACTED}, /* ...een compacted */
    {11, "etcdserver: mvcc: required revision is a ", REACH_NEXT,  ST_IO},        /* a member behind */
    { 8, "etcdserver: mvcc: database space exceeded", REACH_FINAL, ST_FULL},
    { 8, "etcdserver: too many requests",             REACH_NEXT,  ST_BUSY},
    { 8, "",                                          REACH_FINAL, ST_INVALID},   /* too large */
    { 3, "",                                          REACH_FINAL, ST_INVALID},
    { 7, "",                                          REACH_FINAL, ST_DENIED},
    {16, "",                                          REACH_FINAL, ST_DENIED},
    {15, "",                                          REACH_FINAL, ST_IO},        /* corrupt */
    {14, "etcdserver: no leader",                     REACH_NEXT,  ST_UNREACHABLE},
    { 2, "raft proposal dropped",                     REACH_NEXT,  ST_UNREACHABLE},
    {14, "",                                          REACH_DOUBT, ST_TIMEOUT},   /* timed out, stopped */
    { 0, "",                                          REACH_DOUBT, ST_IO},
};
/* clang-format on */

static size_t find_error(const struct etcd_answer *answer)
{
    for (size_t i = 0;; i++) /* the last fits everything */
        if ((!errors[i].code || errors[i].code == answer->error) &&
            strncmp(answer->message, errors[i].message, strlen(errors[i].message)) == 0)
            return i;
}

enum status etcd__judge(const struct etcd_answer *answer, struct err *err)
{
    enum status status = errors[find_error(answer)].status;
    err_set(err, status, "%s", answer->message);
    if (status == ST_FULL)
        err_hint(err, "compact and defragment etcd, then 'etcdctl alarm disarm'");
    return status;
}

void etcd__next_endpoint(struct etcd_store *etcd, size_t failed)
{
    atomic_compare_exchange_strong(&etcd->current, &failed, (failed + 1) % etcd->endpoint_count);
}

/* Where one try ends. */
static nsec part_of(nsec deadline)
{
    nsec now = clock_now(), part = (deadline - now) / ATTEMPTS;
    part = part > ATTEMPT_MIN_MS * NSEC_PER_MS ? part : ATTEMPT_MIN_MS * NSEC_PER_MS;
    part = part < ATTEMPT_MAX_MS * NSEC_PER_MS ? part : ATTEMPT_MAX_MS * NSEC_PER_MS;
    return deadline - now < part ? deadline : now + part;
}

/* One try. ST_OK only with an answer that has what was asked for; else '*ret_reach' says whether it
 * may have happened. */
static enum status attempt(struct etcd_store *etcd, struct http_line *line,
                           const struct etcd_call *call, struct etcd_answer *ret_answer,
                           enum reach *ret_reach, struct err *err)
{
    size_t endpoint = atomic_load(&etcd->current);
    AUTO_FREE char *url = mem_printf("%s%s", etcd->endpoints[endpoint], call->path);
    AUTO(http_answer_release) struct http_answer answer = {0};
    struct http_post post = {.url = url,
                             .body = call->body,
                             .headers = etcd__headers,
                             .deadline = part_of(call->deadline),
                             .connect_ms = CONNECT_MS,
                             .answer_max = ETCD_ANSWER_MAX,
                             .stop = &etcd->stop};
    enum status status = http_send(line, &post, &answer, err);
    *ret_reach = answer.sent ? REACH_DOUBT : REACH_NEXT;
    if (!status)
        status = etcd_answer_parse(buf_text(&answer.body), answer.body.length, ret_answer, err);
    if (!status && ret_answer->error) {
        *ret_reach = errors[find_error(ret_answer)].reach;
        status = etcd__judge(ret_answer, err);
    } else if (!status && answer.code != 200) {
        status = err_set(err, ST_IO, "HTTP status %ld", answer.code);
    }
    if (status && *ret_reach != REACH_FINAL)
        etcd__next_endpoint(etcd, endpoint);
    return status ? err_wrap(err, "etcd at %s", etcd->endpoints[endpoint]) : ST_OK;
}

static void pause_round(nsec deadline)
{
    int ms = clock_ms_left(deadline);
    ms = ms < ROUND_PAUSE_MS ? ms : ROUND_PAUSE_MS;
    struct timespec span = {0, ms * NSEC_PER_MS};
    nanosleep(&span, NULL);
}

enum status etcd__call(struct etcd_store *etcd, struct http_line *line,
                       const struct etcd_call *call, struct etcd_answer *ret_answer,
                       bool *ret_doubt, struct err *err)
{
    struct err last = ERR_INIT; /* 'err' stays as it is when another member answers */
    err_set(&last, ST_TIMEOUT, "no time was left to ask etcd");
    bool doubt = false, is_over = false;
    for (size_t tries = 1; !is_over && clock_now() < call->deadline; tries++) {
        AUTO(etcd_answer_release) struct etcd_answer answer = {0};
        enum reach reach = REACH_NEXT;
        if (!attempt(etcd, line, call, &answer, &reach, &last)) {
            *ret_answer = answer;
            answer = (struct etcd_answer){0};
            return ST_OK;
        }
        doubt = doubt || reach == REACH_DOUBT;
        if (doubt && call->once)
            last.status = ST_UNKNOWN;
        else if (reach != REACH_FINAL && atomic_load(&etcd->stop))
            err_set(&last, ST_ABORTED, "the store was closed");
        is_over = reach == REACH_FINAL || (doubt && call->once) || atomic_load(&etcd->stop);
        if (!is_over && tries % etcd->endpoint_count == 0)
            pause_round(call->deadline);
    }
    if (!is_over)
        err_hint(&last, "check that a majority of the members runs and can be reached from here");
    if (ret_doubt)
        *ret_doubt = doubt;
    *err = last;
    return last.status;
}

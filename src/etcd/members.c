/* SPDX-License-Identifier: Apache-2.0
 *
 * Each member asked by itself, all at once: a cluster that works hides that one of its members is
 * away, or has a certificate that is not accepted or soon ends. A thread each, on new connections,
 * because only a new one shows a certificate.
 */
#include "etcd/internal.h"

#include <signal.h>

enum { LOGINS_MAX = 2 };

struct visit {
    struct etcd_attempt attempt;
    struct etcd_member *member;
    pthread_t thread;
    bool has_thread;
};

static void ask_member(struct visit *visit)
{
    struct etcd_attempt *attempt = &visit->attempt;
    struct err *err = &visit->member->err;
    enum status status = ST_INTERNAL;
    nsec connecting = 0; /* the first attempt does, also when it is asked to log in */
    attempt->line = http_line_new();
    for (int logins = 0; status && logins <= LOGINS_MAX; logins++) {
        struct etcd_answer answer = {0};
        struct err again = ERR_INIT;
        *err = (struct err)ERR_INIT;
        status = etcd__attempt(attempt, &answer, err);
        visit->member->leads = !status && answer.is_of_leader;
        etcd_answer_release(&answer);
        connecting = attempt->connecting ? attempt->connecting : connecting;
        if (!status && connecting && !attempt->call->is_alone)
            etcd__note_distance(attempt->client, attempt->member, connecting);
        if (attempt->certificate_end_s)
            visit->member->certificate_end_s = attempt->certificate_end_s;
        if (status && (attempt->reach != ETCD_RENEW || !attempt->client->user ||
                       etcd__login(attempt->client, attempt->line, attempt->deadline,
                                   attempt->login, &again)))
            break;
    }
    http_line_free(attempt->line);
}

static void *run(void *argument)
{
    ask_member(argument);
    return NULL;
}

void etcd_ask_each(struct etcd_client *client, const struct etcd_call *call,
                   struct etcd_member *ret_members)
{
    struct visit visits[ETCD_MEMBERS_MAX] = {0};
    sigset_t all, before;
    sigfillset(&all); /* signals belong to the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (size_t i = 0; i < client->count; i++) {
        struct visit *visit = &visits[i];
        ret_members[i] = (struct etcd_member){.name = client->members[i]};
        visit->member = &ret_members[i];
        visit->attempt = (struct etcd_attempt){
            .client = client, .call = call, .member = i, .deadline = call->deadline};
        visit->has_thread = pthread_create(&visit->thread, NULL, run, visit) == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (size_t i = 0; i < client->count; i++)
        if (!visits[i].has_thread)
            ask_member(&visits[i]);
        else
            pthread_join(visits[i].thread, NULL);
    if (!call->is_alone)
        etcd__go_nearest(client);
}

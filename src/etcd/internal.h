/* SPDX-License-Identifier: Apache-2.0
 * Inside etcd/ only: the client's state, one attempt, and the log-in. */
#ifndef HOLDFAST_ETCD_INTERNAL_H
#define HOLDFAST_ETCD_INTERNAL_H

#include "etcd/client.h"
#include "etcd/errors.h"

#include <pthread.h>
#include <stdatomic.h>

struct etcd_client {
    char **members; /* "HOST:PORT" */
    size_t count, capacity;
    atomic_size_t current;                   /* the one that is asked first */
    atomic_uint failures[ETCD_MEMBERS_MAX];  /* of a member since it answered; see client.c */
    atomic_uint distances[ETCD_MEMBERS_MAX]; /* microseconds to connect to it, of late; 0: never */
    atomic_bool stop;

    bool has_tls;
    struct http_tls tls; /* owns its texts */
    char *user, *password_file;

    pthread_mutex_t lock; /* for all below */
    pthread_cond_t login_changed;
    struct secret password, token;
    uint64_t login; /* counts them; 0: none yet */
    bool is_logging_in;
    bool is_open; /* etcd's authentication is off */
};

/* One try of one request at one member. */
struct etcd_attempt {
    struct etcd_client *client;
    struct http_line *line;
    const struct etcd_call *call;
    size_t member;
    nsec deadline;

    enum etcd_reach reach; /* what came of it, when it failed */
    bool is_answered;      /* by etcd, if only with a refusal */
    uint64_t login;        /* with which it went */
    int64_t certificate_end_s;
    nsec connecting; /* took so long; 0: there was a connection */
};
MUST_CHECK enum status etcd__attempt(struct etcd_attempt *attempt, struct etcd_answer *ret_answer,
                                     struct err *err);

/* It was of no use. */
void etcd__note_failure(struct etcd_client *client, size_t member, bool is_silent);
/* Of the others the one that failed least since it answered, of these the nearest, or the next. */
size_t etcd__find_other(struct etcd_client *client, size_t member);
/* Others' requests go there, too, if they go to 'from' still. */
void etcd__go(struct etcd_client *client, size_t from, size_t to);
/* It answers for a majority, and a connection to it took so long. By that it is found who is of our
 * site: an answer takes as long there as at the leader, who is asked for it. */
void etcd__note_distance(struct etcd_client *client, size_t member, nsec took);
/* Of those that answer: go to the nearest one, if it is much nearer than the current one. */
void etcd__go_nearest(struct etcd_client *client);

/* Log in, unless somebody did since 'refused'. Waits for whoever is doing it. */
MUST_CHECK enum status etcd__login(struct etcd_client *client, struct http_line *line,
                                   nsec deadline, uint64_t refused, struct err *err);

#endif

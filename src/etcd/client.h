/* SPDX-License-Identifier: Apache-2.0
 *
 * A client of etcd's v3 JSON gateway: requests that go to whichever member answers, under TLS and
 * with a log-in where these are asked for. It knows nothing of what the keys mean; that is the
 * etcd driver of store/.
 *
 * An etcd_client belongs to all threads. What a request goes over (a line, a stream) is the
 * caller's, for one thread at a time. The password is in no message, and so is the token.
 */
#ifndef HOLDFAST_ETCD_CLIENT_H
#define HOLDFAST_ETCD_CLIENT_H

#include "base/secret.h"
#include "net/http.h"
#include "wire/etcd.h"

enum {
    ETCD_MEMBERS_MAX = 16,
    ETCD_ANSWER_MAX = 64 << 20, /* bytes */
    ETCD_CONNECT_MS = 1000
};

struct etcd_client;

/* How to be let in; copied. */
struct etcd_access {
    const struct http_tls *tls;    /* NULL: clear text */
    const char *user;              /* NULL: nobody logs in */
    const struct secret *password; /* with a user */
    const char *password_file;     /* read again when the password is refused; NULL: it stays */
};

struct etcd_client *etcd_client_new(const struct etcd_access *access); /* NULL: as nobody */
void etcd_client_free(struct etcd_client *client);                     /* NULL is fine */
void etcd_client_add(struct etcd_client *client, const char *host_and_port, size_t length);
size_t etcd_client_count(const struct etcd_client *client);
const char *etcd_client_user(const struct etcd_client *client); /* NULL: none */
/* While it is set, nothing new is asked, and what is on its way ends with ST_ABORTED. */
void etcd_client_stop(struct etcd_client *client, bool is_stopped);
bool etcd_client_is_stopped(const struct etcd_client *client);
/* Credentials are there, but at the last log-in etcd asked nobody for any. */
bool etcd_client_is_open(struct etcd_client *client);

/* ---- asking ---- */
struct etcd_call {
    const char *path; /* "/v3/kv/range" */
    const char *body;
    nsec deadline;
    bool once;     /* doing it twice would be wrong */
    bool is_hasty; /* may be done twice, and a member that is silent is not worth half a second */
    bool is_alone; /* a member answers it by itself: that says nothing of the others */
};

/* Asks members until one answers; errors.h says what is done about each error. ST_OK: *ret_answer.
 * With 'once', ST_UNKNOWN: it may have happened or may still. '*ret_doubt' (may be NULL): some
 * attempt may have happened. */
MUST_CHECK enum status etcd_ask(struct etcd_client *client, struct http_line *line,
                                const struct etcd_call *call, struct etcd_answer *ret_answer,
                                bool *ret_doubt, struct err *err);

/* ---- streams: the caller sends, and reads the answers ---- */
struct etcd_errand { /* to one member; not to be moved */
    size_t member;
    char *url, *authorization;
    const char *headers[3];
    const struct http_tls *tls;
    uint64_t login; /* with which it goes; 0: none */
};
void etcd_errand_init(struct etcd_client *client, const char *path, struct etcd_errand *ret);
void etcd_errand_init_at(struct etcd_client *client, size_t member, const char *path,
                         struct etcd_errand *ret);
void etcd_errand_release(struct etcd_errand *errand);
/* That member was of no use: the next request goes to another one. 'is_silent': it gave no answer
 * at all. */
void etcd_client_leave(struct etcd_client *client, size_t member, bool is_silent);
/* Requests go to another one, which is much nearer: a stream had better go there too. */
bool etcd_client_is_far(struct etcd_client *client, size_t member);

/* Must somebody log in before the next errand? 'refused': the log-in that was refused, or 0. The
 * body for ETCD_LOGIN_PATH is to be wiped. */
#define ETCD_LOGIN_PATH "/v3/auth/authenticate"
bool etcd_login_is_due(struct etcd_client *client, uint64_t refused);
char *etcd_login_body(struct etcd_client *client);
/* The answer to it. Not ST_OK with *ret_again: another password was found; ask once more. */
MUST_CHECK enum status etcd_login_take(struct etcd_client *client, const struct etcd_answer *answer,
                                       bool *ret_again, struct err *err);

/* ---- a look at each member by itself ---- */
struct etcd_member {
    const char *name;          /* "10.0.0.1:2379", the client's */
    struct err err;            /* ST_OK: it answers, and lets us in */
    bool leads;                /* when its status was asked for */
    int64_t certificate_end_s; /* since 1970; 0: not known */
};
/* All at once; 'call' must be harmless. ret_members has etcd_client_count() of them. Unless it
 * 'is_alone', requests go to the nearest of those that answered from then on: it is of our site,
 * and not lost together with another one. */
void etcd_ask_each(struct etcd_client *client, const struct etcd_call *call,
                   struct etcd_member *ret_members);

#endif

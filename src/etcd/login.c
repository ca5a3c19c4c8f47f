/* SPDX-License-Identifier: Apache-2.0
 *
 * Logging in: a user and a password for a token, which goes with every request until etcd does not
 * know it any more: it was not used for a while (5 minutes, where nothing else was set), its member
 * was restarted, or users and roles were changed. Then one thread logs in anew and the others wait
 * for it. When the password is refused, its file is read again, and what it says now is tried once.
 *
 * An etcd whose authentication is off has no tokens: requests then go without, so that it can be
 * switched on under a running Holdfast that has its credentials already.
 */
#include "base/mem.h"
#include "base/scope.h"
#include "etcd/internal.h"
#include "os/file.h"

#include <jansson.h>
#include <string.h>
#include <time.h>

static void wipe(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
}

bool etcd_login_is_due(struct etcd_client *client, uint64_t refused)
{
    if (!client->user)
        return false;
    pthread_mutex_lock(&client->lock);
    bool is_due = client->login == refused;
    pthread_mutex_unlock(&client->lock);
    return is_due;
}

char *etcd_login_body(struct etcd_client *client)
{
    pthread_mutex_lock(&client->lock);
    json_t *json =
        json_pack("{s:s, s:s}", "name", client->user, "password", secret_reveal(&client->password));
    pthread_mutex_unlock(&client->lock);
    char *body = json ? json_dumps(json, JSON_COMPACT) : NULL; /* NULL: it is no UTF-8 */
    json_decref(json);
    return body ? body : mem_strdup("{}");
}

static bool read_password_again(struct etcd_client *client)
{
    AUTO(wipe) char *text = NULL;
    bool is_exposed = false;
    if (!client->password_file ||
        file_read_secret(client->password_file, &text, &is_exposed, NULL) != ST_OK)
        return false;
    pthread_mutex_lock(&client->lock);
    bool is_new = strcmp(text, secret_reveal(&client->password)) != 0;
    if (is_new)
        secret_set(&client->password, text, strlen(text));
    pthread_mutex_unlock(&client->lock);
    return is_new;
}

/* NULL: etcd asks nobody who he is. */
static void set_token(struct etcd_client *client, const char *token)
{
    pthread_mutex_lock(&client->lock);
    secret_release(&client->token);
    if (token)
        secret_set(&client->token, token, strlen(token));
    client->is_open = !token;
    client->login++;
    pthread_mutex_unlock(&client->lock);
}

/* ST_OK: it was none, etcd asks nobody. */
static enum status take_refusal(struct etcd_client *client, bool *ret_again, struct err *err)
{
    if (err->status == ST_NOT_FOUND) {
        set_token(client, NULL);
        return ST_OK;
    }
    *ret_again = err->status == ST_DENIED && read_password_again(client);
    return err_wrap(err, "log in as '%s'", client->user);
}

enum status etcd_login_take(struct etcd_client *client, const struct etcd_answer *answer,
                            bool *ret_again, struct err *err)
{
    *ret_again = false;
    if (answer->error && etcd_error_set(answer, err))
        return take_refusal(client, ret_again, err);
    if (!answer->token)
        return err_set(err, ST_IO, "etcd let '%s' in and gave no token", client->user);
    set_token(client, answer->token);
    return ST_OK;
}

static enum status ask(struct etcd_client *client, struct http_line *line, nsec deadline,
                       bool *ret_again, struct err *err)
{
    AUTO(wipe) char *body = etcd_login_body(client);
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    struct etcd_call call = {.path = ETCD_LOGIN_PATH, .body = body, .deadline = deadline};
    *ret_again = false;
    enum status status = etcd_ask(client, line, &call, &answer, NULL, err);
    return status ? take_refusal(client, ret_again, err)
                  : etcd_login_take(client, &answer, ret_again, err);
}

static void wait_until(struct etcd_client *client, nsec deadline)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    nsec at = (nsec)until.tv_sec * NSEC_PER_SEC + until.tv_nsec;
    at += clock_ms_left(deadline) * NSEC_PER_MS;
    until = (struct timespec){at / NSEC_PER_SEC, at % NSEC_PER_SEC};
    pthread_cond_timedwait(&client->login_changed, &client->lock, &until);
}

/* True: it is this thread's turn to log in. */
static bool take_turn(struct etcd_client *client, uint64_t refused, nsec deadline)
{
    pthread_mutex_lock(&client->lock);
    while (client->login == refused && client->is_logging_in && clock_now() < deadline)
        wait_until(client, deadline);
    bool is_mine = client->login == refused && !client->is_logging_in;
    client->is_logging_in = client->is_logging_in || is_mine;
    pthread_mutex_unlock(&client->lock);
    return is_mine;
}

static void end_turn(struct etcd_client *client)
{
    pthread_mutex_lock(&client->lock);
    client->is_logging_in = false;
    pthread_cond_broadcast(&client->login_changed);
    pthread_mutex_unlock(&client->lock);
}

enum status etcd__login(struct etcd_client *client, struct http_line *line, nsec deadline,
                        uint64_t refused, struct err *err)
{
    if (!take_turn(client, refused, deadline))
        return etcd_login_is_due(client, refused)
                   ? err_set(err, ST_TIMEOUT, "no time was left to log in to etcd")
                   : ST_OK;
    struct err last = ERR_INIT;
    bool again = false;
    enum status status = ask(client, line, deadline, &again, &last);
    if (status && again)
        status = ask(client, line, deadline, &again, &last);
    end_turn(client);
    if (status)
        *err = last;
    return status;
}

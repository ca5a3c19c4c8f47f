/* SPDX-License-Identifier: Apache-2.0
 * Starting servers, and connecting to them as soon as they accept. Nothing here waits longer than
 * the servers need: a connection is tried at once, again within milliseconds while the server
 * refuses it, and a server that died is noticed by its process, not by a timeout. */
#include "base/mem.h"
#include "base/scope.h"
#include "lab/internal.h"
#include "os/file.h"

#include <string.h>

enum {
    START_SECONDS = 60, /* for all servers that start together */
    TRY_MS = 300,       /* of one try to connect; also how soon an interruption is noticed */
    PAUSE_MS = 3,       /* between two tries */
    LOG_MAX_BYTES = 1024 * 1024,
    FOLDER_MODE = 0700,
};

/* --- Starting -----------------------------------------------------------------------------------
 */

enum status lab__server_make(const struct lab *lab, const struct lab_server *server,
                             struct err *err)
{
    AUTO_FREE char *data = lab__server_path(lab, server, "data");
    AUTO_FREE char *temporary = lab__server_path(lab, server, "tmp");
    AUTO_FREE char *path = lab__server_path(lab, server, "my.cnf");
    AUTO_FREE char *template = lab__path(lab, "template");
    AUTO(buf_release) struct buf config = {0};
    lab__server_options(lab, server, &config);
    enum status status = folder_make(temporary, FOLDER_MODE, err);
    status = status ? status : folder_copy(template, data, err);
    return status ? status : file_write_unsynced(path, config.data, config.length, err);
}

enum status lab__server_start(const struct lab *lab, struct lab_server *server, struct err *err)
{
    AUTO_FREE char *config = lab__server_path(lab, server, "my.cnf");
    AUTO_FREE char *log = lab__server_path(lab, server, "error.log");
    AUTO_FREE char *defaults = mem_printf("--defaults-file=%s", config);
    const char *argv[] = {lab->mariadbd, defaults, geteuid() == 0 ? "--user=root" : NULL, NULL};
    struct process_spec spec = {.argv = argv, .output_path = log};
    enum status status = lab__spawn(lab, server->region, &spec, &server->process, err);
    return status ? err_wrap(err, "start %s", server->name) : ST_OK;
}

/* --- Connections --------------------------------------------------------------------------------
 */

void lab__links_init(const struct lab *lab, const struct lab_choice *choice, struct lab_links *ret)
{
    struct lab_links links = {.count = choice->count};
    links.calls = mem_zalloc(links.count * sizeof(*links.calls));
    for (size_t i = 0; i < links.count; i++) {
        struct sql_endpoint endpoint = {
            .host = choice->servers[i]->host,
            .port = lab->port,
            .user = lab_account_name(LAB_ADMIN),
            .password = &lab->passwords[LAB_ADMIN],
            .tls = lab->is_tls ? &lab->tls : NULL,
        };
        links.calls[i].conn = sql_conn_new(&endpoint);
    }
    *ret = links;
}

void lab__links_release(struct lab_links *links)
{
    for (size_t i = 0; i < links->count; i++) {
        sql_call_release(&links->calls[i]);
        sql_conn_free(links->calls[i].conn);
    }
    free(links->calls);
    *links = (struct lab_links){0};
}

/* Those calls that have something to do, as a list of their own: sql_run() takes one array. */
static void run_calls(struct lab_links *links, const bool *is_wanted, nsec deadline)
{
    size_t count = 0;
    AUTO_FREE struct sql_call *calls = mem_zalloc(links->count * sizeof(*calls));
    AUTO_FREE size_t *indexes = mem_zalloc(links->count * sizeof(*indexes));
    for (size_t i = 0; i < links->count; i++) {
        if (!is_wanted[i])
            continue;
        sql_call_release(&links->calls[i]);
        calls[count] = (struct sql_call){.conn = links->calls[i].conn, .sql = links->calls[i].sql};
        indexes[count++] = i;
    }
    if (count > 0)
        sql_run(calls, count, deadline);
    for (size_t i = 0; i < count; i++)
        links->calls[indexes[i]] = calls[i];
}

enum status lab__links_run(struct lab_links *links, int64_t timeout_ms, struct err *err)
{
    AUTO_FREE bool *is_wanted = mem_zalloc(links->count * sizeof(*is_wanted));
    for (size_t i = 0; i < links->count; i++)
        is_wanted[i] = links->calls[i].sql != NULL;
    run_calls(links, is_wanted, clock_deadline(timeout_ms));
    for (size_t i = 0; i < links->count; i++) {
        if (!is_wanted[i] || links->calls[i].status == ST_OK)
            continue;
        if (err)
            *err = links->calls[i].err;
        return links->calls[i].status;
    }
    return ST_OK;
}

/* --- Waiting until they accept -------------------------------------------------------------------
 */

void lab__last_error(const char *log_path, struct buf *ret)
{
    AUTO(buf_release) struct buf text = {0};
    status_ignore(file_read(log_path, LOG_MAX_BYTES, &text, NULL), "then there is less to tell");
    while (text.length > 0 && text.data[text.length - 1] == '\n')
        text.data[--text.length] = '\0';
    const char *found = NULL, *line = buf_text(&text);
    for (const char *at = line; at; at = strchr(at, '\n')) {
        at += *at == '\n';
        size_t length = strcspn(at, "\n");
        /* "Aborting" follows each error and says nothing */
        if (memmem(at, length, "[ERROR]", 7) && !memmem(at, length, "Aborting", 8))
            found = at;
        line = at;
    }
    found = found ? found : line;
    buf_add_bytes(ret, found, strcspn(found, "\n"));
}

static enum status server_failed(const struct lab *lab, const struct lab_server *server,
                                 const char *how, struct err *err)
{
    AUTO(buf_release) struct buf error = {0};
    AUTO_FREE char *log = lab__server_path(lab, server, "error.log");
    lab__last_error(log, &error);
    const char *text = buf_text(&error);
    enum status status = strstr(text, "Bind on TCP/IP port") ? ST_CONFLICT : ST_IO;
    return err_set(err, status, "%s %s: %s", server->name, how,
                   text[0] ? text : "its log is empty");
}

struct waiting {
    const struct lab *lab;
    const struct lab_choice *choice;
    struct lab_links *links;
    bool *is_wanted; /* per server: not connected yet */
    size_t left;
};

/* Look at the outcome of a round of tries. */
static enum status check_round(struct waiting *waiting, struct err *err)
{
    for (size_t i = 0; i < waiting->choice->count; i++) {
        const struct lab_server *server = waiting->choice->servers[i];
        struct sql_call *call = &waiting->links->calls[i];
        if (!waiting->is_wanted[i])
            continue;
        if (call->status == ST_OK) {
            waiting->is_wanted[i] = false;
            waiting->left--;
            continue;
        }
        if (!process_is_alive(&server->process))
            return server_failed(waiting->lab, server, "ended while it started", err);
        if (call->status == ST_DENIED || call->status == ST_UNTRUSTED) {
            *err = call->err;
            return err_wrap(err, "%s", server->name);
        }
    }
    return ST_OK;
}

static const struct lab_server *first_missing(const struct waiting *waiting)
{
    size_t i = 0;
    while (!waiting->is_wanted[i])
        i++;
    return waiting->choice->servers[i];
}

static enum status connect_all(struct waiting *waiting, const struct lab_progress *progress,
                               struct err *err)
{
    nsec deadline = clock_deadline(START_SECONDS * 1000);
    while (waiting->left > 0) {
        run_calls(waiting->links, waiting->is_wanted, clock_deadline(TRY_MS));
        enum status status = check_round(waiting, err);
        status = status ? status : lab__stop_wanted(progress, err);
        if (status || waiting->left == 0)
            return status;
        const struct lab_server *missing = first_missing(waiting);
        if (clock_now() >= deadline)
            return server_failed(waiting->lab, missing, "does not accept connections", err);
        /* Wakes up early when it ends, which the next round sees. */
        status_ignore(process_wait(&missing->process, clock_deadline(PAUSE_MS), NULL, NULL),
                      "a pause");
    }
    return ST_OK;
}

enum status lab__servers_connect(const struct lab *lab, const struct lab_choice *choice,
                                 const struct lab_progress *progress, struct lab_links *ret,
                                 struct err *err)
{
    struct lab_links links;
    lab__links_init(lab, choice, &links);
    AUTO_FREE bool *is_wanted = mem_zalloc(choice->count * sizeof(*is_wanted));
    for (size_t i = 0; i < choice->count; i++)
        is_wanted[i] = true;
    struct waiting waiting = {lab, choice, &links, is_wanted, choice->count};
    struct err unused = ERR_INIT;
    enum status status = connect_all(&waiting, progress, err ? err : &unused);
    if (status)
        lab__links_release(&links);
    else
        *ret = links;
    return status;
}

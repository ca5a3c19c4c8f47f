/* SPDX-License-Identifier: Apache-2.0
 * Shared inside lab/ only. */
#ifndef HOLDFAST_LAB_INTERNAL_H
#define HOLDFAST_LAB_INTERNAL_H

#include "base/buf.h"
#include "lab/lab.h"
#include "net/server.h"
#include "sql/conn.h"

enum { LAB_TTL_MS_DEFAULT = 2000 };

/* --- lab.c, state.c: the folder ----------------------------------------------------------------
 */

struct lab *lab__new(const char *dir, const struct lab_shape *shape);
char *lab__path(const struct lab *lab, const char *name); /* DIR/name; caller frees */
char *lab__server_path(const struct lab *lab, const struct lab_server *server, const char *name);
bool lab__exists(const char *dir);
MUST_CHECK enum status lab__store(const struct lab *lab, struct err *err);
MUST_CHECK enum status lab__lock(const char *dir, int *ret_fd, struct err *err);
void lab__choose_daemon(struct lab_choice *choice, struct lab_daemon *daemon); /* once */
char *lab__host_name(size_t region, unsigned number);
MUST_CHECK enum status lab__stop_wanted(const struct lab_progress *progress, struct err *err);
void lab__say(const struct lab_progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* --- accounts.c ---------------------------------------------------------------------------------
 */

const char *lab__password_file(enum lab_account account); /* a name inside the folder */
char *lab__token_file(enum http_role role);               /* the same; caller frees */
MUST_CHECK enum status lab__passwords_make(struct lab *lab, struct err *err);
MUST_CHECK enum status lab__passwords_load(struct lab *lab, struct err *err);
MUST_CHECK enum status lab__tokens_make(const struct lab *lab, struct err *err);
void lab__accounts_sql(const struct lab *lab, struct buf *sql); /* for an empty data folder */
void lab__tables_sql(struct buf *sql);                          /* for the primary */

/* --- certificates.c: PEM files in DIR/tls, NAME.pem and NAME.key --------------------------------
 */

#define LAB_TLS_AUTHORITY "ca"
#define LAB_TLS_CLIENT "holdfast"
#define LAB_TLS_REPLICATION "repl"
#define LAB_TLS_CONDUCTOR "conductor"
char *lab__tls_path(const struct lab *lab, const char *file); /* caller frees */
MUST_CHECK enum status lab__certificates_make(const struct lab *lab, struct err *err);

/* --- config.c, template.c ---------------------------------------------------------------
 */

/* The options that make a server small; needed whenever a program opens the data folder. */
void lab__small_options(struct buf *config);
void lab__server_options(const struct lab *lab, const struct lab_server *server,
                         struct buf *config);

MUST_CHECK enum status lab__find_mariadbd(char **ret_path, struct err *err);
/* Make DIR/template: a data folder with this lab's accounts. */
MUST_CHECK enum status lab__template_make(struct lab *lab, const struct lab_progress *progress,
                                          struct err *err);

/* --- server.c ------------------------------------------------------------------------
 */

/* The last error in a log, or its last line. */
void lab__last_error(const char *log_path, struct buf *ret);
/* Open connections of the lab's administrator, one for each chosen server. */
struct lab_links {
    struct sql_call *calls;
    size_t count;
};
MUST_CHECK enum status lab__server_make(const struct lab *lab, const struct lab_server *server,
                                        struct err *err);
MUST_CHECK enum status lab__server_start(const struct lab *lab, struct lab_server *server,
                                         struct err *err);
/* Until all of them accept connections. ST_CONFLICT: one could not get its port. */
MUST_CHECK enum status lab__servers_connect(const struct lab *lab, const struct lab_choice *choice,
                                            const struct lab_progress *progress,
                                            struct lab_links *ret, struct err *err);
void lab__links_init(const struct lab *lab, const struct lab_choice *choice, struct lab_links *ret);
void lab__links_release(struct lab_links *links);
/* Run calls[i].sql where it is set, side by side; the first error. Results are in the calls. */
MUST_CHECK enum status lab__links_run(struct lab_links *links, int64_t timeout_ms, struct err *err);

/* --- disaster.c ---------------------------------------------------------------------------------
 */

/* Does a command line, its words each ended by NUL, say that the process is one of this lab? */
bool lab__is_command(const struct lab *lab, const char *words, size_t length);
/* SIGKILL to all of the lab's processes, known by their command line; waits. */
MUST_CHECK enum status lab__kill_all(const struct lab *lab, size_t *ret_ended, struct err *err);

/* --- daemons.c ----------------------------------------------------------------------------------
 */

void lab__daemons_make(struct lab *lab); /* their names and addresses */
struct lab_daemon *lab__daemon_of(const struct lab *lab, enum lab_kind kind,
                                  const struct lab_daemon *same_host);
char *lab__daemon_log(const struct lab *lab, const struct lab_daemon *daemon);    /* a path */
char *lab__agent_identity(const struct lab *lab, const struct lab_daemon *agent); /* a path */
char *lab__agent_state(const struct lab *lab, const struct lab_daemon *agent);    /* a folder */
char *lab__daemon_program(const struct lab *lab); /* what conductors and agents are */
void lab__agents_read(struct lab *lab);           /* who they are now: their keepers know */
MUST_CHECK enum status lab__daemons_find_programs(struct lab *lab, struct err *err);
/* Not an agent: those are started by their keepers. */
MUST_CHECK enum status lab__daemon_start(const struct lab *lab, struct lab_daemon *daemon,
                                         struct err *err);
/* Until the chosen ones are up; a keeper when its agent is. is_new: they have to be able to serve.
 * ST_CONFLICT: one could not get its port. */
MUST_CHECK enum status lab__daemons_wait(struct lab *lab, const struct lab_choice *choice,
                                         bool is_new, const struct lab_progress *progress,
                                         struct err *err);

/* One question of a moment, of an etcd or a conductor. */
struct http_answer;
struct http_line;
MUST_CHECK enum status lab__daemon_post(const struct lab *lab, const struct lab_daemon *daemon,
                                        const char *path, const char *body, struct http_line *line,
                                        struct http_answer *ret);
/* The same without a body: a GET. */
MUST_CHECK enum status lab__daemon_ask(const struct lab *lab, const struct lab_daemon *daemon,
                                       const char *path, struct http_line *line,
                                       struct http_answer *ret);

/* --- observe.c ----------------------------------------------------------------------------------
 */

/* Until each conductor of the first region sends clients to each primary, as they are at first. */
MUST_CHECK enum status lab__serving_wait(const struct lab *lab, const struct lab_progress *progress,
                                         struct err *err);

/* --- network.c ----------------------------------------------------------------------------------
 */

void lab__address(char *host, size_t region, unsigned third, unsigned last);
/* Where connections of programs in a region, or a site, come from. */
void lab__source(const struct lab *lab, size_t region, char ret_host[static LAB_HOST_MAX]);
/* Where there can be no namespaces, and they need not be: the loopback. Says so, and why. */
void lab__network_choose(struct lab_shape *shape, const struct lab_progress *progress);
MUST_CHECK enum status lab__network_make(const struct lab *lab, struct err *err);
/* Its process is the one that holds the namespaces. */
bool lab__wan_is_up(const struct lab *lab, const struct lab_daemon *wan);
/* Start a process inside a region, or a site. */
MUST_CHECK enum status lab__spawn(const struct lab *lab, size_t region,
                                  const struct process_spec *spec, struct process *ret,
                                  struct err *err);

/* --- keep.c -------------------------------------------------------------------------------------
 */

/* Copy the logs of servers that are down, as their units do it before each start. */
MUST_CHECK enum status lab__evidence_keep(const struct lab *lab, const struct lab_choice *choice,
                                          struct err *err);

/* --- roles.c, config.c ---------------------------------------------------------------------------
 */

MUST_CHECK enum status lab__roles_set(const struct lab *lab, struct lab_links *links,
                                      struct err *err);
MUST_CHECK enum status lab__fleet_write(const struct lab *lab, struct err *err);

#endif

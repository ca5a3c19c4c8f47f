/* SPDX-License-Identifier: Apache-2.0
 * The first roles of a new lab. West is home: west-1 is primary, west-2 and west-3 are its
 * semi-synchronous replicas; east-1 is the relay, asynchronous; east-2 and east-3 follow it,
 * flagged as acknowledging, so that they are its ackers from the moment it is promoted.
 * The primary opens last, when both of its ackers have all there is.
 * And the role of a member of etcd: which one leads, and another one instead. */
#include "base/mem.h"
#include "base/scope.h"
#include "lab/internal.h"
#include "net/http.h"

#include <jansson.h>
#include <poll.h>
#include <string.h>

enum { PRIMARY = 0, RELAY = LAB_REGION_SERVERS, ACKERS = LAB_REGION_SERVERS - 1, STEP_MS = 30000 };

static const struct lab_server *first_source(const struct lab *lab, const struct lab_server *server)
{
    size_t shard = server->shard * LAB_SHARD_SERVERS;
    bool follows_relay = server->region > 0 && server->number > 1;
    return &lab->servers[shard + (follows_relay ? (size_t)RELAY : (size_t)PRIMARY)];
}

static bool is_primary(const struct lab_server *server)
{
    return server->region == 0 && server->number == 1;
}

static bool is_acker(const struct lab_server *server)
{
    return server->number > 1;
}

static void link_tls_sql(const struct lab *lab, struct buf *sql)
{
    AUTO_FREE char *cert = lab__tls_path(lab, LAB_TLS_REPLICATION ".pem");
    AUTO_FREE char *key = lab__tls_path(lab, LAB_TLS_REPLICATION ".key");
    buf_printf(sql,
               ", MASTER_SSL=1, MASTER_SSL_VERIFY_SERVER_CERT=1, MASTER_SSL_CA='%s',"
               " MASTER_SSL_CERT='%s', MASTER_SSL_KEY='%s'",
               lab->authority, cert, key);
}

static void follow_sql(const struct lab *lab, const struct lab_server *server, const char *position,
                       struct buf *sql)
{
    const struct lab_server *source = first_source(lab, server);
    buf_printf(sql, "SET GLOBAL rpl_semi_sync_slave_enabled=%d; ", is_acker(server));
    buf_printf(sql, "CHANGE MASTER TO MASTER_HOST='%s', MASTER_PORT=%d, MASTER_USER=", source->host,
               lab->port);
    sql_quote(sql, lab_account_name(LAB_REPLICATION));
    buf_add(sql, ", MASTER_PASSWORD=");
    sql_quote(sql, secret_reveal(&lab->passwords[LAB_REPLICATION]));
    if (lab->is_tls)
        link_tls_sql(lab, sql);
    buf_add(sql, ", MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1, "
                 "MASTER_HEARTBEAT_PERIOD=2; START SLAVE; ");
    buf_printf(sql, "SELECT MASTER_GTID_WAIT('%s', %d)", position, STEP_MS / 1000 - 1);
}

/* One packet for each server that this function writes one for; none for the others. */
typedef void packet_fn(const struct lab *lab, size_t server, struct lab_links *links,
                       struct buf *sql);

static enum status run_packets(const struct lab *lab, struct lab_links *links, packet_fn *packet,
                               struct err *err)
{
    AUTO_FREE struct buf *packets = mem_zalloc(links->count * sizeof(*packets));
    for (size_t i = 0; i < links->count; i++) {
        packet(lab, i, links, &packets[i]);
        links->calls[i].sql = packets[i].data;
    }
    enum status status = lab__links_run(links, STEP_MS, err);
    for (size_t i = 0; i < links->count; i++) {
        links->calls[i].sql = NULL;
        buf_release(&packets[i]);
    }
    return status;
}

static void make_tables(const struct lab *lab, size_t server, struct lab_links *links UNUSED,
                        struct buf *sql)
{
    if (!is_primary(&lab->servers[server]))
        return;
    lab__tables_sql(sql);
    buf_add(sql, "SELECT @@GLOBAL.gtid_binlog_pos AS position");
}

static const char *last_value(const struct sql_call *call)
{
    return call->result.count ? sql_value(&call->result, call->result.count - 1, 0, 0) : NULL;
}

static void follow(const struct lab *lab, size_t server, struct lab_links *links, struct buf *sql)
{
    if (is_primary(&lab->servers[server]))
        return;
    const char *position = last_value(&links->calls[server - server % LAB_SHARD_SERVERS]);
    follow_sql(lab, &lab->servers[server], position ? position : "", sql);
}

static void look_at_ackers(const struct lab *lab, size_t server, struct lab_links *links UNUSED,
                           struct buf *sql)
{
    if (is_primary(&lab->servers[server]))
        buf_add(sql, "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS "
                     "WHERE VARIABLE_NAME = 'Rpl_semi_sync_master_clients'");
}

static void open_primary(const struct lab *lab, size_t server, struct lab_links *links UNUSED,
                         struct buf *sql)
{
    if (is_primary(&lab->servers[server]))
        buf_add(sql, "SET GLOBAL rpl_semi_sync_master_enabled=1; SET GLOBAL read_only=0");
}

/* The wait in follow_sql() says 0 when the server has it all. */
static enum status check_followers(const struct lab *lab, const struct lab_links *links,
                                   struct err *err)
{
    for (size_t i = 0; i < links->count; i++) {
        if (is_primary(&lab->servers[i]) || sql_number(last_value(&links->calls[i]), -1) == 0)
            continue;
        err_set(err, ST_TIMEOUT, "%s does not replicate from %s", lab->servers[i].name,
                first_source(lab, &lab->servers[i])->name);
        return err_hint(err, "see its error.log in %s", lab->dir);
    }
    return ST_OK;
}

static enum status check_ackers(const struct lab *lab, const struct lab_links *links,
                                struct err *err)
{
    for (size_t i = 0; i < links->count; i += LAB_SHARD_SERVERS) {
        int64_t ackers = sql_number(last_value(&links->calls[i]), 0);
        if (ackers < ACKERS)
            return err_set(err, ST_INTERNAL, "%s has %d of %d semi-synchronous replicas",
                           lab->servers[i].name, (int)ackers, (int)ACKERS);
    }
    return ST_OK;
}

enum status lab__roles_set(const struct lab *lab, struct lab_links *links, struct err *err)
{
    enum status status = run_packets(lab, links, make_tables, err);
    status = status ? status : run_packets(lab, links, follow, err);
    status = status ? status : check_followers(lab, links, err);
    /* A replica counts as acker before it gets its first event, so after the wait it is there. */
    status = status ? status : run_packets(lab, links, look_at_ackers, err);
    status = status ? status : check_ackers(lab, links, err);
    status = status ? status : run_packets(lab, links, open_primary, err);
    return status ? err_wrap(err, "set the first roles") : ST_OK;
}

/* --- Who leads etcd -----------------------------------------------------------------------------
 * A member that is cut off may say for a while that it still leads; whoever says it of the newest
 * term does. */

enum { MOVE_SECONDS = 10, PAUSE_MS = 20 };

/* What a member says of itself. Numbers of 64 bits are texts in etcd's JSON, and stay texts. */
struct member {
    json_t *json; /* NULL: nothing */
    const char *id, *leader;
    uint64_t term;
};

static void member_release(struct member *member)
{
    json_decref(member->json);
}

static void line_freep(struct http_line **line)
{
    http_line_free(*line);
}

static void ask(const struct lab *lab, const struct lab_daemon *daemon, struct http_line *line,
                struct member *ret)
{
    AUTO(http_answer_release) struct http_answer answer = {0};
    const char *term = "0";
    *ret = (struct member){0};
    if (process_state(&daemon->process) != PROCESS_RUNS ||
        lab__daemon_post(lab, daemon, "/v3/maintenance/status", "{}", line, &answer))
        return;
    ret->json = json_loadb(answer.body.data, answer.body.length, 0, NULL);
    if (json_unpack(ret->json, "{s:{s:s, s:s}, s:s}", "header", "member_id", &ret->id, "raft_term",
                    &term, "leader", &ret->leader))
        ret->id = ret->leader = NULL;
    ret->term = strtoull(term, NULL, 10);
}

static const struct lab_daemon *find_leader(const struct lab *lab, struct http_line *line)
{
    const struct lab_daemon *leader = NULL;
    uint64_t term = 0;
    for (size_t i = 0; i < lab->daemon_count; i++) {
        const struct lab_daemon *daemon = &lab->daemons[i];
        AUTO(member_release) struct member member = {0};
        if (daemon->kind != LAB_ETCD)
            continue;
        ask(lab, daemon, line, &member);
        if (!member.id || strcmp(member.id, member.leader) != 0 || member.term < term)
            continue;
        leader = daemon;
        term = member.term;
    }
    return leader;
}

const struct lab_daemon *lab_leader(const struct lab *lab)
{
    AUTO(line_freep) struct http_line *line = http_line_new();
    return find_leader(lab, line);
}

/* Only the leader can give it away. That it does not answer in time means nothing: it is looked at
 * again in any case. */
static void give_away(const struct lab *lab, const struct lab_daemon *leader,
                      const struct lab_daemon *to, struct http_line *line)
{
    AUTO(member_release) struct member target = {0};
    AUTO(http_answer_release) struct http_answer answer = {0};
    ask(lab, to, line, &target);
    if (!target.id)
        return;
    AUTO_FREE char *body = mem_printf("{\"targetID\": \"%s\"}", target.id);
    status_ignore(
        lab__daemon_post(lab, leader, "/v3/maintenance/transfer-leadership", body, line, &answer),
        "who leads then is asked again");
}

enum status lab_leader_move(const struct lab *lab, size_t site, struct err *err)
{
    AUTO(line_freep) struct http_line *line = http_line_new();
    nsec deadline = clock_deadline(MOVE_SECONDS * 1000);
    const struct lab_daemon here = {.region = site}, *to = lab__daemon_of(lab, LAB_ETCD, &here);
    if (!to)
        return err_set(err, ST_INVALID, "the lab in %s has no etcd", lab->dir);
    for (;;) {
        const struct lab_daemon *leader = find_leader(lab, line);
        if (leader == to)
            return ST_OK;
        if (clock_now() >= deadline) {
            err_set(err, ST_TIMEOUT, "%s did not become the leader of etcd within %d s", to->name,
                    MOVE_SECONDS);
            return err_hint(err, "it has to run, and to reach the others: holdfast lab status");
        }
        if (leader)
            give_away(lab, leader, to, line);
        poll(NULL, 0, PAUSE_MS);
    }
}

/* SPDX-License-Identifier: Apache-2.0
 * The daemons of a lab: three members of etcd, one of them at a witness's site, two conductors a
 * region, and on each host an agent with its keeper, who stands in for systemd. What they are
 * called, where they listen, how they are started, and when they are up.
 *
 * A host is a number of a region: west-1 has server 1 of west of every shard. Agents are started by
 * their keepers, which note in a file who it is now. */
#include "base/mem.h"
#include "base/scope.h"
#include "keeper/keeper.h"
#include "lab/internal.h"
#include "net/http.h"
#include "os/file.h"
#include "os/program.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    THIRD_ETCD = 200, /* shards have third numbers below 32 */
    THIRD_CONDUCTOR = 201,
    ETCD_CLIENT = 1,
    ETCD_PEER = 2,
    HEARTBEAT_MS = 50,
    ELECTION_MS = 500,
    ELECTION_TRIPS = 10,
    START_SECONDS = 30, /* for all that start together */
    TRY_MS = 300,       /* of one question; also how soon an interruption is noticed */
    PAUSE_MS = 5,
    ANSWER_MAX = 64 * 1024,
    FOLDER_MODE = 0700,
};

static const char *const kind_names[] = {
#define X(id, name) name,
    LAB_KINDS(X)
#undef X
};

const char *lab_kind_name(enum lab_kind kind)
{
    return kind_names[kind];
}

/* --- Names and addresses ------------------------------------------------------------------------
 */

static struct lab_daemon *add(struct lab *lab, enum lab_kind kind, size_t region, unsigned number)
{
    struct lab_daemon *daemon = &lab->daemons[lab->daemon_count++];
    *daemon = (struct lab_daemon){.kind = kind, .region = region, .number = number};
    const char *site = lab_region_name(region);
    daemon->name = number ? mem_printf("%s-%s-%u", kind_names[kind], site, number)
                          : mem_printf("%s-%s", kind_names[kind], site);
    return daemon;
}

static void add_wan(struct lab *lab)
{
    lab->daemons[lab->daemon_count++] =
        (struct lab_daemon){.kind = LAB_WAN, .region = LAB_SITES, .name = mem_strdup("wan")};
}

/* Without the network, the others cannot be started. */
void lab__daemons_make(struct lab *lab)
{
    lab->daemons = mem_zalloc((LAB_DAEMONS + 1) * sizeof(*lab->daemons));
    if (lab->network.is_netns)
        add_wan(lab);
    if (!lab->has_daemons)
        return;
    for (size_t region = 0; region <= LAB_REGIONS; region++) {
        struct lab_daemon *member = add(lab, LAB_ETCD, region, 0);
        lab__address(member->host, region, THIRD_ETCD, ETCD_CLIENT);
        lab__address(member->peer_host, region, THIRD_ETCD, ETCD_PEER);
    }
    for (size_t region = 0; region < LAB_REGIONS; region++)
        for (unsigned number = 1; number <= LAB_REGION_CONDUCTORS; number++)
            lab__address(add(lab, LAB_CONDUCTOR, region, number)->host, region, THIRD_CONDUCTOR,
                         number);
    for (size_t region = 0; region < LAB_REGIONS; region++)
        for (unsigned number = 1; number <= LAB_REGION_SERVERS; number++) {
            add(lab, LAB_KEEPER, region, number);
            add(lab, LAB_AGENT, region, number);
        }
}

struct lab_daemon *lab__daemon_of(const struct lab *lab, enum lab_kind kind,
                                  const struct lab_daemon *same_host)
{
    for (size_t i = 0; i < lab->daemon_count; i++) {
        struct lab_daemon *daemon = &lab->daemons[i];
        if (daemon->kind == kind && daemon->region == same_host->region &&
            daemon->number == same_host->number)
            return daemon;
    }
    return NULL;
}

static char *run_path(const struct lab *lab, const struct lab_daemon *daemon)
{
    return mem_printf("%s/run/%s", lab->dir, daemon->name);
}

char *lab__daemon_log(const struct lab *lab, const struct lab_daemon *daemon)
{
    return mem_printf("%s/log/%s.log", lab->dir, daemon->name);
}

char *lab__agent_identity(const struct lab *lab, const struct lab_daemon *agent)
{
    return run_path(lab, agent);
}

char *lab__agent_state(const struct lab *lab, const struct lab_daemon *agent)
{
    return mem_printf("%s/agents/%s", lab->dir, agent->name);
}

void lab__agents_read(struct lab *lab)
{
    for (size_t i = 0; i < lab->daemon_count; i++) {
        struct lab_daemon *daemon = &lab->daemons[i];
        if (daemon->kind != LAB_AGENT)
            continue;
        AUTO_FREE char *path = run_path(lab, daemon);
        daemon->process = (struct process){0};
        daemon->is_ready = false;
        status_ignore(keeper_find(path, &daemon->process, &daemon->is_ready, NULL),
                      "then it was never started");
    }
}

const char *lab_daemon_state(const struct lab_daemon *daemon)
{
    static const char *const names[] = {
        [PROCESS_RUNS] = "up", [PROCESS_STOPPED] = "frozen", [PROCESS_ENDED] = "down"};
    return names[process_state(&daemon->process)];
}

/* --- Command lines ------------------------------------------------------------------------------
 */

struct words {
    const char **items; /* ended by NULL when they are complete */
    size_t count, capacity;
};

static void words_release(struct words *words)
{
    for (size_t i = 0; i < words->count; i++)
        free((char *)words->items[i]);
    free(words->items);
}

static void add_word(struct words *words, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add_word(struct words *words, const char *format, ...)
{
    AUTO(buf_release) struct buf word = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&word, format, args);
    va_end(args);
    char *text = buf_take(&word);
    VEC_PUSH(words->items, words->count, words->capacity, text);
}

static void end_words(struct words *words)
{
    VEC_PUSH(words->items, words->count, words->capacity, NULL);
    words->count--;
}

static const char *scheme(const struct lab *lab)
{
    return lab->is_tls ? "https" : "http";
}

static void add_members(const struct lab *lab, struct words *words)
{
    AUTO(buf_release) struct buf list = {0};
    for (size_t i = 0; i < lab->daemon_count; i++) {
        const struct lab_daemon *member = &lab->daemons[i];
        if (member->kind == LAB_ETCD)
            buf_printf(&list, "%s%s=%s://%s:%d", list.length ? "," : "", member->name, scheme(lab),
                       member->peer_host, lab->port);
    }
    add_word(words, "--initial-cluster=%s", buf_text(&list));
}

static void add_etcd_tls(const struct lab *lab, const struct lab_daemon *member,
                         struct words *words)
{
    static const char *const prefixes[] = {"", "peer-"};
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
        add_word(words, "--%scert-file=%s/tls/%s.pem", prefixes[i], lab->dir, member->name);
        add_word(words, "--%skey-file=%s/tls/%s.key", prefixes[i], lab->dir, member->name);
        add_word(words, "--%strusted-ca-file=%s", prefixes[i], lab->authority);
        add_word(words, "--%sclient-cert-auth", prefixes[i]);
    }
}

/* As Debian's package starts it, but for the two times: between sites on one machine a heartbeat
 * takes no time, and a leader that died is replaced within 0.5 to 1 s, half of the TTL. Less than
 * that, and a disk that stalls for 100 ms or two would cost the leader its place. A heartbeat is to
 * take no less than a round trip, and an election ten times as long; why '--pre-vote':
 * docs/etcd.md.
 */
static void etcd_words(const struct lab *lab, const struct lab_daemon *member, struct words *words)
{
    int trip_ms = lab->network.rtt_ms + 2 * lab->network.jitter_ms;
    int heartbeat_ms = trip_ms > HEARTBEAT_MS ? trip_ms : HEARTBEAT_MS;
    int trips_ms = ELECTION_TRIPS * trip_ms;
    int election_ms = trips_ms > ELECTION_MS ? trips_ms : ELECTION_MS;
    add_word(words, "%s", lab->etcd);
    add_word(words, "--name=%s", member->name);
    add_word(words, "--data-dir=%s/etcd/%s", lab->dir, lab_region_name(member->region));
    add_word(words, "--listen-client-urls=%s://%s:%d", scheme(lab), member->host, lab->port);
    add_word(words, "--advertise-client-urls=%s://%s:%d", scheme(lab), member->host, lab->port);
    add_word(words, "--listen-peer-urls=%s://%s:%d", scheme(lab), member->peer_host, lab->port);
    add_word(words, "--initial-advertise-peer-urls=%s://%s:%d", scheme(lab), member->peer_host,
             lab->port);
    add_members(lab, words);
    add_word(words, "--heartbeat-interval=%d", heartbeat_ms);
    add_word(words, "--election-timeout=%d", election_ms);
    add_word(words, "--pre-vote");
    add_word(words, "--auto-compaction-mode=revision");
    add_word(words, "--auto-compaction-retention=10000");
    if (lab->is_tls)
        add_etcd_tls(lab, member, words);
}

char *lab__daemon_program(const struct lab *lab)
{
    const char *other = getenv("HOLDFAST_LAB_PROGRAM"); /* for tests */
    return mem_strdup(other && other[0] ? other : lab->self);
}

static void conductor_words(const struct lab *lab, const struct lab_daemon *conductor,
                            struct words *words)
{
    AUTO_FREE char *program = lab__daemon_program(lab), *fleet = lab_fleet_path(lab);
    add_word(words, "%s", program);
    add_word(words, "conductor");
    add_word(words, "--fleet");
    add_word(words, "%s", fleet);
    add_word(words, "--name");
    add_word(words, "%s", conductor->name + strlen("conductor-"));
}

static void keeper_words(const struct lab *lab, const struct lab_daemon *keeper,
                         struct words *words)
{
    AUTO_FREE char *host = lab__host_name(keeper->region, keeper->number);
    add_word(words, "%s", lab->self);
    add_word(words, "lab");
    add_word(words, "keep");
    add_word(words, "%s", host);
    add_word(words, "--dir");
    add_word(words, "%s", lab->dir);
}

static void wan_words(const struct lab *lab, const struct lab_daemon *wan UNUSED,
                      struct words *words)
{
    add_word(words, "%s", lab->self);
    add_word(words, "lab");
    add_word(words, "join");
    add_word(words, "--dir");
    add_word(words, "%s", lab->dir);
}

/* --- Starting -----------------------------------------------------------------------------------
 */

enum status lab__daemons_find_programs(struct lab *lab, struct err *err)
{
    free(lab->self);
    lab->self = NULL;
    enum status status = program_self(&lab->self, err);
    if (status || !lab->has_daemons)
        return status;
    free(lab->etcd);
    lab->etcd = program_find("etcd");
    if (lab->etcd)
        return ST_OK;
    err_set(err, ST_NOT_FOUND, "the lab needs etcd, which is not installed");
    return err_hint(err, "apt install etcd-server");
}

static enum status make_folders(const struct lab *lab, struct err *err)
{
    static const char *const names[] = {"log", "run", "etcd", "agents"};
    enum status status = ST_OK;
    for (size_t i = 0; i < ARRAY_SIZE(names) && !status; i++) {
        AUTO_FREE char *path = lab__path(lab, names[i]);
        status = folder_make(path, FOLDER_MODE, err);
    }
    return status;
}

enum status lab__daemon_start(const struct lab *lab, struct lab_daemon *daemon, struct err *err)
{
    static void (*const write_words[])(const struct lab *, const struct lab_daemon *,
                                       struct words *) = {[LAB_KEEPER] = keeper_words,
                                                          [LAB_CONDUCTOR] = conductor_words,
                                                          [LAB_ETCD] = etcd_words,
                                                          [LAB_WAN] = wan_words};
    AUTO(words_release) struct words words = {0};
    AUTO_FREE char *log = lab__daemon_log(lab, daemon);
    write_words[daemon->kind](lab, daemon, &words);
    end_words(&words);
    struct process_spec spec = {.argv = words.items, .output_path = log};
    enum status status = make_folders(lab, err);
    status = status ? status : lab__spawn(lab, daemon->region, &spec, &daemon->process, err);
    return status ? err_wrap(err, "start %s", daemon->name) : ST_OK;
}

/* --- When they are up ---------------------------------------------------------------------------
 */

static enum status failed(const struct lab *lab, const struct lab_daemon *daemon, const char *how,
                          struct err *err)
{
    AUTO(buf_release) struct buf said = {0};
    AUTO_FREE char *log = lab__daemon_log(lab, daemon);
    lab__last_error(log, &said);
    const char *text = buf_text(&said);
    enum status status = strstr(text, "address already in use") ? ST_CONFLICT : ST_IO;
    err_set(err, status, "%s %s: %s", daemon->name, how, text[0] ? text : "its log is empty");
    return daemon->kind == LAB_WAN && status == ST_IO
               ? err_hint(err, "namespaces are not to be had here? then --network loopback")
               : status;
}

enum status lab__daemon_post(const struct lab *lab, const struct lab_daemon *daemon,
                             const char *path, const char *body, struct http_line *line,
                             struct http_answer *ret)
{
    AUTO_FREE char *cert = lab__tls_path(lab, LAB_TLS_CLIENT ".pem");
    AUTO_FREE char *key = lab__tls_path(lab, LAB_TLS_CLIENT ".key");
    struct http_tls tls = {.ca = lab->authority, .cert = cert, .key = key, .verify = true};
    AUTO_FREE char *url = mem_printf("%s://%s:%d%s", scheme(lab), daemon->host, lab->port, path);
    struct http_post get = {.url = url,
                            .body = body,
                            .tls = lab->is_tls ? &tls : NULL,
                            .deadline = clock_deadline(TRY_MS),
                            .connect_ms = TRY_MS,
                            .answer_max = ANSWER_MAX};
    return http_send(line, &get, ret, NULL);
}

enum status lab__daemon_ask(const struct lab *lab, const struct lab_daemon *daemon,
                            const char *path, struct http_line *line, struct http_answer *ret)
{
    return lab__daemon_post(lab, daemon, path, NULL, line, ret);
}

/* A new one is up when it is well: an etcd has a leader and a majority, a conductor has looked and
 * has the store. A restarted one when it listens: what it needs may be down. */
static bool answers(const struct lab *lab, const struct lab_daemon *daemon, bool is_new,
                    struct http_line *line)
{
    AUTO(http_answer_release) struct http_answer answer = {0};
    enum status status = lab__daemon_ask(
        lab, daemon, daemon->kind == LAB_ETCD ? "/health" : "/v1/health", line, &answer);
    if (is_new)
        return !status && answer.code == 200;
    return !status || status == ST_TIMEOUT;
}

static bool is_up(struct lab *lab, const struct lab_daemon *daemon, bool is_new,
                  struct http_line *line)
{
    if (daemon->kind == LAB_WAN)
        return lab__wan_is_up(lab, daemon);
    if (daemon->kind != LAB_KEEPER)
        return answers(lab, daemon, is_new, line);
    lab__agents_read(lab);
    const struct lab_daemon *agent = lab__daemon_of(lab, LAB_AGENT, daemon);
    return process_state(&agent->process) == PROCESS_RUNS && (agent->is_ready || !is_new);
}

static void line_freep(struct http_line **line)
{
    http_line_free(*line);
}

struct lab_wait {
    const struct lab_progress *progress;
    nsec deadline;
};

static enum status wait_for(struct lab *lab, const struct lab_daemon *daemon, bool is_new,
                            const struct lab_wait *wait, struct err *err)
{
    AUTO(line_freep) struct http_line *line = http_line_new();
    while (!is_up(lab, daemon, is_new, line)) {
        if (!process_is_alive(&daemon->process))
            return failed(lab, daemon, "ended while it started", err);
        if (clock_now() >= wait->deadline)
            return failed(lab, daemon, "is not up in time", err);
        enum status status = lab__stop_wanted(wait->progress, err);
        if (status)
            return status;
        status_ignore(process_wait(&daemon->process, clock_deadline(PAUSE_MS), NULL, NULL),
                      "a pause");
    }
    return ST_OK;
}

enum status lab__daemons_wait(struct lab *lab, const struct lab_choice *choice, bool is_new,
                              const struct lab_progress *progress, struct err *err)
{
    struct lab_wait wait = {progress, clock_deadline(START_SECONDS * 1000)};
    enum status status = ST_OK;
    for (size_t i = 0; i < choice->daemon_count && !status; i++) {
        const struct lab_daemon *daemon = choice->daemons[i];
        if (daemon->kind == LAB_AGENT)
            daemon = lab__daemon_of(lab, LAB_KEEPER, daemon);
        status = wait_for(lab, daemon, is_new, &wait, err);
    }
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * 'holdfast fleet discover': a first fleet file from a running primary. Follows replication
 * downwards, wave by wave; the regions are a guess, and the file says so. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/fleet.h"
#include "os/file.h"
#include "sql/conn.h"
#include "sql/flavour.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { WAVE_MS = 2000, WAVES_MAX = 8, FOUND_MAX = 64, RTO_MS = 30000, RPO_MS = 5000 };

struct found {
    char *host;
    int port;
    int source;        /* index; -1: the primary that was given */
    int64_t wanted_id; /* the server_id that it was announced with; 0: none */
    bool is_wrong;     /* another server answered: not to be written */
    bool is_ignored;   /* it lacks on purpose what the primary has: no server to move to */
    struct err err;    /* status ST_OK: it answered */
    struct sql_server_state state;
    size_t region;
};

struct search {
    const char *user;
    struct secret password;
    const struct sql_tls *tls; /* NULL: in clear text */
    struct found *servers;
    size_t count, capacity;
};

static void search_release(struct search *search)
{
    for (size_t i = 0; i < search->count; i++) {
        sql_server_state_release(&search->servers[i].state);
        free(search->servers[i].host);
    }
    free(search->servers);
    secret_release(&search->password);
}

static void add_candidate(struct search *search, const char *host, int port, int source,
                          int64_t wanted_id)
{
    for (size_t i = 0; i < search->count; i++)
        if (search->servers[i].port == port && strcasecmp(search->servers[i].host, host) == 0)
            return;
    if (search->count == FOUND_MAX)
        return;
    struct found found = {
        .host = mem_strdup(host), .port = port, .source = source, .wanted_id = wanted_id};
    VEC_PUSH(search->servers, search->count, search->capacity, found);
}

/* Those that report their address; for the others (no report_host) every address from which
 * somebody replicates, with the port that they do report, checked later by server_id. */
static void add_replicas(struct search *search, size_t source, const struct sql_result *answer)
{
    for (size_t row = 0; row < sql_rows(answer, 0); row++) {
        const char *host = sql_named(answer, 0, row, "Host");
        int port = (int)sql_number(sql_named(answer, 0, row, "Port"), 0);
        int64_t id = sql_number(sql_named(answer, 0, row, "Server_id"), 0);
        if (host && host[0])
            add_candidate(search, host, port, (int)source, id);
        for (size_t at = 0; at < sql_rows(answer, 1) && (!host || !host[0]); at++)
            add_candidate(search, sql_value(answer, 1, at, 0), port, (int)source, id);
    }
}

/* --- One wave --------------------------------------------------------------------------------- */

static void read_server(struct search *search, size_t index, struct sql_call *call)
{
    struct found *at = &search->servers[index];
    const struct sql_flavour *flavour = NULL;
    at->err = call->err;
    at->err.status = call->status;
    if (sql_conn_is_open(call->conn) &&
        sql_flavour_find(sql_conn_server_version(call->conn), &flavour, &at->err))
        err_wrap(&at->err, "%s:%d", at->host, at->port);
    if (at->err.status == ST_OK)
        status_ignore(flavour->read_observation(&call->result, &at->state, &at->err), "in at->err");
}

static void run_wave(struct search *search, size_t first)
{
    size_t count = search->count - first;
    AUTO_FREE struct sql_call *calls = mem_zalloc((count + 1) * sizeof(*calls));
    AUTO_FREE struct sql_call *looks = mem_zalloc((count + 1) * sizeof(*looks));
    AUTO(buf_release) struct buf observe = {0};
    AUTO(buf_release) struct buf list = {0};
    sql_mariadb.observe(&observe);
    sql_mariadb.list_replicas(&list);
    for (size_t i = 0; i < count; i++) {
        const struct found *at = &search->servers[first + i];
        struct sql_endpoint endpoint = {.host = at->host,
                                        .port = at->port,
                                        .user = search->user,
                                        .password = &search->password,
                                        .tls = search->tls};
        calls[i] = (struct sql_call){.conn = sql_conn_new(&endpoint), .sql = buf_text(&observe)};
    }
    sql_run(calls, count, clock_deadline(WAVE_MS));
    AUTO_FREE size_t *of = mem_zalloc((count + 1) * sizeof(*of));
    size_t open = 0;
    for (size_t i = 0; i < count; i++) {
        read_server(search, first + i, &calls[i]);
        if (search->servers[first + i].err.status)
            continue;
        of[open] = first + i;
        looks[open++] = (struct sql_call){.conn = calls[i].conn, .sql = buf_text(&list)};
    }
    sql_run(looks, open, clock_deadline(WAVE_MS));
    for (size_t i = 0; i < open; i++) {
        if (looks[i].status == ST_OK)
            add_replicas(search, of[i], &looks[i].result);
        else
            search->servers[of[i]].err = looks[i].err;
        sql_call_release(&looks[i]);
    }
    for (size_t i = 0; i < count; i++) {
        sql_call_release(&calls[i]);
        sql_conn_free(calls[i].conn);
    }
}

/* Behind a proxy or another network, an address may lead to another server, or to none. */
static void drop_wrong_addresses(struct search *search)
{
    for (size_t i = 0; i < search->count; i++) {
        struct found *at = &search->servers[i];
        if (at->err.status || !at->wanted_id || at->state.server_id == at->wanted_id)
            continue;
        at->is_wrong = true;
        err_set(&at->err, ST_NOT_FOUND, "the server_id there is %lld instead of %lld",
                (long long)at->state.server_id, (long long)at->wanted_id);
    }
}

static enum status explain_silence(const struct found *primary, struct err *err)
{
    *err = primary->err;
    if (err->hint[0])
        return err->status;
    if (err->status == ST_DENIED)
        return err_hint(err, "check --user and the password (--password-file, --password-env); "
                             "'holdfast fleet grants' prints the SQL that makes the account");
    if (err->status == ST_TIMEOUT)
        return err_hint(err, "is it a MariaDB server? does a firewall drop packets to port %d?",
                        primary->port);
    return err_hint(err,
                    "is it a MariaDB server? does it run, and listen on this address and "
                    "port %d?",
                    primary->port);
}

static enum status search_run(struct search *search, struct err *err)
{
    for (size_t first = 0, wave = 0; first < search->count && wave < WAVES_MAX; wave++) {
        size_t next = search->count;
        run_wave(search, first);
        first = next;
    }
    drop_wrong_addresses(search);
    const struct found *primary = &search->servers[0];
    if (primary->err.status)
        return explain_silence(primary, err);
    if (primary->state.channels > 0) {
        err_set(err, ST_INVALID, "%s:%d is no primary: it replicates from %s:%lld", primary->host,
                primary->port, primary->state.source_host, (long long)primary->state.source_port);
        return err_hint(err, "holdfast fleet discover %s:%lld", primary->state.source_host,
                        (long long)primary->state.source_port);
    }
    return ST_OK;
}

/* What is kept behind, or leaves something out, is no server to move to; nor is what follows it.
 * A found server stands after its source, so one pass does. */
static void guess_regions(struct search *search)
{
    for (size_t i = 1; i < search->count; i++) {
        struct found *at = &search->servers[i];
        bool is_partial =
            !at->err.status && (at->state.delay_s > 0 || at->state.replica_filters[0]);
        at->is_ignored = is_partial || search->servers[at->source].is_ignored;
        if (at->source == 0 && !at->is_ignored)
            at->region = at->err.status || !at->state.is_replica_semi_sync;
        else
            at->region = search->servers[at->source].region;
    }
}

/* --- The file --------------------------------------------------------------------------------- */

static enum status hint_help(struct err *err)
{
    return err_hint(err, "holdfast fleet discover --help");
}

static enum status set_regions(const char *names, struct inventory *inventory, struct err *err)
{
    const char *comma = strchr(names, ',');
    if (!comma || comma == names || !comma[1] || strchr(comma + 1, ',')) {
        err_set(err, ST_INVALID, "--regions: '%s' is not HOME,OTHER", names);
        return hint_help(err);
    }
    size_t length = (size_t)(comma - names);
    if (strlen(comma + 1) == length && strncmp(names, comma + 1, length) == 0) {
        err_set(err, ST_INVALID, "--regions: duplicate region '%s'", comma + 1);
        return hint_help(err);
    }
    inventory->regions[0] = strndup(names, length);
    inventory->regions[1] = mem_strdup(comma + 1);
    inventory->region_count = INVENTORY_REGIONS;
    return ST_OK;
}

static void set_account(struct inventory_account *account, const char *user, const char *file,
                        const char *variable)
{
    account->user = mem_strdup(user);
    account->password_file = variable ? NULL : mem_strdup(file);
    account->password_env = mem_strdup(variable);
}

static void set_tls(const struct cli_args *args, struct inventory_tls *tls)
{
    static const char *const names[] = {"--tls-ca", "--tls-cert", "--tls-key"};
    char **const files[] = {&tls->ca, &tls->cert, &tls->key};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *file = cli_text(args, names[i]);
        tls->is_on = tls->is_on || file;
        *files[i] = mem_strdup(file);
    }
    tls->verify = true;
}

static const char *replication_user(const struct search *search)
{
    for (size_t i = 1; i < search->count; i++)
        if (search->servers[i].err.status == ST_OK && search->servers[i].state.source_user[0])
            return search->servers[i].state.source_user;
    return "repl";
}

/* Home first, in a region its head first (the primary, the relay), then by address. */
static bool stands_before(const struct found *a, const struct found *b)
{
    if (a->region != b->region)
        return a->region < b->region;
    bool a_heads = a->source < (int)a->region, b_heads = b->source < (int)b->region;
    if (a_heads != b_heads)
        return a_heads;
    int order = strcmp(a->host, b->host);
    return order != 0 ? order < 0 : a->port < b->port;
}

static size_t *order_servers(const struct search *search)
{
    size_t *order = mem_zalloc((search->count + 1) * sizeof(*order));
    for (size_t i = 0; i < search->count; i++) {
        size_t at = i;
        for (; at > 0 && stands_before(&search->servers[i], &search->servers[order[at - 1]]); at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return order;
}

static enum status build(const struct search *search, const struct cli_args *args,
                         struct inventory *inventory, struct err *err)
{
    const char *file = cli_text(args, "--password-file"), *store = cli_text(args, "--store");
    const char *regions = cli_text(args, "--regions");
    enum status status = set_regions(regions ? regions : "west,east", inventory, err);
    inventory->promise_rto_ms = RTO_MS;
    inventory->promise_rpo_ms = RPO_MS;
    inventory->store_url = mem_strdup(store ? store : "file:///var/lib/holdfast");
    set_account(&inventory->credentials, search->user, file ? file : "holdfast.password",
                cli_text(args, "--password-env"));
    set_account(&inventory->replication, replication_user(search), "repl.password", NULL);
    set_tls(args, &inventory->tls);
    struct inventory_shard *shard = inventory_add_shard(inventory, "main", "main-0");
    AUTO_FREE size_t *order = order_servers(search);
    for (size_t i = 0; i < search->count && !status; i++) {
        const struct found *at = &search->servers[order[i]];
        if (at->is_wrong)
            continue;
        AUTO_FREE char *address = strchr(at->host, ':') ? mem_printf("[%s]:%d", at->host, at->port)
                                                        : mem_printf("%s:%d", at->host, at->port);
        status = at->is_ignored ? inventory_add_ignored(shard, at->region, address, err)
                                : inventory_add_server(shard, at->region, address, err);
    }
    return status;
}

static void write_ignored(const struct found *at, const struct found *source, struct buf *text)
{
    buf_printf(text, "# ignored, and so never moved to: %s:%d: ", at->host, at->port);
    if (!at->err.status && at->state.delay_s > 0)
        buf_printf(text, "it is kept %lld s behind\n", (long long)at->state.delay_s);
    else if (!at->err.status && at->state.replica_filters[0])
        buf_printf(text, "it has a filter: %s\n", at->state.replica_filters);
    else
        buf_printf(text, "it replicates from %s:%d, which is ignored\n", source->host,
                   source->port);
}

static void write_comments(const struct search *search, const struct inventory *inventory,
                           struct buf *text)
{
    buf_printf(
        text,
        "# Found by 'holdfast fleet discover %s:%d'. Check before use:\n"
        "#   regions, and which server is where: guessed, acknowledging (semi-sync) replicas "
        "of\n"
        "#     the primary as its region '%s', everything else as '%s'\n"
        "#   the names of the deployment and the shard; add the other shards\n"
        "#   promise, store, and the password files of 'credentials' and 'replication'\n"
        "#   add 'probe: { user: probe, password_file: probe.password }': without it the outages\n"
        "#     of a switchover are not measured\n"
        "#   then: holdfast fleet check; holdfast readiness\n",
        search->servers[0].host, search->servers[0].port, inventory->regions[0],
        inventory->regions[1]);
    for (size_t i = 0; i < search->count; i++) {
        const struct found *at = &search->servers[i];
        if (at->is_wrong)
            buf_printf(text, "# not included: %s:%d: %s\n", at->host, at->port, at->err.text);
        else if (at->err.status)
            buf_printf(text, "# CHECK, could not be looked at: %s\n", at->err.text);
        if (at->is_ignored && !at->is_wrong)
            write_ignored(at, &search->servers[at->source], text);
    }
}

static void print_json(const struct search *search, const struct inventory *inventory,
                       const char *yaml)
{
    json_t *servers = json_array();
    for (size_t i = 0; i < search->count; i++) {
        const struct found *at = &search->servers[i];
        const struct found *source = at->source < 0 ? NULL : &search->servers[at->source];
        AUTO_FREE char *from = source ? mem_printf("%s:%d", source->host, source->port) : NULL;
        if (!at->is_wrong)
            json_array_append_new(servers, json_pack("{s:s, s:i, s:s, s:b, s:s?, s:s?}", "host",
                                                     at->host, "port", at->port, "region",
                                                     inventory->regions[at->region], "ignored",
                                                     at->is_ignored, "source", from, "error",
                                                     at->err.status ? at->err.text : NULL));
    }
    json_t *json = json_pack("{s:o, s:s}", "servers", servers, "file", yaml);
    json_dumpf(json, stdout, JSON_INDENT(2));
    puts("");
    json_decref(json);
}

/* What the options gave is read as it would be from the file: refused in the same words, and before
 * anything is connected to. The place in that file means nothing to anybody. */
static enum status check_options(const struct search *search, const struct cli_args *args,
                                 struct err *err)
{
    static const char name[] = "options:";
    AUTO(inventory_freep) struct inventory *inventory = inventory_new();
    AUTO(inventory_freep) struct inventory *parsed = NULL;
    AUTO(buf_release) struct buf text = {0};
    struct err why = ERR_INIT;
    enum status status = build(search, args, inventory, err);
    if (status)
        return status;
    inventory_write(inventory, &text);
    status = inventory_parse(buf_text(&text), text.length, "options", &parsed, &why);
    if (!status)
        return ST_OK;
    const char *place = strncmp(why.text, name, strlen(name)) == 0 ? strchr(why.text, ' ') : NULL;
    err_set(err, status, "%s", place ? place + 1 : why.text);
    return why.hint[0] ? err_hint(err, "%s", why.hint) : hint_help(err);
}

/* Before the search, so that nobody waits for what cannot be kept. */
static enum status check_target(const char *path, struct err *err)
{
    if (!path)
        return ST_OK;
    if (access(path, F_OK) == 0) {
        err_set(err, ST_EXISTS, "'%s' exists; it is left as it is", path);
        return err_hint(err, "name another file with --fleet, or remove this one");
    }
    const char *slash = strrchr(path, '/');
    AUTO_FREE char *folder = !slash          ? mem_strdup(".")
                             : slash == path ? mem_strdup("/")
                                             : strndup(path, (size_t)(slash - path));
    if (access(folder, W_OK | X_OK) == 0)
        return ST_OK;
    err_set_errno(err, errno, "write", path);
    return err_hint(err, "the folder %s has to be there, and writable", folder);
}

static enum status deliver(const struct search *search, const struct cli_args *args,
                           struct err *err)
{
    AUTO(inventory_freep) struct inventory *inventory = inventory_new();
    AUTO(buf_release) struct buf text = {0};
    const char *path = cli_text(args, "--fleet");
    enum status status = build(search, args, inventory, err);
    if (status)
        return status;
    write_comments(search, inventory, &text);
    inventory_write(inventory, &text);
    status = check_target(path, err);
    if (status)
        return status;
    if (path)
        status = file_write(path, text.data, text.length, 0644, err);
    if (cli_flag(args, "--json"))
        print_json(search, inventory, buf_text(&text));
    else if (!path)
        fputs(buf_text(&text), stdout);
    return status;
}

/* --- The command ------------------------------------------------------------------------------ */

static enum status read_password(const struct cli_args *args, struct secret *ret, struct err *err)
{
    const char *variable = cli_text(args, "--password-env");
    const char *file = cli_text(args, "--password-file");
    if (variable) {
        const char *text = getenv(variable);
        if (!text) {
            err_set(err, ST_INVALID, "the environment has no variable %s", variable);
            return err_hint(err, "put the password into it, or use --password-file");
        }
        secret_set(ret, text, strlen(text));
        return ST_OK;
    }
    AUTO_FREE char *text = NULL;
    bool is_exposed = false;
    enum status status =
        file_read_secret(file ? file : "holdfast.password", &text, &is_exposed, err);
    if (status)
        return err_hint(err, "name it with --password-file, or use --password-env");
    secret_set(ret, text, strlen(text));
    explicit_bzero(text, strlen(text));
    return ST_OK;
}

/* The inventory knows how to read an address; a scratch one reads this. */
static enum status read_address(const char *text, struct search *search, struct err *err)
{
    AUTO(inventory_freep) struct inventory *scratch = inventory_new();
    struct inventory_shard *shard = inventory_add_shard(scratch, "d", "s");
    if (inventory_add_server(shard, 0, text, err))
        return err->status;
    add_candidate(search, shard->servers[0].host, shard->servers[0].port, -1, 0);
    return ST_OK;
}

enum status fleet_discover(const struct cli_args *args, struct err *err)
{
    AUTO(search_release) struct search search = {0};
    const char *user = cli_text(args, "--user");
    struct sql_tls tls = {cli_text(args, "--tls-ca"), cli_text(args, "--tls-cert"),
                          cli_text(args, "--tls-key"), true};
    search.user = user ? user : "holdfast";
    search.tls = tls.ca ? &tls : NULL;
    enum status status = read_address(cli_operand(args, 0), &search, err);
    status = status ? status : check_options(&search, args, err);
    status = status ? status : check_target(cli_text(args, "--fleet"), err);
    status = status ? status : read_password(args, &search.password, err);
    status = status ? status : search_run(&search, err);
    if (status)
        return status;
    guess_regions(&search);
    return deliver(&search, args, err);
}

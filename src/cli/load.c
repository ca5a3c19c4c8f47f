/* SPDX-License-Identifier: Apache-2.0
 * 'holdfast load ...': writers on every shard that check what became of their writes. */
#include "load/load.h"

#include "base/mem.h"
#include "base/scope.h"
#include "base/secret.h"
#include "cli/internal.h"
#include "fleet/inventory.h"
#include "os/file.h"
#include "store/store.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum {
    SECONDS_DEFAULT = 10,
    SECONDS_MAX = 7 * 24 * 3600,
    WRITERS_DEFAULT = 4,
    RATE_DEFAULT = 25,
    VERIFY_S_DEFAULT = 30,
};

/* --- interruption and progress --------------------------------------------------------------- */

static volatile sig_atomic_t was_interrupted;

static void on_interrupt(int signal UNUSED)
{
    was_interrupted = 1;
}

static bool is_interrupted(void)
{
    return was_interrupted != 0;
}

/* The first signal ends the writing; the second one ends the process. */
static void catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* One line that is written over; only for a terminal. */
static void show_progress(const struct load_progress *progress)
{
    if (progress->elapsed > progress->duration)
        printf("\r\033[K%" PRIu64 " writes; verifying on all servers ...", progress->acknowledged);
    else
        printf("\r\033[K%5.1f of %.0f s  %" PRIu64
               " writes  %.0f a second  %zu of %zu shards serve",
               clock_ms(progress->elapsed) / 1000, clock_ms(progress->duration) / 1000,
               progress->acknowledged, progress->rate,
               progress->shard_count - progress->silent_count, progress->shard_count);
    fflush(stdout);
}

/* --- what a command works with --------------------------------------------------------------- */

struct session {
    struct inventory *fleet;
    struct store *store;
    struct secret password;
    const char **shards;
    struct load_request request;
};

static void session_release(struct session *session)
{
    store_close(session->store);
    secret_release(&session->password);
    inventory_free(session->fleet);
    free(session->shards);
}

/* The options, else the fleet file's 'probe'. Its 'credentials' would write past a freeze. */
static enum status choose_account(const struct cli_args *args, struct session *session,
                                  struct err *err)
{
    const char *user = cli_text(args, "--user"), *path = cli_text(args, "--password-file");
    session->request.user = user ? user : session->fleet->probe.user;
    session->request.password = user ? &session->password : &session->fleet->probe.password;
    if (!session->request.user) {
        err_set(err, ST_INVALID, "the fleet file names no account for writes");
        return err_hint(err, "add 'probe: { user: probe, password_file: probe.password }', or "
                             "--user USER --password-file FILE; see 'holdfast fleet grants'");
    }
    if (path && !user)
        return err_set(err, ST_INVALID, "option --password-file goes with --user");
    if (!path)
        return ST_OK;
    AUTO_FREE char *text = NULL;
    bool is_exposed = false;
    enum status status = file_read_secret(path, &text, &is_exposed, err);
    if (!status)
        secret_set(&session->password, text, strlen(text));
    return status;
}

static enum status session_open(const struct cli_args *args, struct session *session,
                                struct err *err)
{
    const char *path = inventory_path(cli_text(args, "--fleet"));
    enum status status = inventory_load(path, &session->fleet, err);
    status = status ? status : choose_account(args, session, err);
    if (!status)
        status = inventory_open_store(session->fleet,
                                      store_url_deadline(session->fleet->store_url, STORE_WORK),
                                      &session->store, err);
    if (status)
        return status;
    const char *database = cli_text(args, "--database");
    size_t shards = cli_text_count(args, "--shard");
    session->shards = mem_zalloc((shards + 1) * sizeof(char *));
    for (size_t i = 0; i < shards; i++)
        session->shards[i] = cli_text_at(args, "--shard", i);
    session->request.fleet = session->fleet;
    session->request.store = session->store;
    session->request.shards = session->shards;
    session->request.shard_count = shards;
    session->request.database = database ? database : LOAD_DATABASE;
    return ST_OK;
}

/* --- the commands ---------------------------------------------------------------------------- */

static enum status run_run(const struct cli_args *args, struct err *err)
{
    AUTO(session_release) struct session session = {0};
    AUTO(load_report_release) struct load_report report = {0};
    AUTO(buf_release) struct buf text = {0};
    bool is_json = cli_flag(args, "--json"), is_live = !is_json && isatty(STDOUT_FILENO);
    enum status status = session_open(args, &session, err);
    if (status)
        return status;
    struct load_request *request = &session.request;
    request->duration_ms = cli_number(args, "--seconds", SECONDS_DEFAULT) * 1000;
    request->writers = (size_t)cli_number(args, "--writers", WRITERS_DEFAULT);
    request->rate = cli_number(args, "--rate", RATE_DEFAULT);
    request->verify_ms = cli_number(args, "--verify-seconds", VERIFY_S_DEFAULT) * 1000;
    request->is_interrupted = is_interrupted;
    request->on_progress = is_live ? show_progress : NULL;
    catch_interrupts();
    status = load_run(request, &report, err);
    if (is_live)
        fputs("\r\033[K", stdout);
    if (status)
        return status;
    if (is_json)
        load_report_encode(&report, &text);
    else
        load_report_format(&report, &text);
    fputs(buf_text(&text), stdout);
    return load_verdict(&report, err);
}

static enum status run_clean(const struct cli_args *args, struct err *err)
{
    AUTO(session_release) struct session session = {0};
    uint64_t rows = 0;
    enum status status = session_open(args, &session, err);
    status = status ? status : load_clean(&session.request, &rows, err);
    if (!status)
        printf("%" PRIu64 " rows of earlier load runs removed.\n", rows);
    return status;
}

/* --- the table ------------------------------------------------------------------------------- */

/* clang-format off */
#define FLEET_OPTION                                                                               \
    {.name = "--fleet", .kind = OPTION_TEXT, .value = "FILE",                                      \
     .help = "the fleet file; else $HOLDFAST_FLEET, else holdfast.yaml"}
#define ACCOUNT_OPTIONS                                                                            \
    {.name = "--shard", .kind = OPTION_TEXT, .value = "NAME", .is_repeated = true,                 \
     .help = "only this shard; may be given several times"},                                       \
    {.name = "--user", .kind = OPTION_TEXT, .value = "USER",                                       \
     .help = "another account than the fleet file's 'probe'"},                                     \
    {.name = "--password-file", .kind = OPTION_TEXT, .value = "FILE", .help = "its password"},     \
    {.name = "--database", .kind = OPTION_TEXT, .value = "NAME",                                   \
     .help = "where the table load_row is; holdfast if not given"}

static const struct cli_option run_options[] = {
    FLEET_OPTION,
    {.name = "--seconds", .kind = OPTION_NUMBER, .value = "S",
     .help = "how long to write; 10 if not given", .minimum = 1, .maximum = SECONDS_MAX},
    {.name = "--writers", .kind = OPTION_NUMBER, .value = "N",
     .help = "writers on each shard; 4 if not given", .minimum = 1, .maximum = LOAD_WRITERS_MAX},
    {.name = "--rate", .kind = OPTION_NUMBER, .value = "R",
     .help = "writes a second of each writer; 25 if not given, 0 for as fast as it can",
     .minimum = 0, .maximum = LOAD_RATE_MAX},
    ACCOUNT_OPTIONS,
    {.name = "--verify-seconds", .kind = OPTION_NUMBER, .value = "S",
     .help = "how long replicas may take to catch up at the end; 30 if not given",
     .minimum = 1, .maximum = 3600},
    {.name = "--json", .kind = OPTION_FLAG, .help = "print the result as JSON"},
    {0},
};

static const struct cli_option clean_options[] = {FLEET_OPTION, ACCOUNT_OPTIONS, {0}};
/* clang-format on */

static const char run_details[] =
    "Each writer inserts rows numbered 1, 2, 3, ... into holdfast.load_row of its shard, follows\n"
    "the shard's primary, and remembers which were acknowledged. At the end every row is looked\n"
    "for on every server: acknowledged and missing is lost, there twice is duplicated. The\n"
    "longest gap is the longest time in which no writer of a shard got an acknowledgement.\n"
    "\n"
    "Ctrl-C ends the writing; what was written is verified all the same. The exit status is not\n"
    "zero when anything is lost, duplicated or unexpected, or when a server could not be\n"
    "verified. The rows stay until 'holdfast load clean'.";

const struct cli_command load_commands[] = {
    {.path = "load run",
     .operands = "",
     .summary = "Write to every shard, then verify each acknowledged write on all servers",
     .details = run_details,
     .options = run_options,
     .run = run_run},
    {.path = "load clean",
     .operands = "",
     .summary = "Remove the rows of earlier load runs",
     .options = clean_options,
     .run = run_clean},
    {0},
};

/* SPDX-License-Identifier: Apache-2.0
 * 'holdfast lab ...': a fleet on this machine to try Holdfast on, and its disasters. */
#include "lab/lab.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/internal.h"
#include "show/lab.h"

#include <signal.h>
#include <string.h>

enum { SHARDS_DEFAULT = 1, LOOK_MS = 1000, PERCENT_PPM = 10000 };

#define DIR_OPTION                                                                                 \
    {                                                                                              \
        .name = "--dir", .kind = OPTION_TEXT, .value = "DIR",                                      \
        .help = "the lab's folder; see 'holdfast lab up --help'"                                   \
    }

/* --- Progress and interruption ---------------------------------------------------------------- */

static volatile sig_atomic_t was_interrupted;

static void on_interrupt(int signal UNUSED)
{
    was_interrupted = 1;
}

static bool is_interrupted(void)
{
    return was_interrupted != 0;
}

static void say(const char *line)
{
    puts(line);
    fflush(stdout);
}

static const struct lab_progress progress = {say, is_interrupted};

/* From here on, what would end the process makes it undo what it did. */
static void catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        sigaction(signals[i], &action, NULL);
}

/* " --dir DIR" where the user has to say it again. */
static char *dir_words(const struct cli_args *args)
{
    const char *dir = cli_text(args, "--dir");
    return dir ? mem_printf(" --dir %s", dir) : mem_strdup("");
}

/* --- The lab meant, and its servers ----------------------------------------------------------- */

static enum status open_lab(const struct cli_args *args, struct lab **ret, struct err *err)
{
    AUTO_FREE char *dir = NULL;
    enum status status = lab_folder(cli_text(args, "--dir"), &dir, err);
    return status ? status : lab_open(dir, ret, err);
}

static enum status choose(const struct cli_args *args, struct lab *lab, struct lab_choice *ret,
                          struct err *err)
{
    enum status status = ST_OK;
    for (size_t i = 0; i < cli_operand_count(args) && !status; i++)
        status = lab_choose(lab, cli_operand(args, i), ret, err);
    return status;
}

/* --- up ----------------------------------------------------------------------------------------
 */

static void say_next(const struct cli_args *args, const struct lab *lab)
{
    AUTO_FREE char *fleet = lab_fleet_path(lab), *dir = dir_words(args);
    printf("Next:\n"
           "  export HOLDFAST_FLEET=%s\n"
           "  holdfast status\n"
           "  holdfast switchover --to %s\n"
           "  holdfast lab status%s\n"
           "  holdfast lab down%s\n",
           fleet, lab_region_name(1), dir, dir);
}

/* " s0-west-1 s0-west-3": those to restart; " NAME..." when there are too many to type. */
static char *down_words(const struct lab *lab)
{
    enum { WORDS_MAX = LAB_SHARD_SERVERS };
    AUTO(buf_release) struct buf words = {0};
    size_t count = 0;
    for (size_t i = 0; i < lab->server_count; i++)
        if (!process_is_alive(&lab->servers[i].process) && count++ < WORDS_MAX)
            buf_printf(&words, " %s", lab->servers[i].name);
    for (size_t i = 0; i < lab->daemon_count; i++)
        if (!process_is_alive(&lab->daemons[i].process) && count++ < WORDS_MAX)
            buf_printf(&words, " %s", lab->daemons[i].name);
    return count && count <= WORDS_MAX ? buf_take(&words) : mem_strdup(" NAME...");
}

/* "0.1": percent. */
static enum status read_loss(const char *text, int *ret_ppm, struct err *err)
{
    char *end = NULL;
    double percent = strtod(text, &end);
    if (end != text && !*end && percent >= 0 && percent * PERCENT_PPM <= LAB_LOSS_MAX_PPM) {
        *ret_ppm = (int)(percent * PERCENT_PPM + 0.5);
        return ST_OK;
    }
    err_set(err, ST_INVALID, "--wan-loss '%s' is no loss that can be", text);
    return err_hint(err, "a percentage, as 0.1; %d at most", LAB_LOSS_MAX_PPM / PERCENT_PPM);
}

/* Those that are given. */
static enum status read_numbers(const struct cli_args *args, struct lab_network *network,
                                struct err *err)
{
    const char *loss = cli_text(args, "--wan-loss");
    network->rtt_ms = (int)cli_number(args, "--wan-rtt", network->rtt_ms);
    network->jitter_ms = (int)cli_number(args, "--wan-jitter", network->jitter_ms);
    network->mbit_s = (int)cli_number(args, "--wan-mbit", network->mbit_s);
    return loss ? read_loss(loss, &network->loss_ppm, err) : ST_OK;
}

/* The same, as the fleet file has them. */
static enum status read_policy(const struct cli_args *args, struct lab_policy *policy,
                               struct err *err)
{
    const char *ttl = cli_text(args, "--ttl"), *automatic = cli_text(args, "--automatic");
    int64_t ttl_ms = policy->ttl_ms;
    if (ttl && (!clock_parse_span(ttl, &ttl_ms) || ttl_ms < INVENTORY_TTL_MS_MIN ||
                ttl_ms > INVENTORY_TTL_MS_MAX)) {
        err_set(err, ST_INVALID, "--ttl '%s' is no TTL that can be", ttl);
        return err_hint(err, "from %dms to %ds, as 3s", INVENTORY_TTL_MS_MIN,
                        INVENTORY_TTL_MS_MAX / 1000);
    }
    policy->ttl_ms = (int)ttl_ms;
    return automatic ? lab_automatic(automatic, &policy->automatic, err) : ST_OK;
}

static bool is_same_network(const struct cli_args *args, const struct lab *lab)
{
    const char *wanted = cli_text(args, "--network");
    struct lab_network network = lab->network;
    return (!wanted || (strcmp(wanted, "netns") == 0) == network.is_netns) &&
           !read_numbers(args, &network, NULL) && network.rtt_ms == lab->network.rtt_ms &&
           network.jitter_ms == lab->network.jitter_ms &&
           network.loss_ppm == lab->network.loss_ppm && network.mbit_s == lab->network.mbit_s;
}

static bool is_same_policy(const struct cli_args *args, const struct lab *lab)
{
    struct lab_policy wanted = lab->policy;
    return !read_policy(args, &wanted, NULL) && wanted.ttl_ms == lab->policy.ttl_ms &&
           wanted.automatic == lab->policy.automatic;
}

/* A second 'up' is fine when what it asks for runs already. */
static enum status already_up(const struct cli_args *args, const char *dir, struct err *err)
{
    AUTO(lab_freep) struct lab *lab = NULL;
    AUTO_FREE char *words = dir_words(args);
    if (lab_open(dir, &lab, err))
        return err->status;
    size_t running = lab_running(lab), all = lab->server_count + lab->daemon_count;
    long wanted = cli_number(args, "--shards", (long)lab->shard_count);
    bool is_same = wanted == (long)lab->shard_count && (lab->is_tls || !cli_flag(args, "--tls")) &&
                   (lab->has_daemons || !cli_flag(args, "--daemons")) &&
                   is_same_network(args, lab) && is_same_policy(args, lab);
    if (running == all && is_same) {
        printf("The lab in %s runs already: %zu servers%s, port %d.\n", lab->dir, lab->server_count,
               lab->has_daemons ? " and their daemons" : "", lab->port);
        say_next(args, lab);
        return ST_OK;
    }
    err_set(err, ST_EXISTS, "there is a lab of %zu %s%s%s in %s already; %zu of its %zu %s run",
            lab->shard_count, lab->shard_count == 1 ? "shard" : "shards",
            lab->is_tls ? " with TLS" : "", lab->has_daemons ? " with daemons" : "", lab->dir,
            running, all, lab->has_daemons ? "processes" : "servers");
    if (running < all) {
        AUTO_FREE char *down = down_words(lab);
        return err_hint(err, "holdfast lab restart%s%s, or holdfast lab down%s", down, words,
                        words);
    }
    return err_hint(err, "holdfast lab down%s, or another folder: --dir DIR", words);
}

/* Where nothing is said: namespaces, if they can be had. */
static enum status read_network(const struct cli_args *args, struct lab_shape *ret, struct err *err)
{
    const char *name = cli_text(args, "--network");
    bool is_netns = !name || strcmp(name, "netns") == 0;
    if (!is_netns && strcmp(name, "loopback") != 0) {
        err_set(err, ST_INVALID, "a lab has no network '%s'", name);
        return err_hint(err, "it has loopback, or netns");
    }
    struct lab_network network = {.is_netns = is_netns};
    enum status status = read_numbers(args, &network, err);
    if (status)
        return status;
    bool is_apart = network.rtt_ms || network.jitter_ms || network.loss_ppm || network.mbit_s;
    if (!is_netns && is_apart) {
        err_set(err, ST_INVALID, "on the loopback, regions cannot be apart");
        return err_hint(err, "with --network netns they can");
    }
    ret->network = network;
    ret->may_be_loopback = !name && !is_apart;
    return ST_OK;
}

/* They say something to daemons only. */
static enum status refuse_needless(const struct cli_args *args, struct err *err)
{
    const char *option = cli_text(args, "--ttl") ? "--ttl" : "--automatic";
    if (cli_flag(args, "--daemons") || !cli_text(args, option))
        return ST_OK;
    err_set(err, ST_INVALID, "%s is for daemons, and this lab has none", option);
    return err_hint(err, "add --daemons");
}

static enum status run_up(const struct cli_args *args, struct err *err)
{
    AUTO_FREE char *dir = NULL;
    AUTO(lab_freep) struct lab *lab = NULL;
    nsec start = clock_now();
    enum status status = lab_folder(cli_text(args, "--dir"), &dir, err);
    if (status)
        return status;
    catch_interrupts();
    struct lab_shape shape = {.shards = (size_t)cli_number(args, "--shards", SHARDS_DEFAULT),
                              .is_tls = cli_flag(args, "--tls"),
                              .has_daemons = cli_flag(args, "--daemons"),
                              .policy.automatic = AUTOMATIC_HOST};
    status = read_network(args, &shape, err);
    status = status ? status : read_policy(args, &shape.policy, err);
    status = status ? status : refuse_needless(args, err);
    if (!status)
        status = lab_up(dir, &shape, &progress, &lab, err);
    if (status == ST_EXISTS)
        return already_up(args, dir, err);
    if (status)
        return status;
    printf("The lab is up after %.1f s, in %s\n", clock_ms(clock_now() - start) / 1000, lab->dir);
    say_next(args, lab);
    return ST_OK;
}

/* --- status ------------------------------------------------------------------------------------
 */

static enum status run_status(const struct cli_args *args, struct err *err)
{
    AUTO(lab_freep) struct lab *lab = NULL;
    enum status status = open_lab(args, &lab, err);
    if (status)
        return status;
    AUTO_FREE struct lab_view *views = mem_zalloc(lab->server_count * sizeof(*views));
    lab_observe(lab, LOOK_MS, views);
    if (cli_flag(args, "--json"))
        show_lab_json(lab, views);
    else
        show_lab(lab, views);
    return ST_OK;
}

/* --- kill, freeze, thaw, restart, down ---------------------------------------------------------
 */

typedef enum status disaster_fn(struct lab *lab, const struct lab_choice *choice, struct err *err);

static enum status run_disaster(const struct cli_args *args, disaster_fn *disaster,
                                const char *done, struct err *err)
{
    AUTO(lab_freep) struct lab *lab = NULL;
    AUTO(lab_choice_release) struct lab_choice choice = {0};
    enum status status = open_lab(args, &lab, err);
    status = status ? status : choose(args, lab, &choice, err);
    status = status ? status : disaster(lab, &choice, err);
    if (status)
        return status;
    printf("%s:", done);
    for (size_t i = 0; i < choice.count; i++)
        printf(" %s", choice.servers[i]->name);
    for (size_t i = 0; i < choice.daemon_count; i++)
        printf(" %s", choice.daemons[i]->name);
    puts("");
    return ST_OK;
}

static enum status run_kill(const struct cli_args *args, struct err *err)
{
    return run_disaster(args, lab_kill, "killed", err);
}

static enum status run_freeze(const struct cli_args *args, struct err *err)
{
    return run_disaster(args, lab_freeze, "frozen", err);
}

static enum status run_thaw(const struct cli_args *args, struct err *err)
{
    return run_disaster(args, lab_thaw, "thawed", err);
}

static enum status run_restart(const struct cli_args *args, struct err *err)
{
    AUTO(lab_freep) struct lab *lab = NULL;
    AUTO(lab_choice_release) struct lab_choice choice = {0};
    enum status status = open_lab(args, &lab, err);
    status = status ? status : choose(args, lab, &choice, err);
    return status ? status : lab_restart(lab, &choice, cli_flag(args, "--bare"), &progress, err);
}

static enum status run_down(const struct cli_args *args, struct err *err)
{
    AUTO_FREE char *dir = NULL;
    size_t ended = 0;
    enum status status = lab_folder(cli_text(args, "--dir"), &dir, err);
    status = status ? status : lab_down(dir, &ended, err);
    if (status == ST_NOT_FOUND) {
        *err = (struct err)ERR_INIT;
        printf("There is no lab in %s.\n", dir);
        return ST_OK;
    }
    if (!status)
        printf("The lab in %s is gone: %zu processes ended.\n", dir, ended);
    return status;
}

/* --- unplug, plug -------------------------------------------------------------------------------
 */

static enum status run_cut(const struct cli_args *args, bool is_cut, struct err *err)
{
    AUTO(lab_freep) struct lab *lab = NULL;
    size_t from = 0, to = LAB_SITES;
    const char *to_name = cli_text(args, "--to");
    enum status status = open_lab(args, &lab, err);
    status = status ? status : lab_site(cli_operand(args, 0), &from, err);
    if (to_name && !status)
        status = lab_site(to_name, &to, err);
    status = status ? status : lab_cut(lab, from, to, is_cut, err);
    if (status)
        return status;
    printf("%s: %s%s%s\n", is_cut ? "unplugged" : "plugged", lab_region_name(from),
           to_name ? " to " : "", to_name ? to_name : "");
    return ST_OK;
}

static enum status run_unplug(const struct cli_args *args, struct err *err)
{
    return run_cut(args, true, err);
}

static enum status run_plug(const struct cli_args *args, struct err *err)
{
    return run_cut(args, false, err);
}

static enum status run_leader(const struct cli_args *args, struct err *err)
{
    AUTO(lab_freep) struct lab *lab = NULL;
    size_t site = 0;
    enum status status = open_lab(args, &lab, err);
    status = status ? status : lab_site(cli_operand(args, 0), &site, err);
    status = status ? status : lab_leader_move(lab, site, err);
    if (!status)
        printf("etcd is led from: %s\n", lab_region_name(site));
    return status;
}

/* --- keep, join
 * ---------------------------------------------------------------------------------------
 */

static enum status run_keep(const struct cli_args *args, struct err *err)
{
    AUTO_FREE char *dir = NULL;
    enum status status = lab_folder(cli_text(args, "--dir"), &dir, err);
    return status ? status : lab_keep(dir, cli_operand(args, 0), &progress, err);
}

static enum status run_join(const struct cli_args *args, struct err *err)
{
    AUTO_FREE char *dir = NULL;
    enum status status = lab_folder(cli_text(args, "--dir"), &dir, err);
    return status ? status : lab_join(dir, err);
}

/* --try: says why there can be none here; nothing when there can. */
static enum status run_join_or_try(const struct cli_args *args, struct err *err)
{
    if (!cli_flag(args, "--try"))
        return run_join(args, err);
    if (lab_join_try(err)) {
        puts(err->text);
        *err = (struct err)ERR_INIT;
    }
    return ST_OK;
}

/* --- The table ---------------------------------------------------------------------------------
 */

static const struct cli_option up_options[] = {
    {.name = "--shards",
     .kind = OPTION_NUMBER,
     .value = "N",
     .help = "how many shards, of six servers each; 1 if not given",
     .minimum = 1,
     .maximum = LAB_SHARDS_MAX},
    {.name = "--tls",
     .kind = OPTION_FLAG,
     .help = "TLS everywhere, with certificates of its own; clear text is refused"},
    {.name = "--daemons",
     .kind = OPTION_FLAG,
     .help = "with an etcd of three members, conductors, and an agent on each host"},
    {.name = "--ttl",
     .kind = OPTION_TEXT,
     .value = "TIME",
     .help = "with daemons: how long a permission to serve lasts, as 3s; 2s if not given"},
    {.name = "--automatic",
     .kind = OPTION_TEXT,
     .value = "WHAT",
     .help = "with daemons: the loss of what is healed by itself: none, host, or region (and host);"
             " host if not given"},
    {.name = "--network",
     .kind = OPTION_TEXT,
     .value = "KIND",
     .help = "netns: a network namespace for each region, or loopback; if not given, netns where "
             "it can be had"},
    {.name = "--wan-rtt",
     .kind = OPTION_NUMBER,
     .value = "MS",
     .help = "with netns: the round-trip time between regions; 0 if not given",
     .minimum = 0,
     .maximum = LAB_RTT_MAX_MS},
    {.name = "--wan-jitter",
     .kind = OPTION_NUMBER,
     .value = "MS",
     .help = "the same: up to so much more in each direction, differently for each packet",
     .minimum = 0,
     .maximum = LAB_RTT_MAX_MS},
    {.name = "--wan-loss",
     .kind = OPTION_TEXT,
     .value = "PERCENT",
     .help = "the same: how many packets are lost in each direction, as 0.1"},
    {.name = "--wan-mbit",
     .kind = OPTION_NUMBER,
     .value = "N",
     .help = "the same: Mbit/s in each direction between two regions; no limit if not given",
     .minimum = 1,
     .maximum = LAB_MBIT_MAX},
    {.name = "--dir", .kind = OPTION_TEXT, .value = "DIR", .help = "the lab's folder"},
    {0},
};

static const char up_details[] =
    "Real MariaDB servers on loopback addresses, six a shard: three in each of the regions\n"
    "west and east. West is home. A shard takes about 200 MB of memory and, new, 150 MB of\n"
    "disk.\n"
    "\n"
    "The lab is in one folder: that of --dir, else $HOLDFAST_LAB, else\n"
    "$XDG_STATE_HOME/holdfast/lab, else ~/.local/state/holdfast/lab. It runs on until\n"
    "'holdfast lab down'. If it does not come up, nothing is left of it.\n"
    "\n"
    "With --daemons also what looks after a fleet: an etcd of three members, the third at a\n"
    "witness's site, two conductors a region, and an agent on each host; a server is then on "
    "a\n"
    "host (west-1: server 1 of west of every shard), which can be lost as a whole.\n"
    "\n"
    "Each region, and the witness's site, is in a network namespace, and can be unplugged "
    "from\n"
    "the others. Addresses are the same as on the loopback, and work from the host as well,\n"
    "also into a region that is unplugged. That needs root, or a kernel that lets users make\n"
    "namespaces, and /dev/net/tun; where it cannot be had, the lab is on the loopback, and "
    "says\n"
    "why. --network says which of the two it must be. The namespace of a region is\n"
    "DIR/net/REGION: nsenter --net=DIR/net/west COMMAND runs a command there.\n"
    "\n"
    "The server program is mariadbd of the PATH, or $HOLDFAST_MARIADBD. An empty data folder\n"
    "is kept in $XDG_CACHE_HOME/holdfast, or ~/.cache/holdfast, for the next lab.";

static const struct cli_option status_options[] = {
    DIR_OPTION,
    {.name = "--json", .kind = OPTION_FLAG, .help = "print JSON, with addresses and passwords"},
    {0},
};

static const struct cli_option cut_options[] = {
    {.name = "--to",
     .kind = OPTION_TEXT,
     .value = "REGION",
     .help = "only what goes from the first to this one; the way back stays as it is"},
    DIR_OPTION,
    {0},
};

static const struct cli_option dir_options[] = {DIR_OPTION, {0}};
static const struct cli_option join_options[] = {
    DIR_OPTION,
    {.name = "--try", .kind = OPTION_FLAG, .help = "only say why there can be none here"},
    {0},
};
static const struct cli_option restart_options[] = {
    DIR_OPTION,
    {.name = "--bare", .kind = OPTION_FLAG, .help = "leave replication as the restart left it"},
    {0},
};

#define CHOICE_DETAILS                                                                             \
    "A NAME is a server (s0-west-1), a host (west-1: that server of every shard), or a region\n"   \
    "(west). Several may be given. In a lab with daemons also one of them (agent-west-1,\n"        \
    "conductor-west-2, etcd-witness); a host has its agent, and that agent's keeper\n"             \
    "(keeper-west-1), which starts it again when it dies, and kills the host's servers when it\n"  \
    "stays away for more than a TTL; a region has all of that, its conductors and its etcd."

static const char choice_details[] = CHOICE_DETAILS;

static const char cut_details[] =
    "For a lab whose network is netns. REGION is west, east, or witness, the third site. Packets "
    "are\n"
    "lost, also those underway; connections hang, as they do when a cable is cut. Addresses still\n"
    "work from the host, as for an operator who stands in that region. 'lab status' shows what is\n"
    "cut.";

const struct cli_command lab_commands[] = {
    {.path = "lab up",
     .operands = "",
     .summary = "Start a fleet of two regions on this machine, to try Holdfast on",
     .details = up_details,
     .options = up_options,
     .run = run_up},
    {.path = "lab status",
     .operands = "",
     .summary = "Show the lab's servers and what they are now",
     .options = status_options,
     .run = run_status},
    {.path = "lab kill",
     .operands = "NAME...",
     .summary = "Kill servers (SIGKILL): the sudden loss of processes",
     .details = choice_details,
     .options = dir_options,
     .run = run_kill},
    {.path = "lab freeze",
     .operands = "NAME...",
     .summary = "Stop servers (SIGSTOP): they hang, their connections stay",
     .details = choice_details,
     .options = dir_options,
     .run = run_freeze},
    {.path = "lab thaw",
     .operands = "NAME...",
     .summary = "Let frozen servers go on (SIGCONT)",
     .details = choice_details,
     .options = dir_options,
     .run = run_thaw},
    {.path = "lab restart",
     .operands = "NAME...",
     .summary = "Start servers again; replicas follow again, a primary stays read-only",
     .details =
         "Servers that were killed, or are frozen (those are ended first). If one of those named\n"
         "runs, nothing is done. With --bare they are what a restart leaves in production: "
         "read-only,\n"
         "not replicating, acknowledging nothing; 'holdfast fleet converge' brings them back. So "
         "they\n"
         "are in a lab with daemons, too; daemons that run go on.\n"
         "\n" CHOICE_DETAILS,
     .options = restart_options,
     .run = run_restart},
    {.path = "lab unplug",
     .operands = "REGION",
     .summary = "Cut a region off the network: nothing comes out of it, nothing gets in",
     .details = cut_details,
     .options = cut_options,
     .run = run_unplug},
    {.path = "lab plug",
     .operands = "REGION",
     .summary = "Connect a region again",
     .details = cut_details,
     .options = cut_options,
     .run = run_plug},
    {.path = "lab leader",
     .operands = "SITE",
     .summary = "Make the etcd of a site lead: witness, west or east",
     .details =
         "A new lab's etcd is led from the witness's site, so that whichever region is lost, the "
         "store\n"
         "goes on at once. 'lab status' shows which one leads.",
     .options = dir_options,
     .run = run_leader},
    {.path = "lab down",
     .operands = "",
     .summary = "End the lab and remove its folder",
     .options = dir_options,
     .run = run_down},
    {.path = "lab keep",
     .operands = "HOST",
     .summary = "Be in the place of systemd on a host of the lab",
     .options = dir_options,
     .run = run_keep,
     .is_hidden = true},
    {.path = "lab join",
     .operands = "",
     .summary = "Be the network between the regions of the lab",
     .options = join_options,
     .run = run_join_or_try,
     .is_hidden = true},
    {0},
};

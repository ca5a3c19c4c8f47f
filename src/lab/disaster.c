/* SPDX-License-Identifier: Apache-2.0
 * What is done to the processes of a lab: kill, freeze, thaw, and the end of all of them. Signals
 * go only to a process whose identity is the one that the lab started, or, in the end of all,
 * whose command line names the lab's folder as ours do. */
#include "base/mem.h"
#include "base/scope.h"
#include "lab/internal.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { END_MS = 10000, STOP_MS = 5000, PAUSE_MS = 1, PROC_MAX_BYTES = 128 * 1024 };

size_t lab_running(const struct lab *lab)
{
    size_t count = 0;
    for (size_t i = 0; i < lab->server_count; i++)
        count += process_is_alive(&lab->servers[i].process);
    for (size_t i = 0; i < lab->daemon_count; i++)
        count += process_is_alive(&lab->daemons[i].process);
    return count;
}

/* --- Some of them -------------------------------------------------------------------------------
 */

/* One signal to some of a choice. The processes are the lab's: an agent may be another one when its
 * keeper has been dealt with. */
struct target {
    const char *name;
    const struct process *process;
};

struct targets {
    struct target *items;
    size_t count, capacity;
};

static void targets_release(struct targets *targets)
{
    free(targets->items);
}

static void add_daemons(struct targets *targets, const struct lab_choice *choice,
                        enum lab_kind kind)
{
    for (size_t i = 0; i < choice->daemon_count; i++) {
        const struct lab_daemon *daemon = choice->daemons[i];
        struct target target = {daemon->name, &daemon->process};
        if (daemon->kind == kind)
            VEC_PUSH(targets->items, targets->count, targets->capacity, target);
    }
}

/* Those behind the keepers: agents, conductors, etcd, the network, servers. */
static void add_others(struct targets *targets, const struct lab_choice *choice)
{
    for (int kind = LAB_KEEPER + 1; kind <= LAB_WAN; kind++)
        add_daemons(targets, choice, (enum lab_kind)kind);
    for (size_t i = 0; i < choice->count; i++) {
        struct target target = {choice->servers[i]->name, &choice->servers[i]->process};
        VEC_PUSH(targets->items, targets->count, targets->capacity, target);
    }
}

/* Those that ended before are as wanted, unless all of them did: then it was a mistake. */
struct outcome {
    size_t reached;
    enum status failure; /* the first that is more than an end */
    struct err err;      /* about that, or the first that had ended */
};

static enum status judge(const struct outcome *outcome, struct err *err)
{
    if (!outcome->failure && (outcome->reached > 0 || !outcome->err.status))
        return ST_OK;
    if (err)
        *err = outcome->err;
    return outcome->failure ? outcome->failure : ST_NOT_FOUND;
}

static void note(struct outcome *outcome, const struct target *target, enum status status,
                 struct err *err)
{
    outcome->reached += status == ST_OK;
    if (!status || outcome->failure || (status == ST_NOT_FOUND && outcome->err.status))
        return;
    err_wrap(err, "%s", target->name);
    if (status == ST_NOT_FOUND)
        err_hint(err, "holdfast lab restart %s", target->name);
    else
        outcome->failure = status;
    outcome->err = *err;
}

/* All get their signal, whatever happens to some of them. */
static void signal_all(const struct targets *targets, int signal, struct outcome *outcome)
{
    for (size_t i = 0; i < targets->count; i++) {
        const struct target *target = &targets->items[i];
        struct err err = ERR_INIT;
        enum status status = target->process->pid
                                 ? process_signal(target->process, signal, &err)
                                 : err_set(&err, ST_NOT_FOUND, "it was never started");
        note(outcome, target, status, &err);
    }
}

typedef enum status wait_fn(const struct target *target, nsec deadline, struct err *err);

static void wait_all(const struct targets *targets, wait_fn *wait, int64_t ms,
                     struct outcome *outcome)
{
    nsec deadline = clock_deadline(ms);
    for (size_t i = 0; i < targets->count; i++) {
        struct err err = ERR_INIT;
        enum status status = wait(&targets->items[i], deadline, &err);
        if (status)
            note(outcome, &targets->items[i], status, &err);
    }
}

static enum status wait_ended(const struct target *target, nsec deadline, struct err *err)
{
    return target->process->pid ? process_wait(target->process, deadline, NULL, err) : ST_OK;
}

/* A stopped process of another parent tells nobody: it has to be looked at. */
static enum status wait_stopped(const struct target *target, nsec deadline, struct err *err)
{
    while (process_state(target->process) == PROCESS_RUNS) {
        if (clock_now() >= deadline)
            return err_set(err, ST_TIMEOUT, "it did not stop in time");
        status_ignore(process_wait(target->process, clock_deadline(PAUSE_MS), NULL, NULL),
                      "a pause");
    }
    return ST_OK;
}

/* Keepers first, until they surely start nobody any more; only then it is certain who their agents
 * are. */
static enum status strike(struct lab *lab, const struct lab_choice *choice, int signal,
                          wait_fn *wait, struct err *err)
{
    AUTO(targets_release) struct targets keepers = {0};
    AUTO(targets_release) struct targets others = {0};
    struct outcome outcome = {0};
    int64_t ms = signal == SIGKILL ? END_MS : STOP_MS;
    add_daemons(&keepers, choice, LAB_KEEPER);
    signal_all(&keepers, signal, &outcome);
    wait_all(&keepers, wait, ms, &outcome);
    lab__agents_read(lab);
    add_others(&others, choice);
    signal_all(&others, signal, &outcome);
    wait_all(&others, wait, ms, &outcome);
    return judge(&outcome, err);
}

enum status lab_kill(struct lab *lab, const struct lab_choice *choice, struct err *err)
{
    return strike(lab, choice, SIGKILL, wait_ended, err);
}

enum status lab_freeze(struct lab *lab, const struct lab_choice *choice, struct err *err)
{
    return strike(lab, choice, SIGSTOP, wait_stopped, err);
}

/* In one go: nobody is waited for. */
enum status lab_thaw(struct lab *lab UNUSED, const struct lab_choice *choice, struct err *err)
{
    AUTO(targets_release) struct targets all = {0};
    struct outcome outcome = {0};
    add_daemons(&all, choice, LAB_KEEPER);
    add_others(&all, choice);
    signal_all(&all, SIGCONT, &outcome);
    return judge(&outcome, err);
}

/* --- The end of all -----------------------------------------------------------------------------
 */

/* The same path may be another folder for a process in a container. */
static bool sees_same_folder(pid_t pid, const struct lab *lab)
{
    AUTO_FREE char *theirs = mem_printf("/proc/%d/root%s", (int)pid, lab->dir);
    struct stat ours, other;
    return stat(lab->dir, &ours) == 0 && stat(theirs, &other) == 0 && ours.st_dev == other.st_dev &&
           ours.st_ino == other.st_ino;
}

/* --- Whose is a process? ------------------------------------------------------------------------
 */

struct command_words {
    const char *words, *end;
};

static const char *next_word(struct command_words *rest)
{
    if (rest->words >= rest->end)
        return "";
    const char *word = rest->words;
    rest->words += strlen(word) + 1;
    return word;
}

/* "conductor --fleet FILE", "agent --fleet FILE", "lab keep HOST --dir DIR", "lab join --dir DIR".
 * The first two may be somebody else's than ours, but of this lab they are. */
static bool is_daemon(const struct lab *lab, const char *word, struct command_words rest)
{
    AUTO_FREE char *fleet = lab_fleet_path(lab);
    if (strcmp(word, "conductor") == 0 || strcmp(word, "agent") == 0)
        return strcmp(next_word(&rest), "--fleet") == 0 && strcmp(next_word(&rest), fleet) == 0;
    if (strcmp(word, "lab") != 0)
        return false;
    word = next_word(&rest);
    if (strcmp(word, "keep") == 0)
        next_word(&rest);
    else if (strcmp(word, "join") != 0)
        return false;
    return strcmp(next_word(&rest), "--dir") == 0 && strcmp(next_word(&rest), lab->dir) == 0;
}

bool lab__is_command(const struct lab *lab, const char *words, size_t length)
{
    AUTO_FREE char *server = mem_printf("--defaults-file=%s/", lab->dir);
    AUTO_FREE char *member = mem_printf("--data-dir=%s/etcd/", lab->dir);
    struct command_words rest = {words, words + length};
    while (rest.words < rest.end) {
        const char *word = next_word(&rest);
        if (strncmp(word, server, strlen(server)) == 0 ||
            strncmp(word, member, strlen(member)) == 0 || is_daemon(lab, word, rest))
            return true;
    }
    return false;
}

/* Its command line says so: also true for a process that an interrupted 'up' started and could not
 * note any more. */
static bool is_of_lab(pid_t pid, const struct lab *lab)
{
    AUTO_FREE char *path = mem_printf("/proc/%d/cmdline", (int)pid);
    AUTO(buf_release) struct buf line = {0};
    return !file_read(path, PROC_MAX_BYTES, &line, NULL) &&
           lab__is_command(lab, buf_text(&line), line.length) && sees_same_folder(pid, lab);
}

static void close_listing(DIR **listing)
{
    if (*listing)
        closedir(*listing);
}

/* The identity is taken before the command line is read: if the number changes hands between, the
 * identity does not match any more when the signal is sent. */
static enum status find_processes(const struct lab *lab, struct process **ret, size_t *ret_count,
                                  struct err *err)
{
    AUTO(close_listing) DIR *listing = opendir("/proc");
    if (!listing)
        return err_set_errno(err, errno, "open", "/proc");
    AUTO_FREE struct process *found = NULL;
    size_t count = 0, capacity = 0;
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing)) {
        struct process process;
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && pid != getpid() && !process_identify(pid, &process, NULL) &&
            is_of_lab(pid, lab))
            VEC_PUSH(found, count, capacity, process);
    }
    *ret = take_pointer(found);
    *ret_count = count;
    return ST_OK;
}

/* One round: those that are there now. */
static enum status kill_found(const struct lab *lab, size_t *ret_ended, struct err *err)
{
    AUTO_FREE struct process *found = NULL;
    size_t count = 0;
    enum status status = find_processes(lab, &found, &count, err);
    if (status)
        return status;
    for (size_t i = 0; i < count; i++) {
        status = process_signal(&found[i], SIGKILL, err);
        if (status && status != ST_NOT_FOUND)
            return status;
    }
    nsec deadline = clock_deadline(END_MS);
    for (size_t i = 0; i < count; i++) {
        status = process_wait(&found[i], deadline, NULL, err);
        if (status)
            return status;
    }
    *ret_ended = count;
    return ST_OK;
}

/* Again, until there are none: a keeper may have started one while we looked. */
enum status lab__kill_all(const struct lab *lab, size_t *ret_ended, struct err *err)
{
    size_t ended = 0, last = 0;
    nsec deadline = clock_deadline(END_MS);
    do {
        enum status status = kill_found(lab, &last, err);
        if (status)
            return status;
        ended += last;
    } while (last > 0 && clock_now() < deadline);
    *ret_ended = ended;
    return last ? err_set(err, ST_TIMEOUT, "processes of the lab are started again and again")
                : ST_OK;
}

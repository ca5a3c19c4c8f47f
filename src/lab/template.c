/* SPDX-License-Identifier: Apache-2.0
 * The data folder that every server of a lab starts from. mariadb-install-db makes an empty one,
 * which is kept in the user's cache for the labs to come: it depends only on the version of the
 * server and on our options. The accounts, with this lab's passwords, are then added to a copy. */
#include "base/mem.h"
#include "base/scope.h"
#include "lab/internal.h"
#include "os/file.h"
#include "os/program.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
    TEMPLATE_FORMAT = 1, /* to be raised whenever the options for its making change */
    OUTPUT_MAX_BYTES = 64 * 1024,
    VERSION_MAX = 100,
    FOLDER_MODE = 0700,
    INSTALL_SECONDS = 120,
    SLICE_MS = 50, /* how soon an interruption is noticed */
    OLDEST_MAJOR = 10,
    OLDEST_MINOR = 6,
};

/* --- Finding the programs ----------------------------------------------------------------------
 */

static enum status not_installed(const char *program, struct err *err)
{
    err_set(err, ST_NOT_FOUND, "the lab needs %s, which is not installed", program);
    return err_hint(err, "apt install mariadb-server-core mariadb-client-core");
}

static enum status hint_mariadbd(struct err *err)
{
    return err_hint(err,
                    "let $HOLDFAST_MARIADBD name a mariadbd, or unset it for that of the PATH");
}

enum status lab__find_mariadbd(char **ret_path, struct err *err)
{
    const char *chosen = getenv("HOLDFAST_MARIADBD");
    if (chosen && chosen[0]) {
        if (access(chosen, X_OK)) {
            err_set_errno(err, errno, "use $HOLDFAST_MARIADBD", chosen);
            return hint_mariadbd(err);
        }
        *ret_path = mem_strdup(chosen);
        return ST_OK;
    }
    char *found = program_find("mariadbd");
    if (!found)
        return not_installed("mariadbd", err);
    *ret_path = found;
    return ST_OK;
}

/* --- Running a program to its end --------------------------------------------------------------
 */

/* The end of what the program said, for a message. */
static enum status program_failed(const char *program, const char *output, int code,
                                  struct err *err)
{
    AUTO(buf_release) struct buf text = {0};
    status_ignore(file_read(output, OUTPUT_MAX_BYTES, &text, NULL), "then there is less to tell");
    const char *said = buf_text(&text), *error = strstr(said, "[ERROR]");
    if (!error)
        error = text.length > ERR_TEXT_MAX / 2 ? said + text.length - ERR_TEXT_MAX / 2 : said;
    return err_set(err, ST_IO, "%s ended with exit code %d: %.*s", program, code,
                   (int)strcspn(error, "\n"), error);
}

/* It is a group of its own, and a group keeps its number as long as its leader is our child. */
static void end_group(const struct process *process)
{
    kill(-process->pid, SIGKILL);
    status_ignore(process_wait(process, clock_deadline(1000), NULL, NULL), "it was killed");
}

static enum status run_program(const char *const *argv, const char *output,
                               const struct lab_progress *progress, struct err *err)
{
    struct process_spec spec = {.argv = argv, .output_path = output};
    struct process process;
    int code = 0;
    nsec deadline = clock_deadline(INSTALL_SECONDS * 1000);
    enum status status = process_spawn(&spec, &process, err);
    if (status)
        return status;
    do {
        status = process_wait(&process, clock_deadline(SLICE_MS), &code, err);
        if (status == ST_TIMEOUT && lab__stop_wanted(progress, err)) {
            end_group(&process);
            return ST_ABORTED;
        }
    } while (status == ST_TIMEOUT && clock_now() < deadline);
    if (status) {
        end_group(&process);
        return err_wrap(err, "%s", argv[0]);
    }
    return code ? program_failed(argv[0], output, code, err) : ST_OK;
}

/* --- Version ------------------------------------------------------------------------------------
 */

/* "mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64" */
static enum status parse_version(const char *said, const char *program,
                                 char ret_version[static VERSION_MAX], struct err *err)
{
    char version[VERSION_MAX] = "";
    const char *at = strstr(said, "Ver ");
    int major = 0, minor = 0;
    if (!at || sscanf(at, "Ver %99[0-9A-Za-z.+~:-]", version) != 1 ||
        sscanf(version, "%d.%d", &major, &minor) != 2 || !strstr(version, "MariaDB")) {
        err_set(err, ST_INVALID, "%s is no MariaDB server: --version says '%.*s'", program,
                (int)strcspn(said, "\n"), said);
        return hint_mariadbd(err);
    }
    if (major < OLDEST_MAJOR || (major == OLDEST_MAJOR && minor < OLDEST_MINOR)) {
        err_set(err, ST_INVALID, "%s is version %s; the lab needs %d.%d or newer", program, version,
                OLDEST_MAJOR, OLDEST_MINOR);
        return hint_mariadbd(err);
    }
    snprintf(ret_version, VERSION_MAX, "%s", version);
    return ST_OK;
}

static enum status read_version(const struct lab *lab, const struct lab_progress *progress,
                                char ret_version[static VERSION_MAX], struct err *err)
{
    AUTO_FREE char *output = lab__path(lab, "version.txt");
    const char *argv[] = {lab->mariadbd, "--no-defaults", "--version", NULL};
    AUTO(buf_release) struct buf said = {0};
    enum status status = run_program(argv, output, progress, err);
    status = status ? status : file_read(output, OUTPUT_MAX_BYTES, &said, err);
    return status ? status : parse_version(buf_text(&said), lab->mariadbd, ret_version, err);
}

struct template_paths {
    char *cache;    /* NULL where there is no home: then each lab makes its own */
    char *template; /* DIR/template */
    char *options;  /* the option file for its making */
};

static void paths_release(struct template_paths *paths)
{
    free(paths->cache);
    free(paths->template);
    free(paths->options);
}

/* --- Making it ----------------------------------------------------------------------------------
 */

static char *cache_path(const char *version)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    AUTO_FREE char *folder = NULL;
    if (cache && cache[0] == '/')
        folder = mem_strdup(cache);
    else if (home && home[0] == '/')
        folder = mem_printf("%s/.cache", home);
    return folder ? mem_printf("%s/holdfast/template-%d-%s", folder, TEMPLATE_FORMAT, version)
                  : NULL;
}

/* Written beside its place and renamed: a template is there whole, or not. */
static enum status publish(const struct template_paths *paths, struct err *err)
{
    AUTO_FREE char *beside = mem_printf("%s.new-%d", paths->cache, (int)getpid());
    enum status status = folder_copy(paths->template, beside, err);
    if (!status && rename(beside, paths->cache))
        status = err_set_errno(err, errno, "rename", beside);
    if (status)
        status_ignore(folder_remove(beside, NULL), "a cache may be incomplete");
    return status;
}

static enum status write_options(const struct lab *lab, const char *path, struct err *err)
{
    AUTO(buf_release) struct buf config = {0};
    AUTO_FREE char *temporary = lab__path(lab, "tmp");
    buf_printf(&config, "[mariadbd]\ntmpdir=\"%s\"\n", temporary);
    lab__small_options(&config);
    enum status status = folder_make(temporary, FOLDER_MODE, err);
    return status ? status : file_write_unsynced(path, config.data, config.length, err);
}

static enum status install(const struct lab *lab, const struct template_paths *paths,
                           const struct lab_progress *progress, struct err *err)
{
    AUTO_FREE char *installer = program_find("mariadb-install-db");
    if (!installer)
        return not_installed("mariadb-install-db", err);
    AUTO_FREE char *output = lab__path(lab, "install.log");
    AUTO_FREE char *defaults = mem_printf("--defaults-file=%s", paths->options);
    AUTO_FREE char *data = mem_printf("--datadir=%s", paths->template);
    const char *argv[] = {installer,
                          defaults,
                          data,
                          "--skip-test-db",
                          "--force", /* also where no name resolves, not even localhost */
                          "--auth-root-authentication-method=normal",
                          geteuid() == 0 ? "--user=root" : NULL,
                          NULL};
    enum status status = run_program(argv, output, progress, err);
    return status ? err_wrap(err, "make the template of the data folder") : ST_OK;
}

/* The shell gives the server its input. */
static enum status add_accounts(const struct lab *lab, const struct template_paths *paths,
                                const struct lab_progress *progress, struct err *err)
{
    AUTO_FREE char *path = lab__path(lab, "accounts.sql");
    AUTO(buf_release) struct buf sql = {0};
    lab__accounts_sql(lab, &sql);
    enum status status = file_write_unsynced(path, sql.data, sql.length, err);
    if (status)
        return status;
    AUTO_FREE char *output = lab__path(lab, "accounts.log");
    AUTO_FREE char *defaults = mem_printf("--defaults-file=%s", paths->options);
    AUTO_FREE char *data = mem_printf("--datadir=%s", paths->template);
    const char *argv[] = {"sh",
                          "-c",
                          "in=$1; shift; exec \"$@\" <\"$in\"",
                          "sh",
                          path,
                          lab->mariadbd,
                          defaults,
                          data,
                          "--bootstrap",
                          geteuid() == 0 ? "--user=root" : NULL,
                          NULL};
    status = run_program(argv, output, progress, err);
    status_ignore(folder_remove(path, NULL), "it goes with the lab");
    return status ? err_wrap(err, "create the accounts") : ST_OK;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return path && stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* A damaged cache is dropped; *ret_is_used false then, and the template has to be made anew. */
static enum status use_cached(const struct lab *lab, const struct template_paths *paths,
                              const struct lab_progress *progress, bool *ret_is_used,
                              struct err *err)
{
    enum status status = folder_copy(paths->cache, paths->template, err);
    if (status)
        return status;
    *ret_is_used = !add_accounts(lab, paths, progress, err);
    if (*ret_is_used)
        return ST_OK;
    status = lab__stop_wanted(progress, err);
    if (status)
        return status;
    status_ignore(folder_remove(paths->cache, NULL), "a cache");
    return folder_remove(paths->template, err);
}

enum status lab__template_make(struct lab *lab, const struct lab_progress *progress,
                               struct err *err)
{
    nsec start = clock_now();
    char version[VERSION_MAX];
    enum status status = read_version(lab, progress, version, err);
    if (status)
        return status;
    AUTO(paths_release)
    struct template_paths paths = {cache_path(version), lab__path(lab, "template"),
                                   lab__path(lab, "template.cnf")};
    status = write_options(lab, paths.options, err);
    bool is_cached = false;
    if (!status && is_folder(paths.cache))
        status = use_cached(lab, &paths, progress, &is_cached, err);
    if (!status && !is_cached) {
        status = install(lab, &paths, progress, err);
        if (!status && paths.cache)
            status_ignore(publish(&paths, NULL), "the next lab makes its own");
        status = status ? status : add_accounts(lab, &paths, progress, err);
    }
    if (!status)
        lab__say(progress, "template  MariaDB %s, %s: %.1f s", version,
                 is_cached ? "from the cache" : "new", clock_ms(clock_now() - start) / 1000);
    return status;
}

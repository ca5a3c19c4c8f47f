/* SPDX-License-Identifier: Apache-2.0
 * Who runs this process; see caller.h. */
#include "os/caller.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/text.h"
#include "os/file.h"

#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utmpx.h>

enum { HOST_MAX = 256, TTY_MAX = 64, LOGIN_UID_MAX = 32 };

static char *name_of(uid_t uid)
{
    const struct passwd *entry = getpwuid(uid);
    return entry ? mem_strdup(entry->pw_name) : mem_printf("uid %u", (unsigned)uid);
}

/* Whom the kernel remembers as having logged in; false when it keeps no such record. */
static bool login_uid(uid_t *ret)
{
    AUTO(buf_release) struct buf text = {0};
    struct err ignored = ERR_INIT;
    if (file_read("/proc/self/loginuid", LOGIN_UID_MAX, &text, &ignored) || text.length == 0)
        return false;
    unsigned long uid = strtoul(buf_text(&text), NULL, 10);
    *ret = (uid_t)uid;
    return uid < UINT32_MAX;
}

static char *person(void)
{
    uid_t uid = getuid();
    if (login_uid(&uid) && uid != 0)
        return name_of(uid);
    const char *sudo = getenv("SUDO_USER");
    return sudo && sudo[0] ? text_clean_line(sudo) : name_of(getuid());
}

static char *settled_who, *settled_origin; /* written once, before there are threads */

char *caller_who(void)
{
    if (settled_who)
        return mem_strdup(settled_who);
    char host[HOST_MAX] = "";
    gethostname(host, sizeof(host) - 1);
    AUTO_FREE char *name = person();
    return mem_printf("%s@%s", name, host);
}

/* "pts/3", of whichever of our ends is a terminal; false: none is. */
static bool find_terminal(char ret_line[static TTY_MAX])
{
    static const char folder[] = "/dev/";
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        char path[TTY_MAX];
        if (ttyname_r(fd, path, sizeof(path)))
            continue;
        bool is_device = strncmp(path, folder, strlen(folder)) == 0;
        snprintf(ret_line, TTY_MAX, "%s", is_device ? path + strlen(folder) : path);
        return true;
    }
    return false;
}

/* sudo takes SSH_CONNECTION away; the system's record of log-ins still knows the terminal's. */
static char *remote_host(const char *line)
{
    const char *ssh = getenv("SSH_CONNECTION");
    ssh = ssh && ssh[0] ? ssh : getenv("SSH_CLIENT");
    if (ssh && ssh[0]) {
        AUTO_FREE char *first = mem_printf("%.*s", (int)strcspn(ssh, " "), ssh);
        return text_clean_line(first);
    }
    struct utmpx wanted = {0};
    snprintf(wanted.ut_line, sizeof(wanted.ut_line), "%s", line);
    setutxent();
    const struct utmpx *entry = line[0] ? getutxline(&wanted) : NULL;
    AUTO_FREE char *host =
        entry ? mem_printf("%.*s", (int)sizeof(entry->ut_host), entry->ut_host) : mem_strdup("");
    endutxent();
    return text_clean_line(host);
}

void caller_settle(const char *name)
{
    char host[HOST_MAX] = "";
    gethostname(host, sizeof(host) - 1);
    settled_origin = caller_origin();
    settled_who = mem_printf("%s@%s", name, host);
}

char *caller_origin(void)
{
    if (settled_origin)
        return mem_strdup(settled_origin);
    char line[TTY_MAX] = "";
    bool has_terminal = find_terminal(line);
    AUTO_FREE char *name = person(), *account = name_of(geteuid());
    AUTO_FREE char *host = remote_host(line);
    struct buf text = {0};
    if (strcmp(name, account) != 0)
        buf_printf(&text, "as %s, ", account);
    if (host[0])
        buf_printf(&text, "by ssh from %s, ", host);
    if (has_terminal)
        buf_printf(&text, "on %s", line);
    else
        buf_add(&text, "without a terminal");
    return buf_take(&text);
}

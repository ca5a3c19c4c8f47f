/* SPDX-License-Identifier: Apache-2.0
 * Dispatch only: the command table is in cli/. */
#include "base/mem.h"
#include "command/command.h"

#include <mysql.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* A connection to each of thousands of servers; the usual soft limit is 1,024. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    mem_begin();
    raise_descriptors();
    umask(077); /* reports and journals are for whoever runs this */
    signal(SIGPIPE,
           SIG_IGN); /* a server that goes away is an error of the call, not of the process */
    if (mysql_library_init(0, NULL, NULL))
        return 70;
    return cli_main(argc, argv);
}

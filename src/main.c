/* SPDX-License-Identifier: Apache-2.0
 * Dispatch only: the command table is in cli/. */
#include "cli/command.h"

#include <mysql.h>
#include <signal.h>
#include <sys/stat.h>

int main(int argc, char **argv)
{
    umask(077); /* reports and journals are for whoever runs this */
    signal(SIGPIPE,
           SIG_IGN); /* a server that goes away is an error of the call, not of the process */
    if (mysql_library_init(0, NULL, NULL))
        return 70;
    return cli_main(argc, argv);
}

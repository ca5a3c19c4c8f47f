/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by the files of os/ only.
 */
#ifndef HOLDFAST_OS_INTERNAL_H
#define HOLDFAST_OS_INTERNAL_H

#include "os/process.h"

/* Like process_identify(); with_ended also accepts a child that ended and was not waited for. */
MUST_CHECK enum status process__identify(pid_t pid, bool with_ended, struct process *ret,
                                         struct err *err);

#endif

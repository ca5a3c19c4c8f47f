/* SPDX-License-Identifier: Apache-2.0
 * Shared inside keeper/ only: the socket that signs of life come to. */
#ifndef HOLDFAST_KEEPER_INTERNAL_H
#define HOLDFAST_KEEPER_INTERNAL_H

#include "base/clock.h"
#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

/* A new socket; programs that are started from now on find it in their environment. */
MUST_CHECK enum status signs__open(int64_t grace_ms, int *ret_fd, struct err *err);
/* Take all that has come; what of it is from this process. */
enum { SIGN_OF_LIFE = 1, SIGN_READY = 2 };
unsigned signs__take(int fd, pid_t pid);
/* Until one comes, at most. */
void signs__wait(int fd, nsec deadline);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Who runs this process, and from where: for the audit. As good as the system's own records; what
 * the environment claims is only taken where the system has none. Fit to be shown. Not for
 * threads, unless caller_settle() was called before any were started.
 */
#ifndef HOLDFAST_OS_CALLER_H
#define HOLDFAST_OS_CALLER_H

/* "alice@ops1": the person who logged in, also behind su and sudo. The caller frees. */
char *caller_who(void);

/* "as root, by ssh from 10.0.0.7, on pts/3"; "without a terminal". The caller frees. */
char *caller_origin(void);

/* A daemon acts by itself: from now on this is "conductor west-a@ops1", whoever started it. */
void caller_settle(const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Files and folders: read whole files of bounded size, replace files so that a crash leaves the old
 * content or the new one, make and remove folders. Blocking calls, no state, any thread.
 */
#ifndef HOLDFAST_OS_FILE_H
#define HOLDFAST_OS_FILE_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { FILE_SECRET_MAX_BYTES = 4096 };

/* Append the whole file to 'ret'. More than cap_bytes is ST_INVALID; no such file ST_NOT_FOUND. */
MUST_CHECK enum status file_read(const char *path, size_t cap_bytes, struct buf *ret,
                                 struct err *err);

/* Replace 'path' by these bytes: written beside it, synced, renamed, and the folder synced. After a
 * crash or an error there is the old content or all of the new one. The mode is exact (no umask).
 */
MUST_CHECK enum status file_write(const char *path, const char *bytes, size_t length, mode_t mode,
                                  struct err *err);

/* The same for what need not survive a crash: put in place, mode 0600, nothing is synced. */
MUST_CHECK enum status file_write_unsynced(const char *path, const char *bytes, size_t length,
                                           struct err *err);

/* Read a password or a token into *ret_secret (caller frees): without one newline at its end; empty
 * or with a NUL byte inside is ST_INVALID. *ret_is_exposed says that its group or everybody may
 * read the file, which is worth a warning. */
MUST_CHECK enum status file_read_secret(const char *path, char **ret_secret, bool *ret_is_exposed,
                                        struct err *err);

/* Make a folder and those above it, as far as they are missing. */
MUST_CHECK enum status folder_make(const char *path, mode_t mode, struct err *err);

/* Copy a file, and its times, to a new place, for its owner only. The bytes are on the disk when
 * this returns, the name is when folder_sync() has. */
MUST_CHECK enum status file_copy(const char *from, const char *to, struct err *err);
/* All names in a folder, and what became of them, are on the disk. */
MUST_CHECK enum status folder_sync(const char *path, struct err *err);

/* Copy a folder and what is below it to a new place, for its owner only; links and the like are
 * left out. Nothing is synced. */
MUST_CHECK enum status folder_copy(const char *from, const char *to, struct err *err);

/* Remove a folder with all in it, or one file. Nothing there is ST_OK. Symbolic links are removed,
 * never followed. Goes on after a failure and reports the first. Refuses "" and "/". */
MUST_CHECK enum status folder_remove(const char *path, struct err *err);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * See evidence.h. A copy is a folder that is renamed into place when all of it is on the disk, with
 * a list of what is in it, files.json; as long as the server's logs are as that list says, there is
 * nothing to do. Logs that did not change since the copy before are links to it. */
#include "agent/evidence.h"

#include "agent/internal.h"
#include "agent/logs.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#define LIST "files.json"
#define PARTIAL "partial"

enum { FOLDER_MODE = 0700, FILE_MODE = 0600, LIST_MAX = 8 * 1024 * 1024, COPIES_MAX = 10000 };
enum { ROOM_LEFT = 64 * 1024 * 1024 /* bytes, that a copy does not take */, MIB = 1024 * 1024 };

void evidence_release(struct evidence *evidence)
{
    free(evidence->folder);
    *evidence = (struct evidence){0};
}

/* ---- what is kept ---- */

/* All but old binary logs: those that begin before the tail, from the newest backwards. */
static void choose(const struct evidence_job *job, const struct logs *logs, bool *is_kept,
                   struct evidence *evidence)
{
    int64_t tail = 0;
    for (size_t i = logs->count; i-- > 0;) {
        const struct log_file *file = &logs->files[i];
        is_kept[i] = file->kind != LOG_BINARY || tail < job->tail_bytes || tail == 0;
        if (file->kind == LOG_BINARY)
            tail += file->size;
        evidence->older_count += !is_kept[i];
        if (!is_kept[i])
            continue;
        evidence->bytes += file->size;
        evidence->binary_count += file->kind == LOG_BINARY;
        evidence->relay_count += file->kind == LOG_RELAY;
    }
}

static json_t *list_files(const struct logs *logs, const bool *is_kept)
{
    json_t *files = json_array();
    for (size_t i = 0; i < logs->count; i++) {
        const struct log_file *file = &logs->files[i];
        if (is_kept[i])
            json_array_append_new(files, json_pack("{s:s, s:s, s:I, s:I}", "name", file->name,
                                                   "kind", log_kind_name(file->kind), "bytes",
                                                   (json_int_t)file->size, "modified_ns",
                                                   (json_int_t)file->modified_ns));
    }
    return files;
}

static enum status check_room(const struct evidence_job *job, const struct evidence *evidence,
                              const char *folder, struct err *err)
{
    struct statvfs disk;
    if (evidence->bytes > job->max_bytes) {
        err_set(err, ST_FULL, "the logs of %s to be kept have %lld MiB, and %lld are allowed",
                job->server, (long long)evidence->bytes / MIB, (long long)job->max_bytes / MIB);
        return err_hint(err,
                        "allow more with --max-mb, or keep less with --tail-mb; without a copy "
                        "nobody can tell what was lost");
    }
    if (statvfs(folder, &disk))
        return err_set_errno(err, errno, "look at", folder);
    int64_t room = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
    if (evidence->bytes + ROOM_LEFT <= room)
        return ST_OK;
    err_set(err, ST_FULL, "the logs of %s to be kept have %lld MiB, and '%s' has room for %lld",
            job->server, (long long)evidence->bytes / MIB, folder, (long long)room / MIB);
    return err_hint(err, "make room there: remove copies that were looked at");
}

/* ---- earlier copies ---- */

struct copies { /* by time, the newest last */
    char **names;
    size_t count, capacity;
};

static void copies_release(struct copies *copies)
{
    for (size_t i = 0; i < copies->count; i++)
        free(copies->names[i]);
    free(copies->names);
}

static int by_name(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

static enum status find_copies(const char *folder, struct copies *copies, struct err *err)
{
    DIR *listing = opendir(folder);
    if (!listing)
        return err_set_errno(err, errno, "open", folder);
    for (struct dirent *entry = readdir(listing); entry && copies->count < COPIES_MAX;
         entry = readdir(listing))
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
            VEC_PUSH(copies->names, copies->count, copies->capacity, mem_strdup(entry->d_name));
    closedir(listing);
    if (copies->count)
        qsort(copies->names, copies->count, sizeof(*copies->names), by_name);
    return ST_OK;
}

/* The list of a copy; NULL when it cannot be read. */
static json_t *load_list(const char *folder)
{
    AUTO_FREE char *path = mem_printf("%s/" LIST, folder);
    AUTO(buf_release) struct buf text = {0};
    if (file_read(path, LIST_MAX, &text, NULL))
        return NULL;
    return json_loadb(buf_text(&text), text.length, 0, NULL);
}

static bool is_same_file(const json_t *list, const json_t *file)
{
    size_t i;
    const json_t *other;
    json_array_foreach(json_object_get(list, "files"), i,
                       other) if (json_equal(other, file)) return true;
    return false;
}

static bool has_all(const json_t *list, const json_t *files)
{
    size_t i;
    const json_t *file;
    json_array_foreach(files, i, file) if (!is_same_file(list, file)) return false;
    return true;
}

static void remove_old(const struct evidence_job *job, const char *folder,
                       const struct copies *copies)
{
    int64_t now_s = clock_wall_us() / 1000000;
    for (size_t i = 0; job->keep_s && i < copies->count; i++) {
        AUTO_FREE char *copy = mem_printf("%s/%s", folder, copies->names[i]);
        AUTO_FREE char *list = mem_printf("%s/" LIST, copy);
        struct stat info;
        if (stat(list, &info) == 0 && now_s - info.st_mtim.tv_sec > job->keep_s)
            status_ignore(folder_remove(copy, NULL), "it is tried again next time");
    }
}

/* ---- copying ---- */

static enum status keep_file(const struct log_file *file, const char *folder, const char *before,
                             const json_t *list, const json_t *entry, struct err *err)
{
    AUTO_FREE char *to = mem_printf("%s/%s", folder, file->name);
    AUTO_FREE char *old = before ? mem_printf("%s/%s", before, file->name) : NULL;
    if (old && is_same_file(list, entry) && link(old, to) == 0)
        return ST_OK;
    return file_copy(file->path, to, err);
}

/* What a copy is to have, and the copy before it: NULL when there is none. */
struct selection {
    const struct logs *logs;
    const bool *is_kept;
    const json_t *files; /* those that are kept */
    const char *before;
};

static enum status keep_files(const struct selection *selection, const char *folder,
                              struct err *err)
{
    const struct logs *logs = selection->logs;
    json_t *list = selection->before ? load_list(selection->before) : NULL;
    enum status status = ST_OK;
    size_t entry = 0;
    for (size_t i = 0; i < logs->count && !status; i++)
        if (selection->is_kept[i])
            status = keep_file(&logs->files[i], folder, selection->before, list,
                               json_array_get(selection->files, entry++), err);
    json_decref(list);
    return status;
}

/* What the agent had written down of it before it died; there may be nothing. */
static void keep_positions(const struct evidence_job *job, const char *folder)
{
    if (!job->state_folder)
        return;
    AUTO_FREE char *from = state_positions_path(job->state_folder, job->server);
    AUTO_FREE char *to = mem_printf("%s/positions.json", folder);
    status_ignore(file_copy(from, to, NULL), "then there are only the logs");
}

static enum status write_list(const struct evidence_job *job, const json_t *files,
                              const char *folder, struct err *err)
{
    char now[WALL_TEXT_MAX];
    clock_wall_format(clock_wall_us(), now);
    json_t *json = json_pack("{s:s, s:s, s:s, s:O}", "server", job->server, "data", job->data, "at",
                             now, "files", files);
    AUTO_FREE char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
    AUTO_FREE char *path = mem_printf("%s/" LIST, folder);
    json_decref(json);
    if (!text)
        return err_set(err, ST_INVALID, "a log of %s has a name that is no text", job->server);
    return file_write(path, text, strlen(text), FILE_MODE, err);
}

static char *new_name(const char *folder)
{
    time_t now = (time_t)(clock_wall_us() / 1000000);
    struct tm parts;
    char text[32];
    gmtime_r(&now, &parts);
    strftime(text, sizeof(text), "%Y%m%d-%H%M%S", &parts);
    char *path = mem_printf("%s/%s", folder, text);
    for (int i = 2; access(path, F_OK) == 0; i++) {
        free(path);
        path = mem_printf("%s/%s-%d", folder, text, i);
    }
    return path;
}

static enum status copy_all(const struct evidence_job *job, const struct selection *selection,
                            const char *folder, char **ret_folder, struct err *err)
{
    AUTO_FREE char *partial = mem_printf("%s/" PARTIAL, folder);
    AUTO_FREE char *place = new_name(folder);
    enum status status = folder_remove(partial, err);
    if (!status)
        status = folder_make(partial, FOLDER_MODE, err);
    if (!status)
        status = keep_files(selection, partial, err);
    if (status)
        return status;
    keep_positions(job, partial);
    status = write_list(job, selection->files, partial, err);
    if (!status)
        status = folder_sync(partial, err);
    if (!status && rename(partial, place))
        status = err_set_errno(err, errno, "rename", partial);
    if (!status)
        status = folder_sync(folder, err);
    if (!status)
        *ret_folder = take_pointer(place);
    return status;
}

static enum status keep_locked(const struct evidence_job *job, const struct logs *logs,
                               const char *folder, struct evidence *evidence, struct err *err)
{
    AUTO(copies_release) struct copies copies = {0};
    AUTO_FREE bool *is_kept = mem_zalloc((logs->count + 1) * sizeof(*is_kept));
    enum status status = find_copies(folder, &copies, err);
    if (status)
        return status;
    choose(job, logs, is_kept, evidence);
    AUTO_FREE char *before =
        copies.count ? mem_printf("%s/%s", folder, copies.names[copies.count - 1]) : NULL;
    json_t *files = list_files(logs, is_kept);
    json_t *list = before ? load_list(before) : NULL;
    const struct selection selection = {logs, is_kept, files, before};
    evidence->is_new = !list || !has_all(list, files);
    json_decref(list);
    if (!evidence->is_new)
        evidence->folder = take_pointer(before);
    else
        status = check_room(job, evidence, folder, err);
    if (evidence->is_new && !status)
        status = copy_all(job, &selection, folder, &evidence->folder, err);
    json_decref(files);
    if (!status && evidence->is_new)
        remove_old(job, folder, &copies);
    return status;
}

static enum status lock_folder(const char *folder, int *ret_fd, struct err *err)
{
    AUTO_CLOSE int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "open", folder);
    if (flock(fd, LOCK_EX | LOCK_NB))
        return err_set(err, ST_BUSY, "somebody else writes to '%s'", folder);
    *ret_fd = take_fd(&fd);
    return ST_OK;
}

enum status evidence_keep(const struct evidence_job *job, struct evidence *ret, struct err *err)
{
    AUTO(logs_release) struct logs logs = {0};
    AUTO(evidence_release) struct evidence evidence = {0};
    AUTO_FREE char *folder = mem_printf("%s/%s", job->into, job->server);
    AUTO_CLOSE int lock = -1;
    enum status status = logs_check_unused(job->data, err);
    if (!status)
        status = logs_find(job->data, job->log_folders, job->log_folder_count, &logs, err);
    if (!status)
        status = folder_make(folder, FOLDER_MODE, err);
    if (!status)
        status = lock_folder(folder, &lock, err);
    if (!status && logs.count)
        status = keep_locked(job, &logs, folder, &evidence, err);
    if (status)
        return err_wrap(err, "keep the logs of %s", job->server);
    *ret = evidence;
    evidence = (struct evidence){0};
    return ST_OK;
}

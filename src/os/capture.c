/* SPDX-License-Identifier: Apache-2.0
 * Running a program under a deadline; see capture.h.
 *
 * Its number cannot be given to a stranger while we have not taken its remains; so the group may be
 * signalled by number until then. Its input is a file in memory: nobody has to write it while the
 * program does not read, and no SIGPIPE can come of it. */
#include "os/capture.h"

#include "base/scope.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

enum {
    PACE_MS = 20,           /* how often a flood, and 'cancel', are looked at */
    READ_BYTES = 64 * 1024, /* at once: a flood is read at 3 MB/s */
    READS_AT_END = 16,      /* a child left behind may write for ever */
    UNKILLABLE_MS = 2000,   /* a program in an uninterruptible call of the system */
};

struct running {
    const struct capture_job *job;
    struct capture *ret;
    pid_t pid;
    int pid_fd, output_fd; /* output_fd becomes -1 when nobody can write there any more */
    nsec next_signal;      /* when */
    int signals_sent;
};

static enum status make_input(const char *text, int *ret_fd, struct err *err)
{
    AUTO_CLOSE int fd = memfd_create("holdfast-input", MFD_CLOEXEC);
    size_t length = strlen(text);
    if (fd < 0 || write(fd, text, length) != (ssize_t)length || lseek(fd, 0, SEEK_SET) != 0)
        return err_set_errno(err, errno, "write", "standard input");
    *ret_fd = take_fd(&fd);
    return ST_OK;
}

/* One read; true when there was something. */
static bool read_some(struct running *running)
{
    char bytes[READ_BYTES];
    ssize_t count = read(running->output_fd, bytes, sizeof(bytes));
    if (count <= 0) {
        if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
            close(running->output_fd);
            running->output_fd = -1;
        }
        return false;
    }
    struct buf *output = &running->ret->output;
    size_t room = running->job->output_cap - output->length, some = (size_t)count;
    buf_add_bytes(output, bytes, some < room ? some : room);
    running->ret->output_bytes += some;
    return true;
}

static bool is_flooding(const struct running *running)
{
    return running->ret->output_bytes > running->job->output_cap;
}

/* Wait a little for output or for the end. True: it ended. */
static bool wait_some(struct running *running)
{
    struct pollfd ends[] = {{.fd = running->pid_fd, .events = POLLIN},
                            {.fd = running->output_fd, .events = POLLIN}};
    int ms = clock_ms_left(running->next_signal);
    bool is_paced = running->job->cancel || is_flooding(running);
    nfds_t count = is_flooding(running) ? 1 : ARRAY_SIZE(ends);
    if (poll(ends, count, is_paced && ms > PACE_MS ? PACE_MS : ms) < 0)
        return false; /* EINTR */
    if (running->output_fd >= 0 && (is_flooding(running) || ends[1].revents))
        read_some(running);
    return ends[0].revents != 0;
}

/* True: nothing ends it. */
static bool end_it(struct running *running)
{
    static const int signals[] = {SIGTERM, SIGKILL};
    if ((size_t)running->signals_sent == ARRAY_SIZE(signals))
        return true;
    kill(-running->pid, signals[running->signals_sent++]);
    running->next_signal =
        clock_deadline((size_t)running->signals_sent < ARRAY_SIZE(signals) ? running->job->grace_ms
                                                                           : UNKILLABLE_MS);
    return false;
}

static void take_remains(struct running *running)
{
    siginfo_t info = {0};
    if (running->signals_sent)
        kill(-running->pid, SIGKILL); /* what is left of its group */
    running->ret->exit_status = -1;
    if (waitid(P_PID, (id_t)running->pid, &info, WEXITED | WNOHANG) || info.si_pid == 0)
        return;
    if (info.si_code == CLD_EXITED)
        running->ret->exit_status = info.si_status;
    else
        running->ret->signal = info.si_status;
}

static void watch(struct running *running)
{
    const struct capture_job *job = running->job;
    bool is_over = false;
    while (!is_over) {
        is_over = wait_some(running);
        bool is_cancelled = job->cancel && atomic_load(job->cancel);
        if (!is_over && is_cancelled && running->signals_sent == 0) {
            running->ret->is_cancelled = true;
            running->next_signal = 0;
        }
        if (!is_over && clock_now() >= running->next_signal) {
            running->ret->is_late = !running->ret->is_cancelled;
            is_over = end_it(running);
        }
    }
    for (int i = 0; i < READS_AT_END && running->output_fd >= 0; i++)
        if (!read_some(running))
            break;
}

static enum status start(const struct capture_job *job, int output_fd, struct running *ret,
                         struct err *err)
{
    AUTO_CLOSE int input_fd = -1;
    struct process process = {0};
    enum status status = make_input(job->input, &input_fd, err);
    struct process_spec spec = {.argv = job->argv,
                                .env = job->env,
                                .folder = job->folder,
                                .input_fd = input_fd,
                                .output_fd = output_fd};
    if (!status)
        status = process_spawn(&spec, &process, err);
    if (status)
        return status;
    ret->pid = process.pid;
    ret->pid_fd = pidfd_open(process.pid, 0);
    return ST_OK;
}

enum status capture_run(const struct capture_job *job, struct capture *ret, struct err *err)
{
    *ret = (struct capture){.exit_status = -1};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return err_set_errno(err, errno, "make a pipe for", job->argv[0]);
    nsec began = clock_now();
    struct running running = {
        .job = job, .ret = ret, .output_fd = ends[0], .next_signal = job->deadline};
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    enum status status = start(job, ends[1], &running, err);
    close(ends[1]);
    if (!status) {
        watch(&running);
        take_remains(&running);
        close(running.pid_fd);
        ret->took_ms = clock_ms(clock_now() - began);
    }
    if (running.output_fd >= 0)
        close(running.output_fd);
    return status;
}

void capture_release(struct capture *capture)
{
    buf_release(&capture->output);
}

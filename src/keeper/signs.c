/* SPDX-License-Identifier: Apache-2.0
 * Signs of life, as sd_notify(3) sends them. The address is an abstract one that the kernel
 * chooses: it is in no folder, and goes with us. Whatever is said counts, but only from the program
 * itself: the kernel says who sent it. */
#include "base/mem.h"
#include "base/scope.h"
#include "keeper/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { ADDRESS_MAX = 32, SIGN_MAX = 512 };

/* "@0002f", as $NOTIFY_SOCKET wants it. */
static bool read_address(int fd, char ret_text[static ADDRESS_MAX])
{
    struct sockaddr_un address = {0};
    socklen_t length = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &length))
        return false;
    int bytes = (int)length - (int)offsetof(struct sockaddr_un, sun_path) - 1;
    return bytes > 0 &&
           snprintf(ret_text, ADDRESS_MAX, "@%.*s", bytes, address.sun_path + 1) < ADDRESS_MAX;
}

enum status signs__open(int64_t grace_ms, int *ret_fd, struct err *err)
{
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un any = {.sun_family = AF_UNIX};
    char address[ADDRESS_MAX];
    int on = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) ||
        bind(fd, (struct sockaddr *)&any, sizeof(any.sun_family)) || !read_address(fd, address))
        return err_set_errno(err, errno, "make", "a socket for signs of life");
    AUTO_FREE char *grace_us = mem_printf("%" PRId64, grace_ms * 1000);
    if (setenv("NOTIFY_SOCKET", address, 1) || setenv("WATCHDOG_USEC", grace_us, 1) ||
        unsetenv("WATCHDOG_PID"))
        return err_set_errno(err, errno, "set", "the environment");
    *ret_fd = take_fd(&fd);
    return ST_OK;
}

static pid_t sender_of(struct msghdr *message)
{
    struct ucred sender = {0};
    struct cmsghdr *part = CMSG_FIRSTHDR(message);
    if (part && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_CREDENTIALS)
        memcpy(&sender, CMSG_DATA(part), sizeof(sender));
    return sender.pid;
}

/* "VARIABLE=VALUE", one a line. */
static unsigned meaning(const char *text, size_t length)
{
    static const char ready[] = "READY=1";
    for (size_t begin = 0; begin < length;) {
        const char *end = memchr(text + begin, '\n', length - begin);
        size_t line = end ? (size_t)(end - text) - begin : length - begin;
        if (line == sizeof(ready) - 1 && memcmp(text + begin, ready, line) == 0)
            return SIGN_OF_LIFE | SIGN_READY;
        begin += line + 1;
    }
    return SIGN_OF_LIFE;
}

unsigned signs__take(int fd, pid_t pid)
{
    unsigned found = 0;
    for (;;) {
        char text[SIGN_MAX];
        _Alignas(struct cmsghdr) char about[CMSG_SPACE(sizeof(struct ucred))];
        struct iovec part = {text, sizeof(text)};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = about,
                                 .msg_controllen = sizeof(about)};
        ssize_t length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0)
            return found;
        if (sender_of(&message) == pid)
            found |= meaning(text, (size_t)length);
    }
}

void signs__wait(int fd, nsec deadline)
{
    struct pollfd sign = {.fd = fd, .events = POLLIN};
    (void)poll(&sign, 1, clock_ms_left(deadline));
}

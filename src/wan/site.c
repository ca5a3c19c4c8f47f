/* SPDX-License-Identifier: Apache-2.0
 * The network namespace of a site. Inside, 127.0.0.0/16 and the site's own 127.<second>.0.0/16 are
 * local, on 'lo'; the /16 of each other site is behind 'wan', a TUN device. That a loopback address
 * may leave through it, and come in, is one setting of the device. All is said with ioctls, which
 * need no program, and work where only the namespace is ours. */
#include "base/mem.h"
#include "base/scope.h"
#include "wan/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define DEVICE "wan"

enum { LOOPBACK = 127 };

/* --- Namespaces -------------------------------------------------------------------------------
 */

static enum status write_text(const char *path, const char *text, struct err *err)
{
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return err_set_errno(err, errno, "write", path);
    return ST_OK;
}

/* Everybody stays who they are; others are nobody. */
static enum status make_user_space(struct err *err)
{
    AUTO_FREE char *user = mem_printf("%u %u 1", geteuid(), geteuid());
    AUTO_FREE char *group = mem_printf("%u %u 1", getegid(), getegid());
    if (unshare(CLONE_NEWUSER))
        return err_set_errno(err, errno, "make", "a user namespace");
    enum status status = write_text("/proc/self/setgroups", "deny", err);
    status = status ? status : write_text("/proc/self/uid_map", user, err);
    return status ? status : write_text("/proc/self/gid_map", group, err);
}

static enum status make_space(bool *has_user, struct err *err)
{
    if (unshare(CLONE_NEWNET) == 0)
        return ST_OK;
    if (errno == EPERM && !*has_user) {
        *has_user = true;
        enum status status = make_user_space(err);
        if (status)
            return status;
        if (unshare(CLONE_NEWNET) == 0)
            return ST_OK;
    }
    return err_set_errno(err, errno, "make", "a network namespace");
}

static enum status open_space(pid_t pid, const char *kind, int *ret_fd, struct err *err)
{
    AUTO_FREE char *path = mem_printf("/proc/%d/ns/%s", (int)pid, kind);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "open", path);
    *ret_fd = fd;
    return ST_OK;
}

static bool is_our_user_space(int fd)
{
    struct stat theirs, ours;
    return fstat(fd, &theirs) == 0 && stat("/proc/self/ns/user", &ours) == 0 &&
           theirs.st_ino == ours.st_ino;
}

static enum status join_space(pid_t pid, bool *has_user, struct err *err)
{
    AUTO_CLOSE int user = -1;
    AUTO_CLOSE int net = -1;
    enum status status = open_space(pid, "user", &user, err);
    status = status ? status : open_space(pid, "net", &net, err);
    if (status)
        return status;
    if (!is_our_user_space(user)) {
        *has_user = true;
        if (setns(user, CLONE_NEWUSER))
            return err_set_errno(err, errno, "enter", "the user namespace of the network");
    }
    if (setns(net, CLONE_NEWNET))
        return err_set_errno(err, errno, "enter", "the network namespace");
    return ST_OK;
}

/* --- Devices, addresses, routes ----------------------------------------------------------------
 */

static void set_address(struct sockaddr *ret, unsigned second, unsigned third, unsigned last)
{
    uint32_t address = (uint32_t)LOOPBACK << 24 | second << 16 | third << 8 | last;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    memcpy(ret, &in, sizeof(in));
}

static void set_mask(struct sockaddr *ret, unsigned bits)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(UINT32_MAX << (32 - bits))};
    memcpy(ret, &in, sizeof(in));
}

static struct ifreq request_for(const char *device)
{
    struct ifreq request = {0};
    memcpy(request.ifr_name, device, strnlen(device, IFNAMSIZ - 1));
    return request;
}

static bool bring_up(int fd, const char *device)
{
    struct ifreq request = request_for(device);
    if (ioctl(fd, SIOCGIFFLAGS, &request))
        return false;
    request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
    return ioctl(fd, SIOCSIFFLAGS, &request) == 0;
}

static bool set_bits(int fd, const char *device, unsigned bits)
{
    struct ifreq request = request_for(device);
    set_mask(&request.ifr_netmask, bits);
    return ioctl(fd, SIOCSIFNETMASK, &request) == 0;
}

static bool add_address(int fd, const char *device, unsigned second, unsigned bits)
{
    struct ifreq request = request_for(device);
    set_address(&request.ifr_addr, second, WAN_SOURCE_THIRD, WAN_SOURCE_LAST);
    return ioctl(fd, SIOCSIFADDR, &request) == 0 && set_bits(fd, device, bits);
}

static bool add_route(int fd, unsigned second)
{
    char device[] = DEVICE;
    struct rtentry route = {.rt_flags = RTF_UP, .rt_dev = device};
    set_address(&route.rt_dst, second, 0, 0);
    set_mask(&route.rt_genmask, 16);
    return ioctl(fd, SIOCADDRT, &route) == 0;
}

/* The kernel gives 'lo' all of 127.0.0.0/8 when it comes up. The setting comes before the routes:
 * with a route goes the address that it is used from, chosen when it is made. */
static enum status set_up(const struct wan_plan *plan, size_t site, struct err *err)
{
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    unsigned second = plan->sites[site].second;
    if (fd < 0 || !bring_up(fd, "lo") || !set_bits(fd, "lo", 16) ||
        !add_address(fd, "lo:1", second, 16) || !add_address(fd, DEVICE, second, 32) ||
        !bring_up(fd, DEVICE))
        return err_set_errno(err, errno, "set up", "the devices of the namespace");
    enum status status = write_text("/proc/sys/net/ipv4/conf/" DEVICE "/route_localnet", "1", err);
    if (status)
        return status;
    for (size_t i = 0; i < WAN_SITES; i++)
        if (i != site && !add_route(fd, plan->sites[i].second))
            return err_set_errno(err, errno, "set up", "the routes of the namespace");
    return ST_OK;
}

static enum status open_tun(int *ret_fd, struct err *err)
{
    AUTO_CLOSE int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "open", "/dev/net/tun");
    struct ifreq request = request_for(DEVICE);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    if (ioctl(fd, TUNSETIFF, &request))
        return err_set_errno(err, errno, "make", "a TUN device");
    *ret_fd = take_fd(&fd);
    return ST_OK;
}

enum status wan__site_open(const struct wan_plan *plan, size_t site, bool *has_user,
                           struct wan_port *ret, struct err *err)
{
    pid_t lives_in = plan->sites[site].lives_in;
    AUTO_CLOSE int space = -1;
    AUTO_CLOSE int tun = -1;
    enum status status = lives_in ? join_space(lives_in, has_user, err) : make_space(has_user, err);
    status = status ? status : open_space(getpid(), "net", &space, err);
    status = status ? status : open_tun(&tun, err);
    status = status ? status : set_up(plan, site, err);
    if (status)
        return err_wrap(err, "%s", plan->sites[site].name);
    *ret = (struct wan_port){take_fd(&space), take_fd(&tun)};
    return ST_OK;
}

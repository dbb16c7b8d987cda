/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/error.h"

#define TUN_PATH "/dev/net/tun"
#define HEADER_BYTES ((int)sizeof(struct virtio_net_hdr_v1))

/* What is wanted, for the messages. */
struct wanted {
	const char *name;
	bool create;
	unsigned int queues;
};

static const char *user_name(void)
{
	const struct passwd *user = getpwuid(geteuid());

	return user ? user->pw_name : "USER";
}

/* "..., and mend it with": the commands that make such a tap. */
static int refuse(const struct wanted *wanted, const char *why,
		  const char *first, struct error *error)
{
	return error_set(
		error, EXIT_STATUS_HOST,
		"%s: %s; mend it with: %s%s%ssudo ip tuntap add %s mode "
		"tap %suser %s && sudo ip link set %s up",
		wanted->name, why, first, *first ? wanted->name : "",
		*first ? " mode tap && " : "", wanted->name,
		wanted->queues > 1 ? "multi_queue " : "", user_name(),
		wanted->name);
}

static int tun_open(struct error *error)
{
	int fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return error_set(error, EXIT_STATUS_HOST,
				 TUN_PATH ": not there; mend it with: "
					  "sudo modprobe tun");
	case EACCES:
	case EPERM:
		return error_set(error, EXIT_STATUS_HOST,
				 TUN_PATH ": no permission; mend it with: "
					  "sudo chmod 0666 " TUN_PATH);
	default:
		return error_set(error, EXIT_STATUS_HOST, TUN_PATH ": %s",
				 strerror(errno));
	}
}

static int attach_failed(const struct wanted *wanted, int err,
			 struct error *error)
{
	switch (err) {
	case EPERM:
	case EACCES:
		if (wanted->create)
			return refuse(wanted,
				      "no permission to make it (that takes "
				      "CAP_NET_ADMIN); make it and say tap = "
				      "NAME",
				      "", error);
		return refuse(wanted, "belongs to another user",
			      "sudo ip tuntap del ", error);
	case EBUSY:
		return error_set(error, EXIT_STATUS_HOST,
				 wanted->create
					 ? "%s: is there already"
					 : "%s: another program has it open",
				 wanted->name);
	case EINVAL:
		if (if_nametoindex(wanted->name) == 0)
			break;
		return refuse(
			wanted,
			wanted->queues > 1
				? "is no tap, or was not made for several "
				  "queues"
				: "is no tap",
			"sudo ip tuntap del ", error);
	case E2BIG:
		return error_set(error, EXIT_STATUS_HOST,
				 "%s: has no more queues to give: another "
				 "program has it open",
				 wanted->name);
	}
	return error_set(error, EXIT_STATUS_HOST, "%s: %s", wanted->name,
			 strerror(err));
}

static int attach(int fd, const struct wanted *wanted, bool first,
		  struct error *error)
{
	struct ifreq request = { 0 };
	short flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	int size = HEADER_BYTES;
	int err;

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s",
		 wanted->name);
	if (wanted->queues > 1)
		flags |= IFF_MULTI_QUEUE;
	if (wanted->create && first)
		flags = (short)(flags | IFF_TUN_EXCL);
	request.ifr_flags = flags;
	err = ioctl(fd, TUNSETIFF, &request) < 0 ? errno : 0;
	/* One that was made for several queues serves with one as well. */
	if (err == EINVAL && wanted->queues == 1) {
		request.ifr_flags = (short)(flags | IFF_MULTI_QUEUE);
		err = ioctl(fd, TUNSETIFF, &request) < 0 ? errno : 0;
	}
	if (err)
		return attach_failed(wanted, err, error);
	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
		return error_set(error, EXIT_STATUS_HOST,
				 "%s: the header's size: %s", wanted->name,
				 strerror(errno));
	return 0;
}

/* The MTU, and up. */
static int bring_up(const char *name, unsigned int mtu, struct error *error)
{
	struct ifreq request = { 0 };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return error_set(error, EXIT_STATUS_HOST, "%s: %s", name,
				 strerror(errno));
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	request.ifr_mtu = (int)mtu;
	if (mtu != 0 && ioctl(fd, SIOCSIFMTU, &request) < 0)
		err = error_set(error, EXIT_STATUS_HOST, "%s: MTU %u: %s", name,
				mtu, strerror(errno));
	request.ifr_flags = 0;
	if (!err && (ioctl(fd, SIOCGIFFLAGS, &request) < 0 ||
		     (request.ifr_flags |= IFF_UP,
		      ioctl(fd, SIOCSIFFLAGS, &request) < 0)))
		err = error_set(error, EXIT_STATUS_HOST,
				"%s: cannot bring it up: %s", name,
				strerror(errno));
	close(fd);
	return err;
}

static bool is_interface_name(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len < IFNAMSIZ && strcspn(name, "/%: \t") == len &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

int tap_open(const char *name, bool create, unsigned int mtu,
	     unsigned int queues, int *fds, struct error *error)
{
	const struct wanted wanted = { name, create, queues };
	unsigned int i;

	if (!is_interface_name(name))
		return error_set(error, EXIT_STATUS_CONFIGURATION,
				 "%.60s is no interface's name: 1 to %d bytes",
				 name, IFNAMSIZ - 1);
	for (i = 0; i < queues; i++) {
		fds[i] = tun_open(error);
		if (fds[i] < 0)
			goto err_close;
		/* TUNSETIFF would make it. */
		if (!create && if_nametoindex(name) == 0) {
			refuse(&wanted, "no such interface", "", error);
			goto err_close_this;
		}
		if (attach(fds[i], &wanted, i == 0, error))
			goto err_close_this;
	}
	if (create && bring_up(name, mtu, error))
		goto err_close;
	return 0;

err_close_this:
	close(fds[i]);
err_close:
	while (i-- > 0)
		close(fds[i]);
	return -1;
}

/* Asks the kernel for @what of the interface behind @fd. */
static bool interface_ask(int fd, unsigned long what, struct ifreq *answer)
{
	bool known = false;
	int socket_fd;

	*answer = (struct ifreq){ 0 };
	if (ioctl(fd, TUNGETIFF, answer) < 0)
		return false;
	socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (socket_fd >= 0) {
		known = ioctl(socket_fd, what, answer) == 0;
		close(socket_fd);
	}
	return known;
}

unsigned int tap_mtu(int fd)
{
	struct ifreq answer;

	return interface_ask(fd, SIOCGIFMTU, &answer) && answer.ifr_mtu > 0
		       ? (unsigned int)answer.ifr_mtu
		       : 0;
}

bool tap_is_up(int fd)
{
	struct ifreq answer;

	return interface_ask(fd, SIOCGIFFLAGS, &answer) &&
	       answer.ifr_flags & IFF_UP;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/control.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>

static void take_byte(struct control *control, uint8_t byte)
{
	if (!control->has_command) {
		control->command = byte;
		control->has_command = true;
		return;
	}
	control->has_command = false;
	control->received(control->context, control->command, byte);
}

static void ready(void *context, uint32_t events)
{
	struct control *control = context;
	uint8_t bytes[64];
	ssize_t n, i;

	(void)events;
	n = recv(control->source.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (i = 0; i < n; i++)
		take_byte(control, bytes[i]);
	if (n > 0)
		return;
	control_destroy(control);
	control->ended(control->context);
}

int control_init(struct control *control, struct event_loop *loop, int fd,
		 void (*received)(void *context, uint8_t command, int signal),
		 void (*ended)(void *context), void *context)
{
	int err;

	*control = (struct control){
		.source = { .fd = fd, .ready = ready, .context = control },
		.received = received,
		.ended = ended,
		.context = context,
	};
	err = event_loop_add(loop, &control->source, EPOLLIN);
	if (err == 0)
		control->loop = loop;
	return err;
}

int control_fd(const struct control *control)
{
	return control->loop ? control->source.fd : -1;
}

void control_serve(struct control *control)
{
	ready(control, EPOLLIN);
}

void control_destroy(struct control *control)
{
	if (control->loop)
		event_loop_remove(control->loop, &control->source);
	control->loop = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/net_files.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/error.h"
#include "vmm/config.h"
#include "vmm/files.h"

static char directory[] = "/tmp/test-nets.XXXXXX";
static struct net_config net = { .name = "eth0", .queues = 1 };
static struct net_files files;
static struct error error;
static struct net_files_found found;

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(directory));
}

static void clean_up(void)
{
	char command[100];

	snprintf(command, sizeof(command), "/bin/rm -rf %s", directory);
	cr_expect_eq(system(command), 0);
}

TestSuite(net_files, .init = set_up, .fini = clean_up);

static char *path(const char *name)
{
	static char text[100];

	snprintf(text, sizeof(text), "%s/%s", directory, name);
	return text;
}

static void expect_refusal(const char *start)
{
	cr_expect_eq(net_files_open(&files, &net, &error), -1);
	cr_expect_eq(strncmp(error.text, start, strlen(start)), 0, "%s",
		     error.text);
	cr_expect_eq(files.count, 0);
	cr_expect_eq(files.passt, 0);
	cr_expect_eq(net_files_check(&net, &found, &error), -1);
	cr_expect_eq(strncmp(error.text, start, strlen(start)), 0, "%s",
		     error.text);
	net_files_close(&files);
}

Test(net_files, errors_name_their_key)
{
	net.tap = (char *)"sluice-none";
	expect_refusal("net.eth0.tap: ");
	net.tap = (char *)"new:a name";
	expect_refusal("net.eth0.tap: ");
	net.tap = NULL;
	net.passt = path("nobody");
	expect_refusal("net.eth0.passt: /tmp/test-nets.");
	setenv("PATH", "/nowhere", 1);
	net.passt = (char *)"auto";
	expect_refusal("net.eth0.passt: passt is not installed; ");
}

Test(net_files, a_passt_of_our_own_ends_with_the_files)
{
	FILE *program = fopen(path("passt"), "w");
	char search[300];
	pid_t pid;

	cr_assert_not_null(program);
	fputs("#!/bin/bash\ncat <&${!#} >/dev/null\n", program);
	fclose(program);
	cr_assert_eq(chmod(path("passt"), 0755), 0);
	snprintf(search, sizeof(search), "%s:%s", directory, getenv("PATH"));
	setenv("PATH", search, 1);
	net.passt = (char *)"auto";
	cr_expect_eq(net_files_check(&net, &found, &error), 0, "%s",
		     error.text);
	cr_assert_eq(net_files_open(&files, &net, &error), 0, "%s", error.text);
	cr_expect_eq(files.count, 1);
	pid = files.passt;
	cr_expect_gt(pid, 0);
	cr_expect_eq(kill(pid, 0), 0);
	net_files_close(&files);
	cr_expect_eq(files.count, 0);
	cr_expect_eq(kill(pid, 0), -1);
	net_files_close(&files);
}

Test(net_files, sockets_are_connected_and_closed)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct vm_files all;
	char byte;
	int listener, peer;

	strcpy(address.sun_path, path("socket"));
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(listener, (struct sockaddr *)&address,
			  sizeof(address)),
		     0);
	cr_assert_eq(listen(listener, 4), 0);
	net.passt = path("socket");
	vm_files_init(&all);
	cr_assert_eq(net_files_open(&all.nets[3], &net, &error), 0, "%s",
		     error.text);
	peer = accept(listener, NULL, NULL);
	vm_files_close(&all);
	cr_expect_eq(recv(peer, &byte, 1, 0), 0);
	close(peer);
	close(listener);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One user at a time for a disk that is written: an open-file-description lock
 * on the whole file, exclusive or shared, which other monitors respect and
 * which ends with the process. Set-up only.
 */
#ifndef DEVICES_DISK_LOCK_H
#define DEVICES_DISK_LOCK_H

#include <stdbool.h>

struct error;

/*
 * Locks @fd, without waiting. Returns 0, or -1 with a line in @error that
 * starts with @path and, as far as /proc tells, names who holds the lock.
 */
int disk_lock_take(int fd, const char *path, bool exclusive,
		   struct error *error);

/* Drops the lock, also for copies of @fd elsewhere. */
void disk_lock_drop(int fd);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of the IOMMU that took something away, and may have to wait until no
 * door has anything in flight in a range of device addresses. What one waits for
 * is named when it is decided about: at each door the requests with a ticket up
 * to that moment's, and the ring section that is open. What starts later has seen
 * the map without the range, and nobody waits for it.
 *
 * Everything here is under the iommu lock, and for memory/iommu.c alone. All
 * memory is allocated at set-up.
 */
#ifndef MEMORY_WAIT_LIST_H
#define MEMORY_WAIT_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/addr.h"

struct in_flight;
struct iommu_endpoint;

enum wait_kind {
	WAIT_FREE,
	WAIT_UNMAP,
	WAIT_LEAVE, /* ATTACH, DETACH: @endpoint leaves a domain, or bypass */
	WAIT_QUIET, /* a register write */
};

/* What is waited for at one door. */
struct wait_for {
	bool here; /* in the way, or not looked at yet */
	uint64_t before; /* requests with a ticket below this one */
	uint64_t section; /* a ring section; 0 for none */
};

struct wait {
	struct wait *next;
	enum wait_kind kind;
	iova_t first;
	iova_t last;
	struct iommu_endpoint *endpoint; /* of WAIT_LEAVE */
	uint64_t cookie;
	struct wait_for *doors; /* as many as the list has */
};

/* A door that is looked at. */
struct wait_door {
	struct in_flight *in_flight; /* NULL: gone */
	struct iommu_endpoint *endpoint;
};

struct wait_list {
	unsigned int door_count;
	struct wait_door *doors;
	unsigned int wait_count; /* of those for requests */
	struct wait *waits;
	struct wait *free;
	struct wait *undecided; /* in the order they came */
	struct wait **undecided_end;
	struct wait *parked; /* in no order */
	struct wait quiet; /* the one for register writes */
};

/* Called for each wait that is over, which is free again afterwards. */
typedef void wait_over(void *context, const struct wait *wait);

/* Room for @waits requests. Returns 0 or -ENOMEM. */
int wait_list_init(struct wait_list *list, unsigned int waits);
void wait_list_destroy(struct wait_list *list);

/* A door of @endpoint. Set-up. Returns 0 or -ENOMEM. */
int wait_list_add_door(struct wait_list *list, struct in_flight *in_flight,
		       struct iommu_endpoint *endpoint);
/* Nothing is in flight there any more. */
void wait_list_remove_door(struct wait_list *list,
			   const struct in_flight *in_flight);

/* Whether one more can be added. */
bool wait_list_has_room(const struct wait_list *list);

/* A new, undecided wait that looks at no door yet. There is room. */
struct wait *wait_list_add(struct wait_list *list, enum wait_kind kind,
			   iova_t first, iova_t last, uint64_t cookie);

/*
 * The wait for register writes, for everything in flight; undecided. Where it
 * waits already, it goes on to.
 */
struct wait *wait_list_add_quiet(struct wait_list *list);

/* @wait, which is undecided, is for the doors of @endpoint, too. */
void wait_list_look_at(struct wait_list *list, struct wait *wait,
		       const struct iommu_endpoint *endpoint);

/*
 * Decides about all undecided waits: over, or parked. Fences first: the map has
 * been changed before. Returns how many were parked, and of those the UNMAPs in
 * *@unmaps.
 */
unsigned int wait_list_decide(struct wait_list *list, wait_over *over,
			      void *context, unsigned int *unmaps);

/* Looks at the parked ones again. */
void wait_list_recheck(struct wait_list *list, wait_over *over, void *context);

/* Drops all waits. Nobody is told. */
void wait_list_forget(struct wait_list *list);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. Whoever takes a mapping away: clears the map; fence_scan;
 * looks at the doors. If nothing is in the way, that is all. Else it counts
 * itself into `waiters` of those doors; fence_park; looks again, and is parked
 * only if something is still there. memory/fences.h has the other halves.
 *
 * After that second look nothing is lost: what is still in the way will be
 * cleared by a door that then fences, finds `waiters`, and calls
 * wait_list_recheck. Each door does so for itself, so a wait for two doors is
 * looked at by both, under the lock, and the later one finds it over.
 */
#include "memory/wait_list.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory/fences.h"
#include "memory/in_flight.h"

int wait_list_init(struct wait_list *list, unsigned int waits)
{
	unsigned int i;

	memset(list, 0, sizeof(*list));
	list->waits = calloc(waits, sizeof(*list->waits));
	if (!list->waits)
		return -ENOMEM;
	list->wait_count = waits;
	list->undecided_end = &list->undecided;
	for (i = waits; i-- > 0;) {
		list->waits[i].next = list->free;
		list->free = &list->waits[i];
	}
	return 0;
}

void wait_list_destroy(struct wait_list *list)
{
	unsigned int i;

	for (i = 0; i < list->wait_count; i++)
		free(list->waits[i].doors);
	free(list->quiet.doors);
	free(list->waits);
	free(list->doors);
}

/* Room for @doors in @wait. */
static int doors_grow(struct wait *wait, unsigned int doors)
{
	struct wait_for *grown =
		realloc(wait->doors, doors * sizeof(*wait->doors));

	if (!grown)
		return -ENOMEM;
	wait->doors = grown;
	grown[doors - 1] = (struct wait_for){ .here = false };
	return 0;
}

int wait_list_add_door(struct wait_list *list, struct in_flight *in_flight,
		       struct iommu_endpoint *endpoint)
{
	unsigned int count = list->door_count + 1;
	struct wait_door *grown;
	unsigned int i;

	for (i = 0; i < list->wait_count; i++)
		if (doors_grow(&list->waits[i], count))
			return -ENOMEM;
	if (doors_grow(&list->quiet, count))
		return -ENOMEM;
	grown = realloc(list->doors, count * sizeof(*list->doors));
	if (!grown)
		return -ENOMEM;
	grown[count - 1] = (struct wait_door){ in_flight, endpoint };
	list->doors = grown;
	list->door_count = count;
	return 0;
}

/* Pairs with the acquire in in_flight_has_waiters. */
static void waiters_add(struct in_flight *in_flight, uint32_t change)
{
	/* One writer, the holder of the lock: only the store has to be atomic. */
	__atomic_store_n(&in_flight->waiters, in_flight->waiters + change,
			 __ATOMIC_RELEASE);
}

void wait_list_remove_door(struct wait_list *list,
			   const struct in_flight *in_flight)
{
	unsigned int i;

	for (i = 0; i < list->door_count; i++)
		if (list->doors[i].in_flight == in_flight)
			list->doors[i].in_flight = NULL;
}

bool wait_list_has_room(const struct wait_list *list)
{
	return list->free != NULL;
}

static void undecided_add(struct wait_list *list, struct wait *wait)
{
	wait->next = NULL;
	*list->undecided_end = wait;
	list->undecided_end = &wait->next;
}

struct wait *wait_list_add(struct wait_list *list, enum wait_kind kind,
			   iova_t first, iova_t last, uint64_t cookie)
{
	struct wait *wait = list->free;
	unsigned int i;

	assert(wait);
	list->free = wait->next;
	wait->kind = kind;
	wait->first = first;
	wait->last = last;
	wait->endpoint = NULL;
	wait->cookie = cookie;
	for (i = 0; i < list->door_count; i++)
		wait->doors[i].here = false;
	undecided_add(list, wait);
	return wait;
}

/* Takes @wait out of the parked ones. */
static void parked_remove(struct wait_list *list, const struct wait *wait)
{
	struct wait **place = &list->parked;

	while (*place != wait)
		place = &(*place)->next;
	*place = wait->next;
}

struct wait *wait_list_add_quiet(struct wait_list *list)
{
	struct wait *wait = &list->quiet;
	unsigned int i;

	if (wait->kind == WAIT_FREE) {
		wait->kind = WAIT_QUIET;
		wait->first = IOVA(0);
		wait->last = IOVA(UINT64_MAX);
		for (i = 0; i < list->door_count; i++)
			wait->doors[i].here = false;
	} else {
		/* Where it waits it shall look anew: not counted in there now. */
		parked_remove(list, wait);
		for (i = 0; i < list->door_count; i++)
			if (wait->doors[i].here && list->doors[i].in_flight)
				waiters_add(list->doors[i].in_flight,
					    UINT32_MAX);
	}
	undecided_add(list, wait);
	return wait;
}

void wait_list_look_at(struct wait_list *list, struct wait *wait,
		       const struct iommu_endpoint *endpoint)
{
	unsigned int i;

	for (i = 0; i < list->door_count; i++)
		if (list->doors[i].endpoint == endpoint)
			wait->doors[i].here = true;
}

/* Whether what @wait waits for at a door is still there. */
static bool door_is_busy(const struct in_flight *in_flight,
			 const struct wait *wait, struct wait_for *what)
{
	if (!in_flight)
		return false;
	if (what->section &&
	    !in_flight_section_is_open(in_flight, what->section))
		what->section = 0;
	return what->section || in_flight_overlaps(in_flight, wait->first,
						   wait->last, what->before);
}

/* The first look: names what there is to wait for. Whether there is anything. */
static bool wait_look(struct wait_list *list, struct wait *wait)
{
	bool any = false;
	unsigned int i;

	for (i = 0; i < list->door_count; i++) {
		struct in_flight *in_flight = list->doors[i].in_flight;
		struct wait_for *what = &wait->doors[i];

		if (!what->here)
			continue;
		what->here = false;
#ifdef SLUICE_TEST_HOOKS
		if (fence_hooks & FENCE_HOOK_WAIT)
			continue;
#endif
		if (!in_flight)
			continue;
		what->before = in_flight_next_ticket(in_flight);
		what->section =
			in_flight_section(in_flight, wait->first, wait->last);
		what->here = door_is_busy(in_flight, wait, what);
		any |= what->here;
	}
	return any;
}

static void wait_count_in(struct wait_list *list, const struct wait *wait)
{
	unsigned int i;

	for (i = 0; i < list->door_count; i++)
		if (wait->doors[i].here)
			waiters_add(list->doors[i].in_flight, 1);
}

/* Stops waiting at door @i. */
static void door_leave(struct wait_list *list, struct wait *wait,
		       unsigned int i)
{
	wait->doors[i].here = false;
	if (list->doors[i].in_flight)
		waiters_add(list->doors[i].in_flight, UINT32_MAX);
}

/* Another look, by a wait that is counted in. Whether anything is left. */
static bool wait_look_again(struct wait_list *list, struct wait *wait)
{
	bool any = false;
	unsigned int i;

	for (i = 0; i < list->door_count; i++) {
		struct wait_for *what = &wait->doors[i];

		if (!what->here)
			continue;
		if (door_is_busy(list->doors[i].in_flight, wait, what))
			any = true;
		else
			door_leave(list, wait, i);
	}
	return any;
}

static void wait_free(struct wait_list *list, struct wait *wait)
{
	wait->kind = WAIT_FREE;
	if (wait == &list->quiet)
		return;
	wait->next = list->free;
	list->free = wait;
}

static void wait_end(struct wait_list *list, struct wait *wait, wait_over *over,
		     void *context)
{
	over(context, wait);
	wait_free(list, wait);
}

/* Keeps those of @from for which @look says so, in order; the others are over. */
static struct wait *waits_keep(struct wait_list *list, struct wait *from,
			       bool (*look)(struct wait_list *list,
					    struct wait *wait),
			       wait_over *over, void *context)
{
	struct wait *kept = NULL;
	struct wait **end = &kept;
	struct wait *next;

	for (; from; from = next) {
		next = from->next;
		if (!look(list, from)) {
			wait_end(list, from, over, context);
			continue;
		}
		*end = from;
		end = &from->next;
	}
	*end = NULL;
	return kept;
}

unsigned int wait_list_decide(struct wait_list *list, wait_over *over,
			      void *context, unsigned int *unmaps)
{
	struct wait *waits = list->undecided;
	unsigned int parked = 0;
	struct wait *next;
	struct wait *wait;

	*unmaps = 0;
	if (!waits)
		return 0;
	list->undecided = NULL;
	list->undecided_end = &list->undecided;

	fence_scan();
	waits = waits_keep(list, waits, wait_look, over, context);
	if (!waits)
		return 0;
	for (wait = waits; wait; wait = wait->next)
		wait_count_in(list, wait);
	fence_park();
	waits = waits_keep(list, waits, wait_look_again, over, context);
	for (wait = waits; wait; wait = next) {
		next = wait->next;
		wait->next = list->parked;
		list->parked = wait;
		parked++;
		*unmaps += wait->kind == WAIT_UNMAP;
	}
	return parked;
}

void wait_list_recheck(struct wait_list *list, wait_over *over, void *context)
{
	list->parked =
		waits_keep(list, list->parked, wait_look_again, over, context);
}

/* Stops waiting everywhere. */
static void doors_leave(struct wait_list *list, struct wait *wait)
{
	unsigned int i;

	for (i = 0; i < list->door_count; i++)
		if (wait->doors[i].here)
			door_leave(list, wait, i);
}

void wait_list_forget(struct wait_list *list)
{
	struct wait *wait;

	/* Not counted in yet. */
	while ((wait = list->undecided) != NULL) {
		list->undecided = wait->next;
		wait_free(list, wait);
	}
	list->undecided_end = &list->undecided;
	while ((wait = list->parked) != NULL) {
		list->parked = wait->next;
		doors_leave(list, wait);
		wait_free(list, wait);
	}
}

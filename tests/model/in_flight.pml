/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol between doors and whoever takes a mapping away, with the store
 * buffers of x86 (total store order) made explicit: SPIN itself runs everything
 * one after the other, and would prove what no processor does.
 *
 *	memory/dma.c		device	publish, fence, look, use, clear, fence, wake
 *	memory/wait_list.c	iommu	clear, fence, look; count in, fence, look
 *				again; park
 *	memory/fences.h		the four fences
 *
 * A store goes into its processor's buffer, and comes out of that whenever `drain`
 * likes, in order. A load sees its own processor's buffer first. A fence, and the
 * taking of a lock, wait until the buffer is empty. What is read and written only
 * under the lock needs no buffer: the lock's own release comes out after it.
 *
 * One page, mapped as version 1, 2, ...; a slot holds a ticket, 0 for nothing in
 * flight. A ring section is the same with its sequence for a ticket, and a DETACH
 * the same with the attachment for the map.
 *
 * Asserted: no access to a version of the mapping goes on when its UNMAP is
 * answered, or starts after it. That each UNMAP is answered is SPIN's own check
 * for invalid end states: the iommu waits for the answer. No one waits for requests
 * that start later: they use the new version, and a device may always be at it.
 *
 * NO_PUBLISH, NO_SCAN, NO_WAKE and NO_PARK each take one fence out.
 */

#define DOORS 2
#define CPUS 3 /* a device each, and the iommu */
#define IOMMU 2

#ifndef REQUESTS
#define REQUESTS 2 /* of each device */
#endif
#ifndef ROUNDS
#define ROUNDS 2 /* UNMAP, MAP */
#endif

/* Addresses. */
#define MAP 0
#define LOCK 1
#define SLOT(door) (2 + door)
#define NEXT(door) (4 + door)
#define WAITERS(door) (6 + door)
#define WORDS 8

#define DEPTH 6

typedef buffer {
	byte count;
	byte address[DEPTH];
	byte value[DEPTH]
};

byte memory[WORDS];
buffer buffers[CPUS];

/* Under the lock. */
bool waits[DOORS];
byte before[DOORS];
byte version = 1; /* that is being unmapped */
bool parked;

bool answered; /* what the guest sees */

/* What the properties are about; no processor sees it. */
byte in_use[DOORS];
bool gone[ROUNDS + 2];

inline store(cpu, at, what)
{
	atomic {
		buffers[cpu].count < DEPTH;
		buffers[cpu].address[buffers[cpu].count] = at;
		buffers[cpu].value[buffers[cpu].count] = what;
		buffers[cpu].count++
	}
}

inline load(cpu, at, what)
{
	d_step {
		what = memory[at];
		i = 0;
		do
		:: i < buffers[cpu].count ->
			if
			:: buffers[cpu].address[i] == at ->
				what = buffers[cpu].value[i]
			:: else
			fi;
			i++
		:: else -> break
		od;
		i = 0
	}
}

inline fence(cpu)
{
	buffers[cpu].count == 0
}

inline lock_take(cpu)
{
	atomic {
		buffers[cpu].count == 0 && memory[LOCK] == 0;
		memory[LOCK] = 1
	}
}

inline lock_drop(cpu)
{
	store(cpu, LOCK, 0)
}

proctype drain(byte cpu)
{
	byte i;
end:
	do
	:: d_step {
		buffers[cpu].count > 0;
		memory[buffers[cpu].address[0]] = buffers[cpu].value[0];
		i = 1;
		do
		:: i < buffers[cpu].count ->
			buffers[cpu].address[i - 1] = buffers[cpu].address[i];
			buffers[cpu].value[i - 1] = buffers[cpu].value[i];
			i++
		:: else -> break
		od;
		buffers[cpu].count--;
		buffers[cpu].address[buffers[cpu].count] = 0;
		buffers[cpu].value[buffers[cpu].count] = 0;
		i = 0
	}
	od
}

inline answer()
{
	d_step {
		gone[version] = true;
		assert(in_use[0] != version);
		assert(in_use[1] != version);
		parked = false;
		answered = true
	}
}

/* The second look, and every later one. */
inline look_again(cpu)
{
	door = 0;
	do
	:: door < DOORS ->
		if
		:: waits[door] ->
			load(cpu, SLOT(door), ticket);
			if
			:: ticket == 0 || ticket >= before[door] ->
				waits[door] = false;
				store(cpu, WAITERS(door), 0)
			:: else
			fi
		:: else
		fi;
		door++
	:: else -> break
	od;
	door = 0;
	ticket = 0
}

proctype device(byte me)
{
	byte request = 1;
	byte ticket;
	byte found;
	byte door;
	byte i;

	do
	:: request <= REQUESTS ->
		store(me, SLOT(me), request);
		store(me, NEXT(me), request + 1);
#ifndef NO_PUBLISH
		fence(me);
#endif
		load(me, MAP, found);
		if
		:: found > 0 ->
			d_step {
				assert(!gone[found]);
				in_use[me] = found
			};
			in_use[me] = 0
		:: else
		fi;
		store(me, SLOT(me), 0);
#ifndef NO_WAKE
		fence(me);
#endif
		load(me, WAITERS(me), found);
		if
		:: found > 0 ->
			lock_take(me);
			if
			:: parked ->
				look_again(me);
				if
				:: !waits[0] && !waits[1] -> answer()
				:: else
				fi
			:: else
			fi;
			lock_drop(me)
		:: else
		fi;
		found = 0;
		request++
	:: else -> break
	od
}

proctype iommu()
{
	byte round = 1;
	byte ticket;
	byte door;
	byte i;

	do
	:: round <= ROUNDS ->
		lock_take(IOMMU);
		version = round;
		store(IOMMU, MAP, 0);
#ifndef NO_SCAN
		fence(IOMMU);
#endif
		/* The first look. */
		door = 0;
		do
		:: door < DOORS ->
			load(IOMMU, NEXT(door), before[door]);
			load(IOMMU, SLOT(door), ticket);
			waits[door] = ticket > 0 && ticket < before[door];
			door++
		:: else -> break
		od;
		ticket = 0;
		if
		:: waits[0] || waits[1] ->
			door = 0;
			do
			:: door < DOORS ->
				if
				:: waits[door] -> store(IOMMU, WAITERS(door), 1)
				:: else
				fi;
				door++
			:: else -> break
			od;
#ifndef NO_PARK
			fence(IOMMU);
#endif
			look_again(IOMMU)
		:: else
		fi;
		if
		:: waits[0] || waits[1] -> parked = true
		:: else -> answer()
		fi;
		lock_drop(IOMMU);

		/* A driver that is not answered spins for ever. */
		answered;
		answered = false;
		round++;
		lock_take(IOMMU);
		store(IOMMU, MAP, round);
		lock_drop(IOMMU)
	:: else -> break
	od
}

init
{
	atomic {
		memory[MAP] = 1;
		memory[NEXT(0)] = 1;
		memory[NEXT(1)] = 1;
		run drain(0);
		run drain(1);
		run drain(2);
		run device(0);
		run device(1);
		run iommu()
	}
}

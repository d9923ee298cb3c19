/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef VITALD_SCHED_H
#define VITALD_SCHED_H

#include "vitald/hist.h"

/* Signals of the object sched. All but the last are in the one program on sched_switch. */
#define VITALD_RUNQ_LATENCY (1u << 0)
#define VITALD_OWNER_WAITS (1u << 1)
#define VITALD_OWNER_PEAKS (1u << 2)
#define VITALD_MIGRATIONS (1u << 3)

#define VITALD_SCHED_PAST 32 /* slices that a wait is laid over; power of two */
#define VITALD_SCHED_NOBODY 0xffffffffu /* the CPU was idle */

/*
 * The task that runs on a CPU was moved to another cgroup, on whatever CPU: from then on it runs for another slot. A slice
 * is known by its begin and its task.
 */
#define VITALD_SCHED_MOVES 4 /* within a slice; power of two. Of more, the last of them counts from the fourth on */
struct vitald_sched_move {
	__u64 since_ns;	/* when the slice began */
	__u64 at_ns;
	__u32 pid;
	__u32 slot;
	__u64 check;	/* what the others come to when all of it is written */
};
static inline __attribute__((always_inline)) __u64 vitald_move_check(const struct vitald_sched_move *m)
{
	return m->since_ns + m->at_ns + m->pid + m->slot;
}

/* One per CPU. */
struct vitald_sched_cpu {
	struct vitald_hist delay;
	__u64 since_ns;	/* when the running slice began, in the run queue's clock */
	__u32 slot;	/* whom it is charged to */
	__u32 tgid;	/* the process that runs; 0: the idle task, or nothing seen yet */
	__u32 pid;	/* its thread */
	__u32 moves_seen;	/* how many of `moves` this CPU has looked at */
	__u32 moves_made;	/* by whoever moves; all but these is written by this CPU */
	__u32 owner;	/* of slot when the slice began, as in vitald_slot; kept for VITALD_OWNER_WAITS */
	/*
	 * How far bpf_ktime_get_ns() is ahead of the run queue's clock, and when by that clock it was found and
	 * looked for.
	 */
	__u64 offset_ns, offset_found_ns, offset_read_ns;
	__u64 untimed;	/* waits of no time since the last one that was timed */
	__u64 window;	/* the one of 100 ms that the last switch was in, and when it began */
	__u64 window_ns;
	struct {
		__u64 ns;
		__u32 slot;
		__u32 owner;	/* of the slot then, as in vitald_slot */
	} past[VITALD_SCHED_PAST];
	__u64 past_count;
	struct vitald_worst worst;	/* of delay */
	struct vitald_sched_move moves[VITALD_SCHED_MOVES];	/* number n lies at n % VITALD_SCHED_MOVES */
	__u64 padding[1];
};

/* One per CPU and owner slot: a cache line. */
struct vitald_sched_row {
	__u64 cpu_ns;
	__u64 delay_ns;
	__u64 voluntary;
	__u64 involuntary;
	__u64 throttled_ns;	/* of delay_ns: without a turn by cpu.max */
	__u64 self_ns;		/* of delay_ns: the owner's own tasks had the CPU, as far as it is known to be its own */
	__u64 others_ns;	/* of delay_ns: others' tasks were seen to have it */
	__u64 unused[1];
};

/* One per CPU and each of the first slots, of which more is kept. */
#define VITALD_CULPRITS 4
struct vitald_sched_waits {
	__u64 slots[VITALD_COARSE_SLOTS];
	__u64 sum_ns;	/* with the waits that take no time by the run queue's clock */
	struct {
		__u64 ns;	/* never goes back, also when it becomes somebody else's */
		__u32 who;	/* slot + 1; 0: nobody's, for whoever comes next. User space sets it back */
		__u32 unused;
	} culprits[VITALD_CULPRITS];
	__u64 unused[7];
};

/*
 * CPU time in windows of 100 ms, one per CPU and each of the first slots; slot 0's is the CPU's own. Of a window that
 * is over: how far the one that was the newest next is away (255: that or more), whether all between is full or empty,
 * and what was counted, in units.
 */
#define VITALD_WINDOW_NS 100000000ull
#define VITALD_WINDOWS 256 /* that are kept; power of two */
#define VITALD_WINDOW_SHIFT 20 /* a unit: about a millisecond */
#define VITALD_WINDOW_UNITS 127
#define VITALD_WINDOW_FULL 128
struct vitald_sched_peaks {
	__u64 window;	/* the newest that has counted */
	__u64 ns;	/* in it so far */
	__u64 count;	/* of windows that are over; number n lies at n % VITALD_WINDOWS */
	__u16 ended[VITALD_WINDOWS];
	__u64 unused[5];
};

/* What is timed (cost.h): programs, whichever their form. */
enum vitald_sched_cost {
	COST_ON_MIGRATE,
	COST_ON_SWITCH,
	COST_ON_WAKEUP,
	COST_ON_WAKEUP_NEW,
	COST_ON_ATTACH,
};

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef VITALD_PROCESS_H
#define VITALD_PROCESS_H

#include <linux/types.h>

/* Signals of the object process. */
#define VITALD_PROCESS_LIFE (1u << 0)

/* One per CPU and owner slot: a cache line. */
struct vitald_process_row {
	__u64 forks;	/* of processes, not of threads */
	__u64 execs;
	/* Ends of processes. */
	__u64 exited;		/* with status 0 */
	__u64 failed;		/* with another one */
	__u64 terminated;	/* by a signal that asks to end: TERM, INT, HUP, QUIT, PIPE, ALRM and such */
	__u64 killed;		/* by SIGKILL, or by another process that sent one of those below */
	__u64 crashed;		/* by a signal for what it did itself, or with which it gave up: SEGV, ABRT, ... */
	__u64 oom;		/* by the kernel for want of memory */
};

enum vitald_death {
	VITALD_DEATH_KILLED,
	VITALD_DEATH_CRASHED,
	VITALD_DEATH_OOM,
};

/* A process that ended by a signal. */
struct vitald_death_record {
	__u64 boot_ns;		/* bpf_ktime_get_ns(): without the time that the machine was suspended */
	__u32 pid;
	__u32 slot;		/* its owner's */
	__u32 death;
	__u32 signal;		/* with 0x80: it dumped core */
	__u32 sender_pid;	/* 0: the kernel, or nobody was seen to send it */
	__u32 sender_slot;
	char comm[16];
	char sender_comm[16];
};

/* What is timed (cost.h): programs, whichever their form. */
enum vitald_process_cost {
	COST_ON_FORK,
	COST_ON_EXEC,
	COST_ON_EXIT,
	COST_ON_SENT,
	COST_ON_MARKED,
};

#endif

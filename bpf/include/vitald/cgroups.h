/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the iterator over cgroups (bpf/cgroups.bpf.c) writes down of each that is wanted, as the kernel has it. */
#ifndef VITALD_CGROUPS_H
#define VITALD_CGROUPS_H

#include <linux/types.h>

/* Controllers that the cgroup has, and shows. */
#define VITALD_CGROUP_CPU (1u << 0)
#define VITALD_CGROUP_MEMORY (1u << 1)
#define VITALD_CGROUP_PIDS (1u << 2)
#define VITALD_CGROUP_IO (1u << 3)
#define VITALD_CGROUP_PRESSURE (1u << 4)
#define VITALD_CGROUP_MORE_IO (1u << 5) /* disks for which there was no room */

#define VITALD_CGROUP_DISKS 8 /* power of two */
#define VITALD_CGROUP_STATS 6 /* of memory.stat: where they lie is found out, see vitald_memory_sample */
#define VITALD_CGROUP_PRESSURES 6

struct vitald_cgroup_io {
	__u32 major;
	__u32 minor;
	__u64 bytes[2]; /* read, written */
	__u64 requests[2];
};

struct vitald_cgroup_record {
	__u64 round; /* in which it was written */
	__u32 has;
	__u32 disks;
	__u64 cpu_ns;
	__u64 user_ns; /* sampled at ticks, as the next; cputime_adjust() (kernel/sched/cputime.c) divides cpu_ns by them */
	__u64 system_ns;
	__u64 shown_user_ns; /* what its file said last */
	__u64 shown_system_ns;
	__u64 quota_ns; /* ~0: none */
	__u64 period_ns;
	__u64 throttled_ns;
	__u64 shares; /* of the fair scheduler, 1024 times those of v1 */
	__u32 periods;
	__u32 throttled_periods;
	__u64 memory; /* pages, as the next */
	__u64 memory_peak;
	__u64 memory_max;
	__u64 swap;
	__u64 swap_max;
	__u64 at_limit; /* memory.events max */
	__u64 oom_kills;
	__u64 stats[VITALD_CGROUP_STATS];
	__s64 tasks;
	__s64 tasks_max;
	__u64 pressure_ns[VITALD_CGROUP_PRESSURES]; /* some and full of CPU, memory, I/O */
	struct vitald_cgroup_io io[VITALD_CGROUP_DISKS];
};

/*
 * Since Linux 6.10 the kernel numbers what it counts for memory cgroups in a table that is nowhere to be read, so the
 * places of some are found by comparing all of one cgroup with its memory.stat.
 */
#define VITALD_SAMPLE_PLACES 128
struct vitald_memory_sample {
	__u64 round; /* in which it was written */
	__u32 states, events; /* how many there are */
	__u64 state[VITALD_SAMPLE_PLACES];
	__u64 event[VITALD_SAMPLE_PLACES];
};

#endif

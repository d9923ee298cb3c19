/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A cgroup as the kernel side names it to user space. */
#ifndef VITALD_OWNER_H
#define VITALD_OWNER_H

#include <linux/types.h>

/*
 * Names from the leaf up, read from the kernel's own tree the moment a cgroup is first seen. So nothing is
 * looked up in /sys/fs/cgroup, and a cgroup that lived for a millisecond still has its name. Where the path is
 * deeper, the upper names are missing: the grammar reads from the leaf.
 */
#define VITALD_CGROUP_LEVELS 8
#define VITALD_CGROUP_NAME 120
struct vitald_cgroup_path {
	__u64 id;
	__u32 levels;	/* names filled; 0 is the root of its hierarchy */
	__u32 unused;
	char names[VITALD_CGROUP_LEVELS][VITALD_CGROUP_NAME];
};

/* Which cgroup a row of counters belongs to. */
struct vitald_slot {
	__u64 id;	/* 0: free */
	__u64 dead;	/* set by cgroup_rmdir */
};

#endif

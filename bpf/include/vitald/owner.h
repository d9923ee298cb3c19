/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Cgroups as the kernel side names them to user space, and the slots in which it counts for them. */
#ifndef VITALD_OWNER_H
#define VITALD_OWNER_H

#include <linux/types.h>

/*
 * Names from the root down, read from the kernel's own tree the moment a cgroup is first seen. So nothing is looked up
 * in /sys/fs/cgroup, and a cgroup that lived for a millisecond still has its name. Whole names only: what does not fit,
 * or is deeper, is left out at the leaf's end. To whom a cgroup belongs is said by its place from the root.
 */
#define VITALD_CGROUP_LEVELS 16
#define VITALD_CGROUP_NAME 256	/* NAME_MAX and the NUL */
#define VITALD_PATH_BYTES 1024
struct vitald_cgroup_path {
	__u32 size;	/* of the text: names, each with its NUL. 0 is the root of its hierarchy */
	__u32 cut;	/* 1: there are more names towards the leaf; 2: the names at the root's end are not known */
	__u64 ids[VITALD_CGROUP_LEVELS];	/* of each name's cgroup, also of names for which there was no room */
	char text[VITALD_PATH_BYTES];
};

/* Whose everything below a cgroup is, however it is called and however many there are: user space says so. */
struct vitald_territory {
	__u32 slot;
	__u32 rank;	/* of two territories, one on v2 and one on v1, the higher one counts; VITALD_RANK_MOST needs no other */
};
#define VITALD_RANK_MOST 5

/* A task's cgroups: their ids, which are never used again in a hierarchy. */
struct vitald_cgroup_key {
	__u64 v2;
	__u64 v1;	/* in the v1 hierarchy that is looked at; 0 where there is none */
};

/* Which cgroups a row of counters belongs to. Slot 0 is everybody who got no slot of their own. */
struct vitald_slot {
	struct vitald_cgroup_key key;
	__u32 used;	/* written last */
	__u32 dead;	/* a cgroup of it was removed before the slot was known to be its */
	__u32 owner;	/* the same for all cgroups of one owner, 0: not known, or no owner of its own. User space says so */
	__u32 unused;
};

#define VITALD_OWNER_CACHE 256	/* power of two */

/* One per CPU: the slots of those that ran before, in front of the hash. */
struct vitald_owner_cpu {
	struct {
		struct vitald_cgroup_key key;
		__u64 slot;
	} cache[VITALD_OWNER_CACHE];
};

#endif

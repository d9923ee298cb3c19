/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef VITALD_OOM_KILLS_H
#define VITALD_OOM_KILLS_H

#include "vitald/owner.h"

#define VITALD_OOM_RECORDS 64 /* kept between two collections; more than that are counted without an owner */

struct vitald_oom_record {
	__u64 sequence;	/* 1, 2, 3, ...; written last */
	__u32 pid;
	__u32 memcg;	/* 1: a memory cgroup's limit was reached, 0: the host ran out of memory */
	char comm[16];
	struct vitald_cgroup_path cgroup;
};

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the iterators of bpf/programs.bpf.c write, one after the other. */
#ifndef VITALD_PROGRAMS_H
#define VITALD_PROGRAMS_H

#include <linux/types.h>

#define VITALD_BPF_NAME 16 /* BPF_OBJ_NAME_LEN */

struct vitald_bpf_program {
	__u32 id;
	__u32 type;	/* enum bpf_prog_type */
	__u32 pages;	/* of the program as it was loaded */
	__u32 jited_bytes; /* with its subprograms */
	__u64 runs;	/* both 0 but for while kernel.bpf_stats_enabled is 1 */
	__u64 run_ns;
	char name[VITALD_BPF_NAME];
};

struct vitald_bpf_map {
	__u32 id;
	__u32 type;	/* enum bpf_map_type */
	__u32 key_size;
	__u32 value_size;
	__u32 max_entries;
	__u32 flags;	/* BPF_F_* of BPF_MAP_CREATE */
	char name[VITALD_BPF_NAME];
};

/* An open file of a process. */
enum vitald_bpf_held {
	VITALD_HOLDS_PROGRAM,
	VITALD_HOLDS_MAP,
};
struct vitald_bpf_holder {
	__u32 held;	/* enum vitald_bpf_held; a link holds its program */
	__u32 id;
	__u32 pid;	/* of the process, as the host numbers it */
	__u32 unused;
	char comm[16];
};

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Programs time one in so many of their runs. What a program keeps for that is in memory and not in a register, and no
 * program goes on without it: the verifier would look at all that follows twice.
 */
#ifndef VITALD_COST_BPF_H
#define VITALD_COST_BPF_H

#include "vitald/cost.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs * VITALD_COSTS */
	__type(key, __u32);
	__type(value, struct vitald_cost);
} costs SEC(".maps");

static __always_inline struct vitald_cost *cost_of(__u32 program)
{
	__u32 index = bpf_get_smp_processor_id() * VITALD_COSTS + program;

	return bpf_map_lookup_elem(&costs, &index);
}

static __always_inline void cost_begins(struct vitald_cost *c)
{
	c->runs++;
	if (c->left) {
		c->left--;
		return;
	}
	c->left = c->runs < VITALD_COST_FIRST ? 0 : VITALD_COST_ONE_IN - 1;
	c->since_ns = bpf_ktime_get_ns();
}

static __always_inline void cost_ends(struct vitald_cost *c)
{
	__u64 took, now, clock;

	if (!c->since_ns)
		return;
	now = bpf_ktime_get_ns();
	clock = bpf_ktime_get_ns() - now; /* what reading it takes is not the program's */
	took = now - c->since_ns;
	c->since_ns = 0;
	c->ns += took > clock ? took - clock : 0;
	c->timed++;
}

/* The end of a program: the call is what it does. */
#define TIMED(program, call)                                    \
	do {                                                    \
		struct vitald_cost *cost_ = cost_of(program);   \
                                                                \
		if (!cost_) /* there is one for each CPU */     \
			return 0;                               \
		cost_begins(cost_);                             \
		(void)(call);                                   \
		cost_ends(cost_);                               \
		return 0;                                       \
	} while (0)

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How long tasks of each owner stood still for memory: because their memory cgroup was at its limit and had to give
 * something back first, because memory had to be compacted for a large page, and because they made pages dirty faster
 * than disks take them. As with direct reclaim nothing in the kernel keeps since when, and it is rare and long. The
 * kernel's own threads do the first two in the background, and nobody stands still.
 */
#include "owner_table.bpf.h"
#include "vitald/reclaim.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs */
	__type(key, __u32);
	__type(value, struct vitald_reclaim_stalls);
} stalls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs * owner_slots */
	__type(key, __u32);
	__type(value, struct vitald_reclaim_row);
} rows SEC(".maps");

/*
 * Thread and signal -> since when. Its number is used again, so it goes with the task's start. Full: the oldest are
 * forgotten and not counted.
 */
struct stall_key {
	__u32 thread;
	__u32 signal;
};
struct stall {
	__u64 since_ns;
	__u64 start_ns;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* 1024 when used, more on many CPUs */
	__type(key, struct stall_key);
	__type(value, struct stall);
} stalled_since SEC(".maps");

#define KERNEL_THREAD 0x00200000 /* PF_KTHREAD, include/linux/sched.h */

static __always_inline int begins(__u32 signal)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct stall_key key = {(__u32)bpf_get_current_pid_tgid(), signal};
	struct stall stall = {bpf_ktime_get_ns(), BPF_CORE_READ(task, start_time)};

	if (wanted & enabled & signal && !(BPF_CORE_READ(task, flags) & KERNEL_THREAD))
		bpf_map_update_elem(&stalled_since, &key, &stall, BPF_ANY);
	return 0;
}

static __always_inline int ends(__u32 signal)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct stall_key key = {(__u32)bpf_get_current_pid_tgid(), signal};
	__u32 cpu = bpf_get_smp_processor_id(), index;
	struct stall *stall = bpf_map_lookup_elem(&stalled_since, &key);
	struct vitald_reclaim_stalls *c = bpf_map_lookup_elem(&stalls, &cpu);
	struct vitald_reclaim_row *row;
	__u64 ns;

	if (!stall || !c)
		return 0;
	ns = bpf_ktime_get_ns() - stall->since_ns;
	if (wanted & enabled & signal && stall->start_ns == BPF_CORE_READ(task, start_time)) {
		index = cpu * owner_slots + owner_seldom(task, false);
		row = bpf_map_lookup_elem(&rows, &index);
		vitald_hist_add(signal == VITALD_LIMIT_RECLAIM ? &c->limit : &c->compaction, ns);
		if (row && signal == VITALD_LIMIT_RECLAIM) {
			row->limit_ns += ns;
			row->limit_count++;
		} else if (row) {
			row->compaction_ns += ns;
			row->compaction_count++;
		}
	}
	bpf_map_delete_elem(&stalled_since, &key);
	return 0;
}

/* The arguments differ between kernels, and are not needed. */
SEC("tp_btf/mm_vmscan_memcg_reclaim_begin")
int on_limit(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_LIMIT, begins(VITALD_LIMIT_RECLAIM));
}

SEC("raw_tp/mm_vmscan_memcg_reclaim_begin")
int on_limit_raw(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_LIMIT, begins(VITALD_LIMIT_RECLAIM));
}

SEC("tp_btf/mm_vmscan_memcg_reclaim_end")
int on_limit_end(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_LIMIT_END, ends(VITALD_LIMIT_RECLAIM));
}

SEC("raw_tp/mm_vmscan_memcg_reclaim_end")
int on_limit_end_raw(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_LIMIT_END, ends(VITALD_LIMIT_RECLAIM));
}

SEC("tp_btf/mm_compaction_begin")
int on_compaction(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_COMPACTION, begins(VITALD_COMPACTION));
}

SEC("raw_tp/mm_compaction_begin")
int on_compaction_raw(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_COMPACTION, begins(VITALD_COMPACTION));
}

SEC("tp_btf/mm_compaction_end")
int on_compaction_end(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_COMPACTION_END, ends(VITALD_COMPACTION));
}

SEC("raw_tp/mm_compaction_end")
int on_compaction_end_raw(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_COMPACTION_END, ends(VITALD_COMPACTION));
}

const volatile __u64 tick_ns = 1;	/* of a jiffy */
const volatile bool pause_is_late = false; /* the 11th argument; the 7th since v6.13 */

/*
 * balance_dirty_pages() (mm/page-writeback.c) tells of each pause before it sleeps it; none, or one that began in the
 * past, is not slept.
 */
static __always_inline int pauses(long ticks)
{
	__u32 cpu = bpf_get_smp_processor_id(), index;
	struct vitald_reclaim_stalls *c = bpf_map_lookup_elem(&stalls, &cpu);
	struct vitald_reclaim_row *row;
	__u64 ns;

	if (!(wanted & enabled & VITALD_WRITEBACK_PAUSES) || !c || ticks <= 0)
		return 0;
	ns = ticks * tick_ns;
	vitald_hist_add(&c->pauses, ns);
	index = cpu * owner_slots + owner_seldom((struct task_struct *)bpf_get_current_task(), false);
	row = bpf_map_lookup_elem(&rows, &index);
	if (row) {
		row->pause_ns += ns;
		row->pause_count++;
	}
	return 0;
}

/* Each read by itself: of an address that is chosen first the verifier says "modified ctx ptr". */
static __always_inline long ticks_of(__u64 *ctx)
{
	long ticks;

	if (pause_is_late) {
		ticks = (long)ctx[10];
		barrier_var(ticks);
		return ticks;
	}
	ticks = (long)ctx[6];
	barrier_var(ticks);
	return ticks;
}

SEC("tp_btf/balance_dirty_pages")
int on_pause(__u64 *ctx)
{
	TIMED(COST_ON_PAUSE, pauses(ticks_of(ctx)));
}

SEC("raw_tp/balance_dirty_pages")
int on_pause_raw(__u64 *ctx)
{
	TIMED(COST_ON_PAUSE, pauses(ticks_of(ctx)));
}

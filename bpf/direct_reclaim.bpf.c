/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How long tasks stood still because an allocation had to free memory first. Nothing in the kernel keeps when that
 * began, but it is rare and long, so one map entry per stalled task costs nothing that shows.
 */
#include "probe.bpf.h"
#include "vitald/direct_reclaim.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs */
	__type(key, __u32);
	__type(value, struct vitald_reclaim_cpu);
} cpus SEC(".maps");

/* Thread -> since when. Full: the oldest are forgotten and not counted. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} stalled_since SEC(".maps");

static __always_inline int begin(void)
{
	__u32 thread = (__u32)bpf_get_current_pid_tgid();
	__u64 now = bpf_ktime_get_ns();

	bpf_map_update_elem(&stalled_since, &thread, &now, BPF_ANY);
	return 0;
}

static __always_inline int end(void)
{
	__u32 thread = (__u32)bpf_get_current_pid_tgid(), cpu = bpf_get_smp_processor_id();
	__u64 *since = bpf_map_lookup_elem(&stalled_since, &thread);
	struct vitald_reclaim_cpu *c = bpf_map_lookup_elem(&cpus, &cpu);

	if (since && c) {
		vitald_hist_add(&c->stall, bpf_ktime_get_ns() - *since);
		bpf_map_delete_elem(&stalled_since, &thread);
	}
	return 0;
}

/* The arguments (order, flags; in another order since 7.0) are not needed. */
SEC("tp_btf/mm_vmscan_direct_reclaim_begin")
int on_begin(void *ctx __attribute__((unused)))
{
	return begin();
}

SEC("raw_tp/mm_vmscan_direct_reclaim_begin")
int on_begin_raw(void *ctx __attribute__((unused)))
{
	return begin();
}

SEC("tp_btf/mm_vmscan_direct_reclaim_end")
int on_end(void *ctx __attribute__((unused)))
{
	return end();
}

SEC("raw_tp/mm_vmscan_direct_reclaim_end")
int on_end_raw(void *ctx __attribute__((unused)))
{
	return end();
}

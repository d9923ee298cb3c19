/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Page faults per owner. The running task is the one that faults. Frequent, so it is off by itself: the kernel counts
 * those of a memory cgroup anyway (memory.stat).
 */
#include "owner_table.bpf.h"
#include "vitald/faults.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs * owner_slots */
	__type(key, __u32);
	__type(value, struct vitald_fault_row);
} rows SEC(".maps");

static __always_inline int faulted(bool by_user)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	__u32 index = bpf_get_smp_processor_id() * owner_slots;
	struct vitald_fault_row *row;

	if (!(wanted & enabled & VITALD_PAGE_FAULTS))
		return 0;
	index += owner_seldom(task, false);
	row = bpf_map_lookup_elem(&rows, &index);
	if (!row)
		return 0;
	/* A fault in the kernel may interrupt this one. */
	if (by_user)
		__sync_fetch_and_add(&row->user, 1);
	else
		__sync_fetch_and_add(&row->kernel, 1);
	return 0;
}

SEC("tp_btf/page_fault_user")
int on_user_fault(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_USER_FAULT, faulted(true));
}

SEC("raw_tp/page_fault_user")
int on_user_fault_raw(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_USER_FAULT, faulted(true));
}

SEC("tp_btf/page_fault_kernel")
int on_kernel_fault(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_KERNEL_FAULT, faulted(false));
}

SEC("raw_tp/page_fault_kernel")
int on_kernel_fault_raw(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_KERNEL_FAULT, faulted(false));
}

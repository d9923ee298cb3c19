/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* To whom what runs belongs: the maps that all objects share, and word of cgroups that are removed. */
#include "owner_table.bpf.h"

/* The ids of removed cgroups, of v1 with V1_KEY. Full: they are missed, and user space has to look for itself. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4096);
	__type(value, __u64);
} removed SEC(".maps");

__u64 missed = 0;

static __always_inline int on_removed(struct cgroup *cgroup)
{
	int hierarchy = BPF_CORE_READ(cgroup, root, hierarchy_id);
	__u64 id = BPF_CORE_READ(cgroup, kn, id);

	if (v1_controller != V1_NONE && hierarchy == v1_hierarchy)
		id |= V1_KEY;
	else if (hierarchy != 0)
		return 0;
	if (bpf_map_push_elem(&removed, &id, 0))
		__sync_fetch_and_add(&missed, 1);
	return 0;
}

SEC("tp_btf/cgroup_rmdir")
int on_rmdir(__u64 *ctx)
{
	return on_removed((struct cgroup *)ctx[0]);
}

SEC("raw_tp/cgroup_rmdir")
int on_rmdir_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return on_removed((struct cgroup *)ctx->args[0]);
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From a task to its cgroup, and from a cgroup to its names. */
#ifndef VITALD_OWNER_BPF_H
#define VITALD_OWNER_BPF_H

#include "probe.bpf.h"
#include "vitald/owner.h"

/* Which hierarchy says who owns a task; user space decides (sensors/owner/hierarchy.h has the same values). */
enum { HIERARCHY_V2, HIERARCHY_CPUACCT, HIERARCHY_CPU, HIERARCHY_MEMORY };
const volatile __u32 hierarchy = HIERARCHY_V2;
const volatile int hierarchy_id; /* as in /proc/self/cgroup; 0 is v2 */

static __always_inline struct cgroup_subsys_state *css_of(struct css_set *set, __u32 subsystem, bool direct)
{
	struct cgroup_subsys_state **css = &set->subsys[0];
	struct cgroup_subsys_state *value;

	if (direct)
		return css[subsystem];
	bpf_probe_read_kernel(&value, sizeof(value), css + subsystem);
	return value;
}

static __always_inline struct kernfs_node *cgroup_of(struct task_struct *task, bool direct)
{
	struct css_set *set = FIELD(task, cgroups);
	struct cgroup_subsys_state *css;
	struct cgroup *cgroup;

	if (hierarchy == HIERARCHY_V2) {
		cgroup = FIELD(set, dfl_cgrp);
	} else {
		if (hierarchy == HIERARCHY_CPUACCT)
			css = css_of(set, bpf_core_enum_value(enum cgroup_subsys_id, cpuacct_cgrp_id), direct);
		else if (hierarchy == HIERARCHY_CPU)
			css = css_of(set, bpf_core_enum_value(enum cgroup_subsys_id, cpu_cgrp_id), direct);
		else
			css = css_of(set, bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id), direct);
		cgroup = FIELD(css, cgroup);
	}
	return FIELD(cgroup, kn);
}

static __always_inline struct kernfs_node *parent_of(struct kernfs_node *node)
{
	/* v6.15 renamed kernfs_node::parent to __parent. */
	if (bpf_core_field_exists(node->__parent))
		return BPF_CORE_READ(node, __parent);
	return BPF_CORE_READ((struct kernfs_node___pre615 *)node, parent);
}

static __always_inline void read_path(struct vitald_cgroup_path *path, struct kernfs_node *node)
{
	struct kernfs_node *parent;
	int i;

	path->id = BPF_CORE_READ(node, id);
	path->levels = 0;
#pragma unroll
	for (i = 0; i < VITALD_CGROUP_LEVELS; i++) {
		parent = parent_of(node);
		if (!parent) /* the root has no name */
			break;
		bpf_probe_read_kernel_str(path->names[i], VITALD_CGROUP_NAME, BPF_CORE_READ(node, name));
		path->levels = i + 1;
		node = parent;
	}
}

#endif

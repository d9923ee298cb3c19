/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From a task to its cgroup, and from a cgroup to its names. */
#ifndef VITALD_OWNER_BPF_H
#define VITALD_OWNER_BPF_H

#include "probe.bpf.h"
#include "vitald/owner.h"

/*
 * Whose a task is, is said by its cgroup on v2; where that is the root, and there is a v1 hierarchy with this
 * controller, by its cgroup there. Both may be in use at once: libvirt puts guests on v2 of a v1 host.
 * sensors/owner/hierarchy.h has the same values.
 */
enum { V1_NONE, V1_CPUACCT, V1_CPU, V1_MEMORY };
const volatile __u32 v1_controller = V1_NONE;
const volatile int v1_hierarchy; /* its number, as in /proc/self/cgroup; 0 is v2 */

#define ROOT_ID 1		/* the first inode of its kernfs */
#define V1_KEY (1ull << 63)	/* ids are unique within a hierarchy only */

static __always_inline struct cgroup_subsys_state *css_of(struct css_set *set, __u32 subsystem, bool direct)
{
	struct cgroup_subsys_state **css = &set->subsys[0];
	struct cgroup_subsys_state *value;

	if (direct)
		return css[subsystem];
	bpf_probe_read_kernel(&value, sizeof(value), css + subsystem);
	return value;
}

static __always_inline struct kernfs_node *cgroup_of(struct task_struct *task, __u64 *key, bool direct)
{
	struct css_set *set = FIELD(task, cgroups);
	struct cgroup *cgroup = FIELD(set, dfl_cgrp);
	struct kernfs_node *node = FIELD(cgroup, kn);
	struct cgroup_subsys_state *css;

	*key = FIELD(node, id);
	if (v1_controller == V1_NONE || *key != ROOT_ID)
		return node;
	if (v1_controller == V1_CPUACCT)
		css = css_of(set, bpf_core_enum_value(enum cgroup_subsys_id, cpuacct_cgrp_id), direct);
	else if (v1_controller == V1_CPU)
		css = css_of(set, bpf_core_enum_value(enum cgroup_subsys_id, cpu_cgrp_id), direct);
	else
		css = css_of(set, bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id), direct);
	cgroup = FIELD(css, cgroup);
	node = FIELD(cgroup, kn);
	*key = FIELD(node, id) | V1_KEY;
	return node;
}

static __always_inline struct kernfs_node *parent_of(struct kernfs_node *node)
{
	/* v6.15 renamed kernfs_node::parent to __parent. */
	if (bpf_core_field_exists(node->__parent))
		return BPF_CORE_READ(node, __parent);
	return BPF_CORE_READ((struct kernfs_node___pre615 *)node, parent);
}

static __always_inline void read_path(struct vitald_cgroup_path *path, struct kernfs_node *node, __u64 key)
{
	struct kernfs_node *parent;
	int i;

	path->id = key;
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

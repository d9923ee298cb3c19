/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From a task to its cgroups, and from a cgroup to its names. */
#ifndef VITALD_CGROUP_BPF_H
#define VITALD_CGROUP_BPF_H

#include "probe.bpf.h"
#include "vitald/owner.h"

/*
 * Whose a task is, is said by its cgroup on v2, and where there is a v1 hierarchy with this controller, by its cgroup
 * there: both may be in use at once. User space takes the one that says more. sensors/owner/hierarchy.h has the same
 * values.
 */
enum { V1_NONE, V1_CPUACCT, V1_CPU, V1_MEMORY };
const volatile __u32 v1_controller = V1_NONE;
const volatile int v1_hierarchy; /* its number, as in /proc/self/cgroup; 0 is v2 */

#define V1_KEY (1ull << 63) /* ids are unique within a hierarchy only */

struct cgroups {
	struct cgroup *v2, *v1; /* v1 is NULL where there is none */
};

static __always_inline struct cgroup_subsys_state *css_of(struct css_set *set, __u32 subsystem, bool direct)
{
	struct cgroup_subsys_state **css = &set->subsys[0];
	struct cgroup_subsys_state *value;

	if (direct)
		return css[subsystem];
	bpf_probe_read_kernel(&value, sizeof(value), css + subsystem);
	return value;
}

static __always_inline struct cgroup *v1_of(struct css_set *set, bool direct)
{
	struct cgroup_subsys_state *css;

	if (v1_controller == V1_CPUACCT)
		css = css_of(set, bpf_core_enum_value(enum cgroup_subsys_id, cpuacct_cgrp_id), direct);
	else if (v1_controller == V1_CPU)
		css = css_of(set, bpf_core_enum_value(enum cgroup_subsys_id, cpu_cgrp_id), direct);
	else
		css = css_of(set, bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id), direct);
	return FIELD(css, cgroup);
}

static __always_inline __u64 id_of(struct cgroup *cgroup, bool direct)
{
	struct kernfs_node *node = FIELD(cgroup, kn);

	return FIELD(node, id);
}

/* Not inlined: out of a loop the compiler would take what a kernel without the field must not come to. */
static __noinline struct kernfs_node *parent_of(struct kernfs_node *node)
{
	/* v6.15 renamed kernfs_node::parent to __parent. */
	if (bpf_core_field_exists(node->__parent))
		return BPF_CORE_READ(node, __parent);
	return BPF_CORE_READ((struct kernfs_node___pre615 *)node, parent);
}

#define SKIP_LEVELS 256

/* A function of its own: rare, and long. */
static __noinline int read_path(struct vitald_cgroup_path *path, struct cgroup *cgroup)
{
	struct kernfs_node *nodes[VITALD_CGROUP_LEVELS] = {};
	struct kernfs_node *node = BPF_CORE_READ(cgroup, kn), *parent;
	int skip = BPF_CORE_READ(cgroup, level) - VITALD_CGROUP_LEVELS, i;
	__u64 size = 0;
	__u32 level = 0;
	long n;

	path->cut = skip > 0;
	path->size = 0;
	__builtin_memset(path->ids, 0, sizeof(path->ids));
	for (i = 0; i < SKIP_LEVELS; i++) {
		if (i >= skip)
			break;
		node = parent_of(node);
	}
#pragma unroll
	for (i = 0; i < VITALD_CGROUP_LEVELS; i++) {
		parent = parent_of(node);
		if (!parent) /* the root has no name */
			break;
		nodes[i] = node;
		node = parent;
	}
	if (parent_of(node))
		path->cut = 2;
#pragma unroll
	for (i = VITALD_CGROUP_LEVELS - 1; i >= 0; i--) {
		if (!nodes[i])
			continue;
		if (level < VITALD_CGROUP_LEVELS)
			path->ids[level++] = BPF_CORE_READ(nodes[i], id);
		if (size > VITALD_PATH_BYTES - VITALD_CGROUP_NAME) {
			path->cut |= 1;
			continue;
		}
		n = bpf_probe_read_kernel_str(path->text + size, VITALD_CGROUP_NAME, BPF_CORE_READ(nodes[i], name));
		if (n <= 0 || n > VITALD_CGROUP_NAME)
			break;
		size += n;
	}
	path->size = size;
	return 0;
}

#endif

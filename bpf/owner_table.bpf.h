/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps of the object owners, which every object that counts per owner shares (bpf_map__reuse_fd), and the way from
 * a task to its slot: owner_of() for whoever follows the scheduler, owner_seldom() for everybody else.
 */
#ifndef VITALD_OWNER_TABLE_BPF_H
#define VITALD_OWNER_TABLE_BPF_H

#include "cgroup.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs */
	__type(key, __u32);
	__type(value, struct vitald_owner_cpu);
} owner_cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* slots */
	__type(key, __u32);
	__type(value, struct vitald_slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* slots; where there is a v1 hierarchy twice as many, its names behind those of v2 */
	__type(key, __u32);
	__type(value, struct vitald_cgroup_path);
} paths SEC(".maps");

/* Entries are made here and removed by user space, which also refills the free slots. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* slots */
	__type(key, struct vitald_cgroup_key);
	__type(value, __u32);
} slot_of SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK); /* the lowest first: of those more is kept */
	__uint(max_entries, 1); /* slots */
	__type(value, __u32);
} free_slots SEC(".maps");

/* By the id of a cgroup, of v1 with V1_KEY. Filled and emptied by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* slots */
	__type(key, __u64);
	__type(value, struct vitald_territory);
} territories SEC(".maps");

const volatile __u32 owner_slots = 1;

__u64 turned_away = 0; /* for want of a slot; once per CPU and cgroup */

static __always_inline bool is_online(struct cgroup *cgroup)
{
	return BPF_CORE_READ(cgroup, self.flags) & 2; /* CSS_ONLINE; rmdir takes it away */
}

/* Of the cgroup and those above it the first that is one. */
static __noinline struct vitald_territory *territory_above(struct cgroup *cgroup, __u64 hierarchy)
{
	struct kernfs_node *node = BPF_CORE_READ(cgroup, kn);
	struct vitald_territory *found;
	__u64 id;
	int i;

	for (i = 0; i < SKIP_LEVELS + VITALD_CGROUP_LEVELS && node; i++) {
		id = BPF_CORE_READ(node, id) | hierarchy;
		found = bpf_map_lookup_elem(&territories, &id);
		if (found)
			return found;
		node = parent_of(node);
	}
	return NULL;
}

/*
 * The slot of the territory a task is in, 0 when it is in none or when that can't be said here: outside of the known
 * one the other hierarchy's path may say more, which only user space can tell.
 */
static __noinline __u32 territory_slot(struct cgroup *v2, struct cgroup *v1)
{
	struct vitald_territory *a = territory_above(v2, 0), *b = v1 ? territory_above(v1, V1_KEY) : NULL;

	if (a && b)
		return b->rank > a->rank ? b->slot : a->slot;
	if (a && (a->rank >= VITALD_RANK_MOST || !v1 || !BPF_CORE_READ(v1, level)))
		return a->slot;
	if (b && !BPF_CORE_READ(v2, level))
		return b->slot;
	return 0;
}

/* 0 when all slots are taken. Rare: once per cgroup and CPU, and again when the cache entry was taken over. */
static __noinline __u32 find_slot(struct vitald_cgroup_key *key, struct cgroup *v2, struct cgroup *v1)
{
	struct vitald_cgroup_path *path;
	struct vitald_slot *owner;
	__u32 *known, slot = 0, v1_slot;

	known = bpf_map_lookup_elem(&slot_of, key);
	if (known)
		return *known;
	slot = territory_slot(v2, v1);
	if (slot)
		return slot;
	if (bpf_map_pop_elem(&free_slots, &slot)) {
		__sync_fetch_and_add(&turned_away, 1);
		return 0;
	}
	owner = bpf_map_lookup_elem(&slots, &slot);
	if (!owner)
		return 0;
	owner->dead = 0; /* before anybody else can find it */
	owner->owner = 0;
	if (bpf_map_update_elem(&slot_of, key, &slot, BPF_NOEXIST)) { /* another CPU was faster */
		bpf_map_push_elem(&free_slots, &slot, 0);
		known = bpf_map_lookup_elem(&slot_of, key);
		return known ? *known : 0;
	}
	path = bpf_map_lookup_elem(&paths, &slot);
	if (path)
		read_path(path, v2);
	if (v1) {
		v1_slot = slot + owner_slots;
		path = bpf_map_lookup_elem(&paths, &v1_slot);
		if (path)
			read_path(path, v1);
	}
	owner->key = *key;
	/* A task that exits may run once more after its cgroup was removed, and nobody will be told of that again. */
	if (!is_online(v2) || (v1 && !is_online(v1)))
		owner->dead = 1;
	barrier(); /* user space reads the rest when it sees this */
	owner->used = 1;
	return slot;
}

static __always_inline __u32 owner_of_slot(__u32 slot)
{
	struct vitald_slot *owner = bpf_map_lookup_elem(&slots, &slot);

	return owner ? owner->owner : 0;
}

/* A task's slot. */
static __always_inline __u32 owner_of(struct vitald_owner_cpu *o, struct task_struct *task, bool direct)
{
	struct css_set *set = FIELD(task, cgroups);
	struct vitald_cgroup_key key = {};
	struct cgroup *v2 = FIELD(set, dfl_cgrp), *v1 = NULL;
	__u32 i;

	key.v2 = id_of(v2, direct);
	if (v1_controller != V1_NONE) {
		v1 = v1_of(set, direct);
		key.v1 = id_of(v1, direct);
	}
	i = (key.v2 + key.v1) & (VITALD_OWNER_CACHE - 1);
	if (o->cache[i].key.v2 != key.v2 || o->cache[i].key.v1 != key.v1) {
		o->cache[i].slot = find_slot(&key, v2, v1);
		o->cache[i].key = key;
	}
	return o->cache[i].slot;
}

/*
 * The same for programs that others may interrupt: they leave the cache to the scheduler's. Rarer events, so the hash
 * may be asked.
 */
static __always_inline __u32 owner_seldom(struct task_struct *task, bool direct)
{
	struct css_set *set = FIELD(task, cgroups);
	struct vitald_cgroup_key key = {};
	struct cgroup *v2 = FIELD(set, dfl_cgrp), *v1 = NULL;

	key.v2 = id_of(v2, direct);
	if (v1_controller != V1_NONE) {
		v1 = v1_of(set, direct);
		key.v1 = id_of(v1, direct);
	}
	return find_slot(&key, v2, v1);
}

#endif

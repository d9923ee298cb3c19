/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Block IO latency per disk and operation, queue and device time apart. One hook and no map of requests in flight
 * where the kernel keeps both times in the request: start_time_ns with queue/iostats=1, io_start_time_ns when
 * something wants statistics (wbt, kyber). When requests of some disk come without, user space attaches insert and
 * issue as well, and for that disk alone what they recorded stands in for what is missing.
 *
 * What counts as one request and how long it took is what the kernel accounts (__blk_account_io_done, block/blk-mq.c),
 * so that sums agree with /proc/diskstats. A write that has to flush the disk's cache goes through steps (blk-flush.c),
 * each of which completes; it ends with a last completion of no bytes, and what it waited for is its time. One that is
 * nothing but a flush never was issued itself: all of its time is its device's.
 */
#include "owner_table.bpf.h"
#include "vitald/block.h"

const volatile bool issue_has_queue = false; /* block_rq_insert/issue(q, rq) before v5.11 */
const volatile bool trust_request_times = true; /* false in tests */
const volatile __u32 flush_step = 1u << 4; /* RQF_FLUSH_SEQ: between the steps of a flush, which is not accounted */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs */
	__type(key, __u32);
	__type(value, struct vitald_block_cpu);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs * VITALD_BLOCK_ROWS */
	__type(key, __u32);
	__type(value, struct vitald_block_row);
} rows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs * owner_slots */
	__type(key, __u32);
	__type(value, struct vitald_block_owner_row);
} owner_rows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs * detailed_slots */
	__type(key, __u32);
	__type(value, struct vitald_block_owner_hist);
} owner_hists SEC(".maps");

const volatile __u32 detailed_slots = 1;

/* Which disk and operation a row is for. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, VITALD_BLOCK_ROWS);
	__type(key, __u32);
	__type(value, struct vitald_block_key);
} keys SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, VITALD_BLOCK_ROWS);
	__type(key, struct vitald_block_key);
	__type(value, __u32);
} row_of SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, VITALD_BLOCK_ROWS);
	__type(value, __u32);
} free_rows SEC(".maps");

/* Disks whose requests come without the kernel's times, by number. Filled here, emptied by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* 1024, or more on many CPUs */
	__type(key, __u32);
	__type(value, __u32);
} untimed_disks SEC(".maps");

/*
 * Requests on their way to such a disk, by address. An address is used again, and the end of one life may have been
 * missed (a request that was merged into another does not complete), so where on the disk it goes must be the same.
 * Full: the oldest requests are forgotten and counted as untimed.
 */
struct times {
	__u64 insert_ns;
	__u64 issue_ns;
	__u64 first, last; /* sectors; a request that waits may still grow at one end */
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* 16384, or more on many CPUs */
	__type(key, __u64);
	__type(value, struct times);
} in_flight SEC(".maps");

static __always_inline struct gendisk *disk_of(struct request *rq, bool direct)
{
	if (bpf_core_field_exists(((struct request_queue *)0)->disk)) {
		struct request_queue *q = FIELD(rq, q);

		return FIELD(q, disk);
	}
	return FIELD((struct request___pre517 *)rq, rq_disk);
}

static __always_inline __u32 find_row(struct vitald_block_key *key)
{
	struct vitald_block_key *taken;
	__u32 *known, row = 0;

	known = bpf_map_lookup_elem(&row_of, key);
	if (known)
		return *known;
	if (bpf_map_pop_elem(&free_rows, &row))
		return key->op;
	taken = bpf_map_lookup_elem(&keys, &row);
	if (!taken || bpf_map_update_elem(&row_of, key, &row, BPF_NOEXIST)) { /* another CPU was faster */
		bpf_map_push_elem(&free_rows, &row, 0);
		known = bpf_map_lookup_elem(&row_of, key);
		return known ? *known : key->op;
	}
	*taken = *key;
	return row;
}

static __always_inline __u64 op_of(__u32 cmd_flags)
{
	switch (cmd_flags & 0xff) { /* enum req_op: these four have not changed since v4.8 */
	case 0:
		return VITALD_BLOCK_READ;
	case 1:
		return VITALD_BLOCK_WRITE;
	case 2:
		return VITALD_BLOCK_FLUSH;
	case 3:
		return VITALD_BLOCK_DISCARD;
	}
	return VITALD_BLOCK_OTHER;
}

static __always_inline __u32 number_of(struct gendisk *disk, bool direct)
{
	return (__u32)FIELD(disk, major) << 20 | ((__u32)FIELD(disk, first_minor) & 0xfffff);
}

static __always_inline bool same_place(struct times *seen, struct request *rq, bool direct)
{
	__u64 first = FIELD(rq, __sector);

	return seen->first == first || seen->last == first + (FIELD(rq, __data_len) >> 9);
}

/*
 * Whom the kernel charges for it: the cgroup that dirtied the page or called read(2), of the first of its bios. On v2
 * alone: where tasks are told apart by a v1 hierarchy, that of blkio does not say whose it is.
 */
static __always_inline __u32 owner_of_request(struct bio *bio, bool direct)
{
	struct vitald_cgroup_key key = {};
	struct cgroup_root *root;
	struct blkcg_gq *group;
	struct cgroup *cgroup;
	struct blkcg *blkcg;

	if (v1_controller != V1_NONE || !bpf_core_field_exists(bio->bi_blkg) || !bio)
		return 0;
	group = FIELD(bio, bi_blkg);
	if (!group)
		return 0;
	blkcg = FIELD(group, blkcg);
	if (!blkcg)
		return 0;
	cgroup = FIELD(blkcg, css.cgroup);
	if (!cgroup)
		return 0;
	root = FIELD(cgroup, root);
	if (!root || FIELD(root, hierarchy_id))
		return 0;
	key.v2 = id_of(cgroup, direct);
	return find_slot(&key, cgroup, NULL);
}

/* `took`: 0 where its start is not known, or it is not over. */
static __always_inline void add_to_owner(struct vitald_block_cpu *c, __u64 op, __u32 bytes, bool over, __u64 took)
{
	__u32 cpu = bpf_get_smp_processor_id(), slot = c->slot, index = cpu * owner_slots + slot, bucket;
	struct vitald_block_owner_row *row = bpf_map_lookup_elem(&owner_rows, &index);
	struct vitald_block_owner_hist *hist;

	if (!row)
		return;
	if (op == VITALD_BLOCK_READ) {
		row->reads += over;
		row->read_bytes += bytes;
		row->read_ns += took;
	} else if (op == VITALD_BLOCK_WRITE) {
		row->writes += over;
		row->write_bytes += bytes;
		row->write_ns += took;
	} else {
		row->others += over;
		row->other_bytes += bytes;
		return;
	}
	index = cpu * detailed_slots + (slot < detailed_slots ? slot : 0);
	hist = bpf_map_lookup_elem(&owner_hists, &index);
	if (!took || !hist)
		return;
	bucket = vitald_coarse_slot(vitald_hist_slot(took));
	if (op == VITALD_BLOCK_READ) {
		hist->reads[bucket]++;
		hist->read_ns += took;
	} else {
		hist->writes[bucket]++;
		hist->write_ns += took;
	}
}

/* The row of the disk and operation, of this CPU. */
static __always_inline struct vitald_block_row *row_of_disk(struct vitald_block_cpu *c, struct gendisk *disk, __u32 device,
							    __u64 op)
{
	__u32 index = bpf_get_smp_processor_id() * VITALD_BLOCK_ROWS;
	__u64 number_op = (__u64)device << 8 | op;
	struct vitald_block_key key = {};

	if (c->disk != (__u64)disk || c->number_op != number_op) {
		bpf_probe_read_kernel(key.disk, sizeof(key.disk), disk->disk_name);
		key.op = op;
		key.device = device;
		c->row = find_row(&key);
		c->disk = (__u64)disk;
		c->number_op = number_op;
	}
	index += c->row;
	return bpf_map_lookup_elem(&rows, &index);
}

/* The slowest one so far. At its end nobody knows any more which process it was. */
static __noinline int note_worst(struct vitald_block_cpu *c, struct vitald_block_row *row, __u64 ns, __u64 sector)
{
	__u64 at = bpf_ktime_get_boot_ns();

	if (!c || !row)
		return 0;
	row->worst.check = ns + at;
	barrier();
	row->worst.at_ns = at;
	row->worst.place = sector + 1;
	row->worst.slot = c->slot;
	barrier();
	row->worst.ns = ns;
	return 0;
}

static __always_inline int completed(struct request *rq, int error, __u32 bytes, bool direct)
{
	__u32 cpu = bpf_get_smp_processor_id(), on = wanted & enabled, length, device;
	struct vitald_block_cpu *c = bpf_map_lookup_elem(&cpus, &cpu);
	__u64 now, start = 0, issue = 0, op, request = (__u64)rq;
	struct vitald_block_row *row;
	struct gendisk *disk;
	struct bio *bio;
	bool step;
	int major;

	if (!(on & (VITALD_BLOCK_LATENCY | VITALD_OWNER_IO)) || !c)
		return 0;
	disk = disk_of(rq, direct);
	if (!disk) /* a host adapter's own queue, no disk */
		return 0;
	major = FIELD(disk, major);
	if (major == 1 || major == 2 || major == 7) /* ram, floppy, loop: Documentation/admin-guide/devices.txt */
		return 0;
	op = op_of(FIELD(rq, cmd_flags));
	device = number_of(disk, direct);
	row = row_of_disk(c, disk, device, op);
	if (!row)
		return 0;

	row->bytes += bytes;
	length = FIELD(rq, __data_len);
	bio = FIELD(rq, bio);
	/* Here and nowhere else: the verifier follows each place to its end, for each way that leads there. */
	c->slot = on & VITALD_OWNER_IO ? owner_of_request(bio, direct) : 0;
	if (bytes < length) { /* more of it is to come */
		if (error)
			row->errors++;
		if (on & VITALD_OWNER_IO)
			add_to_owner(c, op, bytes, false, 0);
		return 0;
	}
	step = FIELD(rq, rq_flags) & flush_step;
	now = bpf_ktime_get_ns();
	if (trust_request_times) {
		start = FIELD(rq, start_time_ns);
		issue = FIELD(rq, io_start_time_ns);
	}
	if (step) {
		/* That with the data is the owner's operation: at the end nobody can tell any more whose it was. */
		if (on & VITALD_OWNER_IO && bytes)
			add_to_owner(c, op, bytes, true, start && now > start ? now - start : 0);
		return 0;
	}
	if (error)
		row->errors++;
	if (!start || !issue) {
		struct times *seen = bpf_map_lookup_elem(&in_flight, &request);
		bool ours = seen && same_place(seen, rq, direct);

		if (ours && !start)
			start = seen->insert_ns;
		if (ours && !issue)
			issue = seen->issue_ns;
		if (seen)
			bpf_map_delete_elem(&in_flight, &request);
	}
	if (on & VITALD_OWNER_IO && (bio || length || op != VITALD_BLOCK_WRITE))
		add_to_owner(c, op, bytes, true, start && now > start ? now - start : 0);
	if (op == VITALD_BLOCK_WRITE && !length && !issue) { /* nothing but a flush */
		if (start && now >= start) {
			vitald_hist_add(&row->device, now - start);
			vitald_hist_add(&row->queue, 0);
		}
		return 0;
	}
	if (!issue || !start) {
		__u32 one = 1;

		row->untimed++;
		if (!error)
			bpf_map_update_elem(&untimed_disks, &device, &one, BPF_ANY);
	} else if (!trust_request_times || !FIELD(rq, start_time_ns) || !FIELD(rq, io_start_time_ns)) {
		row->recorded++;
	}
	if (issue && now >= issue) {
		vitald_hist_add(&row->device, now - issue);
		if (now - issue > row->worst.ns)
			note_worst(c, row, now - issue, FIELD(rq, __sector));
	}
	if (issue && start)
		vitald_hist_add(&row->queue, issue > start ? issue - start : 0);
	return 0;
}

static __always_inline int on_way(struct request *rq, bool issued, bool direct)
{
	struct gendisk *disk = disk_of(rq, direct);
	struct times now = {}, *seen;
	__u64 request = (__u64)rq;
	__u32 device;

	if (!(wanted & enabled & (VITALD_BLOCK_LATENCY | VITALD_OWNER_IO)) || !disk)
		return 0;
	device = number_of(disk, direct);
	if (!bpf_map_lookup_elem(&untimed_disks, &device))
		return 0;
	now.insert_ns = bpf_ktime_get_ns();
	now.first = FIELD(rq, __sector);
	now.last = now.first + (FIELD(rq, __data_len) >> 9);
	if (issued) { /* without a scheduler it was never queued */
		now.issue_ns = now.insert_ns;
		seen = bpf_map_lookup_elem(&in_flight, &request);
		if (seen && !seen->issue_ns && same_place(seen, rq, direct))
			now.insert_ns = seen->insert_ns;
	}
	bpf_map_update_elem(&in_flight, &request, &now, BPF_ANY);
	return 0;
}

SEC("tp_btf/block_rq_complete")
int on_complete(__u64 *ctx)
{
	TIMED(COST_ON_COMPLETE, completed((struct request *)ctx[0], (int)ctx[1], (__u32)ctx[2], true));
}

SEC("raw_tp/block_rq_complete")
int on_complete_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_COMPLETE, completed((struct request *)ctx->args[0], (int)ctx->args[1], (__u32)ctx->args[2], false));
}

SEC("tp_btf/block_rq_insert")
int on_insert(__u64 *ctx)
{
	TIMED(COST_ON_INSERT, on_way((struct request *)(issue_has_queue ? ctx[1] : ctx[0]), false, true));
}

SEC("raw_tp/block_rq_insert")
int on_insert_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_INSERT, on_way((struct request *)(issue_has_queue ? ctx->args[1] : ctx->args[0]), false, false));
}

SEC("tp_btf/block_rq_issue")
int on_issue(__u64 *ctx)
{
	TIMED(COST_ON_ISSUE, on_way((struct request *)(issue_has_queue ? ctx[1] : ctx[0]), true, true));
}

SEC("raw_tp/block_rq_issue")
int on_issue_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_ISSUE, on_way((struct request *)(issue_has_queue ? ctx->args[1] : ctx->args[0]), true, false));
}

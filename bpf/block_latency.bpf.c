/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Block IO latency per disk and operation, queue and device time apart. One hook and no map of requests in flight
 * where the kernel keeps both times in the request: start_time_ns with queue/iostats=1, io_start_time_ns when
 * something wants statistics (wbt, kyber). When requests of some disk come without, user space attaches insert and
 * issue as well, and what they recorded stands in for what is missing.
 */
#include "probe.bpf.h"
#include "vitald/block_latency.h"

const volatile bool issue_has_queue = false; /* block_rq_insert/issue(q, rq) before v5.11 */
const volatile bool trust_request_times = true; /* false in tests */

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

/* Only where the kernel keeps no times. Full: the oldest requests are forgotten and counted as untimed. */
struct times {
	__u64 insert_ns;
	__u64 issue_ns;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
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

static __always_inline int completed(struct request *rq, int error, __u32 bytes, bool direct)
{
	__u32 cpu = bpf_get_smp_processor_id(), index;
	struct vitald_block_cpu *c = bpf_map_lookup_elem(&cpus, &cpu);
	__u64 now, start, issue, op, number_op, request = (__u64)rq;
	struct vitald_block_key key;
	struct vitald_block_row *row;
	struct gendisk *disk;
	int major;

	if (!c)
		return 0;
	disk = disk_of(rq, direct);
	if (!disk) /* a host adapter's own queue, no disk */
		return 0;
	major = FIELD(disk, major);
	if (major == 1 || major == 2 || major == 7) /* ram, floppy, loop: Documentation/admin-guide/devices.txt */
		return 0;
	op = op_of(FIELD(rq, cmd_flags));
	number_op = (__u64)major << 40 | (__u64)FIELD(disk, first_minor) << 8 | op;
	if (c->disk != (__u64)disk || c->number_op != number_op) {
		bpf_probe_read_kernel(key.disk, sizeof(key.disk), disk->disk_name);
		key.op = op;
		c->row = find_row(&key);
		c->disk = (__u64)disk;
		c->number_op = number_op;
	}
	index = cpu * VITALD_BLOCK_ROWS + c->row;
	row = bpf_map_lookup_elem(&rows, &index);
	if (!row)
		return 0;

	row->bytes += bytes;
	if (error)
		row->errors++;
	if (bytes < FIELD(rq, __data_len)) /* more of it is to come */
		return 0;
	now = bpf_ktime_get_ns();
	start = trust_request_times ? FIELD(rq, start_time_ns) : 0;
	issue = trust_request_times ? FIELD(rq, io_start_time_ns) : 0;
	if (!start || !issue) {
		struct times *seen = bpf_map_lookup_elem(&in_flight, &request);

		if (seen) {
			if (!issue)
				issue = seen->issue_ns;
			if (!start)
				start = seen->insert_ns;
			bpf_map_delete_elem(&in_flight, &request);
		}
		if (!issue || !start)
			row->untimed++;
	}
	if (issue && now >= issue)
		vitald_hist_add(&row->device, now - issue);
	if (issue && start)
		vitald_hist_add(&row->queue, issue > start ? issue - start : 0);
	return 0;
}

static __always_inline int on_way(__u64 request, bool issued)
{
	struct times first = {}, *seen = bpf_map_lookup_elem(&in_flight, &request);
	__u64 now = bpf_ktime_get_ns();

	if (seen && issued) {
		seen->issue_ns = now;
		return 0;
	}
	first.insert_ns = now; /* issued without a scheduler: it was never queued */
	first.issue_ns = issued ? now : 0;
	bpf_map_update_elem(&in_flight, &request, &first, BPF_ANY);
	return 0;
}

SEC("tp_btf/block_rq_complete")
int on_complete(__u64 *ctx)
{
	return completed((struct request *)ctx[0], (int)ctx[1], (__u32)ctx[2], true);
}

SEC("raw_tp/block_rq_complete")
int on_complete_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return completed((struct request *)ctx->args[0], (int)ctx->args[1], (__u32)ctx->args[2], false);
}

SEC("tp_btf/block_rq_insert")
int on_insert(__u64 *ctx)
{
	return on_way(issue_has_queue ? ctx[1] : ctx[0], false);
}

SEC("raw_tp/block_rq_insert")
int on_insert_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return on_way(issue_has_queue ? ctx->args[1] : ctx->args[0], false);
}

SEC("tp_btf/block_rq_issue")
int on_issue(__u64 *ctx)
{
	return on_way(issue_has_queue ? ctx[1] : ctx[0], true);
}

SEC("raw_tp/block_rq_issue")
int on_issue_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return on_way(issue_has_queue ? ctx->args[1] : ctx->args[0], true);
}

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How long softirqs and interrupts' handlers ran, exactly: /proc/stat samples them at the tick where the kernel is built
 * without CONFIG_IRQ_TIME_ACCOUNTING, as Debian's is. Each runs to its end on one CPU, so what began is kept per CPU; what
 * interrupts it meanwhile is part of its time.
 */
#include "probe.bpf.h"
#include "vitald/irq.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs */
	__type(key, __u32);
	__type(value, struct vitald_softirq_cpu);
} softirqs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs */
	__type(key, __u32);
	__type(value, struct vitald_hardirq_cpu);
} hardirqs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, VITALD_IRQ_ROWS);
	__type(key, __u32);
	__type(value, struct vitald_irq_name);
} names SEC(".maps");

static __always_inline int softirq_begins(void)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct vitald_softirq_cpu *c = bpf_map_lookup_elem(&softirqs, &cpu);

	if (wanted & enabled & VITALD_SOFTIRQ_LATENCY && c)
		c->since_ns = bpf_ktime_get_ns();
	return 0;
}

static __always_inline int softirq_ends(__u32 vector)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct vitald_softirq_cpu *c = bpf_map_lookup_elem(&softirqs, &cpu);

	if (!(wanted & enabled & VITALD_SOFTIRQ_LATENCY) || !c || !c->since_ns || vector >= VITALD_SOFTIRQS)
		return 0;
	vitald_hist_add(&c->runs[vector], bpf_ktime_get_ns() - c->since_ns);
	c->since_ns = 0;
	return 0;
}

static __always_inline __u32 row_number(int irq)
{
	return (__u32)irq < VITALD_IRQ_ROWS - 1 ? (__u32)irq & (VITALD_IRQ_ROWS - 1) : VITALD_IRQ_ROWS - 1;
}

static __always_inline int hardirq_begins(int irq, struct irqaction *action, bool direct)
{
	__u32 cpu = bpf_get_smp_processor_id(), number = row_number(irq);
	struct vitald_hardirq_cpu *c = bpf_map_lookup_elem(&hardirqs, &cpu);
	struct vitald_irq_name *name;
	const char *text;

	if (!(wanted & enabled & VITALD_HARDIRQ_LATENCY) || !c)
		return 0;
	text = FIELD(action, name);
	/* The last row is many interrupts', each with its name, and has none. */
	if (number != VITALD_IRQ_ROWS - 1 && c->rows[number].name != (__u64)text) { /* on a line that devices share, each time */
		c->rows[number].name = (__u64)text;
		name = bpf_map_lookup_elem(&names, &number);
		if (name) {
			bpf_probe_read_kernel_str(name->name, sizeof(name->name), text);
			__sync_fetch_and_add(&name->changes, 1);
		}
	}
	c->since_ns = bpf_ktime_get_ns();
	return 0;
}

static __always_inline int hardirq_ends(int irq)
{
	__u32 cpu = bpf_get_smp_processor_id(), number = row_number(irq);
	struct vitald_hardirq_cpu *c = bpf_map_lookup_elem(&hardirqs, &cpu);
	__u64 ns;

	if (!(wanted & enabled & VITALD_HARDIRQ_LATENCY) || !c || !c->since_ns)
		return 0;
	ns = bpf_ktime_get_ns() - c->since_ns;
	c->since_ns = 0;
	vitald_hist_add(&c->runs, ns);
	c->rows[number].ns += ns;
	c->rows[number].count++;
	return 0;
}

SEC("tp_btf/softirq_entry")
int on_softirq(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_SOFTIRQ, softirq_begins());
}

SEC("raw_tp/softirq_entry")
int on_softirq_raw(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_SOFTIRQ, softirq_begins());
}

SEC("tp_btf/softirq_exit")
int on_softirq_end(__u64 *ctx)
{
	TIMED(COST_ON_SOFTIRQ_END, softirq_ends((__u32)ctx[0]));
}

SEC("raw_tp/softirq_exit")
int on_softirq_end_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_SOFTIRQ_END, softirq_ends((__u32)ctx->args[0]));
}

SEC("tp_btf/irq_handler_entry")
int on_hardirq(__u64 *ctx)
{
	TIMED(COST_ON_HARDIRQ, hardirq_begins((int)ctx[0], (struct irqaction *)ctx[1], true));
}

SEC("raw_tp/irq_handler_entry")
int on_hardirq_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_HARDIRQ, hardirq_begins((int)ctx->args[0], (struct irqaction *)ctx->args[1], false));
}

SEC("tp_btf/irq_handler_exit")
int on_hardirq_end(__u64 *ctx)
{
	TIMED(COST_ON_HARDIRQ_END, hardirq_ends((int)ctx[0]));
}

SEC("raw_tp/irq_handler_exit")
int on_hardirq_end_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_HARDIRQ_END, hardirq_ends((int)ctx->args[0]));
}

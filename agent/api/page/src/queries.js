// What the page asks for, by view: a name, PromQL, and whether its past is shown as well. All of a view go as one
// request: each expression's series get the label `q` with its name, and `or` puts them together.

const REAL_DISKS = 'device!~"(dm-|md|loop|zram|ram|nbd|sr|fd).*"';
const REAL_LINKS = 'device!~"lo|veth.*|cali.*|cilium.*|tap.*|vnet.*|docker.*|br-.*|virbr.*|cni.*|flannel.*|dummy.*|ifb.*"';
// All ones of seven bits: what a chip reads where no diode is connected. And a counter of energy that stands still is one
// that nothing counts on, as in most guests: no package takes 0 W.
const CONNECTED = "!= 127";
const OWNER = "owner_kind, owner, namespace, pod, container, guest";
// Packets a second that a device dropped or had errors with, in and out; --collector.netdev.enable-detailed-metrics has
// names of its own for them.
const LOST = [["receive_drop", "receive_dropped"], ["receive_errs", "receive_errors"], ["transmit_drop", "transmit_dropped"], ["transmit_errs", "transmit_errors"]];
const lost = (w) => LOST.map((names) => `sum(${names.map((name) => `rate(node_network_${name}_total{${REAL_LINKS}}[${w}])`).join(" or ")})`).join(" + ");
const perOwner = (metric, w, more = "") => `sum by (${OWNER}) (rate(${metric}${more}[${w}]))`;

// `w`: the window of rates.
export const queries = {
  overview: (w) => ({
    cpu: [`avg by (mode) (rate(node_cpu_seconds_total[${w}]))`, "past"],
    cpus: ['count(node_cpu_seconds_total{mode="idle"})'],
    load: ["node_load1", "past"],
    mem_total: ["node_memory_MemTotal_bytes"],
    mem_free: ["node_memory_MemAvailable_bytes", "past"],
    mem_cache: ["node_memory_Cached_bytes + node_memory_Buffers_bytes", "past"],
    swap_used: ["node_memory_SwapTotal_bytes - node_memory_SwapFree_bytes"],
    swap_total: ["node_memory_SwapTotal_bytes"],
    disk_busy: [`max(rate(node_disk_io_time_seconds_total{${REAL_DISKS}}[${w}]))`, "past"],
    disk_read: [`sum(rate(node_disk_read_bytes_total{${REAL_DISKS}}[${w}]))`, "past"],
    disk_write: [`sum(rate(node_disk_written_bytes_total{${REAL_DISKS}}[${w}]))`, "past"],
    net_in: [`sum(rate(node_network_receive_bytes_total{${REAL_LINKS}}[${w}]))`, "past"],
    net_out: [`sum(rate(node_network_transmit_bytes_total{${REAL_LINKS}}[${w}]))`, "past"],
    net_lost: [lost(w)],
    temp: [`max((vitald_sensor_temperature_celsius or node_hwmon_temp_celsius or node_thermal_zone_temp) ${CONNECTED})`, "past"],
    watts: [`vitald_host_power_watts or sum(rate(node_rapl_package_joules_total[${w}])) > 0`, "past"],
    psi_cpu: [`rate(node_pressure_cpu_waiting_seconds_total[${w}])`, "past"],
    psi_io: [`rate(node_pressure_io_waiting_seconds_total[${w}])`, "past"],
    psi_mem: [`rate(node_pressure_memory_waiting_seconds_total[${w}])`, "past"],
    runq: [`sum by (le) (rate(vitald_sched_runqueue_latency_seconds_bucket[${w}]))`, "past"],
    block: [`sum by (le) (rate(vitald_block_device_latency_seconds_bucket[${w}]))`, "past"],
    fs_size: ['max by (mountpoint, device, fstype) (node_filesystem_size_bytes{fstype!~"tmpfs|ramfs|devtmpfs|squashfs|iso9660|erofs|overlay|fuse.*"})'],
    fs_free: ['max by (mountpoint, device, fstype) (node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|devtmpfs|squashfs|iso9660|erofs|overlay|fuse.*"})'],
    top_cpu: [`topk(6, ${perOwner("vitald_owner_cpu_seconds_total", w)})`],
    top_wait: [`topk(6, ${perOwner("vitald_owner_wait_seconds_total", w)} > 0)`],
    top_io: [`topk(6, ${perOwner("vitald_owner_block_bytes_total", w)} > 0)`],
    boot: ["node_boot_time_seconds"],
  }),
  owners: (w) => ({
    owners: ["vitald_owners"],
    lumped: ["vitald_owners_lumped"],
    o_cpu: [`topk(100, ${perOwner("vitald_owner_cpu_seconds_total", w)})`],
    o_wait: [`topk(100, ${perOwner("vitald_owner_wait_seconds_total", w)})`],
    o_io: [`topk(100, ${perOwner("vitald_owner_block_bytes_total", w)})`],
    o_iotime: [`topk(100, ${perOwner("vitald_owner_block_seconds_total", w)})`],
    o_mem: [
      `topk(100, sum by (${OWNER}) (label_replace(rate(vitald_owner_memory_limit_reclaim_seconds_total[${w}]), "k", "l", "", "") or label_replace(rate(vitald_owner_memory_compaction_seconds_total[${w}]), "k", "c", "", "")))`,
    ],
    o_energy: [`topk(100, ${perOwner("vitald_owner_energy_joules_total", w)})`],
    // A counter that was not there before counts from 0.
    o_oom: [`sum by (${OWNER}) ((vitald_owner_oom_kills_total unless vitald_owner_oom_kills_total offset 15m) or round(increase(vitald_owner_oom_kills_total[15m]))) > 0`],
    blame: [`topk(50, sum by (culprit_kind, culprit, owner_kind, owner) (rate(vitald_owner_blamed_wait_seconds_total[${w}])) > 0)`],
    causes: [`sum by (cause) (rate(vitald_owner_wait_seconds_total[${w}]))`, "past"],
  }),
  guests: (w) => ({
    up: ["libvirt_up"],
    g_cpu: [`sum by (domain, uuid) (rate(libvirt_domain_info_cpu_time_seconds_total[${w}]))`, "past"],
    g_delay: [`sum by (domain, uuid) (rate(libvirt_domain_vcpu_delay_seconds_total[${w}]))`],
    g_vcpus: ["libvirt_domain_info_virtual_cpus"],
    g_state: ["libvirt_domain_info_vstate or libvirt_domain_state_code"],
    g_mem: ["libvirt_domain_info_memory_usage_bytes"],
    g_rss: ["libvirt_domain_memory_stats_rss_bytes"],
    g_used: ["libvirt_domain_memory_stats_used_percent"],
    g_read: [`sum by (domain, uuid) (rate(libvirt_domain_block_stats_read_bytes_total[${w}]))`],
    g_write: [`sum by (domain, uuid) (rate(libvirt_domain_block_stats_write_bytes_total[${w}]))`],
    g_in: [`sum by (domain, uuid) (rate(libvirt_domain_interface_stats_receive_bytes_total[${w}]))`],
    g_out: [`sum by (domain, uuid) (rate(libvirt_domain_interface_stats_transmit_bytes_total[${w}]))`],
  }),
  sensors: (w) => ({
    s_temp: [`(vitald_sensor_temperature_celsius or (node_hwmon_temp_celsius unless on (instance) vitald_sensor_temperature_celsius)) ${CONNECTED}`, "past"],
    s_zone: ["node_thermal_zone_temp", "past"],
    s_fan: ["vitald_sensor_fan_rpm or (node_hwmon_fan_rpm unless on (instance) vitald_sensor_fan_rpm)", "past"],
    s_volt: ["vitald_sensor_voltage_volts or (node_hwmon_in_volts unless on (instance) vitald_sensor_voltage_volts)", "past"],
    s_power: ["vitald_sensor_power_watts or ((node_hwmon_power_average_watt or node_hwmon_power_watt) unless on (instance) vitald_sensor_power_watts)", "past"],
    s_amps: ["vitald_sensor_current_amperes or (node_hwmon_curr_amps unless on (instance) vitald_sensor_current_amperes)", "past"],
    s_hum: ["vitald_sensor_humidity_ratio", "past"],
    s_state: ["vitald_sensor_state == 1"],
    s_limit: ['{__name__=~"node_hwmon_(temp|fan|in|power|curr)_(min|max|lcrit|crit|emergency|cap)_(celsius|rpm|volts|watt|amps)"}'],
    // sensors.conf makes other numbers of these than the kernel has, and the limits are the kernel's.
    s_computed: ['vitald_sensor_info{computed="true"}'],
    s_names: ["node_hwmon_chip_names"],
    s_labels: ["node_hwmon_sensor_label"],
    s_package: [`rate(node_rapl_package_joules_total[${w}]) > 0`, "past"],
    s_dram: [`rate(node_rapl_dram_joules_total[${w}]) > 0`, "past"],
    s_host: ["vitald_host_power_watts", "past"],
    s_throttle: [`sum(rate(node_cpu_package_throttles_total[${w}]))`],
    s_battery: ["node_power_supply_capacity", "past"],
  }),
  alerts: () => ({}),
  query: () => ({}),
  agent: (w) => ({
    d_queued: ["vitald_delivery_queued"],
    d_age: ["vitald_delivery_oldest_age_seconds"],
    d_done: ["vitald_delivery_delivered_total"],
    // Attempts are up to five minutes apart, and pushes as far as they are set: what happened lately, not now.
    d_failed: ["increase(vitald_delivery_failed_total[10m])"],
    d_taken: ["sum by (destination) (increase(vitald_delivery_delivered_total[15m]))"],
    d_lost: [
      'sum by (destination) (label_replace(increase(vitald_push_dropped_samples_total[15m]), "k", "p", "", "") or label_replace(increase(vitald_delivery_dropped_total[15m]), "k", "d", "", ""))',
    ],
    d_dropped: ["sum by (destination) (vitald_delivery_dropped_total)"],
    d_disk: ["vitald_delivery_disk_bytes"],
    d_failing: ["vitald_delivery_disk_failing"],
    d_samples: [`rate(vitald_push_sent_samples_total[${w}])`],
    d_pdropped: ["sum by (destination) (vitald_push_dropped_samples_total)"],
    h_queue: ["vitald_hook_queue_length"],
    h_runs: ["sum by (hook, result) (vitald_hook_runs_total)"],
    p_cost: [`sum by (probe) (rate(vitald_probe_cost_seconds_total[${w}]))`, "past"],
    p_runs: [`sum by (probe) (rate(vitald_probe_runs_total[${w}]))`],
    c_cpu: [`rate(vitald_collector_cpu_seconds_total[${w}])`],
    c_took: ["node_scrape_collector_duration_seconds"],
    c_left: ["vitald_collector_left_out > 0"],
    a_cpu: [`rate(process_cpu_seconds_total[${w}])`, "past"],
    a_rss: ["process_resident_memory_bytes", "past"],
    a_series: ["vitald_history_series"],
    a_samples: ["vitald_history_samples"],
    a_oldest: ["vitald_history_oldest_sample_age_seconds"],
    a_hist: ["vitald_history_sample_bytes + vitald_history_label_bytes"],
    a_cycle: [`rate(vitald_cycle_duration_seconds_sum[${w}]) / rate(vitald_cycle_duration_seconds_count[${w}])`, "past"],
    a_state: ["vitald_state_directory_usable"],
  }),
};

export function together(named) {
  return Object.entries(named)
    .map(([name, [text]]) => `label_replace(${text}, "q", "${name}", "", "")`)
    .join(" or ");
}
export const withPast = (named) => Object.fromEntries(Object.entries(named).filter(([, q]) => q[1] === "past"));

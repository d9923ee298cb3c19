// SPDX-License-Identifier: Apache-2.0
#include "agent/docs.h"

#include "agent/api/endpoints.h"
#include "agent/config/flags.h"
#include "agent/pipeline/pipeline.h"
#include "exporters/encode/metrics_docs.h"
#include "rules/checks.h"
#include "rules/engine.h"

namespace vitald {
namespace {

// prometheus-cpp knows an instrument only once it is used. tests/docs_test.py compares this with the sources.
constexpr MetricDesc kInstruments[] = {
    {"vitald_cycles_total", MetricType::counter, "Collections of all collectors."},
    {"vitald_cycles_missed_total", MetricType::counter,
     "Scheduled collections left out because one before took too long."},
    {"vitald_cycles_failed_total", MetricType::counter,
     "Collections given up for want of memory, or because of a bug; the log says which."},
    {"vitald_cycle_duration_seconds", MetricType::histogram, "How long a collection took."},
    {"vitald_rules_rounds_total", MetricType::counter,
     "Rounds of the rules: a snapshot goes into history, groups that are due are judged."},
    {"vitald_rules_round_seconds_total", MetricType::counter, "How long the rounds of the rules took, all together."},
    {"vitald_rules_round_failures_total", MetricType::counter,
     "Rounds of the rules that an exception ended: a bug, the log has its text."},
    {"vitald_history_series", MetricType::gauge, "Series that the history has samples of, those that ended included."},
    {"vitald_history_samples", MetricType::gauge, "Samples in the history."},
    {"vitald_history_sample_bytes", MetricType::gauge, "Memory for the history's samples and their times."},
    {"vitald_history_label_bytes", MetricType::gauge, "Memory for the label sets of the history's series."},
    {"vitald_history_oldest_sample_age_seconds", MetricType::gauge, "Age of the oldest sample in the history."},
    {"vitald_history_evicted_samples_total", MetricType::counter,
     "Samples that went before their time: history.memory was reached."},
    {"vitald_queries_total", MetricType::counter,
     "Queries of the API, by how they ended: success, bad_data, execution, timeout, or unavailable where too many "
     "wait.",
     "result"},
    {"vitald_evidence_bundles_total", MetricType::counter,
     "Bundles of evidence for alerts that fired: written, failed (the log says why), or late: receivers were told "
     "without. Of those written, unsynced: a power cut may take them, the log says why.",
     "result"},
    {"vitald_evidence_disk_bytes", MetricType::gauge, "Size of the bundles of evidence in --state.directory."},
    {"vitald_evidence_seconds_total", MetricType::counter,
     "How long gathering evidence took, all together: receivers wait for it."},
    {"vitald_last_words_total", MetricType::counter,
     "Lines that were written to the kernel's log because a critical alert fired."},
    {"vitald_query_seconds_total", MetricType::counter, "How long queries of the API took, all together."},
    {"vitald_query_cache_hits_total", MetricType::counter,
     "Queries of the API that were answered with what was found in this round."},
    {"vitald_history_saved_timestamp_seconds", MetricType::gauge,
     "When the history was written to --state.directory, seconds since the epoch; 0: not in this run."},
    {"vitald_history_saved_bytes", MetricType::gauge, "Size of the history in --state.directory."},
    {"vitald_history_save_failures_total", MetricType::counter, "Times that the history could not be written."},
    {"vitald_history_restored_samples", MetricType::gauge,
     "Samples of earlier runs that were in --state.directory at the start."},
    {"vitald_alerts_restored", MetricType::gauge,
     "Pending and firing alerts of an earlier run that were in --state.directory at the start."},
    {"vitald_alerts_saved_timestamp_seconds", MetricType::gauge,
     "Of which round the alerts in --state.directory are, seconds since the epoch; 0: of none of this run."},
    {"vitald_alerts_save_failures_total", MetricType::counter, "Times that the alerts could not be written."},
    {"vitald_claims_saved_timestamp_seconds", MetricType::gauge,
     "When what receivers own (Kubernetes' conditions) was written to --state.directory, seconds since the epoch; 0: "
     "not "
     "in this run, since it did not change."},
    {"vitald_claims_save_failures_total", MetricType::counter, "Times that what receivers own could not be written."},
    {"vitald_scrapes_total", MetricType::counter, "Scrapes that were answered, by the format of the answer.", "format"},
    {"vitald_scrapes_late_total", MetricType::counter, "Scrapes whose deadline came before a new snapshot did."},
    {"vitald_events_total", MetricType::counter,
     "Events that collectors told of, by type; posted: those of programs of this host.", "type"},
    {"vitald_events_left_out_total", MetricType::counter,
     "Events beyond what one collection may bring; they are only counted."},
    {"vitald_conflicts", MetricType::gauge,
     "Families and series left out because another collector, a text file or a rule gives them too."},
    {"vitald_http_requests_total", MetricType::counter, "Requests for anything but the metrics, by HTTP status.",
     "code"},
    {"vitald_state_directory_usable", MetricType::gauge,
     "1 when --state.directory keeps what must survive a restart, 0 when nothing is kept."},
    {"vitald_web_config_in_force", MetricType::gauge,
     "1: what --web.config.file and its certificates say is in force. 0: they cannot be read or are wrong, and what "
     "was "
     "in force stays."},
    {"vitald_delivery_queued", MetricType::gauge, "Items that are not delivered yet.", "data_type,destination"},
    {"vitald_delivery_oldest_age_seconds", MetricType::gauge,
     "How long the oldest item that is not delivered waits; 0: there is none.", "data_type,destination"},
    {"vitald_delivery_delivered_total", MetricType::counter, "Items that the destination took.",
     "data_type,destination"},
    {"vitald_delivery_failed_total", MetricType::counter, "Attempts after which some items have to be tried again.",
     "data_type,destination"},
    {"vitald_delivery_dropped_total", MetricType::counter,
     "Items that will never be delivered: no room (full), the receiver does not want them (refused), they are too "
     "large, the command for them failed (failed), any of that with an alert about the delivery of alerts "
     "(about_delivery), or they could not be kept (lost).",
     "data_type,destination,reason"},
    {"vitald_delivery_refusing", MetricType::gauge,
     "1 from when the destination lost what it was sent (refused, too large, or the command for it failed) until it "
     "takes what it is sent next. Alerts about the delivery of alerts do not count.",
     "data_type,destination"},
    {"vitald_delivery_disk_bytes", MetricType::gauge, "Size of the queue's files in --state.directory.",
     "data_type,destination"},
    {"vitald_delivery_disk_failing", MetricType::gauge,
     "1 while the disk does not take what waits: a restart would lose it.", "data_type,destination"},
    {"vitald_push_samples_total", MetricType::counter, "Samples made for the destination.", "destination"},
    {"vitald_push_sent_samples_total", MetricType::counter, "Samples that the destination took.", "destination"},
    {"vitald_push_sent_bytes_total", MetricType::counter,
     "Bytes of the requests that the destination took, as they were sent.", "destination"},
    {"vitald_push_dropped_samples_total", MetricType::counter,
     "Samples that the destination will never have: no room (full), it does not want them (refused), too large, or "
     "nowhere to keep them at the end (lost).",
     "destination,reason"},
    {"vitald_push_requests_total", MetricType::counter,
     "Requests to the destination, by the HTTP status of the answer; none: there was no answer.", "code,destination"},
    {"vitald_push_request_duration_seconds", MetricType::histogram, "How long requests to the destination took.",
     "destination"},
    {"vitald_push_encode_seconds_total", MetricType::counter, "CPU time for making what is sent out of snapshots.",
     "destination"},
    {"vitald_push_server_changes_total", MetricType::counter,
     "Times that another server of the destination was sent to than before.", "destination"},
    {"vitald_push_standby", MetricType::gauge,
     "Which server of the destination is sent to; 0: that of its URL, 1: its first standby.", "destination"},
    {"vitald_push_left_out_series", MetricType::gauge,
     "Series that the destination is not sent: beyond max_series, made the same as others by relabelling, or given a "
     "name that is none.",
     "destination"},
    {"vitald_alertmanager_up", MetricType::gauge, "1 when the Alertmanager took what it was sent last.",
     "destination,target"},
    {"vitald_alertmanager_errors_total", MetricType::counter, "Requests that the Alertmanager did not take.",
     "destination,target"},
    {"vitald_log_dropped_total", MetricType::counter,
     "Lines for standard error that were dropped because nobody took them."},
    {"vitald_hook_runs_total", MetricType::counter, "Commands run for alerts, by how they ended.", "hook,result"},
    {"vitald_hook_duration_seconds", MetricType::histogram, "How long the commands run for alerts took.", "hook"},
    {"vitald_hook_queue_length", MetricType::gauge, "Alert transitions that wait for the command.", "hook"},
    {"vitald_hook_dropped_total", MetricType::counter, "Alert transitions dropped because the queue was full.", "hook"},
    {"promhttp_metric_handler_requests_total", MetricType::counter, "Total number of scrapes by HTTP status code.",
     "code"},
    {"promhttp_metric_handler_requests_in_flight", MetricType::gauge, "Current number of scrapes being served."},
    {"promhttp_metric_handler_errors_total", MetricType::counter,
     "Total number of internal errors encountered by the promhttp metric handler.", "cause"},
};

}  // namespace

std::string metrics_docs() {
  const DocsSection others[] = {
      {"Every collector", "Written by the pipeline for each collector that runs.", HealthWriter::metrics()},
      {"The agent", "Written by the pipeline once a cycle.", Pipeline::metrics()},
      {"Rules",
       "Written where rules are loaded, beside the series that recording rules name; with the labels of the alert.",
       RuleEngine::metrics()},
      {"Checks", "Written where Rackscope's check libraries are loaded (--checks.file).", Checks::metrics()},
      {"The agent's instruments", "Its own counters and histograms; those of hooks where hooks are configured.",
       kInstruments},
  };
  return metrics_markdown(collector_list(), others);
}

std::vector<KnownFamily> all_families(const Options& options) {
  static const auto kSwitches = [] {
    std::vector<std::string> all;
    for (const auto& c : collector_list()) all.push_back("--" + switch_name(c));
    return all;
  }();
  std::vector<KnownFamily> out;
  const auto add = [&](std::span<const MetricDesc> metrics, std::string_view off = {}) {
    for (const auto& m : metrics) out.push_back({m.name, m.labels, off});
  };
  auto flag = kSwitches.begin();
  for (const auto& c : collector_list()) {
    add(c.info->metrics, is_wanted(c, options) ? std::string_view() : *flag);
    ++flag;
  }
  for (const auto metrics : {HealthWriter::metrics(), Pipeline::metrics(), RuleEngine::metrics(), Checks::metrics()})
    add(metrics);
  add(kInstruments);
  return out;
}

std::string api_docs() { return routes_markdown(endpoints(AgentView{})); }

}  // namespace vitald

// SPDX-License-Identifier: Apache-2.0
// What the C++ client makes of a vitald's answers, as lines of text: scheduler_test.py compares them with the answers.
// usage: client_probe URL CALLBACK_URL
#include <cstdio>
#include <string>

#include "deploy/clients/cpp/vitald_client.h"

using namespace vitald::client;

namespace {

void print(const std::string& name, double value) { std::printf("%s %.17g\n", name.c_str(), value); }
void print(const std::string& name, const std::string& text) { std::printf("%s %s\n", name.c_str(), text.c_str()); }

// What it throws.
template <class Call>
std::string error_of(Call&& call) {
  try {
    call();
  } catch (const Error& e) {
    return e.what();
  }
  return "none";
}

void run(const std::string& url, const std::string& callback_url) {
  const auto me = registration(url + "/");
  print("registration.uuid", me.uuid);
  print("registration.endpoint_url", me.endpoint_url);
  print("registration.created_at", me.created_at);
  print("registration.scrape_interval", static_cast<double>(me.scrape_interval));
  Telemetry telemetry(Hosts{{me.uuid, url}, {"gone", "http://127.0.0.1:1"}});
  for (const auto& [name, value] : telemetry.get_utilization(me.uuid)) print("utilization." + name, value);
  const auto hot = telemetry.utilization(me.uuid, {{"temperature_threshold", 1}});
  print("hot.schedulable", hot.schedulable ? "true" : "false");
  print("hot.reason", hot.reasons.empty() ? "" : hot.reasons[0]);
  print("temperature.source", hot.temperature ? hot.temperature->source : "");
  const auto metrics =
      telemetry.query_metrics({me.uuid, "stranger"}, {"test_value", "node_memory_MemTotal_bytes", "no such"});
  print("metrics.hosts", static_cast<double>(metrics.size()));
  for (const auto& [name, value] : metrics.at(me.uuid)) print("metrics." + name, value);
  const auto now = telemetry.utilization(me.uuid).timestamp;
  const auto means = telemetry.query_metrics({me.uuid}, {"test_value"}, TimeRange{now - 60, now});
  for (const auto& [name, value] : means.at(me.uuid)) print("mean." + name, value);
  print("weight.gone", telemetry.weight("gone") ? "some" : "none");
  print("error.gone", error_of([&] { telemetry.utilization("gone"); }));
  print("error.stranger", error_of([&] { telemetry.utilization("stranger"); }));
  print("error.refused", error_of([&] { telemetry.utilization(me.uuid, {{"cpu_treshold", 1}}); }));
  Telemetry here(Hosts{{me.uuid, url}});
  const auto ids = here.register_callback("alert_resolved", callback_url);
  print("callback.id", ids.at(me.uuid));
  here.unregister_callback(me.uuid, ids.at(me.uuid));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: client_probe URL CALLBACK_URL\n"), 2;
  try {
    run(argv[1], argv[2]);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return 0;
}

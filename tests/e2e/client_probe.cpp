// SPDX-License-Identifier: Apache-2.0
// What the C++ client makes of a vitald's answers, as lines of text: scheduler_test.py compares them with the answers.
// usage: client_probe URL CALLBACK_URL FULL STUBBORN MEETING...
// FULL refuses callbacks, STUBBORN keeps them, MEETING ones answer when each of them was asked.
#include <chrono>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

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

// One that is away, beside those that are there.
void several(const std::string& me, const std::string& url, const std::vector<std::string>& meeting) {
  Access patient;
  patient.timeout = std::chrono::seconds(20);
  Hosts hosts{{me, url}, {"gone", "http://127.0.0.1:1"}};
  std::vector<std::string> asked{"gone", me, me, "stranger"};
  for (const auto& m : meeting) hosts[m] = m, asked.push_back(m);
  Telemetry telemetry(hosts, patient);
  for (int twice = 0; twice < 2; ++twice) {
    const auto got = telemetry.query_metrics(asked, {"test_value"});
    const std::map<std::string, std::map<std::string, double>> as_before = got;
    print("several.hosts", static_cast<double>(as_before.size()));
    print("several.failed", static_cast<double>(got.failed.size()));
    print("several.gone", got.failed.at("gone"));
  }
  print("error.all", error_of([&] { telemetry.query_metrics({"gone"}, {"test_value"}); }));
}

void callbacks(const std::string& me, const std::string& url, const std::string& callback_url, const std::string& full,
               const std::string& stubborn) {
  const auto error = [&](const char* type, Hosts hosts) {
    return error_of([&] { Telemetry(std::move(hosts)).register_callback(type, callback_url); });
  };
  print("callback.gone", error("alert_resolved", {{me, url}, {"gone", "http://127.0.0.1:1"}}));
  print("callback.full", error("*", {{me, url}, {"full", full}}));
  print("callback.there", error("alert_firing", {{me, url}, {"full", full}}));
  print("callback.stubborn", error("*", {{me, url}, {"full", full}, {"stubborn", stubborn}}));
}

void run(const std::string& url, const std::string& callback_url, const std::string& full, const std::string& stubborn,
         const std::vector<std::string>& meeting) {
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
  several(me.uuid, url, meeting);
  callbacks(me.uuid, url, callback_url, full, stubborn);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return std::fprintf(stderr, "usage: client_probe URL CALLBACK_URL FULL STUBBORN MEETING...\n"), 2;
  try {
    run(argv[1], argv[2], argv[3], argv[4], {argv + 5, argv + argc});
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return 0;
}

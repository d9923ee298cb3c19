// SPDX-License-Identifier: Apache-2.0
// Telemetry of hosts that run vitald, for schedulers in C++17: this header, one source file, libcurl and nlohmann-json
// (Debian: libcurl4-openssl-dev or -gnutls-dev, nlohmann-json3-dev).
//
//   vitald::client::Telemetry telemetry(vitald::client::Hosts{{uuid, "http://compute-001:9100"}});
//   auto utilization = telemetry.utilization(uuid);      // what is not known is not there: no default is made up
//   auto weight = telemetry.weight(uuid);                // nothing: do not place here
//
// The uuid of a host: registration(url).uuid. Everything throws Error, whose text says which host and why. By one
// thread at a time; of several objects each has its own connections.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace vitald {
namespace client {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// How a host is reached. Empty: not needed there.
struct Access {
  std::string user, password;  // of its --web.config.file
  std::string ca_file;         // who signed its certificate, if not a CA of this system
  bool verify = true;          // false: any certificate will do
  std::chrono::milliseconds timeout{5000};
};

struct Registration {
  std::string uuid, name, endpoint_url, type, created_at, updated_at;
  long long scrape_interval = 0;  // seconds
  bool enabled = false;
};

struct Reading {
  double value = 0;        // percent, watts or degrees Celsius
  double age_seconds = 0;  // when it was answered
  std::string source;
};
struct Utilization {
  std::string provider_uuid, name;
  double timestamp = 0;                               // seconds since the epoch
  std::optional<Reading> cpu, memory, disk, network;  // percent
  std::optional<Reading> power;                       // watts
  std::optional<Reading> temperature;                 // degrees Celsius
  std::optional<double> available_capacity;           // percent
  bool schedulable = false;
  std::vector<std::string> reasons;  // why not
};

// Seconds since the epoch.
struct TimeRange {
  double begin = 0, end = 0;
};

using Hosts = std::map<std::string, std::string>;  // provider uuid -> base URL

// {uuid: {metric: value}} of the hosts that answered, and beside it which did not.
struct Metrics : std::map<std::string, std::map<std::string, double>> {
  std::map<std::string, std::string> failed;  // {uuid: why}
};

// Of the vitald at `url`.
Registration registration(const std::string& url, const Access& access = {});

class Telemetry {
 public:
  explicit Telemetry(Hosts hosts, Access access = {});
  ~Telemetry();
  Telemetry(const Telemetry&) = delete;
  Telemetry& operator=(const Telemetry&) = delete;

  // {uuid: {metric: value}}: of each metric the sum over its series, now or its mean over the range. A metric that a
  // host does not have is left out, and so is a host that is not known here. Hosts are asked at the same time; one that
  // fails is in `failed`. Throws where all failed.
  Metrics query_metrics(const std::vector<std::string>& provider_uuids, const std::vector<std::string>& metrics,
                        std::optional<TimeRange> range = {});
  // `thresholds`: {"cpu_threshold", 90} and the like; above one the host is not schedulable.
  Utilization utilization(const std::string& provider_uuid, const std::map<std::string, double>& thresholds = {});
  // cpu, memory, disk, network, power, temperature, available_capacity: those that are known.
  std::map<std::string, double> get_utilization(const std::string& provider_uuid);
  // `callback_url` is posted events of that type ("alert_firing", "*", ...) of every host, also after its restart.
  // {uuid: id}. In order within one registration only: who wants "fires" before its "is over" asks for "*", or compares
  // the field `transition`. Throws where a host is away or refuses: nothing is registered then; what was is taken back,
  // and where that cannot be done the error says so.
  std::map<std::string, std::string> register_callback(const std::string& event_type, const std::string& callback_url);
  void unregister_callback(const std::string& provider_uuid, const std::string& id);

  // An example weigher: free capacity, less a point per 10 W and much for heat, as the one in Python.
  // Nothing: not schedulable, or it does not answer.
  std::optional<double> weight(const std::string& provider_uuid, double utilization_weight = 1,
                               double power_weight = 1);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace client
}  // namespace vitald

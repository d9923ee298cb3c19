// SPDX-License-Identifier: Apache-2.0
// What is asked of libvirt beside the bulk call: versions, the host, storage pools, networks, and jobs of guests. By a
// thread of its own, a round at a time, since each of these calls may wait for somebody else (a pool's server, an
// emulator that has to be started to tell its version), and nobody waits for that.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sensors/virt/connection.h"

namespace vitald::virt {

struct Pool {
  std::string name;
  int state = 0;  // virStoragePoolState
  double capacity_bytes = 0, allocation_bytes = 0, available_bytes = 0;
  bool told = false;  // the numbers were told
};
struct Network {
  std::string name, bridge;
  bool active = false;
};
struct Job {
  std::string domain, uuid;
  virDomainJobInfo info = {};
};
struct Findings {
  std::string hypervisor, daemon, mine;  // versions, "9.0.0"; empty where one could not be asked
  bool node_known = false;
  virNodeInfo node = {};
  std::vector<Pool> pools;
  std::vector<Network> networks;
  std::vector<Job> jobs;  // of guests that run
};

class Inventory {
 public:
  Inventory() = default;
  ~Inventory() { forget(); }
  Inventory(const Inventory&) = delete;
  Inventory& operator=(const Inventory&) = delete;

  // Begins a round where none is under way. `jobs`: with those of guests. What is not asked again (the host, pools) is
  // taken from the round before.
  void ask(const Library& lib, const Connection::Handle& handle, bool all, bool jobs, std::int64_t now_ns);
  // Of the last round that ended; null before the first, and when the one after it has waited for five minutes: nobody
  // knows any more what a pool has whose server does not answer.
  const Findings* findings(std::int64_t now_ns);
  // Nothing that was found is true any more. A round that still waits for its answers is left to itself.
  void forget();

 private:
  struct Round {
    Findings found;
    std::atomic<bool> done{false};
  };
  static constexpr std::int64_t kTooLongNs = 300'000'000'000;
  std::shared_ptr<Round> asking_, last_;
  std::int64_t asking_since_ns_ = 0;
  std::thread thread_;
};

}  // namespace vitald::virt

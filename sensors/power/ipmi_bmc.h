// SPDX-License-Identifier: Apache-2.0
// The talk with a machine's management controller (BMC): its sensors and what the machine draws.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/collector.h"
#include "core/result.h"
#include "sensors/power/ipmi_sdr.h"

namespace vitald::ipmi {

using Bytes = std::vector<std::uint8_t>;

// Sends a command to the BMC and gives its answer with the completion code first; it waits for that, and no longer than
// some seconds. Errors: gone, denied, timeout, io.
using Ask = std::function<Result<Bytes>(std::uint8_t netfn, std::uint8_t lun, std::uint8_t command,
                                        std::span<const std::uint8_t> data)>;
// Of /dev/ipmi0 and the like; opened anew after an error. `absent` where there is none.
Result<Ask> ask_device(const std::string& path);

struct Readings {
  struct Row {
    Sensor sensor;
    State state;
  };
  std::vector<Row> sensors;
  Result<> sensors_outcome;
  std::optional<double> watts;  // nullopt: this BMC does not measure it
  Result<> dcmi_outcome;
  bool has_dcmi = true;
  std::int64_t paced_ns = 1;  // for PacedRead: a BMC that was quick may hang the next time, so a helper talks to it
};

// Keeps the list of sensors, which is read again when the BMC says that it changed. What it refuses, DCMI or a record
// of the list, is asked for again after ten minutes. Not thread-safe.
class Bmc {
 public:
  using Now = std::function<std::int64_t()>;  // CLOCK_BOOTTIME
  explicit Bmc(
      Ask ask, Now now = [] { return SystemClock::read(CLOCK_BOOTTIME); })
      : ask_(std::move(ask)), now_(std::move(now)) {}
  void read(Readings& out);

 private:
  Result<> list();
  Result<Bytes> record(std::uint16_t id, std::uint16_t& next, std::uint16_t& reservation);
  Result<std::uint16_t> reserve();
  // The data of an answer whose completion code is 0.
  Result<Bytes> good(std::uint8_t netfn, std::uint8_t lun, std::uint8_t command, std::span<const std::uint8_t> data,
                     const char* what);
  Result<> power(Readings& out);

  Ask ask_;
  Now now_;
  std::vector<Sensor> sensors_;
  Bytes listed_as_;                            // what the repository said about itself
  Result<> list_outcome_;                      // of the list that is in use, where some of its records are missing
  std::int64_t list_again_ns_ = 0;             // then
  std::uint8_t completion_ = 0;                // of the last answer
  bool had_dcmi_ = false;                      // it has answered once: what it refuses later is a failure
  std::optional<std::int64_t> dcmi_again_ns_;  // it is refused: not asked before
};

}  // namespace vitald::ipmi

namespace vitald {

// The collector, talking by `ask`.
std::unique_ptr<Collector> make_ipmi(const Host& host, ipmi::Ask ask);

}  // namespace vitald

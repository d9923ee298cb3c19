// SPDX-License-Identifier: Apache-2.0
#include "sensors/power/ipmi_bmc.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace vitald::ipmi {
namespace {

constexpr std::uint8_t kSensorEvent = 0x04, kStorage = 0x0a, kGroup = 0x2c, kDcmi = 0xdc;
constexpr std::uint8_t kRepositoryInfo = 0x20, kReserve = 0x22, kGetRecord = 0x23, kGetReading = 0x2d, kGetPower = 0x02;
constexpr std::uint8_t kOurself = 0x20;  // the BMC's own address; others' sensors are behind a bus
constexpr std::uint16_t kLast = 0xffff;
constexpr std::uint8_t kReservationLost = 0xc5;
constexpr std::size_t kMostRecords = 4096;  // firmware whose list has no end
constexpr std::size_t kHeader = 5, kChunk = 16;
constexpr std::int64_t kAgainNs = 600'000'000'000;

bool not_there(std::uint8_t completion) {
  // Invalid command, not for this LUN, not here; reading of a sensor that is not there.
  return completion == 0xc1 || completion == 0xc2 || completion == 0xc9 || completion == 0xcb || completion == 0xcc ||
         completion == 0xcd || completion == 0xd5 || completion == 0xd6;
}

}  // namespace

Result<Bytes> Bmc::good(std::uint8_t netfn, std::uint8_t lun, std::uint8_t command, std::span<const std::uint8_t> data,
                        const char* what) {
  completion_ = 0;
  auto answer = ask_(netfn, lun, command, data);
  if (!answer) return fail(answer.error());
  if (answer->empty()) return fail(Errc::malformed, fmt::format("BMC: {}: an empty answer", what));
  completion_ = answer->front();
  if (completion_ != 0)
    return fail(not_there(completion_) ? Errc::absent : Errc::io,
                fmt::format("BMC: {}: completion code {:#04x}", what, completion_));
  answer->erase(answer->begin());
  return answer;
}

Result<std::uint16_t> Bmc::reserve() {
  const auto answer = good(kStorage, 0, kReserve, {}, "Reserve SDR Repository");
  // Optional; without it 0 is right.
  if (!answer)
    return answer.error().kind == Errc::absent ? Result<std::uint16_t>(std::uint16_t{0}) : fail(answer.error());
  if (answer->size() < 2) return fail(Errc::malformed, "BMC: Reserve SDR Repository: an answer that is too short");
  return static_cast<std::uint16_t>((*answer)[0] | (*answer)[1] << 8);
}

Result<Bytes> Bmc::record(std::uint16_t id, std::uint16_t& next, std::uint16_t& reservation) {
  Bytes out;
  std::size_t size = kHeader;
  int lost = 0;
  while (out.size() < size) {
    const auto want = std::min(kChunk, size - out.size());
    const std::uint8_t data[] = {static_cast<std::uint8_t>(reservation), static_cast<std::uint8_t>(reservation >> 8),
                                 static_cast<std::uint8_t>(id),          static_cast<std::uint8_t>(id >> 8),
                                 static_cast<std::uint8_t>(out.size()),  static_cast<std::uint8_t>(want)};
    auto answer = good(kStorage, 0, kGetRecord, data, "Get SDR");
    if (!answer && completion_ == kReservationLost && ++lost <= 3) {
      auto again = reserve();
      if (!again) return fail(again.error());
      reservation = *again;
      continue;
    }
    if (!answer) return fail(answer.error());
    if (answer->size() < 2 + want)
      return fail(Errc::malformed,
                  fmt::format("BMC: Get SDR: record {:#x} is cut after {} bytes", id, out.size() + answer->size()));
    next = static_cast<std::uint16_t>((*answer)[0] | (*answer)[1] << 8);
    out.insert(out.end(), answer->begin() + 2, answer->begin() + 2 + static_cast<std::ptrdiff_t>(want));
    if (out.size() == kHeader) size = kHeader + out[4];
  }
  return out;
}

Result<> Bmc::list() {
  // How many records, and when it was changed.
  auto about = good(kStorage, 0, kRepositoryInfo, {}, "Get SDR Repository Info");
  if (!about) return fail(about.error());
  const auto now = now_();
  if (*about == listed_as_ && (list_outcome_ || now < list_again_ns_)) return {};
  auto reservation = reserve();
  if (!reservation) return fail(reservation.error());
  std::vector<Sensor> found;
  Result<> outcome;
  std::uint16_t id = 0, next = 0;
  std::size_t count = 0;
  for (; id != kLast && count < kMostRecords; id = next, ++count) {
    next = kLast;
    const auto bytes = record(id, next, *reservation);
    if (!bytes) {
      // A record that the BMC refuses or cuts costs itself, where its header has said which one is next.
      const bool its_own =
          bytes.error().kind == Errc::malformed || (completion_ != 0 && completion_ != kReservationLost);
      if (!its_own) return fail(bytes.error());
      if (outcome) outcome = fail(bytes.error());
      continue;
    }
    auto sensor = parse_sensor(*bytes);
    if (sensor && sensor->owner == kOurself) found.push_back(std::move(*sensor));
  }
  if (count == kMostRecords) return fail(Errc::malformed, "BMC: the list of sensor records has no end");
  if (!outcome && found.empty()) return outcome;
  sensors_ = std::move(found);
  list_outcome_ = std::move(outcome);
  list_again_ns_ = now + kAgainNs;
  listed_as_ = std::move(*about);
  return {};
}

Result<> Bmc::power(Readings& out) {
  const std::uint8_t data[] = {kDcmi, 0x01, 0, 0};
  const auto answer = good(kGroup, 0, kGetPower, data, "DCMI Get Power Reading");
  if (!answer) {
    // What is not supported in the BMC's present state may be later.
    const bool refused = answer.error().kind == Errc::absent && !had_dcmi_;
    if (refused) dcmi_again_ns_ = now_() + kAgainNs;
    return refused ? Result<>() : fail(answer.error());
  }
  dcmi_again_ns_.reset();
  if (answer->size() < 18 || answer->front() != kDcmi)
    return fail(Errc::malformed, "BMC: DCMI Get Power Reading: not an answer of DCMI");
  had_dcmi_ = true;
  const bool measures = ((*answer)[17] & 0x40) != 0;
  if (measures) out.watts = (*answer)[1] | (*answer)[2] << 8;
  return {};
}

void Bmc::read(Readings& out) {
  out = {};
  if (!dcmi_again_ns_ || now_() >= *dcmi_again_ns_) out.dcmi_outcome = power(out);
  out.has_dcmi = !dcmi_again_ns_;
  // One that does not answer is not asked for each of its sensors.
  if (!out.dcmi_outcome && out.dcmi_outcome.error().kind == Errc::timeout) {
    out.sensors_outcome = fail(out.dcmi_outcome.error());
    return;
  }
  if (out.sensors_outcome = list(); !out.sensors_outcome) return;
  for (const auto& sensor : sensors_) {
    const auto answer = good(kSensorEvent, sensor.lun, kGetReading, std::span(&sensor.number, 1), "Get Sensor Reading");
    if (!answer && answer.error().kind != Errc::absent) {
      out.sensors_outcome = fail(answer.error().kind, fmt::format("{} (sensor {})", answer.error().text, sensor.name));
      if (answer.error().kind == Errc::timeout) return;
      continue;
    }
    out.sensors.push_back({sensor, answer ? state_of(sensor, *answer) : State{}});
  }
  if (out.sensors_outcome && !list_outcome_) out.sensors_outcome = fail(list_outcome_.error());
}

}  // namespace vitald::ipmi

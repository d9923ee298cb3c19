// SPDX-License-Identifier: Apache-2.0
// What disks say of their health, as bytes: NVMe's SMART log, ATA's IDENTIFY data, SMART data and thresholds, and the
// sense data in which a taskfile comes back. Bytes in, numbers out; nothing is asked here.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vitald::disk {

using Bytes = std::span<const std::uint8_t>;
inline constexpr std::size_t kSectorBytes = 512;  // of each of these structures
using Sector = std::array<std::uint8_t, kSectorBytes>;

// NVMe's log 02h (NVM Express Base Specification, "SMART / Health Information").
struct NvmeLog {
  unsigned critical_warning = 0;
  std::optional<double> celsius;                             // none where the drive says 0 K or 65535 K
  std::optional<unsigned> available_spare, spare_threshold;  // percent; none above 100, where drives have no such thing
  unsigned percentage_used = 0;                              // goes on above 100
  double bytes_read = 0, bytes_written = 0;
  double power_cycles = 0, power_on_seconds = 0, unsafe_shutdowns = 0, media_errors = 0, error_log_entries = 0;
};
// None: a log without anything in it, as some virtual controllers and broken drives give.
std::optional<NvmeLog> parse_nvme_log(const Sector& log);

// Of ATA's IDENTIFY DEVICE: what the drive can do and who it is (ACS-3, 7.12).
struct AtaIdentity {
  std::string model, serial, firmware;
  bool smart_supported = false, smart_enabled = false, power_management = false;
  unsigned rpm = 0;  // 0: it does not rotate, or does not say
  bool solid_state = false;
};
// None where its checksum is wrong or it is no ATA disk.
std::optional<AtaIdentity> parse_identity(const Sector& data);

struct AtaAttribute {
  unsigned id = 0, flags = 0, value = 0, worst = 0, threshold = 0;
  std::uint64_t raw = 0;  // 48 bits
};
// SMART READ DATA and, where they could be read, SMART READ THRESHOLDS. None where a checksum is wrong.
std::optional<std::vector<AtaAttribute>> parse_attributes(const Sector& data, const Sector* thresholds);
// As smartctl calls it where it does not know the drive: "Reallocated_Sector_Ct"; "Unknown_Attribute", and
// "Unknown_SSD_Attribute" of what is something else on discs: 231 is their temperature, and flash's life that is left.
std::string_view attribute_name(unsigned id, const AtaIdentity& disk);
// "PO--CK", and "prefailure,updated_online,event_count,auto_keep".
std::string flags_short(unsigned flags);
std::string flags_long(unsigned flags);
std::optional<double> celsius_of(std::span<const AtaAttribute> attributes);

// The registers of a taskfile, as sense data bring them back: in SAT's descriptor (09h), or in fixed format.
struct Taskfile {
  std::uint8_t error = 0, count = 0, lba_low = 0, lba_mid = 0, lba_high = 0, status = 0;
};
std::optional<Taskfile> parse_sense(Bytes sense);

// What CHECK POWER MODE says: whether the platters stand still.
bool stands_still(const Taskfile& answer);
// What SMART RETURN STATUS says; none where it says neither.
std::optional<bool> passed(const Taskfile& answer);

}  // namespace vitald::disk

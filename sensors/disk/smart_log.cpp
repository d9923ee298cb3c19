// SPDX-License-Identifier: Apache-2.0
#include "sensors/disk/smart_log.h"

#include <algorithm>
#include <cmath>

#include "core/text/scan.h"

namespace vitald::disk {
namespace {

unsigned u16(const Sector& s, std::size_t at) { return s[at] | static_cast<unsigned>(s[at + 1]) << 8; }

// 128 bits; beyond 2^53 rounded, which no drive reaches.
double u128(const Sector& s, std::size_t at) {
  double out = 0;
  for (std::size_t i = 16; i-- > 0;) out = out * 256 + s[at + i];
  return out;
}

// Words of two characters, the first one in the high byte; padded with spaces.
std::string ata_text(const Sector& s, std::size_t word, std::size_t words) {
  std::string out;
  for (std::size_t i = word; i < word + words; ++i)
    for (const auto c : {s[i * 2 + 1], s[i * 2]}) out += c >= 0x20 && c < 0x7f ? static_cast<char>(c) : ' ';
  return std::string(trim(out));
}

// Of SMART data, and of IDENTIFY data with its signature: all bytes together are 0.
bool adds_up(const Sector& s) {
  std::uint8_t sum = 0;
  for (const auto b : s) sum = static_cast<std::uint8_t>(sum + b);
  return sum == 0;
}

// What a name is for, where the other kind of disk counts something else under its number.
enum Of : std::uint8_t { kBoth, kDiscs, kFlash };
struct Name {
  unsigned id;
  std::string_view name;
  Of of = kBoth;
};
constexpr Name kNames[] = {
    {1, "Raw_Read_Error_Rate"},
    {2, "Throughput_Performance"},
    {3, "Spin_Up_Time"},
    {4, "Start_Stop_Count"},
    {5, "Reallocated_Sector_Ct"},
    {6, "Read_Channel_Margin", kDiscs},
    {7, "Seek_Error_Rate", kDiscs},
    {8, "Seek_Time_Performance", kDiscs},
    {9, "Power_On_Hours"},
    {10, "Spin_Retry_Count", kDiscs},
    {11, "Calibration_Retry_Count", kDiscs},
    {12, "Power_Cycle_Count"},
    {13, "Read_Soft_Error_Rate"},
    {22, "Helium_Level", kDiscs},
    {23, "Helium_Condition_Lower", kDiscs},
    {24, "Helium_Condition_Upper", kDiscs},
    {175, "Program_Fail_Count_Chip", kFlash},
    {176, "Erase_Fail_Count_Chip", kFlash},
    {177, "Wear_Leveling_Count", kFlash},
    {178, "Used_Rsvd_Blk_Cnt_Chip", kFlash},
    {179, "Used_Rsvd_Blk_Cnt_Tot", kFlash},
    {180, "Unused_Rsvd_Blk_Cnt_Tot", kFlash},
    {181, "Program_Fail_Cnt_Total"},
    {182, "Erase_Fail_Count_Total", kFlash},
    {183, "Runtime_Bad_Block"},
    {184, "End-to-End_Error"},
    {187, "Reported_Uncorrect"},
    {188, "Command_Timeout"},
    {189, "High_Fly_Writes", kDiscs},
    {190, "Airflow_Temperature_Cel"},
    {191, "G-Sense_Error_Rate", kDiscs},
    {192, "Power-Off_Retract_Count"},
    {193, "Load_Cycle_Count", kDiscs},
    {194, "Temperature_Celsius"},
    {195, "Hardware_ECC_Recovered"},
    {196, "Reallocated_Event_Count"},
    {197, "Current_Pending_Sector"},
    {198, "Offline_Uncorrectable"},
    {199, "UDMA_CRC_Error_Count"},
    {200, "Multi_Zone_Error_Rate", kDiscs},
    {201, "Soft_Read_Error_Rate", kDiscs},
    {202, "Data_Address_Mark_Errs", kDiscs},
    {203, "Run_Out_Cancel"},
    {204, "Soft_ECC_Correction"},
    {205, "Thermal_Asperity_Rate"},
    {206, "Flying_Height", kDiscs},
    {207, "Spin_High_Current", kDiscs},
    {208, "Spin_Buzz", kDiscs},
    {209, "Offline_Seek_Performnce", kDiscs},
    {220, "Disk_Shift", kDiscs},
    {221, "G-Sense_Error_Rate", kDiscs},
    {222, "Loaded_Hours", kDiscs},
    {223, "Load_Retry_Count", kDiscs},
    {224, "Load_Friction", kDiscs},
    {225, "Load_Cycle_Count", kDiscs},
    {226, "Load-in_Time", kDiscs},
    {227, "Torq-amp_Count", kDiscs},
    {228, "Power-off_Retract_Count"},
    {230, "Head_Amplitude", kDiscs},
    {231, "Temperature_Celsius", kDiscs},
    {232, "Available_Reservd_Space"},
    {233, "Media_Wearout_Indicator", kFlash},
    {240, "Head_Flying_Hours", kDiscs},
    {241, "Total_LBAs_Written"},
    {242, "Total_LBAs_Read"},
    {250, "Read_Error_Retry_Rate"},
    {254, "Free_Fall_Sensor", kDiscs},
};

struct Flag {
  char letter;
  std::string_view word;
};
// Bit 0 first.
constexpr Flag kFlags[] = {{'P', "prefailure"}, {'O', "updated_online"}, {'S', "performance"},
                           {'R', "error_rate"}, {'C', "event_count"},    {'K', "auto_keep"}};

}  // namespace

std::optional<NvmeLog> parse_nvme_log(const Sector& s) {
  for (const int nothing : {0, 0xff})  // of bridges that do not pass the command on
    if (std::ranges::all_of(s, [&](auto b) { return b == nothing; })) return std::nullopt;
  NvmeLog out;
  out.critical_warning = s[0];
  constexpr unsigned kAllOnes = 0xffff;
  if (const auto kelvin = u16(s, 1); kelvin != 0 && kelvin != kAllOnes) out.celsius = static_cast<double>(kelvin) - 273;
  constexpr unsigned kAll = 100;
  if (s[3] <= kAll) out.available_spare = s[3];
  if (s[4] <= kAll) out.spare_threshold = s[4];
  out.percentage_used = s[5];
  constexpr double kDataUnit = 1000.0 * 512;
  out.bytes_read = u128(s, 32) * kDataUnit;
  out.bytes_written = u128(s, 48) * kDataUnit;
  out.power_cycles = u128(s, 112);
  out.power_on_seconds = u128(s, 128) * 3600;
  out.unsafe_shutdowns = u128(s, 144);
  out.media_errors = u128(s, 160);
  out.error_log_entries = u128(s, 176);
  return out;
}

std::optional<AtaIdentity> parse_identity(const Sector& s) {
  constexpr std::uint8_t kSignature = 0xa5;  // word 255: then there is a checksum
  if (s[510] == kSignature && !adds_up(s)) return std::nullopt;
  if ((u16(s, 0) & 0x8000) != 0) return std::nullopt;  // ATAPI, or nothing at all
  AtaIdentity out;
  out.serial = ata_text(s, 10, 10);
  out.firmware = ata_text(s, 23, 4);
  out.model = ata_text(s, 27, 20);
  if (out.model.empty()) return std::nullopt;
  // Words 82 to 84 and 85 to 87 are meant when the two highest bits of 83 and of 87 are 01.
  const auto is_valid = [&](std::size_t word) { return (u16(s, word * 2) & 0xc000) == 0x4000; };
  if (is_valid(83)) {
    out.smart_supported = (u16(s, 82 * 2) & 0x1) != 0;
    out.power_management = (u16(s, 82 * 2) & 0x8) != 0;
  }
  if (is_valid(87)) out.smart_enabled = (u16(s, 85 * 2) & 0x1) != 0;
  const auto rpm = u16(s, 217 * 2);
  if (rpm >= 0x401 && rpm <= 0xfffe) out.rpm = rpm;
  out.solid_state = rpm == 1;
  return out;
}

std::optional<std::vector<AtaAttribute>> parse_attributes(const Sector& data, const Sector* thresholds) {
  if (!adds_up(data)) return std::nullopt;
  if (thresholds && !adds_up(*thresholds)) thresholds = nullptr;
  std::vector<AtaAttribute> out;
  for (std::size_t at = 2; at < 2 + 30 * 12; at += 12) {
    if (data[at] == 0) continue;
    AtaAttribute a;
    a.id = data[at];
    a.flags = u16(data, at + 1);
    a.value = data[at + 3];
    a.worst = data[at + 4];
    for (std::size_t i = 6; i-- > 0;) a.raw = a.raw << 8 | data[at + 5 + i];
    if (thresholds)
      for (std::size_t t = 2; t < 2 + 30 * 12; t += 12)
        if ((*thresholds)[t] == data[at]) a.threshold = (*thresholds)[t + 1];
    out.push_back(a);
  }
  return out;
}

std::string_view attribute_name(unsigned id, const AtaIdentity& disk) {
  const auto* found = std::ranges::find(kNames, id, &Name::id);
  if (found == std::end(kNames)) return "Unknown_Attribute";
  if (found->of == kDiscs && disk.solid_state) return "Unknown_SSD_Attribute";
  if (found->of == kFlash && disk.rpm > 0) return "Unknown_HDD_Attribute";
  return found->name;
}

std::string flags_short(unsigned flags) {
  std::string out;
  for (std::size_t bit = 0; bit < std::size(kFlags); ++bit) out += (flags >> bit & 1) != 0 ? kFlags[bit].letter : '-';
  return out;
}

std::string flags_long(unsigned flags) {
  std::string out;
  for (std::size_t bit = 0; bit < std::size(kFlags); ++bit) {
    if ((flags >> bit & 1) == 0) continue;
    if (!out.empty()) out += ',';
    out += kFlags[bit].word;
  }
  return out;
}

// 194, else 190: the lowest byte is the degrees; what is above is the lowest and highest so far.
std::optional<double> celsius_of(std::span<const AtaAttribute> attributes) {
  for (const unsigned id : {194U, 190U}) {
    const auto found = std::ranges::find(attributes, id, &AtaAttribute::id);
    if (found == attributes.end()) continue;
    const auto celsius = static_cast<std::int8_t>(found->raw & 0xff);
    if (celsius > 0) return celsius;
  }
  return std::nullopt;
}

std::optional<Taskfile> parse_sense(Bytes sense) {
  // Fixed format (70h, 71h), as many SAS controllers have it: the registers in the places of other information (SAT-3,
  // 12.2.2.7), which they are when the additional sense code says so (00h 1Dh).
  if (sense.size() >= 14 && (sense[0] & 0x7e) == 0x70) {
    if (sense[7] < 6 || sense[12] != 0x00 || sense[13] != 0x1d) return std::nullopt;
    return Taskfile{sense[3], sense[6], sense[9], sense[10], sense[11], sense[4]};
  }
  // Descriptor format (72h, 73h): descriptors behind 8 bytes, each a kind, a length and so many bytes.
  if (sense.size() < 8 || (sense[0] & 0x7e) != 0x72) return std::nullopt;
  const auto end = std::min<std::size_t>(sense.size(), 8U + sense[7]);
  for (std::size_t at = 8; at + 2 <= end; at += 2U + sense[at + 1]) {
    if (sense[at] != 0x09 || sense[at + 1] < 12 || at + 14 > end) continue;
    const auto* d = sense.data() + at;
    return Taskfile{d[3], d[5], d[7], d[9], d[11], d[13]};
  }
  return std::nullopt;
}

// 00h, 01h: standby; 40h: spun down behind its cache (ACS-3, 7.3). 80h and above is idle or active.
bool stands_still(const Taskfile& answer) {
  return answer.count == 0x00 || answer.count == 0x01 || answer.count == 0x40;
}

std::optional<bool> passed(const Taskfile& answer) {
  if (answer.lba_mid == 0x4f && answer.lba_high == 0xc2) return true;
  if (answer.lba_mid == 0xf4 && answer.lba_high == 0x2c) return false;
  return std::nullopt;
}

}  // namespace vitald::disk

// SPDX-License-Identifier: Apache-2.0
// What attributes of chips gave the last time, in memory of all who read them: `hwmon` and `sensors` are processes of
// their own, and a register that is read twice gives two values. Whoever comes first reads; the others take that.
// Why it is done so: docs/adr/0009-one-reading.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/os/kernel_file.h"
#include "core/result.h"
#include "sensors/hwmon/chips.h"
#include "sensors/read/paced_read.h"

namespace vitald {

// One per host: host.shared<HwmonReadings>(). Any thread, any process that has the memory.
class HwmonReadings {
 public:
  // Of the memory, all zeroes at first. Attributes beyond it (1,500 or so) are read by each for itself.
  static const std::size_t kBytes;
  // Where it comes to a worker, in the environment: the number of a descriptor.
  static constexpr const char* kVariable = "VITALD_HWMON_READINGS";

  HwmonReadings();   // the memory that kVariable names; else of this process and its children
  ~HwmonReadings();  // attributes may outlive it

  struct Memory;
  struct Slot;

 private:
  friend class SharedAttribute;
  std::shared_ptr<Memory> memory_;
};

// One attribute. One thread at a time.
class SharedAttribute {
 public:
  // `path` is below the chip's directory, which may have another name for somebody else: the chip's link names it.
  SharedAttribute(const HwmonReadings& readings, const HwmonChip& chip, const std::string& path);
  SharedAttribute(SharedAttribute&&) noexcept;
  ~SharedAttribute();

  // The text as it is now: what nobody has read within half a second, or this one took already, is read anew. But one
  // whose reading took longer than 50 ms stands for 10 s, and for 60 s when it took longer than one, for all of them.
  // Waits while somebody else reads it: then `paced_ns` grows by how long that took, as it does for a slow reading.
  // The text is valid until the next read() of this object; of a text longer than 40 bytes it is the beginning.
  // Errors: those of KernelFile.
  Result<std::string_view> read(std::int64_t& paced_ns);
  // Whether the last read() has read the file.
  [[nodiscard]] bool did_read() const { return did_read_; }
  // What this one has read in its last read() stands until then (CLOCK_BOOTTIME); nothing where it has not.
  void stand_until(std::int64_t boot_ns);
  [[nodiscard]] const std::string& path() const { return file_.path(); }

 private:
  Result<std::string_view> read_slot(HwmonReadings::Slot& slot, std::int64_t begin_ns, std::int64_t& paced_ns);

  std::shared_ptr<HwmonReadings::Memory> memory_;
  std::unique_ptr<HwmonReadings::Slot> own_;  // where the memory has no room
  HwmonReadings::Slot* slot_;
  KernelFile file_;
  std::uint64_t had_ = 0;
  bool did_read_ = false;
  std::string text_;
};

// What read_chip() tells; a device's Values for PacedRead have it as `paced_ns` and `read_ns`.
struct ChipTimes {
  std::int64_t paced_ns = 0;  // of slow attributes, and of all where they were slow together
  std::int64_t read_ns = 0;   // what the last reading of the chip took; of somebody else's that was waited for
};

// `read(attribute i, paced_ns)` for each of a chip's attributes, and paces those that were read where all together were
// slow: attributes are paced, so that whoever else reads the chip waits as well.
template <class Attribute, class Read>
void read_chip(std::vector<Attribute>& attributes, ChipTimes& times, Read read) {
  times.paced_ns = 0;
  const auto begin_ns = SystemClock::read(CLOCK_BOOTTIME);
  bool did = false;
  for (std::size_t i = 0; i < attributes.size(); ++i) {
    read(i, times.paced_ns);
    did |= attributes[i].did_read();
  }
  const auto took_ns = SystemClock::read(CLOCK_BOOTTIME) - begin_ns;
  if (did || times.read_ns == 0) times.read_ns = took_ns;
  const auto pause_ns = pause_after_ns(took_ns - times.paced_ns);
  if (pause_ns == 0) return;
  times.paced_ns = took_ns;
  for (auto& attribute : attributes) attribute.stand_until(begin_ns + pause_ns);
}

}  // namespace vitald

// SPDX-License-Identifier: Apache-2.0
#include "sensors/hwmon/readings.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

#include "core/log.h"
#include "core/os/fd.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

// Both are asked at the same moment, and the agent waits half a second for them: what is as old is of another round.
constexpr std::int64_t kFreshNs = 500 * kMillisecond;
constexpr std::size_t kSlots = 2048;
constexpr std::size_t kTextBytes = 40;
constexpr std::string_view kCut = "...";  // no number ends so

std::int64_t boot_ns() { return SystemClock::read(CLOCK_BOOTTIME); }

// FNV-1a. Two of them with different beginnings name an attribute.
std::uint64_t hash_of(std::string_view text, std::uint64_t from) {
  for (const char c : text) from = (from ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return from;
}

}  // namespace

// All zeroes is a free one. What stands below `generation` belongs to whoever holds the lock.
struct HwmonReadings::Slot {
  enum State : std::uint32_t { kFree, kBeingMade, kReady };
  std::atomic<std::uint32_t> state{kFree};
  std::array<std::uint64_t, 2> key{};
  std::atomic<std::uint64_t> generation{0};
  std::int64_t read_ns = 0, due_ns = 0;
  std::uint32_t error = 0;  // Errc + 1; 0: there is a text
  std::int32_t err = 0;
  std::uint32_t size = 0;
  char text[kTextBytes];
};

const std::size_t HwmonReadings::kBytes = kSlots * sizeof(Slot);

struct HwmonReadings::Memory {
  Memory() {
    int fd = -1;
    if (const char* text = std::getenv(kVariable))
      if (const auto number = parse_i64(text)) fd = static_cast<int>(*number);
    if (fd >= 0) {
      // Opened anew: whoever holds a lock is known by the opening, and what is inherited is one for all.
      file.reset(open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_RDWR | O_CLOEXEC));
      if (file) slots = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
      if (slots == MAP_FAILED) {
        log::warn("hwmon and sensors read each chip for themselves", {{"err", std::strerror(errno)}});
        file.reset();
      }
    }
    if (slots == MAP_FAILED)
      slots = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  }
  ~Memory() {
    if (slots != MAP_FAILED) munmap(slots, kBytes);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // A lock on the byte of the file that is the slot's: the kernel takes it from a process that ends. (It may lack
  // robust mutexes; what this one's threads hold is one to it.) Blocks until it is there.
  [[nodiscard]] bool lock(const Slot* slot) {
    const auto at = index(slot);
    threads[at].lock();
    if (!file) return true;
    while (set(F_OFD_SETLKW, F_WRLCK, at) != 0)
      if (errno != EINTR) return threads[at].unlock(), false;
    return true;
  }
  void unlock(const Slot* slot) {
    const auto at = index(slot);
    if (file) set(F_OFD_SETLK, F_UNLCK, at);
    threads[at].unlock();
  }

  // Null: there is no room.
  [[nodiscard]] Slot* find(const std::array<std::uint64_t, 2>& key) const {
    if (slots == MAP_FAILED) return nullptr;
    auto* all = static_cast<Slot*>(slots);
    for (std::size_t i = 0; i < kSlots; ++i) {
      auto& slot = all[(key[0] + i) % kSlots];
      std::uint32_t state = Slot::kFree;
      if (slot.state.compare_exchange_strong(state, Slot::kBeingMade, std::memory_order_acquire)) {
        slot.key = key;
        slot.state.store(Slot::kReady, std::memory_order_release);
        return &slot;
      }
      // That takes less than a microsecond. A process that was killed meanwhile leaves one that nobody uses.
      for (int tries = 0; state == Slot::kBeingMade && tries < 1000; ++tries) {
        sched_yield();
        state = slot.state.load(std::memory_order_acquire);
      }
      if (state == Slot::kReady && slot.key == key) return &slot;
    }
    return nullptr;
  }

  void* slots = MAP_FAILED;

 private:
  [[nodiscard]] std::size_t index(const Slot* slot) const {
    return static_cast<std::size_t>(slot - static_cast<const Slot*>(slots));
  }
  int set(int command, short type, std::size_t at) const {
    struct flock what {};
    what.l_type = type;
    what.l_whence = SEEK_SET;
    what.l_start = static_cast<off_t>(at);
    what.l_len = 1;
    return fcntl(file.get(), command, &what);
  }

  Fd file;  // none: the memory is this process' own
  std::unique_ptr<std::mutex[]> threads = std::make_unique<std::mutex[]>(kSlots);
};

HwmonReadings::HwmonReadings() : memory_(std::make_shared<Memory>()) {}
HwmonReadings::~HwmonReadings() = default;

SharedAttribute::SharedAttribute(const HwmonReadings& readings, const HwmonChip& chip, const std::string& path)
    : memory_(readings.memory_), file_(path) {
  std::string name = chip.target.empty() ? chip.directory : chip.target;
  name.append(path, std::min(chip.directory.size(), path.size()));
  const std::array key = {hash_of(name, 14695981039346656037U), hash_of(name, 0x5bd1e9955bd1e995U)};
  slot_ = memory_->find(key);
  if (!slot_) {
    own_ = std::make_unique<HwmonReadings::Slot>();
    slot_ = own_.get();
  }
  had_ = slot_->generation;  // of a chip that was there before
}
SharedAttribute::SharedAttribute(SharedAttribute&&) noexcept = default;
SharedAttribute::~SharedAttribute() = default;

Result<std::string_view> SharedAttribute::read(std::int64_t& paced_ns) {
  const auto begin_ns = boot_ns();
  if (own_) return read_slot(*own_, begin_ns, paced_ns);
  did_read_ = false;
  if (!memory_->lock(slot_)) return fail(from_errno("lock on " + file_.path(), errno));
  auto text = read_slot(*slot_, begin_ns, paced_ns);
  memory_->unlock(slot_);
  return text;
}

Result<std::string_view> SharedAttribute::read_slot(HwmonReadings::Slot& slot, std::int64_t begin_ns,
                                                    std::int64_t& paced_ns) {
  const auto now_ns = boot_ns();
  did_read_ = now_ns >= slot.due_ns && (had_ == slot.generation || now_ns - slot.read_ns > kFreshNs);
  if (did_read_) {
    const auto text = file_.read();
    slot.error = text ? 0 : static_cast<std::uint32_t>(text.error().kind) + 1;
    slot.err = text ? 0 : text.error().err;
    slot.size = 0;
    if (text) {
      slot.size = static_cast<std::uint32_t>(std::min(text->size(), kTextBytes));
      std::memcpy(slot.text, text->data(), slot.size);
      if (text->size() > kTextBytes) std::memcpy(slot.text + kTextBytes - kCut.size(), kCut.data(), kCut.size());
    }
    slot.read_ns = boot_ns();
    ++slot.generation;
    const auto pause_ns = pause_after_ns(slot.read_ns - now_ns);
    slot.due_ns = pause_ns == 0 ? 0 : slot.read_ns + pause_ns;
  }
  had_ = slot.generation;
  const auto took_ns = boot_ns() - begin_ns;
  if (pause_after_ns(took_ns) != 0) paced_ns += took_ns;
  if (slot.error != 0) {
    auto error = from_errno(file_.path(), slot.err);
    error.kind = static_cast<Errc>(slot.error - 1);
    return fail(std::move(error));
  }
  text_.assign(slot.text, std::min<std::size_t>(slot.size, kTextBytes));
  return std::string_view(text_);
}

void SharedAttribute::stand_until(std::int64_t until_ns) {
  if (!did_read_ || (!own_ && !memory_->lock(slot_))) return;
  if (had_ == slot_->generation) slot_->due_ns = std::max(slot_->due_ns, until_ns);
  if (!own_) memory_->unlock(slot_);
}

}  // namespace vitald

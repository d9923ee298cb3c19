// SPDX-License-Identifier: Apache-2.0
// Free blocks of each order in each zone, from /proc/buddyinfo.
#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kBlocks{"node_buddyinfo_blocks", gauge, "Count of free blocks according to size.",
                             "node,zone,size",        "",    "/proc/buddyinfo"};

class Buddyinfo final : public Collector {
 public:
  explicit Buddyinfo(const Host& host) : file_(host.procfs("buddyinfo"), KernelFile::Read::records) {}

  // "Node 0, zone      DMA      2      1      0      1      3      0      1      1      0      2      4"
  Result<> collect(BatchWriter& out) override {
    const auto text = file_.read();
    if (!text) return fail(text.error());
    if (is_blank(*text)) return malformed(file_.path(), "", "'Node N, zone NAME' and numbers");
    LeftOut left_out;
    std::string_view rest = *text;
    while (!rest.empty()) {
      const auto line = take_line(rest);
      std::string_view words = line;
      take_word(words);
      auto node = take_word(words);
      node = take_until(node, ',');
      if (take_word(words) != "zone") {
        left_out.add(malformed(file_.path(), line, "'Node N, zone NAME' and numbers"));
        continue;
      }
      const auto zone = take_word(words);
      for (unsigned order = 0; !trim(words).empty(); ++order) {
        const auto n = take_u64(words);
        if (!n) {
          left_out.add(malformed(file_.path(), line, "'Node N, zone NAME' and numbers"));
          break;
        }
        out.set(kBlocks, static_cast<double>(*n), node, zone, Decimal(order));
      }
    }
    return left_out.outcome();
  }

 private:
  KernelFile file_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Buddyinfo>(host); }

}  // namespace

extern const CollectorInfo collector_buddyinfo;
const CollectorInfo collector_buddyinfo{std::span(&kBlocks, 1), {}, make};

}  // namespace vitald

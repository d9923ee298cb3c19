// SPDX-License-Identifier: Apache-2.0
// What the kernel announces and anybody on the host may have a part in: lines of its log, which name tasks as they call
// themselves, and messages of its thermal zones.
#include <cmath>
#include <string>

#include "sensors/proc/kernel_log_tail.h"
#include "sensors/sys/thermal_news.h"
#include "tests/fuzz/input.h"

namespace vitald {
namespace {

void kernel_line(std::string_view record) {
  const auto news = kernel_news_of(record);
  if (!news) return;
  bool known = false;
  for (const auto kind : kernel_news_kinds()) known |= kind == news->kind;
  if (!known || record.find(news->line) == std::string_view::npos || news->line.find('\n') != std::string::npos ||
      news->device.size() > 64 || news->comm.size() > 64)
    __builtin_trap();
  for (const char c : news->pid)
    if (c < '0' || c > '9') __builtin_trap();
}

void thermal(std::string_view message) {
  const auto news = thermal_news_of(message);
  if (news && (news->what.empty() || (news->celsius && !std::isfinite(*news->celsius)))) __builtin_trap();
}

}  // namespace
}  // namespace vitald

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace vitald;
  Input in(data, size);
  switch (in.byte() % 3) {
    case 0: kernel_line(in.rest()); break;
    case 1: kernel_line("3,7,9,-;" + std::string(in.rest())); break;
    default: thermal(in.rest()); break;
  }
  return 0;
}

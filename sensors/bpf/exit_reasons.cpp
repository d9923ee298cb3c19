// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/exit_reasons.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <span>
#include <string_view>

#include "bpf/include/vitald/kvm.h"

#if __has_include(<asm/vmx.h>) && __has_include(<asm/svm.h>)
#include <asm/kvm.h>
#include <asm/svm.h>
#include <asm/vmx.h>
#endif

namespace vitald {
namespace {

struct Name {
  std::uint32_t code;
  std::string_view text;
};
// Some of svm.h's are negative.
struct KernelName {
  std::int64_t code;
  const char* text;
};
#ifdef VMX_EXIT_REASONS
constexpr KernelName kVmx[] = {VMX_EXIT_REASONS};
constexpr KernelName kSvm[] = {SVM_EXIT_REASONS};
#else
constexpr std::span<const KernelName> kVmx, kSvm;
#endif
// Of later kernels than the headers that this is built with.
constexpr Name kLaterVmx[] = {{74, "bus_lock"}, {75, "notify"},       {76, "seamcall"},
                              {77, "tdcall"},   {84, "msr_read_imm"}, {85, "msr_write_imm"}};
constexpr Name kLaterSvm[] = {{0xa5, "buslock"}, {0xa6, "idle_hlt"}};

std::string_view find(std::span<const KernelName> known, std::span<const Name> later, std::uint32_t code) {
  for (const auto& name : known)
    if (static_cast<std::uint32_t>(name.code) == code) return name.text;
  for (const auto& name : later)
    if (name.code == code) return name.text;
  return {};
}

}  // namespace

std::string exit_reason_name(std::uint32_t isa, std::uint32_t code) {
  if (code == VITALD_EXIT_UNKNOWN) return "unknown";
  std::string_view name;
  if (isa == VITALD_ISA_VMX) name = find(kVmx, kLaterVmx, code);
  if (isa == VITALD_ISA_SVM) name = find(kSvm, kLaterSvm, code);
  if (name.empty()) return fmt::format("0x{:x}", code);
  std::string text(name);
  for (char& c : text)  // "DE excp", "HLT"
    c = std::isalnum(static_cast<unsigned char>(c)) ? static_cast<char>(std::tolower(static_cast<unsigned char>(c)))
                                                    : '_';
  return text;
}

}  // namespace vitald

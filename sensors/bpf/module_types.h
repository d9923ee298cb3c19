// SPDX-License-Identifier: Apache-2.0
// Where a struct of a kernel module has a member: modules' types (/sys/kernel/btf/NAME) are in addition to the
// kernel's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace vitald {

// {"vcpu_vmx", "vt", "exit_reason"}: a struct, its member, that one's member.
using MemberPath = std::vector<std::string_view>;

// For each path the byte of the struct at which its last member begins; none where there is no such struct or member.
// Members of unions and structs without a name count as those of what they are in. Of the module's types, and of the
// kernel's own where the module is a part of it. Reads all of the kernel's types: some milliseconds.
Result<std::vector<std::optional<std::uint32_t>>> member_offsets(std::string_view module,
                                                                 std::span<const MemberPath> paths,
                                                                 const std::string& folder = "/sys/kernel/btf");

}  // namespace vitald

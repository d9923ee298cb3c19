// SPDX-License-Identifier: Apache-2.0
// What the numbers of a guest's exits are called: the kernel's own words (uapi/asm/vmx.h, svm.h), in small letters.
#pragma once

#include <cstdint>
#include <string>

namespace vitald {

// `isa`: VITALD_ISA_*, whose numbers they are. "hlt", "ept_violation"; one that has no name is its number, "0x4c", and
// one that could not be read is "unknown".
std::string exit_reason_name(std::uint32_t isa, std::uint32_t code);

}  // namespace vitald

// SPDX-License-Identifier: Apache-2.0
// Fields put at the end of messages that lie within an encoded one: the lengths of all that it lies in are written
// anew.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace vitald::proto {

struct Insertion {
  std::size_t within = 0;  // a place in the message that it is put into, counted from the beginning of the whole
  std::string fields;      // encoded
};

// `depth`: how many messages lie around what each is put into, the whole included. Insertions are ascending. What is no
// message of ours stays as it is.
std::string spliced(std::string_view whole, std::span<const Insertion> insertions, std::size_t depth);

}  // namespace vitald::proto

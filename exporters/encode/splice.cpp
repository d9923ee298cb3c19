// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/splice.h"

#include "exporters/encode/protobuf.h"

namespace vitald::proto {
namespace {

using Insertions = std::span<const Insertion>;

// `begin`: where the message begins in the whole.
void splice(std::string_view message, std::size_t begin, Insertions insertions, std::size_t depth, std::string& out) {
  if (depth == 0) {
    out += message;
    for (const auto& i : insertions) out += i.fields;
    return;
  }
  Reader reader(message);
  Field field;
  std::size_t copied = 0;
  while (!insertions.empty() && reader.next(field)) {
    if (field.wire != Wire::bytes) continue;
    const auto at = static_cast<std::size_t>(field.bytes.data() - message.data());
    std::size_t mine = 0;
    while (mine < insertions.size() && insertions[mine].within < begin + at + field.bytes.size()) ++mine;
    if (mine == 0) continue;
    std::string inner;
    splice(field.bytes, begin + at, insertions.first(mine), depth - 1, inner);
    // With its tag; the length was as long as the reader took it to be.
    out += message.substr(copied, at - varint_size(field.bytes.size()) - copied);
    append_varint(out, inner.size());
    out += inner;
    copied = at + field.bytes.size();
    insertions = insertions.subspan(mine);
  }
  out += message.substr(copied);
}

}  // namespace

std::string spliced(std::string_view whole, std::span<const Insertion> insertions, std::size_t depth) {
  std::string out;
  out.reserve(whole.size() + insertions.size() * 128);
  splice(whole, 0, insertions, depth, out);
  return out;
}

}  // namespace vitald::proto

// SPDX-License-Identifier: Apache-2.0
#include "exporters/deliver/segment.h"

#include <algorithm>
#include <optional>

#include "core/text/bytes.h"
#include "core/text/sections.h"

namespace vitald {
namespace {

// A record, all numbers little endian:
//   4 "\xfeREC"   where to look for the next one behind damage
//   4 length of the payload
//   4 CRC32C of length and payload
//   payload: 1 type, then
//     item: 8 id, 8 wall_ms, 4 records, 4 length of the key, the key, the body
//     done: 8 id
constexpr std::string_view kMark = "\xfeREC";
constexpr std::size_t kFrame = 12;
constexpr char kItem = 1, kDone = 2;

// Over the length too: a changed one would make the record end elsewhere.
std::uint32_t checksum(std::string_view length, std::string_view payload) { return crc32c(payload, crc32c(length)); }

// The payload of the record at the front of `in`; nothing where there is no whole and good one. `patience` bounds the
// bytes that are summed in vain: a body may be full of what looks like a record.
std::optional<std::string_view> whole_record(std::string_view in, std::size_t& patience) {
  if (!in.starts_with(kMark)) return std::nullopt;
  in.remove_prefix(kMark.size());
  const auto length_bytes = in.substr(0, 4);
  const auto length = take_number<std::uint32_t>(in);
  const auto crc = take_number<std::uint32_t>(in);
  if (!length || !crc || *length == 0 || *length > kMostRecord || *length > in.size()) return std::nullopt;
  const auto payload = in.substr(0, *length);
  if (*length > patience) return std::nullopt;
  if (checksum(length_bytes, payload) == *crc) return payload;
  patience -= *length;
  return std::nullopt;
}

// False: not a record that this version knows.
bool understood(std::string_view payload, SegmentContent& out) {
  const auto type = payload.front();
  payload.remove_prefix(1);
  const auto id = take_number<std::uint64_t>(payload);
  if (!id) return false;
  if (type == kDone) {
    out.done = std::max(out.done, *id);
    return true;
  }
  const auto wall_ms = take_number<std::int64_t>(payload);
  const auto records = take_number<std::uint32_t>(payload);
  const auto key_bytes = take_number<std::uint32_t>(payload);
  if (type != kItem || !wall_ms || !records || !key_bytes || *key_bytes > payload.size()) return false;
  out.items.push_back(
      {*id, std::string(payload.substr(0, *key_bytes)), std::string(payload.substr(*key_bytes)), *wall_ms, *records});
  return true;
}

void append_record(std::string& out, std::string_view payload) {
  out += kMark;
  const auto at = out.size();
  put_number(out, static_cast<std::uint32_t>(payload.size()));
  put_number(out, checksum(std::string_view(out).substr(at, 4), payload));
  out += payload;
}

}  // namespace

void append_item_record(std::string& out, const Item& item) {
  std::string payload(1, kItem);
  put_number(payload, item.id);
  put_number(payload, item.wall_ms);
  put_number(payload, item.records);
  put_number(payload, static_cast<std::uint32_t>(item.key.size()));
  payload += item.key;
  payload += item.body;
  append_record(out, payload);
}

void append_done_record(std::string& out, std::uint64_t id) {
  std::string payload(1, kDone);
  put_number(payload, id);
  append_record(out, payload);
}

SegmentContent read_segment(std::string_view bytes) {
  SegmentContent out;
  std::size_t patience = 16 * bytes.size() + kMostRecord;
  out.ours = bytes.starts_with(kSegmentHead);
  if (out.ours) bytes.remove_prefix(kSegmentHead.size());
  while (!bytes.empty()) {
    const auto payload = whole_record(bytes, patience);
    if (payload && understood(*payload, out)) {
      bytes.remove_prefix(kFrame + payload->size());
      continue;
    }
    const auto next = bytes.find(kMark, 1);
    const auto skipped = next == bytes.npos ? bytes.size() : next;
    out.damaged_bytes += skipped;
    bytes.remove_prefix(skipped);
  }
  return out;
}

}  // namespace vitald

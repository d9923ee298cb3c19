// SPDX-License-Identifier: Apache-2.0
#include "core/text/sections.h"

#include <fmt/format.h>
#include <isa-l/crc.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/text/bytes.h"

namespace vitald {
namespace {

constexpr std::size_t kHead = 8, kFrame = 12;
constexpr std::size_t kBuffer = 64 << 10;
constexpr std::size_t kMostPayload = 1 << 30;

}  // namespace

std::uint32_t crc32c(std::string_view bytes, std::uint32_t before) {
  // isa-l only reads; it was declared without const.
  auto* data = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data()));
  return crc32_iscsi(data, static_cast<int>(bytes.size()), before);
}

SectionWriter::SectionWriter(std::string_view head, Sink sink) : sink_(std::move(sink)) {
  check(head.size() == kHead, "the head of a file has eight characters");
  write(head);
}

void SectionWriter::put(std::uint32_t tag, std::string_view payload) {
  if (payload.size() > kMostPayload && result_)
    result_ = fail(Errc::io, fmt::format("a section of {} bytes, expected at most {}", payload.size(), kMostPayload));
  if (!result_) return;
  std::string frame;
  put_number(frame, tag);
  put_number(frame, static_cast<std::uint32_t>(payload.size()));
  put_number(frame, crc32c(payload, crc32c(frame)));
  write(frame);
  write(payload);
}

Result<> SectionWriter::end() {
  put(kEndSection, {});
  flush();
  return result_;
}

void SectionWriter::write(std::string_view bytes) {
  bytes_ += bytes.size();
  if (buffer_.size() + bytes.size() > kBuffer) flush();
  if (bytes.size() <= kBuffer) buffer_ += bytes;
  else if (result_) result_ = sink_(bytes);
}

void SectionWriter::flush() {
  if (result_ && !buffer_.empty()) result_ = sink_(buffer_);
  buffer_.clear();
}

Result<> SectionReader::read(char* to, std::size_t count) {
  if (count > file_bytes_ - at_) return fail(Errc::malformed, fmt::format("it ends at byte {}", file_bytes_));
  while (count > 0) {
    const auto n = source_(at_, to, count);
    if (!n) return fail(n.error());
    if (*n == 0) return fail(Errc::malformed, fmt::format("it ends at byte {}", at_));
    at_ += *n;
    to += *n;
    count -= *n;
  }
  return {};
}

Result<std::optional<Section>> SectionReader::next() {
  if (at_ == 0) {
    char found[kHead];
    if (const auto done = read(found, kHead); !done) return fail(done.error());
    const std::string_view head(found, kHead);
    if (head != head_) {
      if (head.substr(0, kHead - 1) != head_.substr(0, kHead - 1))
        return fail(Errc::malformed, "it is another kind of file");
      return fail(Errc::malformed, fmt::format("it is of version '{}', expected '{}'", head.back(), head_.back()));
    }
  }
  const auto begin = at_;
  char bytes[kFrame];
  if (const auto done = read(bytes, kFrame); !done) return fail(done.error());
  Taker frame({bytes, kFrame});
  Section section;
  section.tag = frame.number<std::uint32_t>();
  const std::size_t size = frame.number<std::uint32_t>();
  const auto crc = frame.number<std::uint32_t>();
  if (size > std::min(file_bytes_ - at_, kMostPayload))
    return fail(Errc::malformed,
                fmt::format("the section at byte {} goes on beyond the file's end at {}", begin, file_bytes_));
  section.payload.resize(size);
  if (const auto done = read(section.payload.data(), size); !done) return fail(done.error());
  if (crc32c(section.payload, crc32c({bytes, kFrame - sizeof crc})) != crc)
    return fail(Errc::malformed, fmt::format("the checksum of the section at byte {} is wrong", begin));
  if (section.tag != kEndSection) return std::optional(std::move(section));
  if (size != 0 || at_ != file_bytes_)
    return fail(Errc::malformed, fmt::format("there are bytes behind its end at {}", begin));
  return std::optional<Section>();
}

SectionReader::Source source_of(std::string_view bytes) {
  return [bytes](std::size_t at, char* to, std::size_t count) -> Result<std::size_t> {
    const auto part = bytes.substr(std::min(at, bytes.size()), count);
    std::memcpy(to, part.data(), part.size());
    return part.size();
  };
}

}  // namespace vitald

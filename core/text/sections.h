// SPDX-License-Identifier: Apache-2.0
// A file of ours that is good or not read at all: a head of eight bytes whose last one is the version, then sections,
// each with a tag, its length and a CRC32C over all of it, the last one of them empty and with the tag kEndSection.
// Written and read piece by piece, so that it never lies in memory as a whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"

namespace vitald {

// CRC32C, of `bytes` behind those that gave `before`.
std::uint32_t crc32c(std::string_view bytes, std::uint32_t before = 0xffffffff);

inline constexpr std::uint32_t kEndSection = 0;

class SectionWriter {
 public:
  // Takes the next bytes of the file.
  using Sink = std::function<Result<>(std::string_view bytes)>;
  // `head`: eight characters.
  SectionWriter(std::string_view head, Sink sink);

  // After an error nothing more is written; end() has it.
  void put(std::uint32_t tag, std::string_view payload);
  Result<> end();
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  void write(std::string_view bytes);
  void flush();

  Sink sink_;
  std::string buffer_;
  std::size_t bytes_ = 0;
  Result<> result_;
};

struct Section {
  std::uint32_t tag = 0;
  std::string payload;
};

class SectionReader {
 public:
  // Reads up to `count` bytes at `at` of the file; fewer: it ends there.
  using Source = std::function<Result<std::size_t>(std::size_t at, char* to, std::size_t count)>;
  SectionReader(std::string_view head, Source source, std::size_t file_bytes)
      : head_(head), source_(std::move(source)), file_bytes_(file_bytes) {}

  // The next section with its checksum right; after the last one nothing. An error says what is wrong with the file;
  // what was read until then is good, and not all there was.
  Result<std::optional<Section>> next();

 private:
  Result<> read(char* to, std::size_t count);

  std::string_view head_;
  Source source_;
  std::size_t file_bytes_, at_ = 0;
};

// Of bytes that lie in memory.
SectionReader::Source source_of(std::string_view bytes);

}  // namespace vitald

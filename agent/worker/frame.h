// SPDX-License-Identifier: Apache-2.0
// A Batch as bytes and back. The layout crosses once; after that a frame is little more than the doubles.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/batch.h"

namespace vitald {

// A frame longer than this is taken for garbage: 32 MiB are some 300,000 new series.
inline constexpr std::uint32_t kMaxFrameBytes = 32U << 20;

void append_request(std::string& out, std::uint64_t sequence);

// Takes one frame's payload off the front of `rest`. False: not all of it has come yet, or `malformed`.
bool take_frame(std::string_view& rest, std::string_view& payload, bool& malformed);

// The sequence of a request's payload.
Result<std::uint64_t> parse_request(std::string_view payload);

// The worker's side. Keeps its buffers: no allocation per value.
class AnswerWriter {
 public:
  AnswerWriter();
  ~AnswerWriter();
  AnswerWriter(const AnswerWriter&) = delete;
  AnswerWriter& operator=(const AnswerWriter&) = delete;
  // The frame, with its length; valid until the next call.
  std::string_view write(std::uint64_t sequence, const Batch& batch);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The agent's side; one per connection. Trusts nothing that it reads.
class AnswerReader {
 public:
  explicit AnswerReader(std::string collector);
  ~AnswerReader();
  AnswerReader(const AnswerReader&) = delete;
  AnswerReader& operator=(const AnswerReader&) = delete;

  // A new process on the other side: it has sent no layout yet.
  void reset();

  struct Answer {
    std::uint64_t sequence = 0;
    BatchPtr batch;
  };
  // The error is malformed: the other side is broken and must be restarted.
  Result<Answer> read(std::string_view payload, std::int64_t collected_boot_ns);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vitald

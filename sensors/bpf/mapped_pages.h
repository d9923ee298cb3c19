// SPDX-License-Identifier: Apache-2.0
// A BPF map's memory, mapped piece by piece as it is looked at. The kernel maps all of an array at once, and all of it
// counts as ours: with a row for each CPU and owner that is megabytes, of which a host with few owners needs some
// pages.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string_view>

#include "core/result.h"

namespace vitald {

class MappedPages {
 public:
  MappedPages() = default;
  // `fd` stays the caller's, and must stay open as long as this is used. `name` is for errors.
  static Result<MappedPages> of(int fd, std::size_t bytes, std::string_view name);

  // By any thread. Throws std::bad_alloc where the kernel has no memory for another mapping.
  [[nodiscard]] char* at(std::size_t offset, std::size_t count) const {
    if (mapped_)
      for (auto piece = offset / piece_bytes_; piece <= (offset + count - 1) / piece_bytes_; ++piece)
        if (!mapped_[piece].load(std::memory_order_acquire)) map(piece);
    return memory_.get() + offset;
  }
  [[nodiscard]] std::size_t mapped_bytes() const;

 private:
  struct Unmap {
    std::size_t bytes;
    void operator()(char* p) const noexcept;
  };
  void map(std::size_t piece) const;
  [[nodiscard]] std::size_t piece_count() const { return (bytes_ + piece_bytes_ - 1) / piece_bytes_; }

  int fd_ = -1;
  std::size_t bytes_ = 0, piece_bytes_ = 1;
  std::unique_ptr<char, Unmap> memory_;
  std::unique_ptr<std::atomic<bool>[]> mapped_;  // by piece; null: all of it is
};

}  // namespace vitald

// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/mapped_pages.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

namespace vitald {
namespace {

// A mapping each, of which a process may have 65,530 (vm.max_map_count) in all.
constexpr std::size_t kMostPieces = 256;

std::size_t page_bytes() {
  static const auto kBytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return kBytes;
}
std::size_t whole_pages(std::size_t bytes) { return (bytes + page_bytes() - 1) / page_bytes() * page_bytes(); }

}  // namespace

void MappedPages::Unmap::operator()(char* p) const noexcept { munmap(p, bytes); }

Result<MappedPages> MappedPages::of(int fd, std::size_t bytes, std::string_view name) {
  MappedPages pages;
  pages.fd_ = fd;
  pages.bytes_ = whole_pages(bytes);
  pages.piece_bytes_ = whole_pages(std::max<std::size_t>(1, pages.bytes_ / kMostPieces));
  const bool one = pages.piece_count() < 2;
  void* p = one ? mmap(nullptr, pages.bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                : mmap(nullptr, pages.bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return fail(from_errno(fmt::format("mmap of BPF map {}", name), errno));
  pages.memory_ = {static_cast<char*>(p), Unmap{pages.bytes_}};
  if (one) return pages;
  pages.mapped_ = std::make_unique<std::atomic<bool>[]>(pages.piece_count());
  // One of them now, so that what cannot be mapped at all says so here.
  p = mmap(p, pages.piece_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  if (p == MAP_FAILED) return fail(from_errno(fmt::format("mmap of BPF map {}", name), errno));
  pages.mapped_[0] = true;
  return pages;
}

// Two threads may do this at once: the second one puts the same pages over those of the first.
void MappedPages::map(std::size_t piece) const {
  const auto begin = piece * piece_bytes_;
  const auto count = std::min(piece_bytes_, bytes_ - begin);
  if (mmap(memory_.get() + begin, count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd_,
           static_cast<off_t>(begin)) == MAP_FAILED)
    throw std::bad_alloc();
  mapped_[piece].store(true, std::memory_order_release);
}

std::size_t MappedPages::mapped_bytes() const {
  if (!mapped_) return bytes_;
  std::size_t bytes = 0;
  for (std::size_t piece = 0; piece < piece_count(); ++piece)
    if (mapped_[piece]) bytes += std::min(piece_bytes_, bytes_ - piece * piece_bytes_);
  return bytes;
}

}  // namespace vitald

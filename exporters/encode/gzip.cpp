// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/gzip.h"

#include <fmt/format.h>
#include <isa-l/igzip_lib.h>

#include <cstdint>
#include <limits>

namespace vitald {

struct Gzip::State {
  isal_zstream stream;
  std::uint8_t level_buffer[ISAL_DEF_LVL1_DEFAULT];
  // Where it is packed. A string would have to be zeroed to that size each time, for a sixth of it in the end.
  std::unique_ptr<std::uint8_t[]> room;
  std::size_t room_bytes = 0;
};

// Not zeroed: what a text does not need of the buffers stays without memory.
Gzip::Gzip() : state_(std::make_unique_for_overwrite<State>()) {}
Gzip::~Gzip() = default;
Gzip::Gzip(Gzip&&) noexcept = default;
Gzip& Gzip::operator=(Gzip&&) noexcept = default;

Result<> Gzip::compress(std::string_view text, std::string& out) {
  if (text.size() > std::numeric_limits<std::uint32_t>::max() / 2)
    return fail(Errc::malformed, fmt::format("{} bytes are too many for one gzip member here", text.size()));
  // Text that does not shrink is stored in blocks of 65,535 bytes with 5 bytes before each.
  const auto most = text.size() + text.size() / 8192 + 512;
  if (state_->room_bytes < most) {
    state_->room = std::make_unique_for_overwrite<std::uint8_t[]>(most);
    state_->room_bytes = most;
  }

  auto& z = state_->stream;
  isal_deflate_stateless_init(&z);
  z.level = 1;
  z.level_buf = state_->level_buffer;
  z.level_buf_size = sizeof state_->level_buffer;
  z.gzip_flag = IGZIP_GZIP;
  z.end_of_stream = 1;
  z.flush = NO_FLUSH;
  z.next_in = reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));  // only read
  z.avail_in = static_cast<std::uint32_t>(text.size());
  z.next_out = state_->room.get();
  z.avail_out = static_cast<std::uint32_t>(most);
  if (const int rc = isal_deflate_stateless(&z); rc != COMP_OK) {
    return fail(Errc::io, fmt::format("isal_deflate_stateless of {} bytes: code {}", text.size(), rc));
  }
  out.assign(reinterpret_cast<const char*>(state_->room.get()), z.total_out);
  return {};
}

Result<> gunzip(std::string_view packed, std::string& out, std::size_t most) {
  // The last four bytes say how long it is, modulo 2^32 (RFC 1952, 2.3.1).
  constexpr std::size_t kLeast = 18;
  if (packed.size() < kLeast) return fail(Errc::malformed, "no gzip member");
  std::size_t size = 0;
  for (std::size_t i = 0; i < 4; ++i)
    size |= static_cast<std::size_t>(static_cast<unsigned char>(packed[packed.size() - 4 + i])) << 8 * i;
  if (size > most) return fail(Errc::malformed, fmt::format("a gzip member of {} bytes, {} at most", size, most));
  out.resize(size + 1);  // so that more than was said shows
  inflate_state z;
  isal_inflate_init(&z);
  z.crc_flag = ISAL_GZIP;
  z.next_in = reinterpret_cast<std::uint8_t*>(const_cast<char*>(packed.data()));  // only read
  z.avail_in = static_cast<std::uint32_t>(packed.size());
  z.next_out = reinterpret_cast<std::uint8_t*>(out.data());
  z.avail_out = static_cast<std::uint32_t>(size + 1);
  if (const int rc = isal_inflate(&z);
      rc != ISAL_DECOMP_OK || z.total_out != size || z.block_state != ISAL_BLOCK_FINISH)
    return fail(Errc::malformed, fmt::format("no gzip member: code {}", rc));
  out.resize(size);
  return {};
}

}  // namespace vitald

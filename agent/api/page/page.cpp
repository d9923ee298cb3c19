// SPDX-License-Identifier: Apache-2.0
#include "agent/api/page/page.h"

#include <isa-l/igzip_lib.h>

#include <memory>
#include <stdexcept>

// The packed file goes into the read-only data as it is; it is in memory only while somebody looks at the page.
asm(".section .rodata\n"
    "vitald_page_begin:\n"
    ".incbin \"" VITALD_PAGE_GZ
    "\"\n"
    "vitald_page_end:\n"
    ".byte 0\n"
    ".previous\n");
extern "C" {
extern const char vitald_page_begin[] __attribute__((visibility("hidden")));
extern const char vitald_page_end[] __attribute__((visibility("hidden")));
}

namespace vitald {
namespace {

#include "agent/api/page/built/page.inc"

std::string_view packed_page() {
  return {vitald_page_begin, static_cast<std::size_t>(vitald_page_end - vitald_page_begin)};
}

// For those few that take no gzip.
std::string unpacked_page() {
  std::string out(kPageBytes, '\0');
  const auto state = std::make_unique<inflate_state>();
  isal_inflate_init(state.get());
  state->crc_flag = ISAL_GZIP;
  // isa-l only reads it, whatever the field's type says.
  state->next_in = reinterpret_cast<std::uint8_t*>(const_cast<char*>(packed_page().data()));
  state->avail_in = static_cast<std::uint32_t>(packed_page().size());
  state->next_out = reinterpret_cast<std::uint8_t*>(out.data());
  state->avail_out = static_cast<std::uint32_t>(out.size());
  const int rc = isal_inflate(state.get());
  if (rc != ISAL_DECOMP_OK || state->avail_out != 0 || state->block_state != ISAL_BLOCK_FINISH)
    throw std::runtime_error("the page in this binary does not unpack");  // answered with 500: the build was wrong
  return out;
}

}  // namespace

Response live_page(const Request& request) {
  const std::string tag = "W/\"" + std::string(kPageTag) + "\"";
  // `/` is another page for clients that want no HTML: see landing.cpp.
  Response response{200,
                    "text/html; charset=utf-8",
                    std::make_shared<const std::string>(),
                    {{"Content-Security-Policy", std::string(kPagePolicy)},
                     {"Cache-Control", "private, no-cache"},
                     {"ETag", tag},
                     {"Referrer-Policy", "no-referrer"},
                     {"Vary", "Accept, Accept-Encoding"}}};
  if (request.list("If-None-Match").find(kPageTag) != std::string::npos) {
    response.status = 304;
    return response;
  }
  if (accepts_gzip(request.list("Accept-Encoding"))) {
    response.headers.emplace_back("Content-Encoding", "gzip");
    response.body = std::make_shared<const std::string>(packed_page());
  } else {
    response.body = std::make_shared<const std::string>(unpacked_page());
  }
  return response;
}

}  // namespace vitald

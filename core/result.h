// SPDX-License-Identifier: Apache-2.0
// Errors are values. The kind says what a caller can do about it, the text says to a person where it
// happened, what was found, what was expected and what to do.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace vitald {

enum class Errc : std::uint8_t {
  absent,     // this kernel or machine does not have it: report once, retry rarely
  gone,       // it was listed and vanished (ENOENT, ESRCH, ENODEV): skip that item
  denied,     // EPERM, EACCES: the text names the capability, mount or owner that is missing
  malformed,  // text or bytes we do not understand: fail the batch, log the line once
  timeout,    // a deadline passed: the old batch stays and its age shows
  io,         // anything else
};
inline constexpr std::size_t kErrcCount = 6;

std::string_view to_string(Errc kind);

struct Error {
  Errc kind = Errc::io;
  int err = 0;  // errno where there was one
  std::string text;

  bool operator==(const Error&) const = default;
};

template <class T = void>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

inline tl::unexpected<Error> fail(Errc kind, std::string text, int err = 0) {
  return tl::unexpected<Error>(Error{kind, err, std::move(text)});
}
inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

// "what: Permission denied (EACCES)", with the kind that `err` stands for.
Error from_errno(std::string_view what, int err);

}  // namespace vitald

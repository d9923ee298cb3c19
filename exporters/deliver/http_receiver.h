// SPDX-License-Identifier: Apache-2.0
// What all receivers that are told over HTTP have: how they are trusted and what they want to know. Secrets are in
// files or in the environment, never in vitald.yaml, and are read anew for each attempt: who changes one need not
// restart anything.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "exporters/deliver/http.h"
#include "exporters/deliver/receiver.h"

namespace vitald {

struct HttpSettings {
  std::string username, password_file, password_env;
  std::string bearer_token_file, bearer_token_env;
  std::string ca_file, cert_file, key_file, server_name;
  bool tls_skip_verify = false;
  std::string proxy_url;
  // Of pushes: where else, in this order, while it does not answer, and how often it is tried again meanwhile.
  std::vector<std::string> standby;
  std::int64_t standby_retry_ns = 60'000'000'000;
  bool operator==(const HttpSettings&) const = default;

  // With what the files and the environment say now. The text of an error names the file, never what is in it.
  [[nodiscard]] Result<HttpAccess> access() const;
  // What is wrong with it on this machine.
  [[nodiscard]] std::vector<std::string> problems() const;
};

// What a file or, where none is named, a variable has. Nothing is named: an empty text. Errors name the setting,
// KEY_file or KEY_env.
Result<std::string> secret_of(std::string_view key, const std::string& file, const std::string& variable);

// A receiver of the kind S, which has all of HttpSettings.
template <class S>
constexpr auto http_fields() {
  return std::to_array<Field<S>>({
      {.key = "username", .at = &S::username, .help = "The user of basic authentication; empty: none is sent."},
      {.key = "password_file", .at = &S::password_file, .help = "The file that has the password."},
      {.key = "password_env",
       .at = &S::password_env,
       .help = "The variable that has the password, where no file does."},
      {.key = "bearer_token_file",
       .at = &S::bearer_token_file,
       .help = "The file with what is sent as `Authorization: Bearer`."},
      {.key = "bearer_token_env", .at = &S::bearer_token_env, .help = "The variable that has it, where no file does."},
      {.key = "ca_file",
       .at = &S::ca_file,
       .help = "The certificates that the receiver's must come from, in place of the system's."},
      {.key = "cert_file", .at = &S::cert_file, .help = "Our certificate, for receivers that ask for one."},
      {.key = "key_file", .at = &S::key_file, .help = "The key of `cert_file`."},
      {.key = "server_name",
       .at = &S::server_name,
       .help = "The name in the receiver's certificate, where the URL has another one."},
      {.key = "tls_skip_verify", .at = &S::tls_skip_verify, .help = "Take any certificate: whoever listens may read."},
      {.key = "proxy_url",
       .at = &S::proxy_url,
       .help =
           "The proxy that requests go through, `http://proxy.example:3128`; empty: none, also where `http_proxy` is "
           "in the environment."},
  });
}

// Of those that have servers in reserve.
template <class S>
constexpr auto standby_fields() {
  return std::to_array<Field<S>>({
      {.key = "standby",
       .at = &S::standby,
       .help = "Servers that stand in, in this order, while the one of `url` does not answer or answers 5xx: "
               "`[\"https://b.example:9090\"]`, with the path, user and certificates of `url`.",
       .expected = "a list of http(s)://HOST:PORT"},
      {.key = "standby_retry",
       .at = &S::standby_retry_ns,
       .help = "How often the server of `url` is tried again while another one stands in.",
       .least = 1'000'000'000,
       .most = 86'400'000'000'000},
  });
}

template <class T, std::size_t N, std::size_t M>
constexpr std::array<T, N + M> joined(const std::array<T, N>& a, const std::array<T, M>& b) {
  std::array<T, N + M> out{};
  for (std::size_t i = 0; i < N; ++i) out[i] = a[i];
  for (std::size_t i = 0; i < M; ++i) out[N + i] = b[i];
  return out;
}

// What to do after an answer.
enum class Verdict : std::uint8_t { taken, again, refused };
inline Verdict verdict_of(int status) {
  if (status >= 200 && status < 300) return Verdict::taken;
  // Too early, too many, too slow, or its own trouble: it may take it later. So it may where it sends us elsewhere,
  // once the URL is mended. The rest of 4xx will be so tomorrow.
  if (status < 400 || status >= 500 || status == 408 || status == 425 || status == 429) return Verdict::again;
  return Verdict::refused;
}
// For `vitald doctor`: what the request is answered with. A status by which somebody is not let in is an error, so is
// 5xx (to HEAD only 502, 503 and 504), and what `judge` makes one of the others, with the words so far. With standbys
// it is the answer of the first that is not away (silent, 5xx), as with what is pushed: one that refuses is not made
// good by those behind it. The words have all.
using JudgeAnswer = std::function<Result<std::string>(const HttpResponse& response, std::string text)>;
Result<std::string> reach_of(const HttpRequest& request, const HttpSettings& settings, const Attempt& attempt,
                             const JudgeAnswer& judge = {}, const std::string& shown = {});
// "500: first words of the answer"
std::string status_text(const HttpResponse& response);

}  // namespace vitald

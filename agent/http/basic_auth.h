// SPDX-License-Identifier: Apache-2.0
// Passwords against bcrypt hashes. One comparison takes 50 ms and more by design: it is made by a thread of
// its own, once for each password, and a scrape pays an HMAC to find the answer again.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "agent/http/pending.h"

namespace vitald {

// log2 of the rounds; nothing when the text is no bcrypt hash ($2a$, $2b$, $2y$).
std::optional<int> bcrypt_cost(std::string_view hash);

// Of the header Authorization; empty when there is none to be read.
std::string user_of(std::string_view authorization);

class BasicAuth {
 public:
  using Users = std::map<std::string, std::string, std::less<>>;  // name -> hash
  enum class Verdict : std::uint8_t {
    admitted,
    refused,
    pending,  // ask again when woken
    busy,     // too many unknown passwords wait already
  };

  // `wake` is signalled from another thread whenever a pending one was decided.
  explicit BasicAuth(std::shared_ptr<const Wake> wake);
  ~BasicAuth();
  BasicAuth(const BasicAuth&) = delete;
  BasicAuth& operator=(const BasicAuth&) = delete;

  // `authorization` is the header: "Basic dXNlcjpwYXNzd29yZA==". One thread at a time.
  Verdict check(const Users& users, std::string_view authorization);

 private:
  struct State;
  std::shared_ptr<State> state_;
  bool started_ = false;
};

}  // namespace vitald

// SPDX-License-Identifier: Apache-2.0
// Passwords against bcrypt hashes. One comparison takes 50 ms and more by design: it is made by threads of their own,
// once for each password, and a scrape pays an HMAC to find the answer again. guesses.h says whose turn it is.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "agent/http/pending.h"

namespace vitald {

// log2 of the rounds; nothing when the text is no bcrypt hash ($2a$, $2b$, $2y$).
std::optional<int> bcrypt_cost(std::string_view hash);

class BasicAuth {
 public:
  using Users = std::map<std::string, std::string, std::less<>>;  // name -> hash
  struct Verdict {
    enum class Kind : std::uint8_t {
      admitted,
      refused,
      pending,  // ask again when woken, or at this time
      busy,     // too many unknown passwords wait already
    } kind;
    std::string user;                // who was admitted
    std::int64_t until_boot_ns = 0;  // of a pending one; 0: when woken
  };

  // `wake` is signalled from another thread whenever a pending one was decided.
  explicit BasicAuth(std::shared_ptr<const Wake> wake);
  ~BasicAuth();
  BasicAuth(const BasicAuth&) = delete;
  BasicAuth& operator=(const BasicAuth&) = delete;

  // `authorization` is the header: "Basic dXNlcjpwYXNzd29yZA=="; `peer` the address it comes from. `arrived`
  // when the request came: the same whenever it asks again. One thread at a time.
  Verdict check(const Users& users, std::string_view authorization, std::string_view peer, std::int64_t arrived_boot_ns,
                std::int64_t now_boot_ns);

 private:
  struct State;
  bool start_threads();
  std::shared_ptr<State> state_;
  bool started_ = false;
};

}  // namespace vitald

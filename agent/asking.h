// SPDX-License-Identifier: Apache-2.0
// What commands share that ask the vitald that runs: their words and flags, the way to it, tables as an answer.
#pragma once

#include <cstddef>
#include <functional>
#include <iosfwd>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/options.h"
#include "exporters/deliver/destination.h"

namespace vitald::asking {

using nlohmann::json;

// Ends the command: run() prints it and gives 1.
struct Failed {
  std::string text;
  int status = 0;        // of HTTP, of an answer that is no success; 0: there was none
  std::string why = {};  // what that answer said
};
[[noreturn]] void give_up(std::string text);

struct Words {
  std::vector<std::string> plain;
  std::map<std::string, std::string, std::less<>> given;  // --NAME=VALUE
  [[nodiscard]] std::string get(std::string_view name) const {
    const auto at = given.find(name);
    return at == given.end() ? std::string() : at->second;
  }
};
Words words_of(const std::vector<std::string>& all);

// Of every command: where the server is and who asks.
inline constexpr std::string_view kServerFlags[] = {"url", "user", "password-file", "ca-file"};

// By one thread.
class Server {
 public:
  Server(const Words& words, const Options& options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Of all that is asked from now on, together; `stop_fd` as in Attempt. Without it each may take ten seconds.
  void limit(const Attempt& attempt);
  // The answer's JSON. Gives up at a status that is no success.
  json ask(const char* method, std::string_view path, const json& body = {});
  [[nodiscard]] const std::string& url() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Empty where it is none or no text.
std::string text_at(const json& object, const char* name);
// Columns as wide as what is in them; the last one as it is.
void print_table(std::ostream& out, const std::vector<std::vector<std::string>>& rows);
std::string url_escaped(std::string_view text);

// `work()` is the exit status; what it gives up at goes to standard error.
int run(const std::function<int()>& work);

}  // namespace vitald::asking

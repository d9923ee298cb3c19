// SPDX-License-Identifier: Apache-2.0
// What all destinations have that metrics are pushed to over HTTP: requests that are timed and counted, and a body that
// is sent in halves where the server says it is too large.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "exporters/deliver/http_receiver.h"
#include "exporters/push/push.h"

namespace vitald {

// By one thread.
class PushClient {
 public:
  PushClient(const std::string& destination, HttpSettings settings);

  // As HttpClient::send(), with the secrets as they are now.
  Result<HttpResponse> send(HttpRequest request, const Attempt& attempt);
  // `scheme`: in place of Bearer, for servers that have a word of their own ("Token").
  void set_scheme(std::string scheme) { scheme_ = std::move(scheme); }
  [[nodiscard]] const PushCounters& counters() const { return counters_; }

  // Once until something is taken again.
  void say_refused(const HttpResponse& response, const std::string& where);
  void taken() { refusal_said_ = false; }

 private:
  std::string destination_;
  HttpSettings settings_;
  std::string scheme_;
  PushCounters counters_;
  HttpClient client_;
  bool refusal_said_ = false;
};

// The records of an item in parts that the server takes: after "too large" in halves, and the next items too.
class Halving {
 public:
  struct Part {
    std::size_t first = 0, count = 0;
  };
  // What of the item is still to be sent; where it is another one than before, all of it.
  void begin(std::uint64_t item, std::size_t count);
  [[nodiscard]] std::optional<Part> next() const;
  void done();  // with that part
  // False: it is a single one.
  bool halve();

 private:
  std::uint64_t item_ = 0;
  std::vector<Part> todo_;  // the next one last
  std::size_t most_ = SIZE_MAX;
};

}  // namespace vitald

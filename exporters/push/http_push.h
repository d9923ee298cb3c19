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

  // As HttpClient::send(), with the secrets as they are now. Where the server does not answer, or answers 5xx, those
  // that stand in are asked too, within the same attempt; the one that answered is asked first from then on, for
  // `standby_retry`.
  Result<HttpResponse> send(HttpRequest request, const Attempt& attempt);
  // `scheme`: in place of Bearer, for servers that have a word of their own ("Token").
  // Grows when another server answers than before.
  [[nodiscard]] std::uint64_t switches() const { return switches_; }
  void set_scheme(std::string scheme) { scheme_ = std::move(scheme); }
  [[nodiscard]] const PushCounters& counters() const { return counters_; }

  // Samples of the item that is being sent, which the server will never have.
  void lost(std::string_view reason, std::uint64_t samples);
  // What send() gives back: with Sent::refusing, where anything was lost of what was taken.
  [[nodiscard]] Result<Sent> with_lost(Result<Sent> sent);
  // Once until something is taken again.
  void say_refused(const HttpResponse& response, const std::string& where);
  void taken() { refusal_said_ = false; }

 private:
  std::string destination_;
  HttpSettings settings_;
  std::string scheme_;
  PushCounters counters_;
  HttpClient client_;
  Result<HttpResponse> send_one(const HttpRequest& request, const HttpAccess& access, const Attempt& attempt);
  void now_at(std::size_t server, std::size_t first, const std::string& url);

  bool refusal_said_ = false;
  bool some_lost_ = false;          // of the items that are being sent; they may take several attempts
  std::size_t answered_ = 0;        // which server did last: 0 is that of the URL
  std::int64_t left_first_ns_ = 0;  // when the first one was tried last, without an answer
  std::uint64_t switches_ = 0;
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
  enum class End : std::uint8_t { taken, refused, too_large };  // taken: some of it; otherwise it never will be
  void done(End end);                                           // with that part
  // Once all parts are done: the item is refused where nothing of it was taken, for its size where that was all.
  [[nodiscard]] Sent sent() const;
  // False: it is a single one.
  bool halve();

 private:
  std::uint64_t item_ = 0;
  std::vector<Part> todo_;  // the next one last
  std::size_t most_ = SIZE_MAX;
  bool some_taken_ = false, some_refused_ = false, some_too_large_ = false;  // parts of the item
};

}  // namespace vitald

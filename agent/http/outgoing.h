// SPDX-License-Identifier: Apache-2.0
// Large answers on their way to who reads them: how many bytes of them there may be at a time, all together and for one
// address. An answer that nobody takes is in memory until its connection ends, and a query of a hundred bytes may have
// one of tens of megabytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>

namespace vitald {

struct Exchange;

// The loop's thread.
class Outgoing {
 public:
  static constexpr std::size_t kLarge = 64 << 10;  // smaller ones are not looked at: the connections bound them
  static constexpr std::size_t kMost = 32 << 20;
  // Of one address when it has one under way already; scrapes aside.
  static constexpr std::size_t kMostOfPeer = kMost / 2;
  // Whoever reads more slowly than this is closed for others: a second, and the rest at 4 MiB a second.
  static constexpr std::int64_t kSlowNs = 1'000'000'000, kSlowBytesPerSecond = 4 << 20;

  struct Row {
    Exchange* exchange;
    std::string peer;
    std::shared_ptr<const std::string> body;
    std::int64_t since_boot_ns;
    bool scrape;  // never refused
  };
  // Takes it in until remove(). Where there is no room slow readers are let go of first, of the address with the most
  // bytes the oldest, and told to `close`. False: there is none all the same. One alone may be as large as it is.
  bool add(Row row, const std::function<void(Exchange&)>& close);
  void remove(const Exchange& exchange);
  // A body that several are sent counts once.
  [[nodiscard]] std::size_t bytes() const { return bytes_with(nullptr); }

 private:
  [[nodiscard]] std::size_t bytes_with(const std::string* another) const;
  // `of`: of this address only; empty: of the one with the most bytes among those that have a slow one.
  std::list<Row>::iterator slow(const std::string* of, std::int64_t now_boot_ns);
  [[nodiscard]] std::size_t bytes_of(const std::string& peer) const;

  std::list<Row> rows_;  // oldest first
};

}  // namespace vitald

// SPDX-License-Identifier: Apache-2.0
// Which unknown password is compared next, and how long a wrong one waits for its answer: so that somebody who tries
// passwords neither keeps others out nor takes more than a part of a core. No thread and no clock of its own.
//
// Who asks is a peer (an address) and a user's name; the two together are a share. Every other comparison is for
// whoever has waited longest; those between them are for the share with the fewest wrong passwords of late. A wrong
// password is answered later the more of them its peer has sent of late, so a connection cannot try many.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>

namespace vitald {

using Digest = std::array<unsigned char, 32>;  // HMAC-SHA256 of user, hash and password

class Guesses {
 public:
  static constexpr std::size_t kMostOfShare = 24;   // that wait; more are refused
  static constexpr std::size_t kMost = 256;         // that wait, of all
  static constexpr std::size_t kMostHeld = 32;      // wrong ones whose answer is held back: they hold connections
  static constexpr std::size_t kRemembered = 1024;  // wrong ones
  static constexpr std::int64_t kLongestNs = 2'000'000'000, kStepNs = 100'000'000;
  static constexpr std::int64_t kForgetNs = 10'000'000'000;  // half of the wrong ones count no more after this long

  struct Job {
    Digest digest;
    std::string peer, user, password, hash;
    bool exists;  // false: the hash is nobody's
  };

  // False when too many wait.
  bool add(Job job);
  [[nodiscard]] bool waits(const Digest& digest) const;  // or is being compared
  // The next to compare; stays known to waits() until decided().
  std::optional<Job> take();
  void decided(const Job& job, bool good, std::int64_t now_boot_ns);

  enum class Known : std::uint8_t { no, good, wrong };
  // `until_boot_ns`: of a wrong one, when to say so.
  [[nodiscard]] Known known(const Digest& digest, std::int64_t& until_boot_ns) const;

 private:
  struct Wrongs {
    double count = 0;
    std::int64_t last_boot_ns = 0;
    void add(std::int64_t now_boot_ns);
  };
  struct Wrong {
    std::int64_t until_boot_ns;
    std::uint64_t number;
  };
  Wrongs& of(std::map<std::string, Wrongs, std::less<>>& all, const std::string& key);
  static std::string share(const Job& job) { return job.peer + '\n' + job.user; }

  std::list<Job> jobs_;  // oldest first
  std::list<Digest> comparing_;
  std::map<Digest, std::int64_t> good_;  // since when
  std::map<Digest, Wrong> wrong_;
  std::map<std::string, Wrongs, std::less<>> by_peer_, by_share_;
  std::uint64_t turn_ = 0, wrongs_ = 0;
};

}  // namespace vitald

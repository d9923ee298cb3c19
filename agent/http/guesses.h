// SPDX-License-Identifier: Apache-2.0
// Which unknown password is compared next, and how long a wrong one waits for its answer: so that somebody who tries
// passwords neither keeps others out nor takes more than a part of a core. No thread and no clock of its own.
//
// Who asks is a peer (an address) and a user's name; the two together are a share. Every fourth comparison is for
// whoever has waited longest; those between them are for the peer, and of it the share, with the fewest wrong passwords
// of late, and of that for whoever asked last: who guesses comes again at once, so a server that comes somewhat later
// is the last. Every fourth is for a password that was asked for again and again, which is what a server does and a
// guess does not. A wrong password is answered later the more of them its peer has sent of late, and those of one peer
// are answered one after the other, each at a third of the pace at which they can be compared: who guesses on many
// connections waits for answers with most of them, so few wait for a comparison, and whoever comes is soon compared.
// Where too many wait, who comes takes the place of one of them (of the share that is full, or of the peer
// with most), who comes again after a while: a server that shares its address and user with somebody who tries
// passwords is not refused for their sake, and nobody can try more by asking faster.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <random>
#include <string>

namespace vitald {

using Digest = std::array<unsigned char, 32>;  // HMAC-SHA256 of user, hash and password

class Guesses {
 public:
  // That wait, of one share and of all; and those pushed out who wait to come again, more are refused. With the wrong
  // ones whose answer is held back they hold fewer connections than there are.
  static constexpr std::size_t kMostOfShare = 160, kMost = 192, kMostOut = 32, kMostConnections = 224;
  static constexpr std::int64_t kOutNs = 1'000'000'000;      // so long who was pushed out waits
  static constexpr std::int64_t kAskedNs = 600'000'000'000;  // who did not ask for so long does not insist
  static constexpr std::size_t kRemembered = 1024;           // wrong ones
  static constexpr std::int64_t kLongestNs = 2'000'000'000, kStepNs = 100'000'000;
  static constexpr std::int64_t kBetweenNs = 100'000'000;           // two answers to a peer, or three comparisons
  static constexpr std::int64_t kLongestInTurnNs = 20'000'000'000;  // clients are given up after 30 s
  static constexpr std::int64_t kForgetNs = 10'000'000'000;  // half of the wrong ones count no more after this long

  struct Job {
    Digest digest;
    std::string peer, user, password, hash;
    bool exists;  // false: the hash is nobody's
  };

  // Of each request whose password is not known, before add(); may be called again for the same one. Those with
  // another time that follow show that somebody insists.
  void asked(const Digest& digest, std::int64_t arrived_boot_ns);
  // When too many wait, another one is pushed out, but none that was asked for again.
  void add(Job job, std::int64_t now_boot_ns);
  [[nodiscard]] bool waits(const Digest& digest) const;  // or is being compared
  // The next to compare; stays known to waits() until decided().
  std::optional<Job> take();
  // `took_ns`: the comparison.
  void decided(const Job& job, bool good, std::int64_t now_boot_ns, std::int64_t took_ns = 0);

  enum class Known : std::uint8_t {
    no,
    good,
    wrong,
    out,      // pushed out; after a while it may be added again
    refused,  // pushed out while too many others were; told once
  };
  // `until_boot_ns`: of a wrong one, when to say so; of one that is out, when to add it again.
  Known known(const Digest& digest, std::int64_t& until_boot_ns);

 private:
  struct Wrongs {
    double count = 0;
    std::int64_t last_boot_ns = 0;
    std::int64_t next_answer_boot_ns = 0;  // of a peer: not before
    void add(std::int64_t now_boot_ns);
  };
  struct Asked {
    std::uint32_t times = 0;
    std::uint64_t number = 0;  // of the last time
    std::int64_t arrived_boot_ns = -1;
  };
  struct Wrong {
    std::int64_t until_boot_ns;
    std::uint64_t number;
  };
  [[nodiscard]] Asked asked_of(const Digest& digest) const;
  void push_out(const std::function<bool(const Job&)>& may_go, std::int64_t now_boot_ns);
  Wrongs& of(std::map<std::string, Wrongs, std::less<>>& all, const std::string& key);
  static std::string share(const Job& job) { return job.peer + '\n' + job.user; }

  std::list<Job> jobs_;  // oldest first
  std::list<Digest> comparing_;
  std::map<Digest, std::int64_t> out_;   // until when; 0: refused
  std::map<Digest, Asked> asked_;        // of those that are not decided, also when they are out or were refused
  std::minstd_rand random_;              // who is pushed out: nothing that a client could use depends on it
  std::map<Digest, std::int64_t> good_;  // since when
  std::map<Digest, Wrong> wrong_;
  std::map<std::string, Wrongs, std::less<>> by_peer_, by_share_;
  std::uint64_t turn_ = 0, wrongs_ = 0, asks_ = 0;
};

}  // namespace vitald

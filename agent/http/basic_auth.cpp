// SPDX-License-Identifier: Apache-2.0
#include "agent/http/basic_auth.h"

#include <crypt.h>
#include <fmt/format.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>

#include "core/log.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr std::size_t kKeptVerdicts = 256;
constexpr std::size_t kWaiting = 16;  // a second of comparisons at the usual cost

using Digest = std::array<unsigned char, 32>;  // HMAC-SHA256

struct Credentials {
  std::string user, password;
};

// "Basic " and base64 of "user:password" (RFC 7617).
std::optional<Credentials> decode(std::string_view authorization) {
  constexpr std::string_view kScheme = "Basic ";
  if (authorization.size() < kScheme.size() || strncasecmp(authorization.data(), kScheme.data(), kScheme.size()) != 0)
    return std::nullopt;
  std::string encoded(trim(authorization.substr(kScheme.size())));
  const gnutls_datum_t in{reinterpret_cast<unsigned char*>(encoded.data()), static_cast<unsigned>(encoded.size())};
  gnutls_datum_t raw{};
  if (encoded.empty() || gnutls_base64_decode2(&in, &raw) != GNUTLS_E_SUCCESS) return std::nullopt;
  const std::string plain(reinterpret_cast<const char*>(raw.data), raw.size);
  gnutls_free(raw.data);
  const auto colon = plain.find(':');
  // crypt(3) would end the password at a NUL.
  if (colon == std::string::npos || plain.find('\0') != std::string::npos) return std::nullopt;
  return Credentials{plain.substr(0, colon), plain.substr(colon + 1)};
}

// What nobody's password is compared with, as dear as a real one, so that time does not tell who exists.
std::string nobody(const BasicAuth::Users& users) {
  return fmt::format("$2b${:02}$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234",
                     bcrypt_cost(users.begin()->second).value_or(10));
}

bool matches(const std::string& password, const std::string& hash) {
  const auto data = std::make_unique<crypt_data>();
  const char* got = crypt_r(password.c_str(), hash.c_str(), data.get());
  const bool same = got && std::strlen(got) == hash.size() && gnutls_memcmp(got, hash.data(), hash.size()) == 0;
  gnutls_memset(data.get(), 0, sizeof *data);
  return same;
}

}  // namespace

// "$2y$10$", 22 characters of salt, 31 of hash
std::optional<int> bcrypt_cost(std::string_view hash) {
  if (hash.size() != 60 || !take_prefix(hash, "$2")) return std::nullopt;
  if (!take_prefix(hash, "a$") && !take_prefix(hash, "b$") && !take_prefix(hash, "y$")) return std::nullopt;
  const auto cost = parse_u64(hash.substr(0, 2));
  const bool digits = std::ranges::all_of(hash.substr(3), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '/';
  });
  if (!cost || *cost < 4 || *cost > 31 || hash[2] != '$' || !digits) return std::nullopt;
  return static_cast<int>(*cost);
}

std::string user_of(std::string_view authorization) {
  const auto given = decode(authorization);
  return given ? given->user : std::string();
}

struct BasicAuth::State {
  struct Job {
    Digest digest;
    std::string password, hash;
    bool exists;  // false: the hash is nobody's
  };

  void run() {
    pthread_setname_np(pthread_self(), "bcrypt");
    for (std::unique_lock lock(mutex);;) {
      more.wait(lock, [this] { return stopping || !jobs.empty(); });
      if (stopping) return;
      const Job& job = jobs.front();  // stays in the list: a second request with the same password finds it
      lock.unlock();
      const bool good = matches(job.password, job.hash) && job.exists;
      lock.lock();
      // Passwords that somebody tries must not push out those that are good.
      if (verdicts.size() >= kKeptVerdicts) std::erase_if(verdicts, [](const auto& v) { return !v.second; });
      if (verdicts.size() >= kKeptVerdicts) verdicts.clear();
      verdicts[job.digest] = good;
      jobs.pop_front();
      wake->signal();
    }
  }

  std::shared_ptr<const Wake> wake;
  Digest key{};  // of this process: what is kept says nothing about a password to anybody else
  std::mutex mutex;
  std::condition_variable more;
  std::deque<Job> jobs;  // guarded by mutex, as all below
  std::map<Digest, bool> verdicts;
  bool stopping = false;
};

BasicAuth::BasicAuth(std::shared_ptr<const Wake> wake) : state_(std::make_shared<State>()) {
  state_->wake = std::move(wake);
}

BasicAuth::~BasicAuth() {
  const std::lock_guard lock(state_->mutex);
  state_->stopping = true;
  state_->more.notify_one();
}

BasicAuth::Verdict BasicAuth::check(const Users& users, std::string_view authorization) {
  const auto given = decode(authorization);
  if (!given) return Verdict::refused;
  const auto user = users.find(given->user);
  const auto hash = user != users.end() ? user->second : nobody(users);

  auto& s = *state_;
  if (!started_) {
    if (gnutls_rnd(GNUTLS_RND_KEY, s.key.data(), s.key.size()) != 0) {
      log::error("no random numbers for basic authentication");
      return Verdict::busy;
    }
    // Detached: a comparison at a high cost takes seconds, and nobody waits for it at the end.
    std::thread([state = state_] { state->run(); }).detach();
    started_ = true;
  }
  const auto text = fmt::format("{}:{}:{}{}{}", given->user.size(), hash.size(), given->user, hash, given->password);
  Digest digest;
  if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, s.key.data(), s.key.size(), text.data(), text.size(), digest.data()) != 0)
    return Verdict::refused;

  const std::lock_guard lock(s.mutex);
  if (const auto known = s.verdicts.find(digest); known != s.verdicts.end())
    return known->second ? Verdict::admitted : Verdict::refused;
  if (std::ranges::find(s.jobs, digest, &State::Job::digest) != s.jobs.end()) return Verdict::pending;
  if (s.jobs.size() >= kWaiting) return Verdict::busy;
  s.jobs.push_back({digest, given->password, hash, user != users.end()});
  s.more.notify_one();
  return Verdict::pending;
}

}  // namespace vitald

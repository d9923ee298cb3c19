// SPDX-License-Identifier: Apache-2.0
#include "agent/http/basic_auth.h"

#include <crypt.h>
#include <fmt/format.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <pthread.h>
#include <strings.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <thread>

#include "agent/http/guesses.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/mutex.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

// Comparisons must not take all of a machine, nor one that takes long hold up all others.
constexpr unsigned kThreads = 2;

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

struct BasicAuth::State {
  void run() {
    pthread_setname_np(pthread_self(), "bcrypt");
    for (;;) try {
        if (!compare_next()) return;
      } catch (const std::exception& e) {  // out of memory: the client gives up, and asks again
        log::error("a password could not be compared", {{"err", e.what()}});
        poll(nullptr, 0, 100);
      }
  }
  // False at the end.
  bool compare_next() {
    MutexLock lock(mutex);
    std::optional<Guesses::Job> job;
    more.wait(lock, [&]() REQUIRES(mutex) { return stopping || (job = guesses.take()); });
    if (stopping) return false;
    lock.unlock();
    const auto begin_ns = SystemClock::read(CLOCK_BOOTTIME);
    bool good = false;
    try {
      good = matches(job->password, job->hash) && job->exists;
    } catch (const std::exception& e) {  // out of memory: wrong until it is tried again
      log::error("a password could not be compared", {{"err", e.what()}});
    }
    gnutls_memset(job->password.data(), 0, job->password.size());
    lock.lock();
    const auto now_ns = SystemClock::read(CLOCK_BOOTTIME);
    guesses.decided(*job, good, now_ns, now_ns - begin_ns);
    wake->signal();
    return true;
  }

  std::shared_ptr<const Wake> wake;
  Digest key{};  // of this process: what is kept says nothing about a password to anybody else
  Mutex mutex;
  CondVar more;
  Guesses guesses GUARDED_BY(mutex);
  bool stopping GUARDED_BY(mutex) = false;
};

BasicAuth::BasicAuth(std::shared_ptr<const Wake> wake) : state_(std::make_shared<State>()) {
  state_->wake = std::move(wake);
}

BasicAuth::~BasicAuth() {
  const MutexLock lock(state_->mutex);
  state_->stopping = true;
  state_->more.notify_all();
}

bool BasicAuth::start_threads() {
  if (started_) return true;
  if (gnutls_rnd(GNUTLS_RND_KEY, state_->key.data(), state_->key.size()) != 0) {
    log::error("no random numbers for basic authentication");
    return false;
  }
  const auto threads = std::min(kThreads, std::max(1U, std::thread::hardware_concurrency()));
  for (unsigned i = 0; i < threads; ++i) try {
      // Detached: a comparison at a high cost takes seconds, and nobody waits for it at the end.
      std::thread([state = state_] { state->run(); }).detach();
      started_ = true;
    } catch (const std::exception& e) {  // TasksMax=, ulimit -u, no memory
      log::error("no thread to compare passwords with", {{"err", e.what()}});
    }
  return started_;
}

BasicAuth::Verdict BasicAuth::check(const Users& users, std::string_view authorization, std::string_view peer,
                                    std::int64_t arrived_boot_ns, std::int64_t now_boot_ns) {
  using enum Verdict::Kind;
  const auto given = decode(authorization);
  if (!given) return {refused, {}, 0};
  const auto user = users.find(given->user);
  const auto hash = user != users.end() ? user->second : nobody(users);
  if (!start_threads()) return {busy, {}, 0};

  auto& s = *state_;
  const auto text = fmt::format("{}:{}:{}{}{}", given->user.size(), hash.size(), given->user, hash, given->password);
  Digest digest;
  if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, s.key.data(), s.key.size(), text.data(), text.size(), digest.data()) != 0)
    return {refused, {}, 0};

  const MutexLock lock(s.mutex);
  std::int64_t until_boot_ns = 0;
  switch (s.guesses.known(digest, until_boot_ns)) {
    case Guesses::Known::good: return {admitted, given->user, 0};
    case Guesses::Known::wrong:
      if (now_boot_ns < until_boot_ns) return {pending, {}, until_boot_ns};
      return {refused, {}, 0};
    case Guesses::Known::refused: return {busy, {}, 0};
    case Guesses::Known::out:
      if (now_boot_ns < until_boot_ns) return {pending, {}, until_boot_ns};
      break;
    case Guesses::Known::no: break;
  }
  s.guesses.asked(digest, arrived_boot_ns);
  if (s.guesses.waits(digest)) return {pending, {}, 0};
  s.guesses.add({digest, std::string(peer), given->user, given->password, hash, user != users.end()}, now_boot_ns);
  s.more.notify_one();
  return {pending, {}, 0};
}

}  // namespace vitald

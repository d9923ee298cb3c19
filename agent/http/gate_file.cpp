// SPDX-License-Identifier: Apache-2.0
#include "agent/http/gate_file.h"

#include <fmt/format.h>
#include <gnutls/crypto.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <exception>
#include <thread>

#include "core/clock.h"
#include "core/log.h"
#include "core/mutex.h"
#include "core/os/file_stamp.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "core/yaml/reader.h"

namespace vitald {

// The thread's and its owner's; whoever ends last takes it away.
struct GateFile::Shared {
  explicit Shared(std::string p) : path(std::move(p)) {}

  using Fingerprint = std::array<unsigned char, 32>;
  struct Watched {
    std::string path;
    FileStamp stamp;
  };

  bool changed() {
    bool any = false;
    for (auto& file : files) any = file.stamp.changed(file.path, clock) || any;
    return any;
  }
  void watch_also(const std::string& file) {
    if (file.empty()) return;
    files.push_back({file, {}});
    files.back().stamp.changed(file, clock);  // before it is read: what changes meanwhile is read again the next time
  }
  std::shared_ptr<const GateState> in_force() {
    const MutexLock lock(mutex);
    return state;
  }
  void read(std::vector<std::string>& problems);
  void look();
  void run(std::int64_t every_ns);

  const std::string path;
  // The thread's alone, once it runs.
  SystemClock clock;
  std::vector<Watched> files;
  Fingerprint fingerprint{};  // of all that was read into what is in force
  std::vector<std::string> said;

  Mutex mutex;
  CondVar ending;
  std::shared_ptr<const GateState> state GUARDED_BY(mutex);  // null: nothing was read without a problem yet
  bool stop GUARDED_BY(mutex) = false;
  std::atomic<std::int64_t> looked_boot_ns{0};
  std::atomic<bool> good{true};
};

// Publishes what it read only when there was no problem and it is another one than what is in force.
void GateFile::Shared::read(std::vector<std::string>& problems) {
  const auto now = in_force();
  files.clear();
  watch_also(path);
  const auto text = read_text_file(path, kConfigBytes);
  if (!text) return problems.push_back("--web.config.file: " + text.error().text);
  auto next = std::make_shared<GateState>();
  next->config = parse_web_config(*text, path, problems);
  const auto& tls = next->config.tls;
  if (!problems.empty()) return;
  // Somebody is writing it just now, or took the locks off by mistake; neither must open the door.
  if (now && trim(*text).empty())
    return problems.push_back(path + ": empty: to let everybody in, write 'basic_auth_users: {}'");
  if (now && now->credentials && !tls)
    return problems.push_back(path + ": no tls_server_config: TLS is switched off only with a restart");
  if (now)
    if (const auto opened = opens_unsaid(now->config, next->config); !opened.empty())
      return problems.push_back(fmt::format("{}: {}", path, opened));
  std::string all = *text;
  if (tls) {
    for (const auto* file : {&tls->cert_file, &tls->key_file, &tls->client_ca_file}) watch_also(*file);
    auto pem = TlsCredentials::read(*tls);
    if (!pem) return problems.push_back(path + ": tls_server_config: " + pem.error().text);
    for (const auto* part : {&pem->cert, &pem->key, &pem->client_ca}) all += '\0' + *part;
    auto loaded = TlsCredentials::load(*tls, std::move(*pem));
    if (!loaded) return problems.push_back(path + ": tls_server_config: " + loaded.error().text);
    next->credentials = std::move(*loaded);
  }
  Fingerprint print{};
  gnutls_hash_fast(GNUTLS_DIG_SHA256, all.data(), all.size(), print.data());
  gnutls_memset(all.data(), 0, all.size());
  if (now && print == fingerprint) return;  // touched, not changed
  fingerprint = print;
  if (now) log::info("web configuration read again", {{"file", path}});
  if (now && !now->credentials && next->credentials) {
    log::warn("TLS is switched on only with a restart");
    next->credentials = nullptr;
  }
  const MutexLock lock(mutex);
  state = std::move(next);
}

void GateFile::Shared::look() {
  std::vector<std::string> problems;
  try {
    if (!changed()) return;
    read(problems);
  } catch (const std::exception& e) {
    problems.push_back(path + ": " + e.what());
  }
  if (!problems.empty()) {  // its reason need not be in the file: it is tried again
    files.clear();
    files.push_back({path, {}});
  }
  if (problems != said)
    for (const auto& problem : problems) log::error("the web configuration in force stays", {{"err", problem}});
  good = problems.empty();
  said = std::move(problems);
}

void GateFile::Shared::run(std::int64_t every_ns) {
  pthread_setname_np(pthread_self(), "web-config");
  MutexLock lock(mutex);
  for (;;) {
    if (ending.wait_for_ns(lock, every_ns, [this]() REQUIRES(mutex) { return stop; })) return;
    lock.unlock();
    try {
      look();
    } catch (const std::exception& e) {  // not even the text of the problem could be made
      good = false;
      log::error("the web configuration in force stays", {{"err", e.what()}});
    }
    looked_boot_ns = clock.boot_ns();
    lock.lock();
  }
}

std::unique_ptr<GateFile> GateFile::load(const std::string& path, std::vector<std::string>& problems) {
  auto shared = std::make_shared<Shared>(path);
  std::vector<std::string> own;
  shared->read(own);
  problems.insert(problems.end(), own.begin(), own.end());
  if (!own.empty()) return nullptr;
  shared->looked_boot_ns = shared->clock.boot_ns();
  return std::unique_ptr<GateFile>(new GateFile(std::move(shared)));
}

void GateFile::watch(std::int64_t every_ns) try {
  // Detached: a file on a server that does not answer cannot be given up on, and nobody waits for it at the end.
  std::thread([shared = shared_, every_ns] { shared->run(every_ns); }).detach();
} catch (const std::exception& e) {  // TasksMax=, ulimit -u, no memory
  log::error("no thread to look for a changed web configuration; what is in force stays", {{"err", e.what()}});
}

GateFile::~GateFile() {
  const MutexLock lock(shared_->mutex);
  shared_->stop = true;
  shared_->ending.notify_all();
}

std::shared_ptr<const GateState> GateFile::state() const { return shared_->in_force(); }

bool GateFile::good() const { return shared_->good; }
std::int64_t GateFile::looked_boot_ns() const { return shared_->looked_boot_ns; }

}  // namespace vitald

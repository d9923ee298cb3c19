// SPDX-License-Identifier: Apache-2.0
// --web.config.file, certificates and keys, read again when they change: by a thread of its own, since they may lie on
// a server that does not answer. What was read without a problem is published as one immutable state. What cannot be
// read or is wrong is said once and the last good state stays: a certificate is renewed in two steps.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/http/tls.h"
#include "agent/http/web_config.h"

namespace vitald {

struct GateState {
  WebConfig config;
  std::shared_ptr<const TlsCredentials> credentials;  // null: plain HTTP
};

class GateFile {
 public:
  static constexpr std::int64_t kEveryNs = 1'000'000'000;

  // Reads on the calling thread. Null with problems.
  static std::unique_ptr<GateFile> load(const std::string& path, std::vector<std::string>& problems);
  ~GateFile();  // does not wait for a thread that hangs
  GateFile(const GateFile&) = delete;
  GateFile& operator=(const GateFile&) = delete;

  // Looks for changes from now on.
  void watch(std::int64_t every_ns = kEveryNs);
  // From any thread; never waits for a file.
  [[nodiscard]] std::shared_ptr<const GateState> state() const;
  // When the files were last looked at without getting stuck in it.
  [[nodiscard]] std::int64_t looked_boot_ns() const;
  // What the files say is in force.
  [[nodiscard]] bool good() const;

 private:
  struct Shared;
  explicit GateFile(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  std::shared_ptr<Shared> shared_;
};

}  // namespace vitald

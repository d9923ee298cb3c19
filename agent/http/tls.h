// SPDX-License-Identifier: Apache-2.0
// What a TLS session of this server is given before its handshake: certificate, key, whom it trusts and what
// it speaks.
#pragma once

#include <gnutls/gnutls.h>

#include <memory>
#include <string>
#include <vector>

#include "agent/http/web_config.h"
#include "core/result.h"

namespace vitald {

class TlsCredentials {
 public:
  struct Pem {
    Pem() = default;
    Pem(Pem&&) = default;
    Pem& operator=(Pem&&) = default;
    ~Pem();  // leaves no key in memory
    std::string cert, key, client_ca;
  };
  // Reads the files.
  static Result<Pem> read(const TlsSettings& settings);
  static Result<std::shared_ptr<const TlsCredentials>> load(const TlsSettings& settings, Pem pem);
  ~TlsCredentials();
  TlsCredentials(const TlsCredentials&) = delete;
  TlsCredentials& operator=(const TlsCredentials&) = delete;

  // These must live as long as the session.
  Result<> give_to(gnutls_session_t session) const;

 private:
  TlsCredentials() = default;
  static int verify(gnutls_session_t session);

  gnutls_certificate_credentials_t credentials_ = nullptr;
  gnutls_priority_t priority_ = nullptr;
  TlsSettings::ClientCert client_cert_ = TlsSettings::ClientCert::none;
  std::vector<std::string> allowed_sans_;
};

}  // namespace vitald

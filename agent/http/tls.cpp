// SPDX-License-Identifier: Apache-2.0
#include "agent/http/tls.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gnutls/x509.h>

#include <algorithm>

#include "core/log.h"
#include "core/os/fd.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

using ClientCert = TlsSettings::ClientCert;
using Certificate = Handle<std::remove_pointer_t<gnutls_x509_crt_t>, &gnutls_x509_crt_deinit>;

Error from_gnutls(std::string_view what, int code) {
  return {Errc::malformed, 0, fmt::format("{}: {}", what, gnutls_strerror(code))};
}

constexpr std::size_t kPemBytes = 4 << 20;  // all authorities of Debian's ca-certificates are 0.2 MiB

// The file, or the text where there is no file.
Result<std::string> pem(const std::string& path, const std::string& text) {
  if (path.empty()) return text;
  return read_text_file(path, kPemBytes);
}

gnutls_datum_t datum(std::string& text) {
  return {reinterpret_cast<unsigned char*>(text.data()), static_cast<unsigned>(text.size())};
}

// DNS names, addresses, e-mails and URIs as one would write them.
std::vector<std::string> alternative_names(gnutls_x509_crt_t certificate) {
  std::vector<std::string> names;
  for (unsigned i = 0;; ++i) {
    char value[1024];
    std::size_t size = sizeof value;
    const int type = gnutls_x509_crt_get_subject_alt_name(certificate, i, value, &size, nullptr);
    if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) return names;
    char address[INET6_ADDRSTRLEN];
    if (type == GNUTLS_SAN_IPADDRESS && inet_ntop(size == 4 ? AF_INET : AF_INET6, value, address, sizeof address))
      names.emplace_back(address);
    else if (type == GNUTLS_SAN_DNSNAME || type == GNUTLS_SAN_RFC822NAME || type == GNUTLS_SAN_URI)
      names.emplace_back(value, size);
  }
}

int refuse(std::string_view why) {
  log::info("client certificate refused", {{"err", why}});
  return GNUTLS_E_CERTIFICATE_ERROR;
}

}  // namespace

TlsCredentials::~TlsCredentials() {
  if (priority_) gnutls_priority_deinit(priority_);
  if (credentials_) gnutls_certificate_free_credentials(credentials_);
}

TlsCredentials::Pem::~Pem() { gnutls_memset(key.data(), 0, key.size()); }

Result<TlsCredentials::Pem> TlsCredentials::read(const TlsSettings& settings) {
  Pem out;
  const struct {
    const std::string &path, &text;
    std::string& into;
  } parts[] = {{settings.cert_file, settings.cert, out.cert},
               {settings.key_file, settings.key, out.key},
               {settings.client_ca_file, settings.client_ca, out.client_ca}};
  for (const auto& part : parts) {
    auto text = pem(part.path, part.text);
    if (!text) return fail(text.error());
    part.into = std::move(*text);
  }
  return out;
}

Result<std::shared_ptr<const TlsCredentials>> TlsCredentials::load(const TlsSettings& settings, Pem given) {
  auto &cert = given.cert, &key = given.key, &ca = given.client_ca;
  std::shared_ptr<TlsCredentials> made(new TlsCredentials);
  made->client_cert_ = settings.client_cert;
  made->allowed_sans_ = settings.client_allowed_sans;
  if (const int code = gnutls_certificate_allocate_credentials(&made->credentials_); code < 0)
    return fail(from_gnutls("TLS", code));
  const auto cert_pem = datum(cert), key_pem = datum(key), ca_pem = datum(ca);
  const int pair = gnutls_certificate_set_x509_key_mem(made->credentials_, &cert_pem, &key_pem, GNUTLS_X509_FMT_PEM);
  if (pair < 0)
    return fail(from_gnutls(
        fmt::format("certificate {} with key {}", settings.cert_file.empty() ? "in 'cert'" : settings.cert_file,
                    settings.key_file.empty() ? "in 'key'" : settings.key_file),
        pair));
  const bool verifies =
      settings.client_cert == ClientCert::verify_if_given || settings.client_cert == ClientCert::require_and_verify;
  if (!ca.empty() || !settings.client_ca_file.empty()) {
    const int count = gnutls_certificate_set_x509_trust_mem(made->credentials_, &ca_pem, GNUTLS_X509_FMT_PEM);
    if (count <= 0)
      return fail(Errc::malformed,
                  fmt::format("client CA {}: no certificate in it, expected PEM",
                              settings.client_ca_file.empty() ? "in 'client_ca'" : settings.client_ca_file));
  } else if (verifies) {  // as there: whom the system trusts
    if (const int count = gnutls_certificate_set_x509_system_trust(made->credentials_); count < 0)
      return fail(from_gnutls("the system's certificate authorities", count));
  }
  if (verifies || !made->allowed_sans_.empty())
    gnutls_certificate_set_verify_function(made->credentials_, &TlsCredentials::verify);
  const char* where = nullptr;
  if (const int code = gnutls_priority_init(&made->priority_, settings.priority.c_str(), &where); code < 0)
    return fail(from_gnutls(fmt::format("TLS versions and suites '{}'", where ? where : settings.priority), code));
  return std::shared_ptr<const TlsCredentials>(std::move(made));
}

Result<> TlsCredentials::give_to(gnutls_session_t session) const {
  if (const int code = gnutls_priority_set(session, priority_); code < 0) return fail(from_gnutls("TLS", code));
  if (const int code = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials_); code < 0)
    return fail(from_gnutls("TLS", code));
  const bool requires_one = client_cert_ == ClientCert::require || client_cert_ == ClientCert::require_and_verify;
  gnutls_certificate_server_set_request(session, client_cert_ == ClientCert::none ? GNUTLS_CERT_IGNORE
                                                 : requires_one                   ? GNUTLS_CERT_REQUIRE
                                                                                  : GNUTLS_CERT_REQUEST);
  // libmicrohttpd has taken gnutls_session_set_ptr(); nothing here keeps sessions, so this pointer is free.
  gnutls_db_set_ptr(session, const_cast<TlsCredentials*>(this));
  return {};
}

int TlsCredentials::verify(gnutls_session_t session) {
  const auto& self = *static_cast<const TlsCredentials*>(gnutls_db_get_ptr(session));
  unsigned count = 0;
  const auto* peers = gnutls_certificate_get_peers(session, &count);
  if (!peers || count == 0) return 0;  // where one is required the handshake ended before
  if (self.client_cert_ == ClientCert::verify_if_given || self.client_cert_ == ClientCert::require_and_verify) {
    char purpose[] = GNUTLS_KP_TLS_WWW_CLIENT;
    gnutls_typed_vdata_st data{GNUTLS_DT_KEY_PURPOSE_OID, reinterpret_cast<unsigned char*>(purpose), 0};
    unsigned status = 0;
    if (const int code = gnutls_certificate_verify_peers(session, &data, 1, &status); code < 0)
      return refuse(gnutls_strerror(code));
    if (status != 0) {
      gnutls_datum_t text{};
      if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) < 0)
        return refuse("not valid");
      const std::string why(trim(std::string_view(reinterpret_cast<const char*>(text.data), text.size)));
      gnutls_free(text.data);
      return refuse(why);
    }
  }
  if (self.allowed_sans_.empty()) return 0;
  gnutls_x509_crt_t raw = nullptr;
  if (const int code = gnutls_x509_crt_init(&raw); code < 0) return refuse(gnutls_strerror(code));
  const Certificate certificate(raw);
  if (const int code = gnutls_x509_crt_import(raw, peers, GNUTLS_X509_FMT_DER); code < 0)
    return refuse(gnutls_strerror(code));
  const auto names = alternative_names(raw);
  const bool allowed = std::ranges::any_of(
      names, [&](const auto& n) { return std::ranges::find(self.allowed_sans_, n) != self.allowed_sans_.end(); });
  return allowed ? 0 : refuse(fmt::format("none of its names is in client_allowed_sans: {}", fmt::join(names, ", ")));
}

}  // namespace vitald

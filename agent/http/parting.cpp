// SPDX-License-Identifier: Apache-2.0
#include "agent/http/parting.h"

#include <sys/socket.h>

namespace vitald {

void write_last(int fd, gnutls_session_t session, std::string_view text) {
  if (session) {
    // Not gnutls_bye(): the library says that as well, when it closes.
    static_cast<void>(gnutls_record_send(session, text.data(), text.size()));
  } else {
    static_cast<void>(send(fd, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
  }
  shutdown(fd, SHUT_WR);
}

}  // namespace vitald

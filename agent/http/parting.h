// SPDX-License-Identifier: Apache-2.0
// The last words to a client that is still talking: an answer written past the library, and no more after it.
#pragma once

#include <gnutls/gnutls.h>

#include <string_view>

namespace vitald {

// `session` is null without TLS. What the socket does not take at once is lost, as the client would have it with a
// connection that is closed.
void write_last(int fd, gnutls_session_t session, std::string_view text);

}  // namespace vitald

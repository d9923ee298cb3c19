// SPDX-License-Identifier: Apache-2.0
// The headers of pages that libmicrohttpd writes by itself: to what it finds malformed or too large it answers before
// anybody is asked, and has no setting for what goes with that. But it queues that answer by its own public function,
// which the one here stands in front of. Where a library is linked so that it does not come by here, its pages lack
// them.
#include <dlfcn.h>
#include <microhttpd.h>

#include "agent/http/browser_headers.h"

extern "C" __attribute__((visibility("default"))) MHD_Result MHD_queue_response(MHD_Connection* connection,
                                                                                unsigned int status_code,
                                                                                MHD_Response* response) {
  static const auto kReal = reinterpret_cast<decltype(&MHD_queue_response)>(dlsym(RTLD_NEXT, "MHD_queue_response"));
  if (!kReal) return MHD_NO;
  if (response != nullptr)
    for (const auto& [name, value] : vitald::kBrowserHeaders)
      if (MHD_get_response_header(response, name) == nullptr) MHD_add_response_header(response, name, value);
  return kReal(connection, status_code, response);
}

// SPDX-License-Identifier: Apache-2.0
// What a worker process sends: one that has gone mad must not take the agent with it.
#include "agent/worker/frame.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace vitald;
  Input in(data, size);
  AnswerReader reader("fuzz");
  if (in.byte() & 1) {  // a stream with lengths
    auto rest = in.rest();
    std::string_view payload;
    for (bool bad = false; take_frame(rest, payload, bad) && !bad;) {
      (void)parse_request(payload);
      (void)reader.read(payload, 1);
    }
  } else {
    while (!in.empty()) {
      const auto payload = in.bytes();
      (void)parse_request(payload);
      if (const auto answer = reader.read(payload, 1))
        for (const auto& s : answer->batch->layout->samples()) {
          (void)answer->batch->layout->name(s);
          if (s.value >= answer->batch->values.size()) __builtin_trap();
        }
    }
  }
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "core/instruments.h"

namespace vitald {

prometheus::Registry& instruments() {
  static prometheus::Registry registry{prometheus::Registry::InsertBehavior::Merge};
  return registry;
}

}  // namespace vitald

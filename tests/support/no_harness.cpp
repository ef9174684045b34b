// SPDX-License-Identifier: MIT
#include "support/harness.hpp"

namespace support {

void install_harness() {}

int harness_verdict() { return 0; }

}  // namespace support

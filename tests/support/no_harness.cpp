// SPDX-License-Identifier: MIT
#include "support/harness.hpp"

namespace support {

void install_harness() {}

void at_end_of_case(bool (*)()) {}

int harness_verdict() { return 0; }

}  // namespace support

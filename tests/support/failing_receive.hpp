// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>

namespace support {

/// Which call of recvmsg from now on fails, by ENOMEM; 0: none does. By the recvmsg that connection_faults_test.cpp puts
/// in place of the C library's, for the whole program.
inline std::atomic<int> failing_receive{0};

}  // namespace support

// expect: plait: only a trivially copyable type, or a lock-free std::atomic, can be shared
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/array.hpp>

#include <string>

void make() { plait::multiprocessing::Array<std::string> array(3); }

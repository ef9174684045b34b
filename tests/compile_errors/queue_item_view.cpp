// expect: plait: a string_view cannot be decoded, for it would view characters that nobody owns
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/queue.hpp>

#include <string_view>

void make() { plait::multiprocessing::Queue<std::string_view> queue; }

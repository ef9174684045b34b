// expect: plait: a pointer cannot cross to another process, where its address means nothing
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

#include <span>

int read(std::span<const std::byte> bytes) { return *plait::multiprocessing::decode<int*>(bytes); }

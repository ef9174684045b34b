// expect: plait: a string_view cannot be decoded, for it would view characters that nobody owns: use std::string
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

#include <string_view>
#include <vector>

auto read(plait::multiprocessing::Decoder& in) { return in.read<std::vector<std::string_view>>(); }

// expect: plait: a C array has no codec: use std::array, or std::string for a literal
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

auto write() { return plait::multiprocessing::encode("text"); }

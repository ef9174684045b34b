// expect: plait: a span cannot be decoded, for it would view elements that nobody owns: use std::vector
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

#include <span>

auto read(plait::multiprocessing::Decoder& in) { return in.read<std::span<const int>>(); }

// expect: plait: a reference cannot cross to another process, where its address means nothing
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

#include <tuple>

int read(plait::multiprocessing::Decoder& in) { return std::get<0>(in.read<std::tuple<int&>>()); }

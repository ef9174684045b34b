// expect: plait: Codec<T> needs `static T decode(Decoder& in)`
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

class Half {
public:
    explicit Half(int) {}
};
template <>
struct plait::multiprocessing::Codec<Half> {
    static void encode(Encoder& out, const Half&) { out.write(1); }
};

auto read(plait::multiprocessing::Decoder& in) { return in.read<Half>(); }

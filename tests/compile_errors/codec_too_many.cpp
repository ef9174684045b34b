// expect: plait: a struct of more than 40 fields has no automatic codec
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

struct Many {
    int f0, f1, f2, f3, f4, f5, f6, f7, f8, f9;
    int f10, f11, f12, f13, f14, f15, f16, f17, f18, f19;
    int f20, f21, f22, f23, f24, f25, f26, f27, f28, f29;
    int f30, f31, f32, f33, f34, f35, f36, f37, f38, f39;
#if !defined(NO_MISTAKE)
    int one_more;
#endif
};

auto bytes(const Many& many) { return plait::multiprocessing::encode(many); }

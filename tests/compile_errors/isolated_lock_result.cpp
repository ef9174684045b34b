// expect: plait: a lock, queue, connection or its like cannot be the result of an isolated call
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/isolated.hpp>

#include <optional>

struct Shared {};
template <>
struct plait::multiprocessing::Codec<Shared> {
    static constexpr bool carries_handles = true;
    static void encode(Encoder&, const Shared&) {}
    static Shared decode(Decoder&) { return {}; }
};

std::optional<Shared> make(int number);

auto call() { return plait::multiprocessing::isolated(make, 1); }

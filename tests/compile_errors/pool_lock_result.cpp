// expect: plait: a lock, queue, connection or its like cannot be the result of a pool's task
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

#include <optional>
#include <vector>

struct Shared {};
template <>
struct plait::multiprocessing::Codec<Shared> {
    static constexpr bool carries_handles = true;
    static void encode(Encoder&, const Shared&) {}
    static Shared decode(Decoder&) { return {}; }
};

std::optional<Shared> make(int number);

auto call(plait::multiprocessing::Pool& pool, const std::vector<int>& numbers) { return pool.map(make, numbers); }

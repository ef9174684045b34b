// expect: plait: a lock, queue, connection or its like cannot be an argument of a pool's task
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>
#include <plait/multiprocessing/process.hpp>

#include <utility>
#include <vector>

struct Shared {};
template <>
struct plait::multiprocessing::Codec<Shared> {
    static constexpr bool carries_handles = true;
    static void encode(Encoder&, const Shared&) {}
    static Shared decode(Decoder&) { return {}; }
};

int use(const std::vector<std::pair<int, Shared>>& all);

#if defined(NO_MISTAKE)
// Its start can take handles along.
void call(const std::vector<std::pair<int, Shared>>& all) { plait::multiprocessing::Process(use, all).start(); }
#else
int call(plait::multiprocessing::Pool& pool, const std::vector<std::pair<int, Shared>>& all) {
    return pool.apply(use, all);
}
#endif

// SPDX-License-Identifier: MIT
//
// What does it cost threads to wait for each other at a barrier?

#include <plait/threading/barrier.hpp>

#include <barrier>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>

#if __has_include(<boost/thread/barrier.hpp>)
#  define BENCHMARK_BOOST
#  define BOOST_THREAD_VERSION 4
#  define BOOST_THREAD_DONT_PROVIDE_INTERRUPTIONS  // so that its headers do without its library
#  include <boost/thread/barrier.hpp>
#endif

#include "table.hpp"

namespace {

class ConditionBarrier {
public:
    explicit ConditionBarrier(std::size_t parties) : parties_{parties} {}
    void wait() {
        std::unique_lock lock{mutex_};
        const std::size_t round = round_;
        if (++arrived_ == parties_) {
            arrived_ = 0;
            ++round_;
            passed_.notify_all();
        } else {
            passed_.wait(lock, [&] { return round_ != round; });
        }
    }

private:
    std::mutex mutex_;
    std::condition_variable passed_;
    const std::size_t parties_;
    std::size_t arrived_ = 0;
    std::size_t round_ = 0;
};

class StandardBarrier {
public:
    explicit StandardBarrier(std::size_t parties) : barrier_{static_cast<std::ptrdiff_t>(parties)} {}
    void wait() { barrier_.arrive_and_wait(); }

private:
    std::barrier<> barrier_;
};

class PlaitBarrier {
public:
    explicit PlaitBarrier(std::size_t parties) : barrier_{static_cast<std::ptrdiff_t>(parties)} {}
    void wait() { barrier_.wait(); }

private:
    plait::threading::Barrier barrier_;
};

class PlaitBarrierWithAction {
public:
    explicit PlaitBarrierWithAction(std::size_t parties)
        : barrier_{static_cast<std::ptrdiff_t>(parties), [this] { ++rounds_; }} {}
    void wait() { barrier_.wait(); }

private:
    std::size_t rounds_ = 0;
    plait::threading::Barrier barrier_;
};

#if defined(BENCHMARK_BOOST)
class BoostBarrier {
public:
    explicit BoostBarrier(std::size_t parties) : barrier_{static_cast<unsigned>(parties)} {}
    void wait() { barrier_.wait(); }

private:
    boost::barrier barrier_;
};
#endif

/// Nanoseconds a round of `threads` threads.
template <class Barrier>
double cycle(std::size_t threads, std::size_t most) {
    const std::size_t count = benchmark::scaled(most);
    Barrier barrier{threads};
    return benchmark::nanoseconds_in_threads(threads,
                                             [&](std::size_t) {
                                                 for (std::size_t i = 0; i < count; ++i) barrier.wait();
                                             }) /
           static_cast<double>(count);
}

}  // namespace

int main() {
    for (const std::size_t threads : {2U, 4U}) {
        benchmark::Table table{"C1b: a round of a barrier; " + std::to_string(threads) + " threads", benchmark::us,
                               threads == 2 ? "at most 0.4 µs" : "at most 2.3 µs"};
        table.bare("std::barrier", [=] { return cycle<StandardBarrier>(threads, 50'000); });
        table.peer("std::mutex and condition_variable", [=] { return cycle<ConditionBarrier>(threads, 5'000); });
#if defined(BENCHMARK_BOOST)
        table.peer("boost::barrier", [=] { return cycle<BoostBarrier>(threads, 5'000); });
#else
        benchmark::missing("Boost");
#endif
        table.plait("Barrier", [=] { return cycle<PlaitBarrier>(threads, 50'000); });
        table.plait("Barrier with an action", [=] { return cycle<PlaitBarrierWithAction>(threads, 50'000); });
        table.run();
    }
}

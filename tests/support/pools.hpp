// SPDX-License-Identifier: MIT
#pragma once

#include "support/catch.hpp"
#include "support/deadline.hpp"
#include "support/process_state.hpp"
#include "support/process_targets.hpp"
#include "support/race.hpp"

#include <plait/core/error.hpp>
#include <plait/core/future.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/pool.hpp>
#include <plait/multiprocessing/start_method.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

// Pools of every kind for tests that say their behaviour once, and what one asks of them.

namespace support {

/// How many workers a pool has, and how they start.
///
///     const Shape shape = any_shape();
///     CAPTURE(shape);
///     Pool pool(shape.with({.task_timeout = 1s}));
struct Shape {
    int processes = 1;
    plait::multiprocessing::StartMethod start_method = plait::multiprocessing::StartMethod::forkserver;

    [[nodiscard]] plait::multiprocessing::PoolOptions with(plait::multiprocessing::PoolOptions options = {}) const {
        options.processes = processes;
        options.start_method = start_method;
        return options;
    }
    [[nodiscard]] std::size_t count() const noexcept { return static_cast<std::size_t>(processes); }

    friend std::ostream& operator<<(std::ostream& out, const Shape& shape) {
        const char* const names[] = {"forkserver", "spawn", "fork"};
        return out << shape.processes << " workers, " << names[static_cast<int>(shape.start_method)];
    }
};

/// Each shape in turn: one, two and eight workers under every start method.
inline Shape any_shape() {
    const int processes = GENERATE(1, 2, 8);
    return {processes, any_start_method()};
}

/// How often a test does what happens by chance: `few`, or PLAIT_POOL_ROUNDS times.
inline int rounds(int few) {
    const char* const text = std::getenv("PLAIT_POOL_ROUNDS");
    if (text != nullptr && *text != 0) return std::atoi(text);
    return (std::max)(few / static_cast<int>(slowness), 1);
}

inline int square(int x) { return x * x; }

inline std::vector<int> numbers_up_to(int count) {
    std::vector<int> numbers;
    for (int i = 0; i < count; ++i) numbers.push_back(i);
    return numbers;
}

/// Its workers, also those that are just being replaced: a look waits a second for them, which a busy machine may need
/// several of.
inline std::vector<plait::multiprocessing::WorkerInfo> workers_of(const plait::multiprocessing::Pool& pool) {
    std::vector<plait::multiprocessing::WorkerInfo> workers;
    for (int looks = 0; looks < 20; ++looks) {
        const auto begin = std::chrono::steady_clock::now();
        workers = pool.workers();
        if (std::chrono::steady_clock::now() - begin < std::chrono::seconds{1}) break;
    }
    return workers;
}

inline std::vector<int> pids_of(const plait::multiprocessing::Pool& pool) {
    std::vector<int> pids;
    for (const auto& worker : workers_of(pool)) pids.push_back(static_cast<int>(worker.pid));
    return pids;
}

inline bool all_idle(const plait::multiprocessing::Pool& pool, std::size_t count) {
    const auto workers = pool.workers();
    return workers.size() == count && std::all_of(workers.begin(), workers.end(), [](const auto& worker) {
               return worker.state == plait::multiprocessing::WorkerInfo::State::idle;
           });
}

/// The worker that is at a task; 0 where there is none.
inline int busy_worker_of(const plait::multiprocessing::Pool& pool) {
    int busy = 0;
    static_cast<void>(within(std::chrono::seconds{30}, [&] {
        for (const auto& worker : pool.workers())
            if (worker.state == plait::multiprocessing::WorkerInfo::State::busy) busy = static_cast<int>(worker.pid);
        return busy != 0;
    }));
    return busy;
}

/// Reaped, too.
inline bool are_gone(const std::vector<int>& pids) {
    return std::none_of(pids.begin(), pids.end(), [](int pid) { return process_state(pid).has_value(); });
}
inline bool none_lives(const std::vector<int>& pids) { return std::none_of(pids.begin(), pids.end(), is_alive); }

/// Waits for `future` and says how it ended: "value", or the exception's name; "no answer" where it has not by then.
template <class T>
std::string end_of(const plait::Future<T>& future, plait::Timeout limit = std::chrono::seconds{30}) {
    if (!future.wait(limit)) return "no answer";
    try {
        static_cast<void>(future.get());
        return "value";
    } catch (const plait::ProcessDied&) {
        return "ProcessDied";
    } catch (const plait::TaskTimeoutError&) {
        return "TaskTimeoutError";
    } catch (const plait::PoolTerminatedError&) {
        return "PoolTerminatedError";
    } catch (const plait::BrokenPoolError&) {
        return "BrokenPoolError";
    } catch (const plait::CancelledError&) {
        return "CancelledError";
    } catch (const std::exception& error) {
        return error.what();
    }
}

/// The process that makes the pool's workers.
inline int maker_of(const plait::multiprocessing::Pool& pool) {
    return process_state(pids_of(pool).at(0)).value().parent;
}

}  // namespace support

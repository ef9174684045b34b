// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/future_state.hpp>
#include <plait/core/spin.hpp>
#include <plait/threading/detail/pool_core.hpp>

#include <cstddef>
#include <exception>
#include <tuple>
#include <utility>

namespace plait::inline PLAIT_ABI::threading::detail {

template <class F>
class ForkOf final : public Fork {
public:
    explicit ForkOf(F& f) noexcept : f_{f} {}

    void run() noexcept override {
        begins_in(*Worker::current());
        call();
    }
    void call() noexcept {
        try {
            static_cast<void>(f_());
        } catch (...) {
            error_ = std::current_exception();
        }
    }
    void rethrow() const {
        if (error_) std::rethrow_exception(error_);
    }

private:
    F& f_;
};

/// Calls all of them, others perhaps on other workers, and then throws the first error in their order.
///
/// The later ones are queued, the last first, so that this worker goes on with them in their order while a thief takes
/// the last: of a recursion, the largest part that is left.
template <std::size_t... numbers, class First, class... Rest>
void invoke_on(Worker& worker, std::index_sequence<numbers...>, First& first, Rest&... rest) {
    ForkOf<First> own{first};
    std::tuple<ForkOf<Rest>...> forks{rest...};
    (worker.fork(std::get<sizeof...(Rest) - 1 - numbers>(forks)), ...);
    const auto run = [&](auto& part) { worker.run_apart([&] { part.call(); }); };
    run(own);
    [[maybe_unused]] const auto join = [&](auto& part) {
        if (worker.join(part)) run(part);
    };
    (join(std::get<numbers>(forks)), ...);
    own.rethrow();
    (std::get<numbers>(forks).rethrow(), ...);
}

/// The same from any thread. Throws: UsageError, from outside, where the pool is closed; then nothing was called.
template <class... F>
void invoke_all(PoolCore& pool, F&... f) {
    Worker* const worker = Worker::current();
    if (worker != nullptr && &worker->pool() == &pool)
        return invoke_on(*worker, std::make_index_sequence<sizeof...(F) - 1>(), f...);
    const auto all = [&] { invoke_on(*Worker::current(), std::make_index_sequence<sizeof...(F) - 1>(), f...); };
    ForkOf<decltype(all)> root{all};
    pool.submit(root);
    if (!spin_until([&] { return root.ended(); })) {
        WaitHelper* const helper = wait_helper();
        if (helper != nullptr) helper->sleep_begins();
        root.sleep();
        if (helper != nullptr) helper->sleep_ends();
    }
    root.rethrow();
}

}  // namespace plait::inline PLAIT_ABI::threading::detail

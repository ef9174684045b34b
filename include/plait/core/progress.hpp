// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI {

/// Who is told how far a long map has come: a callable that takes how many items are done, and of how many. Empty is
/// nobody.
///
///     pool.map(parse, files, {.progress = [](std::size_t done, std::size_t total) { show(done, total); }});
///
/// It is called at most every 100 ms, with counts that only grow, and for the last item before the result is there, so it
/// must not wait for that. An item that failed is done, too. One that throws is reported, as a callback's exception is,
/// and called no more. For a line on a terminal there is `multiprocessing::ProgressBar`.
/// Threads: called on one that the pool has for that, never twice at once.
/// Lifetime: copies share the callable. What that refers to is there until the map has its result, or its Imap is gone; a
/// map that is cancelled may be calling it a moment longer.
class Progress {
public:
    Progress() noexcept = default;
    template <class F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, Progress> &&
                 std::is_invocable_v<std::decay_t<F>&, std::size_t, std::size_t>)
    Progress(F&& callable) : callable_{std::make_shared<Of<std::decay_t<F>>>(std::forward<F>(callable))} {}

    explicit operator bool() const noexcept { return callable_ != nullptr; }
    void operator()(std::size_t done, std::size_t total) const { callable_->call(done, total); }

private:
    struct Callable {
        virtual void call(std::size_t done, std::size_t total) = 0;

    protected:
        ~Callable() = default;
    };
    template <class F>
    struct Of final : Callable {
        template <class Argument>
        explicit Of(Argument&& argument) : f(std::forward<Argument>(argument)) {}
        void call(std::size_t done, std::size_t total) override { f(done, total); }
        F f;
    };

    std::shared_ptr<Callable> callable_;
};

}  // namespace plait::inline PLAIT_ABI

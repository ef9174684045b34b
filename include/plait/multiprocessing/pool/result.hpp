// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/future_state.hpp>
#include <plait/core/outcome.hpp>
#include <plait/core/progress_teller.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/pool/call.hpp>
#include <plait/multiprocessing/pool/engine.hpp>
#include <plait/multiprocessing/remote_call.hpp>

#include <atomic>
#include <cstddef>
#include <exception>
#include <iterator>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

// The states of a pool's futures: sinks of the items of one call.

namespace plait::inline PLAIT_ABI::multiprocessing {

struct CallOptions;

}  // namespace plait::inline PLAIT_ABI::multiprocessing

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// What both kinds of state do alike.
template <class Whole>
class PoolState : public plait::detail::FutureState<Whole>, public ItemSink {
public:
    explicit PoolState(const std::shared_ptr<Engine>& engine) noexcept : engine_{engine} {}

    void retain() noexcept override { this->add_owner(); }
    void release() noexcept override { this->drop_owner(); }
    bool begin() noexcept override { return this->start() || this->is_running(); }
    void abandon() noexcept override { plait::detail::FutureState<Whole>::abandon(); }

protected:
    [[nodiscard]] bool is_in_copy() const noexcept {
        const auto engine = engine_.lock();
        return engine != nullptr && engine->is_copy();
    }
    void attend(plait::detail::Deadline deadline) override {
        const auto engine = engine_.lock();
        if (engine == nullptr) return;
        engine->attend([this] { return this->ready(); }, [this] { return this->announce_waiter(); }, deadline);
    }
    void wake_attendant() noexcept override {
        if (const auto engine = engine_.lock()) engine->wake_attendant();
    }

    /// The result is a cancellation from here on; the worker is ended afterwards.
    bool cancel_running() override {
        if (!this->settle_cancelled()) return false;
        if (const auto engine = engine_.lock()) engine->cancel(*this);
        return true;
    }
    /// Off the thread that dispatches: a callback is the user's code, and may call the pool.
    bool hand_over(plait::detail::MoveOnlyFunction<void()>& callback) noexcept override {
        const auto engine = engine_.lock();
        return engine != nullptr && engine->callbacks().add(*this, callback);
    }

private:
    std::weak_ptr<Engine> engine_;
};

/// Decodes one result: all of its bytes.
template <class Result>
Outcome<Result> read_result(Decoder& in) noexcept {
    return Outcome<Result>::of([&]() -> Result {
        if constexpr (std::is_void_v<Result>) {
            return;
        } else {
            Result result = in.read<Result>();
            if (in.remaining() != 0) throw CodecError("cannot decode a task's result: bytes are left over");
            return result;
        }
    });
}

/// Of one call: `apply`.
template <class Result>
class CallState final : public PoolState<Result> {
public:
    using PoolState<Result>::PoolState;

    void succeed(std::size_t, Decoder& result) noexcept override { this->settle(read_result<Result>(result)); }
    void fail(std::size_t, std::exception_ptr exception) noexcept override {
        Outcome<Result> outcome;
        outcome.set_exception(std::move(exception));
        this->settle(std::move(outcome));
    }
};

/// Of many items: `map`. Each item's outcome has its place; who writes the last one makes the whole.
template <class Result>
class MapState final : public PoolState<std::conditional_t<std::is_void_v<Result>, void, std::vector<Result>>> {
public:
    using Whole = std::conditional_t<std::is_void_v<Result>, void, std::vector<Result>>;
    using PoolState<Whole>::PoolState;

    /// How many items there are; none is an empty result at once. `teller` may be null.
    void expect(std::size_t count, std::shared_ptr<plait::detail::ProgressTeller> teller = nullptr) {
        outcomes_.resize(count);
        count_ = count;
        left_.store(count, std::memory_order_relaxed);
        teller_ = std::move(teller);
        if (count == 0) tell_all_done();
    }
    /// The call is on its way.
    void start_progress() noexcept {
        if (teller_ != nullptr) teller_->start();
    }
    void abandon() noexcept override {
        // When all were told, the result is on its way, behind the last progress perhaps. Acquire: see set.
        if (left_.load(std::memory_order_acquire) != 0) PoolState<Whole>::abandon();
    }
    /// Instead of `expect`: no item will run.
    void fail_all(std::exception_ptr exception) noexcept {
        Outcome<Whole> whole;
        whole.set_exception(std::move(exception));
        this->settle(std::move(whole));
    }
    void succeed(std::size_t item, Decoder& result) noexcept override { set(item, read_result<Result>(result)); }
    void fail(std::size_t item, std::exception_ptr exception) noexcept override {
        Outcome<Result> outcome;
        outcome.set_exception(std::move(exception));
        set(item, std::move(outcome));
    }

private:
    void set(std::size_t item, Outcome<Result> outcome) noexcept {
        outcomes_[item] = std::move(outcome);
        // acq_rel: who makes the whole sees every item.
        const std::size_t left = left_.fetch_sub(1, std::memory_order_acq_rel) - 1;
        if (left == 0)
            tell_all_done();
        else if (teller_ != nullptr)
            teller_->tell(count_ - left);
    }
    void tell_all_done() noexcept {
        if (teller_ == nullptr) return finish_all();
        teller_->finish([this, alive = SinkPointer{*this}] { finish_all(); });
    }
    void drop_call() noexcept override { stop_progress(); }
    bool cancel_running() override {
        if (!PoolState<Whole>::cancel_running()) return false;
        stop_progress();
        return true;
    }
    void stop_progress() noexcept {
        // In a copy of the program there is nobody whom it could wait for.
        if (teller_ != nullptr && !this->is_in_copy()) teller_->stop();
    }
    void finish_all() noexcept {
        this->settle(Outcome<Whole>::of([&]() -> Whole {
            if constexpr (std::is_void_v<Result>) {
                for (auto& outcome : outcomes_) std::move(outcome).value();
            } else {
                std::vector<Result> whole;
                whole.reserve(outcomes_.size());
                for (auto& outcome : outcomes_) whole.push_back(std::move(outcome).value());
                return whole;
            }
        }));
        outcomes_.clear();
    }

    std::vector<Outcome<Result>> outcomes_;
    std::size_t count_ = 0;
    std::atomic<std::size_t> left_{0};
    std::shared_ptr<plait::detail::ProgressTeller> teller_;  // or null
};

/// Who tells `progress` of a call's items; null where that is empty. Throws: UsageError in a progress callback of this pool:
/// the result would wait for that.
inline std::shared_ptr<plait::detail::ProgressTeller> make_teller(const std::shared_ptr<Engine>& engine,
                                                                  Progress progress, std::size_t total) {
    using plait::detail::ProgressTeller;
    if (!progress) return nullptr;
    if (engine->progress_calls().is_this_thread())
        throw UsageError(
            "a progress callback cannot start a map with a progress on the same pool: leave its progress out");
    return std::make_shared<ProgressTeller>(
        std::move(progress), total,
        [weak = std::weak_ptr{engine}](plait::detail::Deadline at, ProgressTeller::Function& function) {
            const auto alive = weak.lock();
            return alive != nullptr && alive->progress_calls().add_at(at, function);
        });
}

template <class State>
plait::detail::StatePointer<State> make_state(const std::shared_ptr<Engine>& engine) {
    return plait::detail::StatePointer<State>{new State(engine)};
}

/// Anything that a range-for goes over. (The concepts of <ranges> cost every includer a third of a second.)
template <class Range>
concept Iterable = requires(Range& range) { std::ranges::begin(range) != std::ranges::end(range); };
template <Iterable Range>
using ItemOf = decltype(*std::ranges::begin(std::declval<Range&>()));

/// A callable, and no options for one.
template <class F>
concept NoOptions = !std::is_same_v<std::remove_cvref_t<F>, CallOptions>;

/// The call that a tuple of arguments stands for.
template <class F, class Tuple>
struct StarTraits;
template <class F, template <class...> class Tuple, class... Args>
struct StarTraits<F, Tuple<Args...>> : CallTraits<F, const Args&...> {
    static constexpr void check() { check_task<F, const Args&...>(); }
    static consteval bool fit() { return call_fits<F, const Args&...>(); }
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail

// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/detail/barrier_state.hpp>
#include <plait/multiprocessing/detail/shared_handle.hpp>
#include <plait/multiprocessing/remote_call.hpp>
#include <plait/multiprocessing/shared_object.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// Where threads of several processes wait for each other: the last to arrive lets all of them go, and the next round
/// begins.
///
/// Python: multiprocessing.Barrier. To wait for something that happens once use Event; within one process,
/// threading::Barrier.
///
///     void work(mp::Barrier step, mp::Array<double> field, int part) {
///         for (int i = 0; i < steps; ++i) {
///             compute(field, part);
///             step.wait();
///         }
///     }
///
/// A round either passes or breaks, for all who wait in it: by a time that is over, an action that throws or whose process
/// dies, `abort` or `reset`. A broken barrier lets nobody wait until `reset`. A handle, as Lock is.
/// Deaths: who dies after it arrived has arrived; for one that dies before, the others wait as long as they are told to.
/// Throws: std::system_error from the constructor.
/// Order: what each did before `wait` is visible to the action, and that to all of them after `wait`.
/// Threads: every member from any thread of any process. Who comes while the action runs waits for the next round.
class Barrier {
public:
    /// The most parties that there can be.
    static constexpr std::ptrdiff_t max_parties = detail::BarrierState::max_parties;

    /// For `parties` threads; `timeout` is for every `wait` that is given none. Throws: std::invalid_argument for fewer
    /// than one thread or more than `max_parties`.
    explicit Barrier(std::ptrdiff_t parties, Timeout timeout = Timeout::never())
        : state_{detail::Shared<State>::create(parties, timeout, std::size_t{0})} {}
    /// Calls `action()` in each round, in the thread that arrives last, whichever process that is in, before any is let go.
    /// It must not wait here. Throws: UsageError where other processes could not find the action.
    template <class Action>
        requires std::is_invocable_r_v<void, std::decay_t<Action>&>
    Barrier(std::ptrdiff_t parties, Action&& action, Timeout timeout = Timeout::never())
        : state_{create(parties, std::decay_t<Action>(std::forward<Action>(action)), timeout)} {}
    // No moves: a handle always names a barrier.
    Barrier(const Barrier&) = default;
    Barrier& operator=(const Barrier&) = default;

    /// Waits until all have arrived. Returns how many arrived before this thread: each of them a number of its own.
    ///
    /// Throws: BrokenBarrierError where the round breaks, is broken already, or breaks because the time is over; what the
    /// action threw, in the thread that called it; UsageError in the action. A timeout counts from the arrival in a round;
    /// while the action runs it is too late for it.
    std::size_t wait() const { return wait(state_->timeout()); }
    std::size_t wait(Timeout timeout) const {
        return state_->wait(timeout, [this] { call_action(); });
    }

    /// Breaks the barrier, until `reset`: who waits and who comes gets BrokenBarrierError.
    void abort() const noexcept { state_->abort(); }
    /// Makes it whole again; who waits gets BrokenBarrierError. Does not wait for them, nor for a running action.
    void reset() const noexcept { state_->reset(); }

    std::size_t parties() const noexcept { return state_->parties(); }
    /// How many wait in this round, or died there; none while it is broken.
    std::size_t n_waiting() const noexcept { return state_->n_waiting(); }
    /// Whether it lets nobody wait.
    bool broken() const noexcept { return state_->broken(); }
    /// How many sleep here, for tests and diagnosis: a hint, for those killed meanwhile stay counted.
    std::size_t waiting() const noexcept { return state_->waiting(); }
    /// Whether they are the same barrier.
    friend bool operator==(const Barrier& a, const Barrier& b) noexcept { return a.state_ == b.state_; }

private:
    friend struct detail::SharedHandleCodec<Barrier>;
    using State = detail::BarrierState;

    explicit Barrier(detail::Shared<State> state) noexcept : state_{std::move(state)} {}

    // The action's name lies behind the state.
    template <class Action>
    static detail::Shared<State> create(std::ptrdiff_t parties, const Action& action, Timeout timeout) {
        static_assert(detail::TravellingCallable<Action>,
                      "plait: a barrier's action runs in whichever process arrives last, so it cannot be a lambda with "
                      "captures, which needs this program's memory: use a function or a captureless lambda");
        const std::vector<std::byte> name = encode(detail::name_callable<std::tuple<>>(action));
        auto state = detail::Shared<State>::create_sized(name.size(), parties, timeout, name.size());
        std::memcpy(state.extra().data(), name.data(), name.size());
        return state;
    }
    void call_action() const {
        Decoder name{state_.extra().first((std::min)(state_->action_size(), state_.extra().size()))};
        Decoder no_arguments{{}};
        Encoder result;
        detail::call_by_name(name.read<detail::CallableName>(), no_arguments, result);
    }

    detail::Shared<State> state_;
};

template <>
struct Codec<Barrier> : detail::SharedHandleCodec<Barrier> {};

}  // namespace plait::inline PLAIT_ABI::multiprocessing

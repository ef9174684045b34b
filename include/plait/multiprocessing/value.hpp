// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/detail/shareable.hpp>
#include <plait/multiprocessing/rlock.hpp>
#include <plait/multiprocessing/shared_object.hpp>

#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::multiprocessing {

namespace detail {

template <class T>
struct ValueState {
    template <class... Args>
    explicit ValueState(Args&&... args) : value(std::forward<Args>(args)...) {}

    Kinded<RLockState> lock;
    T value;
};

}  // namespace detail

/// One value that several processes see at the same time, and a lock for it.
///
/// Python: multiprocessing.Value. For a row of them use Array; for a mere count std::atomic<long> will do as `T`, without
/// the lock.
///
///     void count(Value<long> counter) {
///         for (int i = 0; i < 1000; ++i) {
///             const std::scoped_lock guard{counter.get_lock()};
///             *counter += 1;      // without the lock, two processes may add to the same number, and one is lost
///         }
///     }
///     Value<long> counter(0);
///     Process one(count, counter), other(count, counter);
///
/// A `T` is trivially copyable, or a std::atomic of such, and holds no pointers: an address means nothing in another
/// process. (Pointers inside of a struct the compiler does not find.)
///
/// A handle: its copies, in this process and in those that were given one, name the same value, which goes with the last
/// of them. Nothing but the lock orders what processes do with it.
/// Death: where a process died holding the lock, `acquire` throws OwnerDiedError until somebody has called the lock's
/// `recover`, which acquires it, has mended the value, and has released it.
/// Threads: any; what they do with the value is theirs to order.
template <class T>
class Value {
public:
    /// Made from `args`, or zero. Throws: std::system_error where there is no memory, or no descriptor.
    template <class... Args>
        requires std::is_constructible_v<T, Args...>
    explicit Value(Args&&... args) : state_{State::create(std::forward<Args>(args)...)}, lock_{lock_of(state_)} {
        detail::check_shareable<T>();
    }
    // No moves: a handle always names a value.
    Value(const Value&) = default;
    Value& operator=(const Value&) = default;

    T& operator*() const noexcept { return state_->value; }
    T* operator->() const noexcept { return &state_->value; }
    [[nodiscard]] T& value() const noexcept { return state_->value; }
    /// The lock that goes with it wherever it goes. Nobody is made to use it.
    [[nodiscard]] const RLock& get_lock() const noexcept { return lock_; }

    /// Whether they are the same value, not whether it is equal.
    friend bool operator==(const Value& a, const Value& b) noexcept { return a.state_ == b.state_; }

private:
    friend struct Codec<Value>;
    using State = detail::Shared<detail::ValueState<T>>;

    explicit Value(State state) : state_{std::move(state)}, lock_{lock_of(state_)} {}
    static RLock lock_of(const State& state) { return RLock{state.part(&detail::ValueState<T>::lock)}; }

    State state_;
    RLock lock_;
};

template <class T>
Value(T) -> Value<T>;

template <class T>
struct Codec<Value<T>> {
    static constexpr bool carries_handles = true;

    static void encode(Encoder& out, const Value<T>& value) { detail::put_shared(out, value.state_); }
    static Value<T> decode(Decoder& in) { return Value<T>{detail::get_shared<detail::ValueState<T>>(in)}; }
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing

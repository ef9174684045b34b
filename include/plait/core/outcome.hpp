// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>

#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI {

namespace detail {

/// What stands in for `void` where a value is stored.
struct Unit {};

/// How a result of type `T` is kept: `void` as nothing, a reference as a pointer.
template <class T>
struct Stored {
    using Type = std::remove_cv_t<T>;
    using Reference = const Type&;
    static constexpr const Type& read(const Type& stored) noexcept { return stored; }
    static constexpr T take(Type&& stored) { return std::move(stored); }
};
template <class T>
struct Stored<T&> {
    using Type = T*;
    using Reference = T&;
    static constexpr T& read(T* stored) noexcept { return *stored; }
    static constexpr T& take(T* stored) noexcept { return *stored; }
};
template <class Void>
    requires std::is_void_v<Void>
struct Stored<Void> {
    using Type = Unit;
    using Reference = void;
    static constexpr void read(Unit) noexcept {}
    static constexpr void take(Unit) noexcept {}
};

}  // namespace detail

/// What a call came to: nothing yet, a value, or the exception that it threw.
///
/// Any result type: `void`, references, move-only, not default-constructible.
///
///     auto outcome = Outcome<int>::of([] { return parse("7"); });
///     if (outcome.has_value()) use(outcome.value());
///
/// Threads: none of its own; as an int.
template <class T>
class Outcome {
    using Stored = detail::Stored<T>;
    using Value = typename Stored::Type;

public:
    // Not left without a value, though nothing reads it: g++ 12 with sanitizers warns of what it cannot follow.
    Outcome() noexcept : exception_{} {}
    Outcome(Outcome&& other) noexcept(std::is_nothrow_move_constructible_v<Value>) { move_from(other); }
    Outcome& operator=(Outcome&& other) noexcept(std::is_nothrow_move_constructible_v<Value>) {
        if (this != &other) {
            reset();
            move_from(other);
        }
        return *this;
    }
    ~Outcome() { reset(); }

    /// Calls `f(args...)` and keeps what comes of it, value or exception.
    template <class F, class... Args>
    static Outcome of(F&& f, Args&&... args) {
        Outcome outcome;
        outcome.run(std::forward<F>(f), std::forward<Args>(args)...);
        return outcome;
    }

    /// As `of`, in place: for results that cannot be moved twice for free.
    template <class F, class... Args>
    void run(F&& f, Args&&... args) noexcept {
        try {
            if constexpr (std::is_void_v<T>) {
                std::forward<F>(f)(std::forward<Args>(args)...);
                set_value();
            } else {
                set_value(std::forward<F>(f)(std::forward<Args>(args)...));
            }
        } catch (...) {
            set_exception(std::current_exception());
        }
    }

    template <class... Args>
    void set_value(Args&&... args) {
        reset();
        if constexpr (std::is_reference_v<T>)
            ::new (address()) Value(std::addressof(args)...);
        else
            ::new (address()) Value(std::forward<Args>(args)...);
        state_ = State::value;
    }
    void set_exception(std::exception_ptr exception) noexcept {
        reset();
        ::new (static_cast<void*>(std::addressof(exception_))) std::exception_ptr(std::move(exception));
        state_ = State::exception;
    }

    [[nodiscard]] bool empty() const noexcept { return state_ == State::empty; }
    [[nodiscard]] bool has_value() const noexcept { return state_ == State::value; }
    [[nodiscard]] bool has_exception() const noexcept { return state_ == State::exception; }
    /// The exception, or null.
    [[nodiscard]] std::exception_ptr exception() const noexcept {
        return has_exception() ? exception_ : std::exception_ptr{};
    }

    /// The value; throws the exception where there is one, and UsageError where there is nothing yet.
    typename Stored::Reference value() const& {
        check();
        return Stored::read(value_);
    }
    T value() && {
        check();
        return Stored::take(std::move(value_));
    }

private:
    enum class State : unsigned char { empty, value, exception };

    void* address() noexcept { return static_cast<void*>(std::addressof(value_)); }
    void check() const {
        if (!has_value()) [[unlikely]]
            throw_cause();
    }
    [[noreturn]] void throw_cause() const {
        if (has_exception()) std::rethrow_exception(exception_);
        throw UsageError("plait::Outcome: there is no value yet; ask empty() first");
    }
    void reset() noexcept {
        if (state_ == State::value)
            value_.~Value();
        else if (state_ == State::exception)
            exception_.~exception_ptr();
        state_ = State::empty;
    }
    void move_from(Outcome& other) {
        if (other.has_exception())
            set_exception(other.exception_);
        else if (other.has_value()) {
            ::new (address()) Value(std::move(other.value_));
            state_ = State::value;
        }
    }

    union {
        Value value_;
        std::exception_ptr exception_;
    };
    State state_ = State::empty;
};

}  // namespace plait::inline PLAIT_ABI

// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/context_values.hpp>
#include <plait/asyncio/detail/task_state.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

PLAIT_VISIBLE inline std::uint64_t next_context_variable() noexcept {
    static constinit std::atomic<std::uint64_t> last{0};
    return last.fetch_add(1, std::memory_order_relaxed) + 1;  // any order: numbers only have to differ
}

}  // namespace detail

/// A variable of which each task has its own value: a request's number, for all that is called in its course.
///
///     ContextVar<int> request("request");
///     request.set(7);                         // for this task, and those that it starts from now on
///     int number = request.get();
///
/// A task begins with the values of the one that made it; what either sets later the other does not see. `to_thread` and
/// `run_in_executor` take them along. Outside of tasks a thread has values of its own, which tasks made there begin with;
/// callbacks see those, where Python's see what their maker saw.
/// Python: contextvars.ContextVar. Threads: any. Lifetime: a value lives until the last task that may read it has ended.
template <class T>
class ContextVar {
    static_assert(std::is_copy_constructible_v<T> && std::is_same_v<T, std::decay_t<T>>,
                  "plait: tasks share a ContextVar's values: T has to be an object that can be copied; take a "
                  "std::shared_ptr for one that cannot");

public:
    /// What was there before a `set`, for `reset`.
    class Token {
    public:
        /// Empty where there was none.
        [[nodiscard]] std::optional<T> old_value() const { return old_ ? std::optional<T>{*old_} : std::nullopt; }

    private:
        friend class ContextVar;
        Token(std::uint64_t variable, std::shared_ptr<const T> old) noexcept
            : variable_{variable}, old_{std::move(old)} {}

        std::uint64_t variable_;
        std::shared_ptr<const T> old_;
    };

    explicit ContextVar(std::string name) : name_{std::move(name)} {}
    /// With a value for where none was set.
    ContextVar(std::string name, T default_value) : name_{std::move(name)}, default_{std::move(default_value)} {}
    ContextVar(const ContextVar&) = delete;
    ContextVar& operator=(const ContextVar&) = delete;

    const std::string& name() const noexcept { return name_; }

    /// The value here, else the default. Throws: UsageError where neither is.
    T get() const {
        if (const auto value = find()) return *value;
        if (default_) return *default_;
        throw UsageError("ContextVar \"" + name_ + "\" has no value here: set it, or give it a default");
    }
    /// The value here, else `otherwise`.
    T get(T otherwise) const {
        const auto value = find();
        return value ? *value : std::move(otherwise);
    }
    Token set(T value) {
        auto made = std::make_shared<const T>(std::move(value));
        return Token{number_, exchange(std::move(made))};
    }
    /// Gives back what was before that `set`. Throws: UsageError for a token of another variable.
    void reset(const Token& token) {
        if (token.variable_ != number_)
            throw UsageError("ContextVar::reset: the token is of another variable than \"" + name_ + "\"");
        static_cast<void>(exchange(token.old_));
    }

private:
    std::shared_ptr<const T> find() const noexcept {
        const detail::Context& context = detail::current_context();
        return context ? std::static_pointer_cast<const T>(context->find(number_)) : nullptr;
    }
    std::shared_ptr<const T> exchange(std::shared_ptr<const T> value) {
        std::shared_ptr<const T> old = find();
        detail::set_current_context(
            detail::ContextValues::with(detail::current_context().get(), number_, std::move(value)));
        return old;
    }

    const std::uint64_t number_ = detail::next_context_variable();  // an address could come again
    const std::string name_;
    const std::optional<T> default_;
};

}  // namespace plait::inline PLAIT_ABI::asyncio

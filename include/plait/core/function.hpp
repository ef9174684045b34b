// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace plait::inline PLAIT_ABI::detail {

template <class Signature>
class MoveOnlyFunction;

/// Owns one callable, move-only ones too, and calls it; small ones are kept inside, without an allocation.
///
/// Source: std::move_only_function of C++23, which the compilers of C++20 do not have yet.
template <class R, class... Args>
class MoveOnlyFunction<R(Args...)> {
public:
    MoveOnlyFunction() noexcept = default;
    MoveOnlyFunction(std::nullptr_t) noexcept {}
    template <class F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, MoveOnlyFunction> &&
                 std::is_invocable_r_v<R, std::decay_t<F>&, Args...>)
    MoveOnlyFunction(F&& callable) {
        using Callable = std::decay_t<F>;
        if constexpr (fits<Callable>) {
            ::new (static_cast<void*>(storage_)) Callable(std::forward<F>(callable));
            table_ = &inside<Callable>;
        } else {
            ::new (static_cast<void*>(storage_)) Callable*(new Callable(std::forward<F>(callable)));
            table_ = &outside<Callable>;
        }
    }
    MoveOnlyFunction(MoveOnlyFunction&& other) noexcept { take(other); }
    MoveOnlyFunction& operator=(MoveOnlyFunction&& other) noexcept {
        if (this != &other) {
            reset();
            take(other);
        }
        return *this;
    }
    ~MoveOnlyFunction() { reset(); }

    explicit operator bool() const noexcept { return table_ != nullptr; }
    R operator()(Args... args) { return table_->call(storage_, std::forward<Args>(args)...); }

private:
    struct Table {
        R (*call)(void* storage, Args&&... args);
        void (*move)(void* from, void* to) noexcept;
        void (*destroy)(void* storage) noexcept;
    };
    static constexpr std::size_t size = 4 * sizeof(void*);

    template <class F>
    static constexpr bool fits =
        sizeof(F) <= size && alignof(F) <= alignof(std::max_align_t) && std::is_nothrow_move_constructible_v<F>;

    template <class F>
    static R call(F& callable, Args&&... args) {
        if constexpr (std::is_void_v<R>)
            callable(std::forward<Args>(args)...);
        else
            return callable(std::forward<Args>(args)...);
    }

    template <class F>
    static constexpr Table inside{
        [](void* storage, Args&&... args) -> R { return call(*static_cast<F*>(storage), std::forward<Args>(args)...); },
        [](void* from, void* to) noexcept {
            ::new (to) F(std::move(*static_cast<F*>(from)));
            static_cast<F*>(from)->~F();
        },
        [](void* storage) noexcept { static_cast<F*>(storage)->~F(); }};

    template <class F>
    static constexpr Table outside{[](void* storage, Args&&... args) -> R {
                                       return call(**static_cast<F**>(storage), std::forward<Args>(args)...);
                                   },
                                   [](void* from, void* to) noexcept { ::new (to) F*(*static_cast<F**>(from)); },
                                   [](void* storage) noexcept { delete *static_cast<F**>(storage); }};

    void take(MoveOnlyFunction& other) noexcept {
        if (other.table_ == nullptr) return;
        other.table_->move(other.storage_, storage_);
        table_ = std::exchange(other.table_, nullptr);
    }
    void reset() noexcept {
        if (table_ != nullptr) std::exchange(table_, nullptr)->destroy(storage_);
    }

    alignas(std::max_align_t) std::byte storage_[size];
    const Table* table_ = nullptr;
};

/// What can be called without arguments and says, as a bool or as a value that is true or not, whether to wait no longer.
template <class F>
concept WaitPredicate = requires(F& predicate) {
    static_cast<bool>(predicate());
    requires !std::is_void_v<decltype(predicate())>;
};

}  // namespace plait::inline PLAIT_ABI::detail

// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <atomic>
#include <type_traits>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

template <class T>
struct IsAtomic : std::false_type {};
template <class T>
struct IsAtomic<std::atomic<T>> : std::bool_constant<std::atomic<T>::is_always_lock_free> {};

/// Stops the compiler with a sentence for a type whose objects cannot lie in memory that several processes see.
template <class T>
constexpr void check_shareable() {
    static_assert(
        !std::is_pointer_v<T> && !std::is_member_pointer_v<T> && !std::is_reference_v<T>,
        "plait: a pointer cannot be shared between processes, where its address means nothing: share the value");
    static_assert(
        std::is_trivially_copyable_v<T> || IsAtomic<T>::value,
        "plait: only a trivially copyable type, or a lock-free std::atomic, can be shared as a Value or Array: "
        "what owns memory, as std::string does, has it in one process; send it through a Queue");
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail

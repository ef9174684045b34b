// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/threading/detail/turnstile.hpp>

#include <cstddef>
#include <utility>

namespace plait::inline PLAIT_ABI::threading::detail {

/// The items of a queue whose order needs all of them in one `Container`: who takes holds the turnstile of those who put,
/// too, for as long as it touches them.
template <class Container>
class VectorItems {
public:
    using PutEnd = Container;
    struct TakeEnd {};
    using Detached = Container;

    template <class U>
    void put(PutEnd& items, U&& item) {
        items.put(std::forward<U>(item));
    }
    auto take(Turnstile& putting, PutEnd& items, TakeEnd&) {
        const Hold hold{putting};
        return items.take();
    }
    Container detach(PutEnd& items, TakeEnd&) noexcept { return std::exchange(items, Container{}); }
    /// It goes with the argument.
    void discard(Container, std::size_t) noexcept {}

private:
    struct Hold {
        explicit Hold(Turnstile& held) noexcept : turnstile{held} { turnstile.acquire(); }
        Hold(const Hold&) = delete;
        Hold& operator=(const Hold&) = delete;
        ~Hold() { turnstile.release(); }
        Turnstile& turnstile;
    };
};

}  // namespace plait::inline PLAIT_ABI::threading::detail

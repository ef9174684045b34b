// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/awaitable.hpp>
#include <plait/asyncio/coroutine.hpp>
#include <plait/asyncio/detail/as_coroutine.hpp>
#include <plait/asyncio/detail/expiry.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>

#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

namespace detail {

struct WaitForFunction {
    /// Awaits for `limit` at most, and gives the result.
    ///
    ///     int x = co_await wait_for(late(1), 2s);
    ///
    /// Python: asyncio.wait_for. What has not ended then is cancelled, and has ended when TimeoutError is thrown; if it
    /// makes of that a value or an error of its own, that is the result. At zero or less it is tried once, and a coroutine is not
    /// even started.
    /// Cancel: reaches what is awaited, and comes back as CancelledError.
    template <class A>
        requires Awaitable<A>
    auto operator()(A&& awaitable, Timeout limit) const {
        return limited(kept(std::forward<A>(awaitable)), limit);
    }

private:
    template <class A>
    static Coroutine<Awaited<A>> limited(A awaitable, Timeout limit) {
        if constexpr (IsCoroutine<A>::value) {
            if (limit.is_zero()) {
                awaitable.close();
                throw_timeout();
            }
        }
        Expiry expiry{limit};
        try {
            co_return co_await std::move(awaitable);
        } catch (const CancelledError&) {
            if (!expiry.explains_cancel()) throw;
        }
        throw_timeout();
    }
    [[noreturn]] static void throw_timeout() {
        throw TimeoutError("wait_for: it had not ended in time, and was cancelled");
    }
};

}  // namespace detail

inline constexpr detail::WaitForFunction wait_for{};

}  // namespace plait::inline PLAIT_ABI::asyncio

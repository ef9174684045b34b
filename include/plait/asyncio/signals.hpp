// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/signal_handlers.hpp>
#include <plait/asyncio/handle.hpp>
#include <plait/asyncio/loop.hpp>
#include <plait/core/config.hpp>

#include <utility>

namespace plait::inline PLAIT_ABI::asyncio {

template <class F, class... Args>
void EventLoop::add_signal_handler(int number, F&& f, Args&&... args) {
    check_usable();
    detail::SignalHandlers::of(core_).set(number,
                                          detail::bind_repeated_call(std::forward<F>(f), std::forward<Args>(args)...));
}

inline bool EventLoop::remove_signal_handler(int number) noexcept {
    return core_.signal_handlers && !core_.fork_mark.is_copy() && detail::SignalHandlers::of(core_).remove(number);
}

}  // namespace plait::inline PLAIT_ABI::asyncio

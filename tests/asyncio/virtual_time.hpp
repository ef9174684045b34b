// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace support {

/// Runs the coroutine that `f()` makes on a loop whose clock jumps: an hour's sleep takes no time.
template <class F>
auto run_virtual(F f, std::uint64_t seed = 0) {
    return plait::asyncio::run(f(), {.manual_clock = true, .seed = seed});
}

/// Keeps what a loop's exception handler is told.
class ErrorLog {
public:
    void watch(plait::asyncio::EventLoop& loop) {
        loop.set_exception_handler([this](plait::asyncio::EventLoop&, const plait::asyncio::ErrorContext& context) {
            messages.push_back(context.message);
            tasks.push_back(context.task);
            texts.push_back(context.exception ? plait::detail::describe(context.exception) : "");
        });
    }

    std::vector<std::string> messages;
    std::vector<std::string> tasks;
    std::vector<std::string> texts;
};

}  // namespace support

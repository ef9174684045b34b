// SPDX-License-Identifier: MIT
#pragma once

#include <pthread.h>

#include <cstddef>
#include <exception>
#include <stdexcept>
#include <utility>

namespace support {

/// Calls `f` on a thread whose stack is too small for anything that recurses, and throws what it threw.
template <class F>
void on_small_stack(F f) {
    static constexpr std::size_t stack_size = 256 * 1024;
    std::pair<F*, std::exception_ptr> call{&f, nullptr};
    const auto run = [](void* argument) -> void* {
        auto& [function, error] = *static_cast<decltype(call)*>(argument);
        try {
            (*function)();
        } catch (...) {
            error = std::current_exception();
        }
        return nullptr;
    };
    pthread_attr_t attributes;
    pthread_t thread;
    ::pthread_attr_init(&attributes);
    const bool started = ::pthread_attr_setstacksize(&attributes, stack_size) == 0 &&
                         ::pthread_create(&thread, &attributes, run, &call) == 0;
    ::pthread_attr_destroy(&attributes);
    if (!started) throw std::runtime_error("no thread with a small stack");
    ::pthread_join(thread, nullptr);
    if (call.second) std::rethrow_exception(call.second);
}

}  // namespace support

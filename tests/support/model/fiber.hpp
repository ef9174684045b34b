// SPDX-License-Identifier: MIT
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <memory>
#include <stdexcept>

namespace model {

/// A stack of its own, on which a function runs until it switches away. It may be left for good in the middle: then what
/// stands on its stack is not destroyed.
class Fiber {
public:
    Fiber() : stack_{new std::byte[stack_size]} {}
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    /// The next switch to it begins `entry`, which must not return.
    void begin(void (*entry)()) {
        if (::getcontext(&context_) != 0) throw std::runtime_error("getcontext");
        context_.uc_stack.ss_sp = stack_.get();
        context_.uc_stack.ss_size = stack_size;
        context_.uc_link = nullptr;
        ::makecontext(&context_, entry, 0);
    }
    /// Leaves `from`, which the calling code runs on, and goes on where this was left.
    void enter(ucontext_t& from) { ::swapcontext(&from, &context_); }
    [[nodiscard]] ucontext_t& context() noexcept { return context_; }

private:
    static constexpr std::size_t stack_size = std::size_t{256} * 1024;

    std::unique_ptr<std::byte[]> stack_;
    ucontext_t context_{};
};

}  // namespace model

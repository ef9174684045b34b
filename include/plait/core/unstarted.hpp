// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <coroutine>
#include <new>
#include <utility>

namespace plait::inline PLAIT_ABI::detail {

/// Destroys coroutines that never began, also where each is an argument of the next, a hundred thousand deep: those
/// below a certain depth wait until the stack is flatter.
class UnstartedCoroutines {
public:
    static void destroy(std::coroutine_handle<> handle) noexcept {
        UnstartedCoroutines& self = state();
        if (self.depth_ == deepest && self.defer(handle)) return;
        ++self.depth_;
        handle.destroy();
        while (self.depth_ == deepest && self.first_ != nullptr) {
            Deferred* const deferred = std::exchange(self.first_, self.first_->next);
            const std::coroutine_handle<> next = deferred->handle;
            delete deferred;
            next.destroy();
        }
        --self.depth_;
    }

private:
    struct Deferred {
        std::coroutine_handle<> handle;
        Deferred* next;
    };
    static constexpr int deepest = 64;

    static UnstartedCoroutines& state() noexcept {
        static constinit thread_local UnstartedCoroutines unstarted{};
        return unstarted;
    }
    bool defer(std::coroutine_handle<> handle) noexcept {
        Deferred* const deferred = new (std::nothrow) Deferred{handle, first_};
        if (deferred == nullptr) return false;  // the stack will have to do
        first_ = deferred;
        return true;
    }

    int depth_ = 0;
    Deferred* first_ = nullptr;
};

}  // namespace plait::inline PLAIT_ABI::detail

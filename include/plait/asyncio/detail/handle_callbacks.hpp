// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/reactor.hpp>
#include <plait/asyncio/detail/ready_queue.hpp>
#include <plait/core/config.hpp>
#include <plait/core/function.hpp>
#include <plait/os/handle.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// What `add_reader` and `add_writer` were given: called in each pass in which the handle is ready.
class HandleCallback final : private ReadyListener, private ReadyNode {
public:
    using Callable = plait::detail::MoveOnlyFunction<void()>;

    HandleCallback(os::NativeHandle handle, Direction direction, Callable callable)
        : handle_{handle}, direction_{direction}, callable_{std::move(callable)} {}

    [[nodiscard]] bool is_for(os::NativeHandle handle, Direction direction) const noexcept {
        return handle_ == handle && direction_ == direction;
    }
    void begin(Reactor& reactor) {
        reactor.listen_to_stranger(handle_, direction_, *this);
        reactor_ = &reactor;
    }
    /// It is called no more, and goes when its turn, if it has one, is over.
    void drop() noexcept {
        stop_listening();
        dropped_ = true;
        if (!queued_ && !called_) delete this;
    }

private:
    ~HandleCallback() = default;

    void on_ready() noexcept override {
        queued_ = true;
        reactor_->loop().ready.push(*this);
    }
    void on_turn() noexcept override {
        queued_ = false;
        if (!dropped_) {
            called_ = true;
            try {
                // Before the call, which may remove it.
                reactor_->listen_again(handle_, direction_, *this);
                callable_();
            } catch (...) {
                reactor_->loop().report("an exception left a callback");
            }
            called_ = false;
        }
        if (dropped_) delete this;
    }
    void on_drop() noexcept override {
        queued_ = false;
        if (dropped_) delete this;
    }

    os::NativeHandle handle_;
    Direction direction_;
    bool queued_ = false;
    bool called_ = false;
    bool dropped_ = false;
    Reactor* reactor_ = nullptr;
    Callable callable_;
};

class HandleCallbacks final : public LoopService {
public:
    static HandleCallbacks& of(LoopCore& loop) {
        Reactor& reactor = Reactor::of(loop);
        if (!loop.handle_callbacks) loop.handle_callbacks = std::make_unique<HandleCallbacks>(reactor);
        return static_cast<HandleCallbacks&>(*loop.handle_callbacks);
    }
    explicit HandleCallbacks(Reactor& reactor) noexcept : reactor_{reactor} {}
    ~HandleCallbacks() override {
        // One by one: what a callable does as it dies may remove others.
        while (!callbacks_.empty()) take(callbacks_.back())->drop();
    }

    void add(os::NativeHandle handle, Direction direction, HandleCallback::Callable callable) {
        auto fresh = std::unique_ptr<HandleCallback, Drop>{new HandleCallback{handle, direction, std::move(callable)}};
        fresh->begin(reactor_);
        callbacks_.push_back(fresh.get());
        HandleCallback* const added = fresh.release();
        // The former one stands before it.
        HandleCallback*& first = *find(handle, direction);
        if (first != added) take(first)->drop();
    }
    static bool remove(LoopCore& loop, os::NativeHandle handle, Direction direction) noexcept {
        return loop.handle_callbacks && static_cast<HandleCallbacks&>(*loop.handle_callbacks).remove(handle, direction);
    }

private:
    struct Drop {
        void operator()(HandleCallback* callback) const noexcept { callback->drop(); }
    };

    bool remove(os::NativeHandle handle, Direction direction) noexcept {
        HandleCallback** const place = find(handle, direction);
        if (place != nullptr) take(*place)->drop();
        return place != nullptr;
    }
    HandleCallback** find(os::NativeHandle handle, Direction direction) noexcept {
        for (HandleCallback*& callback : callbacks_)
            if (callback->is_for(handle, direction)) return &callback;
        return nullptr;
    }
    HandleCallback* take(HandleCallback*& place) noexcept {
        HandleCallback* const taken = std::exchange(place, callbacks_.back());
        callbacks_.pop_back();
        return taken;
    }

    Reactor& reactor_;
    std::vector<HandleCallback*> callbacks_;
};

}  // namespace plait::inline PLAIT_ABI::asyncio::detail

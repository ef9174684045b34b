// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/asyncio/detail/reactor.hpp>
#include <plait/asyncio/detail/ready_queue.hpp>
#include <plait/core/config.hpp>
#include <plait/core/function.hpp>
#include <plait/os/signals.hpp>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio::detail {

/// What a loop calls when signals come: what `add_signal_handler` was given, and what `run` does about Ctrl-C.
///
/// A signal sets `rung`, at which the loop looks in each pass, and wakes the reactor, if the loop sleeps in it.
class SignalHandlers final : public LoopSignals, private ReadyNode {
public:
    using Callable = plait::detail::MoveOnlyFunction<void()>;

    static SignalHandlers& of(LoopCore& loop) {
        if (!loop.signal_handlers) loop.signal_handlers = std::make_unique<SignalHandlers>(loop);
        return static_cast<SignalHandlers&>(*loop.signal_handlers);
    }
    explicit SignalHandlers(LoopCore& loop) noexcept : loop_{loop} {}

    void set(int number, Callable callable) {
        wake_reactor();
        auto shared = std::make_shared<Callable>(std::move(callable));
        if (Entry* const entry = find(number)) {
            entry->signal.keep(os::TakenSignal::Mode::always);
            entry->callable.swap(shared);
        } else {
            add(number, std::move(shared), os::TakenSignal::Mode::always);
        }
    }
    /// The same for `run`: without a reactor while the loop need not sleep, and the second one ends the program.
    void set_interrupt(Callable callable) {
        interrupt_ = std::make_shared<Callable>(std::move(callable));
        add(os::interrupt_signal, interrupt_, os::TakenSignal::Mode::once);
    }
    /// Ctrl-C has come, and nothing came of it: it is sent anew when it is given back.
    void put_interrupt_back() noexcept {
        if (Entry* const entry = find(os::interrupt_signal)) entry->signal.put_back();
    }
    /// What `add_signal_handler` was given; where `run` has the signal too, that has it again.
    bool remove(int number) noexcept {
        Entry* const entry = find(number);
        if (entry == nullptr || entry->callable == interrupt_) return false;
        if (number == os::interrupt_signal && interrupt_) {
            entry->signal.keep(os::TakenSignal::Mode::once);
            const std::shared_ptr<Callable> removed = std::exchange(entry->callable, interrupt_);
        } else {
            drop(number);
        }
        return true;
    }

    void on_ring() noexcept override {
        rung.store(false);
        if (!std::exchange(queued_, true)) loop_.ready.push(*this);
    }
    void prepare_sleep() noexcept override {
        if (wakes_reactor_ || entries_.empty()) return;
        try {
            wake_reactor();
        } catch (...) {
            // No descriptor is left, say. Ctrl-C would not be heard: it does again what it did before.
            drop(os::interrupt_signal);
        }
    }

private:
    struct Entry {
        os::TakenSignal signal;
        std::shared_ptr<Callable> callable;  // shared with its call, in which it may be replaced
    };

    void wake_reactor() {
        if (std::exchange(wakes_reactor_, true)) return;
        wakes_reactor_ = false;
        bell_.wake_too(&Reactor::of(loop_).waker());
        wakes_reactor_ = true;
    }
    Entry* find(int number) noexcept {
        for (const auto& entry : entries_)
            if (entry->signal.number() == number) return entry.get();
        return nullptr;
    }
    void drop(int number) noexcept {
        for (auto place = entries_.begin(); place != entries_.end(); ++place) {
            if ((*place)->signal.number() != number) continue;
            const auto dropped = std::move(*place);
            entries_.erase(place);
            return;
        }
    }
    void add(int number, std::shared_ptr<Callable> callable, os::TakenSignal::Mode mode) {
        entries_.reserve(entries_.size() + 1);
        entries_.emplace_back(new Entry{{number, bell_, mode}, std::move(callable)});
    }

    void on_turn() noexcept override {
        queued_ = false;
        // By number, for what is called may add others and remove them.
        for (int number = 1; number <= os::last_signal; ++number) {
            Entry* const entry = find(number);
            if (entry == nullptr || !entry->signal.take()) continue;
            try {
                const std::shared_ptr<Callable> callable = entry->callable;
                (*callable)();
            } catch (...) {
                loop_.report("an exception left a signal's handler");
            }
        }
    }
    void on_drop() noexcept override { queued_ = false; }

    LoopCore& loop_;
    os::SignalBell bell_{rung};
    std::vector<std::unique_ptr<Entry>> entries_;
    std::shared_ptr<Callable> interrupt_;  // what `run` does about Ctrl-C
    bool wakes_reactor_ = false;
    bool queued_ = false;
};

}  // namespace plait::inline PLAIT_ABI::asyncio::detail

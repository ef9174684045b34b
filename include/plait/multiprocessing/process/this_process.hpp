// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/process.hpp>

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// What a child is told of itself; it travels.
struct ChildPapers {
    std::string name;
    std::string
        numbers;  ///< its own and its forebears' among their parents' children: "2:1" is the first of the second
    std::string parent_name;
    std::int64_t parent = 0;  ///< the program that started it, whoever made it
    bool daemon = false;
    bool answers = false;  ///< what comes of its target goes home: see answer.hpp
};

/// What this process knows of itself: of a program that nobody of ours started, next to nothing.
struct ThisProcess {
    ChildPapers papers{.name = "MainProcess", .numbers = {}, .parent_name = {}};
    os::NativeHandle control = os::Handle::none;  ///< the channel to the parent; open for life
    os::HandleIdentity control_identity;          ///< for the number may be another's: a target may close what it likes
    std::atomic<unsigned> children{0};            ///< how many it has thought of so far

    /// The numbers of its next child.
    std::string next_numbers() {
        const std::string number = std::to_string(children.fetch_add(1, std::memory_order_relaxed) + 1);
        return papers.numbers.empty() ? number : papers.numbers + ":" + number;
    }
    /// Whether `control` is still the channel to the parent.
    [[nodiscard]] bool has_control() const noexcept {
        return control != os::Handle::none && os::identity_of(control) == control_identity;
    }
    /// For a child, before it runs anything of the user's.
    void become(ChildPapers its, os::NativeHandle its_control) {
        papers = std::move(its);
        control = its_control;
        control_identity = os::identity_of(its_control);
        children.store(0, std::memory_order_relaxed);
    }
};

PLAIT_VISIBLE inline ThisProcess& this_process() {
    static ThisProcess* const state = new ThisProcess;  // never destroyed: exit handlers may ask
    return *state;
}

/// One `T` for each process: a forked copy of a program makes one of its own, and looks at the program's no more.
template <class T>
class PerProcess {
public:
    T& get() {
        // Never destroyed. Acquire pairs with the release of the exchange: who sees it sees it made.
        Place* current = current_.load(std::memory_order_acquire);
        if (current != nullptr && current->owner == os::process_id()) return current->value;
        auto* const made = new Place;
        made->before = current;
        if (current_.compare_exchange_strong(current, made, std::memory_order_acq_rel, std::memory_order_acquire))
            return made->value;
        delete made;
        return current->value;
    }

private:
    struct Place {
        T value;
        std::int64_t owner = os::process_id();
        Place* before = nullptr;  // the program's, in a forked copy of it
    };
    std::atomic<Place*> current_{nullptr};  // null, or the last that a process among its forebears and itself made
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail

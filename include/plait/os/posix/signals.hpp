// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/posix/back_off.hpp>

#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace plait::inline PLAIT_ABI::os {

inline constexpr int interrupt_signal = SIGINT;
inline constexpr int last_signal = 64;  ///< of those that can be taken

/// Neither moves nor dies while a signal may ring it.
class SignalBell {
public:
    explicit SignalBell(std::atomic<bool>& rung) noexcept : rung_{rung} {}
    SignalBell(const SignalBell&) = delete;
    SignalBell& operator=(const SignalBell&) = delete;

    void wake_too(Waker* waker) noexcept { waker_.store(waker, std::memory_order_seq_cst); }
    /// From a signal's handler: nothing here waits, allocates or throws.
    void ring() noexcept {
        // Sequentially consistent, and so is wake_too and the look at `rung` after it: either that look sees this, or
        // this sees the waker.
        if (rung_.exchange(true, std::memory_order_seq_cst)) return;
        if (Waker* const waker = waker_.load(std::memory_order_seq_cst)) waker->wake();
    }

private:
    std::atomic<bool>& rung_;
    std::atomic<Waker*> waker_{nullptr};
};

namespace detail {

using namespace plait::detail;

static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<SignalBell*>::is_always_lock_free,
              "a signal's handler may not take a lock");

/// What the handler of one signal finds, in static memory: it may run in any thread, and it may begin late, when the
/// signal was sent before it was given back and the thread has only now got to it.
///
/// Bells, and the descriptors behind them, live as long as a handler may ring them. A handler first counts itself, and
/// then looks whose the signal is; who gives the signal back first says that it is nobody's, and then waits until none is
/// counted. All of that is sequentially consistent: so a handler has either seen that there is nobody, or is waited for.
/// What is waited for is a few instructions of a thread that runs them; a handler of the giver's own thread has ended
/// before that goes on. In a copy of the process no handler is waited for that the original counted: the count names
/// its process.
struct SignalSlot {
    // 0: nobody's. A process's number: its, and it has the bell. The negative: that process is taking it or giving it
    // back. Another process's, in a fork's copy: nobody's.
    std::atomic<std::int64_t> owner{0};
    std::atomic<SignalBell*> bell{nullptr};  // written by who takes it, before it says that it is the owner
    std::atomic<bool> came{false};
    std::atomic<std::uint64_t> handlers{0};  // that run now; in the upper half, of which process
    struct ::sigaction former{};             // what the signal did before; written while no handler can read it
};

PLAIT_VISIBLE inline SignalSlot& signal_slot(int number) noexcept {
    static constinit std::array<SignalSlot, last_signal + 1> slots{};
    return slots[static_cast<std::size_t>(number)];
}

inline std::uint64_t handlers_of_this_process() noexcept {
    return std::uint64_t{static_cast<std::uint32_t>(::getpid())} << 32;
}

inline void count_handler(SignalSlot& slot) noexcept {
    const std::uint64_t none = handlers_of_this_process();
    std::uint64_t count = slot.handlers.load();
    while (!slot.handlers.compare_exchange_weak(count, (count >> 32 == none >> 32 ? count : none) + 1)) {
    }
}
inline void uncount_handler(SignalSlot& slot) noexcept { slot.handlers.fetch_sub(1); }

inline void wait_for_handlers(SignalSlot& slot) noexcept {
    const std::uint64_t none = handlers_of_this_process();
    BackOff back_off;
    for (;;) {
        const std::uint64_t count = slot.handlers.load();
        if (count == none || count >> 32 != none >> 32) return;
        back_off.pause(Deadline::never());
    }
}

PLAIT_VISIBLE inline void handle_signal(int number) noexcept;

inline struct ::sigaction disposition_of(int number) noexcept {
    struct ::sigaction now{};
    if (::sigaction(number, nullptr, &now) != 0) now.sa_handler = SIG_IGN;
    return now;
}

/// A signal that is nobody's: in a fork's copy, or as it was given back. It does what it did before, once this handler
/// has returned: until then it is blocked. (Where the program has a handler of its own, which called this, nothing.)
inline void pass_on(int number, const SignalSlot& slot) noexcept {
    const struct ::sigaction now = disposition_of(number);
    if (now.sa_handler == &handle_signal)
        ::sigaction(number, &slot.former, nullptr);
    else if (now.sa_handler != slot.former.sa_handler)
        return;
    ::raise(number);
}

inline void handle_signal(int number) noexcept {
    const int error = errno;
    SignalSlot& slot = signal_slot(number);
    count_handler(slot);
    if (slot.owner.load() == ::getpid()) {
        slot.came.store(true);
        slot.bell.load()->ring();
    } else {
        pass_on(number, slot);
    }
    uncount_handler(slot);
    errno = error;
}

inline bool is_fault(int number) noexcept {
    return number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL;
}

}  // namespace detail

class TakenSignal {
public:
    enum class Mode { always, once };

    inline TakenSignal(int number, SignalBell& bell, Mode mode);
    TakenSignal(const TakenSignal&) = delete;
    TakenSignal& operator=(const TakenSignal&) = delete;
    inline ~TakenSignal();

    [[nodiscard]] int number() const noexcept { return number_; }
    [[nodiscard]] bool take() noexcept {
        return slot_.came.load(std::memory_order_relaxed) && slot_.came.exchange(false);
    }
    void put_back() noexcept { slot_.came.store(true); }
    /// From now on in that mode.
    void keep(Mode mode) noexcept { static_cast<void>(install(mode)); }

private:
    static detail::SignalSlot& slot_for(int number);
    [[nodiscard]] bool install(Mode mode) const noexcept;

    const int number_;
    const std::int64_t process_ = ::getpid();
    detail::SignalSlot& slot_;
};

inline detail::SignalSlot& TakenSignal::slot_for(int number) {
    if (number < 1 || number > last_signal)
        throw std::invalid_argument(std::to_string(number) + " is not the number of a signal");
    if (detail::is_fault(number))
        throw std::invalid_argument("signal " + std::to_string(number) +
                                    " cannot be taken: what caused it would cause it again");
    return detail::signal_slot(number);
}

inline bool TakenSignal::install(Mode mode) const noexcept {
    struct ::sigaction action{};
    action.sa_handler = &detail::handle_signal;
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    // The system itself sees to the second one, however busy the program is.
    if (mode == Mode::once) action.sa_flags |= static_cast<int>(SA_RESETHAND);
    ::sigemptyset(&action.sa_mask);
    return ::sigaction(number_, &action, nullptr) == 0;
}

inline TakenSignal::TakenSignal(int number, SignalBell& bell, Mode mode) : number_{number}, slot_{slot_for(number)} {
    std::int64_t owner = slot_.owner.load();
    do {
        if (owner == process_ || owner == -process_)
            throw UsageError("signal " + std::to_string(number) + " is taken: one event loop can have it at a time");
    } while (!slot_.owner.compare_exchange_weak(owner, -process_));
    detail::wait_for_handlers(slot_);
    const struct ::sigaction now = detail::disposition_of(number);
    // Where it is ours already this process is a copy, and what was kept is what was before.
    if (now.sa_handler != &detail::handle_signal) slot_.former = now;
    slot_.bell.store(&bell);
    slot_.came.store(false);
    slot_.owner.store(process_);
    // Who has seen nobody has given back a copy's disposition by then, and does not do so after this.
    detail::wait_for_handlers(slot_);
    if (install(mode)) return;
    slot_.owner.store(0);
    throw std::invalid_argument("signal " + std::to_string(number) + " cannot be taken");
}

inline TakenSignal::~TakenSignal() {
    const bool is_copy = process_ != ::getpid();
    if (is_copy && slot_.owner.load() != process_) return;  // another has it here
    if (detail::disposition_of(number_).sa_handler == &detail::handle_signal)
        ::sigaction(number_, &slot_.former, nullptr);
    if (is_copy) return;
    slot_.owner.store(-process_);
    detail::wait_for_handlers(slot_);
    slot_.bell.store(nullptr);
    const bool is_left = slot_.came.exchange(false);
    slot_.owner.store(0);
    if (is_left) ::kill(static_cast<pid_t>(process_), number_);
}

inline bool ends_program(int number) noexcept {
    const struct ::sigaction now = detail::disposition_of(number);
    if (now.sa_handler != &detail::handle_signal) return now.sa_handler == SIG_DFL;
    const detail::SignalSlot& slot = detail::signal_slot(number);
    return slot.owner.load() != ::getpid() && slot.former.sa_handler == SIG_DFL;
}

}  // namespace plait::inline PLAIT_ABI::os

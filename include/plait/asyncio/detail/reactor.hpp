// SPDX-License-Identifier: MIT
#pragma once

#include <plait/asyncio/detail/loop_core.hpp>
#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/timeout.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/poller.hpp>
#include <plait/os/system_error.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::asyncio::detail {

enum class Direction : std::uint8_t { read, write };

class Reactor;

/// Wants to hear, once, that a handle is ready to be read or written, or has failed.
class ReadyListener {
public:
    ReadyListener(const ReadyListener&) = delete;
    ReadyListener& operator=(const ReadyListener&) = delete;

    /// It listens no longer, and may do so anew. Runs none of the user's code.
    virtual void on_ready() noexcept = 0;
    [[nodiscard]] bool is_listening() const noexcept { return reactor_ != nullptr; }
    inline void stop_listening() noexcept;

protected:
    ReadyListener() = default;
    ~ReadyListener() { stop_listening(); }

private:
    friend class Reactor;
    Reactor* reactor_ = nullptr;  // where it listens
    ReadyListener* previous_ = nullptr;
    ReadyListener* next_ = nullptr;
    os::NativeHandle handle_ = os::Handle::none;
    Direction direction_ = Direction::read;
};

/// Owns handles that a loop waits for, and may outlive it.
class ReactorObject : private TaskLink {
public:
    /// The loop closes; its tasks are gone. To close its handles now, and not to use the reactor again.
    virtual void on_loop_close() noexcept = 0;

protected:
    ReactorObject() = default;
    ~ReactorObject() { unlink(); }
    inline void join(Reactor& reactor) noexcept;
    void leave() noexcept { unlink(); }

private:
    friend class Reactor;
};

/// Where a loop sleeps that waits for handles: who listens is told when the system says that a handle is ready.
///
/// Made at the first need. The system is asked level-triggered: what is ready is told again until it is read. It is asked
/// for a handle when somebody listens to it, and goes on being asked until it tells of one that nobody listens to; so who
/// reads, and listens again before the next sleep, costs no system call but the read.
class Reactor final : public Sleeper {
public:
    static Reactor& of(LoopCore& loop) {
        if (loop.closed) throw UsageError("this event loop is closed: make another");
        if (!loop.sleeper) {
            auto reactor = std::make_unique<Reactor>(loop);
            loop.mailbox->wake_by(*reactor);
            loop.sleeper = std::move(reactor);
        }
        return static_cast<Reactor&>(*loop.sleeper);
    }
    static Reactor& of_running_loop() {
        LoopCore* const loop = running_loop();
        if (loop == nullptr)
            throw UsageError("no event loop runs on this thread: call this from a coroutine or a callback");
        return of(*loop);
    }

    explicit Reactor(LoopCore& loop) : loop_{loop} { poller_.add(waker_.handle(), os::readable, 0); }
    ~Reactor() override { let_everybody_go(); }

    [[nodiscard]] LoopCore& loop() const noexcept { return loop_; }
    /// Ends a sleep; also from a signal's handler.
    [[nodiscard]] os::Waker& waker() noexcept { return waker_; }
    /// Where bytes are received before it is known how many come; of use until the next who receives.
    [[nodiscard]] std::span<char> scratch() {
        if (!scratch_) scratch_ = std::make_unique_for_overwrite<char[]>(scratch_size);
        return {scratch_.get(), scratch_size};
    }

    /// Any number may listen to one handle; all are told. For a handle that `forget` is called for before it is closed.
    ///
    /// Throws: std::system_error, where it is no open handle, or a file that is always ready.
    void listen(os::NativeHandle handle, Direction direction, ReadyListener& listener) {
        Watched& watched = place_of(handle);
        if (watched.is_strangers) ask_anew(handle, watched, direction);
        watched.is_strangers = false;
        listen_again(handle, direction, listener);
    }
    /// The same for the handle of a stranger, who may have closed it since it was last listened to, and another may have
    /// its number.
    void listen_to_stranger(os::NativeHandle handle, Direction direction, ReadyListener& listener) {
        Watched& watched = place_of(handle);
        ask_anew(handle, watched, direction);
        watched.is_strangers = true;
        append(watched, handle, direction, listener);
    }
    /// For who has listened to it by either since it was opened.
    void listen_again(os::NativeHandle handle, Direction direction, ReadyListener& listener) {
        Watched& watched = place_of(handle);
        const short bit = bit_of(direction);
        if ((watched.asked & bit) == 0) ask(handle, watched, static_cast<short>(watched.asked | bit));
        append(watched, handle, direction, listener);
    }
    /// Before the handle is closed. Who still listens is told, and is to find it closed.
    void forget(os::NativeHandle handle) noexcept;

    bool sleep(plait::detail::Deadline deadline) noexcept override;
    void interrupt() noexcept override { waker_.wake(); }
    void close() noexcept override;
    void leave() noexcept override {
        left_ = true;
        poller_.close();
        close();
    }
    /// Whether this is a fork's copy: the system's part is the parent's, and so is what handles were to carry.
    [[nodiscard]] bool is_left() const noexcept { return left_ || loop_.fork_mark.is_copy(); }

private:
    friend class ReadyListener;
    friend class ReactorObject;

    struct Watched {
        std::array<ReadyListener*, 2> first{};  // by direction; each the head of a list
        std::uint32_t stamp = 0;                // told with its events: another once it was forgotten
        short asked = 0;                        // what the system has been asked for
        bool is_strangers = false;  // it may have been closed, and its number be another's, since it was asked
    };

    static short bit_of(Direction direction) noexcept {
        return direction == Direction::read ? os::readable : os::writable;
    }
    static short events_of(const Watched& watched) noexcept {
        return static_cast<short>((watched.first[0] != nullptr ? os::readable : 0) |
                                  (watched.first[1] != nullptr ? os::writable : 0));
    }
    Watched& place_of(os::NativeHandle handle) {
        if (handle < 0) throw UsageError("an event loop cannot wait for a handle that is none: it was closed or moved");
        const auto number = static_cast<std::size_t>(handle);
        if (number >= watched_.size()) {
            // Before there is room for all numbers up to some nonsense.
            if (os::identity_of(handle) == os::HandleIdentity{})
                os::throw_system_error("waiting for a handle", static_cast<int>(std::errc::bad_file_descriptor));
            watched_.resize(number + 1);
        }
        return watched_[number];
    }
    void ask(os::NativeHandle handle, Watched& watched, short events) {
        if (is_left())
            throw UsageError("this event loop was copied by a fork, and runs in the parent alone: make another here");
        if (watched.asked == 0)
            poller_.add(handle, events, watched.stamp);
        else
            poller_.change(handle, events, watched.stamp);
        watched.asked = events;
    }
    void ask_anew(os::NativeHandle handle, Watched& watched, Direction direction) {
        ++watched.stamp;  // so that what the system tells of the former holder of the number is known for that
        ask(handle, watched, static_cast<short>(events_of(watched) | bit_of(direction)));
    }
    void append(Watched& watched, os::NativeHandle handle, Direction direction, ReadyListener& listener) noexcept;
    void remove(ReadyListener& listener) noexcept;
    void on_event(os::NativeHandle handle, std::uint32_t stamp, short events) noexcept;
    void tell(os::NativeHandle handle, Direction direction) noexcept;
    void tell_all(os::NativeHandle handle) noexcept {
        tell(handle, Direction::read);
        tell(handle, Direction::write);
    }
    void stop_asking(os::NativeHandle handle, Watched& watched, short events) noexcept;
    void start_anew() noexcept;
    void let_everybody_go() noexcept;

    static constexpr std::size_t scratch_size = 64 * 1024;

    LoopCore& loop_;
    os::Poller poller_;
    os::Waker waker_;
    std::vector<Watched> watched_;     // by handle
    std::unique_ptr<char[]> scratch_;  // once somebody receives
    TaskLink objects_;
    bool told_ = false;           // whether the last sleep was ended by a handle
    bool stranger_told_ = false;  // whether the last sleep was ended by a handle that is not watched
    bool left_ = false;
};

inline void ReadyListener::stop_listening() noexcept {
    if (reactor_ != nullptr) reactor_->remove(*this);
}

inline void ReactorObject::join(Reactor& reactor) noexcept { insert_before(reactor.objects_); }

inline void Reactor::append(Watched& watched, os::NativeHandle handle, Direction direction,
                            ReadyListener& listener) noexcept {
    ++listeners;
    listener.reactor_ = this;
    listener.handle_ = handle;
    listener.direction_ = direction;
    listener.next_ = nullptr;
    // The first one's predecessor is the last: so all are told in the order in which they came.
    ReadyListener*& first = watched.first[static_cast<std::size_t>(direction)];
    if (first == nullptr) {
        listener.previous_ = &listener;
        first = &listener;
    } else {
        listener.previous_ = first->previous_;
        first->previous_->next_ = &listener;
        first->previous_ = &listener;
    }
}

inline void Reactor::remove(ReadyListener& listener) noexcept {
    Watched& watched = watched_[static_cast<std::size_t>(listener.handle_)];
    ReadyListener*& first = watched.first[static_cast<std::size_t>(listener.direction_)];
    if (first == &listener) {
        first = listener.next_;
        if (first != nullptr) first->previous_ = listener.previous_;
    } else {
        listener.previous_->next_ = listener.next_;
        (listener.next_ != nullptr ? listener.next_ : first)->previous_ = listener.previous_;
    }
    listener.reactor_ = nullptr;
    --listeners;
}

inline void Reactor::forget(os::NativeHandle handle) noexcept {
    const auto number = static_cast<std::size_t>(handle);
    if (handle < 0 || number >= watched_.size()) return;
    Watched& watched = watched_[number];
    if (watched.asked != 0 && !is_left()) poller_.remove(handle);
    watched.asked = 0;
    watched.is_strangers = false;
    ++watched.stamp;
    tell_all(handle);
}

/// Tells those who listen now, and not those who begin to meanwhile.
inline void Reactor::tell(os::NativeHandle handle, Direction direction) noexcept {
    const auto number = static_cast<std::size_t>(handle);
    const auto side = static_cast<std::size_t>(direction);
    ReadyListener* const first = watched_[number].first[side];
    if (first == nullptr) return;
    const ReadyListener* const last = first->previous_;
    for (bool more = true; more;) {
        ReadyListener* const listener = watched_[number].first[side];  // the table may have grown
        if (listener == nullptr) return;
        more = listener != last;
        remove(*listener);
        listener->on_ready();
    }
}

inline void Reactor::on_event(os::NativeHandle handle, std::uint32_t stamp, short events) noexcept {
    if (handle == waker_.handle()) return waker_.clear();
    const auto number = static_cast<std::size_t>(handle);
    if (number >= watched_.size() || watched_[number].stamp != stamp || watched_[number].asked == 0) {
        stranger_told_ = true;
        return;
    }
    told_ = true;
    const bool failed = (events & os::hung_up) != 0;
    const bool for_readers = failed || (events & os::readable) != 0;
    const bool for_writers = failed || (events & os::writable) != 0;
    const short heard = events_of(watched_[number]);
    if (for_readers) tell(handle, Direction::read);
    if (for_writers) tell(handle, Direction::write);
    // What nobody listened to would be told again and again. (Who was told has it read first, in its turn.)
    const auto unheard = static_cast<short>((for_readers ? os::readable : 0) | (for_writers ? os::writable : 0));
    Watched& watched = watched_[number];
    if ((unheard & watched.asked & ~heard) != 0 && watched.stamp == stamp)
        stop_asking(handle, watched, static_cast<short>(watched.asked & ~(unheard & ~heard)));
}

inline void Reactor::stop_asking(os::NativeHandle handle, Watched& watched, short events) noexcept {
    const auto left = static_cast<short>(events | events_of(watched));
    if (left == watched.asked) return;
    watched.asked = left;
    if (left == 0) return poller_.remove(handle);
    try {
        poller_.change(handle, left, watched.stamp);
    } catch (...) {
        // It was closed by somebody who should have told, or memory is short: who listens finds out by trying.
        watched.asked = 0;
        tell_all(handle);
    }
}

inline bool Reactor::sleep(plait::detail::Deadline deadline) noexcept {
    const bool stranger_told_before = std::exchange(stranger_told_, false);
    told_ = false;
    try {
        poller_.wait(deadline, [this](os::NativeHandle handle, std::uint32_t stamp, short events) {
            on_event(handle, stamp, events);
        });
    } catch (...) {
        loop_.report("an event loop could not wait for its handles");
    }
    if (stranger_told_ && stranger_told_before) start_anew();
    return told_;
}

/// A handle was closed while a copy of it lives on, in a forked process perhaps: the system tells of it again and again,
/// and takes back nothing, for nobody here can name it.
inline void Reactor::start_anew() noexcept {
    try {
        os::Poller fresh;
        fresh.add(waker_.handle(), os::readable, 0);
        poller_ = std::move(fresh);
    } catch (...) {
        return loop_.report("an event loop could not begin anew to wait for its handles");
    }
    for (std::size_t number = 0; number < watched_.size(); ++number) {
        const auto handle = static_cast<os::NativeHandle>(number);
        watched_[number].asked = 0;
        const short events = events_of(watched_[number]);
        try {
            if (events != 0) ask(handle, watched_[number], events);
        } catch (...) {
            tell_all(handle);  // they find out by trying
        }
    }
}

inline void Reactor::close() noexcept {
    while (objects_.following != &objects_) {
        auto& object = static_cast<ReactorObject&>(*objects_.following);
        object.unlink();
        object.on_loop_close();
    }
    let_everybody_go();
}

inline void Reactor::let_everybody_go() noexcept {
    while (objects_.following != &objects_) objects_.following->unlink();
    for (Watched& watched : watched_)
        for (ReadyListener*& first : watched.first)
            while (first != nullptr) remove(*first);
}

}  // namespace plait::inline PLAIT_ABI::asyncio::detail

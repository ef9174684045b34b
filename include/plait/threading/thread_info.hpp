// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/parking.hpp>
#include <plait/core/spin.hpp>
#include <plait/os/thread.hpp>
#include <plait/threading/event.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::threading {

namespace detail {

/// What is known of one thread, also after its end.
struct ThreadRecord {
    ThreadRecord(std::string name_, bool daemon_) : name{std::move(name_)}, daemon{daemon_} {}
    ThreadRecord(const ThreadRecord&) = delete;
    ThreadRecord& operator=(const ThreadRecord&) = delete;

    /// For the thread itself, first of all.
    void begin() {
        native_id.store(os::native_thread_id(), std::memory_order_relaxed);
        begun.set();
    }

    const std::string name;
    const bool daemon;
    std::atomic<std::uint64_t> ident{0};      // 0 until it is started
    std::atomic<std::uint64_t> native_id{0};  // written by the thread before `begun`
    Event begun;                              // or it will not begin
    Event ended;
};

/// The threads that live: those of ours, the main thread, and others that asked who they are.
class ThreadRegistry {
public:
    using RecordPointer = std::shared_ptr<ThreadRecord>;

    PLAIT_VISIBLE static ThreadRegistry& instance() {
        // Never destroyed: threads may end while static objects are being destroyed.
        static ThreadRegistry* const registry = new ThreadRegistry;
        return *registry;
    }

    [[nodiscard]] RecordPointer main() {
        const std::scoped_lock lock{mutex_};
        return main_;
    }
    /// Makes `record` one of the living.
    void add(const RecordPointer& record) {
        const std::scoped_lock lock{mutex_};
        living_.push_back(record);
        if (record->ident.load(std::memory_order_relaxed) == 0) record->ident.store(++last_ident_);
    }
    void remove(const ThreadRecord& record) noexcept {
        const std::scoped_lock lock{mutex_};
        for (auto& entry : living_) {
            if (entry.get() != &record) continue;
            entry.swap(living_.back());
            return living_.pop_back();
        }
    }
    [[nodiscard]] std::vector<RecordPointer> living() {
        const std::scoped_lock lock{mutex_};
        return living_;
    }
    [[nodiscard]] std::size_t count() {
        const std::scoped_lock lock{mutex_};
        return living_.size();
    }

    /// How many forks lie between this process and the first: by it a thread of the parent is told from one of ours.
    [[nodiscard]] std::uint32_t generation() const noexcept { return generation_; }

    [[nodiscard]] std::string next_thread_name() {
        return "Thread-" + std::to_string(threads_.fetch_add(1, std::memory_order_relaxed) + 1);
    }
    [[nodiscard]] std::string next_dummy_name() {
        return "Dummy-" + std::to_string(dummies_.fetch_add(1, std::memory_order_relaxed) + 1);
    }

private:
    ThreadRegistry() {
        start_anew(std::make_shared<ThreadRecord>("MainThread", false));
        // Made now: were a thread in the midst of it when another forks, the child would wait for it for ever.
        static_cast<void>(plait::detail::parking::table());
        static_cast<void>(plait::detail::spinning_helps());
        // A fork waits for the mutex, so that the child finds the list whole.
        os::call_around_forks([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                              [] { instance().forget_threads_of_parent(); });
    }

    /// With the main thread alone.
    void start_anew(RecordPointer main) {
        if (main->ident.load(std::memory_order_relaxed) == 0) main->ident.store(++last_ident_);
        main->native_id.store(os::main_thread_id(), std::memory_order_relaxed);
        main->begun.set();
        main_ = std::move(main);
        living_.assign(1, main_);
    }

    /// In the child of a fork, whose one thread has locked the mutex: the others are gone, and some of them slept.
    void forget_threads_of_parent();

    std::mutex mutex_;  // guards main_, living_ and last_ident_
    RecordPointer main_;
    std::vector<RecordPointer> living_;
    std::uint64_t last_ident_ = 0;
    std::atomic<std::uint64_t> threads_{0};
    std::atomic<std::uint64_t> dummies_{0};
    std::uint32_t generation_ = 0;  // written while there is one thread
};

/// The calling thread's record, and what says that the thread has ended, however it did. In a thread of ours this is the
/// first of the thread-locals, so the last to go: then nothing of a user is left to run.
struct OwnRecord {
    ThreadRegistry::RecordPointer record;
    bool ends = false;  // with this: not so the main thread, which lives on, nor one that nobody is to know of

    ~OwnRecord() {
        gone() = true;
        if (!ends) return;
        // In this order: the child of a fork in between finds it among the living, or ended.
        record->ended.set();
        plait::detail::sync_point();
        ThreadRegistry::instance().remove(*record);
    }
    /// Whether this thread's has been destroyed.
    static bool& gone() noexcept {
        static constinit thread_local bool destroyed = false;
        return destroyed;
    }
};

/// The calling thread's `ident`, 0 while nobody asked for it; known to the very end, also while its thread-locals and,
/// where it called exit, the static objects are destroyed.
PLAIT_VISIBLE inline std::uint64_t& own_ident() noexcept {
    static constinit thread_local std::uint64_t ident = 0;
    return ident;
}

PLAIT_VISIBLE inline OwnRecord& own_record() {
    static thread_local OwnRecord own;
    return own;
}

inline ThreadRegistry::RecordPointer current_record() {
    if (OwnRecord::gone()) {
        // The main thread lives on: static objects are destroyed after its thread-locals.
        if (os::is_main_thread()) return ThreadRegistry::instance().main();
        // A thread-local's destructor that comes after ours is told of a thread that has ended.
        return std::make_shared<ThreadRecord>("(ended)", false);
    }
    OwnRecord& own = own_record();
    if (!own.record) {
        ThreadRegistry& registry = ThreadRegistry::instance();
        if (os::is_main_thread()) {
            own.record = registry.main();
            own.record->begin();
        } else {
            auto record = std::make_shared<ThreadRecord>(registry.next_dummy_name(), true);
            record->begin();
            registry.add(record);
            own.record = std::move(record);
            own.ends = true;
        }
        own_ident() = own.record->ident.load(std::memory_order_relaxed);
    }
    return own.record;
}

inline void ThreadRegistry::forget_threads_of_parent() {
    ++generation_;
    mutex_.unlock();  // there is one thread now
    plait::detail::parking::reset_after_fork();
    const RecordPointer self = OwnRecord::gone() ? nullptr : own_record().record;
    for (const RecordPointer& record : living_) {
        if (record == self) continue;
        record->begun.set();  // nor will it begin any more
        record->ended.set();
    }
    start_anew(self ? self : std::make_shared<ThreadRecord>("MainThread", false));
}

}  // namespace detail

/// Who a thread is: a reference to what is known of it, which stays valid after its end.
///
/// Python: what threading.current_thread and threading.enumerate return. A Thread is the owner; this only tells.
///
///     for (const ThreadInfo& thread : enumerate()) std::cout << thread.name() << '\n';
///
/// Threads: every member from any thread. Copies, and infos of one thread, are equal.
class ThreadInfo {
public:
    const std::string& name() const noexcept { return record_->name; }
    /// The thread's number in this program, never given to another; 0 before its start.
    std::uint64_t ident() const noexcept { return record_->ident.load(std::memory_order_relaxed); }
    /// The operating system's number; 0 before its start, and in the child of a fork for one that had not begun.
    std::uint64_t native_id() const {
        if (ident() == 0) return 0;
        record_->begun.wait();  // a started thread is just about to say it, or who starts it that there will be none
        return record_->native_id.load(std::memory_order_relaxed);
    }
    /// Whether nobody waits for it at the program's end.
    bool daemon() const noexcept { return record_->daemon; }
    /// Whether it was started and has not ended.
    bool is_alive() const noexcept { return ident() != 0 && !record_->ended.is_set(); }

    friend bool operator==(const ThreadInfo& a, const ThreadInfo& b) noexcept { return a.record_ == b.record_; }

private:
    friend class Thread;
    friend ThreadInfo current_thread();
    friend ThreadInfo main_thread();
    friend std::vector<ThreadInfo> enumerate();

    explicit ThreadInfo(std::shared_ptr<detail::ThreadRecord> record) noexcept : record_{std::move(record)} {}

    std::shared_ptr<detail::ThreadRecord> record_;
};

/// The calling thread, also one that plait did not start: it is called "Dummy-1" and so on.
inline ThreadInfo current_thread() { return ThreadInfo{detail::current_record()}; }

/// The program's first thread; in the child of a fork the one that forked.
inline ThreadInfo main_thread() {
    if (os::is_main_thread()) return current_thread();
    return ThreadInfo{detail::ThreadRegistry::instance().main()};
}

/// The threads that live now: the main thread, those that plait started, and those that called `current_thread`.
inline std::vector<ThreadInfo> enumerate() {
    std::vector<ThreadInfo> threads;
    for (auto& record : detail::ThreadRegistry::instance().living()) threads.push_back(ThreadInfo{std::move(record)});
    return threads;
}
/// How many `enumerate` would give.
inline std::size_t active_count() { return detail::ThreadRegistry::instance().count(); }

/// The calling thread's `ident`.
inline std::uint64_t get_ident() { return current_thread().ident(); }
/// The calling thread's `native_id`.
inline std::uint64_t get_native_id() { return os::native_thread_id(); }

}  // namespace plait::inline PLAIT_ABI::threading

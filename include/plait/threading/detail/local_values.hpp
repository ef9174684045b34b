// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/os/thread.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

// Who frees which value of a Local, and when.
//
// A Local has a number, taken by its first use and given to another Local after its end, and an id, never given again. A
// thread has an array of slots by those numbers: each names a value and the id of its Local. The array is the thread's
// alone, so that finding a value takes no lock: a slot whose id is the Local's holds the thread's value of it.
//
// Every value is also in the list of its Local, and is freed by who takes it from there, under the one mutex of all this:
//
// - The thread that it belongs to, at its end. It first asks whether its slot's id is still that of the Local of that
//   number. If so the Local lives, and with it the value; if not ~Local has taken it, and the slot is not looked into.
//   While its destructor runs, outside the mutex, the Local counts it as ending.
// - ~Local, which first ends its id and empties the list in one, then waits for those that are ending, then destroys what
//   it took. Slots of other threads that pointed there are stale by their id.
//
// So a value has one owner at each time, and each is destroyed once. A destructor may use Locals, also the one whose value
// it is: that makes a new value, which another pass over the slots finds. What the last pass leaves, and what is made by
// destructors that run later still, has no slot: it is found in its Local's list by the thread's serial number, and lives
// until ~Local.
//
// A fork waits for the mutex, so the child finds all lists whole. It keeps the values of the thread that forked; those of
// others, which may have been at work on them, are set aside and never touched again.
namespace plait::inline PLAIT_ABI::threading::detail {

using namespace plait::detail;

class LocalValues;

/// One thread's value, of a type that only its class below this knows.
class LocalValue {
public:
    LocalValue(const LocalValue&) = delete;
    LocalValue& operator=(const LocalValue&) = delete;
    virtual ~LocalValue() = default;

protected:
    LocalValue() = default;

private:
    friend class LocalValues;
    friend class LocalRegistry;

    // Guarded by the registry's mutex; `next_` of a value that ~LocalValues has taken is its own.
    LocalValues* owner_ = nullptr;
    LocalValue* next_ = nullptr;
    LocalValue* previous_ = nullptr;
    std::uint64_t thread_ = 0;
};

struct LocalSlot {
    std::uint64_t id = 0;
    LocalValue* value = nullptr;
};

/// A value whose destructor the thread runs at its end; `owner` is null once that has gone, by this very destructor.
struct EndingValue {
    LocalValues* owner;
    EndingValue* outer;
};

/// A Local whose value this thread makes.
struct MakingValue {
    const LocalValues* owner;
    MakingValue* outer;
};

/// What a thread knows of its values. Trivially destructible: a `Closer` apart from it watches for the thread's end.
struct OwnLocals {
    LocalSlot* slots = nullptr;
    std::uint32_t size = 0;
    bool closed = false;       // the thread's end has passed over them: there are no slots any more
    std::uint64_t serial = 0;  // of this thread, never given again; 0 while it has no value
    EndingValue* ending = nullptr;
    MakingValue* making = nullptr;
};

PLAIT_VISIBLE inline OwnLocals& own_locals() noexcept {
    static constinit thread_local OwnLocals own;
    return own;
}

/// The values of one Local.
class LocalValues {
public:
    constexpr LocalValues() noexcept = default;
    LocalValues(const LocalValues&) = delete;
    LocalValues& operator=(const LocalValues&) = delete;
    ~LocalValues();

    /// The slot of the calling thread's value, or null where it has none (or no slots any more).
    [[nodiscard]] const LocalSlot* find() const noexcept {
        const OwnLocals& own = own_locals();
        // Acquire pairs with the release in LocalRegistry::enter: who sees the id sees the number.
        const std::uint64_t id = id_.load(std::memory_order_acquire);
        const std::uint32_t number = number_.load(std::memory_order_relaxed);
        if (number < own.size && own.slots[number].id == id) [[likely]]
            return &own.slots[number];
        return nullptr;
    }
    /// The calling thread's, which `make` makes if there is none; that is called without a lock, and may throw.
    template <class Make>
    LocalValue& find_or_make(Make make);

private:
    friend class LocalRegistry;

    // What id_ holds beside ids: written with the registry's mutex locked.
    static constexpr std::uint64_t unused = UINT64_MAX;     // it has no number yet
    static constexpr std::uint64_t ended = UINT64_MAX - 1;  // it is being destroyed

    std::atomic<std::uint64_t> id_{unused};
    std::atomic<std::uint32_t> number_{0};
    // Guarded by the registry's mutex.
    std::uint32_t ending_ = 0;  // values whose destructors run in their threads
    LocalValue* values_ = nullptr;
};

/// The Locals by number, and what all of them do to their lists.
class LocalRegistry {
public:
    PLAIT_VISIBLE static LocalRegistry& instance() {
        // Never destroyed: threads may end while static objects are being destroyed.
        static LocalRegistry* const registry = new LocalRegistry;
        return *registry;
    }

    /// The calling thread's value where it has no slots any more, or null.
    [[nodiscard]] LocalValue* find_late(const LocalValues& owner) noexcept;
    /// Makes `value` the calling thread's; on an exception nothing has changed.
    void add(LocalValues& owner, LocalValue& value);
    /// Destroys all values of a Local that ends.
    void destroy_all(LocalValues& owner) noexcept;
    /// Destroys the calling thread's values, at its end.
    void end_thread() noexcept;

private:
    struct Entry {
        std::uint64_t id = 0;
        LocalValues* owner = nullptr;
    };
    /// Ends the thread's values. A function-local static: mingw links no other thread-local that has a destructor.
    struct Closer {
        Closer() noexcept {}
        ~Closer() { instance().end_thread(); }
    };
    /// As often as this is looked for values that destructors of others made.
    static constexpr int passes = 4;

    LocalRegistry() {
        os::call_around_forks([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                              [] { instance().forget_values_of_other_threads(); });
    }
    void forget_values_of_other_threads() noexcept;

    void enter(LocalValues& owner);
    static void make_room(OwnLocals& own, std::uint32_t number);
    void end_value(OwnLocals& own, const LocalSlot& slot, std::uint32_t number) noexcept;
    static void link(LocalValues& owner, LocalValue& value) noexcept;
    static void unlink(LocalValue& value) noexcept;

    std::mutex mutex_;  // guards what follows, and every Local's list; no code of a user runs under it
    std::condition_variable ended_;
    std::vector<Entry> entries_;       // by number
    std::vector<std::uint32_t> free_;  // numbers; it has room for all there are
    LocalValue* set_aside_ = nullptr;  // in the child of a fork: the other threads' values
    std::uint64_t last_id_ = 0;
    std::uint64_t last_serial_ = 0;
};

inline LocalValues::~LocalValues() {
    if (id_.load(std::memory_order_acquire) != unused) LocalRegistry::instance().destroy_all(*this);
}

template <class Make>
LocalValue& LocalValues::find_or_make(Make make) {
    OwnLocals& own = own_locals();
    LocalRegistry& registry = LocalRegistry::instance();
    if (own.closed)
        if (LocalValue* const value = registry.find_late(*this)) return *value;

    if (id_.load(std::memory_order_relaxed) == ended)
        throw UsageError("this Local is being destroyed: a destructor of its values may not use it");
    for (const MakingValue* each = own.making; each != nullptr; each = each->outer)
        if (each->owner == this)
            throw UsageError("what makes a Local's value may not use that Local: there is no value yet");
    struct Making : MakingValue {
        Making(OwnLocals& own_, const LocalValues* made) : MakingValue{made, own_.making}, locals{own_} {
            locals.making = this;
        }
        ~Making() { locals.making = outer; }
        OwnLocals& locals;
    } const making{own, this};
    std::unique_ptr<LocalValue> value = make();
    registry.add(*this, *value);
    return *value.release();
}

inline LocalValue* LocalRegistry::find_late(const LocalValues& owner) noexcept {
    const std::uint64_t serial = own_locals().serial;
    const std::scoped_lock lock{mutex_};
    LocalValue* value = owner.values_;
    while (value != nullptr && value->thread_ != serial) value = value->next_;
    return value;
}

inline void LocalRegistry::add(LocalValues& owner, LocalValue& value) {
    OwnLocals& own = own_locals();
    sync_point();
    const std::scoped_lock lock{mutex_};
    if (owner.id_.load(std::memory_order_relaxed) == LocalValues::unused) enter(owner);
    const std::uint32_t number = owner.number_.load(std::memory_order_relaxed);
    if (own.serial == 0) own.serial = ++last_serial_;
    if (!own.closed) {
        static thread_local const Closer closer;
        static_cast<void>(closer);
        make_room(own, number);
        // A value that was in the slot went with its Local, which had this number before.
        own.slots[number] = LocalSlot{owner.id_.load(std::memory_order_relaxed), &value};
    }
    value.thread_ = own.serial;
    link(owner, value);
}

inline void LocalRegistry::enter(LocalValues& owner) {
    if (free_.empty()) {
        if (free_.capacity() <= entries_.size()) free_.reserve(2 * entries_.size() + 8);
        entries_.emplace_back();
        free_.push_back(static_cast<std::uint32_t>(entries_.size() - 1));
    }
    const std::uint32_t number = free_.back();
    free_.pop_back();
    entries_[number] = Entry{++last_id_, &owner};
    owner.number_.store(number, std::memory_order_relaxed);
    // Release pairs with the acquire in LocalValues::find.
    owner.id_.store(last_id_, std::memory_order_release);
}

inline void LocalRegistry::make_room(OwnLocals& own, std::uint32_t number) {
    if (number < own.size) return;
    const std::uint32_t size = (std::max)({number + 1, 2 * own.size, std::uint32_t{8}});
    auto* const slots = new LocalSlot[size];
    std::copy(own.slots, own.slots + own.size, slots);
    delete[] own.slots;
    own.slots = slots;
    own.size = size;
}

inline void LocalRegistry::end_thread() noexcept {
    OwnLocals& own = own_locals();
    bool found = true;
    for (int pass = 0; pass < passes && found; ++pass) {
        found = false;
        // From the youngest Local to the oldest. A destructor may make values, and more room for them.
        for (std::uint32_t number = own.size; number-- > 0;) {
            const LocalSlot slot = std::exchange(own.slots[number], LocalSlot{});
            if (slot.value == nullptr) continue;
            found = true;
            end_value(own, slot, number);
        }
    }
    own.closed = true;
    own.size = 0;
    delete[] std::exchange(own.slots, nullptr);
}

inline void LocalRegistry::end_value(OwnLocals& own, const LocalSlot& slot, std::uint32_t number) noexcept {
    sync_point();
    std::unique_lock lock{mutex_};
    if (entries_[number].id != slot.id) return;  // its Local has taken it
    LocalValues& owner = *entries_[number].owner;
    unlink(*slot.value);
    ++owner.ending_;
    EndingValue ending{&owner, own.ending};
    own.ending = &ending;
    lock.unlock();

    sync_point();
    delete slot.value;
    sync_point();

    lock.lock();
    own.ending = ending.outer;
    if (ending.owner == nullptr) return;
    if (--owner.ending_ == 0 && owner.id_.load(std::memory_order_relaxed) == LocalValues::ended) ended_.notify_all();
}

inline void LocalRegistry::destroy_all(LocalValues& owner) noexcept {
    sync_point();
    std::unique_lock lock{mutex_};
    const std::uint32_t number = owner.number_.load(std::memory_order_relaxed);
    entries_[number] = Entry{};
    free_.push_back(number);
    owner.id_.store(LocalValues::ended, std::memory_order_relaxed);
    LocalValue* value = std::exchange(owner.values_, nullptr);
    // Not for the destructors that this thread is in, one of which ends the Local.
    for (EndingValue* each = own_locals().ending; each != nullptr; each = each->outer) {
        if (each->owner != &owner) continue;
        each->owner = nullptr;
        --owner.ending_;
    }
    ended_.wait(lock, [&] { return owner.ending_ == 0; });
    lock.unlock();
    sync_point();
    while (value != nullptr) delete std::exchange(value, value->next_);
}

inline void LocalRegistry::link(LocalValues& owner, LocalValue& value) noexcept {
    value.owner_ = &owner;
    value.next_ = owner.values_;
    if (owner.values_ != nullptr) owner.values_->previous_ = &value;
    owner.values_ = &value;
}

inline void LocalRegistry::unlink(LocalValue& value) noexcept {
    (value.previous_ != nullptr ? value.previous_->next_ : value.owner_->values_) = value.next_;
    if (value.next_ != nullptr) value.next_->previous_ = value.previous_;
    value.next_ = value.previous_ = nullptr;
}

inline void LocalRegistry::forget_values_of_other_threads() noexcept {
    mutex_.unlock();  // this thread locked it before the fork
    // Made anew, for threads of the parent may have waited there.
    ::new (static_cast<void*>(&ended_)) std::condition_variable;
    const OwnLocals& own = own_locals();
    for (const Entry& entry : entries_) {
        if (entry.owner == nullptr) continue;
        entry.owner->ending_ = 0;
        for (const EndingValue* each = own.ending; each != nullptr; each = each->outer)
            if (each->owner == entry.owner) ++entry.owner->ending_;
        LocalValue* next = entry.owner->values_;
        while (next != nullptr) {
            LocalValue* const value = std::exchange(next, next->next_);
            if (value->thread_ == own.serial) continue;
            unlink(*value);
            value->next_ = std::exchange(set_aside_, value);
        }
    }
}

}  // namespace plait::inline PLAIT_ABI::threading::detail

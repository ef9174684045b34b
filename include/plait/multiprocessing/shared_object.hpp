// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/core/version.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/codec/luggage.hpp>
#include <plait/multiprocessing/codec/type_name.hpp>
#include <plait/os/handle.hpp>
#include <plait/os/memory.hpp>
#include <plait/os/thread.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

// What several processes share: a state in memory of its own kernel object, and the handles that name it.
//
// A process maps an object once, however often its handle arrives: two mappings would be two sets of addresses for one
// lock, and the end of one while the other is held would look like a death. The kernel frees the memory with the last
// handle of the last process.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// A state in shared memory and, in front of it, what it is: a handle that arrives is checked against that.
template <class State>
struct Kinded {
    static_assert(std::is_standard_layout_v<State>, "it is found again by its place, in another process");

    // The layout of plait's own states is the version's; a pointer's size tells 32 bits from 64.
    static constexpr std::uint64_t kind_of_state =
        hash_of(type_name<State>()) ^ (std::uint64_t{PLAIT_VERSION} << 16) ^ (sizeof(State) << 8) ^ sizeof(void*);

    template <class... Args>
    explicit Kinded(Args&&... args) : state(std::forward<Args>(args)...) {}

    State* operator->() noexcept { return &state; }
    State& operator*() noexcept { return state; }

    std::uint64_t kind = kind_of_state;
    State state;
};

/// What a state does when its last handle in this process goes; returns whether its memory may be unmapped.
template <class State>
bool abandon_state(std::byte* address) noexcept {
    if constexpr (requires(State& state) { state.abandon(); })
        return reinterpret_cast<Kinded<State>*>(address)->state.abandon();
    else
        return static_cast<void>(address), true;
}

/// One kernel object in this process.
class SharedObject {
public:
    using Abandon = bool (*)(std::byte* address) noexcept;

    explicit SharedObject(os::SharedMapping mapping)
        : mapping_{std::move(mapping)}, identity_{os::SharedMapping::identity_of(mapping_.handle())} {}
    SharedObject(const SharedObject&) = delete;
    SharedObject& operator=(const SharedObject&) = delete;
    ~SharedObject();

    static std::shared_ptr<SharedObject> create(std::size_t size);
    /// The one of this process for the object behind `handle`.
    static std::shared_ptr<SharedObject> open(os::Handle handle);

    [[nodiscard]] const os::Handle& handle() const noexcept { return mapping_.handle(); }
    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return mapping_.bytes(); }
    /// Has `abandon` called for what lies at `offset`, once, however often it is said.
    void abandon_at(std::size_t offset, Abandon abandon);

private:
    friend class SharedObjects;
    struct Part {
        std::size_t offset;
        Abandon abandon;
    };

    os::SharedMapping mapping_;
    os::SharedMapping::Identity identity_;
    std::vector<Part> parts_;  // guarded by the mutex of SharedObjects, which a fork leaves whole
    std::weak_ptr<SharedObject> self_;
    SharedObject* next_ = nullptr;  // of its list in SharedObjects
};

/// Those of this process, by identity.
class SharedObjects {
public:
    static SharedObjects& instance() {
        static SharedObjects& objects = *new SharedObjects;  // never destroyed: objects may go after static ones
        return objects;
    }

    std::shared_ptr<SharedObject> add(os::SharedMapping mapping) {
        auto object = std::make_shared<SharedObject>(std::move(mapping));
        const std::scoped_lock lock{mutex_};
        link(object);
        return object;
    }
    std::shared_ptr<SharedObject> find_or_add(os::Handle handle) {
        const auto identity = os::SharedMapping::identity_of(handle);
        const std::scoped_lock lock{mutex_};
        for (SharedObject* object = list_of(identity); object != nullptr; object = object->next_) {
            if (object->identity_ != identity) continue;
            // One that is on its way out is none any more.
            if (auto living = object->self_.lock()) return living;
        }
        auto object = std::make_shared<SharedObject>(os::SharedMapping::open(std::move(handle)));
        link(object);
        return object;
    }
    void add_part(SharedObject& object, SharedObject::Part part) {
        const std::scoped_lock lock{mutex_};
        for (const SharedObject::Part& known : object.parts_)
            if (known.offset == part.offset) return;
        object.parts_.push_back(part);
    }
    void remove(SharedObject& object) noexcept {
        const std::scoped_lock lock{mutex_};
        SharedObject** place = &list_of(object.identity_);
        while (*place != nullptr && *place != &object) place = &(*place)->next_;
        if (*place != nullptr) *place = object.next_;
    }

private:
    SharedObjects() {
        // A fork waits for the mutex, so that the child finds the lists whole.
        os::call_around_forks([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                              [] { instance().mutex_.unlock(); });
    }

    void link(const std::shared_ptr<SharedObject>& object) noexcept {
        object->self_ = object;
        SharedObject*& first = list_of(object->identity_);
        object->next_ = std::exchange(first, object.get());
    }
    SharedObject*& list_of(const os::SharedMapping::Identity& identity) noexcept {
        return lists_[(identity[0] ^ identity[1]) % lists_.size()];
    }

    std::mutex mutex_;
    std::array<SharedObject*, 256> lists_{};
};

/// A handle of a `State` in shared memory; copies name the same one, and so does what arrives in another process.
///
/// The state is standard layout, holds no pointers, starts in zeroed memory, and is never destroyed: who still uses it
/// cannot be known. Its optional `bool abandon() noexcept` is called when its last handle in this process goes; while it
/// returns false the memory stays mapped.
template <class State>
class Shared {
public:
    Shared() noexcept = default;

    /// Throws: std::system_error where there is no memory or no descriptor; what the constructor throws.
    template <class... Args>
    static Shared create(Args&&... args) {
        return create_sized(0, std::forward<Args>(args)...);
    }
    /// The same with `extra` zeroed bytes behind the state.
    template <class... Args>
    static Shared create_sized(std::size_t extra, Args&&... args) {
        Shared shared;
        shared.object_ = SharedObject::create(sizeof(Kinded<State>) + extra);
        std::byte* const data = shared.object_->bytes().data();
        shared.kinded_ = ::new (static_cast<void*>(data)) Kinded<State>(std::forward<Args>(args)...);
        shared.object_->abandon_at(0, &abandon_state<State>);
        return shared;
    }

    explicit operator bool() const noexcept { return kinded_ != nullptr; }
    State* operator->() const noexcept { return &kinded_->state; }
    State& operator*() const noexcept { return kinded_->state; }
    /// What lies behind the state, of one that was made with `create_sized`.
    [[nodiscard]] std::span<std::byte> extra() const noexcept {
        return object_->bytes().subspan(offset() + sizeof(Kinded<State>));
    }
    friend bool operator==(const Shared& a, const Shared& b) noexcept { return a.kinded_ == b.kinded_; }

    /// A handle of a part of the state, which keeps the whole.
    template <class Member>
    Shared<Member> part(Kinded<Member> State::* member) const {
        Shared<Member> result;
        result.object_ = object_;
        result.kinded_ = &(kinded_->state.*member);
        object_->abandon_at(result.offset(), &abandon_state<Member>);
        return result;
    }

    [[nodiscard]] const os::Handle& handle() const noexcept { return object_->handle(); }

private:
    template <class>
    friend class Shared;
    template <class Other>
    friend void put_shared(Encoder& out, const Shared<Other>& shared);
    template <class Other>
    friend Shared<Other> get_shared(Decoder& in);

    [[nodiscard]] std::size_t offset() const noexcept {
        return static_cast<std::size_t>(reinterpret_cast<std::byte*>(kinded_) - object_->bytes().data());
    }

    std::shared_ptr<SharedObject> object_;
    Kinded<State>* kinded_ = nullptr;
};

/// Sends the handle along. Throws: UsageError for one that was moved from.
template <class State>
void put_shared(Encoder& out, const Shared<State>& shared) {
    if (!shared) throw UsageError("this object was moved from: send the one that it was moved to");
    put_handle(out, shared.handle().get());
    out.write(std::uint64_t{shared.offset()});
}

/// Throws: CodecError where what came is no `State`.
template <class State>
Shared<State> get_shared(Decoder& in) {
    auto object = SharedObject::open(get_handle(in));
    const auto offset = in.read<std::uint64_t>();
    const auto bytes = object->bytes();
    if (offset % alignof(Kinded<State>) != 0 || bytes.size() < sizeof(Kinded<State>) ||
        offset > bytes.size() - sizeof(Kinded<State>))
        decode_error<State>("its place lies outside of the shared memory that came along");
    auto* const kinded = reinterpret_cast<Kinded<State>*>(bytes.data() + offset);
    if (kinded->kind != Kinded<State>::kind_of_state)
        decode_error<State>("the shared memory that came along holds something else, or another version's");
    Shared<State> shared;
    object->abandon_at(static_cast<std::size_t>(offset), &abandon_state<State>);
    shared.object_ = std::move(object);
    shared.kinded_ = kinded;
    return shared;
}

inline std::shared_ptr<SharedObject> SharedObject::create(std::size_t size) {
    return SharedObjects::instance().add(os::SharedMapping::create(size));
}

inline std::shared_ptr<SharedObject> SharedObject::open(os::Handle handle) {
    return SharedObjects::instance().find_or_add(std::move(handle));
}

inline void SharedObject::abandon_at(std::size_t offset, Abandon abandon) {
    SharedObjects::instance().add_part(*this, {offset, abandon});
}

inline SharedObject::~SharedObject() {
    SharedObjects::instance().remove(*this);
    bool may_unmap = true;
    for (const Part& part : parts_) may_unmap = part.abandon(bytes().data() + part.offset) && may_unmap;
    // Somebody in this process still stands in it (holds a lock in it, say): the memory outlives the handles.
    if (!may_unmap) mapping_.keep_mapped();
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail

// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/codec/luggage.hpp>
#include <plait/multiprocessing/shared_object.hpp>
#include <plait/os/memory.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// Bytes that several processes see at the same time.
///
/// Python: multiprocessing.shared_memory.SharedMemory. For one value, or a row of them, with a lock, Value and Array say
/// more; to hand data over, a Queue or a Pipe needs no lock.
///
///     void fill(SharedMemory memory) { std::ranges::fill(memory.buf(), std::byte{7}); }
///
///     SharedMemory memory(1 << 20);
///     Process child(fill, memory);
///     child.start();
///     child.join();
///     memory.buf()[0];    // 7
///
/// A handle: its copies, in this process and in those that were given one, name the same memory, which goes with the last
/// of them. It begins zeroed, and is all there: where memory is short the constructor throws, not a later write.
///
/// Without a name nobody can come by it but who is given a handle. `create` gives it a name, under which this user's
/// programs `open` it; such memory stays until somebody calls `unlink`, also when all processes have ended.
/// Threads: any; what they do with the bytes is theirs to order: with a Lock, say.
class SharedMemory {
public:
    /// Throws: std::invalid_argument for no bytes; std::system_error where there is no memory, or no descriptor.
    explicit SharedMemory(std::size_t size)
        : SharedMemory{detail::SharedObject::create(checked(size)), std::string{}} {}

    /// Under a name that nobody has: no '/' in it, at most 250 bytes. Throws also: std::system_error where it is taken.
    static SharedMemory create(std::string_view name, std::size_t size) {
        std::string checked_name = checked(name);
        auto mapping = os::SharedMapping::create_named(checked_name, checked(size));
        try {
            auto object = detail::SharedObjects::instance().add(std::move(mapping));
            return SharedMemory{std::move(object), std::string{name}};
        } catch (...) {
            os::remove_memory_name(checked_name);
            throw;
        }
    }
    /// What somebody made under that name. Throws: std::invalid_argument; std::system_error where there is none.
    static SharedMemory open(std::string_view name) {
        std::string checked_name = checked(name);
        auto object = detail::SharedObject::open(os::open_memory_name(checked_name));
        return SharedMemory{std::move(object), std::move(checked_name)};
    }

    // No moves: a handle always names memory, until it is closed.
    SharedMemory(const SharedMemory&) = default;
    SharedMemory& operator=(const SharedMemory&) = default;

    /// As many bytes as were asked for. Throws: UsageError after `close`.
    [[nodiscard]] std::size_t size() const { return bytes().size(); }
    [[nodiscard]] std::byte* data() const { return bytes().data(); }
    [[nodiscard]] std::span<std::byte> buf() const { return bytes(); }
    /// Empty where it has none.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

    /// Lets go of the memory, which is not to be touched by this handle any more; other handles are as they were. Twice is
    /// fine.
    void close() noexcept { object_.reset(); }
    /// Takes the name back: nobody can open it from now on. Who has a handle keeps the memory.
    ///
    /// Also after `close`. Throws: UsageError where it has no name; std::system_error where somebody has done so already.
    void unlink() const {
        if (name_.empty()) throw UsageError("this memory has no name to unlink: it goes with its last handle");
        os::remove_memory_name(name_);
    }

    /// Whether they are the same memory.
    friend bool operator==(const SharedMemory& a, const SharedMemory& b) noexcept { return a.object_ == b.object_; }

private:
    friend struct Codec<SharedMemory>;
    SharedMemory(std::shared_ptr<detail::SharedObject> object, std::string name) noexcept
        : object_{std::move(object)}, name_{std::move(name)} {}

    static std::size_t checked(std::size_t size) {
        if (size == 0) throw std::invalid_argument("plait: shared memory of no bytes");
        return size;
    }
    static std::string checked(std::string_view name) {
        if (name.empty() || name.size() > 250 || name == "." || name == ".." ||
            name.find_first_of(std::string_view{"/\0", 2}) != std::string_view::npos)
            throw std::invalid_argument("plait: the name of shared memory is 1 to 250 bytes without a slash");
        return std::string{name};
    }
    [[nodiscard]] const detail::SharedObject& open_one() const {
        if (object_ == nullptr) throw UsageError("this handle of the memory was closed: use another, or none");
        return *object_;
    }
    [[nodiscard]] std::span<std::byte> bytes() const { return open_one().bytes(); }

    std::shared_ptr<detail::SharedObject> object_;  // null after `close`
    std::string name_;
};

template <>
struct Codec<SharedMemory> {
    static constexpr bool carries_handles = true;

    static void encode(Encoder& out, const SharedMemory& memory) {
        detail::put_handle(out, memory.open_one().handle().get());
        out.write(memory.name());
    }
    static SharedMemory decode(Decoder& in) {
        auto object = detail::SharedObject::open(detail::get_handle(in));
        auto name = in.read<std::string>();
        if (!name.empty()) name = SharedMemory::checked(name);
        return SharedMemory{std::move(object), std::move(name)};
    }
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing

// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/codec/type_name.hpp>
#include <plait/multiprocessing/detail/shareable.hpp>
#include <plait/multiprocessing/rlock.hpp>
#include <plait/multiprocessing/shared_object.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

namespace plait::inline PLAIT_ABI::multiprocessing {

namespace detail {

/// The elements come behind it. (Of two alignments g++ 12 would take the last.)
template <class T>
struct alignas((std::max)(alignof(T), alignof(std::max_align_t))) ArrayState {
    explicit ArrayState(std::uint64_t number) : size{number} {}

    Kinded<RLockState> lock;
    std::uint64_t size;  // never changes
};

}  // namespace detail

/// A row of values that several processes see at the same time, and a lock for it; its length stays.
///
/// Python: multiprocessing.Array. For one value use Value, for mere bytes SharedMemory.
///
///     void square(Array<double> numbers, std::size_t from, std::size_t to) {
///         for (std::size_t i = from; i < to; ++i) numbers[i] *= numbers[i];
///     }
///     Array<double> numbers(100);
///     Process first(square, numbers, 0, 50), second(square, numbers, 50, 100);   // no two at one element: no lock
///
/// What a `T` may be, handles, death, threads: as of Value.
template <class T>
class Array {
public:
    using value_type = T;

    /// Zeros. Throws: std::invalid_argument for none; std::system_error where there is no memory, or no descriptor.
    explicit Array(std::size_t size) : Array{create(size)} {
        // Bytes of zero are values of most types; not of one with a constructor of its own.
        if constexpr (!std::is_trivially_default_constructible_v<T>)
            for (T& element : *this) ::new (static_cast<void*>(std::addressof(element))) T();
    }
    /// Copies of the elements of a range whose size can be told.
    template <class Range>
        requires requires(const Range& range) {
            std::size(range);
            T(*std::begin(range));
        }
    explicit Array(const Range& range) : Array{create(static_cast<std::size_t>(std::size(range)))} {
        T* to = data();
        for (const auto& element : range) ::new (static_cast<void*>(to++)) T(element);
    }
    Array(std::initializer_list<T> elements) : Array{std::span<const T>{elements.begin(), elements.size()}} {}
    // No moves: a handle always names an array.
    Array(const Array&) = default;
    Array& operator=(const Array&) = default;

    [[nodiscard]] std::size_t size() const noexcept { return elements_.size(); }
    [[nodiscard]] T* data() const noexcept { return elements_.data(); }
    [[nodiscard]] std::span<T> span() const noexcept { return elements_; }
    [[nodiscard]] T* begin() const noexcept { return data(); }
    [[nodiscard]] T* end() const noexcept { return data() + size(); }
    /// Undefined past the end, as of a vector.
    T& operator[](std::size_t index) const noexcept { return elements_[index]; }
    /// Throws: std::out_of_range.
    [[nodiscard]] T& at(std::size_t index) const {
        if (index >= size())
            throw std::out_of_range("plait::multiprocessing::Array::at: element " + std::to_string(index) + " of " +
                                    std::to_string(size()));
        return elements_[index];
    }
    /// The lock that goes with it wherever it goes. Nobody is made to use it.
    [[nodiscard]] const RLock& get_lock() const noexcept { return lock_; }

    /// Whether they are the same array, not whether its elements are equal.
    friend bool operator==(const Array& a, const Array& b) noexcept { return a.state_ == b.state_; }

private:
    friend struct Codec<Array>;
    using State = detail::Shared<detail::ArrayState<T>>;

    explicit Array(State state) : state_{std::move(state)}, lock_{state_.part(&detail::ArrayState<T>::lock)} {
        const std::span<std::byte> extra = state_.extra();
        const std::uint64_t size = state_->size;
        if (size > extra.size() / sizeof(T)) detail::decode_error<Array>("it is longer than its memory");
        elements_ = {reinterpret_cast<T*>(extra.data()), static_cast<std::size_t>(size)};
    }
    static State create(std::size_t size) {
        detail::check_shareable<T>();
        if (size == 0) throw std::invalid_argument("plait::multiprocessing::Array of no elements");
        if (size > (std::numeric_limits<std::size_t>::max)() / 2 / sizeof(T)) throw std::bad_alloc();
        return State::create_sized(size * sizeof(T), std::uint64_t{size});
    }

    State state_;
    RLock lock_;
    std::span<T> elements_;
};

template <class T>
struct Codec<Array<T>> {
    static constexpr bool carries_handles = true;

    static void encode(Encoder& out, const Array<T>& array) { detail::put_shared(out, array.state_); }
    static Array<T> decode(Decoder& in) { return Array<T>{detail::get_shared<detail::ArrayState<T>>(in)}; }
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing

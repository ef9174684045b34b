// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>
#include <plait/multiprocessing/codec/type_name.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::multiprocessing {

namespace detail {

/// How deep containers, owning pointers and user codecs may stand in one another, in both directions: what is deeper
/// would need a stack that a thread may not have, and hostile bytes can ask for any depth.
inline constexpr unsigned max_depth = 500;

[[noreturn]] inline void throw_codec_error(std::string_view verb, std::string_view type, std::string_view problem) {
    std::string text = "cannot ";
    text.append(verb).append(" ").append(type).append(": ").append(problem);
    throw CodecError{text};
}

template <class T>
[[noreturn]] void decode_error(std::string_view problem) {
    throw_codec_error("decode", type_name<T>(), problem);
}

template <class T>
[[noreturn]] void encode_error(std::string_view problem) {
    throw_codec_error("encode", type_name<T>(), problem);
}

/// One level of nesting of an Encoder or a Decoder.
class Nesting {
public:
    explicit Nesting(unsigned& depth) noexcept : depth_{depth} { ++depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;
    ~Nesting() { --depth_; }

private:
    unsigned& depth_;
};

struct Wire;  // what the coders, and nobody else, may do with an Encoder and a Decoder
class Outgoing;
class Incoming;

}  // namespace detail

/// The bytes of values, one after the other, in a buffer that grows; a `Codec` writes its parts into one.
///
///     Encoder out;
///     out.write(7, std::string("seven"));
///     Decoder in(out.bytes());
///     int number = in.read<int>();
///
/// Throws: CodecError if a value cannot be encoded (a variant without a value, more than 500 containers in one another);
/// what was written before stays in the buffer: `clear` it.
/// Threads: one at a time.
class Encoder {
public:
    Encoder() = default;
    /// Writes into `storage`, whose content goes and whose capacity stays.
    explicit Encoder(std::vector<std::byte> storage) noexcept : buffer_{std::move(storage)} {}

    /// Appends the encoding of each of `values`, in order.
    template <class... Values>
    void write(const Values&... values);

    /// Appends `bytes` as they are, without their number: the reader has to know it.
    void write_bytes(std::span<const std::byte> bytes) { append(bytes.data(), bytes.size()); }

    /// What was written; valid until the next change.
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {buffer_.data(), used_}; }
    [[nodiscard]] std::size_t size() const noexcept { return used_; }

    /// Makes room for `size` bytes in all.
    void reserve(std::size_t size) { buffer_.reserve(size); }
    /// Forgets what was written and keeps the memory.
    void clear() noexcept { used_ = 0; }
    /// Hands over what was written, without a copy, and is empty then.
    [[nodiscard]] std::vector<std::byte> take();

    /// Where the handles of what is written go, that travel beside the bytes.
    void carry(detail::Outgoing& handles) noexcept { handles_ = &handles; }

private:
    friend struct detail::Wire;

    void append(const void* data, std::size_t size) {
        if (size > buffer_.size() - used_) [[unlikely]] {
            return append_growing(data, size);
        }
        if (size == 0) return;  // memcpy takes no null pointer
        std::memcpy(buffer_.data() + used_, data, size);
        used_ += size;
    }
    void append_growing(const void* data, std::size_t size);

    // Up to used_ the bytes written; from there to buffer_.size() zeros that the next small values replace, which is
    // cheaper than growing a vector by four bytes.
    std::vector<std::byte> buffer_;
    std::size_t used_ = 0;
    detail::Outgoing* handles_ = nullptr;
    unsigned depth_ = 0;
};

/// Reads values back from bytes, in the order in which they were written; a `Codec` reads its parts from one.
///
/// Every read checks its bounds, and no allocation is larger than the bytes that are left can justify: the bytes may
/// come from anywhere.
///
/// Throws: CodecError, which names the type and what was wrong; the decoder's place is then unspecified.
/// Threads: one at a time. Lifetime: `bytes` outlive the decoder; the values own what they hold.
class Decoder {
public:
    explicit Decoder(std::span<const std::byte> bytes) noexcept
        : next_{bytes.data()}, end_{bytes.data() + bytes.size()} {}

    /// Reads one `T`.
    template <class T>
    [[nodiscard]] T read();

    /// The next `size` bytes as they are: a view into what the decoder was made from.
    [[nodiscard]] std::span<const std::byte> read_bytes(std::size_t size) {
        return {take<std::span<const std::byte>>(size), size};
    }

    [[nodiscard]] std::size_t remaining() const noexcept { return static_cast<std::size_t>(end_ - next_); }

    /// The handles that came beside the bytes.
    void carry(const detail::Incoming& handles) noexcept { handles_ = &handles; }

private:
    friend struct detail::Wire;

    template <class T>
    const std::byte* take(std::size_t size) {
        if (size > remaining()) truncated<T>(size);
        return std::exchange(next_, next_ + size);
    }
    template <class T>
    [[noreturn]] void truncated(std::size_t wanted) const {
        detail::decode_error<T>("truncated: " + std::to_string(wanted) + " bytes wanted, " +
                                std::to_string(remaining()) + " left");
    }

    const std::byte* next_;
    const std::byte* end_;
    const detail::Incoming* handles_ = nullptr;
    unsigned depth_ = 0;
};

inline std::vector<std::byte> Encoder::take() {
    buffer_.resize(used_);
    used_ = 0;
    return std::exchange(buffer_, {});
}

inline void Encoder::append_growing(const void* data, std::size_t size) {
    constexpr std::size_t slack = 512;
    const std::size_t wanted = used_ + size;
    const std::size_t doubled = 2 * buffer_.capacity();
    if (wanted > buffer_.capacity()) buffer_.reserve(wanted > doubled ? wanted : doubled);
    // A large block is copied to the end, not over zeros that would have to be written first.
    const auto* const first = static_cast<const std::byte*>(data);
    buffer_.resize(used_);
    buffer_.insert(buffer_.end(), first, first + size);
    used_ = wanted;
    // Bounded, so that large and small values in turn do not write the same zeros again and again.
    if (size < slack) {
        const std::size_t room = buffer_.capacity() - used_;
        buffer_.resize(used_ + (room < slack ? room : slack));
    }
}

namespace detail {

struct Wire {
    static std::string too_deep() { return "nested deeper than " + std::to_string(max_depth) + " levels"; }

    template <class T>
    static void put_bits(Encoder& out, const T& value) {
        out.append(std::addressof(value), sizeof(T));
    }
    static void put_block(Encoder& out, const void* data, std::size_t size) { out.append(data, size); }
    static void put_size(Encoder& out, std::size_t size) { put_bits(out, std::uint64_t{size}); }

    /// `size` bytes for the sake of a `T`.
    template <class T>
    static const std::byte* get_block(Decoder& in, std::size_t size) {
        return in.take<T>(size);
    }
    /// The bits of a scalar `Bits` that is read for the sake of a `T`.
    template <class Bits, class T = Bits>
    static Bits get_bits(Decoder& in) {
        Bits bits;
        std::memcpy(&bits, in.take<T>(sizeof bits), sizeof bits);
        return bits;
    }
    /// How many elements a `T` has, when each of them takes `element_size` bytes at least: no more than are there.
    template <class T>
    static std::size_t get_count(Decoder& in, std::size_t element_size) {
        const auto count = get_bits<std::uint64_t, T>(in);
        if (count > in.remaining() / element_size) {
            decode_error<T>(std::to_string(count) + " elements announced, " + std::to_string(in.remaining()) +
                            " bytes left");
        }
        return static_cast<std::size_t>(count);
    }

    static Outgoing* handles(Encoder& out) noexcept { return out.handles_; }
    static const Incoming* handles(Decoder& in) noexcept { return in.handles_; }

    template <class T>
    [[nodiscard]] static Nesting nest(Encoder& out) {
        if (out.depth_ == max_depth) encode_error<T>(too_deep());
        return Nesting{out.depth_};
    }
    template <class T>
    [[nodiscard]] static Nesting nest(Decoder& in) {
        if (in.depth_ == max_depth) decode_error<T>(too_deep());
        return Nesting{in.depth_};
    }
};

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::multiprocessing

// SPDX-License-Identifier: MIT
#include "fuzz.hpp"

#include <plait/multiprocessing/register_exception.hpp>
#include <plait/multiprocessing/remote_exception.hpp>

#include <exception>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

// Bytes read as an exception from elsewhere: some exception comes of them, or a CodecError. It travels on as it is.

namespace mp = plait::multiprocessing;
namespace detail = plait::multiprocessing::detail;

namespace {

struct ParseError : std::runtime_error {
    using std::runtime_error::runtime_error;
};
struct Choosy {
    std::string text;
    int number;
};

}  // namespace

template <>
struct plait::multiprocessing::Codec<Choosy> {
    static void encode(Encoder& out, const Choosy& error) { out.write(error.text, error.number); }
    static Choosy decode(Decoder& in) {
        auto text = in.read<std::string>();
        const int number = in.read<int>();
        if (number < 0) throw std::invalid_argument("a negative number");
        return {std::move(text), number};
    }
};

void fuzz(std::span<const std::byte> bytes) {
    const mp::RegisterException<ParseError> parse_error;
    const mp::RegisterException<Choosy> choosy;
    std::exception_ptr exception;
    if (support::choose(bytes, 2) == 0) {
        // The envelope is right, and a type that can be made again: what it says of itself is not.
        std::vector<std::string> types{detail::mangled_name<ParseError>(), detail::mangled_name<Choosy>()};
        for (const auto& each : detail::standard_exceptions()) types.push_back(each.type);
        const auto& type = types[support::choose(bytes, static_cast<unsigned>(types.size()))];
        const auto home = detail::home_of(detail::made_of_text<ParseError>());
        const detail::CarriedException carried{
            "type", "text", "where",
            detail::CarriedException::Parts{type, type == types[0] ? home : 0, {bytes.begin(), bytes.end()}}};
        const auto encoded = mp::encode(carried);
        mp::Decoder in(encoded);
        exception = detail::read_exception(in);
        support::require(exception != nullptr);
    } else if (!support::accepts([&] {
                   mp::Decoder in(bytes);
                   exception = detail::read_exception(in);
               })) {
        return;
    }
    support::require(exception != nullptr);
    mp::Encoder out;
    detail::write_exception(out, exception);
    support::require(out.size() < 4 * detail::longest_text);
    mp::Decoder in(out.bytes());
    const auto again = detail::read_exception(in);
    support::require(in.remaining() == 0 && detail::mangled_name_of(again) == detail::mangled_name_of(exception));
}

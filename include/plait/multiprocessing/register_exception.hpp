// SPDX-License-Identifier: MIT
#pragma once

#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/remote_exception/rebuildable.hpp>

#include <exception>
#include <type_traits>

namespace plait::inline PLAIT_ABI::multiprocessing {

/// Lets exceptions of exactly the type `E` arrive as `E` where another process threw them, and not as a RemoteError.
///
/// `E` has a Codec, or is a plain struct; or it holds nothing but a text, of which it is made and which its `what()`
/// gives; or it is no more than a std::exception, and made of nothing. What turns out not to be so arrives as a
/// RemoteError, and so does what others are nested in, with the texts of all. Call it in both processes: before
/// `freeze_support`, or by a RegisterException.
///
///     int main(int argc, char** argv) {
///         mp::register_exception<ParseError>();
///         mp::freeze_support(argc, argv);
///
/// Threads: any. A second call changes nothing.
/// A library that is loaded with its symbols to itself has a list of its own: register there what arrives there.
template <class E>
void register_exception() {
    static_assert(std::is_class_v<E> && std::is_same_v<E, std::remove_cv_t<E>>,
                  "plait: an exception is registered by its class: register_exception<MyError>()");
    // Once a type; the list is never told of it again.
    static const bool added = [] {
        if constexpr (Encodable<E> && Decodable<E>)
            detail::add_registered_exception(detail::made_by_codec<E>());
        else if constexpr (detail::MadeOfText<E>)
            detail::add_registered_exception(detail::made_of_text<E>());
        else if constexpr (detail::MadeOfNothing<E>)
            detail::add_registered_exception(detail::made_of_nothing<E>());
        else
            static_assert(
                detail::possible<E>,
                "plait: this exception cannot be made again in another process: specialise "
                "plait::multiprocessing::Codec for it, or let it hold nothing but the text that what() gives, "
                "and be constructed from that");
        return true;
    }();
    static_cast<void>(added);
}

/// `register_exception` as an object, for a file that has no main: it does so when the program begins.
///
///     const mp::RegisterException<ParseError> parse_errors_cross;
template <class E>
class RegisterException {
public:
    RegisterException() { register_exception<E>(); }
};

}  // namespace plait::inline PLAIT_ABI::multiprocessing

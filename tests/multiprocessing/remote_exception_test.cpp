// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/remote_exception.hpp>

#include "support/catch.hpp"
#include "support/misbehaviour.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <ios>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <typeinfo>
#include <variant>
#include <vector>

using Catch::Matchers::ContainsSubstring;
using plait::CodecError;
using plait::RemoteError;
using plait::multiprocessing::Decoder;
using plait::multiprocessing::Encoder;
using support::caught;

namespace detail = plait::multiprocessing::detail;

namespace {

/// Sent and received.
std::exception_ptr carried(const std::exception_ptr& exception) {
    Encoder out;
    detail::write_exception(out, exception);
    Decoder in(out.bytes());
    auto arrived = detail::read_exception(in);
    CHECK(in.remaining() == 0);
    return arrived;
}

template <class Exception>
std::optional<Exception> carry(const Exception& exception) {
    const auto arrived = carried(std::make_exception_ptr(exception));
    return caught<Exception>([&] { std::rethrow_exception(arrived); });
}

template <class Exception>
std::string what_arrives(const Exception& exception) {
    const auto arrived = carry(exception);
    return arrived ? arrived->what() : "another type";
}

template <class Exception>
RemoteError remote(Exception exception) {
    const auto arrived = carried(std::make_exception_ptr(exception));
    return caught<RemoteError>([&] { std::rethrow_exception(arrived); }).value();
}

struct Silent : std::exception {
    const char* what() const noexcept override { return nullptr; }
};

struct Derived : std::runtime_error {
    Derived(int a, int b) : std::runtime_error(std::to_string(a) + " and " + std::to_string(b)) {}
};

}  // namespace

TEST_CASE("the standard library's exceptions arrive as their own type, with their text") {
    CHECK(what_arrives(std::runtime_error("text")) == std::string("text"));
    CHECK(what_arrives(std::logic_error("text")) == std::string("text"));
    CHECK(what_arrives(std::invalid_argument("text")) == std::string("text"));
    CHECK(what_arrives(std::domain_error("text")) == std::string("text"));
    CHECK(what_arrives(std::length_error("text")) == std::string("text"));
    CHECK(what_arrives(std::out_of_range("text")) == std::string("text"));
    CHECK(what_arrives(std::range_error("text")) == std::string("text"));
    CHECK(what_arrives(std::overflow_error("text")) == std::string("text"));
    CHECK(what_arrives(std::underflow_error("text")) == std::string("text"));
    CHECK(carry(std::exception()));
    CHECK(carry(std::bad_alloc()));
    CHECK(carry(std::bad_cast()));
    CHECK(carry(std::bad_array_new_length()));
    CHECK(carry(std::bad_optional_access()));
    CHECK(carry(std::bad_variant_access()));
    CHECK(carry(std::bad_typeid()));
    CHECK(carry(std::bad_exception()));
    CHECK(carry(std::bad_weak_ptr()));
}

TEST_CASE("a system_error arrives with its code and its text") {
    const auto arrived = carry(std::system_error(ENOENT, std::generic_category(), "open of a file"));
    REQUIRE(arrived);
    CHECK(arrived->code() == std::errc::no_such_file_or_directory);
    CHECK(arrived->what() == std::string(std::system_error(ENOENT, std::generic_category(), "open of a file").what()));
    CHECK(carry(std::system_error(EAGAIN, std::system_category())).value().code().category() == std::system_category());
}

TEST_CASE("plait's exceptions arrive with all that they say") {
    CHECK(what_arrives(plait::Error("text")) == std::string("text"));
    CHECK(what_arrives(plait::UsageError("text")) == std::string("text"));
    CHECK(what_arrives(plait::TimeoutError("text")) == std::string("text"));
    CHECK(what_arrives(plait::CodecError("text")) == std::string("text"));
    CHECK(what_arrives(plait::EndOfStream("text")) == std::string("text"));
    CHECK(what_arrives(plait::BrokenPoolError("text")) == std::string("text"));
    CHECK(what_arrives(plait::PoolTerminatedError("text")) == std::string("text"));
    CHECK(what_arrives(plait::BrokenPromiseError("text")) == std::string("text"));
    CHECK(what_arrives(plait::OwnerDiedError("text")) == std::string("text"));
    CHECK(what_arrives(plait::QueueEmpty("text")) == std::string("text"));
    CHECK(what_arrives(plait::QueueFull("text")) == std::string("text"));
    CHECK(what_arrives(plait::QueueShutDown("text")) == std::string("text"));
    CHECK(what_arrives(plait::BrokenBarrierError("text")) == std::string("text"));
    CHECK(carry(plait::CancelledError("because")).value().message() == "because");
    const auto died = carry(plait::ProcessDied("text", 42, -9)).value();
    CHECK(died.pid() == 42);
    CHECK(died.signal() == 9);
    CHECK(died.what() == std::string("text"));
    const auto timeout = carry(plait::TaskTimeoutError("text", 42, 7)).value();
    CHECK(timeout.pid() == 42);
    CHECK(timeout.task() == 7);
    const auto remote = carry(RemoteError("Type", "text", "there")).value();
    CHECK(remote.type_name() == "Type");
    CHECK(remote.where() == "there");
}

TEST_CASE("what is of another type arrives as a RemoteError with its type and its text") {
    CHECK_THAT(remote(Derived(1, 2)).type_name(), ContainsSubstring("Derived"));
    CHECK(remote(Derived(1, 2)).text() == "1 and 2");
    CHECK_THAT(remote(Derived(1, 2)).where(), ContainsSubstring(std::to_string(::getpid())));
    CHECK(remote(42).type_name() == "int");
    CHECK(remote(std::string("a text")).text() == "a text");
    CHECK(remote("a literal").text() == "a literal");
    CHECK_THAT(remote(std::filesystem::filesystem_error("text", {})).type_name(),
               ContainsSubstring("filesystem_error"));
    CHECK_THAT(remote(std::ios_base::failure("text")).type_name(), ContainsSubstring("failure"));
    CHECK(remote(0).type_name() == "int");
    // The demangler of libc++ names it by its typedef.
    CHECK_THAT(remote(nullptr).type_name(),
               Catch::Matchers::Equals("decltype(nullptr)") || Catch::Matchers::Equals("std::nullptr_t"));
    CHECK(remote(std::string()).text().empty());
}

TEST_CASE("an exception that says nothing arrives by its type") {
    CHECK_THAT(remote(Silent()).type_name(), ContainsSubstring("Silent"));
    CHECK(remote(Silent()).text().empty());
}

TEST_CASE("an exception that others are nested in arrives with the texts of all") {
    const auto nested = [] {
        try {
            try {
                try {
                    throw 42;
                } catch (...) {
                    std::throw_with_nested(std::logic_error("middle"));
                }
            } catch (...) {
                std::throw_with_nested(std::runtime_error("outer"));
            }
        } catch (...) {
            return std::current_exception();
        }
        return std::exception_ptr();
    }();
    const auto arrived = carried(nested);
    const auto error = caught<RemoteError>([&] { std::rethrow_exception(arrived); }).value();
    CHECK(error.type_name() == "std::runtime_error");
    CHECK(error.text() ==
          "outer; caused by std::logic_error: middle; caused by int: an exception that is no std::exception");
    // An exception may be nested in itself, more or less.
    std::exception_ptr chain = std::make_exception_ptr(std::runtime_error("innermost"));
    for (int i = 0; i < 1000; ++i) {
        try {
            try {
                std::rethrow_exception(chain);
            } catch (...) {
                std::throw_with_nested(std::runtime_error("link"));
            }
        } catch (...) {
            chain = std::current_exception();
        }
    }
    CHECK(carried(chain) != nullptr);
}

TEST_CASE("a system_error of a category of the program's own arrives as a RemoteError") {
    struct Category : std::error_category {
        const char* name() const noexcept override { return "own"; }
        std::string message(int) const override { return "own message"; }
    };
    static const Category category;
    const auto arrived = carried(std::make_exception_ptr(std::system_error(3, category, "text")));
    CHECK_THAT(caught<RemoteError>([&] { std::rethrow_exception(arrived); }).value().text(),
               ContainsSubstring("own message"));
}

TEST_CASE("a text of megabytes is cut") {
    const std::string large(std::size_t{4} << 20, 'x');
    for (const std::exception_ptr& exception :
         {std::make_exception_ptr(std::runtime_error(large)), std::make_exception_ptr(large),
          std::make_exception_ptr(RemoteError(large, large, large)),
          std::make_exception_ptr(plait::CancelledError(large)),
          std::make_exception_ptr(plait::ProcessDied(large, 1, 1)),
          std::make_exception_ptr(plait::TaskTimeoutError(large, 1, 1)),
          std::make_exception_ptr(std::system_error(1, std::generic_category(), large))}) {
        Encoder out;
        detail::write_exception(out, exception);
        CHECK(out.size() < 4 * detail::longest_text);
        Decoder in(out.bytes());
        CHECK(detail::read_exception(in) != nullptr);
    }
}

TEST_CASE("bytes that are no exception are a CodecError, or some exception") {
    Encoder out;
    detail::write_exception(out, std::make_exception_ptr(plait::ProcessDied("text", 42, -9)));
    for (std::size_t size = 0; size < out.size(); ++size) {
        Decoder in(out.bytes().first(size));
        CHECK_THROWS_AS(detail::read_exception(in), CodecError);
    }
    for (std::size_t bit = 0; bit < 8 * out.size(); ++bit) {
        std::vector<std::byte> flipped(out.bytes().begin(), out.bytes().end());
        flipped[bit / 8] ^= std::byte{1} << (bit % 8);
        Decoder in(flipped);
        std::exception_ptr read;
        const auto error = caught<CodecError>([&] { read = detail::read_exception(in); });
        CHECK((error.has_value() || read != nullptr));
    }
}

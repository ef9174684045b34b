// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/register_exception.hpp>

#include "support/catch.hpp"
#include "support/misbehaviour.hpp"

#include <plait/multiprocessing/pool.hpp>
#include <plait/multiprocessing/process.hpp>
#include <plait/multiprocessing/remote_exception.hpp>

#include <cstddef>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using Catch::Matchers::ContainsSubstring;
using plait::RemoteError;
using plait::multiprocessing::Decoder;
using plait::multiprocessing::Encoder;
using plait::multiprocessing::Pool;
using plait::multiprocessing::PoolOptions;
using plait::multiprocessing::Process;
using plait::multiprocessing::ProcessOptions;
using plait::multiprocessing::register_exception;
using plait::multiprocessing::RegisterException;
using plait::multiprocessing::StartMethod;
using support::caught;

namespace detail = plait::multiprocessing::detail;

namespace exceptions {

struct OfText : std::runtime_error {
    using std::runtime_error::runtime_error;
};
struct Derived : OfText {
    using OfText::OfText;
};
struct OwnText : std::exception {
    explicit OwnText(std::string text) : text_{std::move(text)} {}
    const char* what() const noexcept override { return text_.c_str(); }
    std::string text_;
};
struct OfNothing : std::exception {
    const char* what() const noexcept override { return "nothing to say"; }
};
struct Plain {
    std::string file;
    int line;
};
struct WithCode : std::runtime_error {
    WithCode(const std::string& text, int its_code) : std::runtime_error(text), code{its_code} {}
    int code;
};
/// Makes more of what it was given.
struct Adorned : std::runtime_error {
    explicit Adorned(const std::string& text) : std::runtime_error("adorned: " + text) {}
};
/// Can be made once only, as it were.
struct Unwilling {
    int value;
};
struct UnwillingText : std::runtime_error {
    explicit UnwillingText(const std::string& text) : std::runtime_error(text) {
        if (willing == 0) throw std::logic_error("unwilling");
    }
    inline static int willing = 1;
};
struct NotCopied : std::runtime_error {
    using std::runtime_error::runtime_error;
    NotCopied(const NotCopied& other) : std::runtime_error(other) {
        if (!copied) throw 5;
    }
    inline static bool copied = true;
};
struct Unregistered : std::runtime_error {
    using std::runtime_error::runtime_error;
};
struct AtTheBeginning : std::runtime_error {
    using std::runtime_error::runtime_error;
};

const RegisterException<AtTheBeginning> registered_at_the_beginning;

}  // namespace exceptions

template <>
struct plait::multiprocessing::Codec<exceptions::WithCode> {
    static void encode(Encoder& out, const exceptions::WithCode& error) {
        out.write(std::string(error.what()), error.code);
    }
    static exceptions::WithCode decode(Decoder& in) {
        const auto text = in.read<std::string>();
        return {text, in.read<int>()};
    }
};

template <>
struct plait::multiprocessing::Codec<exceptions::Unwilling> {
    static void encode(Encoder& out, const exceptions::Unwilling& error) { out.write(error.value); }
    static exceptions::Unwilling decode(Decoder& in) {
        if (in.read<int>() == 1) throw std::logic_error("unwilling");
        return {2};
    }
};

namespace {

using namespace exceptions;

struct Hidden : std::runtime_error {
    using std::runtime_error::runtime_error;
};

std::vector<std::byte> sent(const std::exception_ptr& exception) {
    Encoder out;
    detail::write_exception(out, exception);
    return out.take();
}

std::exception_ptr received(const std::vector<std::byte>& bytes) {
    Decoder in(bytes);
    auto arrived = detail::read_exception(in);
    CHECK(in.remaining() == 0);
    return arrived;
}

/// What arrives where `exception` was thrown, if it is an `Arrived`.
template <class Arrived, class Exception>
std::optional<Arrived> carry(const Exception& exception) {
    const auto arrived = received(sent(std::make_exception_ptr(exception)));
    try {
        std::rethrow_exception(arrived);
    } catch (const Arrived& error) {
        return error;
    } catch (...) {
        return std::nullopt;
    }
}

int fail_with_code(int code) { throw WithCode("failed", code); }
int fail_at_the_beginning(int) { throw AtTheBeginning("text"); }
int fail_unregistered(int) { throw Unregistered("text"); }

}  // namespace

TEST_CASE("a registered exception arrives as its own type: by its text, its codec, its fields, or as it is") {
    CHECK(carry<RemoteError>(OfText("text")));
    register_exception<OfText>();
    register_exception<OwnText>();
    register_exception<OfNothing>();
    register_exception<Plain>();
    register_exception<WithCode>();
    register_exception<Hidden>();
    CHECK(carry<OfText>(OfText("text")).value().what() == std::string("text"));
    CHECK(carry<OwnText>(OwnText("text")).value().what() == std::string("text"));
    CHECK(carry<OfNothing>(OfNothing()));
    CHECK(carry<Plain>(Plain{"a.cpp", 7}).value().line == 7);
    CHECK(carry<WithCode>(WithCode("text", 42)).value().code == 42);
    CHECK(carry<WithCode>(WithCode("text", 42)).value().what() == std::string("text"));
    CHECK(carry<Hidden>(Hidden("text")).value().what() == std::string("text"));
}

TEST_CASE("what is merely derived from a registered exception arrives as a RemoteError") {
    register_exception<OfText>();
    CHECK_THAT(carry<RemoteError>(Derived("text")).value().type_name(), ContainsSubstring("Derived"));
}

TEST_CASE("an object registers its exception before main") {
    CHECK(carry<AtTheBeginning>(AtTheBeginning("text")).value().what() == std::string("text"));
}

TEST_CASE("registering twice, or from many threads, is registering once") {
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([] {
            register_exception<OfText>();
            register_exception<Plain>();
            const RegisterException<OfText> again;
        });
    for (auto& thread : threads) thread.join();
    CHECK(carry<OfText>(OfText("text")));
    std::size_t times = 0;
    for (const auto* each = detail::registered_exceptions().load(); each != nullptr; each = each->next)
        if (each->how.type == detail::mangled_name<OfText>()) ++times;
    CHECK(times == 1);
}

TEST_CASE("two types of one name, in anonymous namespaces, are not taken for each other") {
    register_exception<Hidden>();
    // As another file's Hidden would be registered: it takes no exception of this one apart, but comes first.
    detail::add_registered_exception(
        {detail::mangled_name<Hidden>(),
         [](Encoder&, const std::exception_ptr& exception) { std::rethrow_exception(exception); },
         [](Decoder&) { return std::make_exception_ptr(Hidden("the other")); }});
    CHECK(carry<Hidden>(Hidden("text")).value().what() == std::string("text"));
}

TEST_CASE("an exception that its text does not make again arrives as a RemoteError, with its text") {
    register_exception<Adorned>();
    const auto remote = carry<RemoteError>(Adorned("text")).value();
    CHECK(remote.text() == "adorned: text");
    CHECK_THAT(remote.type_name(), ContainsSubstring("Adorned"));
}

TEST_CASE("an exception that cannot be made where it arrives is told by a RemoteError there") {
    register_exception<Unwilling>();
    register_exception<UnwillingText>();
    register_exception<NotCopied>();
    CHECK(carry<Unwilling>(Unwilling{2}));
    CHECK_THAT(carry<RemoteError>(Unwilling{1}).value().type_name(), ContainsSubstring("Unwilling"));

    const auto text = sent(std::make_exception_ptr(UnwillingText("text")));
    UnwillingText::willing = 0;
    const auto arrived = received(text);
    CHECK(caught<RemoteError>([&] { std::rethrow_exception(arrived); }).value().text() == "text");
    UnwillingText::willing = 1;

    const auto copied = sent(std::make_exception_ptr(NotCopied("text")));
    NotCopied::copied = false;
    const auto not_copied = received(copied);
    CHECK(caught<RemoteError>([&] { std::rethrow_exception(not_copied); }).value().text() == "text");
    NotCopied::copied = true;
}

TEST_CASE("an exception of a type that this process has not registered, or with too many bytes, is a RemoteError") {
    detail::CarriedException carried{"Name", "text", "there", detail::CarriedException::Parts{"4Name", 0, {}}};
    const auto unknown = received(plait::multiprocessing::encode(carried));
    CHECK(caught<RemoteError>([&] { std::rethrow_exception(unknown); }).value().type_name() == "Name");

    register_exception<OfNothing>();
    carried.parts = {detail::mangled_name<OfNothing>(), 0, std::vector<std::byte>(1)};
    const auto longer = received(plait::multiprocessing::encode(carried));
    CHECK(caught<RemoteError>([&] { std::rethrow_exception(longer); }).value().type_name() == "Name");
}

TEST_CASE("an exception whose encoding is larger than any text arrives as a RemoteError") {
    register_exception<Plain>();
    CHECK(carry<Plain>(Plain{std::string(100'000, 'x'), 1}));
    CHECK(carry<RemoteError>(Plain{std::string(1'000'000, 'x'), 1}));
}

TEST_CASE("a task's and a process's registered exceptions come home") {
    register_exception<WithCode>();
    Pool pool(PoolOptions{.processes = 1, .start_method = StartMethod::fork});
    CHECK(caught<WithCode>([&] { pool.apply(fail_with_code, 42); }).value().code == 42);

    Pool fresh(PoolOptions{.processes = 1});
    CHECK(caught<AtTheBeginning>([&] { fresh.apply(fail_at_the_beginning, 1); }));
    CHECK(caught<RemoteError>([&] { fresh.apply(fail_unregistered, 1); }));

    for (const StartMethod method : {StartMethod::fork, StartMethod::spawn}) {
        Process process(ProcessOptions{.start_method = method}, [] { throw AtTheBeginning("from afar"); });
        process.start();
        process.join();
        const auto exception = process.exception();
        REQUIRE(exception != nullptr);
        CHECK(caught<AtTheBeginning>([&] { std::rethrow_exception(exception); }).value().what() ==
              std::string("from afar"));
    }
}

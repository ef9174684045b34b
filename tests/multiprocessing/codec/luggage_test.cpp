// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec/luggage.hpp>

#include <plait/multiprocessing/codec.hpp>

#include "support/catch.hpp"
#include "support/descriptor_limit.hpp"
#include "support/process_state.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace mp = plait::multiprocessing;
namespace os = plait::os;
using plait::CodecError;
using plait::multiprocessing::detail::carries_handles;
using plait::multiprocessing::detail::Incoming;
using plait::multiprocessing::detail::Outgoing;

namespace {

/// A handle that crosses.
struct Pass {
    os::Handle handle;
};

struct Trip {
    std::string name;
    std::vector<Pass> passes;
};

struct NestedTree {
    int value;
    std::vector<NestedTree> children;
};

os::Handle open_null() { return os::Handle{::open("/dev/null", O_RDONLY | O_CLOEXEC)}; }

/// What arrives when `outgoing` was sent.
Incoming arrived(const Outgoing& outgoing) {
    std::vector<os::Handle> handles;
    for (const os::NativeHandle native : outgoing.handles()) handles.emplace_back(::fcntl(native, F_DUPFD_CLOEXEC, 3));
    return Incoming(std::move(handles));
}

}  // namespace

template <>
struct plait::multiprocessing::Codec<Pass> {
    static constexpr bool carries_handles = true;
    static void encode(Encoder& out, const Pass& pass) { detail::put_handle(out, pass.handle.get()); }
    static Pass decode(Decoder& in) { return Pass{detail::get_handle(in)}; }
};

TEST_CASE("the compiler knows what carries handles, however deep it holds them") {
    CHECK(carries_handles<Pass>());
    CHECK(carries_handles<Trip>());
    CHECK(carries_handles<std::map<int, std::optional<Pass>>>());
    CHECK(carries_handles<std::tuple<int, std::unique_ptr<Pass>>>());
    CHECK(carries_handles<std::variant<int, Trip>>());
    CHECK(carries_handles<std::array<Pass, 2>>());
    CHECK_FALSE(carries_handles<int>());
    CHECK_FALSE(carries_handles<std::map<std::string, std::vector<int>>>());
    CHECK_FALSE(carries_handles<NestedTree>());
}

TEST_CASE("handles go along with the values that hold them") {
    Trip trip{"there", {}};
    trip.passes.push_back({open_null()});
    trip.passes.push_back({open_null()});
    Outgoing outgoing;
    mp::Encoder out;
    out.carry(outgoing);
    out.write(7, trip);
    REQUIRE(outgoing.handles().size() == 2);

    Incoming incoming = arrived(outgoing);
    mp::Decoder in(out.bytes());
    in.carry(incoming);
    CHECK(in.read<int>() == 7);
    const auto there = in.read<Trip>();
    CHECK(there.name == "there");
    REQUIRE(there.passes.size() == 2);
    CHECK(there.passes[0].handle.get() != there.passes[1].handle.get());
    CHECK((::fcntl(there.passes[0].handle.get(), F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("a handle that two values hold goes along once, and arrives in both") {
    const Pass pass{open_null()};
    Outgoing outgoing;
    mp::Encoder out;
    out.carry(outgoing);
    out.write(pass, pass);
    CHECK(outgoing.handles().size() == 1);

    Incoming incoming = arrived(outgoing);
    mp::Decoder in(out.bytes());
    in.carry(incoming);
    const auto first = in.read<Pass>();
    const auto second = in.read<Pass>();
    CHECK(first.handle.get() != second.handle.get());
}

TEST_CASE("what carries handles cannot be mere bytes, and the error says where it can go") {
    const Pass pass{open_null()};
    try {
        static_cast<void>(mp::encode(pass));
        FAIL("it was encoded");
    } catch (const CodecError& error) {
        CHECK(std::string(error.what()).find("through a Connection") != std::string::npos);
    }
}

TEST_CASE("a handle that did not come along is a CodecError") {
    Outgoing outgoing;
    mp::Encoder out;
    out.carry(outgoing);
    out.write(Pass{open_null()});

    mp::Decoder without(out.bytes());
    CHECK_THROWS_AS(without.read<Pass>(), CodecError);

    Incoming none;
    mp::Decoder in(out.bytes());
    in.carry(none);
    CHECK_THROWS_AS(in.read<Pass>(), CodecError);
}

TEST_CASE("one message takes a bounded number of handles") {
    Outgoing outgoing;
    std::vector<os::Handle> handles;
    for (unsigned place = 0; place < os::most_handles; ++place) {
        handles.push_back(open_null());
        REQUIRE(outgoing.place_of(handles.back().get()) == place);
    }
    CHECK_THROWS_AS(outgoing.place_of(open_null().get()), CodecError);
    CHECK(outgoing.place_of(handles[7].get()) == 7);
}

TEST_CASE("a handle goes along though its owner closed it, and its number was another's, before it was sent") {
    Outgoing outgoing;
    mp::Encoder out;
    out.carry(outgoing);
    Pass pass{open_null()};
    const os::NativeHandle number = pass.handle.get();
    const os::HandleIdentity null = os::identity_of(number);
    out.write(pass);
    pass.handle.reset();
    pass.handle.reset(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
    REQUIRE(pass.handle.get() == number);
    const os::HandleIdentity zero = os::identity_of(number);
    out.write(pass);
    pass.handle.reset();
    CHECK_THROWS_AS(out.write(Pass{os::Handle{}}), std::system_error);

    Incoming incoming = arrived(outgoing);
    mp::Decoder in(out.bytes());
    in.carry(incoming);
    CHECK((os::identity_of(in.read<Pass>().handle.get()) == null));
    CHECK((os::identity_of(in.read<Pass>().handle.get()) == zero));
}

TEST_CASE("handles that nobody takes are closed, and one that cannot be had is an error") {
    const auto open = support::open_descriptors();
    {
        Outgoing outgoing;
        mp::Encoder out;
        out.carry(outgoing);
        const Pass pass{open_null()};
        out.write(pass);
        Incoming incoming = arrived(outgoing);
        mp::Decoder in(out.bytes());
        in.carry(incoming);
        const support::DescriptorLimit limit{0};
        CHECK_THROWS_AS(in.read<Pass>(), std::system_error);
    }
    CHECK((support::open_descriptors() == open));
}

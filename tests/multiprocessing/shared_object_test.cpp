// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/shared_object.hpp>

#include "support/catch.hpp"
#include "support/descriptor_limit.hpp"
#include "support/process_state.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace mp = plait::multiprocessing;
namespace os = plait::os;
using plait::CodecError;
using plait::multiprocessing::detail::get_shared;
using plait::multiprocessing::detail::Incoming;
using plait::multiprocessing::detail::Kinded;
using plait::multiprocessing::detail::Outgoing;
using plait::multiprocessing::detail::put_shared;
using plait::multiprocessing::detail::Shared;

namespace {

struct Number {
    explicit Number(int first) : value(first) {}
    int value;
};

int abandoned = 0;
bool may_go = true;

struct Watched {
    bool abandon() noexcept {
        ++abandoned;
        return may_go;
    }
    int value = 0;
};

struct House {
    Kinded<Watched> door;
    Kinded<Number> rooms{3};
};

struct Refuses {
    Refuses() { throw std::runtime_error("no"); }
};

/// As if it came from another process: encoded, sent, decoded.
template <class State>
Shared<State> arrived(const Shared<State>& shared) {
    Outgoing outgoing;
    mp::Encoder out;
    out.carry(outgoing);
    put_shared(out, shared);
    std::vector<os::Handle> handles;
    for (const os::NativeHandle native : outgoing.handles()) handles.emplace_back(::fcntl(native, F_DUPFD_CLOEXEC, 3));
    Incoming incoming(std::move(handles));
    mp::Decoder in(out.bytes());
    in.carry(incoming);
    return get_shared<State>(in);
}

}  // namespace

TEST_CASE("copies of a handle name one state, which a child shares") {
    const auto shared = Shared<Number>::create(7);
    const Shared<Number> copy = shared;
    CHECK(copy == shared);
    CHECK(copy->value == 7);
    const pid_t child = ::fork();
    if (child == 0) {
        copy->value = 8;
        ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    CHECK(shared->value == 8);
}

TEST_CASE("an object is mapped once in a process, however often its handle arrives") {
    const auto shared = Shared<Number>::create(7);
    const auto first = arrived(shared);
    const auto second = arrived(shared);
    CHECK(first == shared);
    CHECK(&*second == &*shared);
}

TEST_CASE("an object lives as long as any of its handles, and leaves nothing open") {
    const auto open = support::open_descriptors();
    {
        std::optional<Shared<Number>> shared = Shared<Number>::create(7);
        const auto other = arrived(*shared);
        shared.reset();
        CHECK(other->value == 7);
    }
    CHECK((support::open_descriptors() == open));
}

TEST_CASE("an object that went can arrive again") {
    auto shared = Shared<Number>::create(7);
    const os::Handle handle = os::duplicate(shared.handle());
    shared = {};
    const auto object = mp::detail::SharedObject::open(os::duplicate(handle));
    CHECK(object->bytes().size() >= sizeof(Number));
    CHECK(mp::detail::SharedObject::open(os::duplicate(handle)) == object);
}

TEST_CASE("a part of a state is a state of its own, and keeps the whole") {
    auto house = Shared<House>::create();
    const auto rooms = house.part(&House::rooms);
    house = {};
    rooms->value = 4;
    CHECK(arrived(rooms) == rooms);
    CHECK(arrived(rooms)->value == 4);
}

TEST_CASE("bytes behind a state are zero, and as many as were asked for") {
    const auto shared = Shared<Number>::create_sized(100, 7);
    REQUIRE(shared.extra().size() == 100);
    for (const std::byte byte : shared.extra()) REQUIRE(byte == std::byte{0});
    shared.extra()[99] = std::byte{1};
    CHECK(arrived(shared).extra()[99] == std::byte{1});
}

TEST_CASE("a state hears once that its last handle in this process goes") {
    abandoned = 0;
    may_go = true;
    {
        const auto house = Shared<House>::create();
        const auto door = house.part(&House::door);
        const auto again = house.part(&House::door);
        CHECK(arrived(again) == door);
        CHECK(abandoned == 0);
    }
    CHECK(abandoned == 1);
}

TEST_CASE("memory that a state still needs stays mapped") {
    abandoned = 0;
    may_go = false;
    auto shared = Shared<Watched>::create();
    Watched* const state = &*shared;
    shared = {};
    CHECK(abandoned == 1);
    state->value = 5;
    CHECK(state->value == 5);
    may_go = true;
}

TEST_CASE("shared memory that holds something else is refused, and so is a place outside of it") {
    const auto number = Shared<Number>::create(7);
    std::vector<os::Handle> handles;
    handles.push_back(os::duplicate(number.handle()));
    Incoming incoming(std::move(handles));
    const auto read = [&](std::uint64_t offset, auto what) {
        mp::Encoder out;
        out.write(std::uint32_t{0}, offset);
        mp::Decoder in(out.bytes());
        in.carry(incoming);
        return get_shared<decltype(what)>(in);
    };
    CHECK(read(0, Number(0))->value == 7);
    CHECK_THROWS_AS(read(0, Watched{}), CodecError);
    for (const std::uint64_t offset : {8ULL, 3ULL, 4096ULL, ~0ULL - 7})
        CHECK_THROWS_AS(read(offset, Number(0)), CodecError);
}

TEST_CASE("a state that cannot be made leaves nothing behind") {
    const auto open = support::open_descriptors();
    CHECK_THROWS_AS(Shared<Refuses>::create(), std::runtime_error);
    {
        const support::DescriptorLimit limit{0};
        CHECK_THROWS_AS(Shared<Number>::create(7), std::system_error);
    }
    CHECK((support::open_descriptors() == open));
}

TEST_CASE("a handle that was moved from is not sent") {
    auto shared = Shared<Number>::create(7);
    const auto other = std::move(shared);
    CHECK(other->value == 7);
    mp::Encoder out;
    CHECK_THROWS_AS(put_shared(out, Shared<Number>{}), plait::UsageError);
}

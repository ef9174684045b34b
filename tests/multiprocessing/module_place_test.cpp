// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/module_place.hpp>

#include "support/catch.hpp"
#include "support/library.hpp"
#include "support/misbehaviour.hpp"

#include <plait/multiprocessing/pool.hpp>
#include <plait/multiprocessing/process.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <string>

using Catch::Matchers::ContainsSubstring;
using plait::CodecError;
using plait::UsageError;
using plait::multiprocessing::Pool;
using plait::multiprocessing::Process;
using plait::multiprocessing::ProcessOptions;
using plait::multiprocessing::StartMethod;
using plait::multiprocessing::detail::constant_at;
using plait::multiprocessing::detail::module_of;
using plait::multiprocessing::detail::Place;
using plait::multiprocessing::detail::place_of;

namespace {

const int constant = 5;

template <class T>
std::uintptr_t address_of(T* pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer);
}

std::string refusal(std::uintptr_t address) {
    return support::caught<UsageError>([&] { static_cast<void>(place_of(address, 1, "a function")); }).value().what();
}

}  // namespace

TEST_CASE("a place in the executable needs no name, and leads back") {
    const Place place = place_of(address_of(&constant), sizeof constant, "a constant");
    CHECK_FALSE(place.library);
    CHECK(constant_at<int>(place) == &constant);
    const Place travelled = plait::multiprocessing::decode<Place>(plait::multiprocessing::encode(place));
    CHECK(constant_at<int>(travelled) == &constant);
}

TEST_CASE("a place in a library is named by its file and its build, and leads back") {
    for (const std::string& path : {support::library_with_build_id, support::library_without_build_id}) {
        CAPTURE(path);
        const support::LoadedLibrary library(path);
        const Place place = place_of(library.constant(), sizeof(int), "a constant");
        REQUIRE(place.library);
        CHECK(place.library->path == path);
        const Place travelled = plait::multiprocessing::decode<Place>(plait::multiprocessing::encode(place));
        CHECK(address_of(constant_at<int>(travelled)) == library.constant());
        CHECK(module_of(travelled).contains_code(address_of(library.function())));
    }
}

TEST_CASE("a library that is not loaded is loaded by who needs it") {
    const support::LibraryFile file(support::library_without_build_id);
    const auto place = [&] {
        const support::LoadedLibrary library(file.path());
        return place_of(library.constant(), sizeof(int), "a constant");
    }();
    REQUIRE_FALSE(support::is_mapped(file.path()));
    REQUIRE(constant_at<int>(place) != nullptr);
    CHECK(*constant_at<int>(place) == 2);
    CHECK(module_of(place).path() == file.path());
    CHECK(support::is_mapped(file.path()));
}

TEST_CASE("what lies in no module, or in one whose file is gone or another, is refused where it is sent") {
    const auto on_heap = std::make_unique<int>(1);
    CHECK_THAT(refusal(address_of(on_heap.get())), ContainsSubstring("compiled at run time"));
    void* const made = ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_THAT(refusal(address_of(made)), ContainsSubstring("compiled at run time"));
    ::munmap(made, 4096);

    const support::LibraryFile file(support::library_with_build_id);
    const support::LoadedLibrary library(file.path());
    CHECK_NOTHROW(place_of(library.constant(), 1, "a constant"));
    file.replace_by(support::library_without_build_id);
    CHECK_THAT(refusal(library.constant()), ContainsSubstring("replaced") && ContainsSubstring(file.path()));
    file.remove();
    CHECK_THAT(refusal(library.constant()), ContainsSubstring("moved or deleted") && ContainsSubstring(file.path()));
}

TEST_CASE("a library that is gone or another by then is refused where it is received, and not loaded") {
    const support::LibraryFile file(support::library_with_build_id);
    const auto place = [&] {
        const support::LoadedLibrary library(file.path());
        return place_of(library.constant(), sizeof(int), "a constant");
    }();
    const auto reason = [&] {
        return std::string(support::caught<CodecError>([&] { static_cast<void>(module_of(place)); }).value().what());
    };
    file.replace_by(support::library_without_build_id);
    CHECK_THAT(reason(), ContainsSubstring("replaced") && ContainsSubstring(file.path()));
    CHECK_FALSE(support::is_mapped(file.path()));
    file.remove();
    CHECK_THAT(reason(), ContainsSubstring("no such library") && ContainsSubstring(file.path()));
}

TEST_CASE("a place outside of its module, or at an odd address, holds no constant") {
    const std::uint64_t inside = place_of(address_of(&constant), sizeof constant, "a constant").offset;
    CHECK(constant_at<int>({inside, std::nullopt}) != nullptr);
    for (const std::uint64_t offset : {inside + 1, std::uint64_t{1} << 46, ~std::uint64_t{0} - 3, ~inside}) {
        CAPTURE(offset);
        CHECK(constant_at<int>({offset, std::nullopt}) == nullptr);
    }
}

TEST_CASE("another process finds a function of a library that the program has opened") {
    for (const std::string& path : {support::library_with_build_id, support::library_without_build_id}) {
        CAPTURE(path);
        const support::LoadedLibrary library(path);
        Pool pool(1);
        CHECK(pool.apply(library.function(), 7) == 2007);
        CHECK(pool.apply(library.function(), 8) == 2008);
    }
}

TEST_CASE("a child of the fork server loads a library that the server does not have, and the server stays as it is") {
    const ProcessOptions by_server{.start_method = StartMethod::forkserver};
    Process first(by_server, support::run_for_ever, 0);
    first.start();
    const support::LibraryFile file(support::library_with_build_id);
    const support::LoadedLibrary library(file.path());
    Process second(by_server, library.function(), 1);
    second.start();
    second.join();
    CHECK(second.exitcode() == 0);
    // The server is the parent of its children.
    std::ifstream status("/proc/" + std::to_string(first.pid().value()) + "/stat");
    std::string pid, name, state, server;
    status >> pid >> name >> state >> server;
    CHECK(server != std::to_string(::getpid()));
    CHECK_FALSE(support::is_mapped(file.path(), server));
    CHECK(support::is_mapped(file.path()));
    first.kill();
    first.join();
}

TEST_CASE("another process finds a function of the C library") {
    Pool pool(1);
    int (*const absolute)(int) = &std::abs;
    CHECK(pool.apply(absolute, -3) == 3);
}

TEST_CASE("starting a process with a function that it could not find fails before anything is started") {
    const support::LibraryFile file(support::library_with_build_id);
    const support::LoadedLibrary library(file.path());
    Process process(library.function(), 1);
    file.remove();
    CHECK_THROWS_AS(process.start(), UsageError);
    CHECK_FALSE(process.pid());
    file.replace_by(support::library_with_build_id);
    process.start();
    process.join();
    CHECK(process.exitcode() == 0);
}
